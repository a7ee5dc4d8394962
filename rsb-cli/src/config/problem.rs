//! What is wrong with a config: one sentence each, with the place a person must go to.

use std::cell::RefCell;
use std::fmt;

use serde::Serialize;

use super::origin::{Origins, Place};

/// One thing wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where it stands.
    #[serde(flatten)]
    pub place: Place,
    /// Which key it is about, dotted: `backend.2.url`.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The problems found so far, noted by whoever sees one.
#[derive(Debug)]
pub struct Problems<'a> {
    origins: &'a Origins,
    found: RefCell<Vec<Problem>>,
}

impl<'a> Problems<'a> {
    /// None yet.
    pub fn new(origins: &'a Origins) -> Self {
        Self { origins, found: RefCell::default() }
    }

    /// Where values come from.
    pub fn origins(&self) -> &Origins {
        self.origins
    }

    /// Notes a problem with the key at `path`.
    pub fn add(&self, path: &[&str], message: impl Into<String>) {
        let place = self.origins.place(path);
        self.found.borrow_mut().push(Problem { place, key: path.join("."), message: message.into() });
    }

    /// Notes a problem that is about no key of the merged config.
    pub fn add_stray(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    /// Whether one was noted about this key or one below it.
    pub fn about(&self, path: &[&str]) -> bool {
        let key = path.join(".");
        self.found.borrow().iter().any(|p| p.key == key || p.key.starts_with(&format!("{key}.")))
    }

    /// Whether none was noted.
    pub fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All of them, in the order of the file.
    pub fn into_vec(self) -> Vec<Problem> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|problem| problem.place.line());
        found.dedup();
        found
    }
}
