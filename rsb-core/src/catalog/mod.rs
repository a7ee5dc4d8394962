//! The catalog: the index of manifests, buckets, intents, the ledger. Only an index: promise 3 makes it rebuildable from
//! the backends, so an engine of it needs atomic transactions but no durability of its own.
//!
//! Contract of every implementation (its conformance suite is in `testkit::catalog`):
//!
//! * **Atomicity**: each method is one transaction; it happens wholly or not at all, also when the future is dropped.
//! * **Ordering**: a call that starts after another has returned sees its effect, from every handle.
//! * **Order of records**: [`Catalog::commit`] may be given records in any order and any number of times; the state
//!   depends only on the set of records (see [`kills`]).
//! * **Rows**: a record that is killed stays as a *dead* row until its batch is forgotten, so that what may still lie on
//!   some backend is known.

pub mod listing;
mod memory;
pub mod refusal;
mod rows;
mod uploads;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use self::memory::MemoryCatalog;
pub use self::rows::*;
pub use self::uploads::{ChecksumWish, Completed, PartRow, UploadRow};
use crate::error::Result;
use crate::format::manifest::{BucketRecord, Manifest, Record, Tombstone};
use crate::id::{BatchId, DataId, UploadId, VersionId};

/// A condition of a write, checked when it reserves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Precondition {
    /// None.
    #[default]
    None,
    /// The key must have no object (a delete marker counts as none): create-only.
    Absent,
    /// The key must have an object.
    Present,
    /// The key's object must have one of these entity tags (without quotes).
    EtagIn(Vec<String>),
    /// The key's newest version must be this one.
    VersionIs(VersionId),
}

impl Precondition {
    /// Whether it asks for anything.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Whether the key's newest version satisfies it.
    pub fn holds(&self, latest: Option<&Manifest>) -> bool {
        let object = latest.filter(|m| !m.delete_marker);
        match self {
            Self::None => true,
            Self::Absent => object.is_none(),
            Self::Present => object.is_some(),
            Self::EtagIn(tags) => object.is_some_and(|m| tags.contains(&m.etag.to_string())),
            Self::VersionIs(id) => latest.is_some_and(|m| m.version == *id),
        }
    }
}

/// What a write asks of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketRule {
    /// It exists and is not being deleted (writes of objects, settings of the bucket).
    Exists,
    /// It does not exist (creating it).
    Absent,
    /// It exists, has no version of any object and no open intent (deleting it).
    Empty,
    /// Not asked: revisions and compactions of records that are there already, and adoption.
    Any,
}

/// A wish to commit, checked and remembered as an *intent* until it is committed or released.
#[derive(Clone, Debug)]
pub struct Reserve {
    /// The bucket.
    pub bucket: String,
    /// The key; empty for a record about the bucket itself.
    pub key: String,
    /// The id it would like; it gets this or a greater one.
    pub proposed: VersionId,
    /// The batch it will be written in.
    pub batch: BatchId,
    /// The condition on the key.
    pub precondition: Precondition,
    /// The condition on the bucket.
    pub bucket_rule: BucketRule,
    /// Now, milliseconds since the Unix epoch.
    pub now_ms: u64,
}

impl Reserve {
    /// Whether others must keep away until it is committed or released: it has a condition, on the key, or on there being
    /// the bucket or not.
    pub fn is_conditional(&self) -> bool {
        let makes_or_ends_bucket = self.key.is_empty() && self.bucket_rule != BucketRule::Exists;
        makes_or_ends_bucket || !self.precondition.is_none()
    }
}

/// A granted wish.
#[derive(Clone, Debug)]
pub struct Reserved {
    /// The version id: greater than every earlier id of the key.
    pub version: VersionId,
    /// The bucket, where it exists.
    pub bucket: Option<BucketRecord>,
}

/// A reserved write that has been neither committed nor released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The version id.
    pub version: VersionId,
    /// The batch it was to be written in.
    pub batch: BatchId,
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// It had a condition, see [`Reserve::is_conditional`].
    pub conditional: bool,
    /// When it was made: milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// A batch whose copies are written, to be made visible.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The batch and who holds it.
    pub batch: BatchRow,
    /// Its records.
    pub records: Vec<LocatedRecord>,
    /// What is short of it, noted in the same transaction.
    pub ledger: Vec<LedgerEntry>,
    /// The multipart uploads that its records complete: from then on they are not open, and have no parts.
    pub completes: Vec<(UploadId, Completed)>,
}

/// What a listing asks for.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with it.
    pub prefix: String,
    /// Keys that hold it after the prefix are rolled up to one common prefix that ends with it.
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: Option<ListAfter>,
    /// Most items to return.
    pub limit: usize,
    /// Every version and delete marker, not only the newest objects; newest first within a key.
    pub versions: bool,
}

