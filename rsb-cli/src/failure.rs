//! How a verb fails: a sentence for a person, and an exit code for a script.

use rsb_backends::stores::{StoreError, StoreErrorKind};

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
#[derive(Clone, Debug)]
pub struct Failure {
    code: u8,
    kind: String,
    sentences: Vec<String>,
    object: Option<String>,
    backends: Vec<String>,
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
        Self { code, kind: kind.into(), sentences: vec![sentence.into()], object: None, backends: Vec::new() }
    }

    /// A failure of the engine, here or behind a gateway, by the stable word for its kind.
    pub fn of_kind(kind: &str, sentence: impl Into<String>, object: Option<String>, backends: Vec<String>) -> Self {
        Self { code: code_of(kind), kind: kind.to_owned(), sentences: vec![sentence.into()], object, backends }
    }

    /// Wrong usage or config.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::new(USAGE, sentence)
    }

    /// Something on this machine that cannot be done: the file it is about, and why.
    pub fn local(what: impl std::fmt::Display, error: &std::io::Error) -> Self {
        Self::new(FAILED, format!("{what}: {error}"))
    }

    /// Several problems of a config or its backends, all at once.
    pub fn problems(code: u8, sentences: Vec<String>) -> Self {
        let kind = if code == USAGE { "config" } else { "backends" };
        Self { sentences, kind: kind.into(), ..Self::new(code, "") }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Says it on stderr: sentences, or one JSON object.
    pub fn report(&self, json: bool) {
        if json {
            let mut said = serde_json::json!({ "error": self.kind, "code": self.code, "messages": self.sentences });
            if let Some(object) = &self.object {
                said["object"] = object.as_str().into();
            }
            if !self.backends.is_empty() {
                said["backends"] = self.backends.clone().into();
            }
            eprintln!("{said}");
            return;
        }
        for sentence in &self.sentences {
            eprintln!("rsb: {sentence}");
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.sentences.join("\n"))
    }
}

/// The exit code for a kind of failure, by its stable word: the engine's kinds and the gateway's own.
fn code_of(kind: &str) -> u8 {
    match kind {
        "not-found" => NOT_FOUND,
        "invalid-request" | "range-not-satisfiable" | "config" | "uri-too-long" => USAGE,
        "unreadable" => UNREADABLE,
        "denied" | "locked" | "unauthorized" | "forbidden" => REFUSED,
        _ => FAILED,
    }
}

/// The code to end with after a list of outcomes: the worst of them.
pub fn worse(a: u8, b: u8) -> u8 {
    let rank = |code: u8| match code {
        DONE => 0,
        SHORT => 1,
        USAGE => 2,
        NOT_FOUND => 3,
        FAILED => 4,
        REFUSED => 5,
        _ => 6,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// Done, or with redundancy short where so many shards or copies are.
pub fn of_short(short: usize) -> u8 {
    if short == 0 { DONE } else { SHORT }
}

impl From<rsb_core::Error> for Failure {
    fn from(error: rsb_core::Error) -> Self {
        let object = error.about_object().map(str::to_owned);
        Self::of_kind(error.kind().as_str(), error.message(), object, error.about_backends().to_vec())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error.kind() {
            StoreErrorKind::Config | StoreErrorKind::Missing => USAGE,
            StoreErrorKind::Denied => REFUSED,
            _ => FAILED,
        };
        Self { backends: vec![error.backend().to_owned()], ..Self::new(code, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_end_with_the_documented_codes_and_the_worst_wins() {
        for (kind, code) in [
            ("not-found", 3),
            ("no-such-path", 1),
            ("invalid-request", 2),
            ("unreadable", 5),
            ("denied", 6),
            ("unauthorized", 6),
            ("forbidden", 6),
            ("unavailable", 1),
            ("too-many-jobs", 1),
            ("conflict", 1),
            ("already-exists", 1),
        ] {
            assert_eq!(Failure::of_kind(kind, "", None, Vec::new()).code(), code, "{kind}");
        }
        assert_eq!(worse(SHORT, DONE), SHORT);
        assert_eq!(worse(worse(DONE, UNREADABLE), FAILED), UNREADABLE);
    }
}
