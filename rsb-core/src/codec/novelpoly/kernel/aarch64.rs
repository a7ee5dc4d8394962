//! The kernel of 64-bit ARM processors, [`Neon`]: four bits of a symbol look up their products in a register of 16 bytes.

use std::arch::aarch64::*;
use std::ops::Range;

use super::Nibbles;
use super::vector::{self, Vector};

/// 16 symbols; NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon {
    high: uint8x16_t,
    low: uint8x16_t,
}

// SAFETY: 32 bytes are even and fit.
unsafe impl Vector for Neon {
    type Table = Nibbles;
    const BYTES: usize = 32;
    const UNROLL: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { high: vdupq_n_u8(0), low: vdupq_n_u8(0) } }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise, 32 bytes. The instruction takes pairs of bytes apart by itself.
        let uint8x16x2_t(high, low) = unsafe { vld2q_u8(from) };
        Self { high, low }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise, 32 bytes.
        unsafe { vst2q_u8(to, uint8x16x2_t(self.high, self.low)) }
    }

    #[target_feature(enable = "neon")]
    unsafe fn group<const R: usize>(
        tables: &[Self::Table],
        sources: &[&[u8]],
        outputs: &mut [&mut [u8]],
        range: Range<usize>,
        add: bool,
    ) {
        // SAFETY: the caller's promise; this function is compiled with the instructions.
        unsafe { vector::group::<Self, R>(tables, sources, outputs, range, add) }
    }

    #[inline(always)]
    unsafe fn add_products<const R: usize>(self, tables: &[Nibbles; R], sums: &mut [Self; R]) {
        // SAFETY: the caller's promise; a table has 16 bytes.
        unsafe {
            let mask = vdupq_n_u8(15);
            let nibbles = [
                vshrq_n_u8::<4>(self.high),
                vandq_u8(self.high, mask),
                vshrq_n_u8::<4>(self.low),
                vandq_u8(self.low, mask),
            ];
            for (table, sum) in tables.iter().zip(sums) {
                for (nibble, [high, low]) in nibbles.iter().zip(&table.0) {
                    sum.high = veorq_u8(sum.high, vqtbl1q_u8(vld1q_u8(high.as_ptr()), *nibble));
                    sum.low = veorq_u8(sum.low, vqtbl1q_u8(vld1q_u8(low.as_ptr()), *nibble));
                }
            }
        }
    }
}
