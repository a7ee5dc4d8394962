//! `check`, `repair`, `plan`, `drill`, `backend ls`, `catalog`, `sweep`, `ledger`.

use rsb_core::health::{BreakerState, Op};
use rsb_core::{
    BackendStatus, CheckReport, CheckRequest, ObjectHealth, Progress, RepairPlan, RepairReport, Role, SweepReport,
    SweepRequest,
};

use super::{depth, scope};
use crate::cli::{CatalogVerb, Check};
use crate::door::Door;
use crate::failure::{DONE, FAILED, Failure, SHORT, UNREADABLE};
use crate::human::{count, size};
use crate::out::Out;
use crate::progress::Watch;

fn code_of(report: &CheckReport) -> u8 {
    match (report.unreadable, report.degraded) {
        (1.., _) => UNREADABLE,
        (0, 1..) => SHORT,
        (0, 0) => DONE,
    }
}

pub async fn check(out: &Out, door: &dyn Door, args: &Check) -> Result<u8, Failure> {
    let request = CheckRequest { scope: scope(args.place.as_deref())?, depth: depth(args) };
    let progress = Progress::new();
    let watch = Watch::start(out, "checking", progress.clone());
    let report = door.check(&request, &progress).await;
    drop(watch);
    let report = report?;
    out.say(&report, || check_text(&report))?;
    Ok(code_of(&report))
}

fn check_text(report: &CheckReport) -> String {
    let mut text = format!(
        "{}: {} fully redundant, {} readable with redundancy short, {} unreadable",
        count(report.objects, "object"),
        report.whole,
        report.degraded,
        report.unreadable
    );
    // They are counted where they are short, and are no objects.
    let others = (report.whole + report.degraded + report.unreadable).saturating_sub(report.objects);
    if others > 0 {
        text += &format!("; {} of buckets or deletions among what is short", count(others, "record"));
    }
    if !report.unreachable.is_empty() {
        text += &format!("\nnot reached: {}", report.unreachable.join(", "));
    }
    for health in &report.damaged {
        text += &format!("\n{}/{}: margin {} of {}", health.bucket, health.key, health.margin, health.full_margin);
        for f in &health.findings {
            let what = f.segment.map_or("manifest copy".to_owned(), |s| format!("segment {s}, shard"));
            text += &format!("\n  {}: {what} {}: {}", f.backend, f.index, f.detail);
        }
    }
    text
}

pub async fn plan_repair(out: &Out, door: &dyn Door, args: &Check) -> Result<u8, Failure> {
    let progress = Progress::new();
    let watch = Watch::start(out, "planning", progress.clone());
    let plan = door.plan_repair(&scope(args.place.as_deref())?, depth(args), &progress).await;
    drop(watch);
    let plan = plan?;
    out.say(&plan, || plan_text(&plan))?;
    Ok(match lost(&plan.unrepairable) {
        true => UNREADABLE,
        false if plan.items.is_empty() && plan.unrepairable.is_empty() => DONE,
        false => SHORT,
    })
}

fn plan_text(plan: &RepairPlan) -> String {
    let mut text = format!(
        "{} to rebuild: {} to read in {}, {} to write in {}, price {:.4}; {} cannot be made whole now",
        count(plan.items.len() as u64, "thing"),
        size(plan.read_bytes),
        count(plan.read_requests, "request"),
        size(plan.write_bytes),
        count(plan.write_requests, "request"),
        plan.price,
        count(plan.unrepairable.len() as u64, "object"),
    );
    plan.unrepairable.iter().for_each(|health| text += &not_whole(health));
    text
}

fn not_whole(health: &ObjectHealth) -> String {
    format!("\n{}/{} is not whole: margin {}", health.bucket, health.key, health.margin)
}

/// Whether one of these cannot even be read.
fn lost(unrepairable: &[ObjectHealth]) -> bool {
    unrepairable.iter().any(|health| !health.is_readable())
}

pub async fn repair(out: &Out, door: &dyn Door, args: &Check) -> Result<u8, Failure> {
    let progress = Progress::new();
    let watch = Watch::start(out, "repairing", progress.clone());
    let report = door.repair(&scope(args.place.as_deref())?, depth(args), &progress).await;
    drop(watch);
    let report = report?;
    out.say(&report, || repair_text(&report))?;
    Ok(match lost(&report.unrepairable) {
        true => UNREADABLE,
        false if report.failed.is_empty() && report.unrepairable.is_empty() => DONE,
        false => SHORT,
    })
}

fn repair_text(report: &RepairReport) -> String {
    let mut text = format!(
        "{} and {} rebuilt and read back",
        count(report.shards_rebuilt, "shard"),
        match report.copies_rebuilt {
            1 => "1 manifest copy".to_owned(),
            copies => format!("{copies} manifest copies"),
        }
    );
    report.markers_restored.iter().for_each(|name| text += &format!("\n{name} has its marker again"));
    report.failed.iter().for_each(|failed| text += &format!("\nfailed: {failed}"));
    report.unrepairable.iter().for_each(|health| text += &not_whole(health));
    text
}

pub async fn backends(out: &Out, door: &dyn Door) -> Result<u8, Failure> {
    let status = door.status().await?;
    for backend in &status.backends {
        out.say(backend, || {
            let labels: Vec<String> = backend.domain.iter().map(|(label, value)| format!("{label}={value}")).collect();
            let (name, role) = (&backend.name, role_word(backend.role));
            format!("{name:<20}  {role:<9}  {:<24}  {}", labels.join(","), how(backend))
        })?;
    }
    Ok(if status.backends.iter().all(|b| b.reachable) { DONE } else { SHORT })
}

