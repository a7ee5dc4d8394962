//! Which constants compute the shards `to` from the shards `from`.
//!
//! Encoding reads them off the crate: encoding a one at data position j, and zeros elsewhere, shows column j of its
//! generator matrix. Restoring takes Lagrange's formula for the same polynomial, through any k' points of it: the k shards
//! at hand and the k' - k zeros. The formula also gives the encoding's constants, and a test compares them.

use reed_solomon_novelpoly::f2e16::{self, Additive, FIELD_SIZE, Multiplier, ONEMASK};

use super::super::memo::Pattern;
use super::super::{CodecError, CodecId, Shape};

/// Order of the multiplicative group: logarithms are added modulo this.
const ORDER: u64 = FIELD_SIZE as u64 - 1;

/// The matrix of `pattern`, row by row: row r holds the constants of the r-th shard of `to`, in the order of `from`.
/// Where `from` is a single data shard of several, its column of the encoding.
pub(super) fn coefficients(pattern: &Pattern) -> Result<Vec<Additive>, CodecError> {
    let encode = Pattern::encode(pattern.shape);
    if *pattern == encode {
        return generator(pattern.shape);
    }
    if pattern.from.len() == pattern.shape.k() {
        return Ok(lagrange(pattern));
    }
    let columns = pattern.from.iter().collect::<Vec<_>>();
    let rows = lagrange(&encode);
    let rows = rows.chunks_exact(pattern.shape.k());
    Ok(rows.flat_map(|row| columns.iter().map(|&column| row[column])).collect())
}

/// k': the crate's number of data positions.
fn crate_k(shape: Shape) -> usize {
    shape.k().next_power_of_two()
}

/// The crate's codeword position of a shard.
fn position(shape: Shape, shard: usize) -> usize {
    if shard < shape.k() { shard } else { crate_k(shape) + (shard - shape.k()) }
}

/// The m by k parity matrix, as the crate has it.
pub(super) fn generator(shape: Shape) -> Result<Vec<Additive>, CodecError> {
    let (k, m, crate_k) = (shape.k(), shape.m(), crate_k(shape));
    // m >= 1 here, so this is at least twice k', which the crate demands; at most 512.
    let crate_n = (crate_k + m).next_power_of_two();
    let mut rows = vec![Additive(0); m * k];
    for column in 0..k {
        let mut unit = vec![0; crate_k * super::SYMBOL];
        unit[column * super::SYMBOL + 1] = 1; // the symbol 1, big-endian: the one of the field in the Cantor basis too
        let codeword = f2e16::encode_sub(&unit, crate_n, crate_k).map_err(|error| CodecError::Internal {
            codec: CodecId::NOVELPOLY,
            shape,
            reason: error.to_string(),
        })?;
        for (row, symbol) in codeword.into_iter().skip(crate_k).take(m).enumerate() {
            rows[row * k + column] = symbol;
        }
    }
    Ok(rows)
}

/// The matrix by Lagrange's formula. With X the k' known points (`from` and the zeros), and all differences of points
/// being sums in this field, the constant of source p for output w is
/// prod(w + q, q in X) / ((w + p) * prod(p + q, q in X but p)).
pub(super) fn lagrange(pattern: &Pattern) -> Vec<Additive> {
    let shape = pattern.shape;
    let from = pattern.from.iter().map(|shard| position(shape, shard)).collect::<Vec<_>>();
    let zeros = shape.k()..crate_k(shape);
    // The logarithm of the product of the differences of `point` to all known points but itself.
    let log_product = |point: usize| {
        let known = from.iter().copied().chain(zeros.clone());
        known.filter(|&other| other != point).map(|other| log_difference(point, other)).sum::<u64>()
    };
    let weights = from.iter().map(|&p| (p, log_product(p))).collect::<Vec<_>>();
    let mut rows = Vec::with_capacity(pattern.to.len() * from.len());
    for shard in pattern.to.iter() {
        let w = position(shape, shard);
        let all = log_product(w);
        rows.extend(weights.iter().map(|&(p, weight)| {
            let divisor = (weight + log_difference(w, p)) % ORDER;
            exp(all + ORDER - divisor)
        }));
    }
    rows
}

/// Discrete logarithm of the difference of two distinct points, each at most 512: so it fits, and is not zero.
fn log_difference(a: usize, b: usize) -> u64 {
    u64::from(Additive((a ^ b) as u16).to_multiplier().0)
}

fn exp(log: u64) -> Additive {
    let log = (log % ORDER) as u16;
    debug_assert!(log < ONEMASK);
    Additive(1).mul(Multiplier(log))
}
