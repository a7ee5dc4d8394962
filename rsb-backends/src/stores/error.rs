//! What can be wrong with a backend's configuration or with the place it names, as sentences for a person.

use std::error::Error as StdError;

/// What kind of trouble it is, and so what the person can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The url, an option or the credentials' description is wrong. Fix the config.
    Config,
    /// Nothing answers there. Start the server, check the address and the network.
    Unreachable,
    /// The server refuses the credentials, or they give no right to this container.
    Denied,
    /// The folder, bucket or container does not exist. `rsb config init` makes it.
    Missing,
    /// The place answers, but not as it should.
    Other,
}

/// A failure to open, make or reach a backend.
#[derive(Debug, thiserror::Error)]
#[error("backend {backend:?}: {message}")]
pub struct StoreError {
    backend: String,
    kind: StoreErrorKind,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, backend: &str, message: impl Into<String>) -> Self {
        Self { backend: backend.to_owned(), kind, message: message.into(), source: None }
    }

    pub(crate) fn config(backend: &str, message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Config, backend, message)
    }

    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// The backend's name.
    pub fn backend(&self) -> &str {
        &self.backend
    }

    /// The sentence, without the backend's name and the causes.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Longest text taken over from a server, in characters.
const LONGEST_TEXT: usize = 300;

/// The innermost cause's text on one line, cut to a readable length: the layers above it only say "generic error".
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    one_line(&deepest.to_string())
}

/// `text` on one line and not longer than a sentence may be.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_TEXT {
        return line;
    }
    line.chars().take(LONGEST_TEXT).chain(['…']).collect()
}
