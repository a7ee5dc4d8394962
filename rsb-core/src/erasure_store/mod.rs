//! The engine as an [`ObjectStore`]: one bucket of a repository, for whatever speaks `object_store`. A store made of stores.
//!
//! Read in this order: this file (the store), `builder` (how one is made), `facts` (what an object is called on both
//! sides), `errors`, then `read`, `write`, `upload`, `list`, `url` (what it does).
//!
//! What it promises beyond the trait:
//!
//! * **Acknowledged means safe**: a write has succeeded only when enough shards and copies of its description are durable on
//!   distinct backends. How many are short of all is in the [`ObjectInfo`](crate::ObjectInfo) that every result carries in
//!   its extensions.
//! * **Conditions are atomic**: `PutMode::Create`, `PutMode::Update` and `CopyMode::Create` have one winner, whoever tries at
//!   once. Who finds another conditional write of the key in progress waits for it and looks again.
//! * **Degraded is invisible**: with up to m shards of an object lost or rotten every read gives its bytes. With more of them
//!   lost it fails, and [`ErasureStore::cause`] gives the engine's own error, which names what is missing.
//! * **Entity tags** are those of the engine, in quotes, as the gateway gives them: MD5 of the bytes, or unique to the write
//!   where the repository makes them so (the builder's default). They never change while a version stands. A copy has the tag
//!   of its source.
//! * **Versions** are named only where they stay readable after the next write: in a bucket that keeps all of them.
//! * **Copy and rename move no bytes.** A rename is a copy and then a delete of just the version that was copied: between
//!   the two both are seen, and a newer write of the source is left alone.
//! * **Deleting what is not there succeeds**, as with S3.
//! * A key that no [`Path`] can name (`a//b`, written through another door) is left out of listings.

mod builder;
mod errors;
mod facts;
mod list;
mod read;
mod upload;
mod url;
mod write;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, RenameTargetMode, Result,
};

pub use self::builder::ErasureStoreBuilder;
pub use self::url::{SCHEME, parse_url};
use crate::engine::Engine;
use crate::error::Error;
use crate::names;

/// One bucket of a repository as an [`ObjectStore`]. Cheap to clone. See the [module](self).
#[derive(Clone)]
pub struct ErasureStore {
    engine: Engine,
    bucket: String,
}

impl ErasureStore {
    /// A store of a bucket of a repository that is open. The bucket is not looked for: while there is none of this name
    /// whatever is asked for is not found. `Invalid` where no bucket can be called so.
    pub fn new(engine: Engine, bucket: impl Into<String>) -> crate::Result<Self> {
        let bucket = bucket.into();
        names::check_bucket(&bucket)?;
        Ok(Self { engine, bucket })
    }

    /// Describes a repository from scratch: the way to one without a config file or a gateway.
    pub fn builder() -> ErasureStoreBuilder {
        ErasureStoreBuilder::default()
    }

    /// The engine below: check, repair, ledger, drains, other buckets.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Refuses new writes, waits for what is in flight, and closes the catalog, for all stores of this engine. A repository
    /// that was not closed loses nothing, and takes longer to open.
    pub async fn close(&self) -> crate::Result<()> {
        self.engine.close().await
    }

    /// The engine's own error behind one of this store, also where another store has wrapped it: its kind says what can be
    /// done, and it names the object and the backends.
    pub fn cause(error: &object_store::Error) -> Option<&Error> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Error>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }
}

impl fmt::Display for ErasureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErasureStore({}/{})", self.engine.config().name, self.bucket)
    }
}

impl fmt::Debug for ErasureStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasureStore")
            .field("repository", &self.engine.config().name)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl ObjectStore for ErasureStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(self.begin(location, options).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.delete_all(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects(prefix, None)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects(prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.level(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.duplicate(from, to, options.mode == CopyMode::Create).await.map(drop)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.rename(from, to, options.target_mode == RenameTargetMode::Create).await
    }
}
