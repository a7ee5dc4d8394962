//! Counts what is asked of each backend.
//!
//! | metric | labels | counts |
//! | --- | --- | --- |
//! | `rsb_backend_requests_total` | backend, op, outcome | operations, each try by itself; a delete counts each path |
//! | `rsb_backend_request_seconds` | backend, op | seconds to the first answer |
//! | `rsb_backend_bytes_total` | backend, direction | bytes of bodies, `in` (read from it) and `out` (written to it) |
//! | `rsb_backend_broken_streams_total` | backend, op, outcome | bodies and listings that failed after their first piece |
//!
//! `outcome` is `ok`, `cancelled` (nobody waited for the answer any more) or an [`ErrorClass`](super::ErrorClass).

mod tally;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

pub use self::tally::describe_metrics;
use self::tally::{Direction, Tally};
use super::op::Op;

/// Counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<dyn ObjectStore>,
    tally: Tally,
}

impl Metrics {
    /// Counts what is asked of the backend called `name`.
    pub fn new(name: &str, inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, tally: Tally::new(name) }
    }

    /// A listing, counted when its first item or its end comes.
    fn listing<T: Send + 'static>(&self, items: BoxStream<'static, Result<T>>) -> BoxStream<'static, Result<T>> {
        // An empty one is asked again after its end, below.
        let mut items = items.fuse();
        let tally = self.tally.clone();
        let first = async move {
            let first = tally.counted(Op::List, async { items.next().await.transpose() }).await?;
            let rest = items.inspect_err(move |error| tally.broken(Op::List, error));
            Ok::<_, object_store::Error>(stream::iter(first.map(Ok)).chain(rest))
        };
        stream::once(first).try_flatten().boxed()
    }
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metrics({})", self.inner)
    }
}

/// Counts a write and, when it succeeds, its bytes.
async fn written<T>(tally: Tally, op: Op, bytes: usize, write: impl Future<Output = Result<T>>) -> Result<T> {
    let done = tally.counted(op, write).await?;
    tally.bytes(Direction::Out, bytes as u64);
    Ok(done)
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Metrics {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length();
        written(self.tally.clone(), Op::Put, bytes, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begin = self.inner.put_multipart_opts(location, opts);
        let inner = self.tally.counted(Op::PutMultipart, begin).await?;
        Ok(Box::new(CountedUpload { inner, tally: self.tally.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let op = Op::of_get(&options);
        let mut result = self.tally.counted(op, self.inner.get_opts(location, options)).await?;
        let tally = self.tally.clone();
        result.payload = match result.payload {
            GetResultPayload::Stream(body) => {
                let broken = tally.clone();
                let body = body
                    .inspect_ok(move |piece| tally.bytes(Direction::In, piece.len() as u64))
                    .inspect_err(move |error| broken.broken(op, error));
                GetResultPayload::Stream(body.boxed())
            }
            file if op == Op::Head => file,
            file => {
                tally.bytes(Direction::In, result.range.end - result.range.start);
                file
            }
        };
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.tally.counted(Op::GetRanges, self.inner.get_ranges(location, ranges)).await?;
        self.tally.bytes(Direction::In, parts.iter().map(|part| part.len() as u64).sum());
        Ok(parts)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let tally = self.tally.clone();
        self.inner.delete_stream(locations).inspect(move |answer| tally.outcome(Op::Delete, answer)).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.listing(self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.tally.counted(Op::ListWithDelimiter, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.tally.counted(Op::Copy, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.tally.counted(Op::Rename, self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct CountedUpload {
    inner: Box<dyn MultipartUpload>,
    tally: Tally,
}

#[async_trait::async_trait]
impl MultipartUpload for CountedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let bytes = data.content_length();
        Box::pin(written(self.tally.clone(), Op::PutPart, bytes, self.inner.put_part(data)))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.tally.counted(Op::CompleteMultipart, self.inner.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        self.tally.counted(Op::AbortMultipart, self.inner.abort()).await
    }
}

#[cfg(test)]
mod tests;
