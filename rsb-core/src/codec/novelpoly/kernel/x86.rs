//! The kernels of x86-64 processors: [`Gfni512`], [`Gfni256`], [`Avx2`], [`Ssse3`].
//!
//! GFNI multiplies every byte of a register by an 8 x 8 matrix of bits, so four such products and sums are the product of
//! a run of symbols with a constant, which is a 16 x 16 matrix of bits. Without it, four bits of a symbol look up their
//! products in a register of 16 bytes (`pshufb`): eight lookups, for the four nibbles and the two bytes of the result.

use std::arch::x86_64::*;
use std::ops::Range;

use super::vector::{self, Vector};
use super::{Affine, Nibbles};

/// 64 symbols; GFNI and AVX-512 (F, BW).
#[derive(Clone, Copy)]
pub(super) struct Gfni512 {
    high: __m512i,
    low: __m512i,
}

/// Takes two registers of symbols apart into high and low bytes, and the same once more puts them together: of the 16 bits
/// at a place, the low eight, which are the high byte of a symbol as shards have it, stay in or move to the first register,
/// the others the second. So the second register's symbols come to lie between the first one's, and shifts and logic do,
/// which leave the ports free that multiply.
///
/// # Safety
/// AVX-512 (F, BW).
#[inline(always)]
unsafe fn swap_512(a: __m512i, b: __m512i) -> (__m512i, __m512i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm512_set1_epi16(0x00ff);
        // 0xca: the second operand where the first has a bit, else the third.
        let first = _mm512_ternarylogic_epi64::<0xca>(mask, a, _mm512_slli_epi16::<8>(b));
        let second = _mm512_ternarylogic_epi64::<0xca>(mask, _mm512_srli_epi16::<8>(a), b);
        (first, second)
    }
}

/// Every byte of `x` times a matrix of bits.
///
/// # Safety
/// GFNI and AVX-512F.
#[inline(always)]
unsafe fn product_512(x: __m512i, matrix: u64) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe { _mm512_gf2p8affine_epi64_epi8::<0>(x, _mm512_set1_epi64(matrix as i64)) }
}

// SAFETY: 128 bytes are even and fit.
unsafe impl Vector for Gfni512 {
    type Table = Affine;
    const BYTES: usize = 128;
    const UNROLL: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { high: _mm512_setzero_si512(), low: _mm512_setzero_si512() } }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise, 128 bytes.
        unsafe {
            let (a, b) = (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(64).cast()));
            let (high, low) = swap_512(a, b);
            Self { high, low }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise, 128 bytes.
        unsafe {
            let (a, b) = swap_512(self.high, self.low);
            _mm512_storeu_si512(to.cast(), a);
            _mm512_storeu_si512(to.add(64).cast(), b);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,gfni")]
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
    unsafe fn add_products<const R: usize>(self, tables: &[Affine; R], sums: &mut [Self; R]) {
        for (table, sum) in tables.iter().zip(sums) {
            // SAFETY: the caller's promise.
            unsafe {
                let high = (product_512(self.high, table.high_of_high), product_512(self.low, table.high_of_low));
                let low = (product_512(self.high, table.low_of_high), product_512(self.low, table.low_of_low));
                // 0x96: the exclusive or of all three.
                sum.high = _mm512_ternarylogic_epi64::<0x96>(sum.high, high.0, high.1);
                sum.low = _mm512_ternarylogic_epi64::<0x96>(sum.low, low.0, low.1);
            }
        }
    }
}

/// As [`swap_512`].
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn swap_256(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm256_set1_epi16(0x00ff);
        let first = _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_slli_epi16::<8>(b));
        let second = _mm256_or_si256(_mm256_srli_epi16::<8>(a), _mm256_andnot_si256(mask, b));
        (first, second)
    }
}

/// As [`swap_512`].
///
/// # Safety
/// SSE2, which every x86-64 has.
#[inline(always)]
unsafe fn swap_128(a: __m128i, b: __m128i) -> (__m128i, __m128i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm_set1_epi16(0x00ff);
        let first = _mm_or_si128(_mm_and_si128(mask, a), _mm_slli_epi16::<8>(b));
        let second = _mm_or_si128(_mm_srli_epi16::<8>(a), _mm_andnot_si128(mask, b));
        (first, second)
    }
}

/// Every byte of `x` times a matrix of bits.
///
/// # Safety
/// GFNI and AVX2.
#[inline(always)]
unsafe fn product_256(x: __m256i, matrix: u64) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe { _mm256_gf2p8affine_epi64_epi8::<0>(x, _mm256_set1_epi64x(matrix as i64)) }
}

/// 32 symbols; GFNI and AVX2.
#[derive(Clone, Copy)]
pub(super) struct Gfni256 {
    high: __m256i,
    low: __m256i,
}

