//! The marker, `rsb.json`: which repository a backend belongs to. A wrong or missing one is an error, so a mistyped
//! bucket is never written to or swept.

use serde::{Deserialize, Serialize};

use super::FormatError;
use crate::id::RepositoryId;

/// The newest marker version this program writes and reads.
pub const VERSION: u16 = 1;
const WHAT: &str = "marker rsb.json";

/// What a backend's marker says. JSON, for people to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Always `"RSBackup"`.
    pub program: String,
    /// The format version, 1.
    pub format_version: u16,
    /// The repository's id.
    pub repository_id: RepositoryId,
    /// The repository's name in its config.
    pub repository: String,
    /// The backend's name in its config.
    pub backend: String,
    /// How many backends may be missing while a rebuild can still be sure of the whole history: every record is
    /// acknowledged only when more than this many backends hold it. Set when the repository is made, to its m.
    pub record_margin: u16,
}

impl Marker {
    /// The marker of one backend.
    pub fn new(repository_id: RepositoryId, repository: &str, backend: &str, record_margin: u16) -> Self {
        Self {
            program: "RSBackup".into(),
            format_version: VERSION,
            repository_id,
            repository: repository.into(),
            backend: backend.into(),
            record_margin,
        }
    }

    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = serde_json::to_vec_pretty(self).unwrap_or_default();
        out.push(b'\n');
        out
    }

    /// Reads a marker.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Head {
            program: String,
            format_version: u16,
        }
        let malformed = |e: serde_json::Error| FormatError::Malformed { what: WHAT, detail: e.to_string() };
        let head: Head = serde_json::from_slice(bytes).map_err(malformed)?;
        if head.program != "RSBackup" {
            return Err(FormatError::Magic { what: WHAT });
        }
        if head.format_version == 0 || head.format_version > VERSION {
            return Err(FormatError::Version { what: WHAT, found: head.format_version, newest: VERSION });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }
}
