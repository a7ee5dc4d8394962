use super::history::{Condition, End, Illness, Layout, Op, Step};
use super::world::Fault;
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

/// A small object of which a copy could not be written is repaired, and the power goes: that copy is one of the two that are
/// needed when the backends of two others go away.
#[test]
fn what_was_repaired_outlives_a_power_cut() {
    let put = Op::Put { key: 0, len: 90, condition: Condition::None, other_scheme: false };
    let get = Op::Get { key: 0, range: None };
    let steps = vec![
        Step::Fault { which: 0, fault: Fault::Full },
        Step::Ops(vec![(0, put)]),
        Step::Tend { next: Illness { ill: vec![2, 3], storm: false } },
        Step::Restart { end: End::PowerCut },
        Step::Fault { which: 0, fault: Fault::Away },
        Step::Fault { which: 1, fault: Fault::Away },
        Step::Ops(vec![(0, get)]),
    ];
    let layout = Layout {
        scheme: (2, 2),
        others: Vec::new(),
        backends: 4,
        domain_size: 1,
        ack_margin: None,
        novelpoly: false,
        spare: false,
        heals: false,
        scrubs: false,
    };
    for seed in 0..32 {
        let illness = Illness { ill: vec![0], storm: false };
        let history = History { seed, layout: layout.clone(), illness, steps: steps.clone() };
        if let Err(failure) = run(&history, Options::default()) {
            panic!("seed {seed}, step {}: {}", failure.step, failure.what);
        }
    }
}
