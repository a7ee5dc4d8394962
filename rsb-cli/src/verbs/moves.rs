//! `backend drain|replace|add|rebalance`, `rescheme`, `moves`.

use rsb_core::{Bill, Move, MovePlan, MoveRecord, MoveReport, MoveState, MoveTask, Pace, Progress, Scope, WorkRequest};
use serde_json::json;

use super::{depth, scope};
use crate::cli::{BackendVerb, MoveArgs, MovesVerb, PlanVerb};
use crate::config::units::parse_size;
use crate::door::Door;
use crate::failure::{DONE, Failure, SHORT};
use crate::human::{count, size};
use crate::out::Out;
use crate::progress::Watch;

pub async fn backend(out: &Out, door: &dyn Door, verb: &BackendVerb) -> Result<u8, Failure> {
    let (task, how) = match verb {
        BackendVerb::Ls => return Ok(DONE),
        BackendVerb::Add { name } => {
            let marked = door.add_backend(name).await?;
            out.say(&json!({ "backend": name, "marker_written": marked }), || match marked {
                true => format!("{name} is set up: its marker was written"),
                false => format!("{name} is set up already"),
            })?;
            return Ok(DONE);
        }
        BackendVerb::Drain { name, lost, how } => {
            (MoveTask::Drain { backend: name.clone(), to: None, lost: *lost }, how)
        }
        BackendVerb::Replace { old, new, lost, how } => {
            (MoveTask::Drain { backend: old.clone(), to: Some(new.clone()), lost: *lost }, how)
        }
        BackendVerb::Rebalance { how } => (MoveTask::Rebalance, how),
    };
    run(out, door, task, how).await
}

pub async fn rescheme(
    out: &Out,
    door: &dyn Door,
    scope: Scope,
    (data_shards, parity_shards): (usize, usize),
    how: &MoveArgs,
) -> Result<u8, Failure> {
    run(out, door, MoveTask::Rescheme { scope, data_shards, parity_shards }, how).await
}

async fn run(out: &Out, door: &dyn Door, task: MoveTask, how: &MoveArgs) -> Result<u8, Failure> {
    let rate = how.rate.as_deref().map(|text| {
        parse_size(text)
            .ok_or_else(|| Failure::usage(format!("--rate {text:?} is no size; write one such as \"20 MB\"")))
    });
    if !(1..=64).contains(&how.parallel) {
        return Err(Failure::usage("--parallel takes 1 to 64"));
    }
    let pace = Pace { bytes_per_second: rate.transpose()?, parallel: Some(how.parallel) };
    let order = Move { task, pace };
    let progress = Progress::new();
    if how.dry_run {
        let watch = Watch::start(out, "planning", progress.clone());
        let plan = door.plan_move(&order, &progress).await;
        drop(watch);
        let plan = plan?;
        out.say(&plan, || plan_text(&plan))?;
        return Ok(if plan.stuck == 0 { DONE } else { SHORT });
    }
    let watch = Watch::start(out, "moving", progress.clone());
    let report = door.run_move(&order, &progress).await;
    drop(watch);
    let report = report?;
    out.say(&report, || report_text(&report))?;
    let proven = report.proof.as_ref().is_none_or(|proof| proof.holds_nothing_live);
    Ok(if report.failures == 0 && proven { DONE } else { SHORT })
}

/// `plan`, of all but a repair.
pub async fn plan(out: &Out, door: &dyn Door, verb: &PlanVerb) -> Result<u8, Failure> {
    let task = match verb {
        PlanVerb::Repair(_) => return Ok(DONE),
        PlanVerb::Get(of) => return work(out, door, WorkRequest::Get(scope(of.place.as_deref())?)).await,
        PlanVerb::Store(of) => return work(out, door, WorkRequest::Store(scope(of.place.as_deref())?)).await,
        PlanVerb::Check(check) => {
            let request = WorkRequest::Check { scope: scope(check.place.as_deref())?, depth: depth(check) };
            return work(out, door, request).await;
        }
        PlanVerb::Drain { name } => MoveTask::Drain { backend: name.clone(), to: None, lost: false },
        PlanVerb::Replace { old, new } => MoveTask::Drain { backend: old.clone(), to: Some(new.clone()), lost: false },
        PlanVerb::Rebalance => MoveTask::Rebalance,
        PlanVerb::Rescheme { of, data_shards, parity_shards } => MoveTask::Rescheme {
            scope: scope(of.place.as_deref())?,
            data_shards: *data_shards,
            parity_shards: *parity_shards,
        },
    };
    run(out, door, task, &MoveArgs { dry_run: true, rate: None, parallel: 4 }).await
}

async fn work(out: &Out, door: &dyn Door, request: WorkRequest) -> Result<u8, Failure> {
    let plan = door.plan_work(&request).await?;
    out.say(&plan, || {
        let what = format!(
            "{} of {}, {} on the backends",
            count(plan.versions, "version"),
            size(plan.object_bytes),
            size(plan.stored_bytes)
        );
        match request {
            WorkRequest::Store(_) => format!("{what}: {:.4} a month", plan.bill.price_per_month),
            _ => format!(
                "{what}: {} read in {}, {}, price {:.4}; about {} s",
                size(plan.bill.read_bytes),
                count(plan.bill.read_requests, "request"),
                count(plan.bill.write_requests, "listing"),
                plan.bill.price,
                plan.seconds
            ),
        }
    })?;
    Ok(DONE)
}

