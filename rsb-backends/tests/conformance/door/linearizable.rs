//! Sixty-four clients at one key, over real sockets: whatever they are told at once, there is an order in which it is true.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, RetryConfig, UpdateVersion};
use rsb_backends::wrappers::{Action, Failure, Op, Rule};
use rsb_core::Env;
use rsb_core::testkit::backend::pattern;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::histories::{Did, Operation, Value, assert_linearizable};
use super::{BACKENDS, Door, INLINE_LIMIT, K};

const CLIENTS: u64 = 64;
const TURNS: u64 = 30;
/// Write number n has this many bytes for each n: so its length says who wrote it, and some lie in records, others in shards.
const UNIT: usize = 2 * INLINE_LIMIT / (CLIENTS * TURNS) as usize;

fn key() -> Path {
    Path::from("a/key")
}

fn body(number: u32) -> Bytes {
    pattern(number as usize * UNIT)
}

fn number(size: u64) -> u32 {
    assert_eq!(size % UNIT as u64, 0, "no client wrote this many bytes");
    (size / UNIT as u64) as u32
}

/// One client: what it knows, and what it did.
struct Client {
    store: Arc<AmazonS3>,
    clock: Arc<AtomicU64>,
    dice: u64,
    numbers: std::ops::Range<u32>,
    /// What it saw last, with its entity tag.
    known: Option<(u32, String)>,
    did: Vec<Operation>,
}

impl Client {
    fn throw(&mut self, sides: u64) -> u64 {
        // SplitMix64.
        self.dice = self.dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }

    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn run(mut self) -> Vec<Operation> {
        for _ in 0..TURNS {
            // Who replaces or deletes what he saw looks first; few write without looking, or nobody would ever replace what he saw.
            let turn = self.throw(100);
            if (8..36).contains(&turn) {
                self.record(async |client| client.get().await).await;
            }
            self.record(async |client| match turn {
                0 => client.put(PutMode::Overwrite).await,
                1 => client.delete().await,
                2..8 => client.put(PutMode::Create).await,
                8..32 => client.replace().await,
                32..36 => client.delete_what_it_saw().await,
                36..66 => client.get().await,
                _ => client.list().await,
            })
            .await;
        }
        self.did
    }

    async fn record(&mut self, operation: impl AsyncFnOnce(&mut Self) -> (Option<Did>, bool)) {
        let begin = self.now();
        let (did, is_certain) = operation(self).await;
        let end = is_certain.then(|| self.now());
        self.did.extend(did.map(|did| Operation { did, begin, end }));
    }

    /// What it did, if it can have had an effect or says something, and whether it is known to be so.
    async fn put(&mut self, mode: PutMode) -> (Option<Did>, bool) {
        let Some(number) = self.numbers.next() else { return (None, true) };
        let done = match &mode {
            PutMode::Overwrite => Did::Wrote(number),
            PutMode::Create => Did::Created(number),
            PutMode::Update(_) => Did::Replaced(self.known.as_ref().map_or(0, |(known, _)| *known), number),
        };
        match self.store.put_opts(&key(), body(number).into(), mode.into()).await {
            Ok(put) => {
                self.known = put.e_tag.map(|tag| (number, tag));
                (Some(done), true)
            }
            Err(error) => refused(&error, done),
        }
    }

    async fn replace(&mut self) -> (Option<Did>, bool) {
        match self.known.clone() {
            Some((_, tag)) => self.put(PutMode::Update(UpdateVersion { e_tag: Some(tag), version: None })).await,
            None => self.get().await,
        }
    }

    async fn delete(&mut self) -> (Option<Did>, bool) {
        (Some(Did::Deleted), self.store.delete(&key()).await.is_ok())
    }

    /// Deletes with `If-Match`, for which object_store has no word: by a URL that it presigns.
    async fn delete_what_it_saw(&mut self) -> (Option<Did>, bool) {
        let Some((known, tag)) = self.known.clone() else { return self.get().await };
        let url = self.store.signed_url(hyper::Method::DELETE, &key(), Duration::from_secs(60)).await.unwrap();
        let (host, target) = (url.authority(), format!("{}?{}", url.path(), url.query().unwrap_or_default()));
        let mut stream = TcpStream::connect(host).await.unwrap();
        let head = format!("DELETE {target} HTTP/1.1\r\nHost: {host}\r\nIf-Match: {tag}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        match reply.split(' ').nth(1) {
            Some("204") => (Some(Did::DeletedThis(known)), true),
            Some("412" | "404") => (Some(Did::FoundOther(known)), true),
            // Another one was at it.
            Some("409") => (None, true),
            _ => (Some(Did::DeletedThis(known)), false),
        }
    }

