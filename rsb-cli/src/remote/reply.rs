//! What a gateway answers when it does not do what it was asked, and what a connection says when it breaks.

use std::error::Error as StdError;

use reqwest::Response;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::Client;
use crate::failure::{FAILED, Failure};

/// What begins the `type` of a gateway's problems.
const TYPE_PREFIX: &str = "urn:rsbackup:error:";

/// `application/problem+json`, and the error of a failed job.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    #[serde(rename = "type")]
    uri: String,
    detail: String,
    #[serde(default)]
    object: Option<String>,
    #[serde(default)]
    backends: Vec<String>,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let kind = problem.uri.strip_prefix(TYPE_PREFIX).unwrap_or(&problem.uri);
        Self::of_kind(kind, problem.detail, problem.object, problem.backends)
    }
}

impl Client {
    /// A refusal as the failure that the same verb has on the backends themselves.
    pub(super) async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let is_problem = response.headers().get(CONTENT_TYPE).is_some_and(|v| v == "application/problem+json");
        let body = response.bytes().await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if is_problem => problem.into(),
            _ => self.not_understood(&format!("it answers {status}")),
        }
    }

    /// Something else than this program's gateway seems to be there.
    pub(super) fn not_understood(&self, why: &str) -> Failure {
        Failure::new(
            FAILED,
            format!("{} does not answer as a gateway of RSBackup does ({why}); is the address right?", self.shown()),
        )
    }

    /// A request that got no answer, or only a part of one.
    pub(super) fn broken(&self, error: &reqwest::Error) -> Failure {
        let cause = root_cause(error);
        let sentence = if error.is_connect() {
            let tls = match self.shown().starts_with("https:") {
                true => {
                    " A certificate that the system does not know is trusted when it is in the file that SSL_CERT_FILE names."
                }
                false => "",
            };
            format!(
                "the gateway at {} cannot be reached ({cause}); is it running, and is the address right?{tls}",
                self.shown()
            )
        } else {
            format!("the connection to the gateway at {} broke off: {cause}; try again", self.shown())
        };
        Failure::new(FAILED, sentence)
    }
}

/// The innermost cause: the layers above it only say that a request failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut deepest: &dyn StdError = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
