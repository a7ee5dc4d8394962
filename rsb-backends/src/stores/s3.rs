//! S3 and what speaks its protocol: MinIO, Ceph, R2, B2, Garage.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use aws_config::Region;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, resolve_bucket_region};

use super::StoreSpec;
use super::aws_credentials::AwsCredentials;
use super::client::{Connector, Typed, client_options, no_retry};
use super::credentials::{self, Credentials, Lookup};
use super::error::StoreError;
use super::options::{S3_KEYS, parse_key};

/// Longest wait for an answer of the machine's metadata service: where there is none, nothing may stall.
const METADATA_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for AWS to say in which region a bucket lies.
const REGION_TIMEOUT: Duration = Duration::from_secs(3);
/// What S3 servers outside AWS take for granted.
const FALLBACK_REGION: &str = "us-east-1";

/// A bucket, opened, and the facts a request of our own to it needs.
pub(crate) struct Bucket {
    /// object_store's client.
    pub(crate) store: AmazonS3,
    /// The bucket's url.
    pub(crate) url: String,
    /// The region requests are signed for.
    pub(crate) region: String,
    /// Requests go unsigned.
    pub(crate) skip_signature: bool,
    /// Not AWS itself.
    pub(crate) custom_endpoint: bool,
}

/// Opens a bucket. Asks no server, but AWS for the region of a bucket of its own when nothing else says it.
pub(crate) async fn open(spec: &StoreSpec, bucket: &str, typed: Typed, env: Lookup<'_>) -> Result<Bucket, StoreError> {
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket)
        .with_retry(no_retry())
        .with_client_options(client_options())
        .with_http_connector(Connector::new(typed));
    builder = apply(spec, builder, &spec.options)?;
    let source = Source::of(spec, &builder, env)?;
    if let Source::Keys(keys) = &source {
        builder = apply(spec, builder, keys)?;
    }
    super::check_endpoint(spec, endpoint(&builder).as_deref(), allow_http(&builder))?;

    let region = match builder.get_config_value(&AmazonS3ConfigKey::Region) {
        Some(region) => region,
        None => region_of(spec, bucket, &source, endpoint(&builder).is_some()).await,
    };
    builder = builder.with_region(&region);
    if let Some(provider) = source.provider(&region).await {
        builder = builder.with_credentials(Arc::new(AwsCredentials::new(&spec.name, provider)));
    }
    let url = bucket_url(&builder, bucket, &region);
    let skip_signature = is_true(&builder, AmazonS3ConfigKey::SkipSignature);
    let custom_endpoint = endpoint(&builder).is_some();
    let store = builder.build().map_err(|error| spec.cannot_open(error))?;
    Ok(Bucket { store, url, region, skip_signature, custom_endpoint })
}

/// Where the keys come from.
enum Source {
    /// Access keys in the options, or none needed.
    Options,
    /// Keys read from environment variables or a file, as options.
    Keys(BTreeMap<String, String>),
    /// aws-config's chain: environment, profile, SSO, web identity, container, machine.
    Chain,
    /// A profile of the AWS configuration files.
    Profile(String),
    /// An AWS credentials file; its profile `default`.
    AwsFile(EnvConfigFiles),
}

