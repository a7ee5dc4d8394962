//! Conformance suites: one for a trait, run by every implementation of it, in this crate and outside it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a suite panics where a rule is broken")]

pub mod catalog;
