//! Catalogs that a config file can name. The engine in memory is in rsb-core.

pub mod sqlite;

pub use self::sqlite::{Mode, SqliteCatalog};
