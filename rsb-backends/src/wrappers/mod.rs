//! Wrappers around any object store. Each forwards every method of the trait, and what uploads and streams do later.
//!
//! [`wrap`] puts the standard ones around a backend, from the outside in:
//!
//! 1. `Exact`: a body has the length it was announced with, `get_ranges` never panics on a short object.
//! 2. `Retry`: a few more tries of what may be repeated, out of a budget that an outage drains.
//! 3. object_store's `LimitStore`: concurrent operations. Below the retries, so that nobody holds a place while pausing.
//! 4. `Metrics`: what was asked of the backend, each try counted.
//! 5. `Timeout`: nothing hangs.
//!
//! [`Fault`] is for tests.

mod class;
mod exact;
mod fault;
mod metrics;
mod op;
mod retry;
mod timeout;
mod trouble;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::limit::LimitStore;
use rsb_core::Env;

pub use self::class::{ErrorClass, classify};
pub use self::exact::Exact;
pub use self::fault::{Action, Failure, Fault, FaultHandle, Rule, RuleId};
pub use self::metrics::{Metrics, describe_metrics};
pub use self::op::Op;
pub use self::retry::{Retry, RetryOptions};
pub use self::timeout::{Timeout, Timeouts};
pub use self::trouble::Trouble;

/// How a backend is wrapped.
#[derive(Clone, Debug)]
pub struct WrapOptions {
    /// Longest waits.
    pub timeouts: Timeouts,
    /// Tries and pauses.
    pub retry: RetryOptions,
    /// Most operations at once. A read counts until its body is consumed, a listing until it ends.
    pub max_concurrent: usize,
    /// Randomness for the pauses between tries.
    pub env: Env,
}

impl Default for WrapOptions {
    fn default() -> Self {
        Self { timeouts: Timeouts::default(), retry: RetryOptions::default(), max_concurrent: 64, env: Env::system() }
    }
}

/// Puts the standard wrappers around the store of the backend called `name`.
pub fn wrap(name: &str, store: Arc<dyn ObjectStore>, options: &WrapOptions) -> Arc<dyn ObjectStore> {
    let timed: Arc<dyn ObjectStore> = Arc::new(Timeout::new(store, options.timeouts));
    let counted: Arc<dyn ObjectStore> = Arc::new(Metrics::new(name, timed));
    let limited: Arc<dyn ObjectStore> = Arc::new(LimitStore::new(counted, options.max_concurrent.max(1)));
    let retried: Arc<dyn ObjectStore> = Arc::new(Retry::new(limited, options.retry, options.env.clone()));
    Arc::new(Exact::new(retried))
}
