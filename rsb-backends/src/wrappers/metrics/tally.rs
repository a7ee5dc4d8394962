//! The metrics of one backend.

use std::future::Future;
use std::sync::Arc;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use object_store::{Error, Result};
use tokio::time::Instant;

use crate::wrappers::class::classify;
use crate::wrappers::op::Op;

const REQUESTS: &str = "rsb_backend_requests_total";
const SECONDS: &str = "rsb_backend_request_seconds";
const BYTES: &str = "rsb_backend_bytes_total";
const BROKEN: &str = "rsb_backend_broken_streams_total";

/// Tells the installed recorder what the metrics mean. Call it once, after installing one.
pub fn describe_metrics() {
    describe_counter!(REQUESTS, "Operations asked of a backend, each try by itself");
    describe_histogram!(SECONDS, Unit::Seconds, "Time to a backend's first answer");
    describe_counter!(BYTES, Unit::Bytes, "Bytes of bodies read from a backend (in) and written to it (out)");
    describe_counter!(BROKEN, "Bodies and listings that failed after their first piece");
}

/// Which way bytes went, seen from here.
#[derive(Clone, Copy, Debug)]
pub(super) enum Direction {
    /// Read from the backend.
    In,
    /// Written to the backend.
    Out,
}

/// Counts for one backend. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    backend: Arc<str>,
}

impl Tally {
    pub(super) fn new(backend: &str) -> Self {
        Self { backend: backend.into() }
    }

    /// Runs an operation and counts it with its outcome and time; one that nobody waits for to the end counts as cancelled.
    pub(super) async fn counted<T>(&self, op: Op, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let mut running = Running { tally: self, op, finished: false };
        let began = Instant::now();
        let outcome = operation.await;
        running.finished = true;
        histogram!(SECONDS, "backend" => self.backend.to_string(), "op" => op.as_str())
            .record(began.elapsed().as_secs_f64());
        self.outcome(op, &outcome);
        outcome
    }

    /// Counts one operation.
    pub(super) fn outcome<T>(&self, op: Op, outcome: &Result<T>) {
        self.count(op, outcome.as_ref().err().map_or("ok", |error| classify(error).as_str()));
    }

    fn count(&self, op: Op, outcome: &'static str) {
        let backend = self.backend.to_string();
        counter!(REQUESTS, "backend" => backend, "op" => op.as_str(), "outcome" => outcome).increment(1);
    }

    /// Counts bytes of a body.
    pub(super) fn bytes(&self, direction: Direction, bytes: u64) {
        let direction = match direction {
            Direction::In => "in",
            Direction::Out => "out",
        };
        counter!(BYTES, "backend" => self.backend.to_string(), "direction" => direction).increment(bytes);
    }

    /// Counts a body or listing that failed on its way.
    pub(super) fn broken(&self, op: Op, error: &Error) {
        let (backend, outcome) = (self.backend.to_string(), classify(error).as_str());
        counter!(BROKEN, "backend" => backend, "op" => op.as_str(), "outcome" => outcome).increment(1);
    }
}

/// An operation that is being waited for.
struct Running<'a> {
    tally: &'a Tally,
    op: Op,
    finished: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.tally.count(self.op, "cancelled");
        }
    }
}
