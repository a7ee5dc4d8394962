//! Google Cloud Storage.

use std::collections::BTreeMap;

use object_store::gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder, GoogleConfigKey};
use serde::Deserialize;

use super::StoreSpec;
use super::client::{Connector, Typed, client_options, no_retry};
use super::credentials::{self, Credentials, Lookup};
use super::error::StoreError;
use super::options::{GCS_KEYS, parse_key};

/// Opens a bucket. Asks no server.
pub(crate) fn open(
    spec: &StoreSpec,
    bucket: &str,
    typed: Typed,
    env: Lookup<'_>,
) -> Result<GoogleCloudStorage, StoreError> {
    let base = match spec.credentials {
        // GOOGLE_SERVICE_ACCOUNT, GOOGLE_APPLICATION_CREDENTIALS, ….
        Credentials::Default => GoogleCloudStorageBuilder::from_env(),
        _ => GoogleCloudStorageBuilder::new(),
    };
    let base = base
        .with_bucket_name(bucket)
        .with_retry(no_retry())
        // A service account made for an emulator names an http:// address; one in the options is checked below.
        .with_client_options(client_options().with_allow_http(true))
        .with_http_connector(Connector::new(typed).with_plain_bucket(bucket));
    let builder = apply(spec, apply(spec, base, &keys(spec, env)?)?, &spec.options)?;
    let named = builder.get_config_value(&GoogleConfigKey::BaseUrl);
    super::check_endpoint(spec, named.as_deref(), spec.options.get("allow_http").is_some_and(|v| super::is_yes(v)))?;
    builder.build().map_err(|error| spec.cannot_open(error))
}

/// The keys that the credentials stand for, as options.
fn keys(spec: &StoreSpec, env: Lookup<'_>) -> Result<BTreeMap<String, String>, StoreError> {
    let one = |key: &str, value: String| Ok(BTreeMap::from([(key.to_owned(), value)]));
    match &spec.credentials {
        Credentials::Default => Ok(BTreeMap::new()),
        Credentials::Env(prefix) => {
            let found = credentials::from_env(&spec.name, prefix, &["SERVICE_ACCOUNT", "BEARER_TOKEN"], 0, env)?;
            match (found.get("service_account"), found.get("bearer_token")) {
                (Some(json), _) if json.trim_start().starts_with('{') => one("service_account_key", json.clone()),
                (Some(path), _) => one("service_account", path.clone()),
                (None, Some(token)) => one("bearer_token", token.clone()),
                (None, None) => Err(StoreError::config(
                    &spec.name,
                    format!(
                        "credentials name the environment prefix {:?}, but the variable {}_SERVICE_ACCOUNT (a path, or the JSON itself) is not set",
                        prefix.trim_end_matches('_'),
                        prefix.trim_end_matches('_')
                    ),
                )),
            }
        }
        Credentials::File(path) => {
            #[derive(Deserialize)]
            struct Head {
                r#type: Option<String>,
            }
            let text = credentials::read_file(&spec.name, path)?;
            let head: Head = serde_json::from_str(&text).map_err(|error| {
                StoreError::config(
                    &spec.name,
                    format!(
                        "the credentials file {} must be a Google service account in JSON: {error}",
                        path.display()
                    ),
                )
            })?;
            match head.r#type.as_deref() {
                // What `gcloud auth application-default login` writes.
                Some("authorized_user") => one("application_credentials", path.display().to_string()),
                _ => one("service_account_key", text),
            }
        }
        Credentials::Profile(_) => Err(spec.no_profiles()),
    }
}

fn apply(
    spec: &StoreSpec,
    mut builder: GoogleCloudStorageBuilder,
    options: &BTreeMap<String, String>,
) -> Result<GoogleCloudStorageBuilder, StoreError> {
    for (key, value) in options {
        let key: GoogleConfigKey = parse_key(&spec.name, key, &GCS_KEYS)?;
        if key == GoogleConfigKey::Bucket {
            return Err(StoreError::config(&spec.name, "the bucket stands in the url; take it out of options"));
        }
        builder = builder.with_config(key, value);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMULATED: &str = r#"{"gcs_base_url":"http://127.0.0.1:9","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}"#;

    fn open_with(credentials: Credentials, env: Lookup<'_>) -> Result<GoogleCloudStorage, String> {
        let spec = StoreSpec { name: "g".into(), url: "gs://box".into(), options: BTreeMap::new(), credentials };
        open(&spec, "box", Typed::Temporary, env).map_err(|error| error.to_string())
    }

    #[test]
    fn service_accounts_come_from_files_and_variables() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account.json");
        std::fs::write(&path, EMULATED).unwrap();
        open_with(Credentials::File(path.clone()), &|_| None).unwrap();
        open_with(Credentials::Env("G".into()), &|name| (name == "G_SERVICE_ACCOUNT").then(|| EMULATED.into()))
            .unwrap();
        let text = path.display().to_string();
        open_with(Credentials::Env("G".into()), &|name| (name == "G_SERVICE_ACCOUNT").then(|| text.clone())).unwrap();
    }

    #[test]
    fn an_address_in_the_options_is_checked() {
        let with = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            let spec = StoreSpec {
                name: "g".into(),
                url: "gs://box".into(),
                options,
                credentials: Credentials::Env("G".into()),
            };
            let env: Lookup<'_> = &|name| (name == "G_BEARER_TOKEN").then(|| "token".into());
            open(&spec, "box", Typed::Temporary, env).map(drop).map_err(|error| error.to_string())
        };
        let plain = ("base_url", "http://127.0.0.1:9");
        assert!(with(&[plain]).unwrap_err().contains("allow_http = true"));
        with(&[plain, ("allow_http", "true")]).unwrap();
        assert!(with(&[("base_url", "127.0.0.1:9")]).unwrap_err().contains("must begin with"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("account.json");
        std::fs::write(&path, "not json").unwrap();
        for (credentials, says) in [
            (Credentials::File(path), "must be a Google service account in JSON"),
            (Credentials::Env("G".into()), "G_SERVICE_ACCOUNT"),
            (Credentials::Profile("p".into()), "profiles are for s3"),
        ] {
            let error = open_with(credentials, &|_| None).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