impl Source {
    fn of(spec: &StoreSpec, builder: &AmazonS3Builder, env: Lookup<'_>) -> Result<Self, StoreError> {
        let in_options = builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId).is_some()
            || builder.get_config_value(&AmazonS3ConfigKey::SecretAccessKey).is_some();
        if in_options && spec.credentials != Credentials::Default {
            return Err(StoreError::config(
                &spec.name,
                "options hold access keys and credentials name another source; keep one of the two",
            ));
        }
        if in_options || is_true(builder, AmazonS3ConfigKey::SkipSignature) {
            return Ok(Self::Options);
        }
        Ok(match &spec.credentials {
            Credentials::Default => Self::Chain,
            Credentials::Profile(name) => Self::Profile(name.clone()),
            Credentials::Env(prefix) => {
                let names = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"];
                Self::Keys(credentials::from_env(&spec.name, prefix, &names, 2, env)?)
            }
            Credentials::File(path) => Self::file(spec, path)?,
        })
    }

    fn file(spec: &StoreSpec, path: &FilePath) -> Result<Self, StoreError> {
        let text = credentials::read_file(&spec.name, path)?;
        Ok(match credentials::parse_table(&text) {
            Some(keys) => Self::Keys(keys),
            None => {
                Self::AwsFile(EnvConfigFiles::builder().with_contents(EnvConfigFileKind::Credentials, text).build())
            }
        })
    }

    async fn provider(&self, region: &str) -> Option<SharedCredentialsProvider> {
        let region = Region::new(region.to_owned());
        let config = ProviderConfig::default().with_region(Some(region.clone()));
        let profile = || ProfileFileCredentialsProvider::builder().configure(&config);
        match self {
            Self::Options | Self::Keys(_) => None,
            Self::Profile(name) => Some(SharedCredentialsProvider::new(profile().profile_name(name).build())),
            Self::AwsFile(files) => {
                let provider = profile().profile_files(files.clone()).profile_name("default").build();
                Some(SharedCredentialsProvider::new(provider))
            }
            Self::Chain => {
                let metadata = aws_config::imds::Client::builder()
                    .configure(&config)
                    .max_attempts(1)
                    .connect_timeout(METADATA_TIMEOUT)
                    .read_timeout(METADATA_TIMEOUT)
                    .build();
                let chain = aws_config::default_provider::credentials::DefaultCredentialsChain::builder()
                    .configure(config)
                    .region(region)
                    .imds_client(metadata)
                    .build()
                    .await;
                Some(SharedCredentialsProvider::new(chain))
            }
        }
    }

    /// The region the AWS configuration names.
    async fn region(&self) -> Option<Region> {
        match self {
            Self::Profile(name) => ProfileFileRegionProvider::builder().profile_name(name).build().region().await,
            Self::Chain => match EnvironmentVariableRegionProvider::new().region().await {
                Some(region) => Some(region),
                None => ProfileFileRegionProvider::new().region().await,
            },
            Self::Options | Self::Keys(_) | Self::AwsFile(_) => None,
        }
    }
}

async fn region_of(spec: &StoreSpec, bucket: &str, source: &Source, custom_endpoint: bool) -> String {
    if let Some(region) = source.region().await {
        return region.to_string();
    }
    if custom_endpoint {
        return FALLBACK_REGION.to_owned();
    }
    // A bucket of AWS has one right region, and AWS tells it to anybody.
    match tokio::time::timeout(REGION_TIMEOUT, resolve_bucket_region(bucket, &client_options())).await {
        Ok(Ok(region)) => region,
        _ => {
            tracing::warn!(
                backend = spec.name,
                "the bucket's region is not known; {FALLBACK_REGION} is assumed; write options = {{ region = \"…\" }}"
            );
            FALLBACK_REGION.to_owned()
        }
    }
}

fn apply(
    spec: &StoreSpec,
    mut builder: AmazonS3Builder,
    options: &BTreeMap<String, String>,
) -> Result<AmazonS3Builder, StoreError> {
    for (key, value) in options {
        let key: AmazonS3ConfigKey = parse_key(&spec.name, key, &S3_KEYS)?;
        if key == AmazonS3ConfigKey::Bucket {
            return Err(StoreError::config(&spec.name, "the bucket stands in the url; take it out of options"));
        }
        builder = builder.with_config(key, value);
    }
    Ok(builder)
}

fn endpoint(builder: &AmazonS3Builder) -> Option<String> {
    let value = |key| builder.get_config_value(&key);
    value(AmazonS3ConfigKey::S3Endpoint).or_else(|| value(AmazonS3ConfigKey::Endpoint))
}

fn allow_http(builder: &AmazonS3Builder) -> bool {
    is_true(builder, AmazonS3ConfigKey::Client(object_store::ClientConfigKey::AllowHttp))
}

