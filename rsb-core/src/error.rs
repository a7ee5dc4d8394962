//! One error type outside, few kinds: each says what the caller should do. The sentence says what happened, to
//! what, and what a person can do about it.

use std::fmt;

/// What kind of failure it is, and so what the caller should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The bucket, object or version does not exist. Do not retry.
    NotFound,
    /// What should be created exists already. Do not retry.
    AlreadyExists,
    /// A condition of the request (if-match, create-only) does not hold. Read again, then decide.
    PreconditionFailed,
    /// Another write of the same key is in progress. Retry.
    Conflict,
    /// The request is wrong: a name, a range, a scheme. Fix the request; nothing was written.
    Invalid,
    /// The asked range lies outside the object.
    RangeNotSatisfiable,
    /// The sender of a body stopped or said something else than it sent. Nothing was written.
    BadBody,
    /// Too few backends answer to do this safely. Retry later, or bring backends back.
    Unavailable,
    /// More shards are lost than the scheme survives. Bring backends back; retrying alone does not help.
    Unreadable,
    /// The version is locked against deletion. Wait for the lock's end, or have it lifted; nothing was changed.
    Locked,
    /// A backend refuses the credentials or the permission.
    Denied,
    /// The engine serves read-only, and says why.
    ReadOnly,
    /// The repository's configuration and its backends do not fit each other. Fix the config.
    Config,
    /// The work was cancelled by the one who asked for it.
    Cancelled,
    /// A fault of this program or of its catalog.
    Internal,
}

impl ErrorKind {
    /// A stable word for the kind, used in problem documents and JSON output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::AlreadyExists => "already-exists",
            Self::PreconditionFailed => "precondition-failed",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid-request",
            Self::RangeNotSatisfiable => "range-not-satisfiable",
            Self::BadBody => "bad-body",
            Self::Unavailable => "unavailable",
            Self::Unreadable => "unreadable",
            Self::Locked => "locked",
            Self::Denied => "denied",
            Self::ReadOnly => "read-only",
            Self::Config => "config",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later without a change.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Conflict | Self::Unavailable | Self::ReadOnly)
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failure of the engine.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    object: Option<String>,
    backends: Vec<String>,
    source: Option<Source>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with a sentence for a person.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), object: None, backends: Vec::new(), source: None }))
    }

    /// Names the object (`bucket/key`) or bucket it is about.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.0.object = Some(object.into());
        self
    }

    /// Names the backends it is about.
    #[must_use]
    pub fn backends<S: Into<String>>(mut self, backends: impl IntoIterator<Item = S>) -> Self {
        self.0.backends = backends.into_iter().map(Into::into).collect();
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without the causes.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The object or bucket it is about.
    pub fn about_object(&self) -> Option<&str> {
        self.0.object.as_deref()
    }

    /// The backends it is about.
    pub fn about_backends(&self) -> &[String] {
        &self.0.backends
    }
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident),* $(,)?) => {
        impl Error { $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Self::new(ErrorKind::$kind, message) })* }
    };
}
constructors! {
    /// [`ErrorKind::NotFound`]
    not_found => NotFound,
    /// [`ErrorKind::Invalid`]
    invalid => Invalid,
    /// [`ErrorKind::Unavailable`]
    unavailable => Unavailable,
    /// [`ErrorKind::Config`]
    config => Config,
    /// [`ErrorKind::Internal`]
    internal => Internal,
    /// [`ErrorKind::Conflict`]
    conflict => Conflict,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.as_str(), self.0.message)?;
        if let Some(source) = &self.0.source {
            write!(f, " ({source})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

impl From<crate::codec::CodecError> for Error {
    fn from(error: crate::codec::CodecError) -> Self {
        Self::internal(error.to_string()).source(error)
    }
}
