//! Erasure codes: k data shards in, m parity shards out, any k of the n = k + m bring back the rest.
//!
//! A code is an [`ErasureCodec`], known by its [`CodecId`]; the id stands in every manifest and shard, so the bytes a
//! codec makes for an id may never change. [`self_test`] holds each build to that with pinned hashes.
//!
//! Read in this order: this file (the trait and the registry), `input` (the checks both codecs share), `cauchy`,
//! `novelpoly` with its `rows` (which matrix) and `kernel` (how it is applied), `memo`, `few`, `self_test`.
//! docs/codecs.md explains the codes, and has figures.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

mod cauchy;
mod error;
mod few;
mod input;
mod memo;
mod novelpoly;
mod self_test;
#[cfg(test)]
mod tests;

pub use cauchy::Cauchy;
pub use error::CodecError;
pub use novelpoly::{KERNEL_VARIABLE, Kernel, NovelPoly};
pub use self_test::self_test;

/// Most shards of one stripe, data and parity together. GF(2^8) has 256 elements and `cauchy` needs one a shard.
pub const MAX_SHARDS: usize = 256;

/// Identity of a code, recorded in every manifest and shard. An open set: an id this build does not know is a value
/// like any other until somebody asks a registry for its codec. Ids from 32768 up are never given to a built-in one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CodecId(pub u16);

impl CodecId {
    /// The code of the crate reed-solomon-novelpoly, shortened to exactly k + m: see [`NovelPoly`].
    pub const NOVELPOLY: CodecId = CodecId(1);
    /// GF(2^8) with ISA-L's Cauchy matrix: see [`Cauchy`].
    pub const CAUCHY: CodecId = CodecId(2);
}

impl fmt::Display for CodecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            CodecId::NOVELPOLY => f.write_str(novelpoly::NAME),
            CodecId::CAUCHY => f.write_str(cauchy::NAME),
            CodecId(other) => write!(f, "codec-{other}"),
        }
    }
}

/// How many shards a stripe has: k of data and m of parity. Invariant: 1 <= k and k + m <= [`MAX_SHARDS`].
///
/// Shards are numbered 0..n: the data are 0..k, the parity k..n.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Shape {
    k: u16,
    m: u16,
}

impl Shape {
    /// The shape k + m; m = 0 (no parity) is allowed.
    ///
    /// # Errors
    /// [`CodecError::BadShape`] when k is 0 or k + m exceeds [`MAX_SHARDS`].
    pub fn new(k: usize, m: usize) -> Result<Shape, CodecError> {
        let fits = k >= 1 && k.checked_add(m).is_some_and(|n| n <= MAX_SHARDS);
        match (u16::try_from(k), u16::try_from(m)) {
            (Ok(k), Ok(m)) if fits => Ok(Shape { k, m }),
            _ => Err(CodecError::BadShape { k, m }),
        }
    }

    /// Data shards, and how many shards of any kind bring back the rest.
    pub fn k(self) -> usize {
        usize::from(self.k)
    }

    /// Parity shards, and how many may be lost.
    pub fn m(self) -> usize {
        usize::from(self.m)
    }

    /// All shards: k + m.
    pub fn n(self) -> usize {
        self.k() + self.m()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.k, self.m)
    }
}

