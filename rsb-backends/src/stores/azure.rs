//! Azure Blob Storage, and Azurite, its emulator.

use std::collections::BTreeMap;

use object_store::ClientConfigKey;
use object_store::azure::{AzureConfigKey, MicrosoftAzure, MicrosoftAzureBuilder};

use super::StoreSpec;
use super::client::{Connector, Typed, client_options, no_retry};
use super::credentials::{self, Credentials, Lookup};
use super::error::StoreError;
use super::options::{AZURE_KEYS, parse_key};

/// A container, opened, and the facts a request of our own to it needs.
pub(crate) struct Container {
    /// object_store's client.
    pub(crate) store: MicrosoftAzure,
    /// The container's url.
    pub(crate) url: String,
    /// The account requests are signed for.
    pub(crate) account: String,
    /// Requests go unsigned.
    pub(crate) skip_signature: bool,
}

/// The emulator's well-known account.
const EMULATOR_ACCOUNT: &str = "devstoreaccount1";

/// Opens a container. Asks no server.
pub(crate) fn open(spec: &StoreSpec, container: &str, typed: Typed, env: Lookup<'_>) -> Result<Container, StoreError> {
    let base = match spec.credentials {
        // AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_CLIENT_ID, ….
        Credentials::Default => MicrosoftAzureBuilder::from_env(),
        _ => MicrosoftAzureBuilder::new(),
    };
    let base = base
        .with_container_name(container)
        .with_retry(no_retry())
        .with_client_options(client_options())
        .with_http_connector(Connector::new(typed));
    let builder = apply(spec, apply(spec, base, &keys(spec, env)?)?, &spec.options)?;

    let value = |key| builder.get_config_value(&key);
    let is_true = |key| value(key).is_some_and(|v| super::is_yes(&v));
    let emulator = is_true(AzureConfigKey::UseEmulator);
    let endpoint = value(AzureConfigKey::Endpoint);
    super::check_endpoint(spec, endpoint.as_deref(), is_true(AzureConfigKey::Client(ClientConfigKey::AllowHttp)))?;
    let account = match value(AzureConfigKey::AccountName) {
        Some(account) => account,
        None if emulator => EMULATOR_ACCOUNT.to_owned(),
        None => {
            return Err(StoreError::config(
                &spec.name,
                "the storage account is not named; write options = { account_name = \"…\" }, or set AZURE_STORAGE_ACCOUNT_NAME",
            ));
        }
    };
    let service = match (emulator, endpoint) {
        (true, _) => {
            let host = env("AZURITE_BLOB_STORAGE_URL").unwrap_or_else(|| "http://127.0.0.1:10000".to_owned());
            format!("{}/{account}", host.trim_end_matches('/'))
        }
        (false, Some(endpoint)) => endpoint.trim_end_matches('/').to_owned(),
        (false, None) => format!("https://{account}.blob.core.windows.net"),
    };
    let skip_signature = is_true(AzureConfigKey::SkipSignature);
    let store = builder.build().map_err(|error| spec.cannot_open(error))?;
    Ok(Container { store, url: format!("{service}/{container}"), account, skip_signature })
}

/// The keys that the credentials stand for, as options.
fn keys(spec: &StoreSpec, env: Lookup<'_>) -> Result<BTreeMap<String, String>, StoreError> {
    match &spec.credentials {
        Credentials::Default => Ok(BTreeMap::new()),
        Credentials::Env(prefix) => {
            let found =
                credentials::from_env(&spec.name, prefix, &["ACCOUNT_NAME", "ACCOUNT_KEY", "SAS_TOKEN"], 0, env)?;
            if !found.contains_key("account_key") && !found.contains_key("sas_token") {
                let prefix = prefix.trim_end_matches('_');
                return Err(StoreError::config(
                    &spec.name,
                    format!(
                        "credentials name the environment prefix {prefix:?}, but neither {prefix}_ACCOUNT_KEY nor {prefix}_SAS_TOKEN is set"
                    ),
                ));
            }
            Ok(found)
        }
        Credentials::File(path) => {
            credentials::parse_table(&credentials::read_file(&spec.name, path)?).ok_or_else(|| {
                StoreError::config(
                    &spec.name,
                    format!(
                        "the credentials file {} must be TOML or JSON with account_name and account_key, or sas_token",
                        path.display()
                    ),
                )
            })
        }
        Credentials::Profile(_) => Err(spec.no_profiles()),
    }
}

fn apply(
    spec: &StoreSpec,
    mut builder: MicrosoftAzureBuilder,
    options: &BTreeMap<String, String>,
) -> Result<MicrosoftAzureBuilder, StoreError> {
    for (key, value) in options {
        let key: AzureConfigKey = parse_key(&spec.name, key, &AZURE_KEYS)?;
        if key == AzureConfigKey::ContainerName {
            return Err(StoreError::config(&spec.name, "the container stands in the url; take it out of options"));
        }
        builder = builder.with_config(key, value);
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(options: &[(&str, &str)], credentials: Credentials) -> StoreSpec {
        let options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        StoreSpec { name: "az".into(), url: "az://box".into(), options, credentials }
    }

    #[test]
    fn the_containers_url_follows_the_endpoint() {
        let none: Lookup<'_> = &|_| None;
        let key = ("account_key", "aGVsbG8=");
        let url = |options: &[(&str, &str)]| {
            open(&spec(options, Credentials::Default), "box", Typed::Temporary, none).unwrap().url
        };
        assert_eq!(url(&[("account_name", "acc"), key]), "https://acc.blob.core.windows.net/box");
        assert_eq!(url(&[("use_emulator", "true")]), "http://127.0.0.1:10000/devstoreaccount1/box");
        let local = [("account_name", "acc"), key, ("endpoint", "http://127.0.0.1:1/acc/"), ("allow_http", "true")];
        assert_eq!(url(&local), "http://127.0.0.1:1/acc/box");
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_sentence() {
        let none: Lookup<'_> = &|_| None;
        for (options, credentials, says) in [
            (
                vec![("account_name", "a"), ("account_key", "not base64!")],
                Credentials::Env("X".into()),
                "X_ACCOUNT_KEY",
            ),
            (vec![], Credentials::Profile("p".into()), "profiles are for s3"),
            (vec![("account_name", "a"), ("container_name", "x")], Credentials::Default, "stands in the url"),
            (vec![("account_name", "a"), ("endpoint", "http://h/")], Credentials::Default, "allow_http = true"),
        ] {
            let error = open(&spec(&options, credentials), "box", Typed::Temporary, none).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
