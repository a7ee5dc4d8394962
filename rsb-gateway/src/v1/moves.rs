//! Moves: `/v1/drain`, `/v1/rebalance`, `/v1/rescheme` start one as a job; `/v1/moves` are those that the repository
//! remembers, across restarts; `/v1/backends/NAME` takes a new backend of the config in use.

use std::sync::Arc;

use http::header::LOCATION;
use http::{Method, StatusCode};
use rsb_core::{Engine, Move, MoveRecord, MoveState, MoveTask, Pace, Scope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use warp::reply::Response;

use super::admin::{self, value};
use crate::app::App;
use crate::call::Call;
use crate::config::Right;
use crate::http::reply;
use crate::jobs::{Job, Order, Work};
use crate::problem::Problem;

/// What can be started.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    Drain,
    Rebalance,
    Rescheme,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DrainBody {
    backend: String,
    to: Option<String>,
    lost: bool,
    dry_run: bool,
    bytes_per_second: Option<u64>,
    parallel: Option<usize>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RebalanceBody {
    dry_run: bool,
    bytes_per_second: Option<u64>,
    parallel: Option<usize>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReschemeBody {
    bucket: Option<String>,
    prefix: String,
    key: Option<String>,
    data_shards: usize,
    parity_shards: usize,
    dry_run: bool,
    bytes_per_second: Option<u64>,
    parallel: Option<usize>,
}

/// Starts a move: 202, with where it can be watched.
pub(crate) async fn start(mut call: Call, verb: Verb) -> Result<Response, Problem> {
    if call.method() != Method::POST {
        return Err(Problem::method(call.method(), "POST"));
    }
    call.query(&[])?;
    call.caller()?;
    let (order, dry_run) = asked(&mut call, verb).await?;
    let engine = call.allow(Right::Admin, None)?.clone();
    // Refused here, so that the one who asks sees it at once.
    engine.check_move(&order).await?;
    let job = call.app.jobs.start(&call.app.env, job_order(engine, order, dry_run))?;
    Ok(accepted(&job))
}

fn accepted(job: &Job) -> Response {
    let view = job.view();
    let mut response = super::json(StatusCode::ACCEPTED, &view);
    reply::set(response.headers_mut(), LOCATION, format!("/v1/jobs/{}", view.id));
    response
}

async fn asked(call: &mut Call, verb: Verb) -> Result<(Move, bool), Problem> {
    let pace = |bytes_per_second, parallel| Pace { bytes_per_second, parallel };
    Ok(match verb {
        Verb::Drain => {
            let body: DrainBody = call.json().await?;
            if body.backend.is_empty() {
                return Err(Problem::invalid("\"backend\" is missing: the name of the one that is to be drained"));
            }
            let task = MoveTask::Drain { backend: body.backend, to: body.to, lost: body.lost };
            (Move { task, pace: pace(body.bytes_per_second, body.parallel) }, body.dry_run)
        }
        Verb::Rebalance => {
            let body: RebalanceBody = call.json().await?;
            (Move { task: MoveTask::Rebalance, pace: pace(body.bytes_per_second, body.parallel) }, body.dry_run)
        }
        Verb::Rescheme => {
            let body: ReschemeBody = call.json().await?;
            let scope: Scope = admin::scope(body.bucket, body.prefix, body.key)?;
            let (data_shards, parity_shards) = (body.data_shards, body.parity_shards);
            let task = MoveTask::Rescheme { scope, data_shards, parity_shards };
            (Move { task, pace: pace(body.bytes_per_second, body.parallel) }, body.dry_run)
        }
    })
}

fn job_order(engine: Engine, order: Move, dry_run: bool) -> Order {
    let mut request = serde_json::to_value(&order).unwrap_or_default();
    request["dry_run"] = dry_run.into();
    let kind = order.task.verb();
    let moves = (!dry_run).then(|| order.task.clone());
    let work: Work = Box::new(move |progress| {
        Box::pin(async move {
            match dry_run {
                true => value(engine.plan_move(&order, &progress).await?),
                false => value(engine.run_move(&order, &progress).await?),
            }
        })
    });
    Order { kind, request, right: Right::Admin, bucket: None, work, moves }
}

/// At the start: what a stop, or a kill, interrupted goes on. One that was told to wait waits.
pub(crate) async fn resume(app: Arc<App>) {
    let moves = match app.engine().moves().await {
        Ok(moves) => moves,
        Err(error) => {
            tracing::error!(%error, "moves that were interrupted cannot go on");
            return;
        }
    };
    for record in moves.into_iter().filter(|record| record.state != MoveState::Done) {
        let paused = record.state == MoveState::Paused;
        tracing::warn!(verb = record.order.task.verb(), paused, "a move that was interrupted goes on");
        let job = app.jobs.start_paused(&app.env, job_order(app.engine().clone(), record.order, false), paused);
        let Ok(job) = job else { continue };
        // One runs at a time, and a waiting one lets the next begin at the next start.
        tokio::select! {
            () = job.ended() => {}
            () = app.stopping.cancelled() => return,
        }
    }
}

/// `/v1/moves`: those that go on, and drains that are done while the config still has their backends.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    call.query(&[])?;
    let moves = call.allow(Right::Admin, None)?.moves().await?;
    Ok(super::json(StatusCode::OK, &json!({ "moves": moves })))
}

/// `/v1/moves/ID`: DELETE gives it up.
pub(crate) async fn cancel(call: Call, id: String) -> Result<Response, Problem> {
    if call.method() != Method::DELETE {
        return Err(Problem::method(call.method(), "DELETE"));
    }
    call.query(&[])?;
    let engine = call.allow(Right::Admin, None)?;
    let record = known(engine, &id).await?;
    if let Some(job) = job_of(&call.app, &record) {
        job.cancel();
        job.ended().await;
    }
    Ok(super::json(StatusCode::OK, &engine.cancel_move(&id).await?))
}

/// `/v1/moves/ID/pause` and `/v1/moves/ID/resume`.
pub(crate) async fn pause(call: Call, id: String, paused: bool) -> Result<Response, Problem> {
    if call.method() != Method::POST {
        return Err(Problem::method(call.method(), "POST"));
    }
    call.query(&[])?;
    let engine = call.allow(Right::Admin, None)?;
    let record = known(engine, &id).await?;
    match job_of(&call.app, &record) {
        Some(job) => job.pause(paused),
        // It was interrupted: it goes on.
        None if !paused && record.state != MoveState::Done => {
            call.app.jobs.start(&call.app.env, job_order(engine.clone(), record.order, false))?;
        }
        None => {}
    }
    Ok(super::json(StatusCode::OK, &engine.pause_move(&id, paused).await?))
}

async fn known(engine: &Engine, id: &str) -> Result<MoveRecord, Problem> {
    let found = engine.moves().await?.into_iter().find(|record| record.id == id);
    found.ok_or_else(|| Problem::not_found(format!("there is no move {id:?}; see /v1/moves")))
}

/// The job that carries a move out now.
fn job_of(app: &App, record: &MoveRecord) -> Option<Arc<Job>> {
    app.jobs.all().into_iter().find(|job| job.is_running() && job.carries_out(&record.order.task))
}

/// A job was asked to end by a person: the move that it carries out waits, and does not go on at the next start by itself.
pub(crate) async fn job_ended(app: &App, job: &Job) -> Result<(), Problem> {
    for record in app.engine().moves().await? {
        if job.carries_out(&record.order.task) && record.state == MoveState::Running {
            app.engine().pause_move(&record.id, true).await?;
        }
    }
    Ok(())
}

/// `/v1/backends/NAME`: POST takes a new backend of the config in use.
pub(crate) async fn add_backend(call: Call, name: String) -> Result<Response, Problem> {
    if call.method() != Method::POST {
        return Err(Problem::method(call.method(), "POST"));
    }
    call.query(&[])?;
    let name = crate::names::decode_present("name", &name)?;
    let marked = call.allow(Right::Admin, None)?.add_backend(&name).await?;
    Ok(super::json(StatusCode::OK, &json!({ "backend": name, "marker_written": marked })))
}