    async fn get(&mut self) -> (Option<Did>, bool) {
        match self.store.get(&key()).await {
            Ok(found) => {
                let (number, tag) = (number(found.meta.size), found.meta.e_tag.clone().unwrap());
                assert_eq!(found.bytes().await.unwrap(), body(number), "bytes of another write");
                self.known = Some((number, tag));
                (Some(Did::Saw(Some(number))), true)
            }
            Err(Error::NotFound { .. }) => (Some(Did::Saw(None)), true),
            Err(error) => panic!("a read may not fail: {error}"),
        }
    }

    async fn list(&mut self) -> (Option<Did>, bool) {
        let listed: Vec<_> = self.store.list(Some(&Path::from("a"))).try_collect().await.unwrap();
        let seen: Value = listed.first().map(|meta| number(meta.size));
        assert!(listed.len() <= 1);
        (Some(Did::Saw(seen)), true)
    }
}

/// What a write that was refused tells.
fn refused(error: &Error, tried: Did) -> (Option<Did>, bool) {
    match (error, tried) {
        (Error::AlreadyExists { source, .. }, Did::Created(_)) => {
            // 412; a 409 tells only that another one was at it.
            let is_there = matches!(source.downcast_ref(), Some(Error::Precondition { .. }));
            (is_there.then_some(Did::FoundSome), true)
        }
        (Error::AlreadyExists { .. }, Did::Replaced(..)) => (None, true),
        (Error::Precondition { .. }, Did::Replaced(old, _)) => (Some(Did::FoundOther(old)), true),
        // It may have happened, and it may still.
        _ => (Some(tried), false),
    }
}

/// Lets all clients at it, and holds what they did to one order. Returns of how many writes no client knows what became.
async fn contend(door: Door) -> usize {
    let variable = std::env::var("RSB_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = variable.unwrap_or_else(|| Env::system().new_id().as_u128() as u64);
    println!("RSB_TEST_SEED={seed}");
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let store = Arc::new(door.bucket("contended", retry).await);
    let clock = Arc::new(AtomicU64::new(0));
    let clients = (0..CLIENTS).map(|i| {
        let first = 1 + (i * TURNS) as u32;
        let client = Client {
            store: store.clone(),
            clock: clock.clone(),
            dice: seed ^ (i << 32),
            numbers: first..first + TURNS as u32,
            known: None,
            did: Vec::new(),
        };
        tokio::spawn(client.run())
    });
    let done = futures::future::try_join_all(clients.collect::<Vec<_>>()).await.unwrap();
    let history: Vec<Operation> = done.into_iter().flatten().collect();
    let count = |what: fn(&Operation) -> bool| history.iter().filter(|operation| what(operation)).count();
    let created = count(|o| matches!(o.did, Did::Created(_)));
    let replaced = count(|o| matches!(o.did, Did::Replaced(..)));
    let deleted = count(|o| matches!(o.did, Did::DeletedThis(_)));
    let refused = count(|o| matches!(o.did, Did::FoundSome | Did::FoundOther(_)));
    let unknown = count(|o| o.end.is_none());
    println!(
        "{} operations: {created} created, {replaced} replaced and {deleted} deleted what they saw, {refused} were refused, {unknown} are unknown",
        history.len()
    );
    assert!(created + replaced > 0 && refused > 0, "too little happened to say anything");
    assert_linearizable(&history);
    door.close().await;
    unknown
}

/// The backend does half of what it is told and says that it did not, and the other half it does not do.
fn lie(door: &Door, backend: usize) {
    let odd = |path: &Path| path.as_ref().bytes().fold(0, u8::wrapping_add) % 2 == 1;
    door.backends[backend].add(Rule::new(Action::FailAfter(Failure::Server)).on([Op::Put]).path(odd));
    door.backends[backend].add(Rule::new(Action::FailBefore(Failure::Server)).on([Op::Put]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_clients_at_one_key() {
    assert_eq!(contend(Door::open().await).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn and_with_a_backend_that_lies() {
    let door = Door::open().await;
    lie(&door, 0);
    assert_eq!(contend(door).await, 0);
}

/// Now and then too few backends take a write: it is refused, and what some of them hold of it must not show.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn and_with_more_that_fail_than_may_be_lost() {
    let door = Door::open().await;
    for backend in &door.backends[..BACKENDS - K] {
        for nth in 0..40 {
            let after = [Action::FailAfter(Failure::Server), Action::FailBefore(Failure::Server)][nth % 2];
            backend.add(Rule::new(after).on([Op::Put]).after(20 * (nth as u64 + 1)).times(8));
        }
    }
    contend(door).await;
}
