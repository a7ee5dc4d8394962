//! Our own S3 door as a store: object_store's client for S3 finds a server like any other, also with as many backends
//! failing as may be lost. What it does here, programs on object_store do too: DataFusion, delta-rs, polars, Lance.

mod histories;
mod linearizable;

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::aws::{AmazonS3, AmazonS3Builder, S3CopyIfNotExists};
use object_store::memory::InMemory;
use object_store::{RetryConfig, integration};
use rsb_backends::catalog::{Mode, SqliteCatalog};
use rsb_backends::stores::{StoreSpec, ensure_container};
use rsb_backends::wrappers::{Action, Failure, Fault, FaultHandle, Rule};
use rsb_core::codec::{self, Codecs};
use rsb_core::testkit::backend::{ALL, run};
use rsb_core::{Backend, Cost, Engine, EngineConfig, Env, Role, Scheme};
use rsb_gateway::{AccessKey, GatewayConfig, Right, Secret};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::open::spec;

/// 3+2 on seven backends: with two of them failing a write still finds five.
const K: usize = 3;
const M: usize = 2;
const BACKENDS: usize = 7;
const ID: &str = "conformance";
const SECRET: &str = "secret-of-conformance";
/// Objects of more bytes than this have shards of their own.
const INLINE_LIMIT: usize = 16 << 10;

/// A gateway on memory backends that fail on demand, with a SQLite catalog and its S3 door on a free port.
struct Door {
    url: String,
    backends: Vec<FaultHandle>,
    engine: Engine,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _catalog: TempDir,
}

impl Door {
    async fn open() -> Self {
        let scheme = Scheme::new(K, M, codec::codec_named("cauchy").unwrap().id(), 4096).unwrap();
        let mut config = EngineConfig::new("conformance", scheme);
        config.segment_size = 1 << 20;
        config.inline_limit = INLINE_LIMIT as u64;
        let (stores, handles): (Vec<_>, Vec<_>) =
            (0..BACKENDS).map(|_| Fault::around(Arc::new(InMemory::new()))).unzip();
        let backend = |(i, store)| {
            let domain = BTreeMap::from([("provider".to_owned(), format!("p{i}"))]);
            Backend::with(format!("b{i}"), store, domain, Role::Active, Cost::default())
        };
        let backends: Vec<Backend> = stores.into_iter().enumerate().map(backend).collect();
        let env = Env::system();
        Engine::init_markers(&config, &backends, &env).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let catalog = SqliteCatalog::open(&folder.path().join("catalog.db"), Mode::ReadWrite).await.unwrap();
        let engine = Engine::open(config, backends, Arc::new(catalog), Codecs::with_builtin(), env).await.unwrap();
        let mut config = GatewayConfig::new("127.0.0.1:0".parse().unwrap());
        config.s3_listen = Some("127.0.0.1:0".parse().unwrap());
        config.keys = vec![AccessKey {
            id: ID.into(),
            secret: Secret::new(SECRET),
            rights: [Right::Read, Right::Write, Right::Delete, Right::Admin].into(),
            buckets: vec!["*".into()],
        }];
        let gateway = rsb_gateway::bind(engine.clone(), config).await.unwrap();
        let url = gateway.s3_url().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        Self { url, backends: handles, engine, stop, task, _catalog: folder }
    }

    /// A bucket by its name, with the keys in the options.
    fn spec(&self, bucket: &str) -> StoreSpec {
        let options = [
            ("endpoint", self.url.as_str()),
            ("allow_http", "true"),
            ("access_key_id", ID),
            ("secret_access_key", SECRET),
        ];
        spec("door", format!("s3://{bucket}"), &options)
    }

    /// A new bucket through object_store's client.
    async fn bucket(&self, name: &str, retry: RetryConfig) -> AmazonS3 {
        assert!(ensure_container(&self.spec(name)).await.unwrap());
        let builder = AmazonS3Builder::new().with_endpoint(&self.url).with_allow_http(true).with_bucket_name(name);
        let builder = builder.with_access_key_id(ID).with_secret_access_key(SECRET).with_region("us-east-1");
        builder.with_retry(retry).with_copy_if_not_exists(S3CopyIfNotExists::Multipart).build().unwrap()
    }

    /// From now on `count` backends refuse everything.
    fn lose(&self, count: usize) {
        for backend in &self.backends[..count] {
            backend.add(Rule::new(Action::FailBefore(Failure::Server)));
        }
    }

    async fn close(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
        self.engine.close().await.unwrap();
    }
}

/// Everything that object_store's own suite asks of S3, and ours.
async fn conforms(lost: usize) {
    let door = Door::open().await;
    door.lose(lost);
    let store = door.bucket("conformance", RetryConfig::default()).await;
    run(&store, ALL).await;
    integration::multipart(&store, &store).await;
    integration::multipart_with_opts(&store, &store).await;
    integration::multipart_put_part_out_of_order(&store, &store).await;
    integration::list_paginated(&store, &store).await;
    door.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores_client_finds_a_whole_store() {
    conforms(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_with_as_many_backends_failing_as_may_be_lost() {
    conforms(M).await;
}
