//! What goes to stdout and stderr. Results go to stdout, everything else to stderr; with `--json` stdout has JSON only.

use std::io::{ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::exit::{Exit, Failure};

/// How a person wants to be told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Out {
    /// `--json`.
    pub json: bool,
    /// `-q`: no notes.
    pub quiet: bool,
    /// `--no-progress`.
    pub no_progress: bool,
}

impl Out {
    /// Whether bars are drawn: on a terminal and nowhere else.
    pub fn draws(&self) -> bool {
        !self.json && !self.quiet && !self.no_progress && std::io::stderr().is_terminal()
    }

    /// A line of a result, in words.
    pub fn line(&self, text: impl AsRef<str>) {
        if !self.json {
            to_stdout(text.as_ref());
        }
    }

    /// A result, or one of a list, as JSON.
    pub fn value(&self, value: &impl Serialize) {
        if self.json {
            // Plain data: it always has a JSON form.
            to_stdout(&serde_json::to_string(value).unwrap_or_default());
        }
    }

    /// A word on what is going on, for a person.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            to_stderr(text.as_ref());
        }
    }

    /// What must be said even with `-q`: what is not as promised.
    pub fn warn(&self, text: impl AsRef<str>) {
        match self.json {
            false => to_stderr(&format!("warning: {}", text.as_ref())),
            true => to_stderr(&serde_json::json!({ "warning": text.as_ref() }).to_string()),
        }
    }

    /// A failure: a sentence, or with `--json` an object.
    pub fn failure(&self, failure: &Failure) {
        match self.json {
            false => to_stderr(&format!("error: {}", failure.message)),
            true => to_stderr(&serde_json::json!({ "error": failure }).to_string()),
        }
    }
}

/// Writes a line. A reader that went away (`rsb ls | head`) has what it wanted: the program ends without a word.
fn to_stdout(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        let exit = if error.kind() == ErrorKind::BrokenPipe { Exit::Done } else { Exit::Failed };
        if exit == Exit::Failed {
            to_stderr(&format!("error: the result cannot be written: {error}"));
        }
        std::process::exit(exit as i32);
    }
}

fn to_stderr(text: &str) {
    // There is nowhere left to tell that stderr cannot be written.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
