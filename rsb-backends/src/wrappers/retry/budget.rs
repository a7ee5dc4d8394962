//! How many retries a backend may still take.

use std::sync::atomic::{AtomicU32, Ordering};

/// Parts of a token that one success gives back: ten successes pay for one retry.
const PER_SUCCESS: u32 = 1;
/// Parts of a token that a retry takes.
const PER_RETRY: u32 = 10;

/// Tokens, in tenths.
#[derive(Debug)]
pub(super) struct Budget {
    tenths: AtomicU32,
    most: u32,
}

impl Budget {
    /// A full budget of `retries`.
    pub(super) fn new(retries: u32) -> Self {
        let most = retries.saturating_mul(PER_RETRY);
        Self { tenths: AtomicU32::new(most), most }
    }

    /// Takes one retry; `false` when there is none left.
    pub(super) fn take(&self) -> bool {
        self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |have| have.checked_sub(PER_RETRY)).is_ok()
    }

    /// An operation succeeded.
    pub(super) fn success(&self) {
        let more = |have: u32| (have < self.most).then(|| (have + PER_SUCCESS).min(self.most));
        // An error only says that the budget is full.
        let _ = self.tenths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_drains_and_successes_fill_it_again_but_never_over_the_brim() {
        let budget = Budget::new(2);
        budget.success();
        assert!(budget.take() && budget.take() && !budget.take());
        (0..9).for_each(|_| budget.success());
        assert!(!budget.take());
        budget.success();
        assert!(budget.take() && !budget.take());
    }
}