// SAFETY: 64 bytes are even and fit.
unsafe impl Vector for Gfni256 {
    type Table = Affine;
    const BYTES: usize = 64;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { high: _mm256_setzero_si256(), low: _mm256_setzero_si256() } }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise, 64 bytes.
        unsafe {
            let (high, low) = swap_256(_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast()));
            Self { high, low }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise, 64 bytes.
        unsafe {
            let (a, b) = swap_256(self.high, self.low);
            _mm256_storeu_si256(to.cast(), a);
            _mm256_storeu_si256(to.add(32).cast(), b);
        }
    }

    #[target_feature(enable = "avx2,gfni")]
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
    unsafe fn add_products<const R: usize>(self, tables: &[Affine; R], sums: &mut [Self; R]) {
        for (table, sum) in tables.iter().zip(sums) {
            // SAFETY: the caller's promise.
            unsafe {
                let high = _mm256_xor_si256(
                    product_256(self.high, table.high_of_high),
                    product_256(self.low, table.high_of_low),
                );
                let low = _mm256_xor_si256(
                    product_256(self.high, table.low_of_high),
                    product_256(self.low, table.low_of_low),
                );
                sum.high = _mm256_xor_si256(sum.high, high);
                sum.low = _mm256_xor_si256(sum.low, low);
            }
        }
    }
}

/// Every byte's high four bits, and its low four.
///
/// # Safety
/// AVX2.
#[inline(always)]
unsafe fn nibbles_256(x: __m256i) -> (__m256i, __m256i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        (_mm256_and_si256(_mm256_srli_epi16::<4>(x), mask), _mm256_and_si256(x, mask))
    }
}

/// 32 symbols; AVX2.
#[derive(Clone, Copy)]
pub(super) struct Avx2 {
    high: __m256i,
    low: __m256i,
}

// SAFETY: 64 bytes are even and fit.
unsafe impl Vector for Avx2 {
    type Table = Nibbles;
    const BYTES: usize = 64;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { high: _mm256_setzero_si256(), low: _mm256_setzero_si256() } }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise, 64 bytes.
        unsafe {
            let (high, low) = swap_256(_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(32).cast()));
            Self { high, low }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise, 64 bytes.
        unsafe {
            let (a, b) = swap_256(self.high, self.low);
            _mm256_storeu_si256(to.cast(), a);
            _mm256_storeu_si256(to.add(32).cast(), b);
        }
    }

    #[target_feature(enable = "avx2")]
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
            let ((a, b), (c, d)) = (nibbles_256(self.high), nibbles_256(self.low));
            for (table, sum) in tables.iter().zip(sums) {
                for (nibble, [high, low]) in [a, b, c, d].iter().zip(&table.0) {
                    let high = _mm256_broadcastsi128_si256(_mm_loadu_si128(high.as_ptr().cast()));
                    let low = _mm256_broadcastsi128_si256(_mm_loadu_si128(low.as_ptr().cast()));
                    sum.high = _mm256_xor_si256(sum.high, _mm256_shuffle_epi8(high, *nibble));
                    sum.low = _mm256_xor_si256(sum.low, _mm256_shuffle_epi8(low, *nibble));
                }
            }
        }
    }
}

/// Every byte's high four bits, and its low four.
///
/// # Safety
/// SSE2, which every x86-64 has.
#[inline(always)]
unsafe fn nibbles_128(x: __m128i) -> (__m128i, __m128i) {
    // SAFETY: the caller's promise.
    unsafe {
        let mask = _mm_set1_epi8(15);
        (_mm_and_si128(_mm_srli_epi16::<4>(x), mask), _mm_and_si128(x, mask))
    }
}

/// 16 symbols; SSSE3.
#[derive(Clone, Copy)]
pub(super) struct Ssse3 {
    high: __m128i,
    low: __m128i,
}

// SAFETY: 32 bytes are even and fit.
unsafe impl Vector for Ssse3 {
    type Table = Nibbles;
    const BYTES: usize = 32;
    const UNROLL: usize = 1;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { high: _mm_setzero_si128(), low: _mm_setzero_si128() } }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller's promise, 32 bytes.
        unsafe {
            let (high, low) = swap_128(_mm_loadu_si128(from.cast()), _mm_loadu_si128(from.add(16).cast()));
            Self { high, low }
        }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller's promise, 32 bytes.
        unsafe {
            let (a, b) = swap_128(self.high, self.low);
            _mm_storeu_si128(to.cast(), a);
            _mm_storeu_si128(to.add(16).cast(), b);
        }
    }

    #[target_feature(enable = "ssse3")]
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
            let ((a, b), (c, d)) = (nibbles_128(self.high), nibbles_128(self.low));
            for (table, sum) in tables.iter().zip(sums) {
                for (nibble, [high, low]) in [a, b, c, d].iter().zip(&table.0) {
                    let (high, low) = (_mm_loadu_si128(high.as_ptr().cast()), _mm_loadu_si128(low.as_ptr().cast()));
                    sum.high = _mm_xor_si128(sum.high, _mm_shuffle_epi8(high, *nibble));
                    sum.low = _mm_xor_si128(sum.low, _mm_shuffle_epi8(low, *nibble));
                }
            }
        }
    }
}
