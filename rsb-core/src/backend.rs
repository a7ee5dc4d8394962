//! A backend: one named object store with a failure domain, a role, a cost model and what is known of its health.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::health::{Classify, ErrorClass, classify};
pub use crate::health::{Health, HealthSnapshot};

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
    classify: Classify,
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
            classify,
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

    /// The same, whose store's errors are told apart by `classify`. To be said before it is cloned.
    #[must_use]
    pub fn classified_by(mut self, classify: Classify) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.classify = classify;
        }
        self
    }

    /// The class of an error of its store.
    pub fn class_of(&self, error: &object_store::Error) -> ErrorClass {
        (self.0.classify)(error)
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
    pub(crate) fn is_admitted(&self) -> bool {
        self.0.admitted.load(Ordering::Acquire)
    }
    pub(crate) fn admit(&self) {
        self.0.admitted.store(true, Ordering::Release);
    }
    pub(crate) fn expel(&self) {
        self.0.admitted.store(false, Ordering::Release);
    }
    /// Whether new shards may be written to it.
    pub(crate) fn is_writable(&self) -> bool {
        matches!(self.role(), Role::Active | Role::Spare)
    }
}
