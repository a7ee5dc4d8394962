//! What class of failure an error of a store is.

use std::error::Error as StdError;
use std::io;

use object_store::Error;
use serde::{Deserialize, Serialize};

/// A class of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// No such object.
    NotFound,
    /// The object exists already.
    Exists,
    /// A condition does not hold, or nothing changed.
    Precondition,
    /// The credentials are refused, or do not allow it.
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
    /// No room: a full disk, a quota that is used up.
    Full,
    /// It was given up on: others were ready long before.
    Slow,
    /// Anything else.
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
            Self::Full => "full",
            Self::Slow => "slow",
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

    /// Waiting for it took long, so it must not be met again and again.
    pub fn cost_time(self) -> bool {
        matches!(self, Self::Timeout | Self::Slow)
    }
}

/// Tells the class of a store's error. Who knows more of a store's errors than their types in `object_store` gives a
/// backend its own: [`Backend::classified_by`](crate::Backend::classified_by).
pub type Classify = fn(&Error) -> ErrorClass;

/// The class of an error by what `object_store` and the operating system say of it.
pub fn classify(error: &Error) -> ErrorClass {
    match error {
        Error::NotFound { .. } => ErrorClass::NotFound,
        Error::AlreadyExists { .. } => ErrorClass::Exists,
        Error::Precondition { .. } | Error::NotModified { .. } => ErrorClass::Precondition,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorClass::Denied,
        Error::NotSupported { .. } | Error::NotImplemented { .. } | Error::InvalidPath { .. } => {
            ErrorClass::Unsupported
        }
        other => io_class(other).unwrap_or(ErrorClass::Other),
    }
}

/// The class of the operating system's error among the causes of an error.
pub fn io_class(error: &(dyn StdError + 'static)) -> Option<ErrorClass> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let class = match error.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Some(ErrorClass::Denied),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(ErrorClass::Full),
                io::ErrorKind::TimedOut => Some(ErrorClass::Timeout),
                io::ErrorKind::ConnectionRefused => Some(ErrorClass::Connect),
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                    Some(ErrorClass::Interrupted)
                }
                io::ErrorKind::UnexpectedEof => Some(ErrorClass::Truncated),
                _ => None,
            };
            if class.is_some() {
                return class;
            }
        }
        cause = error.source();
    }
    None
}
