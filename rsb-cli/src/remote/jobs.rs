//! Long work of a gateway: started by a POST, looked at until it ends.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use rsb_core::Progress;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Client;
use super::reply::Problem;
use crate::failure::{FAILED, Failure};

/// The first look comes soon, as most jobs are short; later ones rarer.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A job as the gateway tells of it.
#[derive(Debug, Deserialize)]
struct Job {
    id: String,
    state: State,
    progress: Seen,
    result: Option<Value>,
    error: Option<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Running,
    Paused,
    Done,
    Failed,
    Cancelled,
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Seen {
    done: u64,
    total: u64,
    bytes_done: u64,
    bytes_total: u64,
}

impl Client {
    /// Starts the job at `path` and gives its result when it is done. Ending this future leaves the job running.
    pub(super) async fn job<T>(&self, path: &str, request: &Value, progress: &Progress) -> Result<T, Failure>
    where
        T: DeserializeOwned,
    {
        let start = self.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(request.to_string());
        let mut job: Job = self.json(start).await?;
        let mut pause = FIRST_LOOK;
        let mut told = Seen::default();
        loop {
            tell(progress, &mut told, job.progress);
            match job.state {
                State::Running | State::Paused => {}
                State::Done => {
                    let result = job.result.take().unwrap_or_default();
                    return serde_json::from_value(result).map_err(|error| self.not_understood(&error.to_string()));
                }
                State::Cancelled => {
                    return Err(Failure::new(FAILED, "the job was cancelled; start it again to finish it"));
                }
                State::Failed => {
                    let unknown = || Failure::new(FAILED, "the job failed, and the gateway does not say why");
                    return Err(job.error.take().map_or_else(unknown, Failure::from));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_EVERY);
            job = self.get_json(&format!("/v1/jobs/{}", super::address::encoded(&job.id))).await?;
        }
    }
}

/// Passes on how far the job has come since the last look.
fn tell(progress: &Progress, told: &mut Seen, now: Seen) {
    progress.set_total(now.total, now.bytes_total);
    progress.add(now.done.saturating_sub(told.done), now.bytes_done.saturating_sub(told.bytes_done));
    *told = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_passed_on_as_it_grows() {
        let (progress, mut told) = (Progress::default(), Seen::default());
        tell(&progress, &mut told, Seen { done: 2, total: 9, bytes_done: 20, bytes_total: 90 });
        tell(&progress, &mut told, Seen { done: 5, total: 9, bytes_done: 50, bytes_total: 90 });
        assert_eq!(progress.snapshot(), (5, 9, 50, 90));
    }
}
