//! A backend: one named object store with a failure domain, a role, a cost model and what is known of its health.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

/// A hint in the extensions of a request to read: whoever asks takes the answer apart in steps of so many bytes, so pieces of
/// that length need not be put together again. A store may pay no heed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadStep(pub usize);

/// What a backend is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Read and written.
    #[default]
    Active,
    /// Read; its shards are being moved away.
    Draining,
    /// Read, never written or deleted from.
    ReadOnly,
    /// Read; written only when an active one fails.
    Spare,
}

/// What a backend's use costs, in the user's currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cost {
    /// A million reads (GET, HEAD).
    pub get_per_million: f64,
    /// A million writes (PUT, LIST).
    pub put_per_million: f64,
    /// 10^9 bytes read from it.
    pub egress_per_gb: f64,
    /// 10^9 bytes stored for a month.
    pub stored_per_gb_month: f64,
    /// Days that a file is paid for at least, also when it is removed before.
    pub minimum_days: f64,
    /// Bytes that a file is paid for at least.
    pub minimum_size: u64,
}

/// One named object store. Cheap to clone.
#[derive(Clone)]
pub struct Backend(Arc<Inner>);

struct Inner {
    name: String,
    store: Arc<dyn ObjectStore>,
    place: Option<String>,
    domain: BTreeMap<String, String>,
    role: Role,
    cost: Cost,
    health: Health,
    admitted: AtomicBool,
    drained: AtomicBool,
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend").field("name", &self.0.name).field("role", &self.0.role).finish_non_exhaustive()
    }
}

impl Backend {
    /// An active backend without labels or cost. Paths of the repository begin at the store's root.
    pub fn new(name: impl Into<String>, store: Arc<dyn ObjectStore>) -> Self {
        Self::with(name, store, BTreeMap::new(), Role::Active, Cost::default())
    }

    /// A backend with everything said.
    pub fn with(
        name: impl Into<String>,
        store: Arc<dyn ObjectStore>,
        domain: BTreeMap<String, String>,
        role: Role,
        cost: Cost,
    ) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            store,
            place: None,
            domain,
            role,
            cost,
            health: Health::default(),
            admitted: AtomicBool::new(false),
            drained: AtomicBool::new(false),
        }))
    }

    /// The same, shown to people as being at `place` (an address without secrets) instead of as its store shows itself. To be
    /// said before it is cloned.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.place = Some(place.into());
        }
        self
    }

    /// Where it is, for people.
    pub fn place(&self) -> String {
        self.0.place.clone().unwrap_or_else(|| self.0.store.to_string())
    }

    /// Its name, as in the config and in manifests.
    pub fn name(&self) -> &str {
        &self.0.name
    }
    /// Its store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.0.store
    }
    /// Its failure domain: labels such as provider, account, region, site, host.
    pub fn domain(&self) -> &BTreeMap<String, String> {
        &self.0.domain
    }
    /// Its role. One that is being drained is draining, whatever the config says, unless it may not be deleted from at all.
    pub fn role(&self) -> Role {
        match self.0.role {
            Role::Active | Role::Spare if self.0.drained.load(Ordering::Acquire) => Role::Draining,
            role => role,
        }
    }
    /// From now on it is drained, or no more.
    pub(crate) fn set_drained(&self, drained: bool) {
        self.0.drained.store(drained, Ordering::Release);
    }
    /// Its cost model.
    pub fn cost(&self) -> &Cost {
        &self.0.cost
    }
    /// What is known of its health.
    pub fn health(&self) -> &Health {
        &self.0.health
    }
    /// Whether its marker was read and is right: nothing is read from it or written to it before.
    pub fn is_admitted(&self) -> bool {
        self.0.admitted.load(Ordering::Acquire)
    }
    pub(crate) fn admit(&self) {
        self.0.admitted.store(true, Ordering::Release);
    }
    pub(crate) fn expel(&self) {
        self.0.admitted.store(false, Ordering::Release);
    }
    /// Whether new shards may be written to it.
    pub fn is_writable(&self) -> bool {
        matches!(self.role(), Role::Active | Role::Spare)
    }
}

/// What is known of a backend's health: a circuit breaker and a running latency. One that failed is passed over where another
/// can serve, and hardly waited for where none can, until it succeeds at something: the watch asks it for its marker
/// every few seconds, so no write and no read has to be the probe.
#[derive(Default)]
pub struct Health {
    failures_in_row: AtomicU32,
    latency_us: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// A backend's health at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSnapshot {
    /// No failure since the last success.
    pub healthy: bool,
    /// Failures since the last success.
    pub failures_in_row: u32,
    /// Running mean of the time to the first answer, milliseconds.
    pub latency_ms: u64,
    /// What the last failure said.
    pub last_error: Option<String>,
}

impl Health {
    /// An operation succeeded; `latency` is the time it took to answer, where that says something of the backend.
    pub fn succeeded(&self, latency: Option<Duration>) {
        self.failures_in_row.store(0, Ordering::Relaxed);
        if let Some(latency) = latency {
            let new = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            let old = self.latency_us.load(Ordering::Relaxed);
            self.latency_us.store(if old == 0 { new } else { (old * 7 + new) / 8 }, Ordering::Relaxed);
        }
    }

    /// An operation failed in a way that speaks of the backend (not "not found").
    pub fn failed(&self, error: &str) {
        self.failures_in_row.fetch_add(1, Ordering::Relaxed);
        *lock(&self.last_error) = Some(error.to_owned());
    }

    /// Whether it should be passed over where another can serve.
    pub fn is_suspect(&self) -> bool {
        self.failures_in_row.load(Ordering::Relaxed) > 0
    }

    /// Running mean of the time to the first answer.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency_us.load(Ordering::Relaxed))
    }

    /// Everything known now.
    pub fn snapshot(&self) -> HealthSnapshot {
        let failures_in_row = self.failures_in_row.load(Ordering::Relaxed);
        HealthSnapshot {
            healthy: failures_in_row == 0,
            failures_in_row,
            latency_ms: self.latency_us.load(Ordering::Relaxed) / 1000,
            last_error: lock(&self.last_error).clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A poisoned lock here guards plain values that are valid at every step.
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
