//! Multipart uploads as a catalog remembers them. They stand nowhere else: an upload in progress survives a restart, not
//! the loss of the catalog.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};

use crate::error::{Error, Result};
use crate::format::manifest::{Digest, Etag, Manifest, SegmentedBody};
use crate::format::parts::{ChecksumAlgorithm, ObjectChecksum};
use crate::id::{DataId, UploadId};

/// A multipart upload, open or completed.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct UploadRow {
    /// Its id: the order of ids is that in which uploads were begun.
    #[n(0)]
    pub id: UploadId,
    /// The bucket.
    #[n(1)]
    pub bucket: String,
    /// The key.
    #[n(2)]
    pub key: String,
    /// When it was begun: milliseconds since the Unix epoch.
    #[n(3)]
    pub created_ms: u64,
    /// k of its parts.
    #[n(4)]
    pub data_shards: u16,
    /// m of its parts.
    #[n(5)]
    pub parity_shards: u16,
    /// The object's system metadata.
    #[n(6)]
    #[cbor(default)]
    pub attributes: BTreeMap<String, String>,
    /// The object's user metadata.
    #[n(7)]
    #[cbor(default)]
    pub metadata: BTreeMap<String, String>,
    /// The object's tags.
    #[n(8)]
    #[cbor(default)]
    pub tags: BTreeMap<String, String>,
    /// The object's extra facts: its lock.
    #[n(9)]
    #[cbor(default)]
    pub extra: BTreeMap<String, String>,
    /// The checksum that the object is to have.
    #[n(10)]
    pub checksum: Option<ChecksumWish>,
    /// What it was completed to; absent while it is open.
    #[n(11)]
    pub completed: Option<Completed>,
}

/// A checksum that an object is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ChecksumWish {
    /// How it is made.
    #[n(0)]
    pub algorithm: ChecksumAlgorithm,
    /// Of the checksums of the parts, and not of the object's bytes.
    #[n(1)]
    pub composite: bool,
}

/// The end of an upload, remembered for who asks for it again.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Completed {
    /// Digest of the list of parts that completed it.
    #[n(0)]
    pub list: Digest,
    /// The object's manifest as it was written, without where its bytes are.
    #[n(1)]
    pub manifest: Manifest,
}

/// A part of an open upload, whose shards are durable.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct PartRow {
    /// Its number, from 1.
    #[n(0)]
    pub number: u16,
    /// Its bytes.
    #[n(1)]
    pub size: u64,
    /// Its entity tag.
    #[n(2)]
    pub etag: Etag,
    /// When it was written: milliseconds since the Unix epoch.
    #[n(3)]
    pub modified_ms: u64,
    /// Where its bytes are.
    #[n(4)]
    pub body: SegmentedBody,
    /// The checksum of its bytes.
    #[n(5)]
    pub checksum: Option<ObjectChecksum>,
}

impl PartRow {
    /// The data ids of its segments.
    pub fn data_ids(&self) -> impl Iterator<Item = DataId> + '_ {
        self.body.segments.iter().map(|segment| segment.data_id)
    }
}

/// Bytes of a row, for engines that keep them as such.
macro_rules! bytes {
    ($type:ident) => {
        impl $type {
            /// Its bytes (CBOR).
            pub fn encode(&self) -> Vec<u8> {
                // Writing to a Vec cannot fail.
                minicbor::to_vec(self).unwrap_or_default()
            }
            /// Reads them back. `Internal` where they are something else.
            pub fn decode(bytes: &[u8]) -> Result<Self> {
                minicbor::decode(bytes).map_err(|error| Error::internal(format!("a row of an upload: {error}")))
            }
        }
    };
}
bytes!(UploadRow);
bytes!(PartRow);
