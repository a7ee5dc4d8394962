//! Runs the deterministic simulation (docs/reliability.md).
//!
//! ```text
//! cargo run --release -p rsb-core --features testkit --example simulate -- --histories 100000 --seed 1
//! cargo run --release -p rsb-core --features testkit --example simulate -- --replay 4711 [--only 3,5,9]
//! ```
#![allow(clippy::disallowed_methods, reason = "how long it runs is real time")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that prints")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rsb_core::env::Flaw;
use rsb_core::testkit::sim::{Failure, History, Options as How, run, shrink};

const USAGE: &str = "simulate [--histories N] [--seconds S] [--seed FIRST] [--threads T] [--keep-going] | --flaws [--flaw NAME] [--histories MOST] | --replay SEED [--only STEP,STEP,…]";

/// What the command line asks for.
struct Options {
    histories: u64,
    seconds: Option<u64>,
    seed: u64,
    threads: usize,
    keep_going: bool,
    flaws: bool,
    /// Only this one.
    flaw: Option<String>,
    replay: Option<u64>,
    only: Option<BTreeSet<usize>>,
}

fn options() -> Result<Options, String> {
    let mut out = Options {
        histories: u64::MAX,
        seconds: None,
        seed: 1,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        keep_going: false,
        flaws: false,
        flaw: None,
        replay: None,
        only: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        if name == "--keep-going" {
            out.keep_going = true;
            continue;
        }
        if name == "--flaws" {
            out.flaws = true;
            continue;
        }
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|_| format!("{name} needs a number, not {value:?}"));
        match name.as_str() {
            "--histories" => out.histories = number()?,
            "--seconds" => out.seconds = Some(number()?),
            "--seed" => out.seed = number()?,
            "--threads" => out.threads = number()?.max(1) as usize,
            "--flaw" => (out.flaws, out.flaw) = (true, Some(value)),
            "--replay" => out.replay = Some(number()?),
            "--only" => {
                let steps =
                    value.split(',').map(|step| step.trim().parse().map_err(|_| format!("{step:?} is no step")));
                out.only = Some(steps.collect::<Result<_, _>>()?);
            }
            _ => return Err(format!("unknown option {name}")),
        }
    }
    if out.histories == u64::MAX && out.seconds.is_none() {
        out.histories = 1000;
    }
    Ok(out)
}

/// Runs one history and shows all of it.
fn replay(seed: u64, only: Option<&BTreeSet<usize>>) -> bool {
    let history = History::new(seed);
    println!("{:?}\nill at first: {:?}", history.layout, history.illness);
    let without = |at: usize| only.is_some_and(|only| !only.contains(&at));
    let outcome = run(&history, How { without: Some(&without), with_log: true, flaw: None });
    let (log, verdict) = match &outcome {
        Ok(report) => (
            &report.log,
            format!("all is well; {} calls, {} lives, trace {}", report.calls, report.lives, report.trace),
        ),
        Err(failure) => (&failure.log, format!("step {}: {}", failure.step, failure.what)),
    };
    print!("{log}");
    println!("seed {seed}: {verdict}");
    outcome.is_ok()
}

/// Shows a failure: the seed, the history without what is not needed, and the command that replays it.
fn report(seed: u64, failure: Failure) {
    let history = History::new(seed);
    let first = failure.what.clone();
    let (steps, failure) = shrink(&history, failure, None, 300);
    println!("seed {seed} FAILED: {first}");
    println!("  {:?}, ill at first: {:?}", history.layout, history.illness);
    for at in &steps {
        println!("  {at:3} {:?}", history.steps[*at]);
    }
    println!("  shows: step {}: {}", failure.step, failure.what);
    let only: Vec<String> = steps.iter().map(usize::to_string).collect();
    println!(
        "  replay: cargo run --release -p rsb-core --features testkit --example simulate -- --replay {seed} --only {}",
        only.join(",")
    );
}

/// Runs histories of seeds from the first on; gives how many were begun, and how many failed.
fn many(options: &Options) -> (u64, u64) {
    let (next, calls, failed, stop) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));
    let output = Mutex::new(());
    let begin = Instant::now();
    let is_late = || options.seconds.is_some_and(|seconds| begin.elapsed() >= Duration::from_secs(seconds));
    std::thread::scope(|scope| {
        for _ in 0..options.threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && !is_late() {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.histories {
                        return;
                    }
                    if number > 0 && number % 5_000 == 0 {
                        eprintln!("{number} histories in {} s", begin.elapsed().as_secs());
                    }
                    let seed = options.seed.wrapping_add(number);
                    match run(&History::new(seed), How::default()) {
                        Ok(report) => _ = calls.fetch_add(report.calls, Ordering::Relaxed),
                        Err(failure) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            let _one_at_a_time = output.lock();
                            report(seed, failure);
                            stop.store(!options.keep_going, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    (next.into_inner().min(options.histories), failed.into_inner())
}

/// Runs histories on an engine with each deliberate bug in turn, until one of at most so many fails. Whether all bugs are found.
fn flaws(options: &Options) -> bool {
    let mut all = true;
    let is_asked = |flaw: &Flaw| options.flaw.as_ref().is_none_or(|name| *name == format!("{flaw:?}"));
    for flaw in Flaw::ALL.into_iter().filter(is_asked) {
        let found = (0..options.histories).find_map(|number| {
            let seed = options.seed.wrapping_add(number);
            let failure = run(&History::new(seed), How { flaw: Some(flaw), ..How::default() }).err()?;
            Some((number + 1, seed, failure))
        });
        match found {
            Some((count, seed, failure)) => {
                println!(
                    "{flaw:?}: found by history {count} (seed {seed}): {}",
                    failure.what.chars().take(160).collect::<String>()
                );
            }
            None => {
                all = false;
                println!("{flaw:?}: NOT FOUND by {} histories", options.histories);
            }
        }
    }
    all
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let well = match options.replay {
        Some(seed) => replay(seed, options.only.as_ref()),
        None if options.flaws => flaws(&options),
        None => {
            let (ran, failed) = many(&options);
            println!("{ran} histories from seed {} on, {failed} failed", options.seed);
            failed == 0
        }
    };
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
