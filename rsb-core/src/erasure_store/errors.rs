//! The engine's errors as object_store's. The engine's own error is always the source, so that nothing of it is lost.

use object_store::path::Path;

use crate::error::{Error, ErrorKind};

/// What errors of no kind of their own are said to be of.
pub(super) const STORE: &str = "rsb";

/// The error of a request about `location`.
pub(super) fn of(location: &Path, error: Error) -> object_store::Error {
    let (path, kind) = (location.to_string(), error.kind());
    let source = Box::new(error);
    match kind {
        ErrorKind::NotFound => object_store::Error::NotFound { path, source },
        ErrorKind::AlreadyExists => object_store::Error::AlreadyExists { path, source },
        ErrorKind::PreconditionFailed => object_store::Error::Precondition { path, source },
        ErrorKind::Denied | ErrorKind::Locked => object_store::Error::PermissionDenied { path, source },
        _ => object_store::Error::Generic { store: STORE, source },
    }
}

/// The same, of a write that may only create: the condition that does not hold is that there is nothing yet.
pub(super) fn of_create(location: &Path, error: Error) -> object_store::Error {
    if error.kind() == ErrorKind::PreconditionFailed {
        return object_store::Error::AlreadyExists { path: location.to_string(), source: Box::new(error) };
    }
    of(location, error)
}
