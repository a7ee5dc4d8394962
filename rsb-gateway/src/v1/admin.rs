//! What starts a job: check, repair, drill, sweep, durability, the catalog's rebuild and verification.

use http::header::LOCATION;
use http::{Method, StatusCode};
use rsb_core::durability::Assumptions;
use rsb_core::{CheckRequest, Depth, DrillRequest, Engine, Scope, SweepRequest};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use warp::reply::Response;

use crate::call::Call;
use crate::config::Right;
use crate::http::reply;
use crate::jobs::{Order, Work};
use crate::problem::Problem;

/// A job that can be started, by the path behind `/v1`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Check,
    Repair,
    Drill,
    Sweep,
    Durability,
    CatalogRebuild,
    CatalogVerify,
}

/// Which objects, and how deep.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckBody {
    bucket: Option<String>,
    #[serde(default)]
    prefix: String,
    /// One object, whole name; wants `bucket`, and no `prefix`.
    key: Option<String>,
    #[serde(default)]
    depth: Depth,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepairBody {
    bucket: Option<String>,
    #[serde(default)]
    prefix: String,
    /// One object, whole name; wants `bucket`, and no `prefix`.
    key: Option<String>,
    #[serde(default)]
    depth: Depth,
    /// Only make the plan.
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SweepBody {
    #[serde(default)]
    dry_run: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoBody {}

/// Starts a job: 202, with where it can be watched.
pub(crate) async fn start(mut call: Call, verb: Verb) -> Result<Response, Problem> {
    if call.method() != Method::POST {
        return Err(Problem::method(call.method(), "POST"));
    }
    call.query(&[])?;
    // Before the body is read, so that one without credentials is refused first.
    call.caller()?;
    let order = order(&mut call, verb).await?;
    call.allow(order.right, order.bucket.as_deref())?;
    if let Some(bucket) = &order.bucket {
        call.app.engine().bucket(bucket).await?;
    }
    let job = call.app.jobs.start(&call.app.env, order)?;
    let view = job.view();
    let mut response = super::json(StatusCode::ACCEPTED, &view);
    reply::set(response.headers_mut(), LOCATION, format!("/v1/jobs/{}", view.id));
    Ok(response)
}

async fn order(call: &mut Call, verb: Verb) -> Result<Order, Problem> {
    let engine = call.app.engine().clone();
    match verb {
        Verb::Check => {
            let (body, request) = body::<CheckBody>(call).await?;
            let scope = scope(body.bucket.clone(), body.prefix, body.key)?;
            let asked = CheckRequest { scope, depth: body.depth };
            let work: Work =
                Box::new(move |progress| Box::pin(async move { value(engine.check(&asked, &progress).await?) }));
            Ok(Order { kind: "check", request, right: Right::Read, bucket: body.bucket, work, moves: None })
        }
        Verb::Repair => {
            let (body, request) = body::<RepairBody>(call).await?;
            let bucket = body.bucket;
            let scope = scope(bucket.clone(), body.prefix, body.key)?;
            let work = repair(engine, scope, body.depth, body.dry_run);
            Ok(Order { kind: "repair", request, right: Right::Write, bucket, work, moves: None })
        }
        Verb::Drill => {
            let (asked, request) = body::<DrillRequest>(call).await?;
            let work: Work =
                Box::new(move |progress| Box::pin(async move { value(engine.drill_as(&asked, &progress).await?) }));
            Ok(Order { kind: "drill", request, right: Right::Admin, bucket: None, work, moves: None })
        }
        Verb::Sweep => {
            let (body, request) = body::<SweepBody>(call).await?;
            let asked = SweepRequest { dry_run: body.dry_run };
            let work: Work =
                Box::new(move |progress| Box::pin(async move { value(engine.sweep(asked, &progress).await?) }));
            Ok(Order { kind: "sweep", request, right: Right::Admin, bucket: None, work, moves: None })
        }
        Verb::Durability => {
            let (asked, request) = body::<Assumptions>(call).await?;
            let work: Work = Box::new(move |_| Box::pin(async move { value(engine.durability(&asked).await?) }));
            Ok(Order { kind: "durability", request, right: Right::Read, bucket: None, work, moves: None })
        }
        Verb::CatalogRebuild => {
            let (NoBody {}, request) = body(call).await?;
            let work: Work =
                Box::new(move |progress| Box::pin(async move { value(engine.rebuild_catalog(&progress).await?) }));
            Ok(Order { kind: "catalog-rebuild", request, right: Right::Admin, bucket: None, work, moves: None })
        }
        Verb::CatalogVerify => {
            let (NoBody {}, request) = body(call).await?;
            let work: Work =
                Box::new(move |progress| Box::pin(async move { value(engine.verify_catalog(&progress).await?) }));
            Ok(Order { kind: "catalog-verify", request, right: Right::Admin, bucket: None, work, moves: None })
        }
    }
}

pub(super) fn scope(bucket: Option<String>, prefix: String, key: Option<String>) -> Result<Scope, Problem> {
    if key.is_some() && (bucket.is_none() || !prefix.is_empty()) {
        return Err(Problem::invalid("\"key\" names one object: it wants \"bucket\" beside it, and no \"prefix\""));
    }
    Ok(Scope { bucket, prefix, key })
}

fn repair(engine: Engine, scope: Scope, depth: Depth, dry_run: bool) -> Work {
    Box::new(move |progress| {
        Box::pin(async move {
            let plan = engine.plan_repair(&scope, depth, &progress).await?;
            if dry_run {
                return value(plan);
            }
            value(engine.repair(&plan, &progress).await?)
        })
    })
}

/// The body, and the same as it will be shown with the job.
async fn body<T: DeserializeOwned + Default + Serialize>(call: &mut Call) -> Result<(T, Value), Problem> {
    let body: T = call.json().await?;
    let shown = serde_json::to_value(&body).unwrap_or_default();
    Ok((body, shown))
}

pub(super) fn value<T: Serialize>(report: T) -> rsb_core::Result<Value> {
    serde_json::to_value(report).map_err(|e| rsb_core::Error::internal("the report cannot be shown as JSON").source(e))
}
