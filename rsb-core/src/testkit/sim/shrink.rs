//! Makes a history that fails smaller: steps are left out, first many at once, then one by one, as long as it still fails.

use std::collections::BTreeSet;

use super::history::History;
use super::run::{Failure, Options, run};
use crate::env::Flaw;

/// The steps that are needed for the failure, and the failure that they show. At most `runs` runs.
pub fn shrink(history: &History, failure: Failure, flaw: Option<Flaw>, runs: usize) -> (BTreeSet<usize>, Failure) {
    let mut kept: BTreeSet<usize> = (0..history.steps.len().min(failure.step + 1)).collect();
    let mut last = failure;
    let mut left = runs;
    let fails = |kept: &BTreeSet<usize>| {
        let without = |at: usize| !kept.contains(&at);
        run(history, Options { without: Some(&without), with_log: false, flaw }).err()
    };
    match fails(&kept) {
        Some(failure) => last = failure,
        None => kept = (0..history.steps.len()).collect(),
    }
    let mut size = kept.len().div_ceil(2);
    while size > 0 && left > 0 {
        let mut smaller = false;
        for part in kept.iter().copied().collect::<Vec<_>>().chunks(size) {
            let without: BTreeSet<usize> = kept.iter().copied().filter(|at| !part.contains(at)).collect();
            left = left.saturating_sub(1);
            if let Some(failure) = fails(&without) {
                (kept, last, smaller) = (without, failure, true);
            }
            if left == 0 {
                break;
            }
        }
        if size == 1 && !smaller {
            break;
        }
        size = if smaller { size.min(kept.len()).max(1) } else { size / 2 };
    }
    (kept, last)
}
