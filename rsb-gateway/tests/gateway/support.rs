//! A gateway over memory backends on a free port, and clients for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use reqwest::{Client, Method, RequestBuilder, Response};
use rsb_core::catalog::MemoryCatalog;
use rsb_core::codec::{self, Codecs};
use rsb_core::{Backend, Cost, Engine, EngineConfig, Env, Role, Scheme};
use rsb_gateway::{AccessKey, GatewayConfig, Right, Secret};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// k and m of the test repository, and its backends: one more than it needs.
pub const K: usize = 3;
pub const M: usize = 2;
const BACKENDS: usize = 6;
/// Objects of more bytes than this have shards of their own.
pub const INLINE_LIMIT: usize = 16 << 10;

pub struct Server {
    pub address: SocketAddr,
    /// Where S3 is served, where it is.
    pub s3: Option<String>,
    pub stores: Vec<Arc<InMemory>>,
    pub engine: Engine,
    pub certificate: Option<String>,
    pub client: Client,
    base: String,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

/// A gateway as it is without any configuration.
pub async fn start() -> Server {
    start_with(|_| {}).await
}

pub async fn start_with(change: impl FnOnce(&mut GatewayConfig)) -> Server {
    let (engine, stores) = engine().await;
    let mut config = GatewayConfig::new("127.0.0.1:0".parse().unwrap());
    change(&mut config);
    let gateway = rsb_gateway::bind(engine.clone(), config).await.unwrap();
    let (address, base) = (gateway.local_addr(), gateway.url());
    let s3 = gateway.s3_url().map(|url| url.split_once("://").unwrap().1.to_owned());
    let certificate = gateway.certificate_pem().map(str::to_owned);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(gateway.run(async {
        let _ = stopped.await;
    }));
    let mut client = Client::builder().no_proxy().timeout(Duration::from_secs(60));
    if let Some(pem) = &certificate {
        client = client.tls_certs_only([reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()]);
    }
    let client = client.build().unwrap();
    Server { address, s3, stores, engine, certificate, client, base, stop: Some(stop), task: Some(task) }
}

async fn engine() -> (Engine, Vec<Arc<InMemory>>) {
    let scheme = Scheme::new(K, M, codec::codec_named("cauchy").unwrap().id(), 4096).unwrap();
    let mut config = EngineConfig::new("test", scheme);
    config.segment_size = 1 << 20;
    config.inline_limit = INLINE_LIMIT as u64;
    let stores: Vec<Arc<InMemory>> = (0..BACKENDS).map(|_| Arc::new(InMemory::new())).collect();
    let backend = |(i, store): (usize, &Arc<InMemory>)| {
        let domain = BTreeMap::from([("provider".to_owned(), format!("p{i}"))]);
        Backend::with(format!("b{i}"), store.clone(), domain, Role::Active, Cost::default())
    };
    let backends: Vec<Backend> = stores.iter().enumerate().map(backend).collect();
    let env = Env::system();
    Engine::init_markers(&config, &backends, &env).await.unwrap();
    let catalog = Arc::new(MemoryCatalog::new());
    let engine = Engine::open(config, backends, catalog, Codecs::with_builtin(), env).await.unwrap();
    (engine, stores)
}

impl Server {
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        self.client.request(Method::from_bytes(method.as_bytes()).unwrap(), self.url(path))
    }

