//! How `rsb` ends: the documented codes, and failures as a sentence.

use rsb_backends::stores::{StoreError, StoreErrorKind};
use rsb_core::ErrorKind;
use serde::Serialize;

use crate::config::load::LoadError;
use crate::config::problem::Problem;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done, and fully redundant.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong usage or config.
    Usage = 2,
    /// Not found.
    NotFound = 3,
    /// Done or readable, but redundancy is short.
    Short = 4,
    /// Data cannot be read.
    Unreadable = 5,
    /// Refused: credentials.
    Refused = 6,
}

impl Exit {
    /// `Done`, or `Short` where so many shards or copies are short.
    pub fn of_short(short: u64) -> Self {
        if short == 0 { Self::Done } else { Self::Short }
    }

    /// The code of the one that is worse to meet in a list of outcomes.
    pub fn worse(self, other: Self) -> Self {
        let rank = |exit: Self| match exit {
            Self::Done => 0,
            Self::Short => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Failed => 4,
            Self::Refused => 5,
            Self::Unreadable => 6,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Why a verb did not do what it should.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The exit code it ends with.
    #[serde(skip)]
    pub exit: Exit,
    /// A stable word for the kind.
    pub kind: String,
    /// A sentence.
    pub message: String,
    /// The object or bucket it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The backends it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<String>,
    /// What is wrong with the config.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
}

impl Failure {
    /// A failure with a code, a word and a sentence.
    pub fn new(exit: Exit, kind: &str, message: impl Into<String>) -> Self {
        let (kind, message) = (kind.to_owned(), message.into());
        Self { exit, kind, message, object: None, backends: Vec::new(), problems: Vec::new() }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// Something on this machine failed: a file, a folder, a terminal.
    pub fn local(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "local", message)
    }

    /// The thing is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, ErrorKind::NotFound.as_str(), message)
    }

    /// Names the object it is about.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }
}

/// The exit code for a kind of failure, by its stable word: the engine's kinds and the gateway's own.
pub fn exit_of(kind: &str) -> Exit {
    match kind {
        "not-found" => Exit::NotFound,
        "invalid-request" | "range-not-satisfiable" | "config" => Exit::Usage,
        "unreadable" => Exit::Unreadable,
        "denied" | "unauthorized" | "forbidden" => Exit::Refused,
        _ => Exit::Failed,
    }
}

impl From<rsb_core::Error> for Failure {
    fn from(error: rsb_core::Error) -> Self {
        let kind = error.kind().as_str();
        let mut failure = Self::new(exit_of(kind), kind, error.message());
        failure.object = error.about_object().map(str::to_owned);
        failure.backends = error.about_backends().to_vec();
        failure
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = match error.kind() {
            StoreErrorKind::Config => Exit::Usage,
            StoreErrorKind::Denied => Exit::Refused,
            _ => Exit::Failed,
        };
        let kind = match error.kind() {
            StoreErrorKind::Config => "config",
            StoreErrorKind::Denied => "denied",
            StoreErrorKind::Missing => "missing-container",
            _ => "unavailable",
        };
        let mut failure = Self::new(exit, kind, error.to_string());
        failure.backends = vec![error.backend().to_owned()];
        failure
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unreadable(message) => Self::new(Exit::Usage, "config", message),
            LoadError::Wrong(problems) => {
                let sentences: Vec<String> = problems.iter().map(Problem::to_string).collect();
                let mut failure = Self::new(Exit::Usage, "config", sentences.join("\n"));
                failure.problems = problems;
                failure
            }
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::local(error.to_string())
    }
}
