//! Upkeep: what the repository does of itself while it is open. The ledger is worked off (`heal`), what is stored is looked
//! at again and again (`scrub`), each within a budget of the day (`budget`).

pub(crate) mod budget;
pub(crate) mod heal;
pub(crate) mod scrub;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::budget::{Budget, Spent};
pub use self::scrub::{Cycle, ScrubConfig, ScrubStatus};
use crate::core::{Core, lock};
use crate::write::commit::Committer;

/// How the ledger is worked off.
#[derive(Clone, Debug, PartialEq)]
pub struct HealConfig {
    /// How often it is looked at; what can be done is done at once then.
    pub every: Duration,
    /// What a backend that is away should hold is rebuilt on another one after this time; at once where nothing more may
    /// be lost.
    pub elsewhere_after: Duration,
    /// What it may cost in a day.
    pub budget: Budget,
}

impl Default for HealConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(10), elsewhere_after: Duration::from_secs(3600), budget: Budget::default() }
    }
}

/// What upkeep has done since the program started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpkeepStatus {
    /// The ledger's work; absent where nobody does it here.
    pub heal: Option<HealStatus>,
    /// The scrubber's; absent where there is none here.
    pub scrub: Option<ScrubStatus>,
}

/// What was healed since the program started.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealStatus {
    /// When the ledger was last worked through: milliseconds since the Unix epoch, 0 for not yet.
    pub last_ms: u64,
    /// Shards and manifest copies that were rebuilt, written and read back.
    pub healed: u64,
    /// Lines dropped: what they were about is sound, or was deleted.
    pub dropped: u64,
    /// Tries that failed; each is made again later.
    pub failed: u64,
    /// Lines that wait for a backend to come back.
    pub waiting: u64,
    /// Lines that wait for tomorrow's budget.
    pub over_budget: u64,
    /// What was spent today.
    pub spent: Spent,
}

/// What the workers have to say, for the status.
#[derive(Debug, Default)]
pub(crate) struct Upkeep(Mutex<UpkeepStatus>);

impl Upkeep {
    pub fn status(&self) -> UpkeepStatus {
        lock(&self.0).clone()
    }

    pub fn heal(&self, change: impl FnOnce(&mut HealStatus)) {
        change(lock(&self.0).heal.get_or_insert_default());
    }

    pub fn scrub(&self, change: impl FnOnce(&mut ScrubStatus)) {
        change(lock(&self.0).scrub.get_or_insert_default());
    }
}

/// Starts the workers that the config asks for; they end when the repository is closed or let go of.
pub(crate) fn start(core: &Arc<Core>, committer: &Committer) {
    if core.config.read_only {
        return;
    }
    if let Some(config) = &core.config.heal {
        heal::start(core, committer, config.clone());
    }
    if let Some(config) = &core.config.scrub {
        scrub::start(core, config.clone());
    }
}
