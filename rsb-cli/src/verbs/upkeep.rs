//! `check`, `repair`, `drill`, `backend ls`, `catalog`, `sweep`, `ledger`.

use rsb_core::{CheckReport, CheckRequest, Engine, Progress, SweepRequest};

use super::{depth, say, scope};
use crate::cli::{CatalogVerb, Check, Cli};
use crate::failure::{DONE, Failure, SHORT, UNREADABLE};

fn code_of(report: &CheckReport) -> u8 {
    match (report.unreadable, report.degraded) {
        (1.., _) => UNREADABLE,
        (0, 1..) => SHORT,
        (0, 0) => DONE,
    }
}

pub async fn check(cli: &Cli, engine: &Engine, args: &Check) -> Result<u8, Failure> {
    let request = CheckRequest { scope: scope(args.place.as_deref()), depth: depth(args) };
    let report = engine.check(&request, &Progress::default()).await?;
    say(cli, &report, || text_of(&report))?;
    Ok(code_of(&report))
}

fn text_of(report: &CheckReport) -> String {
    let mut out = format!(
        "{} objects: {} fully redundant, {} readable with redundancy short, {} unreadable",
        report.objects, report.whole, report.degraded, report.unreadable
    );
    for health in &report.damaged {
        out += &format!("\n{}/{}: margin {} of {}", health.bucket, health.key, health.margin, health.full_margin);
        for f in &health.findings {
            let what = f.segment.map_or("manifest copy".to_owned(), |s| format!("segment {s}, shard"));
            out += &format!("\n  {}: {what} {}: {}", f.backend, f.index, f.detail);
        }
    }
    out
}

pub async fn repair(cli: &Cli, engine: &Engine, args: &Check, dry_run: bool) -> Result<u8, Failure> {
    let scope = scope(args.place.as_deref());
    let plan = engine.plan_repair(&scope, depth(args), &Progress::default()).await?;
    if dry_run {
        say(cli, &plan, || {
            format!(
                "{} things to rebuild: {} bytes to read in {} requests, {} bytes to write in {} requests, price {:.4}; {} objects cannot be made whole now",
                plan.items.len(),
                plan.read_bytes,
                plan.read_requests,
                plan.write_bytes,
                plan.write_requests,
                plan.price,
                plan.unrepairable.len()
            )
        })?;
        return Ok(if plan.items.is_empty() && plan.unrepairable.is_empty() { DONE } else { SHORT });
    }
    let report = engine.repair(&plan, &Progress::default()).await?;
    say(cli, &report, || {
        let mut out = format!(
            "{} shards and {} manifest copies rebuilt and read back",
            report.shards_rebuilt, report.copies_rebuilt
        );
        for failed in &report.failed {
            out += &format!("\nfailed: {failed}");
        }
        for health in &report.unrepairable {
            out += &format!("\n{}/{} is not whole: margin {}", health.bucket, health.key, health.margin);
        }
        out
    })?;
    Ok(match report.unrepairable.iter().any(|h| !h.is_readable()) {
        true => UNREADABLE,
        false if report.failed.is_empty() && report.unrepairable.is_empty() => DONE,
        false => SHORT,
    })
}

pub async fn drill(cli: &Cli, engine: &Engine, domain: Option<&str>) -> Result<u8, Failure> {
    let report = engine.drill(domain, &Progress::default()).await?;
    let mut code = DONE;
    for domain in &report.domains {
        if !domain.unreadable.is_empty() {
            code = UNREADABLE;
        }
        say(cli, domain, || {
            format!("without {}: {} objects decode, {} do not", domain.domain, domain.readable, domain.unreadable.len())
        })?;
    }
    Ok(code)
}

pub async fn backends(cli: &Cli, engine: &Engine) -> Result<u8, Failure> {
    let status = engine.status().await?;
    for backend in &status.backends {
        say(cli, backend, || {
            let how =
                backend.error.clone().unwrap_or_else(|| if backend.reachable { "good".into() } else { "away".into() });
            format!("{:<20} {how}", backend.name)
        })?;
    }
    Ok(if status.backends.iter().all(|b| b.reachable) { DONE } else { SHORT })
}

pub async fn catalog(cli: &Cli, engine: &Engine, verb: &CatalogVerb) -> Result<u8, Failure> {
    match verb {
        CatalogVerb::Rebuild => {
            let report = engine.rebuild_catalog(&Progress::default()).await?;
            say(cli, &report, || {
                format!(
                    "{} records read, {} versions in {} buckets, {} adopted, {} garbage",
                    report.records, report.versions, report.buckets, report.adopted, report.garbage
                )
            })?;
            Ok(if report.certain && report.unreachable.is_empty() { DONE } else { SHORT })
        }
        CatalogVerb::Verify => {
            let report = engine.verify_catalog(&Progress::default()).await?;
            say(cli, &report, || {
                let mut out =
                    format!("{} versions compared, {} differences", report.versions, report.differences.len());
                report.differences.iter().for_each(|d| out += &format!("\n{d}"));
                out
            })?;
            Ok(if report.differences.is_empty() { DONE } else { crate::failure::FAILED })
        }
    }
}

pub async fn sweep(cli: &Cli, engine: &Engine, dry_run: bool) -> Result<u8, Failure> {
    let report = engine.sweep(SweepRequest { dry_run }, &Progress::default()).await?;
    say(cli, &report, || {
        if !report.unreachable.is_empty() {
            return format!("nothing was removed: {} cannot be reached", report.unreachable.join(", "));
        }
        format!(
            "{} shards, {} manifest files and {} tombstones removed, {} bytes",
            report.shards_removed, report.batches_removed, report.tombstones_dropped, report.bytes_removed
        )
    })?;
    Ok(if report.unreachable.is_empty() { DONE } else { SHORT })
}

pub async fn ledger(cli: &Cli, engine: &Engine) -> Result<u8, Failure> {
    let mut after = None;
    let mut code = DONE;
    loop {
        let page = engine.ledger(after.as_ref(), 1000).await?;
        let Some(last) = page.last() else { return Ok(code) };
        after = Some(last.item.clone());
        code = SHORT;
        for line in &page {
            say(cli, line, || {
                format!("{}/{} on {}: {:?} ({:?})", line.bucket, line.key, line.backend, line.reason, line.item)
            })?;
        }
    }
}
