//! Multipart uploads: an object that is sent in parts.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::catalog::{ChecksumWish, Precondition, UploadRow};
use crate::format::manifest::Digest;
use crate::format::parts::ObjectChecksum;
use crate::id::UploadId;
use crate::object_lock::ObjectLock;

/// A multipart upload to be begun.
#[derive(Clone, Debug, Default)]
pub struct NewUpload {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The key, as of [`super::PutRequest`].
    pub key: String,
    /// k for this object, else the repository's.
    pub data_shards: Option<usize>,
    /// m for this object, else the repository's.
    pub parity_shards: Option<usize>,
    /// System metadata by lower-case HTTP name.
    pub attributes: BTreeMap<String, String>,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// The object's lock, see [`super::PutRequest::lock`].
    pub lock: ObjectLock,
    /// The checksum that the object is to have.
    pub checksum: Option<ChecksumWish>,
}

/// A part to be written.
#[derive(Clone, Debug)]
pub struct PartRequest {
    /// The upload's bucket.
    pub bucket: String,
    /// The upload's key.
    pub key: String,
    /// The upload.
    pub upload: UploadId,
    /// The part's number, 1 to 10,000. A part of this number that is there already is replaced.
    pub number: u16,
    /// The body's length, where it is known.
    pub len: Option<u64>,
    /// The part's checksum, which is known at the body's end.
    pub checksum: Late<ObjectChecksum>,
}

/// A value that is known only when a body has come to its end. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Late<T>(Arc<OnceLock<T>>);

impl<T> Default for Late<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> Late<T> {
    /// Gives the value; the first one counts.
    pub fn set(&self, value: T) {
        // Losing to an earlier value is what is said above.
        let _ = self.0.set(value);
    }
    /// The value, if it is known.
    pub fn get(&self) -> Option<T> {
        self.0.get().cloned()
    }
}

impl<T: Clone> From<T> for Late<T> {
    fn from(value: T) -> Self {
        let late = Self::default();
        late.set(value);
        late
    }
}

/// What an upload is completed to.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The parts it is made of, by number, ascending. Each must be there.
    pub numbers: Vec<u16>,
    /// Digest of the list as it was sent: who sends it again is told the same.
    pub list: Digest,
    /// A condition on the key.
    pub precondition: Precondition,
    /// The object's checksum.
    pub checksum: Option<ObjectChecksum>,
}

/// Which open uploads to list.
#[derive(Clone, Debug, Default)]
pub struct UploadQuery {
    /// The bucket.
    pub bucket: String,
    /// Only keys that begin with it.
    pub prefix: String,
    /// Keys that hold it after the prefix are rolled up to one common prefix that ends with it.
    pub delimiter: Option<String>,
    /// Where to go on.
    pub after: Option<UploadAfter>,
    /// Most items of a page.
    pub limit: usize,
}

/// Where a list of uploads goes on; each is exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadAfter {
    /// After all uploads of this key.
    Key(String),
    /// After every key that begins with this common prefix.
    Prefix(String),
    /// After this upload of this key.
    Upload(String, UploadId),
}

/// A page of open uploads.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UploadListing {
    /// Uploads, by key and then in the order in which they were begun.
    pub uploads: Vec<UploadRow>,
    /// Common prefixes, by name.
    pub prefixes: Vec<String>,
    /// Where to go on, when there is more.
    pub next: Option<UploadAfter>,
}

/// Which uploads are over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpireUploads {
    /// Of one bucket; of all when absent.
    pub bucket: Option<String>,
    /// Only keys that begin with it.
    pub prefix: String,
    /// Only those begun (or, once completed, completed) before this millisecond since the Unix epoch.
    pub before_ms: u64,
}
