//! `/health/live` and `/health/ready`: open to all, as those who ask have no credentials.

use std::time::Duration;

use http::{Method, StatusCode};
use rsb_core::{Engine, Role, Status};
use serde::Serialize;
use tokio::time::timeout;
use warp::reply::Response;

use crate::call::Call;
use crate::problem::Problem;
use crate::v1::json;

/// The repository must say how it is within this time.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Live {
    status: &'static str,
    version: &'static str,
}

/// The process runs and answers.
pub(crate) async fn live(call: Call) -> Result<Response, Problem> {
    only_looks(&call)?;
    Ok(json(StatusCode::OK, &Live { status: "live", version: env!("CARGO_PKG_VERSION") }))
}

/// Whether requests can be served.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Readiness {
    ready: bool,
    /// Objects can be written, too.
    writable: bool,
    reachable_backends: usize,
    /// Backends that must be reachable for a write to be acknowledged.
    needed_backends: usize,
    /// Why it is not ready, or not writable.
    reason: Option<String>,
}

/// 200 when writes are served, or are refused by configuration only; else 503 and why.
pub(crate) async fn ready(call: Call) -> Result<Response, Problem> {
    only_looks(&call)?;
    let engine = call.app.engine();
    let readiness = match timeout(STATUS_TIMEOUT, engine.status()).await {
        Ok(Ok(status)) => readiness(&status, needed(engine), engine.config().read_only),
        Ok(Err(error)) => unknown(error.message().to_owned()),
        Err(_) => unknown(format!("the repository did not say how it is within {} s", STATUS_TIMEOUT.as_secs())),
    };
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(json(status, &readiness))
}

fn only_looks(call: &Call) -> Result<(), Problem> {
    match *call.method() {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Problem::method(call.method(), "GET, HEAD")),
    }
}

/// Backends that a write needs: those for its shards, and more than m for its record.
pub(crate) fn needed(engine: &Engine) -> usize {
    let config = engine.config();
    let m = config.scheme.m();
    let margin = config.ack_margin.unwrap_or_else(|| m.saturating_sub(1).max(1)).min(m);
    (config.scheme.k() + margin).max(m + 1)
}

fn readiness(status: &Status, needed_backends: usize, read_only_on_purpose: bool) -> Readiness {
    let writable = |role: Role| matches!(role, Role::Active | Role::Spare);
    let reachable_backends = status.backends.iter().filter(|b| b.reachable && writable(b.role)).count();
    let reason = if let Some(why) = &status.read_only {
        Some(format!("writes are refused: {why}"))
    } else if reachable_backends < needed_backends {
        Some(format!(
            "{reachable_backends} backends that can be written are reachable, and a write needs {needed_backends}"
        ))
    } else {
        None
    };
    Readiness {
        ready: reason.is_none() || (read_only_on_purpose && status.read_only.is_some()),
        writable: reason.is_none(),
        reachable_backends,
        needed_backends,
        reason,
    }
}

fn unknown(reason: String) -> Readiness {
    Readiness { ready: false, writable: false, reachable_backends: 0, needed_backends: 0, reason: Some(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rsb_core::backend::HealthSnapshot;
    use rsb_core::codec::CodecId;
    use rsb_core::{BackendStatus, Scheme};

    fn status(reachable: usize, of: usize, read_only: Option<&str>) -> Status {
        let health = HealthSnapshot { healthy: true, ..HealthSnapshot::default() };
        let backend = |i: usize| BackendStatus {
            name: format!("b{i}"),
            store: "memory".into(),
            role: if i == 0 { Role::ReadOnly } else { Role::Active },
            domain: Default::default(),
            reachable: i < reachable,
            health: health.clone(),
            oldest_verified_ms: None,
            error: None,
        };
        Status {
            repository: "test".into(),
            repository_id: String::new(),
            scheme: Scheme::new(2, 1, CodecId(1), 4096).unwrap(),
            read_only: read_only.map(str::to_owned),
            domain_warning: None,
            counts: Default::default(),
            backends: (0..of).map(backend).collect(),
            upkeep: Default::default(),
        }
    }

    #[test]
    fn it_is_ready_when_writes_can_be_acknowledged() {
        assert!(readiness(&status(4, 6, None), 3, false).ready);
        let few = readiness(&status(3, 6, None), 3, false);
        assert!(
            !few.ready && !few.writable && few.reason.unwrap().contains("needs 3"),
            "a read-only one does not count"
        );
    }

    #[test]
    fn read_only_on_purpose_is_ready_and_by_need_is_not() {
        let by_need = readiness(&status(6, 6, Some("the history is not certain")), 3, false);
        assert!(!by_need.ready && by_need.reason.unwrap().contains("not certain"));
        let on_purpose = readiness(&status(6, 6, Some("the configuration says so")), 3, true);
        assert!(on_purpose.ready && !on_purpose.writable);
    }
}
