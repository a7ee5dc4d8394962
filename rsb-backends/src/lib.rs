//! Everything a config file can plug in.
//!
//! Read in this order: [`stores`] (from a config's lines to an object store) and [`wrappers`] (time limits, retries,
//! concurrency, metrics, and faults for tests, around any store).

pub mod catalog;
mod causes;
pub mod stores;
pub mod wrappers;
