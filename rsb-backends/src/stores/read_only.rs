//! A web server's store: it can be read, and every write is refused with a sentence before anything is sent.
//!
//! object_store's HTTP store lists paths from the server's root, also where the url names a folder below it; here they
//! are relative to that folder, as the reads are.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use futures::future::ready;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};

/// Forwards reads and refuses writes.
#[derive(Debug)]
pub(crate) struct ReadOnly<T> {
    inner: T,
    backend: String,
    /// The url's path.
    base: Path,
}

impl<T> ReadOnly<T> {
    /// `inner`, whose url's path is `base`.
    pub(crate) fn new(backend: &str, inner: T, base: Path) -> Self {
        Self { inner, backend: backend.to_owned(), base }
    }

    fn refuse<R>(&self) -> Result<R> {
        Err(refusal(&self.backend))
    }
}

fn strip(base: &Path, path: Path) -> Path {
    path.prefix_match(base).map(Path::from_iter).unwrap_or(path)
}

fn relative(base: &Path, meta: ObjectMeta) -> ObjectMeta {
    ObjectMeta { location: strip(base, meta.location.clone()), ..meta }
}

fn refusal(backend: &str) -> Error {
    let sentence =
        format!("backend {backend:?} is a web server, which is only read; write role = \"read-only\" for it");
    Error::NotSupported { source: sentence.into() }
}

impl<T: ObjectStore> fmt::Display for ReadOnly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadOnly({})", self.inner)
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ObjectStore> ObjectStore for ReadOnly<T> {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.refuse()
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.refuse()
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let backend = self.backend.clone();
        locations.map(move |location| location.and_then(|_| Err(refusal(&backend)))).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let base = self.base.clone();
        self.inner.list(prefix).map_ok(move |meta| relative(&base, meta)).boxed()
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let offset = offset.clone();
        self.list(prefix).try_filter(move |meta| ready(meta.location > offset)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let found = self.inner.list_with_delimiter(prefix).await?;
        let asked = prefix.cloned().unwrap_or_default();
        let below = found.common_prefixes.into_iter().map(|path| strip(&self.base, path));
        Ok(ListResult {
            // The folder that was asked for is among its own entries.
            common_prefixes: below.filter(|path| *path != asked).collect(),
            objects: found.objects.into_iter().map(|meta| relative(&self.base, meta)).collect(),
            extensions: found.extensions,
        })
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        self.refuse()
    }

    async fn rename_opts(&self, _: &Path, _: &Path, _: RenameOptions) -> Result<()> {
        self.refuse()
    }
}
