//! A version that is held while it is looked at and read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::Extensions;

use super::Engine;
use crate::api::{ByteRange, GetObject, ObjectInfo};
use crate::core::Core;
use crate::error::Result;
use crate::id::VersionId;
use crate::read;

/// A version held for reading: as long as this lives its files stay, although another version has replaced it meanwhile.
/// So what is decided by its facts is done to the bytes they are about.
pub struct Reading {
    core: Arc<Core>,
    held: read::Held,
    info: ObjectInfo,
    extensions: Extensions,
}

impl Reading {
    /// The facts of the version.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// The same, which gives the backends these extensions with each request to read.
    #[must_use]
    pub fn with_extensions(mut self, extensions: Extensions) -> Self {
        self.extensions = extensions;
        self
    }

    /// The bytes that are meant by a range; `RangeNotSatisfiable` where there are none.
    pub fn resolve(&self, range: ByteRange) -> Result<Range<u64>> {
        range.resolve(self.info.size()).ok_or_else(|| read::no_bytes(&self.info.manifest))
    }

    /// The bytes of the object from `range`, as a stream in order; what lies beyond its end is left out.
    pub fn stream(self, range: Range<u64>) -> GetObject {
        let size = self.info.size();
        read::open_passing(&self.core, self.held, range.start.min(size)..range.end.min(size), self.extensions)
    }

    /// The bytes of each range, in the order of the ranges. Each is cut to the object's length; `RangeNotSatisfiable` where
    /// one has no bytes. Only blocks that a range touches are read, each once.
    pub async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bounded = |range: &Range<u64>| self.resolve(ByteRange::Bounded { start: range.start, end: range.end });
        let ranges: Vec<Range<u64>> = ranges.iter().map(bounded).collect::<Result<_>>()?;
        read::ranges::read(&self.core, &self.held, &ranges, &self.extensions).await
    }
}

impl Engine {
    /// Holds a version (the newest when `version` is absent) to read it. `NotFound` where there is none, or it is a delete
    /// marker.
    pub async fn reading(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Reading> {
        let held = read::hold(&self.core, bucket, key, version).await?;
        let info = ObjectInfo { manifest: Arc::new(held.entry.manifest.clone()), short: 0 };
        Ok(Reading { core: self.core.clone(), held, info, extensions: Extensions::new() })
    }
}
