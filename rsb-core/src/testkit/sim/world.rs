//! What outlives the simulated process: the disks of the backends, the time, what is wrong with whom, and the trace of all
//! that was asked of the backends.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::rng::Rng;
use crate::env::{Clock, Random};

/// A file of a backend.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub bytes: Bytes,
    /// When it was written, by the backend's own clock.
    pub modified_ms: u64,
}

pub(super) type Files = BTreeMap<Path, File>;

/// What is wrong with a backend for a while. Docs: the fault model in docs/reliability.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every call fails at once.
    Away,
    /// Every call is refused.
    Denied,
    /// Writes are refused: no room is left.
    Full,
    /// No call is answered before the client's time is up; it may have had its effect.
    Stuck,
    /// Calls take seconds.
    Slow,
    /// Some calls fail, before or after their effect.
    Flaky,
    /// Files of the last minute are neither listed nor found, deleted ones still are.
    Stale,
    /// Only listings are behind.
    LateListing,
    /// Some reads give another file's bytes.
    Misdirected,
    /// Some writes are acknowledged and stored in part.
    Torn,
}

impl Fault {
    /// Those that make a backend unavailable, and never a liar.
    pub const HONEST: [Self; 6] = [Self::Away, Self::Denied, Self::Full, Self::Stuck, Self::Slow, Self::Flaky];
    /// Those that lie.
    pub const LYING: [Self; 4] = [Self::Stale, Self::LateListing, Self::Misdirected, Self::Torn];
}

/// One backend.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub files: Files,
    /// How it once was.
    pub old: Option<Files>,
    /// Deleted files with the time of the deletion: a stale backend still shows them.
    pub deleted: BTreeMap<Path, (File, u64)>,
    pub fault: Option<Fault>,
}

/// A write whose caller has given up, and that still lands.
#[derive(Debug)]
struct Late {
    due_ms: u64,
    disk: usize,
    path: Path,
    bytes: Bytes,
}

pub(super) struct State {
    seed: u64,
    pub rng: Rng,
    pub disks: Vec<Disk>,
    /// Which backends acknowledged a write of a path.
    pub acked: BTreeMap<Path, BTreeSet<usize>>,
    pub ops: u64,
    /// Pauses between what tasks do.
    moments: u64,
    trace: blake3::Hasher,
    log: Option<String>,
    base_ms: u64,
    life: Option<Instant>,
    jump_ms: i64,
    crash_at: Option<u64>,
    crashed: bool,
    late: Vec<Late>,
    crash: Arc<Notify>,
}

/// The world. Cheap to clone.
#[derive(Clone)]
pub(super) struct World(Arc<Mutex<State>>);

/// A write that was given up may land so much later.
pub(super) const LATEST_MS: u64 = 60_000;
/// A history with more pauses than this never comes to its end: a task goes round in circles.
const MOST_MOMENTS: u64 = 1_000_000;
/// So long a stale backend lags.
pub(super) const STALE_MS: u64 = 60_000;

impl World {
    pub fn new(seed: u64, disks: usize, with_log: bool) -> Self {
        let state = State {
            seed,
            rng: Rng::new(seed),
            disks: (0..disks).map(|_| Disk::default()).collect(),
            acked: BTreeMap::new(),
            ops: 0,
            moments: 0,
            trace: blake3::Hasher::new(),
            log: with_log.then(String::new),
            base_ms: 1_700_000_000_000,
            life: None,
            jump_ms: 0,
            crash_at: None,
            crashed: false,
            late: Vec::new(),
            crash: Arc::default(),
        };
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        crate::core::lock(&self.0)
    }

    /// A process begins; called within its runtime. What it gives is told when the process dies.
    pub fn begin_life(&self) -> Arc<Notify> {
        let mut state = self.lock();
        state.crash = Arc::default();
        state.life = Some(Instant::now());
        state.crashed = false;
        state.crash_at = None;
        state.crash.clone()
    }

    /// The process is at its end; called within its runtime.
    pub fn end_life(&self) {
        let mut state = self.lock();
        state.base_ms = state.true_ms();
        state.life = None;
    }

