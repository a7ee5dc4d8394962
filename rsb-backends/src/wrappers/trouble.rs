//! What the wrappers themselves find wrong, as typed causes inside object_store's error.

use std::time::Duration;

use object_store::Error;

/// A finding of a wrapper.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The backend took too long.
    #[error("the backend did not answer {op} within {} ms", limit.as_millis())]
    Timeout {
        /// The operation's name.
        op: &'static str,
        /// The limit that was passed.
        limit: Duration,
    },
    /// A body or an object has fewer bytes than it should.
    #[error("{path} is truncated: {asked} bytes were asked for and {got} came")]
    Truncated {
        /// The object.
        path: String,
        /// Bytes that should have come.
        asked: u64,
        /// Bytes that came.
        got: u64,
    },
    /// A body has more bytes than it was announced with.
    #[error("{path} gives more than the {asked} bytes that were asked for")]
    Overlong {
        /// The object.
        path: String,
        /// Bytes that should have come.
        asked: u64,
    },
    /// A range that ends where it begins, or before.
    #[error("the range {start}..{end} of {path} has no bytes")]
    EmptyRange {
        /// The object.
        path: String,
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// A request for several objects failed before it came to this one.
    #[error("the request failed before it came to this object")]
    Unanswered,
    /// A failure that a test asked for.
    #[error("an injected failure: {0}")]
    Injected(&'static str),
}

impl From<Trouble> for Error {
    fn from(trouble: Trouble) -> Self {
        Self::Generic { store: "backend", source: Box::new(trouble) }
    }
}
