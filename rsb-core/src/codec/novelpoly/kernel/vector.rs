//! How any vector kernel walks a stripe: this file knows shapes and pointers, a [`Vector`] knows one instruction set.
//!
//! Symbols are two bytes, and a product's every byte depends on both: so a register pair holds a run of symbols taken
//! apart, all high bytes in one register, all low bytes in the other. Sources are taken apart as they are read and sums put
//! together as they are written, once each, which is why up to [`GROUP`] outputs are summed in registers in one pass:
//! no sum ever goes through memory.

use std::ops::Range;

use super::{GROUP, groups};

/// Bytes of all sources together that more than one group of outputs walks before the next run: they come from the
/// first-level cache (32 KiB, less what tables and outputs take) after the first group.
const RUN_BYTES: usize = 24 << 10;

/// The most bytes a [`Vector`] can have: room for the end of a source.
const MAX_BYTES: usize = 128;

/// A run of [`BYTES`](Self::BYTES) / 2 symbols in registers, taken apart into high and low bytes.
///
/// # Safety
/// Of the trait: `BYTES` is even and at most [`MAX_BYTES`]. Of every method: the processor has the instructions the
/// implementation names.
pub(super) unsafe trait Vector: Copy {
    /// A constant of the matrix, prepared.
    type Table;

    /// Bytes of shard in one vector.
    const BYTES: usize;

    /// Vectors of a source worked on at once, so that the tables are fetched once for all of them.
    const UNROLL: usize;

    /// All symbols zero.
    unsafe fn zero() -> Self;

    /// Reads symbols as they stand in a shard. `from` has `BYTES` readable bytes, of any alignment.
    unsafe fn load(from: *const u8) -> Self;

    /// Writes symbols as they stand in a shard. `to` has `BYTES` writable bytes, of any alignment.
    unsafe fn store(self, to: *mut u8);

    /// [`group`], compiled with the implementation's instructions: everything else here is inlined into it.
    unsafe fn group<const R: usize>(
        tables: &[Self::Table],
        sources: &[&[u8]],
        outputs: &mut [&mut [u8]],
        range: Range<usize>,
        add: bool,
    );

    /// Adds to every sum in `sums` its table's constant times these symbols.
    unsafe fn add_products<const R: usize>(self, tables: &[Self::Table; R], sums: &mut [Self; R]);
}

/// Computes `outputs` (or adds to them, with `add`) over `len` bytes, an even number. `tables`: for each group of outputs
/// as [`groups`] cuts them, for each source, one for each output of the group.
///
/// # Safety
/// As for [`Vector`]. Everything else is checked.
pub(super) unsafe fn apply<V: Vector>(
    tables: &[V::Table],
    sources: &[&[u8]],
    outputs: &mut [&mut [u8]],
    len: usize,
    add: bool,
) {
    assert!(sources.iter().all(|source| source.len() >= len) && outputs.iter().all(|output| output.len() >= len));
    assert_eq!(tables.len(), sources.len() * outputs.len());
    let run = match outputs.len() {
        0..=GROUP => len,
        _ => (RUN_BYTES / sources.len().max(1)).next_multiple_of(V::BYTES * V::UNROLL),
    };
    let mut start = 0;
    while start < len {
        let end = len.min(start + run);
        let mut tables = tables;
        for range in groups(outputs.len()) {
            let (these, rest) = tables.split_at(range.len() * sources.len());
            tables = rest;
            let outputs = &mut outputs[range];
            // SAFETY: the instructions are the caller's promise; start <= end <= len, which all shards have; `these` has
            // a table for each pair of a source and one of the outputs.
            unsafe {
                match outputs.len() {
                    1 => V::group::<1>(these, sources, outputs, start..end, add),
                    2 => V::group::<2>(these, sources, outputs, start..end, add),
                    3 => V::group::<3>(these, sources, outputs, start..end, add),
                    _ => V::group::<GROUP>(these, sources, outputs, start..end, add),
                }
            }
        }
        start = end;
    }
}

/// The bytes `range` of R outputs.
///
/// # Safety
/// As for [`Vector`]; `outputs` are R, and they and the sources have the bytes of `range`.
#[inline(always)]
pub(super) unsafe fn group<V: Vector, const R: usize>(
    tables: &[V::Table],
    sources: &[&[u8]],
    outputs: &mut [&mut [u8]],
    Range { start, end }: Range<usize>,
    add: bool,
) {
    let (tables, _) = tables.as_chunks::<R>();
    let mut to = [std::ptr::null_mut(); R];
    for (to, output) in to.iter_mut().zip(outputs) {
        *to = output.as_mut_ptr();
    }
    let mut at = start;
    // SAFETY: each tile ends at or before `end`, which all shards have.
    unsafe {
        while V::UNROLL == 2 && at + 2 * V::BYTES <= end {
            tile::<V, R, 2>(tables, sources, to, at, add);
            at += 2 * V::BYTES;
        }
        while at + V::BYTES <= end {
            tile::<V, R, 1>(tables, sources, to, at, add);
            at += V::BYTES;
        }
        if at < end {
            last::<V, R>(tables, sources, to, at, end - at, add);
        }
    }
}

/// U vectors of R outputs.
///
/// # Safety
/// As for [`Vector`]; the sources and what `to` points to have `at` + U * `BYTES` bytes.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const U: usize>(
    tables: &[[V::Table; R]],
    sources: &[&[u8]],
    to: [*mut u8; R],
    at: usize,
    add: bool,
) {
    // SAFETY: `at + u * BYTES` and the BYTES behind it lie within each shard, by this function's contract.
    unsafe {
        let mut sums = [[V::zero(); R]; U];
        if add {
            for (u, sums) in sums.iter_mut().enumerate() {
                for (sum, to) in sums.iter_mut().zip(to) {
                    *sum = V::load(to.add(at + u * V::BYTES));
                }
            }
        }
        for (table, source) in tables.iter().zip(sources) {
            for (u, sums) in sums.iter_mut().enumerate() {
                V::load(source.as_ptr().add(at + u * V::BYTES)).add_products(table, sums);
            }
        }
        for (u, sums) in sums.iter().enumerate() {
            for (sum, to) in sums.iter().zip(to) {
                sum.store(to.add(at + u * V::BYTES));
            }
        }
    }
}

/// The last `len` bytes, fewer than a vector: through buffers, as nothing behind a shard's end may be touched.
///
/// # Safety
/// As for [`Vector`]; `len` < `BYTES`, and the sources and what `to` points to have `at` + `len` bytes.
#[inline(always)]
unsafe fn last<V: Vector, const R: usize>(
    tables: &[[V::Table; R]],
    sources: &[&[u8]],
    to: [*mut u8; R],
    at: usize,
    len: usize,
    add: bool,
) {
    let mut buffer = [0; MAX_BYTES];
    // SAFETY: the buffer has room for a vector, and `len` bytes stand at `at` in each shard, by this function's contract.
    unsafe {
        let mut sums = [V::zero(); R];
        if add {
            for (sum, to) in sums.iter_mut().zip(to) {
                buffer.as_mut_ptr().copy_from_nonoverlapping(to.add(at), len);
                *sum = V::load(buffer.as_ptr());
            }
        }
        for (table, source) in tables.iter().zip(sources) {
            buffer[..len].copy_from_slice(&source[at..at + len]);
            V::load(buffer.as_ptr()).add_products(table, &mut sums);
        }
        for (sum, to) in sums.iter().zip(to) {
            sum.store(buffer.as_mut_ptr());
            to.add(at).copy_from_nonoverlapping(buffer.as_ptr(), len);
        }
    }
}
