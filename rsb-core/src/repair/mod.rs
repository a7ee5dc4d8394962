//! Repair: first a plan, plain data that a dry run shows; then the work, least margin first. It reads k shards, writes only
//! what is lost, and calls nothing healed that it has not read back.
//!
//! Order to read: this file (a repair that is asked for), [`plan`], [`work`], [`lines`] (what the ledger asks for by itself),
//! [`markers`].

pub(crate) mod lines;
pub(crate) mod markers;
mod plan;
pub(crate) mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::plan::Planner;
pub(crate) use self::work::{repair_copies, repair_shards};
use crate::api::{CheckRequest, Depth, ObjectHealth, Progress, RepairPlan, RepairReport, RepairWork, Scope};
use crate::catalog::LedgerReason;
use crate::check::{batches_of, check, entries, others};
use crate::core::Core;
use crate::error::{ErrorKind, Result};
use crate::recover::decide;
use crate::write::commit::Committer;

/// Makes a plan from a check of the scope.
pub(crate) async fn plan(core: &Arc<Core>, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairPlan> {
    let request = CheckRequest { scope: scope.clone(), depth };
    let mut damaged: BTreeMap<_, ObjectHealth> = BTreeMap::new();
    let report = check(core, &request, progress).await?;
    let known = if depth == Depth::Full { Vec::new() } else { known_corrupt(core, scope, progress).await? };
    for health in report.damaged.into_iter().chain(known) {
        damaged.insert((health.bucket.clone(), health.key.clone(), health.version), health);
    }
    let objects = entries(core, scope).await?;
    let mut planner = Planner {
        core,
        plan: RepairPlan::default(),
        shards: BTreeSet::new(),
        batches: BTreeSet::new(),
        others: others(core, scope, &batches_of(&objects)).await?,
    };
    for health in damaged.into_values() {
        planner.add(health).await?;
    }
    let mut plan = planner.plan;
    plan.items.sort_by_key(|item| item.margin);
    Ok(plan)
}

/// The objects of a scope of which the ledger says that something does not verify, read in full: what listings do not
/// show, a read or an earlier check has found.
async fn known_corrupt(core: &Arc<Core>, scope: &Scope, progress: &Progress) -> Result<Vec<ObjectHealth>> {
    let mut objects = BTreeSet::new();
    let mut after = None;
    loop {
        let page = core.catalog.ledger_after(after.as_ref(), 1000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.item.clone());
        let corrupt = page.into_iter().filter(|line| line.reason == LedgerReason::Corrupt);
        objects.extend(corrupt.filter(|l| scope.has(&l.bucket, &l.key)).map(|line| (line.bucket, line.key)));
    }
    let mut out = Vec::new();
    for (bucket, key) in objects {
        let request = CheckRequest { scope: Scope::object(bucket, key), depth: Depth::Full };
        match check(core, &request, progress).await {
            Ok(report) => out.extend(report.damaged),
            // Deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

/// Carries a plan out. What fails is said and does not stop the rest.
pub(crate) async fn repair(
    core: &Arc<Core>,
    committer: &Committer,
    plan: &RepairPlan,
    progress: &Progress,
) -> Result<RepairReport> {
    core.check_writable()?;
    progress.set_total(plan.items.len() as u64, plan.write_bytes);
    let mut report = RepairReport { unrepairable: plan.unrepairable.clone(), ..RepairReport::default() };
    report.markers_restored = markers::restore(core).await?;
    for item in &plan.items {
        progress.check()?;
        let result = match &item.work {
            RepairWork::Shards { data_id, write, .. } => {
                repair_shards(core, committer, *data_id, write, &mut report).await
            }
            RepairWork::Copies { batch, write, .. } => repair_copies(core, committer, *batch, write, &mut report).await,
        };
        if let Err(error) = result {
            report.failed.push(format!("{}/{}: {error}", item.bucket, item.key));
        }
        progress.add(1, 0);
    }
    // Where it has put what was lost, no power cut must make forgotten.
    core.catalog.sync().await?;
    // What had too few shards to be told from the rest of a write that was never acknowledged has them now.
    if let Err(unreachable) = decide(core, &Progress::default()).await? {
        tracing::info!(?unreachable, "what the catalog shows in doubt stays so");
    }
    Ok(report)
}
