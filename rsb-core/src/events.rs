//! What happens without being asked for: a backend falls ill or is well again, the ledger is worked off, a scrub ends. The
//! latest are remembered, and who listens hears of each.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::env::Env;

/// So many are remembered.
const REMEMBERED: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A backend is left alone for a while: it failed, or was too slow.
    BreakerOpened,
    /// It is tried once.
    BreakerTried,
    /// It is used again.
    BreakerClosed,
    /// A backend is not used any more: its marker is gone or wrong.
    BackendExpelled,
    /// A backend is back, and what it missed is known.
    BackendBack,
    /// Something that was lost is there again, written and read back.
    Healed,
    /// Something that is lost could not be rebuilt.
    HealFailed,
    /// The budget of the day for healing or scrubbing is used up.
    BudgetSpent,
    /// A scrub's cycle has ended.
    ScrubEnded,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up from 1 since the program started.
    pub number: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    pub kind: EventKind,
    /// The backend it is about.
    pub backend: Option<String>,
    /// A sentence.
    pub detail: String,
}

/// The latest events, and those to come.
pub(crate) struct Events {
    env: Env,
    recent: Mutex<VecDeque<Event>>,
    live: broadcast::Sender<Event>,
}

impl Events {
    pub fn new(env: Env) -> Self {
        Self { env, recent: Mutex::default(), live: broadcast::Sender::new(REMEMBERED) }
    }

    pub fn tell(&self, kind: EventKind, backend: Option<&str>, detail: impl Into<String>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let number = recent.back().map_or(1, |last| last.number + 1);
        let (at_ms, backend) = (self.env.now_ms(), backend.map(str::to_owned));
        let event = Event { number, at_ms, kind, backend, detail: detail.into() };
        tracing::info!(kind = ?event.kind, backend = event.backend, "{}", event.detail);
        if recent.len() == REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(event.clone());
        // That nobody listens is no error. Sent under the lock, so that nobody hears them out of order.
        let _ = self.live.send(event);
    }

    /// The latest, oldest first, and those to come after them.
    pub fn follow(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        (recent.iter().cloned().collect(), self.live.subscribe())
    }
}
