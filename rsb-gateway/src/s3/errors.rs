//! Errors of the engine in S3's words: one table.

use std::borrow::Cow;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rsb_core::catalog::refusal;
use rsb_core::{Engine, Error, ErrorKind};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// Names the engine's own kind of the error, which tells more than S3's codes do.
const KIND: &str = "x-rsb-error";
/// Names the backends that a failure is about.
const MISSING: &str = "x-rsb-missing";

/// S3's code of an error, `is_bucket` when it is about a bucket and not about an object in one.
fn code(kind: ErrorKind, is_bucket: bool) -> S3ErrorCode {
    match kind {
        ErrorKind::NotFound if is_bucket => S3ErrorCode::NoSuchBucket,
        ErrorKind::NotFound => S3ErrorCode::NoSuchKey,
        ErrorKind::AlreadyExists => S3ErrorCode::BucketAlreadyOwnedByYou,
        ErrorKind::PreconditionFailed => S3ErrorCode::PreconditionFailed,
        ErrorKind::Conflict if is_bucket => S3ErrorCode::OperationAborted,
        ErrorKind::Conflict => S3ErrorCode::ConditionalRequestConflict,
        ErrorKind::Invalid => S3ErrorCode::InvalidArgument,
        ErrorKind::RangeNotSatisfiable => S3ErrorCode::InvalidRange,
        ErrorKind::BadBody => S3ErrorCode::IncompleteBody,
        ErrorKind::Locked => S3ErrorCode::AccessDenied,
        // S3's clients slow down and try again at this code, which is what is wanted of them.
        ErrorKind::Unavailable | ErrorKind::ReadOnly => S3ErrorCode::SlowDown,
        // The credentials that a backend refuses are the gateway's own, so they are not the client's concern.
        _ => S3ErrorCode::InternalError,
    }
}

/// An error of the engine as S3 says it.
pub(super) fn of(error: Error) -> S3Error {
    // The engine names an object as `bucket/key`; a bucket's name has no slash.
    let is_bucket = error.about_object().is_some_and(|name| !name.contains('/'));
    let kind = error.kind();
    let is_upload = error.about_object() == Some(refusal::UPLOAD);
    let code = if is_upload { S3ErrorCode::NoSuchUpload } else { code(kind, is_bucket) };
    let mut out = S3Error::with_message(code, error.message().to_owned());
    let mut headers = HeaderMap::new();
    headers.insert(KIND, HeaderValue::from_static(kind.as_str()));
    let status = out.status_code().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_server_error() {
        // The cause is for the one who runs the gateway; the sentence is for the one who asks.
        tracing::error!(?error, "a request failed");
        let missing = HeaderValue::try_from(error.about_backends().join(", "));
        headers.extend(
            missing.ok().filter(|names| !names.is_empty()).map(|names| (HeaderName::from_static(MISSING), names)),
        );
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    out.set_headers(headers);
    out
}

/// Says in the log which failure domains are missing, where an error is about backends.
pub(super) async fn log_missing(engine: &Engine, error: &S3Error) {
    let Some(names) = error.headers().and_then(|headers| headers.get(MISSING)).and_then(|names| names.to_str().ok())
    else {
        return;
    };
    let Ok(status) = engine.status().await else { return };
    let names: Vec<&str> = names.split(", ").collect();
    let missing = status.backends.iter().filter(|backend| names.contains(&backend.name.as_str()));
    let domains: Vec<String> = missing.map(|backend| format!("{} {:?}", backend.name, backend.domain)).collect();
    tracing::error!(
        code = error.code().as_str(),
        domains = domains.join("; "),
        "backends with these failure domains are missing"
    );
}

/// What a bucket keeps as a setting, in the form it was written in.
pub(super) fn kept<T: serde::de::DeserializeOwned>(bucket: &str, name: &str, text: &str) -> S3Result<T> {
    serde_json::from_str(text).map_err(|error| {
        tracing::error!(bucket, name, %error, "a setting cannot be read");
        s3_error!(InternalError, "the setting {name:?} of bucket {bucket:?} cannot be read; set it again")
    })
}

/// An error whose code s3s does not know: 400.
pub(super) fn custom(code: &'static str, message: impl Into<Cow<'static, str>>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(StatusCode::BAD_REQUEST);
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_code_and_status() {
        for (kind, about, code, status) in [
            (ErrorKind::NotFound, "b", "NoSuchBucket", 404),
            (ErrorKind::NotFound, "b/k", "NoSuchKey", 404),
            (ErrorKind::AlreadyExists, "b", "BucketAlreadyOwnedByYou", 409),
            (ErrorKind::PreconditionFailed, "b/k", "PreconditionFailed", 412),
            (ErrorKind::Conflict, "b", "OperationAborted", 409),
            (ErrorKind::Conflict, "b/k", "ConditionalRequestConflict", 409),
            (ErrorKind::Invalid, "b/k", "InvalidArgument", 400),
            (ErrorKind::RangeNotSatisfiable, "b/k", "InvalidRange", 416),
            (ErrorKind::BadBody, "b/k", "IncompleteBody", 400),
            (ErrorKind::Unavailable, "b/k", "SlowDown", 503),
            (ErrorKind::ReadOnly, "b", "SlowDown", 503),
            (ErrorKind::Unreadable, "b/k", "InternalError", 500),
            (ErrorKind::Locked, "b/k", "AccessDenied", 403),
            (ErrorKind::Denied, "b/k", "InternalError", 500),
            (ErrorKind::Config, "b/k", "InternalError", 500),
            (ErrorKind::Internal, "b/k", "InternalError", 500),
        ] {
            let error = of(Error::new(kind, "a sentence").object(about));
            assert_eq!(error.code().as_str(), code, "{kind:?}");
            assert_eq!(error.status_code().map(|status| status.as_u16()), Some(status), "{kind:?}");
            assert_eq!(error.message(), Some("a sentence"));
            assert_eq!(error.headers().unwrap()[KIND], kind.as_str());
        }
        assert_eq!(custom("Odd", "x").status_code(), Some(StatusCode::BAD_REQUEST));
    }
}
