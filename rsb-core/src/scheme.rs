//! The scheme: how an object is coded. Recorded in its manifest, so it can differ by object.

use std::fmt;

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::codec::{CodecId, Shape};
use crate::error::{Error, Result};

/// The least block size, in bytes.
pub const MIN_BLOCK_SIZE: u32 = 512;
/// The greatest block size, in bytes.
pub const MAX_BLOCK_SIZE: u32 = 16 << 20;

/// (k, m, codec, block size): how an object is coded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Encode, Decode, Serialize, Deserialize)]
pub struct Scheme {
    /// k, the number of data shards: 1 or more.
    #[n(0)]
    pub data_shards: u16,
    /// m, the number of parity shards; `k + m` is at most 256.
    #[n(1)]
    pub parity_shards: u16,
    /// The code's number (see [`CodecId`]).
    #[n(2)]
    pub codec: u16,
    /// Bytes of one shard in one stripe, a multiple of 64: the unit of checksums and range reads.
    #[n(3)]
    pub block_size: u32,
}

impl Scheme {
    /// A checked scheme. Errors name the value that is out of its bounds.
    pub fn new(data_shards: usize, parity_shards: usize, codec: CodecId, block_size: u32) -> Result<Self> {
        if data_shards == 0 {
            return Err(Error::invalid("data_shards is 0; at least 1 data shard is needed"));
        }
        if data_shards.saturating_add(parity_shards) > 256 {
            return Err(Error::invalid(format!(
                "data_shards {data_shards} + parity_shards {parity_shards} is more than 256 shards; choose fewer"
            )));
        }
        if !(MIN_BLOCK_SIZE..=MAX_BLOCK_SIZE).contains(&block_size) || !block_size.is_multiple_of(64) {
            return Err(Error::invalid(format!(
                "block_size {block_size} is not a multiple of 64 between {MIN_BLOCK_SIZE} and {MAX_BLOCK_SIZE} bytes"
            )));
        }
        // Both are at most 256 here.
        Ok(Self { data_shards: data_shards as u16, parity_shards: parity_shards as u16, codec: codec.0, block_size })
    }

    /// Checks what was decoded from somewhere.
    pub fn validate(self) -> Result<Self> {
        Self::new(self.k(), self.m(), CodecId(self.codec), self.block_size)
    }

    /// k, the number of data shards.
    pub fn k(&self) -> usize {
        usize::from(self.data_shards)
    }
    /// m, the number of parity shards.
    pub fn m(&self) -> usize {
        usize::from(self.parity_shards)
    }
    /// n = k + m.
    pub fn n(&self) -> usize {
        self.k() + self.m()
    }
    /// The code.
    pub fn codec_id(&self) -> CodecId {
        CodecId(self.codec)
    }
    /// k and m for the codec.
    pub fn shape(&self) -> Result<Shape> {
        Shape::new(self.k(), self.m()).map_err(Error::from)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} {}", self.data_shards, self.parity_shards, self.codec_id())
    }
}
