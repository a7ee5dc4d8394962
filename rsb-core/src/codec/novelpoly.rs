//! The code `novelpoly`: that of the crate reed-solomon-novelpoly, cut to exactly k + m shards.
//!
//! A codeword of the crate is a polynomial of degree below k' over GF(2^16), evaluated at the field elements 0, 1, 2, …
//! (numbers in the crate's Cantor basis); positions 0..k' hold the data. k' is a power of two. For other k the code is
//! *shortened*: k' is the next power of two, positions k..k' are zeros that are never stored, and parity shard j is the
//! crate's position k' + j. What is stored is exactly k + m shards, any k of which suffice, as the zeros are known.
//!
//! A symbol is two bytes, big-endian, as in the crate. A shard of odd length ends in half a symbol: that last byte is
//! coded with [`Cauchy`] over the last bytes of the shards, since any other rule would have to store a byte more. The
//! formats never make such a shard (they round up to [`symbol_len`](ErasureCodec::symbol_len)).
//!
//! The crate works symbol by symbol and allocates on each. The code is linear, so here it is a matrix of constants: `rows`
//! has them from the crate, `kernel` applies them, and tests hold every byte against the crate itself.

use super::memo::{Memo, Pattern};
use super::{Cauchy, CodecError, CodecId, ErasureCodec, Shape, input};
use kernel::Rows;

mod kernel;
mod rows;
#[cfg(test)]
mod tests;

pub(super) const NAME: &str = "novelpoly";

/// Bytes of a symbol.
const SYMBOL: usize = 2;

/// Bytes of multiplication tables kept. A matrix takes 4 KiB for each source and four outputs: 40 KiB at 10+3, so there
/// is room for all 286 loss patterns of it; at 128+128 it is 16 MiB.
const MEMO_BYTES: usize = 32 << 20;

/// GF(2^16) Reed-Solomon, byte-identical to the crate reed-solomon-novelpoly: see the module's text.
#[derive(Debug)]
pub struct NovelPoly {
    rows: Memo<Pattern, Rows>,
    /// For the last byte of odd lengths.
    last_byte: Cauchy,
}

impl NovelPoly {
    /// A codec with an empty memo.
    pub fn new() -> NovelPoly {
        NovelPoly { rows: Memo::new(MEMO_BYTES), last_byte: Cauchy::new() }
    }

    /// Computes checked shards: `sources` are those of `pattern.from`, `outputs` those of `pattern.to`, all `len` bytes.
    fn compute(
        &self,
        pattern: Pattern,
        len: usize,
        sources: &[&[u8]],
        outputs: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        let whole = len - len % SYMBOL;
        if whole < len {
            let sources = sources.iter().map(|shard| &shard[whole..]).collect::<Vec<_>>();
            let mut outputs = outputs.iter_mut().map(|shard| &mut shard[whole..]).collect::<Vec<_>>();
            self.last_byte.compute(pattern.clone(), &sources, &mut outputs)?;
        }
        if whole > 0 {
            let rows = self.rows.get(pattern, |pattern| {
                let rows = Rows::new(pattern.from.len(), &rows::coefficients(pattern)?);
                let bytes = rows.bytes();
                Ok((rows, bytes))
            })?;
            kernel::mul_add(&rows, sources, outputs);
        }
        Ok(())
    }
}

impl Default for NovelPoly {
    fn default() -> NovelPoly {
        NovelPoly::new()
    }
}

impl ErasureCodec for NovelPoly {
    fn id(&self) -> CodecId {
        CodecId::NOVELPOLY
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn symbol_len(&self) -> usize {
        SYMBOL
    }

    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        let len = input::encode_len(shape, data, parity)?;
        if len == 0 || shape.m() == 0 {
            return Ok(());
        }
        self.compute(Pattern::encode(shape), len, data, parity)
    }

    fn restore(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError> {
        let mut todo = input::restore(shape, present, wanted)?;
        if todo.len == 0 || todo.to.is_empty() {
            return Ok(());
        }
        let pattern = Pattern { shape, from: todo.from, to: todo.to };
        self.compute(pattern, todo.len, &todo.sources, &mut todo.outputs)
    }
}
