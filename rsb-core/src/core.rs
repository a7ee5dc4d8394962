//! What all parts of an opened repository share.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::Backend;
use crate::catalog::Catalog;
use crate::certainty::Certainty;
use crate::codec::Codecs;
use crate::engine::EngineConfig;
use crate::env::{Env, Flaw};
use crate::error::{Error, Result};
use crate::events::Events;
use crate::format::checksum::Checksums;
use crate::health::Bounds;
use crate::id::{BatchId, DataId, RepositoryId, UploadId};
use crate::lease::Leases;
use crate::upkeep::Upkeep;
use crate::watch::Absences;

/// Objects that share one of so many locks wait for each other's revisions.
const REVISION_LOCKS: u64 = 64;

/// Memory is handed out in units of this many bytes.
const MEMORY_UNIT: u64 = 64 << 10;

/// What all parts of an opened repository share.
pub(crate) struct Core {
    pub config: EngineConfig,
    pub repository: RepositoryId,
    /// Every record is acknowledged only when more than this many backends hold it, whatever its scheme.
    pub record_margin: usize,
    pub backends: Vec<Backend>,
    pub catalog: Arc<dyn Catalog>,
    pub codecs: Codecs,
    pub env: Env,
    pub checksums: Checksums,
    pub leases: Leases,
    pub events: Arc<Events>,
    pub upkeep: Upkeep,
    pub absences: Mutex<Absences>,
    /// Background work that outlives the call that started it; `close` waits for it.
    pub tasks: TaskTracker,
    pub write_memory: MemoryPool,
    pub read_memory: MemoryPool,
    /// Data ids whose bytes are arriving: no sweep touches them, however old they get.
    arriving: Mutex<BTreeSet<DataId>>,
    /// Batches that are being written: what is seen of them says nothing yet.
    flying: Mutex<BTreeSet<BatchId>>,
    pub certainty: Certainty,
    /// Held together by those who change the catalog or remove what it does not name, alone by the one who makes it anew.
    /// `moving` is taken before it, `changing_batch` after it. Nobody may wait for a commit while holding it: the commit would wait for the one who waits to hold it alone.
    pub whole: tokio::sync::RwLock<()>,
    /// Held together from looking a version up to having leases on what it points at.
    pub looking_up: tokio::sync::RwLock<()>,
    /// One revision of a version is written at a time: two writers of the same number would lose one of them.
    revisions: Vec<tokio::sync::Mutex<()>>,
    /// Held from looking at an upload's parts to changing what it has, so that none is removed while it is completed.
    uploads: Vec<Arc<tokio::sync::Mutex<()>>>,
    /// Held while who holds a batch is changed, from reading it to writing it.
    batches: Vec<tokio::sync::Mutex<()>>,
    /// Shards are written to new places by those who hold it together, until a manifest names the place; what no manifest
    /// names is looked for and removed by the one who holds it alone.
    pub moving: tokio::sync::RwLock<()>,
    /// One move at a time.
    pub mover: tokio::sync::Mutex<()>,
    /// Uploads whose object may become visible although its write was not acknowledged: their parts' shards must stay.
    doubtful_uploads: Mutex<BTreeSet<UploadId>>,
    /// Rows of uploads begun before this time (milliseconds since the Unix epoch) may be older than what was done: a catalog
    /// that was not closed may have lost its last transactions. 0 where it was closed.
    uploads_unsure_before_ms: AtomicU64,
    /// Ends the work that goes on for as long as the repository is open.
    pub closing: CancellationToken,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl Core {
    #[allow(clippy::too_many_arguments, reason = "the parts of an opened repository, put together in one place")]
    pub fn new(
        config: EngineConfig,
        repository: RepositoryId,
        record_margin: usize,
        backends: Vec<Backend>,
        catalog: Arc<dyn Catalog>,
        codecs: Codecs,
        env: Env,
    ) -> Self {
        let memory = config.memory_limit;
        let events = Arc::new(Events::new(env.clone()));
        for backend in &backends {
            backend.health().set_bounds(Bounds {
                hedge: (config.hedge_least.min(config.hedge_after), config.hedge_after),
                straggler: (config.straggler_least.min(config.straggler_limit), config.straggler_limit),
            });
            let (events, name) = (Arc::downgrade(&events), backend.name().to_owned());
            backend.health().listen(Arc::new(move |kind, detail| {
                if let Some(events) = events.upgrade() {
                    events.tell(kind, Some(&name), detail);
                }
            }));
        }
        Self {
            events,
            upkeep: Upkeep::default(),
            absences: Mutex::default(),
            checksums: Checksums::new(repository),
            repository,
            record_margin,
            backends,
            catalog,
            codecs,
            env,
            leases: Leases::default(),
            tasks: TaskTracker::new(),
            // Writes buffer whole segments, reads a few stripes; the rest is left to HTTP and the backends' clients.
            write_memory: MemoryPool::new(memory / 2),
            read_memory: MemoryPool::new(memory / 4),
            arriving: Mutex::default(),
            flying: Mutex::default(),
            certainty: Certainty::new(&config),
            whole: tokio::sync::RwLock::default(),
            looking_up: tokio::sync::RwLock::default(),
            revisions: (0..REVISION_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            uploads: (0..REVISION_LOCKS).map(|_| Arc::default()).collect(),
            batches: (0..REVISION_LOCKS).map(|_| tokio::sync::Mutex::default()).collect(),
            moving: tokio::sync::RwLock::default(),
            mover: tokio::sync::Mutex::default(),
            doubtful_uploads: Mutex::default(),
            uploads_unsure_before_ms: AtomicU64::new(0),
            closing: CancellationToken::new(),
            config,
        }
    }

    /// A backend by name; `None` when the config does not have it (any more).
    pub fn backend(&self, name: &str) -> Option<&Backend> {
        self.backends.iter().find(|b| b.name() == name)
    }

    /// A backend by name, when it may be talked to.
    pub fn admitted(&self, name: &str) -> Option<&Backend> {
        self.backend(name).filter(|b| b.is_admitted())
    }

    /// How many shards or record copies of a scheme must be durable before a write is acknowledged. With `record` also
    /// more than m, so that any n - m backends show the record.
    pub fn ack_count(&self, k: usize, m: usize) -> usize {
        let margin = self.config.ack_margin.unwrap_or_else(|| m.saturating_sub(1).max(1)).min(m);
        if self.env.has(Flaw::AcknowledgesEarly) {
            return k;
        }
        k + margin
    }

    /// How many copies of a record of a scheme are written, and how many must be durable to acknowledge it.
    pub fn record_quorum(&self, k: usize, m: usize) -> (usize, usize) {
        let quorum = self.ack_count(k, m).max(m + 1).max(self.record_margin + 1);
        ((k + m).max(quorum), quorum)
    }

    /// How many shards (or copies) of a scheme may share a domain.
    pub fn max_per_domain(&self, m: usize) -> usize {
        m.max(1)
    }

    /// The ids of what is read, or copied, by somebody who may have looked it up before it was moved: whoever looks up from now
    /// on sees what the catalog has now.
    pub async fn held_by_now(&self) -> HashSet<uuid::Uuid> {
        drop(self.looking_up.write().await);
        self.leases.held()
    }

    /// Held from reading an object's manifest to committing the next revision of it.
    pub async fn revising(&self, bucket: &str, key: &str) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (bucket, key).hash(&mut hasher);
        self.revisions[(hasher.finish() % REVISION_LOCKS) as usize].lock().await
    }

    /// Held from reading who holds a batch to writing who holds it then.
    pub async fn changing_batch(&self, id: BatchId) -> tokio::sync::MutexGuard<'_, ()> {
        self.batches[(id.0.as_u64_pair().1 % REVISION_LOCKS) as usize].lock().await
    }

