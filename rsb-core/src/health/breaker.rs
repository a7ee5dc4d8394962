//! The circuit breaker: what failed or was too slow is left alone for a while, then tried once; a trial that fails again
//! doubles the while.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The first time it stays open; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After it was closed for so many times its last pause, the next one is a first one again.
const FORGIVEN_AFTER: u32 = 10;

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// Everything.
    #[default]
    Closed,
    /// Nothing, where another can serve.
    Open,
    /// One trial.
    HalfOpen,
}

/// Why it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Requests failed.
    Failed,
    /// Others were ready long before.
    Slow,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Closed { since: Option<Instant> },
    Open { until: Instant, cause: Cause },
    Trial { since: Instant, cause: Cause },
}

#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: State,
    pause: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { since: None }, pause: Duration::ZERO }
    }
}

impl Breaker {
    pub fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { until, .. } if now < until => BreakerState::Open,
            State::Open { .. } | State::Trial { .. } => BreakerState::HalfOpen,
        }
    }

    /// The same, but open until somebody has the trial: what changes only when something happens.
    pub fn shown(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Trial { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a request may go through; half open it is given the trial, which nobody else gets meanwhile.
    pub fn admits(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { until, cause } if now >= until => {
                self.state = State::Trial { since: now, cause };
                true
            }
            State::Open { .. } => false,
            // A trial that nobody speaks of any more was dropped on the way.
            State::Trial { since, cause } => {
                let dropped = now >= since + self.pause;
                if dropped {
                    self.state = State::Trial { since: now, cause };
                }
                dropped
            }
        }
    }

    /// Opens it, for longer than the last time when that was not long ago.
    pub fn open(&mut self, now: Instant, cause: Cause) {
        match self.state {
            // Requests begun before it opened fail too; they do not count again.
            State::Open { until, .. } if now < until => return,
            State::Closed { since } if since.is_none_or(|since| now >= since + self.pause * FORGIVEN_AFTER) => {
                self.pause = FIRST_PAUSE;
            }
            _ => self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE),
        }
        self.state = State::Open { until: now + self.pause, cause };
    }

    /// Whether it is tried after the longest pause there is.
    pub fn is_at_longest(&self, now: Instant) -> bool {
        self.state(now) == BreakerState::HalfOpen && self.pause >= LONGEST_PAUSE
    }

    /// A request succeeded. One begun before it opened does not close it, nor one whose time says nothing where it was slow.
    pub fn succeeded(&mut self, now: Instant, timed: bool) {
        let slow =
            matches!(self.state, State::Open { cause: Cause::Slow, .. } | State::Trial { cause: Cause::Slow, .. });
        if self.state(now) == BreakerState::HalfOpen && (timed || !slow) {
            self.state = State::Closed { since: Some(now) };
        }
    }

    /// It is known from elsewhere that requests do not fail any more: the pause, where they did, is over.
    pub fn end_pause(&mut self, now: Instant) {
        if let State::Open { cause: Cause::Failed, .. } = self.state {
            self.state = State::Open { until: now, cause: Cause::Failed };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_lets_one_trial_through_and_waits_twice_as_long_after_each_that_fails() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        assert!(breaker.admits(now));
        for pause in [1, 2, 4, 8] {
            breaker.open(now, Cause::Slow);
            breaker.open(now, Cause::Slow);
            let pause = Duration::from_secs(pause);
            assert_eq!(breaker.state(now + pause - Duration::from_millis(1)), BreakerState::Open);
            now += pause;
            assert_eq!(breaker.state(now), BreakerState::HalfOpen);
            assert!(breaker.admits(now));
            assert!(!breaker.admits(now), "one trial at a time");
        }
        assert!(breaker.admits(now + Duration::from_secs(8)), "a trial that was dropped is made up for");
        breaker.succeeded(now, true);
        assert_eq!(breaker.state(now), BreakerState::Closed);
        breaker.open(now, Cause::Slow);
        assert_eq!(breaker.state(now + Duration::from_secs(15)), BreakerState::Open, "not forgiven yet");
        for _ in 0..20 {
            now += LONGEST_PAUSE;
            assert!(breaker.admits(now), "never longer than the longest pause");
            breaker.open(now, Cause::Slow);
        }
        now += LONGEST_PAUSE;
        breaker.succeeded(now, true);
        now += LONGEST_PAUSE * FORGIVEN_AFTER;
        breaker.open(now, Cause::Failed);
        assert_eq!(breaker.state(now + FIRST_PAUSE), BreakerState::HalfOpen, "forgiven");
    }

    #[test]
    fn a_success_of_before_does_not_close_it_and_a_sign_of_life_ends_the_pause_of_a_failed_one_only() {
        let now = Instant::now();
        for (cause, after) in [(Cause::Failed, BreakerState::HalfOpen), (Cause::Slow, BreakerState::Open)] {
            let mut breaker = Breaker::default();
            breaker.open(now, cause);
            breaker.succeeded(now, true);
            assert_eq!(breaker.state(now), BreakerState::Open);
            breaker.end_pause(now);
            assert_eq!(breaker.state(now), after);
        }
    }
}
