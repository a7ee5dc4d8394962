//! The deterministic simulation: the whole engine on simulated backends, in one thread, where a seed decides the time, ids,
//! chance, the order of events, what breaks and when the process dies. A reference model says what may be seen.
//!
//! The fault model, the promises and how to run it stand in docs/reliability.md. Read in this order: [`history`] (what
//! happens), [`theme`] (what it dwells on), [`world`] (what outlives a process), [`store`] and [`catalog`] (what the engine runs on), [`model`], [`act`],
//! [`moving`] and [`judge`] (what callers are told, and whether it is true), [`run`] (a history from begin to end), [`steps`]
//! and [`reads`], [`lost`] (the engine itself loses nothing), [`tend`] (faults stop, and all must be well again), [`shrink`].

mod act;
mod catalog;
mod history;
mod judge;
mod lost;
mod model;
mod moving;
mod reads;
mod rng;
mod run;
mod shrink;
mod steps;
mod store;
mod tend;
#[cfg(test)]
mod tests;
mod theme;
mod world;

pub use self::history::History;
pub use self::moving::Moving;
pub use self::run::{Failure, Options, Report, run};
pub use self::shrink::shrink;
