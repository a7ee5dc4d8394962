//! What the engine says of what it did and found: check, repair, drill, sweep, rebuild, status. Plain data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::backend::{HealthSnapshot, Role};
use crate::catalog::LedgerEntry;
use crate::id::{BatchId, DataId, VersionId};
use crate::scheme::Scheme;
use crate::upkeep::UpkeepStatus;

/// How deep a check looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Depth {
    /// Listings only: presence and size.
    #[default]
    Inventory,
    /// Also some random blocks of each shard, read and verified.
    Sample,
    /// Every byte.
    Full,
}

/// Which objects something is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// One bucket; all when absent.
    pub bucket: Option<String>,
    /// Only keys that begin with it.
    #[serde(default)]
    pub prefix: String,
    /// Only this key, whole. It needs a bucket; an object that does not exist is `NotFound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Scope {
    /// One object.
    pub fn object(bucket: impl Into<String>, key: impl Into<String>) -> Self {
        Self { bucket: Some(bucket.into()), prefix: String::new(), key: Some(key.into()) }
    }

    /// Whether it is about this object.
    pub fn has(&self, bucket: &str, key: &str) -> bool {
        self.bucket.as_ref().is_none_or(|b| b == bucket)
            && key.starts_with(&self.prefix)
            && self.key.as_ref().is_none_or(|k| k == key)
    }
}

/// What a check looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// Which objects.
    #[serde(flatten)]
    pub scope: Scope,
    /// How deep.
    #[serde(default)]
    pub depth: Depth,
}

/// Something wrong with one shard or manifest copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The backend.
    pub backend: String,
    /// What was found.
    pub kind: FindingKind,
    /// Which segment of the object (from 0); absent for a manifest copy.
    pub segment: Option<u64>,
    /// Which shard, or which copy.
    pub index: u16,
    /// A sentence.
    pub detail: String,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The shard is not there.
    ShardMissing,
    /// The shard is there and does not verify.
    ShardCorrupt,
    /// The manifest copy is not there.
    CopyMissing,
    /// The manifest copy is there and does not verify.
    CopyCorrupt,
    /// The backend cannot be reached (or is not in the config), so nothing can be said.
    Unreachable,
}

/// How an object is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectHealth {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version.
    pub version: VersionId,
    /// Bytes.
    pub size: u64,
    /// How many more backends it can lose and still be read: m when whole, negative when unreadable.
    pub margin: i32,
    /// The margin of the object when whole.
    pub full_margin: i32,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl ObjectHealth {
    /// Whether it can be read.
    pub fn is_readable(&self) -> bool {
        self.margin >= 0
    }
    /// Whether nothing is missing.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// How deep it looked.
    pub depth: Depth,
    /// Object versions looked at.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Versions with nothing missing.
    pub whole: u64,
    /// Versions that can be read, but with less redundancy than their scheme says; also such records of buckets, delete
    /// markers and deletions, which are not among the `objects`.
    pub degraded: u64,
    /// Versions and such records that cannot be read.
    pub unreadable: u64,
    /// The least margin seen; `None` without objects.
    pub least_margin: Option<i32>,
    /// Bytes read from the backends.
    pub bytes_read: u64,
    /// Backends that could not be listed or read.
    pub unreachable: Vec<String>,
    /// Every version that is not whole, least margin first.
    pub damaged: Vec<ObjectHealth>,
}

/// What a repair will do, or would: plain data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RepairPlan {
    /// The work, least margin first.
    pub items: Vec<RepairItem>,
    /// Objects that cannot be repaired now, each with its findings.
    pub unrepairable: Vec<ObjectHealth>,
    /// Bytes to be read.
    pub read_bytes: u64,
    /// Bytes to be written.
    pub write_bytes: u64,
    /// Read requests.
    pub read_requests: u64,
    /// Write requests.
    pub write_requests: u64,
    /// What it costs by the backends' cost model.
    pub price: f64,
}

/// One thing to rebuild.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RepairItem {
    /// An object it belongs to: the bucket.
    pub bucket: String,
    /// An object it belongs to: the key.
    pub key: String,
    /// An object it belongs to: the version.
    pub version: VersionId,
    /// The object's margin before.
    pub margin: i32,
    /// What is rebuilt.
    pub work: RepairWork,
}

