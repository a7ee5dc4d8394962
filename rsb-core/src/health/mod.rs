//! What is known of a backend's health: quantiles of its times, classes of its failures, and a circuit breaker each for
//! reading and for writing (a full disk is read well). From its own 95th percentile come the times after which a read is
//! hedged and a write left to the ledger.
//!
//! One that failed is *suspect*: passed over where another can serve, and hardly waited for where none can, until it
//! succeeds. After three failures in a row, or when it was given up on because it was slow, its breaker
//! opens: it is left alone, then tried once, and a trial that fails again doubles the pause. The watch asks an ill one for
//! its marker every few seconds, so that no read has to be the trial; a write is, without being waited for.
//!
//! Slow is what takes longer than the limit that was usual before: a trial that does so does not close the breaker. One that
//! stays slow for good is taken as it is in the end: with each trial after the longest pause what is usual doubles.

mod breaker;
mod class;
mod quantiles;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

pub use self::breaker::BreakerState;
use self::breaker::{Breaker, Cause};
pub use self::class::{Classify, ErrorClass, classify, io_class};
use self::quantiles::Quantiles;
use crate::events::EventKind;

/// So many failures in a row open the breaker.
const FAILURES_THAT_OPEN: u32 = 3;
/// Of fewer observations than these no limit is made.
const FEW: u32 = 20;
/// Writes of more bytes have times of their own.
const LARGE: u64 = 256 << 10;
/// A read is hedged after so many times the 95th percentile.
const HEDGE_FACTOR: u32 = 2;
/// A write is left to the ledger after so many times the 95th percentile: that costs more than a second read.
const STRAGGLER_FACTOR: u32 = 4;

/// A kind of request whose times are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// A read; its time is the one to the first answer.
    Read,
    /// A write of a manifest copy or a small shard, or a delete.
    SmallWrite,
    /// A write of more than 256 KiB.
    LargeWrite,
}

impl Op {
    /// A write of so many bytes.
    pub fn write(bytes: u64) -> Self {
        if bytes > LARGE { Self::LargeWrite } else { Self::SmallWrite }
    }

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::SmallWrite => "small_write",
            Self::LargeWrite => "large_write",
        }
    }

    const ALL: [Self; 3] = [Self::Read, Self::SmallWrite, Self::LargeWrite];

    /// Those that share its breaker.
    fn same_side(self) -> &'static [Self] {
        if self == Self::Read { &Self::ALL[..1] } else { &Self::ALL[1..] }
    }
}

/// Within what the limits that come from a backend's own times stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The soonest and the latest that a read is hedged.
    pub hedge: (Duration, Duration),
    /// The soonest and the latest that a write is left to the ledger.
    pub straggler: (Duration, Duration),
}

impl Bounds {
    /// The least and the greatest limit of an operation.
    fn of(&self, op: Op) -> (Duration, Duration) {
        if op == Op::Read { self.hedge } else { self.straggler }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self { hedge: (ms(50), ms(500)), straggler: (ms(200), ms(2000)) }
    }
}

type Listener = Arc<dyn Fn(EventKind, String) + Send + Sync>;

/// What is known of a backend's health.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
    listener: Mutex<Option<Listener>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Health").field(&self.snapshot()).finish()
    }
}

#[derive(Default)]
struct State {
    bounds: Bounds,
    reads: Side,
    writes: Side,
    times: [Quantiles; Op::ALL.len()],
    /// The limits from before it was too slow, while it is.
    usual: [Option<Duration>; Op::ALL.len()],
    errors: BTreeMap<ErrorClass, u64>,
    last_error: Option<String>,
}

/// Reading, or writing.
#[derive(Default)]
struct Side {
    failures_in_row: u32,
    breaker: Breaker,
}

impl Side {
    fn is_suspect(&self, now: Instant) -> bool {
        self.failures_in_row > 0 || self.breaker.state(now) != BreakerState::Closed
    }
}

impl State {
    fn side(&mut self, op: Op) -> &mut Side {
        match op {
            Op::Read => &mut self.reads,
            Op::SmallWrite | Op::LargeWrite => &mut self.writes,
        }
    }

