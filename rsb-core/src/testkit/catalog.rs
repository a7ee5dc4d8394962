//! The conformance suite of catalogs: every rule of [`Catalog`]'s contract, on an engine of it.
//!
//! [`run`] holds an engine to each documented rule by examples; [`histories`] and [`listings`] to the order-independence
//! of commits and to a plain model of listings, by random cases that shrink when they fail.

mod fixtures;
mod histories;
mod ledger;
mod listing;
mod records;
mod reserve;
mod rows;
mod uploads;

use std::sync::Arc;

pub use self::histories::histories;
pub use self::listing::{listings, page_costs};
use crate::catalog::Catalog;

/// Holds an engine to the contract. `make` gives a new, empty catalog each time it is called.
///
/// # Panics
/// Where a rule is broken.
pub async fn run(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    reserve::run(&make).await;
    records::run(&make).await;
    rows::run(&make).await;
    ledger::run(&make).await;
    listing::run(&make).await;
    uploads::run(&make).await;
}
