//! What a record says: a version of an object, a tombstone, or a bucket's settings. The body of a record is CBOR
//! (RFC 8949): maps with small integer keys, so that a later version may add a field and an older reader skips it.
//! The numbers in `#[n(…)]` are the format.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use super::FormatError;
use super::batch::MAX_RECORD_LEN;
use super::parts::{ObjectChecksum, Parts};
pub use super::segments::{Segment, SegmentScheme, SegmentView, SegmentedBody};
use super::shard::MAX_SYMBOL_LEN;
use crate::id::{DataId, VersionId};
use crate::scheme::Scheme;
use crate::stripe::Layout;

const WHAT: &str = "manifest record";

/// A record of the repository's history, known by (version id, revision).
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[allow(clippy::large_enum_variant, reason = "nearly every record is a version; the others are rare and short-lived")]
pub enum Record {
    /// A version of an object (or a delete marker).
    #[n(1)]
    Version(#[n(0)] Manifest),
    /// The end of an object, or of one version of it.
    #[n(2)]
    Tombstone(#[n(0)] Tombstone),
    /// A bucket and its settings, or its end.
    #[n(3)]
    Bucket(#[n(0)] BucketRecord),
}

/// The description of one object version.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Manifest {
    /// The bucket's name.
    #[n(0)]
    pub bucket: String,
    /// The object's key: 1 to 1024 bytes of UTF-8.
    #[n(1)]
    pub key: String,
    /// The version's id.
    #[n(2)]
    pub version: VersionId,
    /// Rises when the same version is described anew, as when a shard was placed elsewhere; the highest wins.
    #[n(3)]
    pub revision: u32,
    /// When the write was ready to commit: milliseconds since the Unix epoch.
    #[n(4)]
    pub modified_ms: u64,
    /// Bytes of the object.
    #[n(5)]
    pub size: u64,
    /// The entity tag.
    #[n(6)]
    pub etag: Etag,
    /// System metadata by lower-case HTTP name: `content-type`, `cache-control`, …
    #[n(7)]
    #[cbor(default)]
    pub attributes: BTreeMap<String, String>,
    /// The user's metadata, without any `x-amz-meta-` prefix.
    #[n(8)]
    #[cbor(default)]
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    #[n(9)]
    #[cbor(default)]
    pub tags: BTreeMap<String, String>,
    /// A delete marker: the newest version of its key says that there is none.
    #[n(10)]
    #[cbor(default)]
    pub delete_marker: bool,
    /// S3's `null` version, written while versioning was off or suspended.
    #[n(11)]
    #[cbor(default)]
    pub null_version: bool,
    /// Where the bytes are.
    #[n(12)]
    pub body: Body,
    /// The prototype's digests: SHA-256 of the k contiguous data runs.
    #[n(13)]
    pub run_digests: Option<Vec<Digest>>,
    /// The writer's own extra facts, kept and passed on (object lock, …).
    #[n(14)]
    #[cbor(default)]
    pub extra: BTreeMap<String, String>,
    /// The parts of the multipart upload that wrote it.
    #[n(15)]
    pub parts: Option<Parts>,
    /// The checksum that its sender gave.
    #[n(16)]
    pub checksum: Option<ObjectChecksum>,
}

/// A SHA-256 digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(transparent)]
pub struct Digest(
    /// Its bytes.
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    pub [u8; 32],
);

/// An entity tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum Etag {
    /// MD5 of the object's bytes.
    #[n(0)]
    Md5(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        [u8; 16],
    ),
    /// Not a digest of the content: unique to the version's bytes.
    #[n(1)]
    Fast(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        [u8; 16],
    ),
    /// S3's tag of a multipart upload: MD5 of the parts' MD5s, and the number of parts.
    #[n(2)]
    Multipart(
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        [u8; 16],
        #[n(1)] u32,
    ),
}

impl std::fmt::Display for Etag {
    /// The tag without quotes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Md5(bytes) => f.write_str(&hex::encode(bytes)),
            Self::Fast(bytes) => write!(f, "{}-0", hex::encode(bytes)),
            Self::Multipart(bytes, parts) => write!(f, "{}-{parts}", hex::encode(bytes)),
        }
    }
}

