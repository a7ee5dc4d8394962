//! From nothing to a store: the parts of a repository, put together by a program instead of a config file.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::join_all;
use object_store::ObjectStore;

use super::ErasureStore;
use crate::api::EtagMode;
use crate::backend::{Backend, Cost, Role};
use crate::catalog::{Catalog, MemoryCatalog};
use crate::codec::{CodecId, Codecs, ErasureCodec};
use crate::engine::{Engine, EngineConfig};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::BucketSettings;
use crate::placement::{self, Spread};
use crate::recover;
use crate::scheme::Scheme;

/// Blocks as a config file's default has them.
const BLOCK_SIZE: u32 = 64 << 10;

type Configure = Box<dyn FnOnce(&mut EngineConfig) + Send>;

/// Describes a repository and one bucket of it. What is not said is as in an empty config file, but for entity tags, which are
/// unique to each write instead of MD5: nobody waits for a digest that no S3 client asks for.
///
/// Nothing is global and nothing is started before [`build`](Self::build), which needs a tokio runtime, as all that follows.
pub struct ErasureStoreBuilder {
    name: String,
    bucket: String,
    shards: (usize, usize),
    codec: CodecId,
    codecs: Codecs,
    block_size: u32,
    backends: Vec<Backend>,
    catalog: Option<Arc<dyn Catalog>>,
    env: Env,
    create: bool,
    settings: BucketSettings,
    configure: Vec<Configure>,
}

impl Default for ErasureStoreBuilder {
    fn default() -> Self {
        Self {
            name: "rsb".into(),
            bucket: "data".into(),
            shards: (10, 3),
            codec: CodecId::NOVELPOLY,
            codecs: Codecs::with_builtin(),
            block_size: BLOCK_SIZE,
            backends: Vec::new(),
            catalog: None,
            env: Env::system(),
            create: false,
            settings: BucketSettings::default(),
            configure: Vec::new(),
        }
    }
}

impl fmt::Debug for ErasureStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErasureStoreBuilder")
            .field("name", &self.name)
            .field("bucket", &self.bucket)
            .field("shards", &self.shards)
            .field("backends", &self.backends)
            .finish_non_exhaustive()
    }
}

