//! slatedb: an LSM tree whose manifests and logs are conditional writes of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::ObjectStore;
use rsb_core_engines::{Side, sides};
use slatedb::{CloseReason, Db, ErrorKind};

async fn all(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut rows = db.scan(..).await.unwrap();
    while let Some(row) = rows.next().await.unwrap() {
        found.insert(row.key.to_vec(), row.value.to_vec());
    }
    found
}

/// Writes, overwrites and deletes; closes; gives what another process then finds.
async fn fill(store: Arc<dyn ObjectStore>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let db = Db::open("kv", store.clone()).await.unwrap();
    let writes = (0..400u32).map(|i| {
        let (db, key) = (db.clone(), format!("key-{:03}", i % 300));
        async move { db.put(key.as_bytes(), format!("value-{i}-{}", "x".repeat(500)).as_bytes()).await.map(drop) }
    });
    // The same key is never written twice at once.
    let writes: Vec<_> = writes.collect();
    let mut writes = writes.into_iter();
    futures::future::try_join_all(writes.by_ref().take(300)).await.unwrap();
    futures::future::try_join_all(writes).await.unwrap();
    db.delete(b"key-007").await.unwrap();
    db.close().await.unwrap();
    let again = Db::open("kv", store).await.unwrap();
    let found = all(&again).await;
    again.close().await.unwrap();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_found_by_the_next_process_also_with_backends_lost() {
    let [plain, erasure]: [Side; 2] = sides().await;
    let expected = fill(plain.store.clone()).await;
    assert_eq!(expected.len(), 299);
    assert_eq!(fill(erasure.store.clone()).await, expected);
    erasure.lose();
    let db = Db::open("kv", erasure.store.clone()).await.unwrap();
    assert_eq!(all(&db).await, expected);
    db.put(b"new", b"written degraded").await.unwrap();
    db.close().await.unwrap();
    let db = Db::open("kv", erasure.store.clone()).await.unwrap();
    assert_eq!(db.get(b"new").await.unwrap().unwrap(), "written degraded");
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_writers_the_first_is_fenced() {
    let side = Side::erasure().await;
    let first = Db::open("kv", side.store.clone()).await.unwrap();
    first.put(b"a", b"1").await.unwrap();
    first.flush().await.unwrap();
    let second = Db::open("kv", side.store.clone()).await.unwrap();
    let late = async {
        first.put(b"a", b"2").await?;
        first.flush().await
    };
    let error = late.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed(CloseReason::Fenced), "{error}");
    second.put(b"b", b"3").await.unwrap();
    assert_eq!(second.get(b"a").await.unwrap().unwrap(), "1");
    second.close().await.unwrap();
}
