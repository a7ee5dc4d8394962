//! Moves: what is to be moved, what it would take, what was done, and the proof. Plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Scope;

/// Work that changes where, or how, stored objects lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum MoveTask {
    /// Everything that lives on a backend goes to others. Nothing new is written to it from the start on.
    Drain {
        /// The backend's name.
        backend: String,
        /// Where it goes, as far as the domain rule lets it; to any active backend when absent.
        #[serde(default)]
        to: Option<String>,
        /// The backend will never come back: what it may still hold is not waited for.
        #[serde(default)]
        lost: bool,
    },
    /// Stored bytes are evened out between the active backends.
    Rebalance,
    /// Objects get another k and m.
    Rescheme {
        /// Which objects.
        #[serde(flatten)]
        scope: Scope,
        /// k.
        data_shards: usize,
        /// m.
        parity_shards: usize,
    },
}

impl MoveTask {
    /// Whether it is the same work: then one goes on where the other was interrupted.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Drain { backend, .. }, Self::Drain { backend: other, .. }) => backend == other,
            _ => self == other,
        }
    }

    /// The word for it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Drain { to: Some(_), .. } => "replace",
            Self::Drain { .. } => "drain",
            Self::Rebalance => "rebalance",
            Self::Rescheme { .. } => "rescheme",
        }
    }
}

/// How much load a move may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pace {
    /// Most bytes read and written in a second; no bound when absent.
    pub bytes_per_second: Option<u64>,
    /// Shards moved at once, 1 to 64; four when absent.
    pub parallel: Option<usize>,
}

/// A move to be planned or carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// What is to be done.
    #[serde(flatten)]
    pub task: MoveTask,
    /// How much load it may be.
    #[serde(flatten)]
    pub pace: Pace,
}

impl From<MoveTask> for Move {
    fn from(task: MoveTask) -> Self {
        Self { task, pace: Pace::default() }
    }
}

/// What some work asks, or asked, of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Read requests.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Write requests.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Listing requests.
    pub lists: u64,
    /// Bytes that are stored no more.
    pub freed_bytes: u64,
    /// Bytes that are paid for by the month, more or fewer: each file counts with its minimum size at least.
    pub billed_bytes: i64,
    /// Bytes times days that are paid for although they are removed before a minimum duration is over.
    pub early_byte_days: u64,
}

/// What some work asks, or asked, of all backends, and its price by their cost model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bill {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Read requests.
    pub read_requests: u64,
    /// Write and listing requests.
    pub write_requests: u64,
    /// The price of it once: requests, egress, and what is removed before a minimum duration is over.
    pub price: f64,
    /// What it changes in the price of a month's storage.
    pub price_per_month: f64,
    /// By backend.
    pub backends: BTreeMap<String, Usage>,
}

/// What a move will do, or would.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MovePlan {
    /// Object versions that are touched.
    pub versions: u64,
    /// Shards that are written.
    pub shards: u64,
    /// Of them, those that must be rebuilt from others because their backend does not answer.
    pub rebuilt: u64,
    /// Manifest copies that are written.
    pub copies: u64,
    /// What it asks of the backends.
    pub bill: Bill,
    /// How long it may take, seconds.
    pub seconds: u64,
    /// What has nowhere to go: how much.
    pub stuck: u64,
    /// What has nowhere to go: the first of them, a sentence each.
    pub stuck_examples: Vec<String>,
}

/// What a move did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MoveReport {
    /// What was planned when it was begun.
    pub plan: MovePlan,
    /// What it asked of the backends, what it did before an interruption included.
    pub actual: Bill,
    /// How long it took, seconds, without interruptions.
    pub seconds: u64,
    /// Shards written and read back.
    pub shards: u64,
    /// Of them, those rebuilt from others.
    pub rebuilt: u64,
    /// Manifest copies written and read back.
    pub copies: u64,
    /// Object versions described anew.
    pub versions: u64,
    /// Files removed from where they lay before.
    pub removed: u64,
    /// What could not be done, and how much of it there was.
    pub failures: u64,
    /// The first of them, a sentence each.
    pub failed: Vec<String>,
    /// Of a drain: whether the backend may be taken away.
    pub proof: Option<DrainProof>,
}

/// Whether a backend may be taken away: what the catalog names on it, and what it lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrainProof {
    /// The backend.
    pub backend: String,
    /// Nothing live is on it, by the catalog, and by its own listing where it answers.
    pub holds_nothing_live: bool,
    /// It could be listed. One that does not answer is proven by the catalog alone.
    pub listed: bool,
    /// Shards that a live version, or a part of an upload, has there.
    pub live_shards: u64,
    /// Manifest copies with a live record that count on it.
    pub live_copies: u64,
    /// Lines of the ledger about it.
    pub ledger: u64,
    /// Files left on it that nothing names: garbage, which a sweep removes when it is older than the grace time.
    pub garbage: u64,
    /// Their bytes.
    pub garbage_bytes: u64,
    /// Files on it that are not this program's.
    pub foreign: u64,
}

/// A move that was begun, as the catalog remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MoveRecord {
    /// Its id.
    pub id: String,
    /// What it is to do.
    #[serde(flatten)]
    pub order: Move,
    /// Where it stands.
    pub state: MoveState,
    /// When it was begun: milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// What was planned, and what was done so far.
    pub report: MoveReport,
}

/// Where a move stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MoveState {
    /// To be gone on with.
    Running,
    /// Waits until it is resumed, or started again.
    Paused,
    /// Done. A drained backend is remembered until the config has it no more.
    Done,
}

/// Work that changes nothing, or is done by another verb, to be planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case")]
pub enum WorkRequest {
    /// Objects are read, whole.
    Get(Scope),
    /// Objects are checked, by a check or a scrub.
    Check {
        /// Which objects.
        #[serde(flatten)]
        scope: Scope,
        /// How deep.
        depth: super::Depth,
    },
    /// Objects are kept for a month.
    Store(Scope),
}

/// What some work would take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkPlan {
    /// Object versions.
    pub versions: u64,
    /// Their bytes.
    pub object_bytes: u64,
    /// What they take on the backends.
    pub stored_bytes: u64,
    /// What it asks of the backends.
    pub bill: Bill,
    /// How long it may take, seconds.
    pub seconds: u64,
}
