//! The core of RSBackup: erasure coding, formats, placement, and the engine that writes, reads, checks and repairs. It
//! knows `object_store::ObjectStore` and never a provider, an SQL driver or an HTTP server.
//!
//! Read in this order: [`scheme`], [`codec`], [`stripe`] (pure arithmetic), [`mod@format`] (bytes ↔ types), [`backend`] and
//! [`placement`], [`catalog`], then the engine's parts and its façade [`engine`]; [`erasure_store`]
//! is the engine as an object store again. [`health`] is what is known of a backend, [`events`] what happens without being
//! asked for, [`upkeep`] what it does of itself. [`object_lock`] says what nobody may delete,
//! [`lifecycle`] what is to end by itself.

pub mod api;
pub mod backend;
pub mod catalog;
mod check;
pub mod codec;
mod core;
mod drill;
pub mod durability;
pub mod engine;
pub mod env;
pub mod erasure_store;
pub mod error;
pub mod events;
pub mod format;
pub mod health;
pub mod id;
mod lease;
pub mod lifecycle;
mod moves;
pub mod names;
pub mod object_lock;
pub mod placement;
mod read;
mod recover;
mod repair;
pub mod scheme;
pub mod stripe;
mod sweep;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
pub mod upkeep;
mod watch;
mod write;

pub use api::*;
pub use backend::{Backend, Cost, Role};
pub use engine::{Completing, Engine, EngineConfig, Reading};
pub use env::Env;
pub use erasure_store::{ErasureStore, ErasureStoreBuilder};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, EventKind};
pub use placement::Spread;
pub use scheme::Scheme;
