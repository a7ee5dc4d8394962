//! Real servers: MinIO by S3, Azurite, and MinIO by Google's XML interface.

use std::sync::Arc;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt};
use rsb_backends::stores::{Credentials, StoreErrorKind, StoreSpec, build, ensure_container, probe};
use rsb_backends::wrappers::{ErrorClass, WrapOptions, classify, wrap};
use rsb_core::testkit::backend::{ALL, Abilities, run, short_ranges};

use crate::open::{in_environment, server, spec, unique, wrappers};

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
    refused(wrong).await;
}

/// With wrong keys every operation is refused as such: it is not tried again, and never taken for a missing object.
pub async fn refused(wrong: &StoreSpec) {
    let store = wrap(&wrong.name, build(wrong).await.unwrap(), &WrapOptions::default());
    let key = Path::from("x");
    let errors = [
        store.put(&key, "1".into()).await.unwrap_err(),
        store.get(&key).await.unwrap_err(),
        store.get_ranges(&key, &[0..1, 2..3]).await.unwrap_err(),
        store.head(&key).await.unwrap_err(),
        store.delete(&key).await.unwrap_err(),
        store.list_with_delimiter(None).await.unwrap_err(),
        store.put_multipart(&key).await.err().unwrap_or(Error::NotImplemented {
            operation: "an upload whose first request is its first part".into(),
            implementer: "Azure".into(),
        }),
    ];
    for (at, error) in errors.iter().enumerate() {
        let begins_late = matches!(error, Error::NotImplemented { .. });
        assert!(begins_late || classify(error) == ErrorClass::Denied, "operation {at}: {error:?}");
    }
}

/// MinIO's bucket, as a spec with its keys in the options.
pub fn s3(endpoint: &str, bucket: &str) -> StoreSpec {
    let (id, secret) = s3_keys();
    let options = [
        ("endpoint", endpoint),
        ("allow_http", "true"),
        ("access_key_id", id.as_str()),
        ("secret_access_key", secret.as_str()),
    ];
    spec("minio", format!("s3://{bucket}"), &options)
}

/// MinIO's access key and secret.
pub fn s3_keys() -> (String, String) {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "minioadmin".into());
    (variable("RSB_TEST_S3_ACCESS_KEY"), variable("RSB_TEST_S3_SECRET_KEY"))
}

/// S3 copies that do not overwrite take a setting that differs by server; the engine does not copy.
const MINIO: Abilities = Abilities { create_only_copy: false, ..ALL };

#[tokio::test]
async fn minio() {
    let Some(endpoint) = server("S3 on MinIO", "RSB_TEST_S3_ENDPOINT") else { return };
    let spec = s3(&endpoint, &unique("conf"));
    let mut wrong = spec.clone();
    wrong.options.insert("secret_access_key".into(), "wrong-secret".into());
    container_life(&spec, &wrong).await;
    let error = probe(&wrong).await.unwrap_err().to_string();
    assert!(error.contains("refuses the credentials") && !error.contains("wrong-secret"), "{error}");
    both(&spec, MINIO).await;
}

#[tokio::test]
async fn minio_in_each_wrapper() {
    let Some(endpoint) = server("each wrapper around S3 on MinIO", "RSB_TEST_S3_ENDPOINT") else { return };
    let spec = s3(&endpoint, &unique("conf"));
    assert!(ensure_container(&spec).await.unwrap());
    let mut opened: Vec<(String, Arc<dyn ObjectStore>)> = Vec::new();
    for name in ["exact", "retry", "limit", "metrics", "timeout", "fault", "wrap"] {
        let url = format!("{}/{name}", spec.url);
        opened.push((name.into(), build(&StoreSpec { url, ..spec.clone() }).await.unwrap()));
    }
    let all = wrappers(|wanted| opened.iter().find(|(name, _)| name == wanted).unwrap().1.clone());
    // Uploads of 25 MB add nothing here: `minio` has them.
    let small = Abilities { uploads: false, ..MINIO };
    futures::future::join_all(all.iter().map(|(_, store)| run(&**store, small))).await;
}

/// The emulator's published account and key.
const AZURITE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Azurite's container, as a spec with its keys in the options.
pub fn azure(server: &str, container: &str) -> StoreSpec {
    let endpoint = format!("{}/devstoreaccount1", server.trim_end_matches('/'));
    let options = [
        ("endpoint", endpoint.as_str()),
        ("allow_http", "true"),
        ("account_name", "devstoreaccount1"),
        ("account_key", AZURITE_KEY),
    ];
    spec("azurite", format!("az://{container}"), &options)
}

