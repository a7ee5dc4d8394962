//! What goes into the engine and what comes out of it: requests, replies, reports. Plain data.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::backend::{HealthSnapshot, Role};
use crate::catalog::{LedgerEntry, ListAfter, Precondition};
use crate::error::Result;
use crate::format::manifest::{Body, Etag, Manifest};
use crate::id::{BatchId, DataId, VersionId};
use crate::scheme::Scheme;

/// A body that arrives: an error in it undoes the write.
pub type BodyStream = BoxStream<'static, Result<Bytes>>;

/// A write of an object.
#[derive(Clone, Debug, Default)]
pub struct PutRequest {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The key: 1 to 1024 bytes of UTF-8 without NUL and without `.` or `..` path segments.
    pub key: String,
    /// The body's length, where it is known: it is held to it (`BadBody`), and less memory is reserved for a small one.
    pub len: Option<u64>,
    /// A condition on the key.
    pub precondition: Precondition,
    /// k for this object, else the repository's.
    pub data_shards: Option<usize>,
    /// m for this object, else the repository's.
    pub parity_shards: Option<usize>,
    /// System metadata by lower-case HTTP name: `content-type`, ….
    pub attributes: BTreeMap<String, String>,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Also make the prototype's digests (SHA-256 of the k contiguous runs), which need `len` to be made in one pass;
    /// without it they are made by reading back.
    pub run_digests: bool,
}

/// What is known of an object version.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectInfo {
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// After a write: shards and manifest copies that could not be written and stand in the ledger. 0 when the object is
    /// fully redundant, and for reads.
    pub short: usize,
}

impl ObjectInfo {
    /// `bucket/key`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.manifest.bucket, self.manifest.key)
    }
    /// Bytes of the object.
    pub fn size(&self) -> u64 {
        self.manifest.size
    }
    /// The entity tag, without quotes.
    pub fn etag(&self) -> String {
        self.manifest.etag.to_string()
    }
    /// The version's id.
    pub fn version(&self) -> VersionId {
        self.manifest.version
    }
    /// The time of the write, milliseconds since the Unix epoch.
    pub fn modified_ms(&self) -> u64 {
        self.manifest.modified_ms
    }
    /// The scheme of its first segment.
    pub fn scheme(&self) -> Option<Scheme> {
        self.manifest.scheme()
    }
    /// Whether it lives in manifest records only.
    pub fn is_inline(&self) -> bool {
        matches!(self.manifest.body, Body::Inline(_))
    }
    /// The `content-type` it was written with.
    pub fn content_type(&self) -> Option<&str> {
        self.manifest.attributes.get("content-type").map(String::as_str)
    }
}

/// An object being read: its facts, and the asked bytes as a stream in order. Every byte was verified. Dropping the
/// stream ends the read.
pub struct GetObject {
    /// The object.
    pub info: ObjectInfo,
    /// The bytes of the object that the stream gives.
    pub range: Range<u64>,
    /// The bytes. After an error (unreadable from here on) it ends.
    pub stream: BodyStream,
}

/// A range as HTTP and S3 ask for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// Bytes from `start` up to and without `end` (cut to the object's length).
    Bounded {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// From this byte to the end.
    From(u64),
    /// The last so many bytes.
    Last(u64),
}

impl ByteRange {
    /// The bytes meant in an object of `size` bytes; `None` where there are none (416).
    pub fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Bounded { start, end } => start..end.min(size),
            Self::From(start) => start..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// What a delete did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Deleted {
    /// There was something to delete.
    pub existed: bool,
    /// The delete marker's id, in a keep-all bucket.
    pub delete_marker: Option<VersionId>,
    /// Manifest copies of the tombstone that are short and stand in the ledger.
    pub short: usize,
}

/// A page of objects.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Objects, by key.
    pub objects: Vec<ListedObject>,
    /// Common prefixes, by name.
    pub prefixes: Vec<String>,
    /// Where to go on, when there is more.
    pub next: Option<ListAfter>,
}

/// An object in a listing.
#[derive(Clone, Debug)]
pub struct ListedObject {
    /// The version.
    pub info: ObjectInfo,
    /// It is its key's newest.
    pub is_latest: bool,
}

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
    /// Versions that can be read, but with less redundancy than their scheme says.
    pub degraded: u64,
    /// Versions that cannot be read.
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
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// What could not be done: a sentence each.
    pub failed: Vec<String>,
    /// Objects that cannot be repaired.
    pub unrepairable: Vec<ObjectHealth>,
}

/// What a drill proved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DrillReport {
    /// One line for each domain masked.
    pub domains: Vec<DrillDomain>,
}

/// One domain of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillDomain {
    /// The domain, `label=value`, or a backend's name.
    pub domain: String,
    /// The backends that were masked.
    pub backends: Vec<String>,
    /// Object versions that decode without them.
    pub readable: u64,
    /// Object versions that do not.
    pub unreadable: Vec<ObjectHealth>,
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
    /// Bytes removed.
    pub bytes_removed: u64,
    /// Files that are garbage but younger than the grace time.
    pub too_young: u64,
    /// Files that are not this program's, left alone.
    pub foreign: u64,
    /// Backends that could not be reached: while there is one, nothing in doubt is deleted.
    pub unreachable: Vec<String>,
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
    /// Records left as garbage: never acknowledged, and not completable.
    pub garbage: u64,
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
}

/// A page of the ledger.
pub type LedgerPage = Vec<LedgerEntry>;

/// How far a long operation is, and the wish to end it. Shared between the one who works and those who look.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    cancelled: AtomicBool,
}

impl Progress {
    /// A new one, at zero.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    /// Sets how many items and bytes there will be.
    pub fn set_total(&self, items: u64, bytes: u64) {
        self.total.store(items, Ordering::Relaxed);
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }
    /// Some more items and bytes are done.
    pub fn add(&self, items: u64, bytes: u64) {
        self.done.fetch_add(items, Ordering::Relaxed);
        self.bytes_done.fetch_add(bytes, Ordering::Relaxed);
    }
    /// Asks the operation to end at its next safe point.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
    /// Whether it was asked to end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
    /// An error when it was asked to end.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(crate::error::Error::new(crate::error::ErrorKind::Cancelled, "the work was cancelled"));
        }
        Ok(())
    }
    /// (items done, items in all, bytes done, bytes in all); a total is 0 while unknown.
    pub fn snapshot(&self) -> (u64, u64, u64, u64) {
        (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
            self.bytes_done.load(Ordering::Relaxed),
            self.bytes_total.load(Ordering::Relaxed),
        )
    }
}

/// How the entity tag of new objects is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EtagMode {
    /// MD5 of the bytes, as S3 clients expect.
    #[default]
    Md5,
    /// Unique to the write, without hashing.
    Fast,
}

impl EtagMode {
    /// The tag of an object without bytes.
    pub(crate) fn fast(id: DataId) -> Etag {
        Etag::Fast(*id.0.as_bytes())
    }
}
