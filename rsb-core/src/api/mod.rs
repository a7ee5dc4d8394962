//! What goes into the engine and what comes out of it: requests, replies, reports. Plain data.

mod drill;
mod moves;
mod multipart;
mod reports;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::catalog::{ListAfter, Precondition};
use crate::error::Result;
use crate::format::manifest::{Body, Etag, Manifest};
use crate::format::parts::ObjectChecksum;
use crate::id::{DataId, VersionId};
use crate::object_lock::ObjectLock;
use crate::scheme::Scheme;

pub use self::drill::*;
pub use self::moves::*;
pub use self::multipart::*;
pub use self::reports::*;

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
    /// What keeps it from being deleted, in a bucket that has object lock; without a retention it gets the bucket's default.
    pub lock: ObjectLock,
    /// Also make the prototype's digests (SHA-256 of the k contiguous runs), which need `len` to be made in one pass;
    /// without it they are made by reading back.
    pub run_digests: bool,
    /// The checksum to keep with the object, which is known at the body's end.
    pub checksum: Late<ObjectChecksum>,
}

/// A copy of an object.
#[derive(Clone, Debug, Default)]
pub struct CopyRequest {
    /// The source's bucket and key.
    pub from: (String, String),
    /// The source's version; its newest when absent.
    pub version: Option<VersionId>,
    /// Where the copy goes: bucket, which must exist, and key.
    pub to: (String, String),
    /// A condition on the key that is written.
    pub precondition: Precondition,
    /// The copy's own attributes and metadata; the source's when absent.
    pub replace: Option<Described>,
    /// The copy's own tags; the source's when absent.
    pub tags: Option<BTreeMap<String, String>>,
    /// k and m of the copy; the source's when absent. With others than the source's the bytes are read and coded anew.
    pub data_shards: Option<usize>,
    /// See `data_shards`.
    pub parity_shards: Option<usize>,
    /// The copy's lock: that of the source is not copied. See [`PutRequest::lock`].
    pub lock: ObjectLock,
}

/// What is said of an object beside its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// System metadata by lower-case HTTP name.
    pub attributes: BTreeMap<String, String>,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
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
    /// The version that was deleted was itself a delete marker.
    pub was_marker: bool,
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

/// How often a paused operation looks whether it may go on.
const PAUSE_LOOK: Duration = Duration::from_millis(50);

/// How far a long operation is, and the wish to end it. Shared between the one who works and those who look.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    total: AtomicU64,
    bytes_done: AtomicU64,
    bytes_total: AtomicU64,
    cancelled: AtomicBool,
    paused: AtomicBool,
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
    /// Asks the operation to wait at its next safe point, or to go on. Only a move can wait.
    pub fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
    /// Whether it was asked to wait.
    pub fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }
    /// Ready when it may go on; an error when it was asked to end.
    pub(crate) async fn ready(&self) -> Result<()> {
        self.check()?;
        while self.is_paused() {
            tokio::time::sleep(PAUSE_LOOK).await;
            self.check()?;
        }
        Ok(())
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
