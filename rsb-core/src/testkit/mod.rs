//! Conformance suites: one for a trait, run by every implementation of it, in this crate and outside it. And the simulation.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a suite panics where a rule is broken")]

pub mod catalog;
#[cfg(feature = "testkit")]
pub mod sim;