    /// Held while an upload's parts are changed or put together.
    pub async fn changing_upload(&self, id: UploadId) -> tokio::sync::OwnedMutexGuard<()> {
        let at = id.0.as_u64_pair().1 % REVISION_LOCKS;
        self.uploads[at as usize].clone().lock_owned().await
    }

    /// The shards of an upload's parts must stay until a catch-up has looked for its object.
    pub fn doubt_upload(&self, id: UploadId) {
        lock(&self.doubtful_uploads).insert(id);
    }

    /// The catalog was not closed: what it says of uploads is looked at before it is believed.
    pub fn doubt_uploads_so_far(&self) {
        self.uploads_unsure_before_ms.store(self.env.now_ms().saturating_add(1), Ordering::Relaxed);
    }

    /// Whether what the catalog says of an upload begun at that time may be out of date.
    pub fn is_upload_unsure(&self, created_ms: u64) -> bool {
        created_ms < self.uploads_unsure_before_ms.load(Ordering::Relaxed)
    }

    pub fn is_doubtful_upload(&self, id: UploadId) -> bool {
        lock(&self.doubtful_uploads).contains(&id)
    }

    /// Protects a data id whose bytes are arriving from the sweep, until the guard is dropped.
    pub fn arriving(self: &Arc<Self>, id: DataId) -> Arriving {
        lock(&self.arriving).insert(id);
        Arriving { core: self.clone(), id }
    }

    /// Says that a batch is being written, until the guard is dropped: until it is committed or undone.
    pub fn flying(self: &Arc<Self>, id: BatchId) -> Flying {
        lock(&self.flying).insert(id);
        Flying { core: self.clone(), id }
    }

    /// Whether a batch is being written.
    pub fn is_flying(&self, id: BatchId) -> bool {
        lock(&self.flying).contains(&id)
    }

    /// The smallest data id whose bytes are arriving.
    pub fn first_arriving(&self) -> Option<DataId> {
        lock(&self.arriving).first().copied()
    }
}

/// See [`Core::arriving`].
pub(crate) struct Arriving {
    core: Arc<Core>,
    id: DataId,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        lock(&self.core.arriving).remove(&self.id);
    }
}

/// See [`Core::flying`].
pub(crate) struct Flying {
    core: Arc<Core>,
    id: BatchId,
}

impl Drop for Flying {
    fn drop(&mut self) {
        lock(&self.core.flying).remove(&self.id);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these locks, and the values are valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bounded amount of memory that is waited for.
#[derive(Debug)]
pub(crate) struct MemoryPool {
    units: u32,
    semaphore: Arc<Semaphore>,
}

impl MemoryPool {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / MEMORY_UNIT).unwrap_or(u32::MAX >> 3).clamp(1, u32::MAX >> 3);
        Self { units, semaphore: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits for `bytes` of memory, or for the whole pool where it is smaller.
    pub async fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        self.semaphore.clone().acquire_many_owned(units).await.map_err(|_| Error::internal("the memory pool is closed"))
    }
}
