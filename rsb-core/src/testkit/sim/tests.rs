use super::*;
use crate::env::Flaw;

fn outcome(seed: u64) -> String {
    match run(&History::new(seed), Options::default()) {
        Ok(report) => report.trace,
        Err(failure) => failure.what,
    }
}

/// One seed twice is one history: the same calls in the same order at the same times, whatever ran before.
#[test]
fn a_seed_is_one_history() {
    for seed in 1..=12 {
        let first = outcome(seed);
        // The order in which a runtime ends its tasks depends on their numbers, which go on from one runtime to the next.
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        other.block_on(async { tokio::spawn(async {}).await.unwrap() });
        assert_eq!(first, outcome(seed), "seed {seed}");
    }
    assert_ne!(outcome(1), outcome(2));
}

/// A failure is made smaller, and still fails.
#[test]
fn a_failure_shrinks() {
    let flaw = Some(Flaw::TrustsBlocks);
    let failing = (1..200).map(History::new).find_map(|history| {
        let failure = run(&history, Options { flaw, ..Options::default() }).err()?;
        Some((history, failure))
    });
    let (history, failure) = failing.unwrap();
    let (steps, _) = shrink(&history, failure, flaw, 60);
    assert!(steps.len() < history.steps.len());
    let without = |at: usize| !steps.contains(&at);
    run(&history, Options { without: Some(&without), with_log: false, flaw }).unwrap_err();
}
