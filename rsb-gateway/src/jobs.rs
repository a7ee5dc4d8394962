//! What runs longer than a request: started by one, watched by others. Kept in memory, bounded; a job's work is safe to
//! begin again after a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use http::StatusCode;
use http::header::RETRY_AFTER;
use rsb_core::{Env, ErrorKind, MoveTask, Progress};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::config::Right;
use crate::http::dates::rfc3339;
use crate::problem::{Document, Problem};

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Running,
    /// Waits until it is told to go on.
    Paused,
    Done,
    Failed,
    Cancelled,
}

/// A job as it is told about.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct View {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) state: State,
    pub(crate) request: Value,
    pub(crate) started: String,
    pub(crate) ended: Option<String>,
    pub(crate) progress: ProgressView,
    /// The report, when done.
    pub(crate) result: Option<Value>,
    /// The problem, when failed.
    pub(crate) error: Option<Document>,
}

/// How far a job is. A total is 0 while unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ProgressView {
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
    /// By the rate so far; unknown at the beginning and while it waits.
    pub(crate) seconds_left: Option<u64>,
}

/// What a job is to do, and who may know of it.
pub(crate) struct Order {
    pub(crate) kind: &'static str,
    pub(crate) request: Value,
    /// The right that starting it takes, which seeing and cancelling it take too.
    pub(crate) right: Right,
    pub(crate) bucket: Option<String>,
    pub(crate) work: Work,
    /// The move that it carries out.
    pub(crate) moves: Option<MoveTask>,
}

/// The work itself, given the progress to report to.
pub(crate) type Work = Box<dyn FnOnce(Arc<Progress>) -> BoxFuture<'static, rsb_core::Result<Value>> + Send>;

/// A job.
pub(crate) struct Job {
    id: String,
    kind: &'static str,
    request: Value,
    pub(crate) right: Right,
    pub(crate) bucket: Option<String>,
    started_ms: u64,
    started: Instant,
    moves: Option<MoveTask>,
    progress: Arc<Progress>,
    outcome: watch::Sender<Option<Outcome>>,
}

#[derive(Clone)]
struct Outcome {
    ended_ms: u64,
    state: State,
    result: Option<Value>,
    error: Option<Document>,
}

impl Job {
    pub(crate) fn is_running(&self) -> bool {
        self.outcome.borrow().is_none()
    }

    /// Whether it carries this move out.
    pub(crate) fn carries_out(&self, task: &MoveTask) -> bool {
        self.moves.as_ref().is_some_and(|own| own.is_same(task))
    }

    /// Asks it to wait, or to go on.
    pub(crate) fn pause(&self, paused: bool) {
        self.progress.pause(paused);
    }

    /// Asks it to end at its next safe point.
    pub(crate) fn cancel(&self) {
        self.progress.cancel();
    }

    /// Ready when it has ended.
    pub(crate) async fn ended(&self) {
        // The sender lives as long as the job itself.
        let _ = self.outcome.subscribe().wait_for(Option::is_some).await;
    }

    pub(crate) fn progress(&self) -> ProgressView {
        let (done, total, bytes_done, bytes_total) = self.progress.snapshot();
        let (part, whole) = if bytes_total > 0 { (bytes_done, bytes_total) } else { (done, total) };
        let known = part > 0 && self.is_running() && !self.progress.is_paused();
        let left = self.started.elapsed().as_secs_f64() * whole.saturating_sub(part) as f64 / part.max(1) as f64;
        ProgressView { done, total, bytes_done, bytes_total, seconds_left: known.then_some(left.ceil() as u64) }
    }

    pub(crate) fn view(&self) -> View {
        let outcome = self.outcome.borrow().clone();
        let running = if self.progress.is_paused() { State::Paused } else { State::Running };
        View {
            id: self.id.clone(),
            kind: self.kind,
            state: outcome.as_ref().map_or(running, |o| o.state),
            request: self.request.clone(),
            started: rfc3339(self.started_ms),
            ended: outcome.as_ref().map(|o| rfc3339(o.ended_ms)),
            progress: self.progress(),
            result: outcome.as_ref().and_then(|o| o.result.clone()),
            error: outcome.and_then(|o| o.error),
        }
    }

