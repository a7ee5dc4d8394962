//! Where AWS credentials come from, proven on MinIO: each test runs in an environment of its own.

use std::path::Path as FilePath;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use rsb_backends::stores::{Credentials, StoreErrorKind, StoreSpec, build, ensure_container, probe};
use rsb_core::testkit::backend::read;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::open::{in_environment, server, spec, unique};
use crate::servers::{refused, s3, s3_keys};

/// MinIO's bucket `name` with credentials from elsewhere.
fn elsewhere(endpoint: &str, bucket: &str, credentials: Credentials) -> StoreSpec {
    let options = [("endpoint", endpoint), ("allow_http", "true")];
    StoreSpec { credentials, ..spec("nas", format!("s3://{bucket}"), &options) }
}

fn minio(what: &str) -> Option<String> {
    server(&format!("S3 on MinIO with {what}"), "RSB_TEST_S3_ENDPOINT")
}

/// Writes and reads with the spec's credentials.
async fn works(spec: &StoreSpec) {
    ensure_container(spec).await.unwrap();
    probe(spec).await.unwrap();
    let store = build(spec).await.unwrap();
    store.put(&Path::from("x"), "1".into()).await.unwrap();
    assert_eq!(read(&*store, "x").await, "1");
}

/// A wrong secret: every door says that it is the credentials, and none says the secret.
async fn is_refused(spec: &StoreSpec) {
    let error = probe(spec).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
    let text = format!("{error} {error:?}");
    assert!(error.to_string().contains("refuses the credentials") && !text.contains(WRONG), "{text}");
    assert_eq!(ensure_container(spec).await.unwrap_err().kind(), StoreErrorKind::Denied);
    refused(spec).await;
}

const WRONG: &str = "wrong-secret";

