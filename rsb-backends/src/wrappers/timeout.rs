//! Nothing hangs: each operation answers within a limit, and each body goes on flowing.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

use super::op::Op;
use super::trouble::Trouble;

/// Longest waits for a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the first byte of an answer. Writing gets more, by its size.
    pub answer: Duration,
    /// Between two pieces of a body or a listing, while somebody asks for them.
    pub idle: Duration,
    /// Until the server has done work of its own: finishing an upload, copying, moving.
    pub work: Duration,
    /// A writer that is slower than this, in bytes a second, is taken for stuck.
    pub slowest_write: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(8),
            idle: Duration::from_secs(8),
            work: Duration::from_secs(30),
            slowest_write: 256 << 10,
        }
    }
}

impl Timeouts {
    fn write(&self, bytes: usize) -> Duration {
        self.answer + Duration::from_millis((bytes as u64).saturating_mul(1000) / self.slowest_write.max(1))
    }
}

/// `future` within `limit`, or an error that names `op`.
async fn within<T>(limit: Duration, op: Op, future: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(limit, future).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Trouble::Timeout { op: op.as_str(), limit }.into()),
    }
}

/// `inner`, with an error where the next item takes longer than `limit` while it is waited for. The time in which nobody
/// asks does not count. Fused: readers may ask once more after the end.
fn flowing<T: Send + 'static>(
    inner: BoxStream<'static, Result<T>>,
    limit: Duration,
    op: Op,
) -> BoxStream<'static, Result<T>> {
    stream::unfold(Some(inner), move |inner| async move {
        let mut inner = inner?;
        match tokio::time::timeout(limit, inner.next()).await {
            Ok(Some(item)) => Some((item, Some(inner))),
            Ok(None) => None,
            Err(_) => Some((Err(Trouble::Timeout { op: op.as_str(), limit }.into()), None)),
        }
    })
    .fuse()
    .boxed()
}

/// Limits waits.
#[derive(Clone, Debug)]
pub struct Timeout {
    inner: Arc<dyn ObjectStore>,
    limits: Timeouts,
}

impl Timeout {
    /// Limits the waits for `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, limits: Timeouts) -> Self {
        Self { inner, limits }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timeout({})", self.inner)
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Timeout {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let limit = self.limits.write(payload.content_length());
        within(limit, Op::Put, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begin = self.inner.put_multipart_opts(location, opts);
        let inner = within(self.limits.answer, Op::PutMultipart, begin).await?;
        Ok(Box::new(TimedUpload { inner, limits: self.limits }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let op = Op::of_get(&options);
        let result = within(self.limits.answer, op, self.inner.get_opts(location, options)).await?;
        let (meta, range) = (result.meta.clone(), result.range.clone());
        let (attributes, extensions) = (result.attributes.clone(), result.extensions.clone());
        // Read in pieces, each with its limit: a file on a hung network disk must not hang the reader.
        let body = flowing(result.into_stream(), self.limits.idle, op);
        Ok(GetResult { payload: GetResultPayload::Stream(body), meta, range, attributes, extensions })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let bytes: u64 = ranges.iter().map(|r| r.end.saturating_sub(r.start)).sum();
        let limit = self.limits.write(usize::try_from(bytes).unwrap_or(usize::MAX));
        within(limit, Op::GetRanges, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, limit) = (self.inner.clone(), self.limits.answer);
        // In pieces, so that waiting for the caller's next path is not taken for a slow backend.
        locations
            .ready_chunks(super::retry::DELETE_CHUNK)
            .flat_map(move |chunk| flowing(inner.delete_stream(stream::iter(chunk).boxed()), limit, Op::Delete))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        flowing(self.inner.list(prefix), self.limits.idle, Op::List)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        flowing(self.inner.list_with_offset(prefix, offset), self.limits.idle, Op::List)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        within(self.limits.answer, Op::ListWithDelimiter, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        within(self.limits.work, Op::Copy, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        within(self.limits.work, Op::Rename, self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct TimedUpload {
    inner: Box<dyn MultipartUpload>,
    limits: Timeouts,
}

#[async_trait::async_trait]
impl MultipartUpload for TimedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let limit = self.limits.write(data.content_length());
        let part = self.inner.put_part(data);
        Box::pin(within(limit, Op::PutPart, part))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        within(self.limits.work, Op::CompleteMultipart, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        within(self.limits.answer, Op::AbortMultipart, self.inner.abort()).await
    }
}

#[cfg(test)]
mod tests;
