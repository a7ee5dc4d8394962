//! Where each value of a merged config came from: a line of the file, an environment variable, a flag.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;
use toml_edit::{ImDocument, Item};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "in")]
pub enum Place {
    /// A line of a file, counted from 1.
    File {
        /// The file.
        file: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
    /// A flag of the command line.
    Flag {
        /// The flag, with its dashes.
        flag: String,
    },
}

impl Place {
    /// The line in the file; what is not in the file comes after it.
    pub fn line(&self) -> usize {
        match self {
            Self::File { line, .. } => *line,
            _ => usize::MAX,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::Flag { flag } => f.write_str(flag),
        }
    }
}

/// A value set from outside the file.
#[derive(Clone, Debug)]
pub struct Override {
    /// The key's path.
    pub path: Vec<String>,
    /// What set it.
    pub place: Place,
    /// The text that was given, before it was taken for a number or the like.
    pub raw: String,
}

/// Where the values of one merged config came from.
#[derive(Debug)]
pub struct Origins {
    file: PathBuf,
    text: String,
    document: Option<ImDocument<String>>,
    overrides: Vec<Override>,
}

impl Origins {
    /// The origins of a file's text and of what overrides it.
    pub fn new(file: PathBuf, text: &str, overrides: Vec<Override>) -> Self {
        let document = ImDocument::parse(text.to_owned()).ok();
        Self { file, text: text.to_owned(), document, overrides }
    }

    /// What overrides exactly this key.
    pub fn override_of(&self, path: &[&str]) -> Option<&Override> {
        self.overrides.iter().find(|o| o.path.iter().map(String::as_str).eq(path.iter().copied()))
    }

    /// Where the key at `path` is set; where it is not set, the table it belongs in, else the file's first line.
    pub fn place(&self, path: &[&str]) -> Place {
        let above = |o: &&Override| {
            // `a.b` set from outside is also where `a.b.c` came from.
            o.path.len() <= path.len() && o.path.iter().zip(path).all(|(a, b)| a == b)
        };
        if let Some(found) = self.overrides.iter().find(above) {
            return found.place.clone();
        }
        Place::File { file: self.file.clone(), line: self.line_of(path) }
    }

    /// A place in the file by byte offset.
    pub fn place_at(&self, offset: usize) -> Place {
        Place::File { file: self.file.clone(), line: self.line_at(offset) }
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.get(..offset.min(self.text.len())).unwrap_or(&self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// The line of the deepest part of `path` that the file has.
    fn line_of(&self, path: &[&str]) -> usize {
        let Some(document) = &self.document else { return 1 };
        let mut offset = 0;
        let mut item: &Item = document.as_item();
        for part in path {
            let Some((start, next)) = step(item, part) else { break };
            offset = start.unwrap_or(offset);
            item = next;
        }
        self.line_at(offset)
    }
}

/// One step down a document: where it begins, and what is there.
fn step<'a>(item: &'a Item, part: &str) -> Option<(Option<usize>, &'a Item)> {
    if let Some(table) = item.as_table_like() {
        let (key, next) = table.get_key_value(part)?;
        return Some((key.span().or(next.span()).map(|span| span.start), next));
    }
    let next = item.get(part.parse::<usize>().ok()?)?;
    Some((next.span().map(|span| span.start), next))
}