/// Where an object's bytes are.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Body {
    /// No bytes at all: a delete marker.
    #[n(0)]
    None,
    /// In the manifest records: each copy of the record carries the shard of its copy number.
    #[n(1)]
    Inline(#[n(0)] InlineBody),
    /// In shards of their own.
    #[n(2)]
    Segments(#[n(0)] SegmentedBody),
}

/// An object that lives wholly in manifest records.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct InlineBody {
    /// How it is coded: one stripe, whose blocks hold `ceil(size / k)` bytes.
    #[n(0)]
    pub scheme: Scheme,
    /// Binds the blocks' checksums to this object.
    #[n(1)]
    pub data_id: DataId,
    /// Bytes of a symbol of the codec.
    #[n(2)]
    pub symbol_len: u32,
}

/// The end of an object or of one version. It kills every version of the key with a smaller id, or only `target`
/// (see [`crate::catalog::tombstone_kills`]).
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Tombstone {
    /// The bucket's name.
    #[n(0)]
    pub bucket: String,
    /// The object's key.
    #[n(1)]
    pub key: String,
    /// The tombstone's own id.
    #[n(2)]
    pub version: VersionId,
    /// Rises when the same tombstone is written anew.
    #[n(3)]
    pub revision: u32,
    /// The one version it kills; every smaller one when absent.
    #[n(4)]
    pub target: Option<VersionId>,
    /// With a target that is a `null` version: every `null` version with a smaller id is killed too, so that one
    /// superseded before, of which a copy may be left somewhere, does not come back.
    #[n(5)]
    #[cbor(default)]
    pub null_version: bool,
}

/// A bucket and its settings, or its end.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct BucketRecord {
    /// The bucket's name.
    #[n(0)]
    pub name: String,
    /// The record's id; the greatest of a name wins.
    #[n(1)]
    pub version: VersionId,
    /// Rises when the same record is written anew.
    #[n(2)]
    pub revision: u32,
    /// When the bucket was made: milliseconds since the Unix epoch.
    #[n(3)]
    pub created_ms: u64,
    /// The bucket has been deleted.
    #[n(4)]
    #[cbor(default)]
    pub deleted: bool,
    /// Its settings.
    #[n(5)]
    pub settings: BucketSettings,
}

/// A bucket's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(map)]
pub struct BucketSettings {
    /// Which versions are kept.
    #[n(0)]
    #[cbor(default)]
    pub versions: Versions,
    /// Further settings by name, kept and passed on.
    #[n(1)]
    #[cbor(default)]
    #[serde(default)]
    pub extra: BTreeMap<String, String>,
}

/// Which versions of an object a bucket keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
#[cbor(index_only)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// The newest only.
    #[default]
    #[n(0)]
    KeepLast,
    /// Every one; a delete writes a delete marker.
    #[n(1)]
    KeepAll,
    /// Those written while keep-all was on; new writes replace the `null` version (S3's "suspended").
    #[n(2)]
    Suspended,
}

impl Record {
    /// The record's id.
    pub fn version(&self) -> VersionId {
        match self {
            Self::Version(m) => m.version,
            Self::Tombstone(t) => t.version,
            Self::Bucket(b) => b.version,
        }
    }

    /// The record's revision.
    pub fn revision(&self) -> u32 {
        match self {
            Self::Version(m) => m.revision,
            Self::Tombstone(t) => t.revision,
            Self::Bucket(b) => b.revision,
        }
    }

    /// The same record with another revision.
    #[must_use]
    pub fn with_revision(mut self, revision: u32) -> Self {
        match &mut self {
            Self::Version(m) => m.revision = revision,
            Self::Tombstone(t) => t.revision = revision,
            Self::Bucket(b) => b.revision = revision,
        }
        self
    }

    /// The bucket it is about.
    pub fn bucket(&self) -> &str {
        match self {
            Self::Version(m) => &m.bucket,
            Self::Tombstone(t) => &t.bucket,
            Self::Bucket(b) => &b.name,
        }
    }

