//! Whether a backend can be used, and if not, why: nothing answers, the credentials are refused, or the container is
//! missing.

use std::path::Path as FilePath;
use std::time::Duration;

use futures::StreamExt;
use http::StatusCode;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::{Error, ObjectStore, ObjectStoreExt};
use rsb_core::format::paths;

use super::client::{ServerStatus, Typed};
use super::error::{StoreError, StoreErrorKind, root_cause};
use super::location::{self, Location};
use super::{StoreSpec, open};

/// Longest time a probe takes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the backend one question: one listing, or for a web server one HEAD request. Writes nothing.
///
/// # Errors
/// The kinds of [`StoreErrorKind`], each with a sentence that says what to do.
pub async fn probe(spec: &StoreSpec) -> Result<(), StoreError> {
    let place = location::parse(&spec.name, &spec.url)?;
    if let Location::File(folder) = &place {
        return probe_folder(spec, folder).await;
    }
    let store = open(spec, Typed::All).await?;
    let question = async {
        match &place {
            // A plain web server cannot list, and has a marker or not; both are answers.
            Location::Http(_) => match store.head(&paths::marker()).await {
                Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) if status_of(&error).is_some_and(|s| s.status == StatusCode::NOT_FOUND) => Ok(()),
                Err(error) => Err(error),
            },
            _ => store.list(None).next().await.transpose().map(drop),
        }
    };
    match tokio::time::timeout(TIMEOUT, question).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(explain(spec, &place, error)),
        Err(_) => Err(StoreError::new(
            StoreErrorKind::Unreachable,
            &spec.name,
            format!(
                "{} does not answer within {} s; is the address right, and does a firewall let it through?",
                address(spec, &place),
                TIMEOUT.as_secs()
            ),
        )),
    }
}

async fn probe_folder(spec: &StoreSpec, folder: &FilePath) -> Result<(), StoreError> {
    let shown = folder.display();
    let missing = |message| StoreError::new(StoreErrorKind::Missing, &spec.name, message);
    match tokio::fs::metadata(folder).await {
        Ok(found) if !found.is_dir() => {
            Err(StoreError::config(&spec.name, format!("{shown} is not a folder; name a folder in the url")))
        }
        Ok(found) if found.permissions().readonly() => Err(StoreError::new(
            StoreErrorKind::Denied,
            &spec.name,
            format!("the folder {shown} may not be written; allow it, or write role = \"read-only\""),
        )),
        Ok(_) => match tokio::fs::read_dir(folder).await {
            Ok(_) => Ok(()),
            Err(error) => Err(StoreError::new(
                StoreErrorKind::Denied,
                &spec.name,
                format!("the folder {shown} cannot be read: {error}"),
            )),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(missing(format!(
            "the folder {shown} does not exist; is its disk mounted? `rsb config init` makes a new one"
        ))),
        Err(error) => Err(StoreError::new(
            StoreErrorKind::Unreachable,
            &spec.name,
            format!("the folder {shown} cannot be looked at: {error}"),
        )),
    }
}

/// The server's answer in an error's causes.
pub(crate) fn status_of(error: &Error) -> Option<&ServerStatus> {
    crate::causes::find(error)
}

/// How the request failed before there was an answer.
fn transport_of(error: &Error) -> Option<HttpErrorKind> {
    crate::causes::find::<HttpError>(error).map(HttpError::kind)
}

/// An operation's failure as a sentence.
pub(crate) fn explain(spec: &StoreSpec, place: &Location, error: Error) -> StoreError {
    let at = address(spec, place);
    let cause = root_cause(&error);
    let (kind, sentence) = match status_of(&error) {
        Some(answer) => of_answer(&at, place, answer),
        None => match (&error, transport_of(&error)) {
            (Error::Unauthenticated { .. } | Error::PermissionDenied { .. }, _) => {
                (StoreErrorKind::Denied, format!("{at}: {cause}"))
            }
            (Error::NotFound { .. }, _) => (StoreErrorKind::Missing, missing(&at, place)),
            (
                _,
                Some(
                    HttpErrorKind::Connect
                    | HttpErrorKind::Timeout
                    | HttpErrorKind::Request
                    | HttpErrorKind::Interrupted,
                ),
            ) => (
                StoreErrorKind::Unreachable,
                format!("{at} cannot be reached ({cause}); is the server running, and is the address right?"),
            ),
            _ => (StoreErrorKind::Other, format!("{at} does not answer as it should: {cause}")),
        },
    };
    StoreError::new(kind, &spec.name, sentence).because(error)
}

fn of_answer(at: &str, place: &Location, answer: &ServerStatus) -> (StoreErrorKind, String) {
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            StoreErrorKind::Denied,
            format!(
                "{at} refuses the credentials, or they give no right to it ({}: {}); check the keys and what they are allowed",
                answer.status, answer.text
            ),
        ),
        StatusCode::NOT_FOUND => (StoreErrorKind::Missing, missing(at, place)),
        status if status.is_redirection() => (
            StoreErrorKind::Config,
            format!(
                "{at} answers {status}: the bucket lies in another region, or the endpoint is wrong; write options = {{ region = \"…\" }}"
            ),
        ),
        status if status.is_server_error() => {
            (StoreErrorKind::Unreachable, format!("{at} is in trouble: it answers {status}: {}", answer.text))
        }
        status => (StoreErrorKind::Other, format!("{at} refuses the request: it answers {status}: {}", answer.text)),
    }
}

fn missing(at: &str, place: &Location) -> String {
    match place {
        Location::S3 { bucket, .. } | Location::Gcs { bucket, .. } => {
            format!("the bucket {bucket:?} does not exist at {at}; check the name, or let `rsb config init` make it")
        }
        Location::Azure { container, .. } => {
            format!(
                "the container {container:?} does not exist at {at}; check the name, or let `rsb config init` make it"
            )
        }
        _ => format!("{at} does not exist"),
    }
}

/// What a person knows the place by: its url, and the server where one is named.
pub(crate) fn address(spec: &StoreSpec, place: &Location) -> String {
    if let Location::Http(url) = place {
        return url.to_string();
    }
    match spec.options.iter().find(|(key, _)| key.contains("endpoint") || key.contains("base_url")) {
        Some((_, endpoint)) => format!("{} at {endpoint}", spec.url),
        None => spec.url.clone(),
    }
}