    fn limit(&self, op: Op) -> Duration {
        if let Some(usual) = self.usual[op as usize] {
            return usual;
        }
        let (least, most) = self.bounds.of(op);
        let factor = if op == Op::Read { HEDGE_FACTOR } else { STRAGGLER_FACTOR };
        let times = &self.times[op as usize];
        let own = times.quantile(0.95).filter(|_| times.samples() >= FEW);
        own.map_or(most, |p95| p95.saturating_mul(factor).max(least).min(most))
    }

    /// It is too slow: it is left alone, and its limits stay what they were.
    fn too_slow(&mut self, op: Op, now: Instant) {
        let stays = self.side(op).breaker.is_at_longest(now);
        for like in op.same_side() {
            let usual = self.limit(*like);
            self.usual[*like as usize] = Some(if stays { (usual * 2).min(self.bounds.of(op).1) } else { usual });
        }
        self.side(op).breaker.open(now, Cause::Slow);
    }
}

impl Health {
    /// An operation succeeded; `took` is the time it took to answer, where that says something of the backend.
    pub fn succeeded(&self, op: Op, took: Option<Duration>) {
        self.change(op, |state, now| {
            if let Some(took) = took {
                state.times[op as usize].add(took);
            }
            let slowest = state.usual[op as usize].unwrap_or(state.bounds.of(op).1);
            let too_slow = took.is_some_and(|took| took > slowest);
            let side = state.side(op);
            side.failures_in_row = 0;
            if too_slow && side.breaker.state(now) == BreakerState::HalfOpen {
                state.too_slow(op, now);
                return;
            }
            side.breaker.succeeded(now, took.is_some());
            if side.breaker.state(now) == BreakerState::Closed {
                op.same_side().iter().for_each(|like| state.usual[*like as usize] = None);
            }
        });
    }

    /// An operation failed in a way that speaks of the backend (not "not found").
    pub fn failed(&self, op: Op, class: ErrorClass, error: &str) {
        self.change(op, |state, now| {
            *state.errors.entry(class).or_default() += 1;
            state.last_error = Some(error.to_owned());
            let side = state.side(op);
            side.failures_in_row = side.failures_in_row.saturating_add(1);
            let on_trial = side.breaker.state(now) == BreakerState::HalfOpen;
            if on_trial || class.cost_time() || side.failures_in_row >= FAILURES_THAT_OPEN {
                side.breaker.open(now, Cause::Failed);
            }
        });
    }

    /// It was given up on after `waited`: others were ready long before.
    pub fn gave_up(&self, op: Op, waited: Duration, why: &str) {
        self.change(op, |state, now| {
            *state.errors.entry(ErrorClass::Slow).or_default() += 1;
            state.last_error = Some(why.to_owned());
            state.too_slow(op, now);
            state.times[op as usize].add(waited);
        });
    }

