//! `/v1/jobs`: what runs, how far it is, how it ended.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, Stream};
use http::{Method, StatusCode};
use serde::Serialize;
use sync_wrapper::SyncStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use warp::reply::{Reply, Response};
use warp::sse::Event;

use crate::call::Call;
use crate::jobs::{Job, ProgressView, View};
use crate::problem::Problem;

/// How often a job's progress is looked at for its events.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The jobs the caller may see, newest first.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    call.query(&[])?;
    let caller = call.caller()?;
    let visible: Vec<View> = call
        .app
        .jobs
        .all()
        .iter()
        .filter(|job| caller.may(job.right, job.bucket.as_deref()))
        .map(|job| job.view())
        .collect();
    Ok(super::json(StatusCode::OK, &serde_json::json!({ "jobs": visible })))
}

/// One job: GET tells, DELETE asks it to end.
pub(crate) async fn serve(call: Call, id: String) -> Result<Response, Problem> {
    let cancel = match *call.method() {
        Method::GET => false,
        Method::DELETE => true,
        _ => return Err(Problem::method(call.method(), "GET, DELETE")),
    };
    call.query(&[])?;
    let job = find(&call, &id)?;
    let mut status = StatusCode::OK;
    if cancel && job.is_running() {
        job.cancel();
        super::moves::job_ended(&call.app, &job).await?;
        status = StatusCode::ACCEPTED;
    }
    Ok(super::json(status, &job.view()))
}

/// The events of a job: `progress` when it changes, `done` with the whole job at its end.
pub(crate) async fn events(call: Call, id: String) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    call.query(&[])?;
    let job = find(&call, &id)?;
    let events = event_stream(job, call.app.stopping.clone());
    let alive = warp::sse::keep_alive().stream(events);
    Ok(warp::sse::reply(SyncStream::new(futures::TryStreamExt::into_stream(alive))).into_response())
}

/// A job that the caller may not see is not told apart from one that is not there.
fn find(call: &Call, id: &str) -> Result<Arc<Job>, Problem> {
    let caller = call.caller()?;
    let job = call.app.jobs.get(id).filter(|job| caller.may(job.right, job.bucket.as_deref()));
    job.ok_or_else(|| {
        Problem::not_found(format!(
            "there is no job {id:?}; jobs are forgotten when the gateway restarts, old ones earlier"
        ))
    })
}

/// Where a watcher is in a job's story.
struct Watch {
    job: Arc<Job>,
    stopping: CancellationToken,
    last: Option<ProgressView>,
    over: bool,
}

fn event_stream(job: Arc<Job>, stopping: CancellationToken) -> impl Stream<Item = Result<Event, Infallible>> + Send {
    let watch = Watch { job, stopping, last: None, over: false };
    stream::unfold(watch, |mut watch| async move {
        loop {
            if watch.over {
                return None;
            }
            let running = watch.job.is_running();
            let progress = watch.job.progress();
            if !running {
                watch.over = true;
                return Some((Ok(event("done", &watch.job.view())), watch));
            }
            if watch.last.replace(progress) != Some(progress) {
                return Some((Ok(event("progress", &progress)), watch));
            }
            tokio::select! {
                () = watch.stopping.cancelled() => return None,
                () = watch.job.ended() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    })
}

fn event<T: Serialize>(name: &str, data: &T) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}
