//! Reads.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, GetResultPayload, Result};

use super::{ErasureStore, errors, facts};
use crate::api::ByteRange;
use crate::engine::Reading;
use crate::error::{Error, ErrorKind};
use crate::id::VersionId;
use crate::names;

impl ErasureStore {
    /// Holds what is asked for. What cannot be the name of anything is not there.
    async fn hold(&self, location: &Path, version: Option<&str>) -> Result<Reading> {
        let name = || format!("{}/{location}", self.bucket);
        let missing = |why: String| Error::not_found(why).object(name());
        let held = async {
            names::check_key(location.as_ref()).map_err(|error| missing(error.message().to_owned()))?;
            let version = match version {
                None => None,
                Some(text) => Some(
                    text.parse::<VersionId>()
                        .map_err(|_| missing(format!("{} has no version {text:?}: that is no version's id", name())))?,
                ),
            };
            self.engine.reading(&self.bucket, location.as_ref(), version).await
        };
        held.await.map_err(|error| errors::of(location, error))
    }

    pub(super) async fn read(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let reading = self.hold(location, options.version.as_deref()).await?;
        let info = reading.info().clone();
        let meta = facts::meta(location.clone(), &info);
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            None => 0..info.size(),
            Some(range) => resolve(&reading, range).map_err(|error| errors::of(location, error))?,
        };
        let stream = match options.head {
            true => futures::stream::empty().boxed(),
            false => {
                let location = location.clone();
                let bytes = reading.with_extensions(options.extensions).stream(range.clone()).stream;
                bytes.map_err(move |error| errors::of(&location, error)).boxed()
            }
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream),
            meta,
            range,
            attributes: facts::attributes(&info),
            extensions: facts::known(info),
        })
    }

    pub(super) async fn read_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let reading = self.hold(location, None).await?;
        reading.ranges(ranges).await.map_err(|error| errors::of(location, error))
    }
}

/// The bytes meant. The last n bytes may be none; else a range without bytes is an error.
fn resolve(reading: &Reading, range: &GetRange) -> crate::Result<Range<u64>> {
    match range {
        GetRange::Bounded(range) if range.end <= range.start => Err(Error::new(
            ErrorKind::RangeNotSatisfiable,
            format!("the range from {} to {} has no bytes", range.start, range.end),
        )
        .object(reading.info().name())),
        GetRange::Bounded(range) => reading.resolve(ByteRange::Bounded { start: range.start, end: range.end }),
        GetRange::Offset(start) => reading.resolve(ByteRange::From(*start)),
        GetRange::Suffix(count) => Ok(reading.info().size().saturating_sub(*count)..reading.info().size()),
    }
}
