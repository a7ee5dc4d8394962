//! A folder of this machine as a backend. Writes are on the disk, file and directory entry, before they are answered.
//!
//! object_store makes missing folders on the way to a file. For a backend that would be dangerous: when a disk is not
//! mounted, shards would silently fill the disk below it. So each operation first looks whether the folder is there and
//! is the one that was opened; another one in its place is accepted only with a repository's marker in it, as after a
//! disk was mounted again.

mod leftovers;
mod pieces;
mod read;
mod write;

use std::fmt;
use std::fs::Metadata;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rsb_core::env::{Clock, SystemClock};
use rsb_core::format::paths;

/// The name in object_store's errors.
const STORE: &str = "folder";

/// A folder, opened when it is first used.
#[derive(Clone)]
pub(crate) struct Folder(Arc<Inner>);

struct Inner {
    backend: String,
    path: PathBuf,
    opened: Mutex<Option<Opened>>,
    /// Before the first write, what a killed writer left is looked for.
    cleaned: AtomicBool,
}

#[derive(Clone)]
struct Opened {
    identity: Identity,
    store: LocalFileSystem,
}

/// What tells one folder from another at the same path: file system and inode, where the system has them.
type Identity = (u64, u64);

#[cfg(unix)]
fn identity(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Identity {
    (0, 0)
}

/// Why a folder cannot be used now. Not "object not found": nothing is known of the objects.
#[derive(Debug, thiserror::Error)]
enum Absent {
    #[error("the folder {path} of backend {backend:?} cannot be used: {source}; is its disk mounted?")]
    Unreadable { backend: String, path: PathBuf, source: std::io::Error },
    #[error("{path} of backend {backend:?} is not a folder")]
    NotAFolder { backend: String, path: PathBuf },
    #[error(
        "the folder {path} of backend {backend:?} is not the one that was opened and has no rsb.json in it; is its disk mounted?"
    )]
    Replaced { backend: String, path: PathBuf },
}

impl From<Absent> for Error {
    fn from(absent: Absent) -> Self {
        Self::Generic { store: STORE, source: Box::new(absent) }
    }
}

impl Folder {
    pub(crate) fn new(backend: &str, path: PathBuf) -> Self {
        Self(Arc::new(Inner {
            backend: backend.to_owned(),
            path,
            opened: Mutex::default(),
            cleaned: AtomicBool::new(false),
        }))
    }

    /// The store of the folder as it is now. The look at the disk may block, so it is done beside the runtime's threads.
    async fn store(&self) -> Result<LocalFileSystem> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || inner.look()).await?
    }

    /// The store, for writing.
    async fn writable(&self) -> Result<LocalFileSystem> {
        let store = self.store().await?;
        self.clean_once();
        Ok(store)
    }

    fn clean_once(&self) {
        if !self.0.cleaned.swap(true, Ordering::Relaxed) {
            let inner = self.0.clone();
            // A thread of its own: the program may end before this does, and must not wait for it.
            let clean = move || match leftovers::remove(&inner.path, SystemClock.now_ms()) {
                0 => {}
                count => tracing::info!(backend = inner.backend, "{count} unfinished files of a killed writer removed"),
            };
            if let Err(error) = std::thread::Builder::new().name("leftovers".into()).spawn(clean) {
                tracing::warn!(backend = self.0.backend, "unfinished files are not looked for: {error}");
            }
        }
    }
}

impl Inner {
    fn look(&self) -> Result<LocalFileSystem> {
        let (backend, path) = (self.backend.clone(), self.path.clone());
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(source) => return Err(Absent::Unreadable { backend, path, source }.into()),
        };
        if !metadata.is_dir() {
            return Err(Absent::NotAFolder { backend, path }.into());
        }
        let identity = identity(&metadata);
        // A panicking holder leaves the old value or the new one, both whole.
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        match &*opened {
            Some(known) if known.identity == identity => return Ok(known.store.clone()),
            Some(_) if !has_marker(&self.path) => return Err(Absent::Replaced { backend, path }.into()),
            _ => {}
        }
        let store = LocalFileSystem::new_with_prefix(&self.path)?.with_fsync(true).with_automatic_cleanup(true);
        *opened = Some(Opened { identity, store: store.clone() });
        Ok(store)
    }

    /// A read that needs no disk, of the folder that is known.
    fn read_memory(&self, location: &Path, options: &GetOptions) -> Option<GetResult> {
        let device = || Some(self.opened.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.identity.0);
        read::from_memory(&self.path, location, options, device)
    }
}

