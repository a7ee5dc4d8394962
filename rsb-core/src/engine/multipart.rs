//! Multipart uploads.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::Engine;
use crate::api::*;
use crate::catalog::{PartRow, UploadRow};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::manifest::{Body, Etag, SegmentedBody};
use crate::id::{DataId, UploadId};
use crate::recover::check_decided;
use crate::write::commit::Committer;
use crate::write::multipart;
use crate::{read, write};

/// Uploads looked at in one go.
const PAGE: usize = 1000;

/// An upload that is about to be completed. While it is held no part of the upload comes or goes.
pub struct Completing {
    core: Arc<Core>,
    committer: Committer,
    changing: OwnedMutexGuard<()>,
    upload: UploadRow,
    parts: Vec<PartRow>,
}

impl Completing {
    /// The upload. One that is completed already can only be asked what to.
    pub fn upload(&self) -> &UploadRow {
        &self.upload
    }

    /// All its parts, by number.
    pub fn parts(&self) -> &[PartRow] {
        &self.parts
    }

    /// Makes the object, and removes the parts that were left out. Dropping the future does not undo it. `Invalid` where
    /// a part is missing, `PreconditionFailed`, `Conflict`.
    pub async fn finish(self, finish: Finish) -> Result<ObjectInfo> {
        let tasks = self.core.tasks.clone();
        let work = tasks.spawn(async move {
            let Self { core, committer, changing, upload, parts } = self;
            let done = multipart::complete(&core, &committer, upload, parts, finish).await;
            drop(changing);
            done
        });
        work.await.map_err(|error| Error::internal("completing an upload ended without a word").source(error))?
    }
}

impl Engine {
    /// Begins a multipart upload. Nothing of it is seen until it is completed; it survives a restart, not the loss of the
    /// catalog. `NotFound` where the bucket does not exist.
    pub async fn create_upload(&self, new: NewUpload) -> Result<UploadRow> {
        self.core.check_writable()?;
        let put = PutRequest {
            bucket: new.bucket.clone(),
            key: new.key.clone(),
            data_shards: new.data_shards,
            parity_shards: new.parity_shards,
            attributes: new.attributes.clone(),
            metadata: new.metadata.clone(),
            tags: new.tags.clone(),
            ..PutRequest::default()
        };
        let scheme = write::check(&self.core, &put)?;
        let mut extra = BTreeMap::new();
        new.lock.check_new(&self.bucket(&new.bucket).await?, self.core.env.now_ms())?;
        new.lock.write(&mut extra);
        let row = UploadRow {
            id: UploadId(self.core.env.new_id()),
            bucket: new.bucket,
            key: new.key,
            created_ms: self.core.env.now_ms(),
            data_shards: scheme.k() as u16,
            parity_shards: scheme.m() as u16,
            attributes: new.attributes,
            metadata: new.metadata,
            tags: new.tags,
            extra,
            checksum: new.checksum,
            completed: None,
        };
        self.core.catalog.begin_upload(row.clone()).await?;
        Ok(row)
    }

    /// An open upload of this key; `NotFound` where there is none.
    pub async fn upload(&self, bucket: &str, key: &str, id: UploadId) -> Result<UploadRow> {
        multipart::open(&self.core, bucket, key, id).await
    }

    /// Writes a part: when it returns, enough shards of it are durable. An error in the body undoes it. `NotFound` where
    /// the upload is not open.
    pub async fn put_part(&self, request: PartRequest, body: BodyStream) -> Result<PartRow> {
        multipart::put_part(&self.core, request, body).await
    }

    /// Makes a part of bytes of an object without moving any: where they are whole segments, coded as the upload's parts
    /// are. `None` where they are not; then they are to be read and written. The part's tag is the object's where it is
    /// all of it, else one that is no digest.
    pub async fn link_part(
        &self,
        source: &ObjectInfo,
        range: Range<u64>,
        request: &PartRequest,
    ) -> Result<Option<PartRow>> {
        let core = &self.core;
        core.check_writable()?;
        multipart::check_number(request.number)?;
        let row = multipart::open(core, &request.bucket, &request.key, request.upload).await?;
        let m = &source.manifest;
        // From here on it may name the places that the source has now: a drain waits for it.
        let _arriving = core.arriving(DataId(core.env.new_id()));
        let held = read::hold(core, &m.bucket, &m.key, Some(m.version)).await?;
        let Some(body) = whole_segments(&held.entry.manifest.body, &range) else { return Ok(None) };
        check_decided(core, &held.entry.manifest).await?;
        let scheme = multipart::scheme(core, &row)?;
        if body.schemes.iter().any(|other| other.scheme != scheme) {
            return Ok(None);
        }
        let etag = match &m.etag {
            Etag::Md5(tag) if range == (0..m.size) => Etag::Md5(*tag),
            _ => Etag::Fast(*core.env.new_id().as_bytes()),
        };
        let size = range.end - range.start;
        let (number, modified_ms, checksum) = (request.number, core.env.now_ms(), request.checksum.get());
        let part = PartRow { number, size, etag, modified_ms, body, checksum };
        // The lease on the source's segments is held until the part names them too.
        let part = multipart::keep_part(core, request.upload, part, Vec::new(), None).await?;
        drop(held.lease);
        Ok(Some(part))
    }

