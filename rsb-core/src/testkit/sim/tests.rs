use super::*;

/// One seed twice is one history: the same calls in the same order at the same times.
#[test]
fn a_seed_is_one_history() {
    for seed in 1..=12 {
        let once = run(&History::new(seed), &|_| true, false);
        let twice = run(&History::new(seed), &|_| true, false);
        let trace = |outcome: Result<Report, Failure>| outcome.map(|report| report.trace).unwrap_or_else(|f| f.what);
        assert_eq!(trace(once), trace(twice), "seed {seed}");
    }
}