    /// It showed its marker although it had failed: it is tried again at once.
    pub fn recovered(&self) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        for side in [Op::Read, Op::SmallWrite] {
            let side = state.side(side);
            side.failures_in_row = 0;
            side.breaker.end_pause(now);
        }
    }

    /// Whether it should be passed over where another can serve.
    pub fn is_suspect(&self, op: Op) -> bool {
        lock(&self.state).side(op).is_suspect(Instant::now())
    }

    /// Whether a request may be tried: its breaker is closed, or half open and this is the trial.
    pub fn admits(&self, op: Op) -> bool {
        let mut admits = false;
        self.change(op, |state, now| admits = state.side(op).breaker.admits(now));
        admits
    }

    /// Whether its breaker is not closed.
    pub fn is_left_alone(&self, op: Op) -> bool {
        lock(&self.state).side(op).breaker.state(Instant::now()) != BreakerState::Closed
    }

    /// Whether its breaker is half open and this is the trial.
    pub fn takes_trial(&self, op: Op) -> bool {
        let due = lock(&self.state).side(op).breaker.state(Instant::now()) == BreakerState::HalfOpen;
        due && self.admits(op)
    }

    /// Whether anything is known against it.
    pub fn is_ill(&self) -> bool {
        let (now, state) = (Instant::now(), lock(&self.state));
        state.reads.is_suspect(now) || state.writes.is_suspect(now)
    }

    /// Whether the last thing it was asked did not fail.
    pub fn answers(&self) -> bool {
        let state = lock(&self.state);
        state.reads.failures_in_row == 0 && state.writes.failures_in_row == 0
    }

    /// How long a request is waited for before others take its place.
    pub fn limit(&self, op: Op) -> Duration {
        lock(&self.state).limit(op)
    }

    /// Sets what the limits stay within.
    pub fn set_bounds(&self, bounds: Bounds) {
        lock(&self.state).bounds = bounds;
    }

    /// The median time to the first answer of a read; zero while unknown.
    pub fn latency(&self) -> Duration {
        lock(&self.state).times[Op::Read as usize].quantile(0.5).unwrap_or_default()
    }

    /// Tells the listener of changes of the breakers.
    pub(crate) fn listen(&self, listener: Listener) {
        *lock(&self.listener) = Some(listener);
    }

    /// Changes the state, and tells of the breaker where that changed.
    fn change(&self, op: Op, change: impl FnOnce(&mut State, Instant)) {
        let now = Instant::now();
        let (before, after, error) = {
            let mut state = lock(&self.state);
            let before = state.side(op).breaker.shown();
            change(&mut state, now);
            let after = state.side(op).breaker.shown();
            (before, after, state.last_error.clone().filter(|_| before != after))
        };
        if before == after {
            return;
        }
        let what = if op == Op::Read { "reading" } else { "writing" };
        let (kind, detail) = match after {
            BreakerState::Open => (EventKind::BreakerOpened, format!("{what}: {}", error.unwrap_or_default())),
            BreakerState::HalfOpen => (EventKind::BreakerTried, format!("{what} is tried again")),
            BreakerState::Closed => (EventKind::BreakerClosed, format!("{what} works again")),
        };
        if let Some(listener) = lock(&self.listener).clone() {
            listener(kind, detail);
        }
    }

    /// Everything known now.
    pub fn snapshot(&self) -> HealthSnapshot {
        let (now, state) = (Instant::now(), lock(&self.state));
        let ms = |time: Option<Duration>| time.map_or(0.0, |t| t.as_micros() as f64 / 1000.0);
        let times = Op::ALL.into_iter().map(|op| {
            let times = &state.times[op as usize];
            let at = |share| ms(times.quantile(share));
            (op, Times { samples: times.samples(), p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99) })
        });
        HealthSnapshot {
            healthy: !state.reads.is_suspect(now) && !state.writes.is_suspect(now),
            failures_in_row: state.reads.failures_in_row.max(state.writes.failures_in_row),
            latency_ms: state.times[Op::Read as usize].quantile(0.5).unwrap_or_default().as_millis() as u64,
            last_error: state.last_error.clone(),
            read_breaker: state.reads.breaker.state(now),
            write_breaker: state.writes.breaker.state(now),
            times: times.collect(),
            errors: state.errors.clone(),
            hedge_after_ms: ms(Some(state.limit(Op::Read))),
            straggler_limit_ms: ms(Some(state.limit(Op::LargeWrite))),
        }
    }
}

/// A backend's health at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HealthSnapshot {
    /// Nothing is known against it.
    pub healthy: bool,
    /// Failures since the last success, of reading or of writing.
    pub failures_in_row: u32,
    /// Median of the time to the first answer of a read, milliseconds.
    pub latency_ms: u64,
    /// What the last failure said.
    pub last_error: Option<String>,
    /// Whether it is read.
    #[serde(default)]
    pub read_breaker: BreakerState,
    /// Whether it is written.
    #[serde(default)]
    pub write_breaker: BreakerState,
    /// Quantiles of its recent times.
    #[serde(default)]
    pub times: BTreeMap<Op, Times>,
    /// Failures since the program started, by class.
    #[serde(default)]
    pub errors: BTreeMap<ErrorClass, u64>,
    /// A read from it is hedged after so many milliseconds.
    #[serde(default)]
    pub hedge_after_ms: f64,
    /// Once enough others are durable, a large write to it is waited for so many milliseconds.
    #[serde(default)]
    pub straggler_limit_ms: f64,
}

/// Quantiles of recent times, milliseconds; 0 while unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// Observations they are made of, the older ones counted less.
    pub samples: u32,
    /// The median.
    pub p50_ms: f64,
    /// The 95th percentile.
    pub p95_ms: f64,
    /// The 99th percentile.
    pub p99_ms: f64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A poisoned lock here guards plain values that are valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
