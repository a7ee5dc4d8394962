//! `options`: object_store's own configuration keys, as written in the config file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use super::error::StoreError;

/// Reads a table of options whose values may be text, truth values or numbers; all are kept as text.
///
/// # Errors
/// A value that is none of these (a list, a table).
pub fn deserialize_options<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "an option's value must be text, true or false, or a number")]
    enum Value {
        Bool(bool),
        Integer(i64),
        Float(f64),
        Text(String),
    }
    let table = BTreeMap::<String, Value>::deserialize(input)?;
    let text = |value| match value {
        Value::Bool(v) => v.to_string(),
        Value::Integer(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Text(v) => v,
    };
    Ok(table.into_iter().map(|(key, value)| (key, text(value))).collect())
}

/// Whether an option's value is a secret, never to be shown.
pub fn is_secret_option(key: &str) -> bool {
    const PARTS: [&str; 8] =
        ["secret", "key_base64", "token", "password", "account_key", "access_key", "master_key", "sas"];
    const OPEN: [&str; 6] =
        ["access_key_id", "token_file", "token_service_url", "secret_file", "sse_kms_key_id", "client_id"];
    let key = key.to_ascii_lowercase();
    let open = OPEN.iter().any(|part| key.ends_with(part));
    let hidden = PARTS.iter().any(|part| key.contains(part))
        || matches!(
            key.as_str(),
            "encryption_key" | "service_account_key" | "azure_storage_encryption_key" | "proxy_url"
        );
    hidden && !open
}

/// Options with secrets blotted out, for messages and `rsb config show`.
pub(crate) struct Shown<'a>(pub(crate) &'a BTreeMap<String, String>);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(k, v)| (k, if is_secret_option(k) { "…" } else { v }))).finish()
    }
}

/// Keys of the HTTP client, good for every network scheme. Only for suggestions: object_store decides what it knows.
const CLIENT_KEYS: [&str; 20] = [
    "allow_http",
    "allow_invalid_certificates",
    "connect_timeout",
    "default_content_type",
    "disable_system_certificates",
    "http1_only",
    "http2_keep_alive_interval",
    "http2_keep_alive_timeout",
    "http2_keep_alive_while_idle",
    "http2_max_frame_size",
    "http2_only",
    "pool_idle_timeout",
    "pool_max_idle_per_host",
    "proxy_ca_certificate",
    "proxy_excludes",
    "proxy_url",
    "randomize_addresses",
    "read_timeout",
    "timeout",
    "user_agent",
];
pub(crate) const S3_KEYS: [&str; 24] = [
    "access_key_id",
    "checksum_algorithm",
    "conditional_put",
    "copy_if_not_exists",
    "default_region",
    "disable_bulk_delete",
    "disable_tagging",
    "endpoint",
    "endpoint_url",
    "imdsv1_fallback",
    "region",
    "request_payer",
    "role_arn",
    "s3_express",
    "secret_access_key",
    "server_side_encryption",
    "session_token",
    "skip_signature",
    "sse_bucket_key_enabled",
    "sse_customer_key_base64",
    "sse_kms_key_id",
    "unsigned_payload",
    "virtual_hosted_style_request",
    "web_identity_token_file",
];
pub(crate) const AZURE_KEYS: [&str; 19] = [
    "access_key",
    "account_key",
    "account_name",
    "authority_host",
    "authority_id",
    "bearer_token",
    "client_id",
    "client_secret",
    "credential_type",
    "disable_tagging",
    "encryption_key",
    "endpoint",
    "federated_token_file",
    "msi_endpoint",
    "sas_token",
    "skip_signature",
    "tenant_id",
    "use_azure_cli",
    "use_emulator",
];
pub(crate) const GCS_KEYS: [&str; 6] =
    ["application_credentials", "base_url", "bearer_token", "service_account", "service_account_key", "skip_signature"];
/// A web server has only the client's keys.
pub(crate) const HTTP_KEYS: [&str; 0] = [];

/// Reads a key of object_store's, or says which known key was probably meant.
pub(crate) fn parse_key<K: FromStr>(backend: &str, key: &str, known: &[&str]) -> Result<K, StoreError> {
    key.to_ascii_lowercase().parse().map_err(|_| unknown_key(backend, key, known.iter().chain(&CLIENT_KEYS).copied()))
}

/// The error for a key that means nothing.
pub(crate) fn unknown_key<'a>(backend: &str, key: &str, known: impl Iterator<Item = &'a str>) -> StoreError {
    // Below this likeness (0 to 1) a suggestion confuses more than it helps.
    const LIKE: f64 = 0.7;
    let nearest = known
        .map(|k| (strsim::jaro_winkler(&key.to_ascii_lowercase(), k), k))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= LIKE);
    let hint = nearest.map_or(String::new(), |(_, k)| format!("; did you mean {k:?}?"));
    StoreError::config(backend, format!("the option {key:?} is not known for this kind of url{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ClientConfigKey;
    use object_store::aws::AmazonS3ConfigKey;
    use object_store::azure::AzureConfigKey;
    use object_store::gcp::GoogleConfigKey;

    #[test]
    fn every_suggested_key_exists() {
        for key in S3_KEYS.iter().chain(&CLIENT_KEYS) {
            key.parse::<AmazonS3ConfigKey>().unwrap();
        }
        for key in AZURE_KEYS.iter().chain(&CLIENT_KEYS) {
            key.parse::<AzureConfigKey>().unwrap();
        }
        for key in GCS_KEYS.iter().chain(&CLIENT_KEYS) {
            key.parse::<GoogleConfigKey>().unwrap();
        }
        for key in CLIENT_KEYS {
            key.parse::<ClientConfigKey>().unwrap();
        }
    }

    #[test]
    fn a_mistyped_key_names_its_neighbour() {
        let error = parse_key::<AmazonS3ConfigKey>("m", "endpiont", &S3_KEYS).unwrap_err().to_string();
        assert!(error.contains("did you mean \"endpoint\"?"), "{error}");
        let error = parse_key::<AzureConfigKey>("m", "acount_name", &AZURE_KEYS).unwrap_err().to_string();
        assert!(error.contains("did you mean \"account_name\"?"), "{error}");
        let error = parse_key::<GoogleConfigKey>("m", "zzzz", &GCS_KEYS).unwrap_err().to_string();
        assert!(!error.contains("did you mean"), "{error}");
    }

    #[test]
    fn secrets_are_known_and_the_rest_is_shown() {
        for key in
            ["secret_access_key", "aws_session_token", "account_key", "sas_token", "bearer_token", "client_secret"]
        {
            assert!(is_secret_option(key), "{key}");
        }
        for key in ["access_key_id", "endpoint", "region", "web_identity_token_file", "allow_http", "sse_kms_key_id"] {
            assert!(!is_secret_option(key), "{key}");
        }
    }

    #[test]
    fn values_are_text_truth_or_numbers() {
        #[derive(serde::Deserialize)]
        struct Table {
            #[serde(deserialize_with = "deserialize_options")]
            options: BTreeMap<String, String>,
        }
        let table: Table =
            toml::from_str(r#"options = { allow_http = true, pool_max_idle_per_host = 8, region = "x" }"#).unwrap();
        assert_eq!(table.options["allow_http"], "true");
        assert_eq!(table.options["pool_max_idle_per_host"], "8");
        assert_eq!(table.options["region"], "x");
        let error = toml::from_str::<Table>(r#"options = { region = ["x"] }"#).err().unwrap().to_string();
        assert!(error.contains("must be text, true or false, or a number"), "{error}");
    }
}
