//! Real servers: MinIO by S3, Azurite, and MinIO by Google's XML interface.

use object_store::path::Path;
use object_store::{Error, ObjectStoreExt};
use rsb_backends::stores::{Credentials, StoreErrorKind, StoreSpec, build, ensure_container, probe};
use rsb_backends::wrappers::{WrapOptions, wrap};

use crate::open::{server, spec, unique};
use crate::suite::{ALL, Abilities, run, short_ranges};

/// The suite on the store by itself and on the wrapped one, each below a prefix of its own.
/// The wrappers add what a server's listings lack.
async fn both(spec: &StoreSpec, abilities: Abilities) {
    let below = |part: &str| StoreSpec { url: format!("{}/{part}", spec.url), ..spec.clone() };
    let (bare, wrapped) = (build(&below("bare")).await.unwrap(), build(&below("deep/wrapped")).await.unwrap());
    run(&*bare, abilities).await;
    let wrapped = wrap(&spec.name, wrapped, &WrapOptions::default());
    run(&*wrapped, Abilities { offset: true, ..abilities }).await;
    short_ranges(&*wrapped).await;
    // What lies below one prefix is not seen below another.
    bare.put(&Path::from("mine"), "1".into()).await.unwrap();
    assert!(matches!(wrapped.head(&Path::from("mine")).await, Err(Error::NotFound { .. })));
}

/// The container is missing, then made once, then there; and bad credentials and names are told apart.
async fn container_life(spec: &StoreSpec, wrong: &StoreSpec) {
    assert_eq!(probe(spec).await.unwrap_err().kind(), StoreErrorKind::Missing);
    assert!(ensure_container(spec).await.unwrap());
    assert!(!ensure_container(spec).await.unwrap(), "made once");
    probe(spec).await.unwrap();
    for error in [probe(wrong).await.unwrap_err(), ensure_container(wrong).await.unwrap_err()] {
        assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
    }
}

fn s3(endpoint: &str, bucket: &str) -> StoreSpec {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "minioadmin".into());
    let (id, secret) = (variable("RSB_TEST_S3_ACCESS_KEY"), variable("RSB_TEST_S3_SECRET_KEY"));
    let options = [
        ("endpoint", endpoint),
        ("allow_http", "true"),
        ("access_key_id", id.as_str()),
        ("secret_access_key", secret.as_str()),
    ];
    spec("minio", format!("s3://{bucket}"), &options)
}

#[tokio::test]
async fn minio() {
    let Some(endpoint) = server("RSB_TEST_S3_ENDPOINT") else { return };
    let spec = s3(&endpoint, &unique("conf"));
    let mut wrong = spec.clone();
    wrong.options.insert("secret_access_key".into(), "wrong-secret".into());
    container_life(&spec, &wrong).await;
    let error = probe(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("refuses the credentials") && !error.contains("wrong-secret"), "{error}");
    both(&spec, Abilities { create_only_copy: false, ..ALL }).await;
}

#[tokio::test]
async fn minio_with_a_credentials_file_of_the_aws_kind() {
    let Some(endpoint) = server("RSB_TEST_S3_ENDPOINT") else { return };
    let mut spec = s3(&endpoint, &unique("conf"));
    let (id, secret) =
        (spec.options.remove("access_key_id").unwrap(), spec.options.remove("secret_access_key").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("credentials");
    std::fs::write(&path, format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")).unwrap();
    spec.credentials = Credentials::File(path);
    assert!(ensure_container(&spec).await.unwrap());
    let store = build(&spec).await.unwrap();
    store.put(&Path::from("x"), "1".into()).await.unwrap();
    assert_eq!(store.get(&Path::from("x")).await.unwrap().bytes().await.unwrap(), "1");
}

/// The emulator's published account and key.
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[tokio::test]
async fn azurite() {
    let Some(endpoint) = server("RSB_TEST_AZURITE_ENDPOINT") else { return };
    let endpoint = format!("{}/devstoreaccount1", endpoint.trim_end_matches('/'));
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("account_name", "devstoreaccount1"),
        ("account_key", AZURITE_KEY),
    ];
    let spec = spec("azurite", format!("az://{}", unique("conf")), &options);
    let mut wrong = spec.clone();
    wrong.options.insert("account_key".into(), "d3Jvbmc=".into());
    container_life(&spec, &wrong).await;
    // It does not know the header for where a listing begins.
    both(&spec, Abilities { offset: false, suffix: false, last_upload_wins: false, ..ALL }).await;
}

#[tokio::test]
async fn google_through_minio() {
    let Some(endpoint) = server("RSB_TEST_GCS_ENDPOINT") else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("account.json");
    let account = format!(
        r#"{{"gcs_base_url":"{}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#,
        endpoint.trim_end_matches('/')
    );
    std::fs::write(&path, account).unwrap();
    let mut spec = spec("gcs", format!("gs://gcs-test/{}", unique("conf")), &[]);
    spec.credentials = Credentials::File(path);
    probe(&spec).await.unwrap();
    // MinIO does not know Google's header for create-only writes, nor its way to delete several objects at once.
    both(
        &spec,
        Abilities { create_only: false, create_only_copy: false, copy: false, update: false, attributes: false, ..ALL },
    )
    .await;
    let missing = StoreSpec { url: format!("gs://{}", unique("missing")), ..spec };
    let error = ensure_container(&missing).await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Missing | StoreErrorKind::Denied), "{error}");
}
