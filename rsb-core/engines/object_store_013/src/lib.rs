//! object_store 0.14, for crates that ask for 0.13.

pub use current::*;
