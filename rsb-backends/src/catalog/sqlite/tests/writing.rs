//! Grouped transactions: nothing is lost, nothing is half done.

use rsb_core::ErrorKind;
use rsb_core::catalog::{BatchRow, BucketRule, Precondition};
use rsb_core::id::{BatchId, VersionId};

use super::*;

fn wish(key: &str, conditional: bool) -> Reserve {
    Reserve {
        bucket: "b".into(),
        key: key.into(),
        proposed: VersionId::MIN.after(),
        batch: BatchId::MIN.after(),
        precondition: if conditional { Precondition::Absent } else { Precondition::None },
        bucket_rule: BucketRule::Any,
        now_ms: 1,
    }
}

fn empty_batch(number: u64) -> Commit {
    let id = BatchId(uuid::Uuid::from_u64_pair(number << 16 | 0x7000, 1));
    let batch = BatchRow { id, len_bytes: 64, copies: 1, holders: Vec::new() };
    Commit { batch, records: Vec::new(), ledger: Vec::new(), completes: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_conditional_wishes_at_once_one_is_granted() {
    let folder = TempDir::new().unwrap();
    let catalog = make(&folder).await;
    let calls = (0..200).map(|_| {
        let catalog = catalog.clone();
        tokio::spawn(async move { catalog.reserve(vec![wish("k", true)]).await.unwrap().remove(0) })
    });
    let results = futures::future::join_all(calls).await;
    let (granted, refused): (Vec<_>, Vec<_>) = results.into_iter().map(|r| r.unwrap()).partition(Result::is_ok);
    assert_eq!(granted.len(), 1);
    assert!(refused.iter().all(|r| r.as_ref().is_err_and(|e| e.kind() == ErrorKind::Conflict)));
    assert_eq!(catalog.open_intents().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_fails_takes_no_other_along() {
    let folder = TempDir::new().unwrap();
    let catalog = make(&folder).await;
    // Every third call asks for what is refused inside the shared transaction.
    let calls = (0..300u64).map(|number| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            match number % 3 {
                0 => catalog.set_holders(BatchId::MAX, Vec::new()).await.map(|()| true),
                _ => catalog.commit(empty_batch(number)).await.map(|_| false),
            }
        })
    });
    for (number, result) in futures::future::join_all(calls).await.into_iter().enumerate() {
        match (number % 3, result.unwrap()) {
            (0, Err(error)) => assert_eq!(error.kind(), ErrorKind::NotFound),
            (1 | 2, Ok(false)) => {}
            (_, other) => panic!("call {number}: {other:?}"),
        }
    }
    assert_eq!(catalog.counts().await.unwrap().batches, 200);
    assert_eq!(catalog.batches_after(None, 1000).await.unwrap().len(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_is_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let catalog = make(&folder).await;
    for round in 0..200 {
        let wishes = (0..3).map(|part| wish(&format!("{round}-{part}"), false)).collect();
        let call = catalog.reserve(wishes);
        tokio::pin!(call);
        // Polled once or thrice, then dropped.
        for _ in 0..(round % 2) * 2 + 1 {
            let _ = futures::poll!(&mut call);
            tokio::task::yield_now().await;
        }
    }
    catalog.set_value("after", Some("all of them".into())).await.unwrap();
    let mut rounds = std::collections::BTreeMap::<String, usize>::new();
    for intent in catalog.open_intents().await.unwrap() {
        *rounds.entry(intent.key.split('-').next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    assert!(rounds.values().all(|parts| *parts == 3), "half a call was done: {rounds:?}");
}

#[tokio::test]
async fn everything_queued_before_closing_is_done() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("c.db");
    let catalog = Arc::new(SqliteCatalog::open(&path, Mode::ReadWrite).await.unwrap());
    let calls = (0..50).map(|number| catalog.commit(empty_batch(number)));
    let (results, closed) = futures::join!(futures::future::join_all(calls), catalog.close());
    closed.unwrap();
    let done = results.iter().filter(|result| result.is_ok()).count() as u64;
    let again = SqliteCatalog::open(&path, Mode::ReadWrite).await.unwrap();
    assert_eq!(again.counts().await.unwrap().batches, done, "what was answered with success is there");
}
