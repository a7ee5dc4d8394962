//! What can go wrong inside, and the sentence it becomes outside.

use std::path::Path;

use rsb_core::{Error, ErrorKind};

/// A failure inside a transaction.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite's.
    Sql(sqlx::Error),
    /// A row that does not hold what it should.
    Damaged(String),
    /// A refusal of the contract.
    Refused(Error),
}

/// The result inside a transaction.
pub(super) type Inside<T> = Result<T, Fault>;

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

const CANNOT_OPEN: i32 = 14;

impl Fault {
    /// The error for a caller.
    pub(super) fn outside(self, path: &Path) -> Error {
        match self {
            Self::Refused(error) => error,
            Self::Damaged(detail) => damaged(path, &detail),
            Self::Sql(error) => sql(path, error),
        }
    }
}

/// A catalog that cannot be trusted any more.
pub(super) fn damaged(path: &Path, detail: &str) -> Error {
    Error::internal(format!(
        "the catalog {} is damaged ({detail}); move it away and run `rsb catalog rebuild`",
        path.display()
    ))
}

/// SQLite's primary result code, where it gave one.
fn code(error: &sqlx::Error) -> Option<i32> {
    let code: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

/// SQLite's error as a sentence. The codes are those of sqlite.org/rescode.html.
fn sql(path: &Path, error: sqlx::Error) -> Error {
    let path = path.display();
    match code(&error) {
        Some(26) => Error::config(format!(
            "{path} is not a catalog, or its first bytes are damaged; name another file in `catalog`, or move it away and run `rsb catalog rebuild`"
        )),
        Some(11) => Error::internal(format!(
            "the catalog {path} is damaged; move it away and run `rsb catalog rebuild`"
        )),
        Some(13) => Error::unavailable(format!("no space is left on the disk of the catalog {path}; free some")),
        Some(8) => Error::new(
            ErrorKind::ReadOnly,
            format!("the catalog {path} cannot be written: the file, its folder or its disk is read-only"),
        ),
        Some(5 | 6) => Error::unavailable(format!("the catalog {path} is locked by another program; try again")),
        Some(CANNOT_OPEN) => Error::config(format!(
            "the catalog {path} cannot be opened: its folder does not exist, or the permission is missing"
        )),
        Some(10) => Error::internal(format!("the disk of the catalog {path} fails: reading or writing it gave an error")),
        _ => Error::internal(format!("the catalog {path} failed: {error}")),
    }
    .source(error)
}