fn bill_text(bill: &Bill) -> String {
    format!(
        "{} read in {}, {} written in {}, price {:.4}, and {:+.4} a month",
        size(bill.read_bytes),
        count(bill.read_requests, "request"),
        size(bill.written_bytes),
        count(bill.write_requests, "request"),
        bill.price,
        bill.price_per_month
    )
}

fn copies(count: u64) -> String {
    if count == 1 { "1 manifest copy".into() } else { format!("{count} manifest copies") }
}

pub fn plan_text(plan: &MovePlan) -> String {
    let mut text = format!(
        "{} and {} to write for {}, {} of them rebuilt from others: {}; about {} s",
        count(plan.shards, "shard"),
        copies(plan.copies),
        count(plan.versions, "version"),
        plan.rebuilt,
        bill_text(&plan.bill),
        plan.seconds
    );
    if plan.stuck > 0 {
        text += &format!(
            "\n{} nowhere to go now:",
            if plan.stuck == 1 { "1 has".into() } else { format!("{} have", plan.stuck) }
        );
        plan.stuck_examples.iter().for_each(|stuck| text += &format!("\n  {stuck}"));
    }
    text
}

fn report_text(report: &MoveReport) -> String {
    let mut text = format!(
        "{} and {} written and read back, {} of them rebuilt from others\n{} described anew, {} removed\nplanned: {}; about {} s\nactual:  {}; {} s",
        count(report.shards, "shard"),
        copies(report.copies),
        report.rebuilt,
        count(report.versions, "version"),
        count(report.removed, "file"),
        bill_text(&report.plan.bill),
        report.plan.seconds,
        bill_text(&report.actual),
        report.seconds,
    );
    if report.failures > 0 {
        text += &format!("\n{} could not be done; the same command goes on:", report.failures);
        report.failed.iter().for_each(|failed| text += &format!("\n  {failed}"));
    }
    let Some(proof) = &report.proof else { return text };
    text += &match (proof.holds_nothing_live, proof.listed) {
        (true, true) => format!(
            "\n{} holds nothing live, by the catalog and by its own listing: take it out of the config",
            proof.backend
        ),
        (true, false) => format!(
            "\nnothing counts on {} any more, by the catalog; it does not answer, so what it may still hold was not looked at. Take it out of the config",
            proof.backend
        ),
        (false, _) => format!(
            "\n{} still has {} and {} that count, {} of the ledger about it: leave it where it is",
            proof.backend,
            count(proof.live_shards, "shard"),
            copies(proof.live_copies),
            count(proof.ledger, "line"),
        ),
    };
    if proof.garbage > 0 {
        text += &format!(
            "\n{} of garbage on it, {}: `rsb sweep` removes them when they are older than the grace time",
            count(proof.garbage, "file"),
            size(proof.garbage_bytes)
        );
    }
    if proof.foreign > 0 {
        text += &format!("\n{} on it that are not RSBackup's", count(proof.foreign, "file"));
    }
    text
}

pub async fn moves(out: &Out, door: &dyn Door, verb: Option<&MovesVerb>) -> Result<u8, Failure> {
    match verb {
        None | Some(MovesVerb::Ls) => {
            for record in door.moves().await? {
                out.say(&record, || record_text(&record))?;
            }
        }
        Some(MovesVerb::Pause { id }) => {
            let record = door.pause_move(id, true).await?;
            out.say(&record, || record_text(&record))?;
        }
        Some(MovesVerb::Resume { id }) => {
            let record = door.pause_move(id, false).await?;
            out.say(&record, || record_text(&record))?;
        }
        Some(MovesVerb::Cancel { id }) => {
            let record = door.cancel_move(id).await?;
            out.say(&record, || format!("given up: {}", record_text(&record)))?;
        }
    }
    Ok(DONE)
}

fn record_text(record: &MoveRecord) -> String {
    let what = match &record.order.task {
        MoveTask::Drain { backend, to: Some(to), .. } => format!("replace {backend} by {to}"),
        MoveTask::Drain { backend, .. } => format!("drain {backend}"),
        MoveTask::Rebalance => "rebalance".into(),
        MoveTask::Rescheme { scope, data_shards, parity_shards } => {
            let place = scope.bucket.as_ref().map_or("everything".to_owned(), |b| format!("{b}/{}", scope.prefix));
            format!("rescheme {place} to {data_shards}+{parity_shards}")
        }
    };
    let state = match record.state {
        MoveState::Running => "to be gone on with",
        MoveState::Paused => "waits",
        MoveState::Done => "done",
    };
    let report = &record.report;
    format!(
        "{}  {what}: {state}; {} of {} shards, {} of {} copies",
        record.id, report.shards, report.plan.shards, report.copies, report.plan.copies
    )
}
