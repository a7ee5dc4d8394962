//! A manifest file: a 64-byte header and then 1..N records. Each backend that holds the batch has its own copy: the
//! offsets and bodies are the same on all, the copy number and the inline shards differ. All integers are little-endian.
//!
//! | offset | bytes | header field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `RSBMANIF` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | header length, 64: where the first record begins |
//! | 12 | 2 | copy number: which copy of the batch this is, from 0 |
//! | 14 | 2 | number of records |
//! | 16 | 16 | repository id |
//! | 32 | 16 | batch id |
//! | 48 | 12 | zero |
//! | 60 | 4 | CRC-32C of bytes 0..60 |
//!
//! | offset | bytes | record field |
//! | --- | --- | --- |
//! | 0 | 4 | record length, this field and everything behind it included: the next record begins there |
//! | 4 | 4 | body length B |
//! | 8 | 4 | inline block length I |
//! | 12 | 4 | zero |
//! | 16 | 32 | BLAKE3 checksum of the record ([`super::checksum::Checksums::record`]): bytes 0..16 and the body |
//! | 48 | B | body, CBOR ([`super::manifest::Record`]) |
//! | 48 + B | 32 | BLAKE3 checksum of the inline block ([`super::checksum::Checksums::block`], shard = copy number, stripe 0); zero when this copy carries no shard |
//! | 80 + B | I | inline block; zero when this copy carries no shard |

use bytes::Bytes;

use super::FormatError;
use super::checksum::{Checksum, Checksums};
use super::manifest::{Body, Record};
use crate::id::{BatchId, DataId, RepositoryId};
use crate::stripe::CHECKSUM_LEN;

/// Bytes of a manifest file's header.
pub const HEADER_LEN: usize = 64;
/// Bytes of a record before its body.
pub const FRAME_LEN: usize = 48;
const MAGIC: &[u8; 8] = b"RSBMANIF";
/// The newest format version this program writes and reads.
pub const VERSION: u16 = 1;
const WHAT: &str = "manifest file";
const RECORD: &str = "manifest record";
/// A manifest file is read whole, so its size is bounded: S3's largest object has a manifest of 5 MB.
pub(crate) const MAX_RECORD_LEN: u64 = 64 << 20;

/// A manifest file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The batch.
    pub batch: BatchId,
    /// Which copy of the batch this is, from 0; an inline object's shard of this index lies in it.
    pub copy: u16,
    /// Number of records.
    pub records: u16,
}

