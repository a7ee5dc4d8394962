//! What a catalog knows: versions, records, batches and who holds them, lines of the ledger.

use serde::{Deserialize, Serialize};

use crate::format::batch::Extent;
use crate::format::manifest::{Manifest, Record};
use crate::id::{BatchId, DataId, VersionId};

/// Where a record lies: the same offset on every backend that holds the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Located {
    /// The manifest file.
    pub batch: BatchId,
    /// The bytes in it.
    pub extent: Extent,
}

/// A live version of an object and where its record lies.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The description.
    pub manifest: Manifest,
    /// Its record.
    pub at: Located,
}

/// A record and where it lies.
#[derive(Clone, Debug, PartialEq)]
pub struct LocatedRecord {
    /// What it says.
    pub record: Record,
    /// Where it lies.
    pub at: Located,
}

/// A backend that holds, or may hold, a copy of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Holder {
    /// The backend's name.
    pub backend: String,
    /// The copy's number; an inline object's shard of this index lies in it.
    pub copy: u16,
    /// Whether the copy is known to be there.
    pub state: HolderState,
}

/// Whether a copy is known to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HolderState {
    /// Written, and acknowledged by the backend.
    Held,
    /// A write was tried and its outcome is not known, or a delete failed: it must be deleted, never be read.
    Doubtful,
}

/// A batch and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRow {
    /// The batch.
    pub id: BatchId,
    /// A copy's length in bytes.
    pub len_bytes: u64,
    /// Copies the batch should have.
    pub copies: u16,
    /// Who holds it.
    pub holders: Vec<Holder>,
}

/// One record of a batch, live or dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRow {
    /// Where it lies.
    pub at: Located,
    /// Its id.
    pub version: VersionId,
    /// Its revision.
    pub revision: u32,
    /// The bucket it is about.
    pub bucket: String,
    /// The key it is about; empty for a bucket's record.
    pub key: String,
    /// Not killed by another record.
    pub live: bool,
}

/// What is missing or bad, and not yet rebuilt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerItem {
    /// A shard of a segment.
    Shard {
        /// The segment.
        data_id: DataId,
        /// The shard's index.
        index: u16,
    },
    /// A copy of a batch.
    Copy {
        /// The batch.
        batch: BatchId,
        /// The copy's number.
        copy: u16,
    },
}

/// A line of the ledger. There is one line for an item; a newer one replaces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// What is missing or bad.
    #[serde(flatten)]
    pub item: LedgerItem,
    /// The backend where it should be.
    pub backend: String,
    /// An object it belongs to: the bucket.
    pub bucket: String,
    /// An object it belongs to: the key.
    pub key: String,
    /// What was found.
    pub reason: LedgerReason,
    /// When it was noted: milliseconds since the Unix epoch.
    pub noted_ms: u64,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerReason {
    /// It was never written: the backend failed or was too slow when the object was.
    NotWritten,
    /// It is not there.
    Missing,
    /// It is there and does not verify.
    Corrupt,
}
