//! The engine on stores in memory: what a person does, what breaks, and what must hold nevertheless. One binary, one module
//! a subject; each test damages real files on real stores.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod basics;
mod beside;
mod borders;
mod compose;
mod crash;
mod doubt;
mod embedding;
mod erasure;
mod fixtures;
mod gate;
mod ill;
mod lifecycle;
mod locks;
mod moves;
mod moves_crash;
mod multipart;
mod multipart_crash;
mod multipart_upkeep;
mod mutations;
mod planning;
mod quorum;
mod rebuild;
mod recoding;
mod reconcile;
mod scrubbing;
mod settings;
mod support;
mod sweeping;
mod upkeep;
mod versions;
