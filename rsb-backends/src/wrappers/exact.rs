//! Bodies have the length they were announced with, and listings begin where they should.
//!
//! object_store 0.14's own `get_ranges` panics where an object is shorter than a range asked of it. Here several ranges
//! become reads of one range each, whose length is checked, so that a truncated object is an error.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::ready;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload,
    OBJECT_STORE_COALESCE_DEFAULT, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    RenameOptions, Result, coalesce_ranges,
};

use super::trouble::Trouble;

/// Checks lengths.
#[derive(Clone, Debug)]
pub struct Exact {
    inner: Arc<dyn ObjectStore>,
}

impl Exact {
    /// Checks the lengths of what `inner` gives.
    pub fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner }
    }

    /// One range, all of it or an error.
    async fn range(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let asked = range.end - range.start;
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let bytes = self.get_opts(location, options).await?.bytes().await?;
        match bytes.len() as u64 {
            got if got == asked => Ok(bytes),
            got => Err(Trouble::Truncated { path: location.to_string(), asked, got }.into()),
        }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exact({})", self.inner)
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Exact {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let mut result = self.inner.get_opts(location, options).await?;
        if let GetResultPayload::Stream(body) = result.payload {
            // What comes with a HEAD is no body.
            let body = if head { body } else { counted(body, location.to_string(), &result.range) };
            result.payload = GetResultPayload::Stream(body);
        }
        Ok(result)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if let Some(Range { start, end }) = ranges.iter().find(|range| range.is_empty()) {
            return Err(Trouble::EmptyRange { path: location.to_string(), start: *start, end: *end }.into());
        }
        coalesce_ranges(ranges, |range| self.range(location, range), OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        // Some servers ignore where a listing should begin.
        let from = offset.clone();
        self.inner.list_with_offset(prefix, offset).try_filter(move |meta| ready(meta.location > from)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.inner.rename_opts(from, to, options).await
    }
}

/// `body`, with an error at the end where it did not have the announced length.
fn counted(
    body: BoxStream<'static, Result<Bytes>>,
    path: String,
    range: &Range<u64>,
) -> BoxStream<'static, Result<Bytes>> {
    let asked = range.end - range.start;
    stream::try_unfold((body, path, 0u64), move |(mut body, path, got)| async move {
        match body.next().await {
            None if got < asked => Err(Trouble::Truncated { path, asked, got }.into()),
            None => Ok(None),
            Some(Err(error)) => Err(error),
            Some(Ok(chunk)) => match got + chunk.len() as u64 {
                got if got > asked => Err(Trouble::Overlong { path, asked }.into()),
                got => Ok(Some((chunk, (body, path, got)))),
            },
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "a list of ranges with one range in it is what is meant")]
    use super::*;
    use crate::wrappers::{Action, ErrorClass, Fault, Op, Rule, classify};
    use object_store::ObjectStoreExt;
    use object_store::local::LocalFileSystem;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn several_ranges_of_a_short_object_are_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let stores: [Arc<dyn ObjectStore>; 2] =
            [Arc::new(InMemory::new()), Arc::new(LocalFileSystem::new_with_prefix(dir.path()).unwrap())];
        for store in stores {
            let store = Exact::new(store);
            let key = Path::from("x");
            store.put(&key, vec![7; 100].into()).await.unwrap();
            let got = store.get_ranges(&key, &[90..100, 0..10, 5..20]).await.unwrap();
            assert_eq!(got.iter().map(Bytes::len).collect::<Vec<_>>(), [10, 10, 15]);
            for ranges in [vec![0..10, 150..200], vec![0..10, 95..200], vec![95..105], vec![200..300]] {
                let error = store.get_ranges(&key, &ranges).await.unwrap_err();
                assert!(!matches!(error, object_store::Error::NotFound { .. }), "{error}");
            }
            let error = store.get_ranges(&key, &[0..10, 95..200]).await.unwrap_err();
            assert_eq!(classify(&error), ErrorClass::Truncated, "{error}");
            #[allow(clippy::reversed_empty_ranges, reason = "what is tested")]
            for ranges in [[5..5], [9..5]] {
                assert!(store.get_ranges(&key, &ranges).await.is_err());
            }
            assert!(store.get_ranges(&key, &[]).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_early_without_an_error_is_one() {
        let (faulty, faults) = Fault::around(Arc::new(InMemory::new()));
        let store = Exact::new(faulty);
        let key = Path::from("x");
        store.put(&key, vec![7; 100].into()).await.unwrap();
        faults.add(Rule::new(Action::Truncate(60)).on([Op::Get]));
        for error in [
            store.get(&key).await.unwrap().bytes().await.unwrap_err(),
            store.get_range(&key, 10..90).await.unwrap_err(),
            store.get_ranges(&key, &[0..90, 95..99]).await.unwrap_err(),
        ] {
            assert_eq!(classify(&error), ErrorClass::Truncated, "{error}");
        }
        assert_eq!(store.head(&key).await.unwrap().size, 100);
    }
}
