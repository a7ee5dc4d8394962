//! A backend of your own. Whatever is an `object_store::ObjectStore` can be one: here a wrapper around any store that can be
//! unplugged. It is held to the suite of backends, and then six of them, at three sites, carry a repository that outlives the
//! loss of a site.
//!
//! `cargo run --release --example custom_backend`

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rsb_core::catalog::MemoryCatalog;
use rsb_core::codec::{CodecId, Codecs};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::{Backend, Cost, Depth, Engine, EngineConfig, Env, Progress, PutRequest, Role, Scheme, Scope, Spread};

/// A store with a plug. All handles are of one store.
#[derive(Clone, Debug)]
struct Unpluggable {
    inner: Arc<dyn ObjectStore>,
    unplugged: Arc<AtomicBool>,
}

impl Unpluggable {
    fn new(inner: Arc<dyn ObjectStore>) -> Self {
        Self { inner, unplugged: Arc::default() }
    }

    fn plug(&self, plugged: bool) {
        self.unplugged.store(!plugged, Ordering::Relaxed);
    }

    /// The store, while it is plugged in.
    fn store(&self) -> Result<&Arc<dyn ObjectStore>> {
        match self.unplugged.load(Ordering::Relaxed) {
            false => Ok(&self.inner),
            true => Err(Error::Generic { store: "Unpluggable", source: "it is unplugged".into() }),
        }
    }
}

impl fmt::Display for Unpluggable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unpluggable({})", self.inner)
    }
}

/// A wrapper forwards every method, those with a default too: what the inner store does better than the default is lost
/// otherwise. This lint says which one is forgotten.
#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Unpluggable {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.store()?.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store()?.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.store()?.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.store()?.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.store() {
            Ok(store) => store.delete_stream(locations),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.store() {
            Ok(store) => store.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.store() {
            Ok(store) => store.list_with_offset(prefix, offset),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store()?.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store()?.copy_opts(from, to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.store()?.rename_opts(from, to, options).await
    }
}

/// A backend with all that is said of it. A store that tells its failures apart in its own way adds `.classified_by(…)`.
fn backend(name: &str, site: &str, store: &Unpluggable) -> Backend {
    let domain = BTreeMap::from([("site".to_owned(), site.to_owned())]);
    Backend::with(name, Arc::new(store.clone()), domain, Role::Active, Cost::default())
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    // 1. The suite that every backend is held to. It panics where a rule is broken.
    let store = Unpluggable::new(Arc::new(InMemory::new()));
    rsb_core::testkit::backend::run(&store, rsb_core::testkit::backend::ALL).await;
    println!("{store} passes the suite of backends");

    // 2. Six of them at three sites: 4+2 outlives the loss of any site.
    let sites = ["attic", "cellar", "office"];
    let stores: Vec<(String, &str, Unpluggable)> =
        (0..6).map(|i| (format!("disk-{i}"), sites[i / 2], Unpluggable::new(Arc::new(InMemory::new())))).collect();
    let backends: Vec<Backend> = stores.iter().map(|(name, site, store)| backend(name, site, store)).collect();
    let mut config = EngineConfig::new("example", Scheme::new(4, 2, CodecId::NOVELPOLY, 64 << 10)?);
    config.spread = Spread::Label("site".into());
    let env = Env::system();
    Engine::init_markers(&config, &backends, &env).await?;
    let catalog = Arc::new(MemoryCatalog::default());
    let engine = Engine::open(config, backends, catalog, Codecs::with_builtin(), env).await?;

    // 3. A site burns down in the middle of it.
    let data = Bytes::from(vec![7; 3 << 20]);
    engine.create_bucket("photos", BucketSettings::default()).await?;
    let put = PutRequest { bucket: "photos".into(), key: "cat.jpg".into(), ..PutRequest::default() };
    let body = data.clone();
    engine.put(put, stream::once(async { Ok(body) }).boxed()).await?;
    stores.iter().filter(|(_, site, _)| *site == "cellar").for_each(|(_, _, store)| store.plug(false));
    let found = engine.get("photos", "cat.jpg", None, None).await?;
    let pieces: Vec<Bytes> = found.stream.try_collect().await?;
    assert!(pieces.concat() == data, "the object is another one");
    println!("without the cellar, photos/cat.jpg is read as it was written");

    // 4. And it comes back, whole.
    stores.iter().for_each(|(_, _, store)| store.plug(true));
    let scope = Scope::default();
    let plan = engine.plan_repair(&scope, Depth::Full, &Progress::default()).await?;
    let repaired = engine.repair(&plan, &Progress::default()).await?;
    println!("repaired: {} shards rebuilt, {} failed", repaired.shards_rebuilt, repaired.failed.len());
    engine.close().await?;
    Ok(())
}