    pub async fn send(&self, method: &str, path: &str) -> Response {
        self.request(method, path).send().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Response {
        self.send("GET", path).await
    }

    pub async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status(), 200, "{path}");
        reply.json().await.unwrap()
    }

    /// Makes a bucket.
    pub async fn bucket(&self, name: &str) {
        assert_eq!(self.send("PUT", &format!("/v1/b/{name}")).await.status(), 201);
    }

    /// Writes an object, which must succeed.
    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Value {
        let reply = self.request("PUT", path).body(body.into()).send().await.unwrap();
        let status = reply.status();
        let value: Value = reply.json().await.unwrap();
        assert_eq!(status, 201, "{value}");
        value
    }

    /// Starts a job and waits for its end.
    pub async fn job(&self, path: &str, body: &str) -> Value {
        let reply = self.request("POST", path).body(body.to_owned()).send().await.unwrap();
        let status = reply.status();
        let location = reply.headers().get("location").map(|l| l.to_str().unwrap().to_owned());
        let value: Value = reply.json().await.unwrap();
        assert_eq!(status, 202, "{value}");
        let location = location.unwrap();
        for _ in 0..600 {
            let job = self.json(&location).await;
            if job["state"] != "running" {
                return job;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the job does not end");
    }

    /// Everything that stands on the backends, but the markers.
    pub async fn files(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (i, store) in self.stores.iter().enumerate() {
            let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
            all.extend(metas.iter().map(|m| format!("{i}:{}", m.location)).filter(|f| !f.ends_with("rsb.json")));
        }
        all
    }

    /// Names of all objects in all buckets.
    pub async fn keys(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for bucket in self.json("/v1/b").await["buckets"].as_array().unwrap() {
            let name = bucket["name"].as_str().unwrap();
            for object in self.json(&format!("/v1/b/{name}/o")).await["objects"].as_array().unwrap() {
                all.insert(format!("{name}/{}", object["key"].as_str().unwrap()));
            }
        }
        all
    }

    /// Deletes all shards (`s/`) and manifest files (`m/`) of a backend.
    pub async fn wipe(&self, backend: usize) {
        let store = &self.stores[backend];
        let metas: Vec<_> = store.list(None).try_collect().await.unwrap();
        for meta in metas.iter().filter(|m| !m.location.as_ref().ends_with("rsb.json")) {
            store.delete(&meta.location).await.unwrap();
        }
    }

    /// Flips a bit in the middle of every shard of a backend.
    pub async fn flip_bits(&self, backend: usize) -> usize {
        let store = &self.stores[backend];
        let metas: Vec<_> = store.list(Some(&Path::from("s"))).try_collect().await.unwrap();
        for meta in &metas {
            let mut bytes = store.get(&meta.location).await.unwrap().bytes().await.unwrap().to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            store.put(&meta.location, bytes.into()).await.unwrap();
        }
        metas.len()
    }

    /// A connection to speak on by hand.
    pub async fn raw(&self) -> Raw {
        Raw { stream: TcpStream::connect(self.address).await.unwrap(), rest: Vec::new() }
    }

    /// The same to the S3 door.
    pub async fn raw_s3(&self) -> Raw {
        Raw { stream: TcpStream::connect(self.s3.as_deref().unwrap()).await.unwrap(), rest: Vec::new() }
    }

    /// Stops the gateway and waits until it has.
    pub async fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(task) = self.task.take() {
            tokio::time::timeout(Duration::from_secs(45), task).await.expect("it does not stop").unwrap();
        }
    }
}

/// A connection spoken on by hand.
pub struct Raw {
    pub stream: TcpStream,
    rest: Vec<u8>,
}

/// A reply read by hand.
#[derive(Debug)]
pub struct RawReply {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Raw {
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// The next reply (its body by its Content-Length); `None` when the connection was closed before one.
    pub async fn reply(&mut self) -> Option<RawReply> {
        tokio::time::timeout(Duration::from_secs(20), self.read_reply()).await.expect("no reply comes")
    }

    async fn read_reply(&mut self) -> Option<RawReply> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let len = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length: ").map(|v| v.trim().parse().unwrap())
            })
            .unwrap_or(0usize);
        let len = if status < 200 || status == 304 { 0 } else { len };
        while self.rest.len() < len {
            if !self.more().await {
                break;
            }
        }
        let body = self.rest.drain(..len.min(self.rest.len())).collect();
        Some(RawReply { status, body })
    }

    /// Reads some bytes; false at the end.
    async fn more(&mut self) -> bool {
        let mut buf = vec![0; 16 << 10];
        let got = self.stream.read(&mut buf).await.unwrap_or(0);
        self.rest.extend_from_slice(&buf[..got]);
        got > 0
    }

    /// Whether the other side has closed the connection by itself within some seconds.
    pub async fn is_closed_within(&mut self, limit: Duration) -> bool {
        let closed = async { while self.more().await {} };
        tokio::time::timeout(limit, closed).await.is_ok()
    }
}

/// Bytes that differ everywhere.
pub fn content(len: usize) -> Bytes {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64 ^ len as u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    out.truncate(len);
    out.into()
}

pub fn key(id: &str, secret: &str, rights: &[Right], buckets: &[&str]) -> AccessKey {
    AccessKey {
        id: id.into(),
        secret: Secret::new(secret),
        rights: rights.iter().copied().collect(),
        buckets: buckets.iter().map(|b| (*b).to_owned()).collect(),
    }
}

/// A form's body with the boundary `XX`: (part's headers behind `form-data; `, content).
pub fn form(parts: &[(&str, &[u8])]) -> Bytes {
    let mut out = Vec::new();
    for (disposition, content) in parts {
        out.extend_from_slice(format!("--XX\r\nContent-Disposition: form-data; {disposition}\r\n\r\n").as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"--XX--\r\n");
    out.into()
}

pub const FORM: &str = "multipart/form-data; boundary=XX";
