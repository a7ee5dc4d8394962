//! A bound on bytes in a second: who wants to move some waits for its turn.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::api::Progress;
use crate::core::lock;
use crate::error::Result;

/// How often one who waits looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// Hands out turns.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Option<u64>,
    next: Mutex<Option<Instant>>,
}

impl Throttle {
    /// At most `rate` bytes in a second; as many as come when absent.
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), next: Mutex::default() }
    }

    /// Waits until `bytes` more may go; an error when the end was asked for meanwhile.
    pub async fn take(&self, bytes: u64, progress: &Progress) -> Result<()> {
        let Some(rate) = self.rate else { return Ok(()) };
        let turn = {
            let mut next = lock(&self.next);
            let turn = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(turn + Duration::from_secs_f64(bytes as f64 / rate as f64));
            turn
        };
        while Instant::now() < turn {
            progress.check()?;
            tokio::time::sleep_until(turn.min(Instant::now() + LOOK)).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_wait_for_their_turn() {
        let (start, progress) = (Instant::now(), Progress::default());
        let throttle = Throttle::new(Some(1000));
        for _ in 0..5 {
            throttle.take(500, &progress).await.unwrap();
        }
        // The first goes at once, the last after the four before it.
        assert_eq!(start.elapsed().as_millis(), 2000);
        let free = Throttle::new(None);
        free.take(u64::MAX, &progress).await.unwrap();
        assert_eq!(start.elapsed().as_millis(), 2000);
        progress.cancel();
        assert!(throttle.take(500, &progress).await.is_err(), "nobody waits who is to end");
    }
}