fn has_marker(folder: &FilePath) -> bool {
    folder.join(paths::marker().as_ref()).is_file()
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folder").field(&self.0.path).finish()
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.0.path.display())
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Folder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if opts.mode != PutMode::Overwrite || !opts.attributes.is_empty() {
            return self.writable().await?.put_opts(location, payload, opts).await;
        }
        let (folder, location) = (self.clone(), location.clone());
        tokio::task::spawn_blocking(move || {
            let path = folder.0.look()?.path_to_filesystem(&location)?;
            folder.clean_once();
            let written = write::write(&path, &payload).map_err(|error| Error::Generic {
                store: STORE,
                source: read::of_file(&path, "written", &error).into(),
            })?;
            Ok(PutResult { e_tag: Some(read::e_tag(&written)), version: None, extensions: Default::default() })
        })
        .await?
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.writable().await?.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Some(found) = self.0.read_memory(location, &options) {
            return Ok(found);
        }
        let (inner, location) = (self.0.clone(), location.clone());
        tokio::task::spawn_blocking(move || {
            let path = inner.look()?.path_to_filesystem(&location)?;
            read::open(&path, &location, &options)
        })
        .await?
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store().await?.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.streamed(|store| store.delete_stream(locations))
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned();
        self.streamed(move |store| store.list(prefix.as_ref()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (prefix, offset) = (prefix.cloned(), offset.clone());
        self.streamed(move |store| store.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let listed = self.store().await?.list_with_delimiter(prefix).await;
        match listed {
            // A prefix under which nothing was ever written is an empty one, as with every other store.
            Err(Error::NotFound { .. }) => {
                Ok(ListResult { common_prefixes: vec![], objects: vec![], extensions: Default::default() })
            }
            other => other,
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store().await?.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store().await?.rename_opts(from, to, options).await
    }
}

impl Folder {
    fn streamed<T: Send + 'static>(
        &self,
        then: impl FnOnce(LocalFileSystem) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let folder = self.clone();
        futures::stream::once(async move { folder.store().await.map(then) }).try_flatten().boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn a_folder_that_goes_away_is_an_error_and_is_never_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("disk");
        let folder = Folder::new("nas", root.clone());
        let (key, missing) = (Path::from("s/00/x"), Path::from("s/00/y"));
        for absent in [folder.put(&key, "1".into()).await.err(), folder.head(&key).await.err()] {
            assert!(matches!(&absent, Some(Error::Generic { .. })), "{absent:?}");
        }
        assert!(!root.exists(), "nothing makes the folder");

        std::fs::create_dir(&root).unwrap();
        folder.put(&key, "1".into()).await.unwrap();
        assert!(matches!(folder.head(&missing).await, Err(Error::NotFound { .. })));
        std::fs::rename(&root, dir.path().join("away")).unwrap();
        assert!(matches!(folder.head(&key).await, Err(Error::Generic { .. })));
        assert!(folder.list(None).next().await.unwrap().is_err());
        assert!(folder.delete(&key).await.is_err());
        assert!(!root.exists());
        std::fs::rename(dir.path().join("away"), &root).unwrap();
        folder.head(&key).await.unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn another_folder_in_its_place_needs_a_marker() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("disk");
        std::fs::create_dir(&root).unwrap();
        let folder = Folder::new("nas", root.clone());
        folder.put(&Path::from("x"), "1".into()).await.unwrap();
        // The old folder stays, so that its inode is not given to the new one.
        std::fs::rename(&root, dir.path().join("away")).unwrap();
        std::fs::create_dir(&root).unwrap();
        let error = folder.put(&Path::from("x"), "1".into()).await.unwrap_err();
        assert!(error.to_string().contains("not the one that was opened"), "{error}");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "nothing is written to it");
        std::fs::write(root.join("rsb.json"), "{}").unwrap();
        folder.put(&Path::from("x"), "1".into()).await.unwrap();
    }

    #[tokio::test]
    async fn small_and_large_reads_agree_and_see_what_was_written_last() {
        use object_store::{GetOptions, GetRange};
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new("nas", dir.path().to_owned());
        let key = Path::from("s/00/x");
        for len in [10u64, 4096, 200_000, 3_000_000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 31 / 7) as u8).collect();
            let put = folder.put(&key, bytes.clone().into()).await.unwrap();
            let head = folder.head(&key).await.unwrap();
            assert_eq!((head.size, &head.e_tag), (len, &put.e_tag));
            for range in [0..len, 3..7, len / 2..len, len - 1..len + 100] {
                let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                let got = folder.get_opts(&key, options).await.unwrap();
                assert_eq!((got.range.clone(), &got.meta), (range.start..range.end.min(len), &head));
                let (from, to) = (got.range.start as usize, got.range.end as usize);
                assert!(got.bytes().await.unwrap() == bytes[from..to], "{range:?} of {len}");
            }
            let beyond = GetOptions { range: Some(GetRange::Bounded(len..len + 1)), ..GetOptions::default() };
            assert!(matches!(folder.get_opts(&key, beyond).await, Err(Error::Generic { .. })));
        }
    }

    #[tokio::test]
    async fn listing_an_unknown_prefix_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new("nas", dir.path().to_owned());
        let listed = folder.list_with_delimiter(Some(&Path::from("nothing/here"))).await.unwrap();
        assert!(listed.objects.is_empty() && listed.common_prefixes.is_empty());
        assert!(folder.list(Some(&Path::from("nothing"))).next().await.is_none());
    }
}