/// How a backend is, in one line.
fn how(backend: &BackendStatus) -> String {
    let health = &backend.health;
    let mut how = vec![match &backend.error {
        Some(error) => error.clone(),
        None if backend.reachable => "good".into(),
        None => "away".into(),
    }];
    let breakers = [("reading", health.read_breaker), ("writing", health.write_breaker)];
    how.extend(breakers.into_iter().filter_map(|(side, state)| match state {
        BreakerState::Closed => None,
        BreakerState::Open => Some(format!("{side} it is avoided")),
        BreakerState::HalfOpen => Some(format!("{side} it is tried again")),
    }));
    let quick = |op: Op| health.times.get(&op).filter(|times| times.samples > 0);
    let times = [("reads", Op::Read), ("writes", Op::SmallWrite), ("large writes", Op::LargeWrite)];
    how.extend(times.into_iter().filter_map(|(word, op)| {
        quick(op).map(|t| format!("{word} {:.0}/{:.0}/{:.0} ms", t.p50_ms, t.p95_ms, t.p99_ms))
    }));
    let errors: Vec<String> = health.errors.iter().map(|(class, n)| format!("{n} {}", class.as_str())).collect();
    if !errors.is_empty() {
        how.push(format!("failures: {}", errors.join(", ")));
    }
    if let Some(since) = backend.oldest_verified_ms {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(since);
        how.push(format!("verified since {}", humantime::format_rfc3339_seconds(time)));
    }
    how.join("; ")
}

fn role_word(role: Role) -> &'static str {
    match role {
        Role::Active => "active",
        Role::Draining => "draining",
        Role::ReadOnly => "read-only",
        Role::Spare => "spare",
    }
}

pub async fn catalog(out: &Out, door: &dyn Door, verb: &CatalogVerb) -> Result<u8, Failure> {
    let progress = Progress::new();
    match verb {
        CatalogVerb::Rebuild => {
            let watch = Watch::start(out, "rebuilding", progress.clone());
            let report = door.rebuild_catalog(&progress).await;
            drop(watch);
            let report = report?;
            out.say(&report, || {
                format!(
                    "{} read, {} in {}, {} adopted, {} garbage",
                    count(report.records, "record"),
                    count(report.versions, "version"),
                    count(report.buckets, "bucket"),
                    report.adopted,
                    report.garbage
                )
            })?;
            Ok(if report.certain && report.unreachable.is_empty() { DONE } else { SHORT })
        }
        CatalogVerb::Verify => {
            let watch = Watch::start(out, "comparing", progress.clone());
            let report = door.verify_catalog(&progress).await;
            drop(watch);
            let report = report?;
            out.say(&report, || {
                let differences = count(report.differences.len() as u64, "difference");
                let mut text = format!("{} compared, {differences}", count(report.versions, "version"));
                report.differences.iter().for_each(|d| text += &format!("\n{d}"));
                text
            })?;
            Ok(match (report.differences.is_empty(), report.unreachable.is_empty()) {
                (false, _) => FAILED,
                (true, false) => SHORT,
                (true, true) => DONE,
            })
        }
    }
}

pub async fn sweep(out: &Out, door: &dyn Door, dry_run: bool) -> Result<u8, Failure> {
    let progress = Progress::new();
    let watch = Watch::start(out, "sweeping", progress.clone());
    let report = door.sweep(SweepRequest { dry_run }, &progress).await;
    drop(watch);
    let report = report?;
    out.say(&report, || sweep_text(&report, dry_run))?;
    Ok(if report.unreachable.is_empty() && !report.undecided { DONE } else { SHORT })
}

fn sweep_text(report: &SweepReport, dry_run: bool) -> String {
    let rules = &report.lifecycle;
    let ended = rules.expired + rules.noncurrent + rules.markers + rules.uploads;
    let garbage = garbage_text(report, dry_run);
    let what = if dry_run { "would be ended" } else { "ended" };
    let mut lines = Vec::new();
    if ended > 0 {
        lines.push(format!("{} {what} by lifecycle rules", count(ended, "version")));
    }
    lines.extend(rules.failed.iter().map(|failed| format!("a lifecycle rule could not be followed: {failed}")));
    lines.push(garbage);
    lines.join("\n")
}

fn garbage_text(report: &SweepReport, dry_run: bool) -> String {
    if !report.unreachable.is_empty() {
        return format!("nothing was removed: {} cannot be reached", report.unreachable.join(", "));
    }
    if report.undecided {
        return "nothing was removed: of some records too few copies or shards are there, and what they replaced is kept; see that the backends have room, run `rsb repair`, then sweep again".into();
    }
    let misplaced = match report.misplaced {
        0 => String::new(),
        n => format!("; {} not where named, kept: run `rsb repair`", count(n, "shard")),
    };
    format!(
        "{}, {} and {} {}, {}; {} of garbage kept for the grace time{misplaced}",
        count(report.shards_removed, "shard"),
        count(report.batches_removed, "manifest file"),
        count(report.tombstones_dropped, "tombstone"),
        if dry_run { "would be removed" } else { "removed" },
        size(report.bytes_removed),
        count(report.too_young, "file"),
    )
}

pub async fn ledger(out: &Out, door: &dyn Door) -> Result<u8, Failure> {
    let mut after = None;
    let mut code = DONE;
    loop {
        let page = door.ledger(after).await?;
        for line in &page.items {
            code = SHORT;
            out.say(line, || {
                format!("{}/{} on {}: {:?} ({:?})", line.bucket, line.key, line.backend, line.reason, line.item)
            })?;
        }
        after = page.next;
        if after.is_none() || out.is_closed() {
            return Ok(code);
        }
    }
}
