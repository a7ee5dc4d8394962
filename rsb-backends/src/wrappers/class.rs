//! What class of failure an error is: for metrics, and to know whether another try makes sense.

use http::StatusCode;
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use super::trouble::Trouble;
use crate::causes::find;
use crate::stores::ServerStatus;

/// A class of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// No such object.
    NotFound,
    /// The object exists already.
    Exists,
    /// A condition does not hold, or nothing changed.
    Precondition,
    /// The credentials are refused.
    Denied,
    /// The store does not do this.
    Unsupported,
    /// No connection: the request was not sent.
    Connect,
    /// The connection broke: the request may have had its effect.
    Interrupted,
    /// No answer in time: the request may have had its effect.
    Timeout,
    /// The server asks for fewer requests.
    Throttled,
    /// The server failed.
    Server,
    /// Fewer or more bytes than announced.
    Truncated,
    /// Anything else, such as a full disk.
    Other,
}

impl ErrorClass {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Exists => "exists",
            Self::Precondition => "precondition",
            Self::Denied => "denied",
            Self::Unsupported => "unsupported",
            Self::Connect => "connect",
            Self::Interrupted => "interrupted",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Server => "server",
            Self::Truncated => "truncated",
            Self::Other => "other",
        }
    }

    /// Another try of the same request may succeed.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Connect | Self::Interrupted | Self::Timeout | Self::Throttled | Self::Server)
    }

    /// The request surely had no effect, so that even one that must not run twice may be sent again.
    pub fn had_no_effect(self) -> bool {
        matches!(self, Self::Connect | Self::Throttled)
    }
}

/// The class of an error.
pub fn classify(error: &Error) -> ErrorClass {
    match error {
        Error::NotFound { .. } => return ErrorClass::NotFound,
        Error::AlreadyExists { .. } => return ErrorClass::Exists,
        Error::Precondition { .. } | Error::NotModified { .. } => return ErrorClass::Precondition,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => return ErrorClass::Denied,
        Error::NotSupported { .. } | Error::NotImplemented { .. } | Error::InvalidPath { .. } => {
            return ErrorClass::Unsupported;
        }
        _ => {}
    }
    if let Some(trouble) = find::<Trouble>(error) {
        return match trouble {
            Trouble::Timeout { .. } => ErrorClass::Timeout,
            Trouble::Truncated { .. } | Trouble::Overlong { .. } => ErrorClass::Truncated,
            Trouble::Injected(_) => ErrorClass::Server,
            Trouble::Unanswered => ErrorClass::Interrupted,
            Trouble::EmptyRange { .. } => ErrorClass::Unsupported,
        };
    }
    if let Some(answer) = find::<ServerStatus>(error) {
        return match answer {
            answer if matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => ErrorClass::Denied,
            answer if answer.is_throttling() => ErrorClass::Throttled,
            answer if answer.is_temporary() => ErrorClass::Server,
            _ => ErrorClass::Other,
        };
    }
    match find::<HttpError>(error).map(HttpError::kind) {
        Some(HttpErrorKind::Connect) => ErrorClass::Connect,
        Some(HttpErrorKind::Timeout) => ErrorClass::Timeout,
        Some(HttpErrorKind::Request | HttpErrorKind::Interrupted) => ErrorClass::Interrupted,
        // A body that ended too early, as a cut connection leaves it.
        Some(HttpErrorKind::Decode) => ErrorClass::Interrupted,
        _ => ErrorClass::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn http(kind: HttpErrorKind, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Generic { store: "S3", source: Box::new(HttpError::new(kind, source)) }
    }

    #[test]
    fn errors_are_classed_by_their_typed_causes() {
        let status = |code: u16| {
            let status = StatusCode::from_u16(code).unwrap();
            classify(&http(HttpErrorKind::Unknown, ServerStatus { status, text: String::new() }))
        };
        assert_eq!(status(500), ErrorClass::Server);
        assert_eq!(status(503), ErrorClass::Throttled);
        assert_eq!(status(429), ErrorClass::Throttled);
        assert_eq!(status(507), ErrorClass::Other);
        assert_eq!(status(401), ErrorClass::Denied);
        assert_eq!(status(403), ErrorClass::Denied);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(&http(HttpErrorKind::Connect, refused())), ErrorClass::Connect);
        assert_eq!(classify(&http(HttpErrorKind::Timeout, refused())), ErrorClass::Timeout);
        let full = Error::Generic { store: "folder", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) };
        assert_eq!(classify(&full), ErrorClass::Other);
        assert!(!classify(&full).is_temporary());
        let truncated = Trouble::Truncated { path: "x".into(), asked: 2, got: 1 };
        assert_eq!(classify(&truncated.into()), ErrorClass::Truncated);
    }
}
