//! What class of failure an error is: for metrics, and to know whether another try makes sense.

use http::StatusCode;
use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};
pub use rsb_core::health::ErrorClass;
use rsb_core::health::io_class;

use super::trouble::Trouble;
use crate::causes::find;
use crate::stores::ServerStatus;

/// The class of an error.
pub fn classify(error: &Error) -> ErrorClass {
    let known = rsb_core::health::classify(error);
    if !matches!(error, Error::Generic { .. }) {
        return known;
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
            answer if answer.status == StatusCode::INSUFFICIENT_STORAGE => ErrorClass::Full,
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
        Some(_) => ErrorClass::Other,
        None => io_class(error).unwrap_or(ErrorClass::Other),
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
        assert_eq!(status(507), ErrorClass::Full);
        assert_eq!(status(401), ErrorClass::Denied);
        assert_eq!(status(403), ErrorClass::Denied);
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        assert_eq!(classify(&http(HttpErrorKind::Connect, refused())), ErrorClass::Connect);
        assert_eq!(classify(&http(HttpErrorKind::Timeout, refused())), ErrorClass::Timeout);
        let full = Error::Generic { store: "folder", source: Box::new(io::Error::from(io::ErrorKind::StorageFull)) };
        assert_eq!(classify(&full), ErrorClass::Full);
        assert!(!classify(&full).is_temporary());
        let truncated = Trouble::Truncated { path: "x".into(), asked: 2, got: 1 };
        assert_eq!(classify(&truncated.into()), ErrorClass::Truncated);
    }
}
