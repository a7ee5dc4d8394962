//! Where a backend's credentials come from, and how a prefix of environment variables or a file is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StoreError;

/// Where a backend's credentials come from. It names places, never secrets, so it may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub enum Credentials {
    /// The provider's usual ways: its environment variables, files, and the machine's own identity.
    #[default]
    Default,
    /// A profile of the AWS configuration files (s3 only).
    Profile(String),
    /// Environment variables that begin with this prefix, such as `NAME_ACCESS_KEY_ID`.
    Env(String),
    /// A file: TOML or JSON with the provider's keys, an AWS credentials file, or a Google service account.
    File(PathBuf),
}

/// The form in the config file: a table with one of three keys.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl TryFrom<Fields> for Credentials {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        match fields {
            Fields { profile: None, env: None, file: None } => Ok(Self::Default),
            Fields { profile: Some(name), env: None, file: None } => Ok(Self::Profile(name)),
            Fields { profile: None, env: Some(prefix), file: None } => Ok(Self::Env(prefix)),
            Fields { profile: None, env: None, file: Some(path) } => Ok(Self::File(path)),
            _ => Err("credentials take one of profile, env and file, not several".into()),
        }
    }
}

impl From<Credentials> for Fields {
    fn from(credentials: Credentials) -> Self {
        let mut fields = Self { profile: None, env: None, file: None };
        match credentials {
            Credentials::Default => {}
            Credentials::Profile(name) => fields.profile = Some(name),
            Credentials::Env(prefix) => fields.env = Some(prefix),
            Credentials::File(path) => fields.file = Some(path),
        }
        fields
    }
}

/// Environment variables by name; the real ones, or a test's.
pub(crate) type Lookup<'a> = &'a (dyn Fn(&str) -> Option<String> + Sync);

/// The process's environment. An empty variable counts as absent.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads `PREFIX_SUFFIX` for each suffix. The first `required` ones must be there.
pub(crate) fn from_env(
    backend: &str,
    prefix: &str,
    suffixes: &[&str],
    required: usize,
    lookup: Lookup<'_>,
) -> Result<BTreeMap<String, String>, StoreError> {
    let prefix = prefix.trim_end_matches('_');
    let mut found = BTreeMap::new();
    for (at, suffix) in suffixes.iter().enumerate() {
        let variable = format!("{prefix}_{suffix}");
        match lookup(&variable) {
            Some(value) => drop(found.insert(suffix.to_ascii_lowercase(), value)),
            None if at < required => {
                return Err(StoreError::config(
                    backend,
                    format!(
                        "credentials name the environment prefix {prefix:?}, but the variable {variable} is not set"
                    ),
                ));
            }
            None => {}
        }
    }
    Ok(found)
}

/// Reads a credentials file's text.
pub(crate) fn read_file(backend: &str, path: &Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path).map_err(|error| {
        StoreError::config(backend, format!("the credentials file {} cannot be read: {error}", path.display()))
    })
}

/// The keys of a TOML or JSON file; `None` when it is neither, such as an AWS credentials file.
pub(crate) fn parse_table(text: &str) -> Option<BTreeMap<String, String>> {
    let table: BTreeMap<String, toml::Value> = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text).ok()?,
        false => toml::from_str(text).ok()?,
    };
    // Tables inside tables are no keys of ours: an AWS credentials file with quoted values would look so.
    let text = |value| match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Boolean(v) => Some(v.to_string()),
        toml::Value::Integer(v) => Some(v.to_string()),
        _ => None,
    };
    table.into_iter().map(|(key, value)| Some((key, text(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        credentials: Credentials,
    }

    #[test]
    fn the_config_file_takes_exactly_one_source() {
        let read = |text: &str| toml::from_str::<Config>(text).map(|c| c.credentials);
        assert_eq!(read("").unwrap(), Credentials::Default);
        assert_eq!(read("credentials = { profile = 'minio' }").unwrap(), Credentials::Profile("minio".into()));
        assert_eq!(read("credentials = { env = 'NAS' }").unwrap(), Credentials::Env("NAS".into()));
        assert_eq!(read("credentials = { file = '/k.json' }").unwrap(), Credentials::File("/k.json".into()));
        assert!(read("credentials = { env = 'A', file = 'b' }").unwrap_err().to_string().contains("one of profile"));
        assert!(read("credentials = { profil = 'A' }").unwrap_err().to_string().contains("profil"));
    }

    #[test]
    fn missing_variables_are_named() {
        let lookup = |name: &str| (name == "NAS_ACCESS_KEY_ID").then(|| "id".to_string());
        let names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"];
        let error = from_env("nas", "NAS", &names, 2, &lookup).unwrap_err().to_string();
        assert!(error.contains("NAS_SECRET_ACCESS_KEY is not set"), "{error}");
        let found = from_env("nas", "NAS_", &names, 1, &lookup).unwrap();
        assert_eq!(found.get("access_key_id").map(String::as_str), Some("id"));
    }

    #[test]
    fn toml_json_and_foreign_files() {
        assert_eq!(parse_table("access_key_id = 'a'").unwrap()["access_key_id"], "a");
        assert_eq!(parse_table("{\"account_name\": \"a\", \"use_emulator\": true}").unwrap()["use_emulator"], "true");
        assert_eq!(parse_table("[default]\naws_access_key_id = AKIA\n"), None);
        assert_eq!(parse_table("[default]\naws_access_key_id = 'AKIA'\n"), None);
    }
}