/// Where a listing goes on; each is exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListAfter {
    /// After this key (with `versions`: after all its versions).
    Key(String),
    /// After every key that begins with this common prefix.
    Prefix(String),
    /// After this version of this key.
    Version(String, VersionId),
}

/// One item of a listing, in bytewise order of keys and prefixes.
#[derive(Clone, Debug, PartialEq)]
pub enum ListItem {
    /// A version; with `is_latest` when it is its key's newest.
    Entry {
        /// The version.
        entry: Box<Entry>,
        /// It is its key's newest.
        is_latest: bool,
    },
    /// A common prefix, which ends with the delimiter.
    Prefix(String),
}

/// A page of a listing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListPage {
    /// At most `limit` items.
    pub items: Vec<ListItem>,
    /// Where to go on; `None` when this was the last page.
    pub next: Option<ListAfter>,
}

/// What a killed record leaves behind, for the engine to clean up.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Versions that were live, or would have become so, and are now killed.
    pub superseded: Vec<Entry>,
}

/// Counts of a catalog's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Live versions, delete markers included.
    pub versions: u64,
    /// Batches.
    pub batches: u64,
    /// Live tombstones.
    pub tombstones: u64,
    /// Lines of the ledger.
    pub ledger: u64,
}

/// Whether `newer` kills the version `older` of the same bucket and key. The whole history rests on this rule, so it
/// depends on nothing but the two records:
/// * a higher revision of the same version kills the lower ones;
/// * a `null` version kills every `null` version with a smaller id (in a keep-last bucket all versions are `null` ones);
/// * a tombstone without a target kills every version with a smaller id; one with a target kills that version, and, when
///   it says so, every `null` version up to it.
pub fn kills(newer: &Record, older: &Manifest) -> bool {
    if newer.bucket() != older.bucket || newer.key() != older.key {
        return false;
    }
    match newer {
        Record::Version(m) if m.version == older.version => m.revision > older.revision,
        Record::Version(m) => m.null_version && older.null_version && m.version > older.version,
        Record::Tombstone(t) => tombstone_kills(t, older.version, older.null_version),
        Record::Bucket(_) => false,
    }
}

/// Whether a tombstone of the same bucket and key kills a version.
pub fn tombstone_kills(tombstone: &Tombstone, version: VersionId, null_version: bool) -> bool {
    match tombstone.target {
        None => version < tombstone.version,
        Some(target) => version == target || (tombstone.null_version && null_version && version < target),
    }
}

