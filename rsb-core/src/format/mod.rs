//! Bytes ↔ types, versioned. `docs/format.md` has the tables; what stands here must agree with them for ever.
//!
//! Order to read: [`checksum`], [`shard`], [`manifest`] and [`parts`] (what a record says), [`batch`] (how records lie in a manifest
//! file), [`marker`], [`paths`].

pub mod batch;
pub mod checksum;
pub mod manifest;
pub mod marker;
pub mod parts;
pub mod paths;
mod segments;
pub mod shard;

/// Why bytes are not what they should be. Each variant's sentence says what was found.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// Fewer bytes than the structure needs.
    #[error("{what} is truncated: {have} bytes, {need} needed")]
    Truncated {
        /// The structure.
        what: &'static str,
        /// Bytes found.
        have: u64,
        /// Bytes needed.
        need: u64,
    },
    /// The first bytes are not the structure's magic.
    #[error("{what} does not begin with its magic bytes")]
    Magic {
        /// The structure.
        what: &'static str,
    },
    /// Written by a newer program.
    #[error("{what} has format version {found}; this program reads versions 1 to {newest}")]
    Version {
        /// The structure.
        what: &'static str,
        /// The version found.
        found: u16,
        /// The newest version this program reads.
        newest: u16,
    },
    /// The bytes do not match their checksum.
    #[error("{what} does not match its checksum")]
    Checksum {
        /// The structure.
        what: &'static str,
    },
    /// It verifies, but belongs somewhere else.
    #[error("{what} belongs elsewhere: {detail}")]
    Misplaced {
        /// The structure.
        what: &'static str,
        /// What was found and what was expected.
        detail: String,
    },
    /// A field has a value that cannot be.
    #[error("{what} is malformed: {detail}")]
    Malformed {
        /// The structure.
        what: &'static str,
        /// What is wrong.
        detail: String,
    },
}
