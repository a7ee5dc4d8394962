//! A web server as a read-only backend: a folder published over HTTP, with WebDAV's PROPFIND for listing.

use std::collections::BTreeMap;

use base64::Engine;
use http::header::AUTHORIZATION;
use object_store::http::{HttpBuilder, HttpStore};
use object_store::{ClientConfigKey, HeaderMap, HeaderValue};
use url::Url;

use super::StoreSpec;
use super::client::{Connector, Typed, client_options, no_retry};
use super::credentials::{self, Credentials, Lookup};
use super::error::StoreError;
use super::options::{HTTP_KEYS, parse_key};

/// Opens a web server's folder. Asks no server.
pub(crate) fn open(spec: &StoreSpec, url: &Url, typed: Typed, env: Lookup<'_>) -> Result<HttpStore, StoreError> {
    // Whoever writes http:// has said that it goes without TLS.
    let mut options = client_options().with_allow_http(url.scheme() == "http");
    if let Some(value) = authorization(spec, env)? {
        options = options.with_default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)]));
    }
    let mut builder = HttpBuilder::new()
        .with_url(url.as_str().trim_end_matches('/'))
        .with_retry(no_retry())
        .with_client_options(options)
        .with_http_connector(Connector::new(typed));
    for (key, value) in &spec.options {
        builder = builder.with_config(parse_key::<ClientConfigKey>(&spec.name, key, &HTTP_KEYS)?, value);
    }
    builder.build().map_err(|error| spec.cannot_open(error))
}

/// The header for a bearer token, or a user name and a password.
fn authorization(spec: &StoreSpec, env: Lookup<'_>) -> Result<Option<HeaderValue>, StoreError> {
    let keys: BTreeMap<String, String> = match &spec.credentials {
        Credentials::Default => return Ok(None),
        Credentials::Env(prefix) => {
            credentials::from_env(&spec.name, prefix, &["BEARER_TOKEN", "USERNAME", "PASSWORD"], 0, env)?
        }
        Credentials::File(path) => {
            credentials::parse_table(&credentials::read_file(&spec.name, path)?).unwrap_or_default()
        }
        Credentials::Profile(_) => return Err(spec.no_profiles()),
    };
    let text = match (keys.get("bearer_token"), keys.get("username"), keys.get("password")) {
        (Some(token), _, _) => format!("Bearer {token}"),
        (None, Some(name), Some(password)) => {
            format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{name}:{password}")))
        }
        _ => {
            return Err(StoreError::config(
                &spec.name,
                "the credentials must hold a bearer_token, or a username and a password (as variables: PREFIX_BEARER_TOKEN, PREFIX_USERNAME, PREFIX_PASSWORD)",
            ));
        }
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| StoreError::config(&spec.name, "the credentials have characters that no HTTP header may hold"))?;
    value.set_sensitive(true);
    Ok(Some(value))
}
