//! What the engine takes from outside itself: wall-clock time, randomness, ids, and where heavy
//! computation runs. All of it is injected so that one seed can replay a whole history.

use std::fmt;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use crate::core::lock;

/// Wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> u64;
}

/// A source of random bytes.
pub trait Random: Send + Sync + 'static {
    /// Overwrites `buf` with random bytes.
    fn fill(&self, buf: &mut [u8]);
}

/// The operating system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the real clock is read")]
    fn now_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// The operating system's random generator.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buf: &mut [u8]) {
        // Without randomness ids could repeat, and a repeated id would overwrite a shard: stop instead.
        if let Err(error) = getrandom::fill(buf) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }
}

/// Where encoding and hashing run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// On tokio's blocking pool, so that a long encode does not hold up the runtime's threads.
    Blocking,
    /// In place, for simulations that must stay on one thread.
    Inline,
}

/// Everything the engine takes from outside itself. Cheap to clone.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    last_id: Arc<Mutex<(u64, u64)>>,
    compute: Compute,
    #[cfg(feature = "testkit")]
    flaw: Option<Flaw>,
}

/// A deliberate bug of the engine: the simulation is held to finding each of them (`simulate --flaws`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Writes are acknowledged with as many shards as are needed to read.
    AcknowledgesEarly,
    /// What is short is not put in the ledger.
    ForgetsLedger,
    /// Blocks are given to readers unverified.
    TrustsBlocks,
    /// A condition is not looked at when a write reserves.
    IgnoresCondition,
    /// A record is believed however few copies show it.
    BelievesFewCopies,
    /// A sweep goes on although backends are away.
    SweepsInDoubt,
    /// A tombstone is dropped although what it kills is still there.
    DropsTombstones,
    /// The shards of a replaced version are removed although a copy points at them.
    RemovesShared,
    /// Batches that are being written are taken for finished ones.
    AdoptsFlying,
    /// That the catalog is open is not put on its storage.
    OpensUnsynced,
    /// A repair that moves shards does not say so in the manifest.
    MovesSilently,
    /// Repair and check pass over the records of buckets and deletions.
    ForgetsRecords,
    /// A move takes the shards of what was written beside it for moved ones, and removes them.
    TakesNewForMoved,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::AcknowledgesEarly,
        Self::ForgetsLedger,
        Self::TrustsBlocks,
        Self::IgnoresCondition,
        Self::BelievesFewCopies,
        Self::SweepsInDoubt,
        Self::DropsTombstones,
        Self::RemovesShared,
        Self::AdoptsFlying,
        Self::OpensUnsynced,
        Self::MovesSilently,
        Self::ForgetsRecords,
        Self::TakesNewForMoved,
    ];
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("compute", &self.compute).finish_non_exhaustive()
    }
}

impl Default for Env {
    fn default() -> Self {
        Self::system()
    }
}

/// Bits of an id that count up within one millisecond: 12 of rand_a and 30 of rand_b.
const COUNTER_BITS: u32 = 42;
/// So far beyond what is known an earlier process may have come, where the clock does not tell.
const UNKNOWN_MS: u64 = 10 * 60 * 1000;

impl Env {
    /// The real clock, real randomness, computation on the blocking pool.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock), Arc::new(SystemRandom), Compute::Blocking)
    }

    /// An environment made of the given parts.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>, compute: Compute) -> Self {
        Self {
            clock,
            random,
            last_id: Arc::new(Mutex::new((0, 0))),
            compute,
            #[cfg(feature = "testkit")]
            flaw: None,
        }
    }

    /// The same with a deliberate bug.
    #[cfg(feature = "testkit")]
    #[must_use]
    pub fn with_flaw(self, flaw: Option<Flaw>) -> Self {
        Self { flaw, ..self }
    }

    /// Whether the engine is to have this bug: never but in the simulation.
    #[cfg(feature = "testkit")]
    pub(crate) fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Whether the engine is to have this bug: never.
    #[cfg(not(feature = "testkit"))]
    pub(crate) const fn has(&self, _: Flaw) -> bool {
        false
    }

    /// Milliseconds since the Unix epoch, UTC.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Overwrites `buf` with random bytes.
    pub fn fill(&self, buf: &mut [u8]) {
        self.random.fill(buf);
    }

    /// A random number below `bound` (0 when `bound` is 0).
    pub fn random_below(&self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        if bound == 0 { 0 } else { u64::from_le_bytes(bytes) % bound }
    }

    /// A new UUIDv7, greater than every id this environment gave before, also within one millisecond and
    /// when the clock steps back (then the last millisecond seen goes on counting).
    pub fn new_id(&self) -> Uuid {
        let mut random = [0u8; 12];
        self.fill(&mut random);
        let mut seed = [0u8; 8];
        seed.copy_from_slice(&random[..8]);
        // The counter's top bit starts at zero, so that it has room to count within the millisecond.
        let fresh = u64::from_le_bytes(seed) & ((1 << (COUNTER_BITS - 1)) - 1);
        let now = self.now_ms();
        let mut last = lock(&self.last_id);
        if now > last.0 {
            *last = (now, fresh);
        } else if last.1 + 1 < 1 << COUNTER_BITS {
            last.1 += 1;
        } else {
            *last = (last.0 + 1, fresh);
        }
        let (ms, counter) = *last;
        drop(last);
        let mut tail = [0u8; 4];
        tail.copy_from_slice(&random[8..]);
        compose_v7(ms, counter, u32::from_le_bytes(tail))
    }

    /// Makes every later id greater than `id`: called with the greatest id a catalog knows.
    pub(crate) fn observe_id(&self, id: Uuid) {
        let (ms, counter) = decompose_v7(id);
        let mut last = lock(&self.last_id);
        *last = (*last).max((ms, counter));
    }

    /// Makes every later id greater than those of the millisecond before: an earlier process began with this one.
    pub(crate) fn observe_ms(&self, ms: u64) {
        let mut last = lock(&self.last_id);
        *last = (*last).max((ms, 0));
    }

    /// The millisecond that the next id is of, or the one after.
    pub(crate) fn next_id_ms(&self) -> u64 {
        self.now_ms().max(lock(&self.last_id).0)
    }

    /// Makes every later id greater than those that an earlier process gave and nobody knows of yet, as what it wrote may still
    /// land. Called when all that is known was observed.
    pub(crate) fn outlive_earlier(&self) {
        let now = self.now_ms();
        let mut last = lock(&self.last_id);
        // Where the clock is behind what is known it was turned back meanwhile, and does not tell how far the other came.
        let ms = if last.0 > now { last.0 + UNKNOWN_MS } else { now + 1 };
        *last = (ms, 0);
    }

    /// Starts a computation where this environment wants it: on the blocking pool, or in place. It goes on while the
    /// caller does something else.
    pub(crate) fn start_compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Computation<T> {
        match self.compute {
            Compute::Inline => Computation::Done(work()),
            Compute::Blocking => Computation::Running(tokio::task::spawn_blocking(work)),
        }
    }

    /// Runs a computation where this environment wants it.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.start_compute(work).wait().await
    }
}

