//! What only looks: status, backends, events, the ledger, plans, the API's description.

use std::convert::Infallible;

use futures::stream::{self, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use rsb_core::catalog::{LedgerEntry, LedgerItem};
use rsb_core::{Depth, MoveTask, Progress, Scope, WorkRequest};
use serde::Serialize;
use serde_json::json;
use sync_wrapper::SyncStream;
use tokio::sync::broadcast::error::RecvError;
use warp::reply::{Reply, Response};
use warp::sse;

use super::token;
use crate::call::Call;
use crate::config::Right;
use crate::problem::Problem;

fn only_get(call: &Call) -> Result<(), Problem> {
    if call.method() == Method::GET { Ok(()) } else { Err(Problem::method(call.method(), "GET")) }
}

/// `/v1/status`: the repository as it is. For every key: it names no object.
pub(crate) async fn status(call: Call) -> Result<Response, Problem> {
    only_get(&call)?;
    call.query(&[])?;
    call.caller()?;
    Ok(super::json(StatusCode::OK, &call.app.engine().status().await?))
}

/// `/v1/backends`.
pub(crate) async fn backends(call: Call) -> Result<Response, Problem> {
    only_get(&call)?;
    call.query(&[])?;
    call.caller()?;
    let status = call.app.engine().status().await?;
    Ok(super::json(StatusCode::OK, &json!({ "backends": status.backends })))
}

/// `/v1/events`: what happens of itself, as server-sent events: the latest, then each as it happens.
pub(crate) async fn events(call: Call) -> Result<Response, Problem> {
    only_get(&call)?;
    call.query(&[])?;
    call.caller()?;
    let (recent, live) = call.app.engine().events();
    let live = stream::unfold((live, call.app.stopping.clone()), |(mut live, stopping)| async move {
        loop {
            let heard = tokio::select! { heard = live.recv() => heard, () = stopping.cancelled() => return None };
            match heard {
                Ok(event) => return Some((event, (live, stopping))),
                // Who is too slow misses the oldest: their numbers show it.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let shown = stream::iter(recent).chain(live).map(|event| {
        let name = serde_json::to_value(event.kind).unwrap_or_default();
        let data = serde_json::to_string(&event).unwrap_or_default();
        Ok::<_, Infallible>(sse::Event::default().event(name.as_str().unwrap_or_default()).data(data))
    });
    let alive = sse::keep_alive().stream(shown);
    Ok(sse::reply(SyncStream::new(futures::TryStreamExt::into_stream(alive))).into_response())
}

/// A page of the ledger.
#[derive(Serialize)]
struct LedgerView {
    entries: Vec<LedgerEntry>,
    next: Option<String>,
}

/// `/v1/ledger`: the lines about buckets the caller may read.
pub(crate) async fn ledger(call: Call) -> Result<Response, Problem> {
    only_get(&call)?;
    let caller = call.caller()?;
    let query = call.query(&["after", "limit"])?;
    let limit = query.limit(1_000, 10_000)?;
    let after: Option<LedgerItem> = match query.text("after").filter(|a| !a.is_empty()) {
        Some(text) => Some(token::read(text)?.ok_or_else(|| {
            Problem::invalid(format!("after is {text:?}, which is no continuation token; pass \"next\" unchanged"))
        })?),
        None => None,
    };
    let mut entries = call.app.engine().ledger(after.as_ref(), limit).await?;
    let full = entries.len() >= limit;
    let next = entries.last().filter(|_| full).map(|last| token::of(&last.item));
    entries.retain(|entry| caller.may(Right::Read, Some(&entry.bucket)));
    Ok(super::json(StatusCode::OK, &LedgerView { entries, next }))
}

/// What plans are made for.
const VERBS: &str = "get, store, check, repair, drain, rebalance, rescheme";

/// `/v1/plan`: what a verb would take. Changes nothing.
pub(crate) async fn plan(call: Call) -> Result<Response, Problem> {
    only_get(&call)?;
    call.caller()?;
    let known = ["verb", "bucket", "prefix", "depth", "backend", "to", "data_shards", "parity_shards"];
    let query = call.query(&known)?;
    let bucket = query.text("bucket").map(str::to_owned);
    let engine = call.allow(Right::Read, bucket.as_deref())?;
    if let Some(bucket) = &bucket {
        engine.bucket(bucket).await?;
    }
    let scope = Scope { bucket, prefix: query.text("prefix").unwrap_or_default().to_owned(), key: None };
    let (depth, progress) = (depth(query.text("depth"))?, Progress::default());
    let task = match query.text("verb") {
        Some("repair") => {
            return Ok(super::json(StatusCode::OK, &engine.plan_repair(&scope, depth, &progress).await?));
        }
        Some(verb @ ("get" | "store" | "check")) => {
            let request = match verb {
                "get" => WorkRequest::Get(scope),
                "store" => WorkRequest::Store(scope),
                _ => WorkRequest::Check { scope, depth },
            };
            return Ok(super::json(StatusCode::OK, &engine.plan_work(&request, &progress).await?));
        }
        Some("drain") => {
            let backend = query.text("backend").unwrap_or_default().to_owned();
            MoveTask::Drain { backend, to: query.text("to").map(str::to_owned), lost: false }
        }
        Some("rebalance") => MoveTask::Rebalance,
        Some("rescheme") => {
            let number = |name: &str| query.text(name).and_then(|text| text.parse().ok()).unwrap_or(0);
            MoveTask::Rescheme { scope, data_shards: number("data_shards"), parity_shards: number("parity_shards") }
        }
        Some(other) => return Err(Problem::invalid(format!("verb is {other:?}; plans are made for: {VERBS}"))),
        None => return Err(Problem::invalid(format!("verb is missing; plans are made for: {VERBS}"))),
    };
    // A move is about all that lies on a backend, whoever's it is.
    let engine = call.allow(Right::Read, None)?;
    Ok(super::json(StatusCode::OK, &engine.plan_move(&task.into(), &progress).await?))
}

fn depth(text: Option<&str>) -> Result<Depth, Problem> {
    match text {
        None | Some("inventory") => Ok(Depth::Inventory),
        Some("sample") => Ok(Depth::Sample),
        Some("full") => Ok(Depth::Full),
        Some(other) => Err(Problem::invalid(format!("depth is {other:?}; expected inventory, sample or full"))),
    }
}

/// `/v1/openapi.json`: open to all, as it says nothing of this repository.
pub(crate) async fn openapi(call: Call) -> Result<Response, Problem> {
    only_get(&call)?;
    let mut response = super::OPENAPI.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