impl ErasureStoreBuilder {
    /// The repository's name, as in every marker. Default: `rsb`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The bucket that is the store. Default: `data`.
    #[must_use]
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = bucket.into();
        self
    }

    /// k data and m parity shards: any m backends may be lost. Default: 10 + 3.
    #[must_use]
    pub fn scheme(mut self, data_shards: usize, parity_shards: usize) -> Self {
        self.shards = (data_shards, parity_shards);
        self
    }

    /// Bytes of one block, the unit of checksums and range reads: a multiple of 64. Default: 65,536. Many small ranges are read
    /// with less waste from smaller ones.
    #[must_use]
    pub fn block_size(mut self, bytes: u32) -> Self {
        self.block_size = bytes;
        self
    }

    /// The code of new objects: a built-in one by its id. Default: [`CodecId::NOVELPOLY`].
    #[must_use]
    pub fn codec_id(mut self, codec: CodecId) -> Self {
        self.codec = codec;
        self
    }

    /// The code of new objects: one of your own, which whoever reads them later needs too.
    #[must_use]
    pub fn codec(mut self, codec: Arc<dyn ErasureCodec>) -> Self {
        self.codec = codec.id();
        self.codecs.register(codec);
        self
    }

    /// A backend: any object store, under a name that it keeps for ever (its marker holds it), with the labels of what it is
    /// lost together with. Paths of the repository begin at the store's root; an `object_store::prefix::PrefixStore` moves them.
    #[must_use]
    pub fn backend<K: Into<String>, V: Into<String>>(
        self,
        name: impl Into<String>,
        store: Arc<dyn ObjectStore>,
        domain: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let domain: BTreeMap<String, String> = domain.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        self.with_backend(Backend::with(name, store, domain, Role::Active, Cost::default()))
    }

    /// A backend with everything said: role, cost, how its errors are told apart.
    #[must_use]
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backends.push(backend);
        self
    }

    /// The index of what is stored. Default: [`MemoryCatalog`], which is rebuilt from the backends at each opening; a catalog that
    /// lasts (`rsb_backends::catalog::SqliteCatalog`, or your own) makes opening quick.
    #[must_use]
    pub fn catalog(mut self, catalog: Arc<dyn Catalog>) -> Self {
        self.catalog = Some(catalog);
        self
    }

    /// Which domain label no m + 1 shards may share. Default: `provider`; with [`Spread::None`] shards may share anything.
    #[must_use]
    pub fn spread(self, spread: Spread) -> Self {
        self.configure(move |config| config.spread = spread)
    }

    /// Changes anything else of how the repository is run.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(&mut EngineConfig) + Send + 'static) -> Self {
        self.configure.push(Box::new(change));
        self
    }

    /// Where time, randomness and ids come from. Default: the system's.
    #[must_use]
    pub fn env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// Sets up what is not there: the repository, where all its backends answer and are empty, and the bucket. Default: false, so
    /// that a mistyped place is an error and not a new, empty repository.
    #[must_use]
    pub fn create_if_missing(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// The settings of the bucket where it is created, such as that it keeps all versions.
    #[must_use]
    pub fn bucket_settings(mut self, settings: BucketSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Opens the repository.
    ///
    /// Errors: `Config` where backends, domains and scheme do not fit each other, where nothing was set up and nothing is to be
    /// created, and where a backend that is to become one of a new repository is not empty; `Unavailable` where too few
    /// backends answer; `NotFound` where the bucket does not exist and is not to be created.
    pub async fn build(self) -> Result<ErasureStore> {
        let scheme = Scheme::new(self.shards.0, self.shards.1, self.codec, self.block_size)?;
        let mut config = EngineConfig::new(self.name, scheme);
        config.etag = EtagMode::Fast;
        for change in self.configure {
            change(&mut config);
        }
        set_up(&config, &self.backends, &self.env, self.create).await?;
        let catalog = self.catalog.unwrap_or_else(|| Arc::new(MemoryCatalog::default()));
        let engine = Engine::open(config, self.backends, catalog, self.codecs, self.env).await?;
        let store = ErasureStore::new(engine, self.bucket)?;
        store.find_bucket(self.create.then_some(self.settings)).await?;
        Ok(store)
    }
}

impl ErasureStore {
    async fn find_bucket(&self, settings: Option<BucketSettings>) -> Result<()> {
        let (engine, name) = (&self.engine, &self.bucket);
        match (engine.bucket(name).await, settings) {
            (Err(error), Some(settings)) if error.kind() == ErrorKind::NotFound => {
                match engine.create_bucket(name, settings).await {
                    // Somebody else who opened it at the same time was sooner.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
                    made => made.map(drop),
                }
            }
            (found, _) => found.map(drop),
        }
    }
}

/// Where all backends answer and none has a marker, there is no repository: it is created, if it may be and all are empty.
async fn set_up(config: &EngineConfig, backends: &[Backend], env: &Env, may_create: bool) -> Result<()> {
    // What does not fit is refused before anything is written.
    placement::prove(backends, &config.spread, config.scheme.k(), config.scheme.m())?;
    let markers = join_all(backends.iter().map(recover::read_marker)).await;
    if !markers.iter().all(|marker| matches!(marker, Ok(None))) {
        // Opening it says what is wrong, if anything is.
        return Ok(());
    }
    if !may_create {
        return Err(Error::config(format!(
            "no backend of repository {:?} has a marker: either the places are wrong, or it was never set up; say create_if_missing(true) to set it up",
            config.name
        )));
    }
    let firsts = join_all(backends.iter().map(|backend| async { backend.store().list(None).next().await })).await;
    for (backend, first) in backends.iter().zip(firsts) {
        let name = backend.name();
        match first {
            None => {}
            Some(Ok(file)) => {
                return Err(Error::config(format!(
                    "no backend has a marker, and backend {name:?} is not empty (it has {}): give it an empty place, or the one that the repository is at",
                    file.location
                ))
                .backends([name]));
            }
            Some(Err(error)) => {
                return Err(Error::unavailable(format!(
                    "backend {name:?} cannot be listed, so it is not known to be empty"
                ))
                .backends([name])
                .source(error));
            }
        }
    }
    Engine::init_markers(config, backends, env).await.map(drop)
}
