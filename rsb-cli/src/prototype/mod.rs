//! A folder that the prototype of 2020 has filled: one flat folder, in which each file lies whole as `NAME`, its m parity files
//! as `NAME.parity.1` …, and what is known of it in `NAME.md`. The file is taken as k runs of equal length, the last one padded
//! with zeros; run and parity file are the shards of one code word, Reed–Solomon as the Go package klauspost/reedsolomon has it.
//!
//! Everything here only reads. Order to read: [`description`] (what a `.md` says), [`folder`] (which files belong together),
//! [`parts`] (where a shard lies), [`survey`] (which of them are whole), [`mend`] (the file's bytes, rebuilt where they are not).

mod description;
mod folder;
mod mend;
mod parts;
mod survey;
#[cfg(test)]
mod tests;

pub use self::description::Description;
pub use self::folder::{Folder, Unknown};
pub use self::mend::{Mend, Unmendable};
pub use self::parts::Parts;
pub use self::survey::{Damage, Survey};
