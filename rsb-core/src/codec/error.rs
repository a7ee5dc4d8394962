//! What can go wrong in a codec.

use super::{CodecId, MAX_SHARDS, Shape};

/// Why a codec refused or failed. All but [`SelfTest`](Self::SelfTest) and [`Internal`](Self::Internal) blame the
/// arguments: the same call fails the same way again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CodecError {
    /// The shape has no data shard, or more shards than a code can number.
    #[error("no code has the shape {k}+{m}: it needs at least 1 data shard and at most {MAX_SHARDS} shards in all")]
    BadShape {
        /// Data shards asked for.
        k: usize,
        /// Parity shards asked for.
        m: usize,
    },
    /// `encode` got another number of buffers than the shape has.
    #[error("encode needs {need} {kind} shards and was given {have}")]
    ShardCount {
        /// `data` or `parity`.
        kind: &'static str,
        /// How many were given.
        have: usize,
        /// How many the shape has.
        need: usize,
    },
    /// `restore` got fewer than k shards. Find more of the stripe, or give up on it.
    #[error("restoring needs {need} shards and only {have} are present")]
    TooFewShards {
        /// How many were given.
        have: usize,
        /// k.
        need: usize,
    },
    /// The buffers of one call are not all of one length.
    #[error("shard {index} is {len} bytes long where the other shards of the stripe are {expected}")]
    LengthMismatch {
        /// The shard that differs from the first one given.
        index: usize,
        /// Its length, bytes.
        len: usize,
        /// The first shard's length, bytes.
        expected: usize,
    },
    /// The same shard was given, or asked for, twice.
    #[error("shard {index} is named twice")]
    DuplicateIndex {
        /// The shard.
        index: usize,
    },
    /// There is no such shard in the shape.
    #[error("shard {index} does not exist: the shape {shape} numbers its shards from 0 to {}", shape.n() - 1)]
    IndexOutOfRange {
        /// The shard asked for.
        index: usize,
        /// The shape of the call.
        shape: Shape,
    },
    /// No codec with this id is registered.
    #[error("{0} (codec id {id}) is not known to this build", id = .0.0)]
    Unknown(CodecId),
    /// The codec does not make the bytes its id stands for. Never write or read with it.
    #[error("{codec} failed its self-test at {shape}: the {what} hash to {found} instead of {expected}")]
    SelfTest {
        /// The codec.
        codec: CodecId,
        /// The shape it failed at.
        shape: Shape,
        /// What was hashed: `parity shards` or `restored shards`.
        what: &'static str,
        /// The right BLAKE3 hash, hexadecimal.
        expected: String,
        /// The hash of what the codec made, hexadecimal.
        found: String,
    },
    /// The library below refused arguments that had been checked: a bug, here or there.
    #[error("{codec} failed on a valid {shape} stripe: {reason}")]
    Internal {
        /// The codec.
        codec: CodecId,
        /// The shape of the call.
        shape: Shape,
        /// The library's own words.
        reason: String,
    },
}