/// What is rebuilt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum RepairWork {
    /// Shards of one segment.
    Shards {
        /// The segment.
        data_id: DataId,
        /// The segment's length in bytes.
        len_bytes: u64,
        /// Shards that are read: (index, backend).
        read: Vec<(u16, String)>,
        /// Shards that are rebuilt: (index, backend it is written to).
        write: Vec<(u16, String)>,
    },
    /// Copies of one batch.
    Copies {
        /// The batch.
        batch: BatchId,
        /// A copy's length in bytes.
        len_bytes: u64,
        /// Copies that are read: (number, backend).
        read: Vec<(u16, String)>,
        /// Copies that are rebuilt: (number, backend it is written to).
        write: Vec<(u16, String)>,
    },
}

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RepairReport {
    /// Shards rebuilt, written and read back.
    pub shards_rebuilt: u64,
    /// Manifest copies rebuilt, written and read back.
    pub copies_rebuilt: u64,
    /// Backends that had lost their marker, proved to be the right ones, and have it again.
    #[serde(default)]
    pub markers_restored: Vec<String>,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// What could not be done: a sentence each.
    pub failed: Vec<String>,
    /// Objects that cannot be repaired.
    pub unrepairable: Vec<ObjectHealth>,
}

/// What a sweep does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepRequest {
    /// Only say what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a sweep did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepReport {
    /// Shards that no manifest names, older than the grace time: removed.
    pub shards_removed: u64,
    /// Manifest files with nothing live in them: removed, all copies.
    pub batches_removed: u64,
    /// Tombstones (and ends of buckets) dropped: every copy of what they kill is known to be gone.
    pub tombstones_dropped: u64,
    /// Batches with mostly dead records that were compacted.
    pub batches_compacted: u64,
    /// Multipart uploads that had expired.
    #[serde(default)]
    pub uploads_expired: u64,
    /// Bytes removed.
    pub bytes_removed: u64,
    /// Files that are garbage and kept for the grace time: since they were written, or since a process before this one crashed.
    pub too_young: u64,
    /// Shards that lie where nothing names them, and are missing where they are named: they stay until a repair has put them there.
    #[serde(default)]
    pub misplaced: u64,
    /// Files that are not this program's, left alone.
    pub foreign: u64,
    /// Backends that could not be reached: while there is one, nothing in doubt is deleted.
    pub unreachable: Vec<String>,
    /// Nothing was deleted, as records are shown of which too few copies or shards are there: a repair ends that.
    #[serde(default)]
    pub undecided: bool,
    /// What the lifecycle rules of buckets ended before.
    #[serde(default)]
    pub lifecycle: LifecycleReport,
}

/// What the lifecycle rules of buckets ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleReport {
    /// Newest versions: deleted, or under a delete marker now, as the bucket has it.
    pub expired: u64,
    /// Versions that had a newer one.
    pub noncurrent: u64,
    /// Delete markers with nothing below them.
    pub markers: u64,
    /// Uploads begun and never completed.
    pub uploads: u64,
    /// Versions that a lock keeps in spite of the rules.
    pub locked: u64,
    /// What could not be done: a sentence each, the first of them.
    pub failed: Vec<String>,
}

/// What a rebuild did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RebuildReport {
    /// Manifest files read.
    pub batches: u64,
    /// Records read.
    pub records: u64,
    /// Live versions in the catalog after it.
    pub versions: u64,
    /// Buckets in the catalog after it.
    pub buckets: u64,
    /// Records held by too few backends whose copies were completed.
    pub adopted: u64,
    /// Records left as garbage: never acknowledged, and not to be read.
    pub garbage: u64,
    /// Records shown although too few copies of them were seen: the rest may lie on backends that are away, or could not be
    /// written now. When those are back, the catalog is rebuilt once more.
    #[serde(default)]
    pub undecided: u64,
    /// Backends that could not be listed.
    pub unreachable: Vec<String>,
    /// Sure of the whole history: not more backends were missing than the record margin.
    pub certain: bool,
}

/// What a comparison of the catalog with the backends found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Live versions compared.
    pub versions: u64,
    /// Differences: a sentence each.
    pub differences: Vec<String>,
    /// Backends that could not be listed.
    pub unreachable: Vec<String>,
}

/// A backend as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// What its store calls itself.
    pub store: String,
    /// Its role.
    pub role: Role,
    /// Its failure domain.
    pub domain: BTreeMap<String, String>,
    /// Its marker was found and is right.
    pub reachable: bool,
    /// What is known of its health.
    pub health: HealthSnapshot,
    /// Every byte on it was written or verified since this time (milliseconds since the Unix epoch); absent before the first
    /// full scrub has ended.
    #[serde(default)]
    pub oldest_verified_ms: Option<u64>,
    /// Why it is not reachable.
    pub error: Option<String>,
}

/// The repository as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The repository's name.
    pub repository: String,
    /// The repository's id.
    pub repository_id: String,
    /// The default scheme.
    pub scheme: Scheme,
    /// Why writes are refused; absent when they are not.
    pub read_only: Option<String>,
    /// What the domains do not protect against, where the proof was overridden: shown on every status page.
    pub domain_warning: Option<String>,
    /// Counts of the catalog.
    pub counts: crate::catalog::Counts,
    /// The backends.
    pub backends: Vec<BackendStatus>,
    /// What it does of itself.
    #[serde(default)]
    pub upkeep: UpkeepStatus,
}

/// A page of the ledger.
pub type LedgerPage = Vec<LedgerEntry>;