fn is_true(builder: &AmazonS3Builder, key: AmazonS3ConfigKey) -> bool {
    builder.get_config_value(&key).is_some_and(|value| super::is_yes(&value))
}

/// The bucket's url, by object_store's own rule.
fn bucket_url(builder: &AmazonS3Builder, bucket: &str, region: &str) -> String {
    let in_host = is_true(builder, AmazonS3ConfigKey::VirtualHostedStyleRequest);
    match (endpoint(builder), in_host) {
        (Some(endpoint), true) => endpoint,
        (Some(endpoint), false) => format!("{}/{bucket}", endpoint.trim_end_matches('/')),
        (None, true) => format!("https://{bucket}.s3.{region}.amazonaws.com"),
        (None, false) => format!("https://s3.{region}.amazonaws.com/{bucket}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::StoreErrorKind;

    fn spec(options: &[(&str, &str)], credentials: Credentials) -> StoreSpec {
        let options = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        StoreSpec { name: "m".into(), url: "s3://box/p".into(), options, credentials }
    }

    const LOCAL: [(&str, &str); 2] = [("endpoint", "http://127.0.0.1:9"), ("allow_http", "true")];

    async fn keys(spec: &StoreSpec, env: Lookup<'_>) -> (String, String) {
        let bucket = open(spec, "box", Typed::Temporary, env).await.unwrap();
        let found = bucket.store.credentials().get_credential().await.unwrap();
        (found.key_id.clone(), bucket.region)
    }

    #[tokio::test]
    async fn keys_come_from_options_variables_and_files() {
        let none: Lookup<'_> = &|_| None;
        let mut options = LOCAL.to_vec();
        options.extend([("access_key_id", "in-options"), ("secret_access_key", "s"), ("region", "eu-1")]);
        assert_eq!(keys(&spec(&options, Credentials::Default), none).await, ("in-options".into(), "eu-1".into()));

        let env: Lookup<'_> = &|name| name.starts_with("NAS_").then(|| name.to_lowercase());
        let found = keys(&spec(&LOCAL, Credentials::Env("NAS".into())), env).await;
        assert_eq!(found, ("nas_access_key_id".into(), FALLBACK_REGION.into()));

        let dir = tempfile::tempdir().unwrap();
        for (name, text, id) in [
            ("a.toml", "access_key_id = 'in-toml'\nsecret_access_key = 's'\n", "in-toml"),
            ("b.json", r#"{"access_key_id":"in-json","secret_access_key":"s"}"#, "in-json"),
            ("credentials", "[default]\naws_access_key_id = in-aws-file\naws_secret_access_key = s\n", "in-aws-file"),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            assert_eq!(keys(&spec(&LOCAL, Credentials::File(path)), none).await.0, id);
        }
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_with_a_sentence() {
        let none: Lookup<'_> = &|_| None;
        let keys = [("access_key_id", "a"), ("secret_access_key", "hunter2")];
        type Case<'a> = (Vec<(&'a str, &'a str)>, Credentials, &'a str);
        let cases: [Case<'_>; 6] = [
            (vec![("endpoint", "http://127.0.0.1:9")], Credentials::Default, "allow_http = true"),
            (vec![("endpoint", "127.0.0.1:9000")], Credentials::Default, "http:// or https://"),
            (vec![("bucket", "x")], Credentials::Default, "stands in the url"),
            (keys.to_vec(), Credentials::Profile("p".into()), "keep one of the two"),
            (vec![("access_key_id", "a"), ("region", "r")], Credentials::Default, "secret"),
            (LOCAL.to_vec(), Credentials::File("/nowhere/keys.toml".into()), "/nowhere/keys.toml cannot be read"),
        ];
        for (options, credentials, says) in cases {
            let error = open(&spec(&options, credentials), "box", Typed::Temporary, none).await.err().unwrap();
            assert_eq!(error.kind(), StoreErrorKind::Config);
            let text = error.to_string().to_lowercase();
            assert!(text.contains(&says.to_lowercase()) && !text.contains("hunter2"), "{error}");
        }
    }
}