#[tokio::test]
async fn azurite() {
    let Some(server) = server("Azure Blob on Azurite", "RSB_TEST_AZURITE_ENDPOINT") else { return };
    let spec = azure(&server, &unique("conf"));
    let mut wrong = spec.clone();
    wrong.options.insert("account_key".into(), "d3Jvbmc=".into());
    container_life(&spec, &wrong).await;
    // Azurite does not know the header for where a listing begins (the wrapped store filters by itself), Azure has no
    // ranges of "the last n bytes", and of two uploads of one key the second one finds its blocks gone.
    both(&spec, Abilities { offset: false, suffix: false, last_upload_wins: false, ..ALL }).await;
}

#[tokio::test]
async fn azures_keys_and_where_they_come_from() {
    let Some(server) = server("Azure's credentials on Azurite", "RSB_TEST_AZURITE_ENDPOINT") else { return };
    let variables = [
        ("AZURITE_BLOB_STORAGE_URL", server.as_str()),
        ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"),
        ("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY),
        ("AZ_ACCOUNT_NAME", "devstoreaccount1"),
        ("AZ_ACCOUNT_KEY", AZURITE_KEY),
        ("BAD_ACCOUNT_NAME", "devstoreaccount1"),
        ("BAD_ACCOUNT_KEY", "d3Jvbmc="),
    ];
    if !in_environment("servers::azures_keys_and_where_they_come_from", &variables) {
        return;
    }
    let endpoint = format!("{}/devstoreaccount1", server.trim_end_matches('/'));
    let local = [("endpoint", endpoint.as_str()), ("allow_http", "true")];
    let at = |options: &[(&str, &str)], credentials| StoreSpec {
        credentials,
        ..spec("azurite", format!("az://{}", unique("conf")), options)
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("azure.toml");
    let text = format!("account_name = \"devstoreaccount1\"\naccount_key = \"{AZURITE_KEY}\"\n");
    std::fs::write(&file, text).unwrap();
    for spec in [
        at(&local, Credentials::Default),
        at(&[("use_emulator", "true")], Credentials::Default),
        at(&local, Credentials::Env("AZ".into())),
        at(&local, Credentials::File(file)),
    ] {
        assert!(ensure_container(&spec).await.unwrap(), "{spec:?}");
        let store = build(&spec).await.unwrap();
        store.put(&Path::from("x"), "1".into()).await.unwrap();
        assert_eq!(store.list(None).count().await, 1);
    }
    let wrong = at(&local, Credentials::Env("BAD".into()));
    assert_eq!(probe(&wrong).await.unwrap_err().kind(), StoreErrorKind::Denied);
    refused(&wrong).await;
}

/// Google's client on a MinIO whose bucket is open to everybody: the two share their XML interface, not their tokens.
fn gcs(endpoint: &str, bucket: &str, folder: &std::path::Path) -> StoreSpec {
    let path = folder.join("account.json");
    let account = format!(
        r#"{{"gcs_base_url":"{}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#,
        endpoint.trim_end_matches('/')
    );
    std::fs::write(&path, account).unwrap();
    let mut spec = spec("gcs", format!("gs://{bucket}/{}", unique("conf")), &[]);
    spec.credentials = Credentials::File(path);
    spec
}

#[tokio::test]
async fn google_through_minio() {
    let Some(endpoint) = server("Google Cloud Storage's client on MinIO", "RSB_TEST_GCS_ENDPOINT") else { return };
    let dir = tempfile::tempdir().unwrap();
    let spec = gcs(&endpoint, "gcs-test", dir.path());
    probe(&spec).await.unwrap();
    // MinIO overlooks Google's headers (x-goog-if-generation-match for create-only and conditional writes,
    // x-goog-copy-source for copies, x-goog-meta-… for metadata), so what they ask for is not tested here.
    let abilities =
        Abilities { create_only: false, create_only_copy: false, copy: false, update: false, attributes: false, ..ALL };
    both(&spec, abilities).await;
    let missing = StoreSpec { url: format!("gs://{}", unique("missing")), ..spec };
    let error = ensure_container(&missing).await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Missing | StoreErrorKind::Denied), "{error}");
    assert!(probe(&missing).await.is_err());
}

#[tokio::test]
async fn google_without_the_right_to_a_bucket() {
    let Some(endpoint) = server("Google Cloud Storage's refusals on MinIO", "RSB_TEST_GCS_ENDPOINT") else { return };
    let dir = tempfile::tempdir().unwrap();
    let spec = gcs(&endpoint, "gcs-closed", dir.path());
    assert_eq!(probe(&spec).await.unwrap_err().kind(), StoreErrorKind::Denied);
    refused(&spec).await;
}