/// The index of manifests. See the [module's](self) contract.
#[async_trait]
pub trait Catalog: Send + Sync + std::fmt::Debug + 'static {
    /// Checks preconditions, gives version ids, leaves intents: one result for each wish, in one transaction, in order.
    /// Errors of a wish: `NotFound` (no such bucket), `AlreadyExists` (bucket rule Absent), `Conflict` (bucket rule Empty
    /// not met; any wish while the bucket is being made or deleted; a conditional wish while any intent for the key is open;
    /// a wish about the bucket while another one is open), `PreconditionFailed`.
    async fn reserve(&self, wishes: Vec<Reserve>) -> Result<Vec<Result<Reserved>>>;

    /// Closes intents without committing them.
    async fn release(&self, versions: &[VersionId]) -> Result<()>;

    /// Makes a batch visible: its records take effect by [`kills`], its ledger lines are added, and the intents that its
    /// records fulfil are closed: those of a record's bucket and key with its id or, for a new revision, with its batch.
    /// A batch committed again gains what is new. Of two records with one (version, revision) in two batches the one in
    /// the greater batch lives: whoever wrote the other one ended without an acknowledgement, else it would be known, and
    /// the next revision be another.
    async fn commit(&self, commit: Commit) -> Result<Committed>;

    /// Intents neither committed nor released.
    async fn open_intents(&self) -> Result<Vec<Intent>>;

    /// A bucket, if it exists now.
    async fn bucket(&self, name: &str) -> Result<Option<BucketRecord>>;
    /// All buckets that exist now, by name, bytewise.
    async fn buckets(&self) -> Result<Vec<BucketRecord>>;

    /// The newest version of a key (it may be a delete marker), or the given version.
    async fn entry(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Option<Entry>>;
    /// The same, with the batch that its record lies in where that is known: what a reader of a small object asks for.
    async fn entry_and_batch(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
    ) -> Result<Option<(Entry, Option<BatchRow>)>> {
        let Some(entry) = self.entry(bucket, key, version).await? else { return Ok(None) };
        let batch = self.batch(entry.at.batch).await?;
        Ok(Some((entry, batch)))
    }
    /// A page of a listing: a range scan of an index; a common prefix costs one seek however many keys it holds.
    async fn list(&self, query: &ListQuery) -> Result<ListPage>;
    /// Live versions of all buckets in order of (bucket, key, version), after the given one: for check, repair, verify.
    async fn versions_after(&self, after: Option<(String, String, VersionId)>, limit: usize) -> Result<Vec<Entry>>;

    /// A batch.
    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>>;
    /// Batches in order of id, after the given one.
    async fn batches_after(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>>;
    /// Replaces who holds a batch.
    async fn set_holders(&self, id: BatchId, holders: Vec<Holder>) -> Result<()>;
    /// The records of a batch, live and dead, in order of offset.
    async fn records_of(&self, id: BatchId) -> Result<Vec<RecordRow>>;
    /// Whether a batch has a live record.
    async fn is_live(&self, id: BatchId) -> Result<bool> {
        Ok(self.records_of(id).await?.iter().any(|row| row.live))
    }
    /// Batches without a live record, in order of id, after the given one.
    async fn dead_batches(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>>;
    /// Removes a batch and its record rows: every copy of it is known to be gone. Refused (`Conflict`) while a record of it is live.
    async fn forget_batch(&self, id: BatchId) -> Result<()>;

    /// Live tombstones in order of id, after the given one, each with whether any record row that it kills is still there
    /// (in a batch other than its own).
    async fn tombstones_after(&self, after: Option<VersionId>, limit: usize) -> Result<Vec<(LocatedRecord, bool)>>;
    /// Live records of deleted buckets in order of id, each with whether any other record row of the bucket or in it is
    /// still there (in a batch other than its own); droppable when none is.
    async fn dead_buckets(&self) -> Result<Vec<(LocatedRecord, bool)>>;
    /// Marks a live tombstone, or a live record of a deleted bucket, dead.
    async fn drop_record(&self, at: Located) -> Result<()>;

    /// Which of these data ids no live version points at, and no part of an upload.
    async fn unreferenced(&self, ids: &[DataId]) -> Result<Vec<DataId>>;
    /// Live versions that point at a data id, in order of (bucket, key, version).
    async fn referrers(&self, id: DataId) -> Result<Vec<Entry>>;

    /// Remembers an upload that is begun. `NotFound` where its bucket does not exist.
    async fn begin_upload(&self, upload: UploadRow) -> Result<()>;
    /// An upload, open or completed.
    async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>>;
    /// All uploads, open or completed, in order of id, after the given one.
    async fn uploads_after(&self, after: Option<UploadId>, limit: usize) -> Result<Vec<UploadRow>>;
    /// Open uploads of a bucket in order of (key, id), from the key `from` on (bytes, for the place behind a prefix need
    /// not be UTF-8); with `after` only those of that key with a greater id, and those behind it.
    async fn open_uploads(
        &self,
        bucket: &str,
        from: &[u8],
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>>;
    /// Adds a part to an open upload, and lines to the ledger. Gives the part of the same number that it replaces.
    /// `NotFound` where the upload is not open.
    async fn put_part(&self, id: UploadId, part: PartRow, ledger: Vec<LedgerEntry>) -> Result<Option<PartRow>>;
    /// Parts of an upload in order of number, after the given number.
    async fn parts(&self, id: UploadId, after: u16, limit: usize) -> Result<Vec<PartRow>>;
    /// Forgets an upload, open or completed. Gives the parts that it had; none where it is not known.
    async fn forget_upload(&self, id: UploadId) -> Result<Vec<PartRow>>;

    /// Adds or replaces lines of the ledger.
    async fn ledger_add(&self, entries: Vec<LedgerEntry>) -> Result<()>;
    /// Removes lines of the ledger; unknown items are passed over.
    async fn ledger_remove(&self, items: &[LedgerItem]) -> Result<()>;
    /// Lines of the ledger in order of item, after the given one.
    async fn ledger_after(&self, after: Option<&LedgerItem>, limit: usize) -> Result<Vec<LedgerEntry>>;

    /// The smallest batch id whose commit may still be open: of open intents, else the greatest committed one. A catch-up
    /// lists the backends from here.
    async fn low_water(&self) -> Result<Option<BatchId>>;
    /// The greatest version id ever reserved or committed.
    async fn greatest_version(&self) -> Result<Option<VersionId>>;
    /// Counts of rows.
    async fn counts(&self) -> Result<Counts>;

    /// A named value: repository id, job cursors.
    async fn value(&self, name: &str) -> Result<Option<String>>;
    /// Sets or (with `None`) removes a named value.
    async fn set_value(&self, name: &str, value: Option<String>) -> Result<()>;

    /// Puts what was changed so far on its storage: no power cut takes it back any more.
    async fn sync(&self) -> Result<()>;
    /// Empties the catalog, named values too: before a rebuild.
    async fn clear(&self) -> Result<()>;
    /// Puts everything on its storage and lets go of it; later calls may fail.
    async fn close(&self) -> Result<()>;
}
