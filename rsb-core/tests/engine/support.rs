//! A repository on stores in memory that outlives its engines, and short words for what a person does with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_core::catalog::{Catalog, ListQuery, MemoryCatalog, Precondition};
use rsb_core::codec::{CodecId, Codecs};
use rsb_core::env::{Clock, Compute, Env, SystemClock, SystemRandom};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::*;

use crate::gate::{Fuse, Gate, Refusals};

/// The real time, turned by so many milliseconds (the stores note the real time of a write).
#[derive(Debug, Default)]
pub struct Turned(AtomicI64);

impl Turned {
    /// Turns the clock forwards, or back.
    pub fn turn(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for Turned {
    fn now_ms(&self) -> u64 {
        SystemClock.now_ms().saturating_add_signed(self.0.load(Ordering::SeqCst))
    }
}

pub const HOUR_MS: i64 = 3_600_000;

/// A repository on stores in memory that outlives its engines.
pub struct World {
    /// The stores themselves, for the test's own hands.
    pub stores: Vec<(String, Arc<InMemory>)>,
    /// What the engine sees of them.
    pub gates: Vec<Gate>,
    pub config: EngineConfig,
    pub clock: Arc<Turned>,
    pub fuse: Fuse,
}

impl World {
    pub fn new(k: usize, m: usize, backends: usize) -> Self {
        let scheme = Scheme::new(k, m, CodecId::NOVELPOLY, 4096).unwrap();
        let mut config = EngineConfig::new("test", scheme);
        config.segment_size = 100_000;
        config.inline_limit = 1000;
        config.grace = Duration::ZERO;
        Self::of((0..backends).map(|i| (format!("b{i}"), Arc::new(InMemory::new()))).collect(), config)
    }

    /// A world of these stores.
    pub fn of(stores: Vec<(String, Arc<InMemory>)>, config: EngineConfig) -> Self {
        let fuse = Fuse::default();
        let gates = stores.iter().map(|(_, store)| Gate::new(store.clone(), fuse.clone())).collect();
        Self { stores, gates, config, clock: Arc::default(), fuse }
    }

    /// Another world in which the same has happened so far. Nothing refuses in it.
    pub fn fork(&self) -> Self {
        let copy = |(name, store): &(String, Arc<InMemory>)| (name.clone(), Arc::new(store.fork()));
        let world = Self::of(self.stores.iter().map(copy).collect(), self.config.clone());
        world.clock.turn(self.clock.0.load(Ordering::SeqCst));
        world
    }

    pub fn env(&self) -> Env {
        Env::new(self.clock.clone(), Arc::new(SystemRandom), Compute::Blocking)
    }

    /// The backends, without those that are away.
    pub fn backends(&self, away: &[usize]) -> Vec<Backend> {
        let make = |(i, (name, _)): (usize, &(String, Arc<InMemory>))| {
            let gate = match away.contains(&i) {
                true => {
                    let dead = Gate::new(Arc::default(), Fuse::default());
                    dead.refuse(Refusals { all: true, ..Refusals::default() });
                    dead
                }
                false => self.gates[i].clone(),
            };
            let domain = BTreeMap::from([("provider".to_owned(), name.clone())]);
            Backend::with(name.clone(), Arc::new(gate), domain, Role::Active, Cost::default())
        };
        self.stores.iter().enumerate().map(make).collect()
    }

    pub async fn init(&self) {
        Engine::init_markers(&self.config, &self.backends(&[]), &self.env()).await.unwrap();
    }

    /// Opens it with an empty catalog, which is rebuilt.
    pub async fn open(&self, away: &[usize]) -> Engine {
        self.open_with(Arc::new(MemoryCatalog::default()), away).await.unwrap()
    }

    pub async fn open_with(&self, catalog: Arc<dyn Catalog>, away: &[usize]) -> Result<Engine> {
        let backends = self.backends(away);
        Engine::open(self.config.clone(), backends, catalog, Codecs::with_builtin(), self.env()).await
    }

    /// Refuses this on these backends, and nothing on the others.
    pub fn refuse(&self, backends: &[usize], refusals: Refusals) {
        for (i, gate) in self.gates.iter().enumerate() {
            gate.refuse(if backends.contains(&i) { refusals.clone() } else { Refusals::default() });
        }
    }

    /// All backends work again.
    pub fn heal(&self) {
        self.refuse(&[], Refusals::default());
    }

    pub async fn paths(&self, backend: usize, folder: &str) -> Vec<Path> {
        let listed = self.stores[backend].1.list(Some(&Path::from(folder)));
        let mut paths: Vec<Path> = listed.map_ok(|m| m.location).try_collect().await.unwrap();
        paths.sort();
        paths
    }

    /// Every file of a folder on every backend.
    pub async fn files(&self, folder: &str) -> BTreeSet<(usize, Path)> {
        let mut files = BTreeSet::new();
        for backend in 0..self.stores.len() {
            files.extend(self.paths(backend, folder).await.into_iter().map(|path| (backend, path)));
        }
        files
    }

    pub async fn wipe(&self, backend: usize) {
        for folder in ["s", "m"] {
            for path in self.paths(backend, folder).await {
                self.stores[backend].1.delete(&path).await.unwrap();
            }
        }
    }

    pub async fn flip(&self, backend: usize, path: &Path, at: usize) {
        let store = &self.stores[backend].1;
        let mut bytes = store.get(path).await.unwrap().bytes().await.unwrap().to_vec();
        bytes[at] ^= 1;
        store.put(path, bytes.into()).await.unwrap();
    }
}

pub fn body(bytes: &[u8]) -> BodyStream {
    let chunks: Vec<Result<Bytes>> = bytes.chunks(7001).map(|c| Ok(Bytes::copy_from_slice(c))).collect();
    futures::stream::iter(chunks).boxed()
}

pub fn content(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i as u64).wrapping_mul(2_654_435_761).to_le_bytes()[2] ^ seed).collect()
}

