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

use std::sync::Arc;

use super::few::{Few, with_room};
use super::memo::{Memo, Pattern};
use super::{Cauchy, CodecError, CodecId, ErasureCodec, Shape, input};
use kernel::Rows;
pub use kernel::{KERNEL_VARIABLE, Kernel};

mod kernel;
mod rows;
#[cfg(test)]
mod tests;

pub(super) const NAME: &str = "novelpoly";

/// Bytes of a symbol.
const SYMBOL: usize = 2;

/// Bytes of multiplication tables kept. With GFNI a coefficient takes 32 bytes, so a matrix of 10+3 under 1 KiB and there is
/// room for all 286 loss patterns of it a hundred times; the portable kernel takes 40 KiB for one, and 16 MiB at 128+128.
const MEMO_BYTES: usize = 32 << 20;

/// GF(2^16) Reed-Solomon, byte-identical to the crate reed-solomon-novelpoly: see the module's text.
#[derive(Debug)]
pub struct NovelPoly {
    kernel: Kernel,
    rows: Memo<Pattern, Rows>,
    /// For the last byte of odd lengths.
    last_byte: Cauchy,
}

impl NovelPoly {
    /// A codec with an empty memo and the kernel this processor is best at, unless [`KERNEL_VARIABLE`] names another.
    pub fn new() -> NovelPoly {
        NovelPoly { kernel: Kernel::chosen(), rows: Memo::new(MEMO_BYTES), last_byte: Cauchy::new() }
    }

    /// A codec that uses one kernel; nothing if this processor cannot run it.
    pub fn with_kernel(kernel: Kernel) -> Option<NovelPoly> {
        Kernel::available().find(|available| *available == kernel)?;
        Some(NovelPoly { kernel, ..NovelPoly::new() })
    }

    fn rows(&self, pattern: Pattern) -> Result<Arc<Rows>, CodecError> {
        self.rows.get(pattern, |pattern| {
            let rows = Rows::new(self.kernel, pattern.from.len(), &rows::coefficients(pattern)?);
            let bytes = rows.bytes();
            Ok((rows, bytes))
        })
    }

    /// Computes checked shards: `sources` are those of `pattern.from`, `outputs` those of `pattern.to`, all `len` bytes.
    /// N is at least n.
    fn compute<const N: usize>(
        &self,
        pattern: Pattern,
        len: usize,
        sources: &[&[u8]],
        outputs: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        let whole = len - len % SYMBOL;
        if whole < len {
            let sources = sources.iter().map(|shard| &shard[whole..]).collect::<Few<_, N>>();
            let mut outputs = outputs.iter_mut().map(|shard| &mut shard[whole..]).collect::<Few<_, N>>();
            self.last_byte.compute::<N>(pattern, &sources, &mut outputs)?;
        }
        if whole > 0 {
            self.rows(pattern)?.apply(sources, outputs, false);
        }
        Ok(())
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
        self.compute::<N>(todo.pattern, todo.len, &todo.sources, &mut todo.outputs)
    }

    fn update_in<const N: usize>(
        &self,
        shape: Shape,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        let rows = self.rows(Pattern::update(shape, index))?;
        input::each_change::<N>(old, new, parity, |change, parity| {
            let whole = change.len() - change.len() % SYMBOL;
            if whole < change.len() {
                let mut last = parity.iter_mut().map(|shard| &mut shard[whole..]).collect::<Few<_, N>>();
                self.last_byte.add(shape, index, &change[whole..], &mut last)?;
            }
            rows.apply(&[&change[..whole]], parity, true);
            Ok(())
        })
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

    fn kernel(&self) -> &'static str {
        self.kernel.name()
    }

    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        let len = input::encode_len(shape, data, parity)?;
        if len == 0 || shape.m() == 0 {
            return Ok(());
        }
        with_room!(shape, N => self.compute::<N>(Pattern::encode(shape), len, data, parity))
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
        with_room!(shape, N => self.update_in::<N>(shape, index, old, new, parity))
    }
}