impl BatchHeader {
    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        out[0..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        out[12..14].copy_from_slice(&self.copy.to_le_bytes());
        out[14..16].copy_from_slice(&self.records.to_le_bytes());
        out[16..32].copy_from_slice(self.repository.0.as_bytes());
        out[32..48].copy_from_slice(self.batch.0.as_bytes());
        let crc = crc32c::crc32c(&out[..60]);
        out[60..64].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(FormatError::Truncated { what: WHAT, have: bytes.len() as u64, need: HEADER_LEN as u64 });
        };
        if &head[0..8] != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        if crc32c::crc32c(&head[..60]) != u32_at(head, 60) {
            return Err(FormatError::Checksum { what: WHAT });
        }
        let version = u16_at(8);
        if version == 0 || version > VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, newest: VERSION });
        }
        if usize::from(u16_at(10)) != HEADER_LEN {
            return Err(FormatError::Malformed { what: WHAT, detail: format!("header length {}", u16_at(10)) });
        }
        let uuid_at = |at: usize| {
            let mut id = [0u8; 16];
            id.copy_from_slice(&head[at..at + 16]);
            uuid::Uuid::from_bytes(id)
        };
        Ok(Self {
            repository: RepositoryId(uuid_at(16)),
            batch: BatchId(uuid_at(32)),
            copy: u16_at(12),
            records: u16_at(14),
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// An inline object's shards, one for each copy that carries one; all of the same length.
#[derive(Clone, Debug, Default)]
pub struct InlineShards {
    /// The data id that binds the checksums.
    pub data_id: Option<DataId>,
    /// The shards by index.
    pub blocks: Vec<Bytes>,
}

/// A record to be written, with its inline shards.
#[derive(Clone, Debug)]
pub struct NewRecord {
    /// What it says.
    pub record: Record,
    /// Its shards, when it is an inline object.
    pub inline: InlineShards,
}

impl NewRecord {
    /// A record without inline shards.
    pub fn plain(record: Record) -> Self {
        Self { record, inline: InlineShards::default() }
    }
}

/// Where a record lies in its batch; the same on every copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Bytes from the file's begin to the record's.
    pub offset: u32,
    /// The record's length in bytes.
    pub len: u32,
    /// The body's length in bytes.
    pub body_len: u32,
}

impl Extent {
    /// The bytes of the inline block and its checksum, counted from the file's begin.
    pub(crate) fn inline_range(&self) -> std::ops::Range<u64> {
        let start = u64::from(self.offset) + (FRAME_LEN as u64) + u64::from(self.body_len);
        start..u64::from(self.offset) + u64::from(self.len)
    }
    /// All bytes of the record, counted from the file's begin.
    pub fn range(&self) -> std::ops::Range<u64> {
        u64::from(self.offset)..u64::from(self.offset) + u64::from(self.len)
    }
}

/// A batch ready to be written: its copies are made from it one by one.
#[derive(Clone, Debug)]
pub struct BatchImage {
    repository: RepositoryId,
    batch: BatchId,
    records: Vec<(Extent, Vec<u8>, InlineShards)>,
    len: u64,
}

impl BatchImage {
    /// Lays the records out.
    pub fn new(repository: RepositoryId, batch: BatchId, records: &[NewRecord]) -> Result<Self, FormatError> {
        Self::from_bodies(repository, batch, records.iter().map(|new| (new.record.encode(), new.inline.clone())))
    }

    /// Lays out records whose bodies are encoded already.
    pub fn from_bodies(
        repository: RepositoryId,
        batch: BatchId,
        records: impl IntoIterator<Item = (Vec<u8>, InlineShards)>,
    ) -> Result<Self, FormatError> {
        let mut offset = HEADER_LEN as u64;
        let mut out = Vec::new();
        for (body, inline) in records {
            let inline_len = inline.blocks.first().map_or(0, Bytes::len);
            let len = (FRAME_LEN + body.len() + CHECKSUM_LEN + inline_len) as u64;
            if len > MAX_RECORD_LEN || offset + len > u64::from(u32::MAX) {
                return Err(FormatError::Malformed {
                    what: RECORD,
                    detail: format!("{len} bytes at {offset} are too many"),
                });
            }
            out.push((Extent { offset: offset as u32, len: len as u32, body_len: body.len() as u32 }, body, inline));
            offset += len;
        }
        Ok(Self { repository, batch, records: out, len: offset })
    }

    /// The batch.
    pub fn batch(&self) -> BatchId {
        self.batch
    }

    /// A copy's length in bytes; the same for every copy.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Where each record lies.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.records.iter().map(|(extent, ..)| *extent)
    }

    /// The bytes of one copy.
    pub fn copy(&self, checksums: &Checksums, copy: u16) -> Bytes {
        let mut out = Vec::with_capacity(self.len as usize);
        let header =
            BatchHeader { repository: self.repository, batch: self.batch, copy, records: self.records.len() as u16 };
        out.extend_from_slice(&header.encode());
        for (extent, body, inline) in &self.records {
            let inline_len = extent.len as usize - FRAME_LEN - body.len() - CHECKSUM_LEN;
            let mut frame = [0u8; 16];
            frame[0..4].copy_from_slice(&extent.len.to_le_bytes());
            frame[4..8].copy_from_slice(&extent.body_len.to_le_bytes());
            frame[8..12].copy_from_slice(&(inline_len as u32).to_le_bytes());
            out.extend_from_slice(&frame);
            out.extend_from_slice(&checksums.record(self.batch, extent.offset, &frame, body));
            out.extend_from_slice(body);
            match (inline.data_id, inline.blocks.get(usize::from(copy))) {
                (Some(data_id), Some(block)) => {
                    out.extend_from_slice(&checksums.block(data_id, usize::from(copy), 0, block));
                    out.extend_from_slice(block);
                }
                _ => out.resize(out.len() + CHECKSUM_LEN + inline_len, 0),
            }
        }
        out.into()
    }
}