pub async fn put(engine: &Engine, key: &str, bytes: &[u8]) -> Result<ObjectInfo> {
    let request = PutRequest { bucket: "bucket".into(), key: key.into(), ..PutRequest::default() };
    engine.put(request, body(bytes)).await
}

/// Writes an object with a scheme of its own.
pub async fn put_as(engine: &Engine, key: &str, bytes: &[u8], (k, m): (usize, usize)) -> Result<ObjectInfo> {
    let (data_shards, parity_shards) = (Some(k), Some(m));
    let request =
        PutRequest { bucket: "bucket".into(), key: key.into(), data_shards, parity_shards, ..PutRequest::default() };
    engine.put(request, body(bytes)).await
}

pub async fn get(engine: &Engine, key: &str, range: Option<ByteRange>) -> Result<Vec<u8>> {
    let chunks: Vec<Bytes> = engine.get("bucket", key, None, range).await?.stream.try_collect().await?;
    Ok(chunks.concat())
}

/// Everything is whole, byte by byte, and nothing stands in the ledger.
pub async fn assert_whole(engine: &Engine) {
    let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
    let report = engine.check(&request, &Progress::default()).await.unwrap();
    assert!(report.damaged.is_empty(), "{:?}", report.damaged);
    assert_eq!(engine.ledger(None, 10).await.unwrap(), []);
}

/// Waits until something is so.
pub async fn until<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    for _ in 0..2000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come true");
}

pub async fn delete(engine: &Engine, key: &str) -> Result<Deleted> {
    engine.delete("bucket", key, None, Precondition::None).await
}

pub async fn sweep(engine: &Engine) -> SweepReport {
    engine.sweep(SweepRequest::default(), &Progress::default()).await.unwrap()
}

/// Time goes by, until nothing of an earlier process can be on its way any more.
pub async fn outlive_earlier(world: &World, engine: &Engine) {
    world.clock.turn(2 * HOUR_MS);
    sweep(engine).await;
}

/// A new repository with a bucket.
pub async fn with_bucket(world: &World) -> Engine {
    world.init().await;
    let engine = world.open(&[]).await;
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    engine
}

pub async fn keys(engine: &Engine) -> Vec<String> {
    let query = ListQuery { bucket: "bucket".into(), limit: 1000, ..ListQuery::default() };
    let listing = engine.list(&query).await.unwrap();
    listing.objects.iter().map(|o| o.info.manifest.key.clone()).collect()
}

/// How many shards, and how many copies of a record, must be durable before a write is acknowledged.
pub fn quorums(k: usize, m: usize) -> (usize, usize) {
    let shards = k + m.saturating_sub(1).max(1).min(m);
    (shards, shards.max(m + 1))
}

/// Every choice of `count` out of `of`.
pub fn subsets(of: usize, count: usize) -> Vec<Vec<usize>> {
    let chosen = |bits: u32| (0..of).filter(|i| bits >> i & 1 == 1).collect::<Vec<_>>();
    (0..1u32 << of).filter(|bits| bits.count_ones() as usize == count).map(chosen).collect()
}

/// All schemes under test: (k, m, backends). Usual, k ≤ m, and more backends than shards.
pub const SCHEMES: [(usize, usize, usize); 6] = [(4, 2, 6), (1, 3, 4), (2, 4, 6), (2, 1, 7), (1, 3, 7), (3, 2, 7)];

/// A backend that cannot be reached.
pub const AWAY: Refusals =
    Refusals { all: true, puts: None, deletes: None, lists: false, gets: None, loses: None, delay: None, waits: false };

pub async fn reachable(engine: &Engine, backend: usize) -> bool {
    engine.status().await.unwrap().backends[backend].reachable
}
