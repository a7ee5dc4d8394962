//! What goes to stdout and stderr. Results go to stdout, everything else to stderr; with `--json` stdout has JSON only.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::cli::Cli;
use crate::failure::{FAILED, Failure};

/// How a person, or a script, wants to be told.
#[derive(Debug, Default)]
pub struct Out {
    json: bool,
    quiet: bool,
    no_progress: bool,
    /// Whoever read stdout went away (`rsb ls | head`): it has what it wanted.
    closed: AtomicBool,
}

impl Out {
    /// As the command line asks for.
    pub fn of(cli: &Cli) -> Self {
        Self { json: cli.json, quiet: cli.quiet, no_progress: cli.no_progress, closed: AtomicBool::new(false) }
    }

    /// Whether bars are drawn: on a terminal and nowhere else.
    pub fn draws(&self) -> bool {
        !self.json && !self.quiet && !self.no_progress && std::io::stderr().is_terminal()
    }

    /// Whether nobody reads stdout any more, so that a long list may end.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// A result, or one of a list: a line of JSON, or text. An empty text is not printed.
    ///
    /// # Errors
    /// Stdout cannot be written for another reason than that its reader went away.
    pub fn say(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let line = match self.json {
            true => serde_json::to_string(value).map_err(|e| Failure::new(FAILED, e.to_string()))?,
            false => text(),
        };
        if line.is_empty() || self.is_closed() {
            return Ok(());
        }
        let mut stdout = std::io::stdout().lock();
        match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(Failure::new(FAILED, format!("the result cannot be written to stdout: {error}"))),
            Ok(()) => Ok(()),
        }
    }

    /// Like [`say`](Self::say), for what went as expected: nothing with `-q`, unless it is JSON.
    pub fn say_done(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        self.say(value, || if self.quiet { String::new() } else { text() })
    }

    /// The head of a table, for people.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub fn head(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.say(&(), || text.to_owned()) }
    }

    /// A word on what is going on, for a person.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet && !self.json {
            eprintln!("rsb: {}", text.as_ref());
        }
    }

    /// What must be said even with `-q`: what is not as promised.
    pub fn warn(&self, text: impl AsRef<str>) {
        match self.json {
            false => eprintln!("rsb: warning: {}", text.as_ref()),
            true => eprintln!("{}", serde_json::json!({ "warning": text.as_ref() })),
        }
    }

    /// A failure: a sentence, or with `--json` an object, on stderr.
    pub fn failure(&self, failure: &Failure) {
        failure.report(self.json);
    }
}
