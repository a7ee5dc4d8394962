//! Errors as the outside sees them: `application/problem+json` (RFC 9457) on the native API, text on the prototype's.

use http::header::{ALLOW, CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use rsb_core::ErrorKind;
use serde::Serialize;
use warp::reply::{Reply, Response};

use crate::call::Meta;

/// What begins the `type` of every problem; the kind follows. Stable.
pub(crate) const TYPE_PREFIX: &str = "urn:rsbackup:error:";

/// A request that cannot be answered as asked.
#[derive(Debug)]
pub(crate) struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    object: Option<String>,
    backends: Vec<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The document that a problem is sent as, and that a failed job keeps.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Document {
    #[serde(rename = "type")]
    uri: String,
    title: String,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    backends: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

impl Problem {
    /// A problem of a status and a kind (a stable word) with a sentence.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let (object, backends, headers) = (None, Vec::new(), Vec::new());
        Self(Box::new(Inner { status, kind, detail: detail.into(), object, backends, headers }))
    }

    /// 400: the request is wrong.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorKind::Invalid.as_str(), detail)
    }

    /// 404: there is no such thing.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound.as_str(), detail)
    }

    /// 412: a condition of the request does not hold.
    pub(crate) fn precondition(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, ErrorKind::PreconditionFailed.as_str(), detail)
    }

    /// 404: nothing is served at this path at all.
    pub(crate) fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-path", format!("nothing is served at {path}; see /v1/openapi.json"))
    }

    /// 405 with the methods that are served.
    pub(crate) fn method(method: &http::Method, allowed: &'static str) -> Self {
        let detail = format!("{method} is not served here; use {}", allowed.replace(", ", " or "));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
            .header(ALLOW, HeaderValue::from_static(allowed))
    }

    /// 401: credentials are missing or wrong.
    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Basic realm=\"RSBackup\", charset=\"UTF-8\"");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).header(WWW_AUTHENTICATE, challenge)
    }

    /// 403: the credentials are known and do not suffice.
    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 416 for an object of `size` bytes.
    pub(crate) fn range(size: u64) -> Self {
        let detail = format!("no byte of the asked range lies in the object, which has {size} bytes");
        let problem = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, ErrorKind::RangeNotSatisfiable.as_str(), detail);
        match HeaderValue::try_from(format!("bytes */{size}")) {
            Ok(value) => problem.header(CONTENT_RANGE, value),
            Err(_) => problem,
        }
    }

    /// Names the object or bucket it is about.
    #[must_use]
    pub(crate) fn object(mut self, object: impl Into<String>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// Adds a header to the reply.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The sentence.
    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The document, with the id of the request it answers.
    pub(crate) fn document(&self, request_id: Option<&str>) -> Document {
        let inner = &*self.0;
        Document {
            uri: format!("{TYPE_PREFIX}{}", inner.kind),
            title: title(inner.kind),
            status: inner.status.as_u16(),
            detail: inner.detail.clone(),
            object: inner.object.clone(),
            backends: inner.backends.clone(),
            request_id: request_id.map(str::to_owned),
        }
    }

    /// The reply of the native API.
    pub(crate) fn into_native(self, meta: &Meta) -> Response {
        let mut response = warp::reply::json(&self.document(Some(&meta.request_id))).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        self.finish(response)
    }

    /// The reply of the prototype's protocol: text that begins with the status's reason phrase.
    pub(crate) fn into_text(self, meta: &Meta) -> Response {
        let reason = self.0.status.canonical_reason().unwrap_or("Error");
        let text = format!("{reason}: {} (request {})\n", self.0.detail, meta.request_id);
        self.finish(text.into_response())
    }

    fn finish(self, mut response: Response) -> Response {
        *response.status_mut() = self.0.status;
        response.headers_mut().extend(self.0.headers.into_iter().map(|(name, value)| (Some(name), value)));
        response
    }
}

/// `already-exists` → `Already exists`.
fn title(kind: &str) -> String {
    let mut title = kind.replace('-', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::Cancelled => StatusCode::CONFLICT,
        ErrorKind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorKind::Invalid | ErrorKind::BadBody => StatusCode::BAD_REQUEST,
        ErrorKind::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorKind::Unavailable | ErrorKind::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Locked => StatusCode::FORBIDDEN,
        // The credentials that were refused are the gateway's own, so it is not the client's 403.
        ErrorKind::Denied => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<rsb_core::Error> for Problem {
    fn from(error: rsb_core::Error) -> Self {
        let kind = error.kind();
        let status = status_of(kind);
        if status.is_server_error() {
            // The cause is for the one who runs the gateway; the sentence is for the one who asks.
            tracing::error!(error = ?error, "a request failed");
        }
        let mut problem = Self::new(status, kind.as_str(), error.message());
        problem.0.object = error.about_object().map(str::to_owned);
        problem.0.backends = error.about_backends().to_vec();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return problem.header(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_status() {
        for (kind, status) in [
            (ErrorKind::NotFound, 404),
            (ErrorKind::AlreadyExists, 409),
            (ErrorKind::PreconditionFailed, 412),
            (ErrorKind::Conflict, 409),
            (ErrorKind::Invalid, 400),
            (ErrorKind::RangeNotSatisfiable, 416),
            (ErrorKind::BadBody, 400),
            (ErrorKind::Unavailable, 503),
            (ErrorKind::Unreadable, 500),
            (ErrorKind::Locked, 403),
            (ErrorKind::Denied, 502),
            (ErrorKind::ReadOnly, 503),
            (ErrorKind::Config, 500),
            (ErrorKind::Internal, 500),
        ] {
            let error = rsb_core::Error::new(kind, "a sentence").object("b/k").backends(["nas"]);
            let document = serde_json::to_value(Problem::from(error).document(Some("r1"))).unwrap();
            assert_eq!(document["status"], status, "{kind:?}");
            assert_eq!(document["type"], format!("urn:rsbackup:error:{}", kind.as_str()));
            assert_eq!(document["detail"], "a sentence");
            assert_eq!(document["object"], "b/k");
            assert_eq!(document["backends"][0], "nas");
            assert_eq!(document["request_id"], "r1");
        }
        assert_eq!(title("range-not-satisfiable"), "Range not satisfiable");
    }
}