/// An erasure code: pure arithmetic on buffers of the caller, no I/O, no state but memoised tables.
///
/// Contract, for implementations and wrappers alike:
/// - **Systematic**: data shards are the data itself, so only parity is ever computed on encode.
/// - **Byte by byte stable**: the output is a function of (id, shape, input) alone, on every machine and for ever.
/// - **Any length**, 0 too; no length need be a multiple of [`symbol_len`](Self::symbol_len), which says only where
///   stripes are best cut.
/// - **All or nothing**: on an error no buffer has been written, but for [`CodecError::Internal`].
/// - **Blocking**: every call computes on the calling thread and never sleeps; an async caller bounds the work it hands over.
pub trait ErasureCodec: Send + Sync + fmt::Debug + 'static {
    /// What manifests and shards made with this code record.
    fn id(&self) -> CodecId;

    /// Short lower-case name, as it stands in config files.
    fn name(&self) -> &'static str;

    /// Bytes of one symbol. Stripe arithmetic rounds block lengths up to a multiple of it.
    fn symbol_len(&self) -> usize;

    /// Name of what does the arithmetic on this processor, for people: which instructions, not which code.
    fn kernel(&self) -> &'static str;

    /// Computes the parity of a stripe. `data`: k slices of equal length; `parity`: m buffers of the same length,
    /// overwritten, in index order (the first is shard k).
    ///
    /// # Errors
    /// [`CodecError::ShardCount`] when there are not k slices and m buffers, [`CodecError::LengthMismatch`] when their
    /// lengths differ.
    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError>;

    /// Computes any shards of a stripe from any k of it.
    ///
    /// `present`: at least k (index, bytes) pairs, in any order, indices distinct, lengths equal; of more than k the
    /// first k are used. `wanted`: (index, buffer) pairs, data or parity, in any order, indices distinct, each buffer of
    /// the same length and overwritten; a wanted index that is also present is copied.
    ///
    /// The bytes are taken as they are: a wrong block among `present` makes wrong bytes, so callers verify first.
    ///
    /// # Errors
    /// [`CodecError::TooFewShards`], [`CodecError::IndexOutOfRange`], [`CodecError::DuplicateIndex`],
    /// [`CodecError::LengthMismatch`].
    fn restore(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError>;

    /// Brings the parity of a stripe up to date when one data shard changes, without the other data shards.
    ///
    /// `index`: the data shard, 0..k; `old` and `new`: its bytes before and after; `parity`: all m parity shards as an
    /// encode with `old` made them, in index order, made what an encode with `new` would make. All of equal length.
    ///
    /// # Errors
    /// [`CodecError::IndexOutOfRange`] for an index that is not a data shard's, [`CodecError::ShardCount`],
    /// [`CodecError::LengthMismatch`].
    fn update(
        &self,
        shape: Shape,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError>;
}

/// One instance of each built-in codec for the whole process: their memoised tables are worth sharing, and hold nothing else.
static BUILTIN: LazyLock<[Arc<dyn ErasureCodec>; 2]> =
    LazyLock::new(|| [Arc::new(NovelPoly::new()), Arc::new(Cauchy::new())]);

/// The built-in codec of this id.
pub fn codec(id: CodecId) -> Option<Arc<dyn ErasureCodec>> {
    BUILTIN.iter().find(|codec| codec.id() == id).cloned()
}

/// The built-in codec of this name, as config files give it (`novelpoly`, `cauchy`).
pub fn codec_named(name: &str) -> Option<Arc<dyn ErasureCodec>> {
    BUILTIN.iter().find(|codec| codec.name() == name).cloned()
}

/// The codecs an engine can read and write with, by id.
#[derive(Clone, Debug, Default)]
pub struct Codecs {
    by_id: BTreeMap<CodecId, Arc<dyn ErasureCodec>>,
}

impl Codecs {
    /// A registry of the built-in codecs.
    pub fn with_builtin() -> Codecs {
        let by_id = BUILTIN.iter().map(|codec| (codec.id(), codec.clone())).collect();
        Codecs { by_id }
    }

    /// Adds a codec under its own id and returns the one it displaces, if any: so a faster implementation of a known
    /// code can take its place. It is not tested here; [`self_test`] tells whether it makes the same bytes.
    pub fn register(&mut self, codec: Arc<dyn ErasureCodec>) -> Option<Arc<dyn ErasureCodec>> {
        self.by_id.insert(codec.id(), codec)
    }

    /// The codec of this id.
    ///
    /// # Errors
    /// [`CodecError::Unknown`] when none is registered: what was coded with it needs a newer build or a plug-in.
    pub fn get(&self, id: CodecId) -> Result<Arc<dyn ErasureCodec>, CodecError> {
        self.by_id.get(&id).cloned().ok_or(CodecError::Unknown(id))
    }

    /// The codec of this name.
    pub fn named(&self, name: &str) -> Option<Arc<dyn ErasureCodec>> {
        self.iter().find(|codec| codec.name() == name).cloned()
    }

    /// All codecs, in id order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn ErasureCodec>> {
        self.by_id.values()
    }
}