/// A config file and a credentials file of AWS, with profiles that work and one that does not.
fn profiles(folder: &FilePath) -> (String, String) {
    let (id, secret) = s3_keys();
    let credentials = format!(
        "[default]\naws_access_key_id = {id}\naws_secret_access_key = {WRONG}\n\n\
         [nas]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"
    );
    let program = folder.join("keys.sh");
    let json = format!(r#"{{"Version": 1, "AccessKeyId": "{id}", "SecretAccessKey": "{secret}"}}"#);
    std::fs::write(&program, format!("echo '{json}'\n")).unwrap();
    let config = format!(
        "[profile nas]\nregion = us-east-1\n\n[profile program]\ncredential_process = sh {}\n\n\
         [profile empty]\nregion = eu-north-1\n",
        program.display()
    );
    let (first, second) = (folder.join("config"), folder.join("credentials"));
    std::fs::write(&first, config).unwrap();
    std::fs::write(&second, credentials).unwrap();
    (first.display().to_string(), second.display().to_string())
}

#[tokio::test]
async fn a_profile() {
    let Some(endpoint) = minio("an AWS profile") else { return };
    let dir = tempfile::tempdir().unwrap();
    let (config, credentials) = profiles(dir.path());
    let variables = [("AWS_CONFIG_FILE", config.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str())];
    if !in_environment("aws::a_profile", &variables) {
        return;
    }
    let with = |name: &str| elsewhere(&endpoint, &unique("conf"), Credentials::Profile(name.into()));
    works(&with("nas")).await;
    works(&with("program")).await;
    is_refused(&with("default")).await;
    for name in ["empty", "mistyped"] {
        let error = probe(&with(name)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
        let text = error.to_string();
        assert!(text.contains("AWS credentials") && text.contains("credentials = {"), "{error}");
    }
}

#[tokio::test]
async fn the_usual_variables_and_the_profile_they_name() {
    let Some(endpoint) = minio("AWS_PROFILE and AWS_ACCESS_KEY_ID") else { return };
    let dir = tempfile::tempdir().unwrap();
    let ((config, credentials), (id, secret)) = (profiles(dir.path()), s3_keys());
    let files = [("AWS_CONFIG_FILE", config.as_str()), ("AWS_SHARED_CREDENTIALS_FILE", credentials.as_str())];
    let name = "aws::the_usual_variables_and_the_profile_they_name";
    let keys = |secret| [("AWS_ACCESS_KEY_ID", id.as_str()), ("AWS_SECRET_ACCESS_KEY", secret)];
    if !in_environment(name, &[files[0], files[1], ("AWS_PROFILE", "nas")]) {
        let [id, secret] = keys(&secret);
        in_environment(name, &[id, secret, ("AWS_REGION", "us-east-1")]);
        let [id, secret] = keys(WRONG);
        in_environment(name, &[id, secret, ("RSB_TEST_REFUSED", "1")]);
        // Without any of them the file's default profile is used, which has a wrong secret.
        in_environment(name, &[files[0], files[1], ("RSB_TEST_REFUSED", "1")]);
        return;
    }
    let spec = elsewhere(&endpoint, &unique("conf"), Credentials::Default);
    match std::env::var("RSB_TEST_REFUSED") {
        Ok(_) => is_refused(&spec).await,
        Err(_) => works(&spec).await,
    }
}

#[tokio::test]
async fn variables_with_a_prefix() {
    let Some(endpoint) = minio("variables of a prefix") else { return };
    let (id, secret) = s3_keys();
    let variables = [
        ("NAS_ACCESS_KEY_ID", id.as_str()),
        ("NAS_SECRET_ACCESS_KEY", secret.as_str()),
        ("BAD_ACCESS_KEY_ID", id.as_str()),
        ("BAD_SECRET_ACCESS_KEY", WRONG),
        ("HALF_ACCESS_KEY_ID", id.as_str()),
    ];
    if !in_environment("aws::variables_with_a_prefix", &variables) {
        return;
    }
    let with = |prefix: &str| elsewhere(&endpoint, &unique("conf"), Credentials::Env(prefix.into()));
    works(&with("NAS")).await;
    is_refused(&with("BAD")).await;
    let error = build(&with("HALF")).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Config);
    assert!(error.to_string().contains("HALF_SECRET_ACCESS_KEY is not set"), "{error}");
}

#[tokio::test]
async fn a_credentials_file() {
    let Some(endpoint) = minio("a credentials file") else { return };
    let (dir, (id, secret)) = (tempfile::tempdir().unwrap(), s3_keys());
    let forms = |secret: &str| {
        [
            ("keys.toml", format!("access_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n")),
            ("keys.json", format!(r#"{{"access_key_id": "{id}", "secret_access_key": "{secret}"}}"#)),
            ("credentials", format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")),
        ]
    };
    for ((name, right), (_, wrong)) in forms(&secret).into_iter().zip(forms(WRONG)) {
        let path = dir.path().join(name);
        let spec = elsewhere(&endpoint, &unique("conf"), Credentials::File(path.clone()));
        std::fs::write(&path, right).unwrap();
        works(&spec).await;
        std::fs::write(&path, wrong).unwrap();
        is_refused(&spec).await;
    }
}

#[tokio::test]
async fn keys_in_the_options() {
    let Some(endpoint) = minio("keys in the options") else { return };
    let mut spec = s3(&endpoint, &unique("conf"));
    works(&spec).await;
    spec.options.insert("secret_access_key".into(), WRONG.into());
    is_refused(&spec).await;
    let mut unknown = s3(&endpoint, &unique("conf"));
    unknown.options.insert("access_key_id".into(), "nobody".into());
    is_refused(&unknown).await;
}

/// Where there are no keys, the machine's metadata service is asked; where that does not answer, it must not take long.
#[tokio::test]
async fn without_credentials_it_says_so_soon() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let service = format!("http://{}", listener.local_addr().unwrap());
    let variables = [("AWS_EC2_METADATA_DISABLED", "false"), ("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.as_str())];
    if !in_environment("aws::without_credentials_it_says_so_soon", &variables) {
        // It connected, and got no answer: the connection waits here to be accepted.
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = String::new();
        socket.read_to_string(&mut request).await.unwrap();
        assert!(request.contains("/latest/api/token"), "the metadata service was asked: {request}");
        return;
    }
    let began = Instant::now();
    let error = probe(&elsewhere("http://127.0.0.1:9", "box", Credentials::Default)).await.unwrap_err();
    assert!(began.elapsed().as_secs() < 6, "{:?}", began.elapsed());
    assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("no AWS credentials are found"), "{error}");
}
