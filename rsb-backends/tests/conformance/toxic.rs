//! MinIO behind toxiproxy: connections that never answer, break in the middle of a body, or are slow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_backends::stores::{StoreErrorKind, StoreSpec, build, ensure_container, probe};
use rsb_backends::wrappers::{ErrorClass, Fault, FaultHandle, Op, Timeouts, WrapOptions, classify, wrap};
use rsb_core::testkit::backend::{pattern, read};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::open::{server, unique};
use crate::servers::s3;

/// One proxy of toxiproxy in front of MinIO, and a bucket behind it.
struct Toxic {
    control: String,
    name: String,
    spec: StoreSpec,
}

impl Toxic {
    async fn start() -> Option<Self> {
        let what = "S3 on MinIO behind toxiproxy";
        let (control, minio) = (server(what, "RSB_TEST_TOXIPROXY")?, server(what, "RSB_TEST_S3_ENDPOINT")?);
        let control = control.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let upstream = minio.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let (name, bucket) = (unique("proxy"), unique("conf"));
        assert!(ensure_container(&s3(&minio, &bucket)).await.unwrap());
        let mut toxic = Self { control, name, spec: s3("http://127.0.0.1:1", &bucket) };
        let body = format!(r#"{{"name":"{}","listen":"127.0.0.1:0","upstream":"{upstream}"}}"#, toxic.name);
        let made = toxic.call("POST", "/proxies", &body).await;
        let listen = made.split("\"listen\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        toxic.spec.options.insert("endpoint".into(), format!("http://{listen}"));
        Some(toxic)
    }

    /// One request to toxiproxy's own interface.
    async fn call(&self, method: &str, path: &str, body: &str) -> String {
        let mut socket = TcpStream::connect(&self.control).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.control,
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{method} {path} {body}: {answer}");
        answer
    }

    /// Adds a toxic to what comes from MinIO.
    async fn add(&self, kind: &str, attributes: &str) {
        let body =
            format!(r#"{{"name":"{kind}","type":"{kind}","stream":"downstream","attributes":{{{attributes}}}}}"#);
        self.call("POST", &format!("/proxies/{}/toxics", self.name), &body).await;
    }

    async fn remove(&self, kind: &str) {
        self.call("DELETE", &format!("/proxies/{}/toxics/{kind}", self.name), "").await;
    }

    /// The wrapped store, with limits that a test can wait for, and a count of what it asks of the server.
    async fn store(&self) -> (Arc<dyn ObjectStore>, FaultHandle) {
        let (counted, asked) = Fault::around(build(&self.spec).await.unwrap());
        let (answer, idle) = (Duration::from_secs(1), Duration::from_secs(1));
        let timeouts = Timeouts { answer, idle, ..Timeouts::default() };
        (wrap("toxic", counted, &WrapOptions { timeouts, ..WrapOptions::default() }), asked)
    }
}

/// Three tries with their pauses, and room for a busy machine.
const SOON: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_connection_that_never_answers_is_ended() {
    let Some(toxic) = Toxic::start().await else { return };
    let (key, (store, _)) = (Path::from("x"), toxic.store().await);
    store.put(&key, "1".into()).await.unwrap();
    toxic.add("timeout", r#""timeout":0"#).await;
    for operation in ["get", "put", "list"] {
        let began = Instant::now();
        let error = match operation {
            "get" => store.get(&key).await.unwrap_err(),
            "put" => store.put(&key, "2".into()).await.unwrap_err(),
            _ => store.list(None).next().await.unwrap().unwrap_err(),
        };
        assert_eq!(classify(&error), ErrorClass::Timeout, "{operation}: {error:?}");
        assert!(error.to_string().contains("did not answer"), "{operation}: {error}");
        assert!(began.elapsed() < SOON, "{operation}: {:?}", began.elapsed());
    }
    toxic.remove("timeout").await;
    read(&*store, "x").await;
}

#[tokio::test]
async fn a_probe_of_a_server_that_never_answers_ends() {
    let Some(toxic) = Toxic::start().await else { return };
    toxic.add("timeout", r#""timeout":0"#).await;
    let began = Instant::now();
    let error = probe(&toxic.spec).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreachable, "{error}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_body_whose_connection_is_cut_goes_on_where_it_broke() {
    let Some(toxic) = Toxic::start().await else { return };
    let (data, (store, asked)) = (pattern(2_600_000), toxic.store().await);
    store.put(&Path::from("x"), data.clone().into()).await.unwrap();
    // Each connection carries a million bytes, so that three are needed: the three tries a body has.
    toxic.add("limit_data", r#""bytes":1000000"#).await;
    assert_eq!(read(&*store, "x").await, data);
    assert_eq!(asked.count(Op::Get), 3);
    let parts = store.get_ranges(&Path::from("x"), &[0..900_000, 2_000_000..2_500_000]).await.unwrap();
    assert_eq!(parts, [data.slice(..900_000), data.slice(2_000_000..2_500_000)]);
}

#[tokio::test]
async fn a_body_whose_connection_is_reset_goes_on_where_it_broke() {
    resumes_after("reset_peer").await;
}

#[tokio::test]
async fn a_body_that_stands_still_goes_on_by_another_connection() {
    resumes_after("timeout").await;
}

/// In the middle of a body the toxic works until another try begins; the bytes are the same all the same.
async fn resumes_after(kind: &str) {
    let Some(toxic) = Toxic::start().await else { return };
    let (data, (store, asked)) = (pattern(2_000_000), toxic.store().await);
    store.put(&Path::from("x"), data.clone().into()).await.unwrap();
    toxic.add("bandwidth", r#""rate":1000"#).await;
    let mut body = store.get(&Path::from("x")).await.unwrap().into_stream();
    let mut got = Vec::new();
    while got.len() < 100_000 {
        got.extend_from_slice(&body.next().await.unwrap().unwrap());
    }
    toxic.add(kind, r#""timeout":0"#).await;
    let rest = tokio::spawn(body.try_collect::<Vec<Bytes>>());
    while asked.count(Op::Get) < 2 && !rest.is_finished() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    toxic.remove(kind).await;
    toxic.remove("bandwidth").await;
    for piece in rest.await.unwrap().unwrap() {
        got.extend_from_slice(&piece);
    }
    assert!(asked.count(Op::Get) >= 2, "it broke");
    assert_eq!(Bytes::from(got), data);
}

#[tokio::test]
async fn a_slow_connection_works() {
    let Some(toxic) = Toxic::start().await else { return };
    toxic.add("latency", r#""latency":300,"jitter":100"#).await;
    toxic.add("bandwidth", r#""rate":500"#).await;
    let (data, (store, asked)) = (pattern(1_000_000), toxic.store().await);
    let began = Instant::now();
    store.put(&Path::from("s/x"), data.clone().into()).await.unwrap();
    assert_eq!(read(&*store, "s/x").await, data);
    assert!(began.elapsed() > Duration::from_secs(2), "it was slow: {:?}", began.elapsed());
    assert_eq!(store.list(None).count().await, 1);
    assert_eq!((asked.count(Op::Put), asked.count(Op::Get)), (1, 1), "nothing was tried again");
}
