//! Backends that do not answer, or answer with failures: how long until that is known.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_backends::stores::{Credentials, StoreErrorKind, StoreSpec, build, probe};
use rsb_backends::wrappers::{ErrorClass, WrapOptions, classify, wrap};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::open::spec;

fn s3(endpoint: &str) -> StoreSpec {
    let keys = [("access_key_id", "a"), ("secret_access_key", "s"), ("allow_http", "true"), ("endpoint", endpoint)];
    spec("dead", "s3://box/p", &keys)
}

async fn wrapped(spec: &StoreSpec) -> Arc<dyn ObjectStore> {
    wrap("dead", build(spec).await.unwrap(), &WrapOptions::default())
}

/// A server that answers every request with `answer`, and counts them.
async fn answering(answer: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let count = count.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while matches!(socket.read(&mut head).await, Ok(read) if read > 0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    if answer.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (format!("http://{address}"), asked)
}

/// Each kind of server at `endpoint`. The folder holds the credentials of the Google one.
fn every_kind(endpoint: &str, folder: &FilePath) -> Vec<StoreSpec> {
    let account = folder.join("account.json");
    let json = format!(
        r#"{{"gcs_base_url":"{endpoint}","disable_oauth":true,"client_email":"","private_key":"","private_key_id":""}}"#
    );
    std::fs::write(&account, json).unwrap();
    let azure = [("endpoint", endpoint), ("allow_http", "true"), ("account_name", "a"), ("account_key", "c2VjcmV0")];
    let google = StoreSpec { credentials: Credentials::File(account), ..spec("google", "gs://box/p", &[]) };
    vec![s3(endpoint), spec("azure", "az://box/p", &azure), google, spec("web", format!("{endpoint}/p"), &[])]
}

/// Nothing listens there any more.
async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn a_refused_connection_fails_fast() {
    let dir = tempfile::tempdir().unwrap();
    for spec in every_kind(&refusing().await, dir.path()) {
        let (store, key, began) = (wrapped(&spec).await, Path::from("x"), Instant::now());
        let mut errors = vec![store.get(&key).await.unwrap_err(), store.list(None).next().await.unwrap().unwrap_err()];
        if spec.name != "web" {
            errors.extend([store.put(&key, "1".into()).await.unwrap_err(), store.delete(&key).await.unwrap_err()]);
        }
        for error in errors {
            assert_eq!(classify(&error), ErrorClass::Connect, "{}: {error:?}", spec.name);
        }
        assert!(began.elapsed() < Duration::from_secs(4), "{}: {:?}", spec.name, began.elapsed());
        let error = probe(&spec).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("is the server running"), "{error}");
    }
}

#[tokio::test]
async fn a_black_hole_is_known_within_ten_seconds_and_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let (endpoint, asked) = answering("").await;
    let specs = every_kind(&endpoint, dir.path());
    let ask = |spec: &StoreSpec| {
        let spec = spec.clone();
        async move {
            let store = wrapped(&spec).await;
            let error = store.get(&Path::from("x")).await.unwrap_err();
            assert_eq!(classify(&error), ErrorClass::Timeout, "{}: {error:?}", spec.name);
        }
    };
    let began = Instant::now();
    futures::future::join_all(specs.iter().map(ask)).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(asked.load(Ordering::SeqCst), specs.len(), "waiting long is not repeated");
}

#[tokio::test]
async fn a_failing_server_is_asked_three_times_and_a_refusing_one_once() {
    let (endpoint, asked) = answering("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops").await;
    let error = wrapped(&s3(&endpoint)).await.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!((classify(&error), asked.load(Ordering::SeqCst)), (ErrorClass::Server, 3), "{error}");
    assert!(error.to_string().contains("500 Internal Server Error: oops"), "{error}");

    let (endpoint, asked) = answering("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
    let spec = s3(&endpoint);
    let error = wrapped(&spec).await.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!((classify(&error), asked.load(Ordering::SeqCst)), (ErrorClass::Denied, 1), "{error}");
    assert_eq!(probe(&spec).await.unwrap_err().kind(), StoreErrorKind::Denied);
}

#[tokio::test]
async fn a_full_server_is_not_asked_again() {
    let (endpoint, asked) = answering("HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\n\r\n").await;
    wrapped(&s3(&endpoint)).await.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
