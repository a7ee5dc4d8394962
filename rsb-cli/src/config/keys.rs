//! Key pairs in a config, and where their secrets are.

use std::path::PathBuf;

use serde::Serialize;

use super::{Right, show};

/// `gateway.key_store`
#[derive(Clone, Debug, Default, Serialize)]
pub struct KeyStore {
    /// The file; beside the catalog when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Where the text is that the secrets are encrypted with; in a file of its own, made at the first use, when absent.
    #[serde(flatten)]
    pub wrapping: Option<Secret>,
}

impl KeyStore {
    /// Nothing is said.
    pub(super) fn is_default(&self) -> bool {
        self.file.is_none() && self.wrapping.is_none()
    }
}

/// `[[gateway.keys]]`. The secret itself is fetched only when the gateway starts.
#[derive(Clone, Debug, Serialize)]
pub struct Key {
    /// The key's public half.
    pub id: String,
    /// Where the secret half is.
    #[serde(flatten)]
    pub secret: Secret,
    /// What it may do.
    pub rights: Vec<Right>,
    /// The buckets it may do it in, `*` as a wildcard.
    pub buckets: Vec<String>,
}

/// Where a secret is. Debug and Serialize never show it.
#[derive(Clone)]
pub enum Secret {
    /// In the config itself.
    Inline(String),
    /// In a file, without the line's end.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(hidden)"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Env(name) => write!(f, "Env({name})"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = s.serialize_map(Some(1))?;
        match self {
            Self::Inline(_) => map.serialize_entry("secret", show::HIDDEN)?,
            Self::File(path) => map.serialize_entry("secret_file", path)?,
            Self::Env(name) => map.serialize_entry("secret_env", name)?,
        }
        map.end()
    }
}
