//! A shard: a 96-byte header and then, per stripe, a checksum and a block. All integers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `RSBSHARD` |
//! | 8 | 2 | format version, 1 |
//! | 10 | 2 | header length, 96: where the first stripe begins |
//! | 12 | 2 | codec id (1 novelpoly, 2 cauchy) |
//! | 14 | 2 | k, data shards |
//! | 16 | 2 | m, parity shards |
//! | 18 | 2 | shard index, 0..k data, k..k+m parity |
//! | 20 | 4 | block size in bytes |
//! | 24 | 8 | segment length in bytes |
//! | 32 | 16 | repository id |
//! | 48 | 16 | data id |
//! | 64 | 4 | symbol length of the codec in bytes (the last stripe's blocks are rounded up to it) |
//! | 68 | 24 | zero |
//! | 92 | 4 | CRC-32C of bytes 0..92 |
//! | 96 + s × (32 + block size) | 32 | BLAKE3 checksum of stripe s's block ([`super::checksum::Checksums::block`]) |
//! | … + 32 | block | the block; in the last stripe `ceil(rest / k)` bytes, rounded up to the symbol length |

use super::FormatError;
use crate::id::{DataId, RepositoryId};
use crate::scheme::Scheme;
use crate::stripe::Layout;

/// Bytes of a shard's header.
pub const HEADER_LEN: usize = 96;
const MAGIC: &[u8; 8] = b"RSBSHARD";
/// The newest format version this program writes and reads.
pub const VERSION: u16 = 1;
const WHAT: &str = "shard header";
/// The longest symbol of a codec, in bytes.
pub(super) const MAX_SYMBOL_LEN: u32 = 64;

/// What a shard says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardHeader {
    /// The repository it belongs to.
    pub repository: RepositoryId,
    /// The segment's data id.
    pub data_id: DataId,
    /// Which of the k+m shards it is.
    pub index: u16,
    /// How the segment is coded.
    pub scheme: Scheme,
    /// The segment's length in bytes.
    pub segment_len: u64,
    /// Bytes of a symbol of the codec.
    pub symbol_len: u32,
}

impl ShardHeader {
    /// The geometry of the segment.
    pub fn layout(&self) -> Layout {
        Layout::new(&self.scheme, self.symbol_len as usize, self.segment_len)
    }

    /// The whole shard's length in bytes.
    pub fn shard_len(&self) -> u64 {
        HEADER_LEN as u64 + self.layout().shard_body_len()
    }

    /// The header's bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0u8; HEADER_LEN];
        out[0..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10..12].copy_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        out[12..14].copy_from_slice(&self.scheme.codec.to_le_bytes());
        out[14..16].copy_from_slice(&self.scheme.data_shards.to_le_bytes());
        out[16..18].copy_from_slice(&self.scheme.parity_shards.to_le_bytes());
        out[18..20].copy_from_slice(&self.index.to_le_bytes());
        out[20..24].copy_from_slice(&self.scheme.block_size.to_le_bytes());
        out[24..32].copy_from_slice(&self.segment_len.to_le_bytes());
        out[32..48].copy_from_slice(self.repository.0.as_bytes());
        out[48..64].copy_from_slice(self.data_id.0.as_bytes());
        out[64..68].copy_from_slice(&self.symbol_len.to_le_bytes());
        let crc = crc32c::crc32c(&out[..92]);
        out[92..96].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header. Refuses what is truncated, of a newer version, or does not match its CRC.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(head) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(FormatError::Truncated { what: WHAT, have: bytes.len() as u64, need: HEADER_LEN as u64 });
        };
        if &head[0..8] != MAGIC {
            return Err(FormatError::Magic { what: WHAT });
        }
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if crc32c::crc32c(&head[..92]) != u32_at(92) {
            return Err(FormatError::Checksum { what: WHAT });
        }
        let version = u16_at(8);
        if version == 0 || version > VERSION {
            return Err(FormatError::Version { what: WHAT, found: version, newest: VERSION });
        }
        let malformed = |detail: String| FormatError::Malformed { what: WHAT, detail };
        if usize::from(u16_at(10)) != HEADER_LEN {
            return Err(malformed(format!("header length {}", u16_at(10))));
        }
        let scheme =
            Scheme { data_shards: u16_at(14), parity_shards: u16_at(16), codec: u16_at(12), block_size: u32_at(20) }
                .validate()
                .map_err(|e| malformed(e.to_string()))?;
        let index = u16_at(18);
        if usize::from(index) >= scheme.n() {
            return Err(malformed(format!("shard index {index} of {} shards", scheme.n())));
        }
        let symbol_len = u32_at(64);
        if symbol_len == 0 || symbol_len > MAX_SYMBOL_LEN {
            return Err(malformed(format!("symbol length {symbol_len}")));
        }
        let uuid_at = |at: usize| {
            let mut id = [0u8; 16];
            id.copy_from_slice(&head[at..at + 16]);
            uuid::Uuid::from_bytes(id)
        };
        let mut len = [0u8; 8];
        len.copy_from_slice(&head[24..32]);
        let header = Self {
            repository: RepositoryId(uuid_at(32)),
            data_id: DataId(uuid_at(48)),
            index,
            scheme,
            segment_len: u64::from_le_bytes(len),
            symbol_len,
        };
        if !header.layout().is_addressable() {
            return Err(malformed(format!("segment length {}", header.segment_len)));
        }
        Ok(header)
    }
}
