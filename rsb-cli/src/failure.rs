//! How a verb fails: a sentence for a person, and an exit code for a script.

use rsb_core::ErrorKind;

/// Done, and fully redundant.
pub const DONE: u8 = 0;
/// Failed.
pub const FAILED: u8 = 1;
/// Wrong usage or config.
pub const USAGE: u8 = 2;
/// Not found.
pub const NOT_FOUND: u8 = 3;
/// Done or readable, but redundancy is short.
pub const SHORT: u8 = 4;
/// Data cannot be read.
pub const UNREADABLE: u8 = 5;
/// Refused.
pub const REFUSED: u8 = 6;

/// Why a verb failed.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    kind: &'static str,
    sentences: Vec<String>,
}

impl Failure {
    /// A failure with an exit code.
    pub fn new(code: u8, sentence: impl Into<String>) -> Self {
        let kind = match code {
            USAGE => "usage",
            NOT_FOUND => "not-found",
            UNREADABLE => "unreadable",
            REFUSED => "denied",
            _ => "failed",
        };
        Self { code, kind, sentences: vec![sentence.into()] }
    }

    /// Wrong usage or config.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(USAGE, sentence)
    }

    /// Several problems of a config, all at once.
    pub fn problems(sentences: Vec<String>) -> Self {
        Self { code: USAGE, kind: "config", sentences }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says it on stderr: sentences, or one JSON object.
    pub fn report(&self, json: bool) {
        if json {
            eprintln!("{}", serde_json::json!({ "error": self.kind, "messages": self.sentences }));
            return;
        }
        for sentence in &self.sentences {
            eprintln!("rsb: {sentence}");
        }
    }
}

impl From<rsb_core::Error> for Failure {
    fn from(error: rsb_core::Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::Invalid | ErrorKind::Config => USAGE,
            ErrorKind::Unreadable => UNREADABLE,
            ErrorKind::Denied => REFUSED,
            _ => FAILED,
        };
        Self { code, kind: error.kind().as_str(), sentences: vec![error.to_string()] }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(FAILED, error.to_string())
    }
}