    /// From now on the next calls of a dying process have no answer.
    pub fn crash_after(&self, ops: u64) {
        let mut state = self.lock();
        state.crash_at = Some(state.ops + ops);
    }

    /// The fuse is put out again.
    pub fn no_crash(&self) {
        self.lock().crash_at = None;
    }

    /// Something happened: it goes in the trace, and in the log of a replay.
    pub fn note(&self, what: &str) {
        self.lock().note(what);
    }

    /// The hash of all that happened, and the log.
    pub fn trace(&self) -> (blake3::Hash, String) {
        let state = self.lock();
        (state.trace.finalize(), state.log.clone().unwrap_or_default())
    }

    /// A pause of no length, or of a moment: what else is ready may go first.
    pub async fn moment(&self) {
        let turn = {
            let mut state = self.lock();
            state.moments += 1;
            assert!(state.moments <= MOST_MOMENTS, "it goes round in circles");
            state.rng.below(8)
        };
        match turn {
            0..4 => {}
            4..6 => tokio::task::yield_now().await,
            _ => tokio::time::sleep(Duration::from_millis(turn - 5)).await,
        }
    }
}

impl State {
    pub fn note(&mut self, what: &str) {
        self.trace.update(what.as_bytes());
        let ms = self.true_ms();
        self.trace.update(&ms.to_le_bytes());
        self.log(what);
    }

    fn log(&mut self, what: &str) {
        let ms = self.true_ms();
        if let Some(log) = &mut self.log {
            let _ = writeln!(log, "{ms} {what}");
        }
    }

    /// The time by everybody else's clock.
    pub fn true_ms(&self) -> u64 {
        let elapsed = self.life.map_or(0, |life| u64::try_from(life.elapsed().as_millis()).unwrap_or(u64::MAX));
        self.base_ms + elapsed
    }

    /// Turns the process's clock.
    pub fn jump(&mut self, ms: i64) {
        self.jump_ms += ms;
    }

    /// One more call; whether the process dies at it.
    pub fn count(&mut self) -> bool {
        self.ops += 1;
        self.land();
        if self.crash_at.is_some_and(|at| self.ops >= at) {
            self.crashed = true;
            self.crash.notify_one();
        }
        self.crashed
    }

    /// A write whose caller has gone: it lands now, later, or never. When a process dies its tasks end in no certain order,
    /// so neither chance nor the trace may depend on which of them comes first.
    pub fn abandon(&mut self, disk: usize, path: Path, bytes: Bytes) {
        let of_this = blake3::hash(format!("{} {disk} {path}", self.seed).as_bytes());
        let mut rng = Rng::new(of_this.as_bytes().iter().fold(0, |all, byte| all << 8 ^ u64::from(*byte)));
        let delay = match rng.below(3) {
            0 => return,
            1 => 0,
            _ => rng.below(LATEST_MS),
        };
        let due_ms = self.true_ms() + delay;
        self.log(&format!("abandoned write of {path} on {disk}, due {due_ms}"));
        self.late.push(Late { due_ms, disk, path, bytes });
    }

    /// What is due lands.
    pub fn land(&mut self) {
        let now = self.true_ms();
        self.late.sort_by(|a, b| (a.due_ms, a.disk, &a.path).cmp(&(b.due_ms, b.disk, &b.path)));
        while let Some(at) = self.late.iter().position(|late| late.due_ms <= now) {
            let Late { due_ms, disk, path, bytes } = self.late.remove(at);
            self.note(&format!("late write of {path} lands on {disk}"));
            self.disks[disk].files.insert(path, File { bytes, modified_ms: due_ms });
        }
    }
}

impl Clock for World {
    fn now_ms(&self) -> u64 {
        let state = self.lock();
        state.true_ms().saturating_add_signed(state.jump_ms)
    }
}

impl Random for World {
    fn fill(&self, buf: &mut [u8]) {
        let mut state = self.lock();
        for chunk in buf.chunks_mut(8) {
            let bytes = state.rng.next().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}
