//! Moves: shards and manifest copies go to other backends, or are coded anew. What is left to do is read from the catalog's
//! manifests at every start, so a kill at any moment costs the work of a minute and nothing else.
//!
//! A shard is read (every block verified) or rebuilt from others, written to its new place, read back, and then named by
//! the next revision of every manifest that points at it. A manifest copy is written anew with its own number. What lay at
//! the old place is removed when nobody reads it, or by the sweep.
//!
//! Order to read: [`bill`] and [`throttle`] (what it costs), [`journal`] (what the catalog remembers), [`shards`],
//! [`segments`], [`parts`], [`copies`] (one of each is moved), [`drain`], [`balance`], [`recode`] (which, and whereto),
//! [`plan`].

mod balance;
mod bill;
mod copies;
mod drain;
mod journal;
mod parts;
mod plan;
mod recode;
mod segments;
mod shards;
mod target;
mod throttle;
mod work;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;

pub(crate) use self::bill::Meter;
pub(crate) use self::copies::before_overwriting;
pub(crate) use self::journal::{JOURNAL, apply, cancel, list, pause};
pub(crate) use self::plan::{check, plan};
use self::throttle::Throttle;
pub(crate) use self::work::plan_work;
use crate::api::{Move, MoveReport, MoveState, MoveTask, Progress};
use crate::core::{Core, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::id::DataId;
use crate::write::commit::Committer;

/// Failures told of; the others are counted.
const EXAMPLES: usize = 100;
/// Shards moved at once unless the caller says otherwise, and at most.
const PARALLEL: usize = 4;
const MOST_PARALLEL: usize = 64;
/// Revisions written at once: they share batches.
const REVISIONS: usize = 64;
/// Segments, and bytes of shards, that are moved before their manifests are revised.
const CHUNK: usize = 32;
const CHUNK_BYTES: u64 = 128 << 20;

/// One move being carried out.
pub(crate) struct Mover<'a> {
    core: &'a Arc<Core>,
    committer: &'a Committer,
    progress: &'a Progress,
    throttle: Throttle,
    parallel: usize,
    meter: Meter,
    report: Mutex<MoveReport>,
    /// Shards that this process has brought to a backend, and read back there.
    brought: Mutex<HashSet<(DataId, usize, String)>>,
}

impl Mover<'_> {
    fn note(&self, note: impl FnOnce(&mut MoveReport)) {
        note(&mut lock(&self.report));
    }

    /// Something could not be done; the rest goes on.
    fn failed(&self, sentence: String) {
        tracing::warn!("a move could not do something: {sentence}");
        self.note(|report| {
            report.failures += 1;
            if report.failed.len() < EXAMPLES {
                report.failed.push(sentence);
            }
        });
    }
}

/// Carries a move out, or goes on with it where it was begun before.
pub(crate) async fn run(
    core: &Arc<Core>,
    committer: &Committer,
    order: &Move,
    progress: &Progress,
) -> Result<MoveReport> {
    core.check_writable()?;
    let _mover = core.mover.try_lock().map_err(|_| {
        Error::new(ErrorKind::Conflict, "another move is running; wait for it to end, or cancel it: one runs at a time")
    })?;
    let plan = plan(core, order, progress).await?;
    // Started again, one that was told to wait goes on, unless it is to wait from the start.
    let state = if progress.is_paused() { MoveState::Paused } else { MoveState::Running };
    let begun = journal::begin(core, order, &plan, state).await?;
    progress.set_total(plan.shards + plan.copies, plan.bill.read_bytes + plan.bill.written_bytes);
    let before = MoveReport { failed: Vec::new(), failures: 0, proof: None, ..begun.report };
    let mover = Mover {
        core,
        committer,
        progress,
        throttle: Throttle::new(order.pace.bytes_per_second),
        parallel: order.pace.parallel.unwrap_or(PARALLEL).clamp(1, MOST_PARALLEL),
        meter: Meter::of(core, &before.actual),
        report: Mutex::new(before),
        brought: Mutex::default(),
    };
    let start = Instant::now();
    let result = match &order.task {
        MoveTask::Drain { backend, to, lost } => drain::run(&mover, backend, to.as_deref(), *lost).await,
        MoveTask::Rebalance => balance::run(&mover).await,
        MoveTask::Rescheme { scope, data_shards, parity_shards } => {
            recode::run(&mover, scope, *data_shards, *parity_shards).await
        }
    };
    let mut report = lock(&mover.report).clone();
    report.actual = mover.meter.bill(core);
    report.seconds += start.elapsed().as_secs();
    journal::end(core, &begun.id, &report, result.is_ok() && report.failures == 0).await?;
    result?;
    Ok(report)
}
