//! `GET /repair_data/NAME`. A GET that changes state is the frozen protocol's, not ours.

use http::Method;
use rsb_core::{Depth, Engine, ObjectHealth, ObjectInfo, Progress, RepairWork};
use serde::Serialize;
use warp::reply::Response;

use super::read::{health, scope_of};
use super::{json, name_of};
use crate::call::Call;
use crate::config::Right;
use crate::problem::Problem;

/// What a repair is told.
#[derive(Serialize)]
struct Repaired {
    name: String,
    status: String,
}

pub(crate) async fn serve(call: Call, raw: String) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    let engine = call.allow_prototype(Right::Write)?;
    let name = name_of(&raw)?;
    let info = engine.head(&call.app.prototype_bucket, &name, None).await?;
    let status = repair(engine, &info).await?;
    Ok(json(&Repaired { name, status }))
}

/// Repairs one object and says how it is afterwards: `GOOD`, or why not.
async fn repair(engine: &Engine, info: &ObjectInfo) -> Result<String, Problem> {
    let key = &info.manifest.key;
    let progress = Progress::default();
    let mut plan = engine.plan_repair(&scope_of(info), Depth::Full, &progress).await?;
    if let Some(lost) = plan.unrepairable.iter().find(|health| health.key == *key) {
        return Ok(format!("Cannot repair data: {}", losses(lost)));
    }
    // A batch of manifest copies may be listed under another of its objects.
    plan.items.retain(|item| item.key == *key || matches!(item.work, RepairWork::Copies { .. }));
    plan.unrepairable.clear();
    if !plan.items.is_empty() {
        let report = engine.repair(&plan, &progress).await?;
        if let Some(failed) = report.failed.first() {
            return Ok(format!("Error reconstructing data: {failed}"));
        }
    }
    // Every byte was read for the plan and every rebuilt shard was read back: what is asked now is whether all is there.
    Ok(match health(engine, info, Depth::Inventory).await? {
        None => "GOOD".to_owned(),
        Some(left) if left.is_readable() => format!("Error reconstructing data: {}", losses(&left)),
        Some(left) => format!("Cannot repair data: {}", losses(&left)),
    })
}

fn losses(health: &ObjectHealth) -> String {
    let mut text: Vec<&str> = health.findings.iter().take(3).map(|finding| finding.detail.as_str()).collect();
    let more = health.findings.len().saturating_sub(text.len());
    let count = format!("and {more} more");
    if more > 0 {
        text.push(&count);
    }
    if text.is_empty() { "too many shards are lost".to_owned() } else { text.join("; ") }
}