    /// The key it is about; empty for a bucket's record.
    pub fn key(&self) -> &str {
        match self {
            Self::Version(m) => &m.key,
            Self::Tombstone(t) => &t.key,
            Self::Bucket(_) => "",
        }
    }

    /// The record's body bytes.
    pub fn encode(&self) -> Vec<u8> {
        // Writing to a Vec cannot fail.
        minicbor::to_vec(self).unwrap_or_default()
    }

    /// Reads and checks a record's body.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let malformed = |detail: String| FormatError::Malformed { what: WHAT, detail };
        let record: Self = minicbor::decode(bytes).map_err(|e| malformed(e.to_string()))?;
        if let Self::Version(manifest) = &record {
            manifest.validate().map_err(malformed)?;
        }
        Ok(record)
    }
}

fn check_symbol_len(len: u32) -> Result<(), String> {
    if (1..=MAX_SYMBOL_LEN).contains(&len) { Ok(()) } else { Err(format!("symbol length {len}")) }
}

impl Manifest {
    /// The data ids of its segments (none for an inline object, whose bytes are in the record).
    pub fn data_ids(&self) -> impl Iterator<Item = DataId> + '_ {
        let segments = match &self.body {
            Body::Segments(body) => body.segments.as_slice(),
            Body::None | Body::Inline(_) => &[],
        };
        segments.iter().map(|s| s.data_id)
    }

    /// How many copies of its record it takes to believe in the object: as many as an inline one is restored from. As many of
    /// an empty one, although each says all of it: a single copy that was away when it was deleted must not bring it back.
    pub(crate) fn copies_needed(&self) -> usize {
        match &self.body {
            Body::Inline(body) => body.scheme.k(),
            Body::None | Body::Segments(_) => 1,
        }
    }

    /// The scheme of its first segment; `None` when it holds no bytes.
    pub fn scheme(&self) -> Option<Scheme> {
        match &self.body {
            Body::None => None,
            Body::Inline(body) => Some(body.scheme),
            Body::Segments(body) => {
                let first = body.segments.first()?;
                body.schemes.get(usize::from(first.scheme)).map(|s| s.scheme)
            }
        }
    }

    fn validate(&self) -> Result<(), String> {
        self.parts.as_ref().map_or(Ok(()), |parts| parts.validate(self.size))?;
        match &self.body {
            Body::None if self.size > 0 => return Err(format!("{} bytes, and nowhere to have them", self.size)),
            Body::None => {}
            Body::Inline(body) => {
                body.scheme.validate().map_err(|e| e.to_string())?;
                check_symbol_len(body.symbol_len)?;
                if self.size.div_ceil(body.scheme.k() as u64) > MAX_RECORD_LEN {
                    return Err(format!("{} inline bytes are too many", self.size));
                }
            }
            Body::Segments(body) => {
                let mut total: u64 = 0;
                for scheme in &body.schemes {
                    scheme.scheme.validate().map_err(|e| e.to_string())?;
                    check_symbol_len(scheme.symbol_len)?;
                }
                for segment in &body.segments {
                    let scheme = body.schemes.get(usize::from(segment.scheme)).ok_or("no such scheme")?;
                    let placement = body.placements.get(usize::from(segment.placement)).ok_or("no such placement")?;
                    if placement.len() != scheme.scheme.n() {
                        return Err(format!("a placement of {} shards for {}", placement.len(), scheme.scheme));
                    }
                    if placement.iter().any(|at| usize::from(*at) >= body.backends.len()) {
                        return Err("a placement names no backend".into());
                    }
                    let layout = Layout::new(&scheme.scheme, scheme.symbol_len as usize, segment.len);
                    if !layout.is_addressable() {
                        return Err(format!("a segment of {} bytes", segment.len));
                    }
                    total = total.checked_add(segment.len).ok_or("segment lengths overflow")?;
                }
                if total != self.size {
                    return Err(format!("segments hold {total} bytes of {}", self.size));
                }
            }
        }
        Ok(())
    }
}