/// A computation that was started.
#[derive(Debug)]
pub(crate) enum Computation<T> {
    /// It ran in place.
    Done(T),
    /// It runs on the blocking pool.
    Running(tokio::task::JoinHandle<T>),
}

impl<T> Computation<T> {
    /// Its result; a panic in it goes on here.
    pub async fn wait(self) -> T {
        match self {
            Self::Done(value) => value,
            Self::Running(handle) => match handle.await {
                Ok(value) => value,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }
}

/// A UUIDv7 (RFC 9562) of a 48-bit millisecond, a 42-bit counter (12 bits rand_a, 30 bits of rand_b) and 32 random bits.
fn compose_v7(ms: u64, counter: u64, tail: u32) -> Uuid {
    let high = (ms << 16) | 0x7000 | (counter >> 30);
    let low = (0b10 << 62) | ((counter & 0x3FFF_FFFF) << 32) | u64::from(tail);
    Uuid::from_u64_pair(high, low)
}

fn decompose_v7(id: Uuid) -> (u64, u64) {
    let (high, low) = id.as_u64_pair();
    (high >> 16, ((high & 0xFFF) << 30) | ((low >> 32) & 0x3FFF_FFFF))
}

/// The millisecond a UUIDv7 was made in.
pub(crate) fn id_ms(id: Uuid) -> u64 {
    decompose_v7(id).0
}

/// The least UUIDv7 greater than `id`: the next counter value with a zero tail.
pub(crate) fn id_after(id: Uuid) -> Uuid {
    let (ms, counter) = decompose_v7(id);
    if counter + 1 < 1 << COUNTER_BITS { compose_v7(ms, counter + 1, 0) } else { compose_v7(ms + 1, 0, 0) }
}

/// The least UUIDv7 of the millisecond `ms` before the one of `id`.
pub(crate) fn id_before(id: Uuid, ms: u64) -> Uuid {
    compose_v7(decompose_v7(id).0.saturating_sub(ms), 0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Stepped(AtomicU64);
    impl Clock for Stepped {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn ids_rise_within_a_millisecond_and_when_the_clock_steps_back() {
        let clock = Arc::new(Stepped(AtomicU64::new(1_000)));
        let env = Env::new(clock.clone(), Arc::new(SystemRandom), Compute::Inline);
        let mut last = env.new_id();
        assert_eq!(last.get_version_num(), 7);
        for step in 0..1000 {
            clock.0.store(1_000 - step, Ordering::Relaxed);
            let next = env.new_id();
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        assert_eq!(id_ms(last), 1_000);
        assert!(id_after(last) > last);
    }

    #[test]
    fn ids_are_greater_than_unknown_ones_of_an_earlier_process() {
        let clock = Arc::new(Stepped(AtomicU64::new(5_000_000)));
        let env = || Env::new(clock.clone(), Arc::new(SystemRandom), Compute::Inline);
        let earlier = env();
        let known = earlier.new_id();
        let unknown: Vec<Uuid> = (0..100).map(|_| earlier.new_id()).collect();
        for turned in [5_000_000, 4_000_000] {
            clock.0.store(turned, Ordering::Relaxed);
            let later = env();
            later.observe_id(known);
            later.outlive_earlier();
            // Turned back after the start, too.
            clock.0.store(1, Ordering::Relaxed);
            let id = later.new_id();
            assert!(unknown.iter().all(|other| id > *other), "clock at {turned}");
        }
    }

    #[test]
    fn an_observed_id_is_never_given_again() {
        let env = Env::new(Arc::new(Stepped(AtomicU64::new(5))), Arc::new(SystemRandom), Compute::Inline);
        let far = compose_v7(99, (1 << COUNTER_BITS) - 1, u32::MAX);
        env.observe_id(far);
        assert!(env.new_id() > far);
    }
}
