//! The kernel of every processor: safe, by table.
//!
//! Multiplying by a constant c is linear over GF(2), so c times a symbol is the sum of c times its high byte and c times
//! its low byte: two lookups in tables of 256. One entry holds the products for four outputs side by side in a u64, so
//! that the two lookups serve four outputs. The sums of one chunk stay in cache while the sources pass by.

use reed_solomon_novelpoly::f2e16::{Additive, FIELD_BITS};

use super::super::SYMBOL;

/// Outputs whose symbols share a u64.
const LANES: usize = 4;

/// Symbols summed up before they are written: 16 KiB of sums, half a first-level cache.
const CHUNK: usize = 2048;

/// Sources added in one pass over the sums.
const PASS: usize = 2;

/// Products of a byte with the constants of one source for four outputs, output r in the bits 16 r .. 16 r + 16.
pub(super) struct Table {
    /// Of the symbol's first byte, which is the high one.
    high: [u64; 256],
    /// Of its second byte.
    low: [u64; 256],
}

impl Table {
    /// The tables of at most [`LANES`] constants.
    fn new(constants: impl Iterator<Item = Additive>) -> Table {
        let mut products = [0u64; FIELD_BITS]; // of the constants with each single bit
        for (lane, constant) in constants.enumerate() {
            if constant == Additive(0) {
                continue; // zero has no logarithm
            }
            let multiplier = constant.to_multiplier();
            for (bit, product) in products.iter_mut().enumerate() {
                *product |= u64::from(Additive(1 << bit).mul(multiplier).0) << (16 * lane);
            }
        }
        let (low, high) = products.split_at(FIELD_BITS / 2);
        Table { high: sums(high), low: sums(low) }
    }
}

/// For each byte the sum of the products of its bits.
fn sums(products: &[u64]) -> [u64; 256] {
    let mut sums = [0; 256];
    for byte in 1..256_usize {
        let lowest = byte.trailing_zeros() as usize; // below 8, as byte is not 0
        sums[byte] = sums[byte & (byte - 1)] ^ products[lowest];
    }
    sums
}

/// The tables of a matrix of `sources` columns, given row by row: one for each source of the first four outputs, then of
/// the next four, and so on.
pub(super) fn tables(sources: usize, coefficients: &[Additive]) -> Vec<Table> {
    let rows = coefficients.chunks_exact(sources).collect::<Vec<_>>();
    let groups = rows.chunks(LANES);
    groups.flat_map(|group| (0..sources).map(move |source| Table::new(group.iter().map(|row| row[source])))).collect()
}

/// Computes `outputs` (or adds to them, with `add`) over the `len` bytes of each shard, whole symbols.
pub(super) fn apply(tables: &[Table], sources: &[&[u8]], outputs: &mut [&mut [u8]], len: usize, add: bool) {
    let symbols = len / SYMBOL;
    let groups = outputs.chunks_mut(LANES).zip(tables.chunks(sources.len().max(1)));
    for (outputs, tables) in groups {
        let mut acc = [0; CHUNK];
        for start in (0..symbols).step_by(CHUNK) {
            let acc = &mut acc[..CHUNK.min(symbols - start)];
            let range = start * SYMBOL..(start + acc.len()) * SYMBOL;
            acc.fill(0);
            for (sources, tables) in sources.chunks(PASS).zip(tables.chunks(PASS)) {
                match (sources, tables) {
                    ([a, b], [ta, tb]) => add_two(acc, &a[range.clone()], &b[range.clone()], ta, tb),
                    ([a], [ta]) => add_one(acc, &a[range.clone()], ta),
                    _ => {} // chunks of two slices of equal length: never
                }
            }
            for (lane, output) in outputs.iter_mut().enumerate() {
                store(acc, lane, &mut output[range.clone()], add);
            }
        }
    }
}

fn add_two(acc: &mut [u64], a: &[u8], b: &[u8], ta: &Table, tb: &Table) {
    let (a, _) = a.as_chunks::<SYMBOL>();
    let (b, _) = b.as_chunks::<SYMBOL>();
    for ((sum, a), b) in acc.iter_mut().zip(a).zip(b) {
        *sum ^= look_up(ta, a) ^ look_up(tb, b);
    }
}

fn add_one(acc: &mut [u64], a: &[u8], ta: &Table) {
    for (sum, a) in acc.iter_mut().zip(a.as_chunks::<SYMBOL>().0) {
        *sum ^= look_up(ta, a);
    }
}

#[inline(always)]
fn look_up(table: &Table, symbol: &[u8; SYMBOL]) -> u64 {
    table.high[usize::from(symbol[0])] ^ table.low[usize::from(symbol[1])]
}

/// Writes one lane of the sums as big-endian symbols, or adds it to those that are there.
fn store(acc: &[u64], lane: usize, output: &mut [u8], add: bool) {
    let mask = if add { u16::MAX } else { 0 };
    for (symbol, sum) in output.as_chunks_mut::<SYMBOL>().0.iter_mut().zip(acc) {
        let sum = (sum >> (16 * lane)) as u16;
        *symbol = (sum ^ u16::from_be_bytes(*symbol) & mask).to_be_bytes();
    }
}