    fn end(&self, ended_ms: u64, result: rsb_core::Result<Value>) {
        let outcome = match result {
            Ok(result) => Outcome { ended_ms, state: State::Done, result: Some(result), error: None },
            Err(error) => {
                let state = if error.kind() == ErrorKind::Cancelled { State::Cancelled } else { State::Failed };
                let error = Some(Problem::from(error).document(None));
                Outcome { ended_ms, state, result: None, error }
            }
        };
        self.outcome.send_replace(Some(outcome));
    }
}

/// All jobs of this process.
pub(crate) struct Jobs {
    /// By id, and so by age.
    known: Mutex<BTreeMap<String, Arc<Job>>>,
    tasks: Mutex<JoinSet<()>>,
    max_running: usize,
    max_ended: usize,
}

impl Jobs {
    pub(crate) fn new(max_running: usize, max_ended: usize) -> Self {
        Self { known: Mutex::default(), tasks: Mutex::default(), max_running, max_ended }
    }

    /// Starts a job; refused while too many run.
    pub(crate) fn start(&self, env: &Env, order: Order) -> Result<Arc<Job>, Problem> {
        self.start_paused(env, order, false)
    }

    /// The same; with `paused` it waits from the start.
    pub(crate) fn start_paused(&self, env: &Env, order: Order, paused: bool) -> Result<Arc<Job>, Problem> {
        let mut known = lock(&self.known);
        let running = known.values().filter(|job| job.is_running()).count();
        if running >= self.max_running {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too-many-jobs",
                format!("{running} jobs are running, which is the limit; wait for one to end, or cancel one"),
            )
            .header(RETRY_AFTER, http::HeaderValue::from_static("30")));
        }
        let job = Arc::new(Job {
            id: env.new_id().to_string(),
            kind: order.kind,
            request: order.request,
            right: order.right,
            bucket: order.bucket,
            started_ms: env.now_ms(),
            started: Instant::now(),
            moves: order.moves,
            progress: Progress::new(),
            outcome: watch::Sender::new(None),
        });
        job.progress.pause(paused);
        known.insert(job.id.clone(), job.clone());
        self.forget_oldest(&mut known);
        drop(known);
        self.spawn(env.clone(), job.clone(), order.work);
        Ok(job)
    }

    fn spawn(&self, env: Env, job: Arc<Job>, work: Work) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        let work = work(job.progress.clone());
        tracing::info!(job = %job.id, kind = job.kind, "a job starts");
        tasks.spawn(async move {
            // In a task of its own, so that a panic in it ends the job and not only its task.
            let result = match AbortOnDropHandle::new(tokio::spawn(work)).await {
                Ok(result) => result,
                Err(error) => Err(rsb_core::Error::internal("the job ended in a fault of this program").source(error)),
            };
            job.end(env.now_ms(), result);
            tracing::info!(job = %job.id, kind = job.kind, state = ?job.view().state, "a job ended");
        });
    }

    fn forget_oldest(&self, known: &mut BTreeMap<String, Arc<Job>>) {
        let ended: Vec<String> = known.iter().filter(|(_, job)| !job.is_running()).map(|(id, _)| id.clone()).collect();
        for id in ended.iter().take(ended.len().saturating_sub(self.max_ended)) {
            known.remove(id);
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Job>> {
        lock(&self.known).get(id).cloned()
    }

    /// All that are remembered, newest first.
    pub(crate) fn all(&self) -> Vec<Arc<Job>> {
        lock(&self.known).values().rev().cloned().collect()
    }

    /// Asks every running job to end.
    pub(crate) fn cancel_all(&self) {
        self.all().iter().for_each(|job| job.cancel());
    }

    /// Ready when no job runs.
    pub(crate) async fn ended(&self) {
        for job in self.all() {
            job.ended().await;
        }
    }

    /// Ends what runs, wherever it is.
    pub(crate) async fn abort_all(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the locks guard is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
