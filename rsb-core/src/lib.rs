//! The core of RSBackup: it cuts what it is given into k data and m parity shards, spreads them over backends in different
//! failure domains, and reads, checks and repairs them. Any m backends may be lost. It knows
//! [`ObjectStore`](object_store::ObjectStore) and never a provider, an SQL driver or an HTTP server; it has no config file, no
//! global state, and no runtime of its own but the tokio it is called on.
//!
//! # A worked example
//! Six stores at three sites, coded 4+2, so that any site may be lost. (Where an object store is all that is wanted,
//! [`ErasureStore::builder`] says the same in fewer words: docs/library.md.)
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use futures::{StreamExt, TryStreamExt, stream};
//! use object_store::memory::InMemory;
//! use rsb_core::catalog::MemoryCatalog;
//! use rsb_core::codec::{CodecId, Codecs};
//! use rsb_core::format::manifest::BucketSettings;
//! use rsb_core::{Backend, Cost, Engine, EngineConfig, Env, PutRequest, Role, Scheme, Spread};
//!
//! # #[tokio::main]
//! # async fn main() -> rsb_core::Result<()> {
//! let backends: Vec<Backend> = (0..6)
//!     .map(|i| {
//!         let site = ["attic", "cellar", "office"][i / 2].to_owned();
//!         let domain = BTreeMap::from([("site".to_owned(), site)]);
//!         // Any ObjectStore does: a folder, a bucket, your own.
//!         Backend::with(format!("disk-{i}"), Arc::new(InMemory::new()), domain, Role::Active, Cost::default())
//!     })
//!     .collect();
//! let mut config = EngineConfig::new("photos", Scheme::new(4, 2, CodecId::NOVELPOLY, 64 << 10)?);
//! config.spread = Spread::Label("site".into());
//! let env = Env::system();
//!
//! // Once for a new repository; an opening never writes to a store that is not marked as its own.
//! Engine::init_markers(&config, &backends, &env).await?;
//! let catalog = Arc::new(MemoryCatalog::default());
//! let engine = Engine::open(config, backends, catalog, Codecs::with_builtin(), env).await?;
//!
//! engine.create_bucket("box", BucketSettings::default()).await?;
//! let put = PutRequest { bucket: "box".into(), key: "a/b".into(), ..PutRequest::default() };
//! let info = engine.put(put, stream::iter([Ok("hello, ".into()), Ok("world".into())]).boxed()).await?;
//! assert_eq!((info.size(), info.short), (12, 0));
//!
//! let found = engine.get("box", "a/b", None, None).await?;
//! let pieces: Vec<bytes::Bytes> = found.stream.try_collect().await?;
//! assert_eq!(pieces.concat(), b"hello, world");
//! engine.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//! Read in this order; each module depends on those above it.
//!
//! | module | its one idea |
//! | --- | --- |
//! | [`scheme`], [`codec`], [`stripe`] | how bytes become shards, and come back: arithmetic, no I/O |
//! | [`mod@format`] | what lies on a backend: bytes ↔ types, versioned (docs/format.md) |
//! | [`id`], [`names`], [`error`], [`env`](mod@env) | ids in the order of time; what a bucket and a key may be called; the kinds of failures; clock and randomness, injected |
//! | [`backend`], [`health`], [`placement`] | a store with a name and a domain; what is known of it; which ones a segment goes to, and the proof that the domains bear it |
//! | [`catalog`] | the index, behind a trait: it can be lost |
//! | [`engine`], [`api`] | the façade over writing, reading, checking, repairing, moving, sweeping and rebuilding; the requests and replies it takes and gives |
//! | [`erasure_store`] | one bucket of the engine as an [`ObjectStore`](object_store::ObjectStore) again |
//! | [`object_lock`], [`lifecycle`] | what nobody may delete; what is to end by itself |
//! | [`upkeep`], [`events`], [`durability`] | what a repository does of itself, and tells of it; how likely a loss is |
//!
//! # Plugging in
//! A store of your own implements [`ObjectStore`](object_store::ObjectStore) and is put in a [`Backend`]; a code implements
//! [`ErasureCodec`](codec::ErasureCodec) and is registered in [`Codecs`](codec::Codecs); an index implements
//! [`Catalog`](catalog::Catalog). Each has a conformance suite in `testkit`, behind the feature of that name, and
//! docs/extending.md shows all of it in five minutes, with examples to run.
//!
//! # Errors
//! Every failure is an [`Error`]: a sentence for a person, and an [`ErrorKind`] that says what a program should do. Dropping a
//! future or a stream ends the work it stands for; what a write had stored by then is undone.

pub mod api;
pub mod backend;
pub mod catalog;
mod certainty;
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
mod files;
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
