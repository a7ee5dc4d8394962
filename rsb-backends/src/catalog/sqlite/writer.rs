//! The one task that writes. Calls queue up while a transaction runs; the next transaction takes all that wait, so that
//! many callers share the cost of one. A job refuses before its first change, so a refusal takes nothing else along; any
//! other failure (the disk, a damaged page) fails all that share the transaction. Because the task owns the connection, a
//! caller that goes away leaves no transaction half done.

use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use rsb_core::{Error, Result};
use sqlx::{Connection, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use super::fault::{Fault, Inside};
use super::lock::WriterLock;

/// Most calls that share a transaction.
const GROUP: usize = 256;
/// Calls that may wait; a further one waits to wait.
const QUEUE: usize = 1024;

/// What a job does inside the transaction. It must refuse ([`Fault::Refused`]) before it changes anything.
type Work<T> = Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Inside<T>> + Send>;

/// One waiting call.
trait Job: Send {
    /// Does the work and keeps its result.
    fn run<'c>(&'c mut self, conn: &'c mut SqliteConnection) -> BoxFuture<'c, Inside<()>>;
    /// Tells the caller: its result, when the transaction was committed.
    fn answer(self: Box<Self>, outcome: Result<()>);
}

struct Call<T> {
    work: Option<Work<T>>,
    value: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send> Job for Call<T> {
    fn run<'c>(&'c mut self, conn: &'c mut SqliteConnection) -> BoxFuture<'c, Inside<()>> {
        Box::pin(async move {
            if let Some(work) = self.work.take() {
                self.value = Some(work(conn).await?);
            }
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let value = self.value.ok_or_else(stopped);
        // A caller that went away does not want to know.
        let _ = self.reply.send(outcome.and(value));
    }
}

enum Message {
    Job(Box<dyn Job>),
    Sync(oneshot::Sender<Result<()>>),
    Close(oneshot::Sender<()>),
}

fn stopped() -> Error {
    Error::internal("the catalog has been closed")
}

/// A handle on the task.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
}

impl Writer {
    /// Starts the task; it ends when it is closed or every handle is gone.
    pub(super) fn start(path: Arc<Path>, conn: SqliteConnection, lock: WriterLock) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            let closer = serve(&path, conn, waiting).await;
            drop(lock);
            if let Some(closer) = closer {
                let _ = closer.send(());
            }
        });
        Self { queue }
    }

    /// Runs `work` in a transaction.
    pub(super) async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Inside<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(Box::new(work)), value: None, reply };
        self.queue.send(Message::Job(Box::new(call))).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Puts on the disk what was committed so far.
    pub(super) async fn sync(&self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Message::Sync(reply)).await.map_err(|_| stopped())?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Ends the task when what waits is done.
    pub(super) async fn close(&self) {
        let (closer, closed) = oneshot::channel();
        if self.queue.send(Message::Close(closer)).await.is_ok() {
            let _ = closed.await;
        }
    }
}

async fn serve(
    path: &Path,
    mut conn: SqliteConnection,
    mut waiting: mpsc::Receiver<Message>,
) -> Option<oneshot::Sender<()>> {
    let mut closer = None;
    let mut messages = Vec::new();
    while closer.is_none() && waiting.recv_many(&mut messages, GROUP).await > 0 {
        let (mut jobs, mut syncs) = (Vec::new(), Vec::new());
        for message in messages.drain(..) {
            match message {
                Message::Job(job) => jobs.push(job),
                Message::Sync(sender) => syncs.push(sender),
                Message::Close(sender) => closer = Some(sender),
            }
        }
        group(path, &mut conn, jobs).await;
        for reply in syncs {
            // A checkpoint syncs the log before it copies anything out of it, even where readers keep it from copying all.
            let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&mut conn).await;
            let _ = reply.send(done.map(drop).map_err(|error| Fault::from(error).outside(path)));
        }
    }
    if let Err(error) = conn.close().await {
        tracing::warn!(path = %path.display(), %error, "closing the catalog failed; the next start will catch up");
    }
    closer
}

/// Runs jobs in one transaction and answers them.
async fn group(path: &Path, conn: &mut SqliteConnection, mut jobs: Vec<Box<dyn Job>>) {
    if jobs.is_empty() {
        return;
    }
    match transaction(conn, &mut jobs).await {
        Ok(outcomes) => {
            for (job, outcome) in jobs.into_iter().zip(outcomes) {
                job.answer(outcome);
            }
        }
        Err(fault) => {
            roll_back(conn).await;
            let error = fault.outside(path);
            for job in jobs {
                job.answer(Err(Error::new(error.kind(), error.message())));
            }
        }
    }
}

/// Each job's outcome: done, or refused.
async fn transaction(conn: &mut SqliteConnection, jobs: &mut [Box<dyn Job>]) -> Inside<Vec<Result<()>>> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await?;
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(match job.run(conn).await {
            Ok(()) => Ok(()),
            Err(Fault::Refused(error)) => Err(error),
            Err(fault) => return Err(fault),
        });
    }
    sqlx::query("COMMIT").execute(&mut *conn).await?;
    Ok(outcomes)
}

async fn roll_back(conn: &mut SqliteConnection) {
    // SQLite may have rolled back by itself, as when the disk is full; then this fails, and that is well.
    if let Err(error) = sqlx::query("ROLLBACK").execute(conn).await {
        tracing::debug!(%error, "rolling back");
    }
}
