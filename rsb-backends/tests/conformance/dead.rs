//! Backends that do not answer, or answer with failures: how long until that is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_backends::stores::{StoreErrorKind, StoreSpec, build, probe};
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

#[tokio::test]
async fn a_refused_connection_fails_fast() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let spec = s3(&endpoint);
    let store = wrapped(&spec).await;
    let began = Instant::now();
    for error in
        [store.put(&Path::from("x"), "1".into()).await.unwrap_err(), store.get(&Path::from("x")).await.unwrap_err()]
    {
        assert_eq!(classify(&error), ErrorClass::Connect, "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let error = probe(&spec).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreachable, "{error}");
    assert!(error.to_string().contains("is the server running"), "{error}");
}

#[tokio::test]
async fn a_black_hole_is_known_within_ten_seconds_and_asked_once() {
    let (endpoint, asked) = answering("").await;
    let store = wrapped(&s3(&endpoint)).await;
    let began = Instant::now();
    let error = store.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!(classify(&error), ErrorClass::Timeout, "{error}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "waiting long is not repeated");
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

/// Where there are no keys, the machine's metadata service is asked too; where there is none, that must not take long.
#[tokio::test]
async fn without_credentials_it_says_so_soon() {
    let spec = spec("dead", "s3://box/p", &[("allow_http", "true"), ("endpoint", "http://127.0.0.1:9")]);
    let began = Instant::now();
    let error = probe(&spec).await.unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    match error.kind() {
        StoreErrorKind::Denied => assert!(error.to_string().contains("AWS credentials"), "{error}"),
        // This machine has credentials.
        kind => assert_eq!(kind, StoreErrorKind::Unreachable, "{error}"),
    }
}

#[tokio::test]
async fn a_full_server_is_not_asked_again() {
    let (endpoint, asked) = answering("HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\n\r\n").await;
    wrapped(&s3(&endpoint)).await.put(&Path::from("x"), "1".into()).await.unwrap_err();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}