/// A record read from a copy of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadRecord {
    /// Where it lies.
    pub extent: Extent,
    /// What it says.
    pub record: Record,
    /// Its body's bytes as they stand in the file: a copy is rebuilt from them, so that fields of a newer program stay.
    pub body: Bytes,
    /// The inline block of this copy: `Ok(None)` when it carries none, `Err` when it does not verify.
    pub inline: Result<Option<Bytes>, FormatError>,
}

/// Reads a whole copy of a batch. A header that does not verify fails the copy; a record that does not verify fails
/// alone, as long as its length leads to the next.
pub fn read_copy(
    checksums: &Checksums,
    repository: RepositoryId,
    batch: BatchId,
    bytes: &Bytes,
) -> Result<(BatchHeader, Vec<Result<ReadRecord, FormatError>>), FormatError> {
    let header = BatchHeader::decode(bytes)?;
    if header.repository != repository || header.batch != batch {
        return Err(FormatError::Misplaced {
            what: WHAT,
            detail: format!(
                "batch {} of repository {}, not batch {batch} of {repository}",
                header.batch, header.repository
            ),
        });
    }
    let mut records = Vec::with_capacity(usize::from(header.records).min(1024));
    let mut offset = HEADER_LEN as u64;
    for _ in 0..header.records {
        let len = u64::from(u32_at(bytes, offset as usize));
        if bytes.len() as u64 - offset < 4
            || len < (FRAME_LEN + CHECKSUM_LEN) as u64
            || offset + len > bytes.len() as u64
        {
            records.push(Err(FormatError::Truncated { what: RECORD, have: bytes.len() as u64 - offset, need: len }));
            break;
        }
        records.push(read_record(
            checksums,
            &header,
            offset as u32,
            &bytes.slice(offset as usize..(offset + len) as usize),
        ));
        offset += len;
    }
    Ok((header, records))
}

/// Reads one record from its bytes (from its length field to its end).
pub(crate) fn read_record(
    checksums: &Checksums,
    header: &BatchHeader,
    offset: u32,
    bytes: &Bytes,
) -> Result<ReadRecord, FormatError> {
    let truncated = |need: usize| FormatError::Truncated { what: RECORD, have: bytes.len() as u64, need: need as u64 };
    if bytes.len() < FRAME_LEN + CHECKSUM_LEN {
        return Err(truncated(FRAME_LEN + CHECKSUM_LEN));
    }
    let (len, body_len, inline_len) = (u32_at(bytes, 0), u32_at(bytes, 4), u32_at(bytes, 8));
    let need = FRAME_LEN as u64 + u64::from(body_len) + CHECKSUM_LEN as u64 + u64::from(inline_len);
    if bytes.len() as u64 != need || u64::from(len) != need {
        return Err(truncated(need as usize));
    }
    let body_end = FRAME_LEN + body_len as usize;
    let body = &bytes[FRAME_LEN..body_end];
    if checksums.record(header.batch, offset, &bytes[..16], body) != bytes[16..48] {
        return Err(FormatError::Checksum { what: RECORD });
    }
    let record = Record::decode(body)?;
    let inline = match &record {
        Record::Version(manifest) => match &manifest.body {
            Body::Inline(inline) if usize::from(header.copy) < inline.scheme.n() => {
                read_inline(checksums, inline.data_id, usize::from(header.copy), &bytes.slice(body_end..)).map(Some)
            }
            _ => Ok(None),
        },
        _ => Ok(None),
    };
    let extent = Extent { offset, len, body_len };
    Ok(ReadRecord { extent, record, body: bytes.slice(FRAME_LEN..body_end), inline })
}

/// Verifies an inline block with its checksum before it (the bytes of [`Extent::inline_range`]).
pub(crate) fn read_inline(
    checksums: &Checksums,
    data_id: DataId,
    copy: usize,
    bytes: &Bytes,
) -> Result<Bytes, FormatError> {
    const INLINE: &str = "inline block";
    let Some((expected, block)) = bytes.split_first_chunk::<CHECKSUM_LEN>() else {
        return Err(FormatError::Truncated { what: INLINE, have: bytes.len() as u64, need: CHECKSUM_LEN as u64 });
    };
    let expected: &Checksum = expected;
    if checksums.block(data_id, copy, 0, block) != *expected {
        return Err(FormatError::Checksum { what: INLINE });
    }
    Ok(bytes.slice(CHECKSUM_LEN..))
}
