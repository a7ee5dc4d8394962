//! The code `cauchy`: GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d), ISA-L's Cauchy matrix.
//!
//! Parity shard i (k <= i < n) is the sum over the data shards j of data j times 1 / (i xor j), byte by byte; this is
//! `gf_gen_cauchy1_matrix` of Intel's ISA-L, and its shards are byte-identical. rusty_erasure does the arithmetic, with
//! the best SIMD kernel the processor has.

use std::sync::Arc;

use rusty_erasure::{Coder, DecodePlan, Matrix, gf};

use super::few::with_room;
use super::memo::{Memo, Pattern};
use super::{CodecError, CodecId, ErasureCodec, Shape, input};

#[cfg(test)]
mod tests;

pub(super) const NAME: &str = "cauchy";

/// Bytes of prepared matrices kept, of each of the two kinds. One of 10+3 is under 1 KiB.
const MEMO_BYTES: usize = 8 << 20;

/// Bytes a prepared coefficient takes at most (the nibble tables; GFNI takes 8).
const TABLE_BYTES: usize = 32;

/// GF(2^8) Reed-Solomon with ISA-L's Cauchy matrix: one byte is one symbol.
#[derive(Debug)]
pub struct Cauchy {
    coders: Memo<Shape, Coder>,
    plans: Memo<Pattern, DecodePlan>,
}

impl Cauchy {
    /// A codec with an empty memo.
    pub fn new() -> Cauchy {
        Cauchy { coders: Memo::new(MEMO_BYTES), plans: Memo::new(MEMO_BYTES) }
    }

    fn coder(&self, shape: Shape) -> Result<Arc<Coder>, CodecError> {
        self.coders.get(shape, |_| {
            let coder = matrix(shape).and_then(rusty_erasure::coder).map_err(|error| internal(shape, error))?;
            Ok((coder, shape.n() * shape.k() * TABLE_BYTES))
        })
    }

    /// Computes checked shards: `sources` are those of `pattern.from`, `outputs` those of `pattern.to`, all of one length.
    /// N is at least n.
    pub(super) fn compute<const N: usize>(
        &self,
        pattern: Pattern,
        sources: &[&[u8]],
        outputs: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        let shape = pattern.shape;
        let coder = self.coder(shape)?;
        let mut shards = [None; N];
        for (index, &bytes) in pattern.from.iter().zip(sources) {
            shards[index] = Some(bytes);
        }
        let plan = self.plans.get(pattern, |pattern| {
            let present = (0..shape.n()).map(|index| pattern.from.contains(index)).collect::<Vec<_>>();
            let rebuild = pattern.to.iter().collect::<Vec<_>>();
            let plan = coder.decode_plan(&present, &rebuild).map_err(|error| internal(shape, error))?;
            Ok((plan, rebuild.len() * shape.k() * TABLE_BYTES))
        })?;
        coder.recover_with(&plan, &shards[..shape.n()], outputs).map_err(|error| internal(shape, error))
    }

    /// Adds to checked parity what the data shard `index` contributes to it.
    pub(super) fn add(
        &self,
        shape: Shape,
        index: usize,
        shard: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        self.coder(shape)?.update(index, shard, parity).map_err(|error| internal(shape, error))
    }

    fn restore_in<const N: usize>(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError> {
        let mut todo = input::restore::<N>(shape, present, wanted)?;
        if todo.len == 0 || todo.outputs.is_empty() {
            return Ok(());
        }
        self.compute::<N>(todo.pattern, &todo.sources, &mut todo.outputs)
    }
}

impl Default for Cauchy {
    fn default() -> Cauchy {
        Cauchy::new()
    }
}

impl ErasureCodec for Cauchy {
    fn id(&self) -> CodecId {
        CodecId::CAUCHY
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn symbol_len(&self) -> usize {
        1
    }

    fn kernel(&self) -> &'static str {
        rusty_erasure::best_kernels().name
    }

    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        let len = input::encode_len(shape, data, parity)?;
        if len == 0 || shape.m() == 0 {
            return Ok(());
        }
        self.coder(shape)?.encode(data, parity).map_err(|error| internal(shape, error))
    }

    fn restore(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError> {
        with_room!(shape, N => self.restore_in::<N>(shape, present, wanted))
    }

    fn update(
        &self,
        shape: Shape,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        let len = input::update_len(shape, index, old, new, parity)?;
        if len == 0 || shape.m() == 0 {
            return Ok(());
        }
        let add = |change: &[u8], parity: &mut [&mut [u8]]| self.add(shape, index, change, parity);
        with_room!(shape, N => input::each_change::<N>(old, new, parity, add))
    }
}

/// The n by k encode matrix. Not `Matrix::cauchy`, which stops at n = 255 where the construction (and ISA-L) reach 256.
fn matrix(shape: Shape) -> Result<Matrix, rusty_erasure::MatrixError> {
    let (k, n) = (shape.k(), shape.n());
    let identity = (0..k).flat_map(|row| (0..k).map(move |column| u8::from(row == column)));
    // row >= k > column, so the two never cancel out and there is always an inverse.
    let parity = (k..n).flat_map(|row| (0..k).map(move |column| gf::inv((row ^ column) as u8)));
    Matrix::from_bytes(n, k, identity.chain(parity).collect())
}

fn internal(shape: Shape, error: impl ToString) -> CodecError {
    CodecError::Internal { codec: CodecId::CAUCHY, shape, reason: error.to_string() }
}