    /// Parts of an open upload in order of number, after the given number.
    pub async fn parts(&self, id: UploadId, after: u16, limit: usize) -> Result<Vec<PartRow>> {
        self.core.catalog.parts(id, after, limit).await
    }

    /// Holds an upload, open or completed, to complete it. `NotFound` where there is none of this key.
    pub async fn completing(&self, bucket: &str, key: &str, id: UploadId) -> Result<Completing> {
        let changing = self.core.changing_upload(id).await;
        let upload = multipart::known(&self.core, bucket, key, id).await?;
        let parts = self.core.catalog.parts(id, 0, usize::MAX).await?;
        Ok(Completing { core: self.core.clone(), committer: self.committer.clone(), changing, upload, parts })
    }

    /// Forgets an open upload and removes its parts. `NotFound` where there is none of this key.
    pub async fn abort_upload(&self, bucket: &str, key: &str, id: UploadId) -> Result<()> {
        self.core.check_writable()?;
        multipart::open(&self.core, bucket, key, id).await?;
        multipart::abort(&self.core, id).await
    }

    /// Aborts open uploads, and forgets completed ones, that are over. Gives how many there were.
    pub async fn expire_uploads(&self, which: &ExpireUploads) -> Result<u64> {
        self.core.check_writable()?;
        multipart::expire_those(&self.core, which, false).await
    }

    /// A page of open uploads.
    pub async fn list_uploads(&self, query: &UploadQuery) -> Result<UploadListing> {
        self.bucket(&query.bucket).await?;
        let prefix = query.prefix.as_bytes();
        let (mut from, mut after) = match &query.after {
            None => (Vec::new(), None),
            Some(UploadAfter::Key(key)) => ([key.as_bytes(), &[0]].concat(), None),
            Some(UploadAfter::Prefix(prefix)) => (behind(prefix), None),
            Some(UploadAfter::Upload(key, id)) => (key.as_bytes().to_vec(), Some(*id)),
        };
        if from.as_slice() < prefix {
            (from, after) = (prefix.to_vec(), None);
        }
        let mut listing = UploadListing::default();
        let mut last = None;
        'pages: loop {
            let page = self.core.catalog.open_uploads(&query.bucket, &from, after, PAGE.min(query.limit + 1)).await?;
            if page.is_empty() {
                return Ok(listing);
            }
            for row in page {
                let Some(rest) = row.key.strip_prefix(&query.prefix) else { return Ok(listing) };
                if listing.uploads.len() + listing.prefixes.len() == query.limit {
                    listing.next = last;
                    return Ok(listing);
                }
                let cut = query.delimiter.as_deref().and_then(|d| rest.find(d).map(|at| at + d.len()));
                if let Some(cut) = cut {
                    let common = format!("{}{}", query.prefix, &rest[..cut]);
                    (from, after) = (behind(&common), None);
                    last = Some(UploadAfter::Prefix(common.clone()));
                    listing.prefixes.push(common);
                    continue 'pages;
                }
                (from, after) = (row.key.clone().into_bytes(), Some(row.id));
                last = Some(UploadAfter::Upload(row.key.clone(), row.id));
                listing.uploads.push(row);
            }
        }
    }
}

/// The place behind every key that begins with a prefix. No byte of UTF-8 is the greatest.
fn behind(prefix: &str) -> Vec<u8> {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    bytes
}

/// The segments that make up these bytes of a body; `None` where the bytes begin or end within one.
fn whole_segments(body: &Body, range: &Range<u64>) -> Option<SegmentedBody> {
    let Body::Segments(body) = body else { return None };
    let mut out = SegmentedBody::default();
    let mut at = range.start;
    for view in body.views().filter(|view| view.start < range.end && view.start + view.len > range.start) {
        if view.start != at || view.start + view.len > range.end {
            return None;
        }
        at = view.start + view.len;
        out.push(view.data_id, view.len, view.scheme, &view.backends);
    }
    (at == range.end && !out.segments.is_empty()).then_some(out)
}
