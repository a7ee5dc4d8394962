//! The connections that read. A connection is a thread of its own, and each word to it costs two switches between threads,
//! which is most of a small read: so nothing is said but the query, as a general pool does when it lends and takes back.

use std::sync::{Arc, Mutex, PoisonError};

use rsb_core::Error;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Semaphore;

use super::fault::{Fault, Inside};

/// Readers work beside the writer and beside each other.
const MOST: usize = 4;

/// At most [`MOST`] connections, opened when they are needed.
#[derive(Debug)]
pub(super) struct Readers {
    options: SqliteConnectOptions,
    idle: Arc<Mutex<Vec<SqliteConnection>>>,
    places: Semaphore,
}

/// A connection that goes back when it is dropped. One whose query was given up is fine: it hears of that itself.
pub(super) struct Lent<'r> {
    conn: Option<SqliteConnection>,
    readers: &'r Readers,
    _place: tokio::sync::SemaphorePermit<'r>,
}

impl Readers {
    /// With one connection that was opened already.
    pub(super) fn new(options: SqliteConnectOptions, first: SqliteConnection) -> Self {
        Self { options, idle: Arc::new(Mutex::new(vec![first])), places: Semaphore::new(MOST) }
    }

    /// A connection; waits for one while all are in use.
    pub(super) async fn acquire(&self) -> Inside<Lent<'_>> {
        let place = self.places.acquire().await.map_err(|_| Fault::Refused(closed()))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => self.options.connect().await?,
        };
        Ok(Lent { conn: Some(conn), readers: self, _place: place })
    }

    /// Closes all connections once they are back.
    pub(super) async fn close(&self) {
        let all = self.places.acquire_many(MOST as u32).await;
        self.places.close();
        drop(all);
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for conn in idle {
            if let Err(error) = conn.close().await {
                tracing::debug!(%error, "closing a connection that reads");
            }
        }
    }
}

fn closed() -> Error {
    Error::internal("the catalog has been closed")
}

impl Lent<'_> {
    /// The connection.
    pub(super) fn conn(&mut self) -> Inside<&mut SqliteConnection> {
        self.conn.as_mut().ok_or_else(|| Fault::Refused(closed()))
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }
}
