//! Stripe arithmetic: where each byte of a segment lies in its shards. Pure; no I/O.
//!
//! A segment of `len` bytes is cut into stripes of `k × block_size` bytes; within a stripe, data block `i` holds the
//! `i`-th run of block-length bytes. The last stripe is short: its blocks hold `ceil(rest / k)` bytes, rounded up to
//! whole symbols of the codec, and zeros pad the end.

use std::ops::Range;

use crate::scheme::Scheme;

/// Bytes of the BLAKE3 checksum that stands before each block.
pub const CHECKSUM_LEN: usize = 32;

/// The geometry of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The segment's length in bytes.
    pub len: u64,
    k: u64,
    block: u64,
    symbol: u64,
}

impl Layout {
    /// The layout of a segment of `len` bytes whose codec has symbols of `symbol_len` bytes.
    pub fn new(scheme: &Scheme, symbol_len: usize, len: u64) -> Self {
        Self { len, k: scheme.k() as u64, block: u64::from(scheme.block_size), symbol: symbol_len.max(1) as u64 }
    }

    /// The layout of an inline object: one stripe however long it is, so that a record carries one block.
    pub fn inline(scheme: &Scheme, symbol_len: usize, len: u64) -> Self {
        let symbol = symbol_len.max(1) as u64;
        let k = scheme.k() as u64;
        Self { len, k, block: len.div_ceil(k).next_multiple_of(symbol).max(symbol), symbol }
    }

    /// Data bytes of a full stripe.
    pub fn stripe_len(&self) -> u64 {
        self.k * self.block
    }

    /// Number of stripes; 0 for an empty segment.
    pub fn stripes(&self) -> u64 {
        self.len.div_ceil(self.stripe_len())
    }

    /// Whether every stripe has a number of 32 bits, as its checksum's place needs; only then does the arithmetic hold.
    pub(crate) fn is_addressable(&self) -> bool {
        self.stripes() <= u64::from(u32::MAX)
    }

    /// Bytes of each block of stripe `stripe` (data and parity alike).
    pub fn block_len(&self, stripe: u64) -> u64 {
        let rest = self.len.saturating_sub(stripe * self.stripe_len());
        if rest >= self.stripe_len() { self.block } else { rest.div_ceil(self.k).next_multiple_of(self.symbol) }
    }

    /// Data bytes of stripe `stripe`, without padding.
    pub fn data_len(&self, stripe: u64) -> u64 {
        self.len.saturating_sub(stripe * self.stripe_len()).min(self.stripe_len())
    }

    /// Data bytes in block `index` (of the k data blocks) of stripe `stripe`, without padding.
    pub(crate) fn data_len_of_block(&self, stripe: u64, index: u64) -> u64 {
        let block = self.block_len(stripe);
        self.data_len(stripe).saturating_sub(index * block).min(block)
    }

    /// Bytes of a shard behind its header: a checksum and a block for each stripe.
    pub fn shard_body_len(&self) -> u64 {
        self.frame_offset(self.stripes())
    }

    /// Where stripe `stripe`'s checksum begins, counted from the end of the shard's header.
    pub fn frame_offset(&self, stripe: u64) -> u64 {
        let stripes = self.stripes();
        let frame = self.block + CHECKSUM_LEN as u64;
        if stripe < stripes || stripes == 0 {
            stripe.min(stripes) * frame
        } else {
            (stripes - 1) * frame + self.block_len(stripes - 1) + CHECKSUM_LEN as u64
        }
    }

    /// The stripes that hold the bytes `range` of the segment (empty for an empty range).
    pub fn stripes_of(&self, range: &Range<u64>) -> Range<u64> {
        if range.start >= range.end {
            return 0..0;
        }
        range.start / self.stripe_len()..range.end.div_ceil(self.stripe_len())
    }

    /// The data blocks of stripe `stripe` that hold bytes of `range` (positions within the segment).
    pub fn blocks_of(&self, stripe: u64, range: &Range<u64>) -> Range<u64> {
        let base = stripe * self.stripe_len();
        let start = range.start.max(base) - base;
        let end = range.end.min(base + self.data_len(stripe)).saturating_sub(base);
        let block = self.block_len(stripe);
        if start >= end || block == 0 { 0..0 } else { start / block..end.div_ceil(block) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecId;
    use proptest::prelude::*;

    fn scheme(k: usize, block: u32) -> Scheme {
        Scheme::new(k, 2, CodecId::CAUCHY, block).unwrap()
    }

    #[test]
    fn the_last_stripe_is_short() {
        let layout = Layout::new(&scheme(4, 1024), 2, 4096 + 5);
        assert_eq!(layout.stripes(), 2);
        assert_eq!((layout.block_len(0), layout.block_len(1)), (1024, 2));
        assert_eq!(layout.shard_body_len(), 1024 + 32 + 2 + 32);
        assert_eq!(layout.data_len_of_block(1, 2), 1);
        assert_eq!(layout.data_len_of_block(1, 3), 0);
        assert_eq!(layout.blocks_of(1, &(4096..4101)), 0..3);
    }

    #[test]
    fn an_empty_segment_has_no_stripes() {
        let layout = Layout::new(&scheme(4, 1024), 2, 0);
        assert_eq!((layout.stripes(), layout.shard_body_len()), (0, 0));
        assert_eq!(layout.stripes_of(&(0..0)), 0..0);
    }

    proptest! {
        #[test]
        fn every_byte_lies_in_exactly_one_block(k in 1usize..20, blocks in 1u32..5, len in 0u64..200_000, symbol in 1usize..3) {
            for layout in [Layout::new(&scheme(k, blocks * 512), symbol, len), Layout::inline(&scheme(k, 512), symbol, len)] {
                let mut total = 0;
                for stripe in 0..layout.stripes() {
                    prop_assert!(layout.block_len(stripe) % symbol as u64 == 0);
                    prop_assert!(layout.block_len(stripe) * k as u64 >= layout.data_len(stripe));
                    let in_blocks: u64 = (0..k as u64).map(|i| layout.data_len_of_block(stripe, i)).sum();
                    prop_assert_eq!(in_blocks, layout.data_len(stripe));
                    prop_assert_eq!(layout.frame_offset(stripe + 1) - layout.frame_offset(stripe), layout.block_len(stripe) + 32);
                    total += in_blocks;
                }
                prop_assert_eq!(total, len);
            }
        }
    }
}
