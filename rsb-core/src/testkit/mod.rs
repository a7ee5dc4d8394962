//! Conformance suites: one for a trait, run by every implementation of it, in this crate and outside it. And the simulation.
//!
//! | a new … | is held to its contract by |
//! | --- | --- |
//! | [`ErasureCodec`](crate::codec::ErasureCodec) | [`codec::run`] |
//! | [`Catalog`](crate::catalog::Catalog) | [`catalog::run`], [`catalog::histories`], [`catalog::listings`] |
//! | `object_store::ObjectStore`, to be a [`Backend`](crate::Backend) | [`backend::run`] |
#![allow(clippy::unwrap_used, clippy::panic, reason = "a suite panics where a rule is broken")]

#[cfg(feature = "testkit")]
pub mod backend;
pub mod catalog;
pub mod codec;
#[cfg(feature = "testkit")]
#[allow(rustdoc::private_intra_doc_links, reason = "its documentation is for who works on it")]
pub mod sim;
