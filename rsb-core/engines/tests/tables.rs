//! Lance: a table format whose every commit is a manifest that is put where none is yet. Whoever finds one there was too late.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{AsArray, RecordBatch, RecordBatchIterator};
use datafusion::arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::{UpdateBuilder, WriteMode, WriteParams};
use lance::session::Session;
use lance_core::Error;
use lance_io::object_store::{ObjectStore as LanceStore, ObjectStoreParams, ObjectStoreProvider, ObjectStoreRegistry};
use lance_table::io::commit::ConditionalPutCommitHandler;
use object_store::ObjectStore;
use rsb_core_engines::{Side, assert_frugal, sides};
use url::Url;

use crate::columns::batch;

const TABLE: &str = "rsb://data/table";

/// What opens `rsb://data`.
struct Provider(Arc<dyn ObjectStore>);

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.0)
    }
}

#[async_trait]
impl ObjectStoreProvider for Provider {
    async fn new_store(&self, base: Url, params: &ObjectStoreParams) -> lance::Result<LanceStore> {
        let (parallelism, retries) = (16, 0);
        Ok(LanceStore::new(self.0.clone(), base, params.block_size, None, false, true, parallelism, retries, None))
    }
}

/// A session of its own: another process, which remembers nothing of the others.
fn session(side: &Side) -> Arc<Session> {
    let registry = ObjectStoreRegistry::empty();
    registry.insert("rsb", Arc::new(Provider(side.store.clone())));
    Arc::new(Session::new(1 << 20, 1 << 20, Arc::new(registry)))
}

async fn open(side: &Side) -> Dataset {
    let builder = DatasetBuilder::from_uri(TABLE).with_session(session(side));
    builder.with_commit_handler(Arc::new(ConditionalPutCommitHandler)).load().await.unwrap()
}

fn params(side: &Side, mode: WriteMode) -> WriteParams {
    let commit_handler: Option<Arc<dyn lance_table::io::commit::CommitHandler>> =
        Some(Arc::new(ConditionalPutCommitHandler));
    WriteParams { mode, session: Some(session(side)), commit_handler, ..WriteParams::default() }
}

fn rows(
    count: i64,
    from: i64,
) -> RecordBatchIterator<std::vec::IntoIter<Result<RecordBatch, datafusion::arrow::error::ArrowError>>> {
    let batch = batch(count, from);
    let schema = batch.schema();
    RecordBatchIterator::new(vec![Ok(batch)].into_iter(), schema)
}

async fn create(side: &Side, count: i64) -> Dataset {
    Dataset::write(rows(count, 0), TABLE, Some(params(side, WriteMode::Create))).await.unwrap()
}

async fn scan(table: &Dataset, columns: &[&str], filter: &str) -> Vec<RecordBatch> {
    let mut scan = table.scan();
    scan.project(columns).unwrap().filter(filter).unwrap();
    scan.try_into_stream().await.unwrap().try_collect().await.unwrap()
}

async fn ids(table: &Dataset) -> Vec<i64> {
    let batches = scan(table, &["id"], "true").await;
    let mut ids: Vec<i64> =
        batches.iter().flat_map(|b| b["id"].as_primitive::<Int64Type>().values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_the_same_and_only_what_a_scan_needs_is_read() {
    let mut seen = Vec::new();
    for side in sides().await {
        let mut table = create(&side, 200_000).await;
        table.append(rows(50_000, 200_000), Some(params(&side, WriteMode::Append))).await.unwrap();
        table.delete("id % 1000 = 7").await.unwrap();
        let table = open(&side).await;
        side.read();
        let found = scan(&table, &["id", "price"], "id >= 120000 AND id < 230000").await;
        seen.push((found, side.read(), side));
    }
    let [(plain, plain_bytes, _), (erasure, bytes, side)] = seen.try_into().ok().unwrap();
    assert_eq!(plain, erasure);
    assert_eq!(plain.iter().map(RecordBatch::num_rows).sum::<usize>(), 110_000 - 110);
    assert_frugal("Lance: 2 of 4 columns, filtered", plain_bytes, bytes);
    side.lose();
    let table = open(&side).await;
    assert_eq!(scan(&table, &["id", "price"], "id >= 120000 AND id < 230000").await, plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_appends_each_becomes_a_version_and_none_is_lost() {
    const WRITERS: i64 = 8;
    let side = Side::erasure().await;
    let created = create(&side, 100).await.version().version;
    let appends = (1..=WRITERS).map(|writer| {
        let side = &side;
        async move {
            // Each has seen the table as it was before any of them.
            let mut table = open(side).await;
            table.append(rows(100, writer * 100), Some(params(side, WriteMode::Append))).await.unwrap();
        }
    });
    futures::future::join_all(appends).await;
    let table = open(&side).await;
    assert_eq!(table.version().version, created + WRITERS as u64);
    assert_eq!(ids(&table).await, (0..(WRITERS + 1) * 100).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_conflicting_commits_one_wins_and_the_other_is_told() {
    let side = Side::erasure().await;
    create(&side, 100).await;
    let update = |table: Dataset, retries: u32| {
        let update = UpdateBuilder::new(Arc::new(table)).update_where("id = 5").unwrap();
        update.set("day", "day + 1").unwrap().conflict_retries(retries).build().unwrap().execute()
    };
    // Both saw the same version and change the same row.
    let (first, second) = (open(&side).await, open(&side).await);
    let before = first.version().version;
    let outcomes = futures::future::join(update(first, 0), update(second, 0)).await;
    let (won, lost) = match outcomes {
        (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
        (a, b) => panic!("one of two should have won: {:?} {:?}", a.map(|r| r.rows_updated), b.map(|r| r.rows_updated)),
    };
    assert_eq!(won.new_dataset.version().version, before + 1);
    let told = matches!(
        lost,
        Error::TooMuchWriteContention { .. } | Error::CommitConflict { .. } | Error::RetryableCommitConflict { .. }
    );
    assert!(told, "{lost}");
    // Those who try again all come through, and none overwrites another.
    let tables = futures::future::join_all((0..4).map(|_| open(&side))).await;
    for outcome in futures::future::join_all(tables.into_iter().map(|table| update(table, 20))).await {
        assert_eq!(outcome.unwrap().rows_updated, 1);
    }
    let found = scan(&open(&side).await, &["day"], "id = 5").await;
    let days: Vec<i64> = found.iter().flat_map(|b| b["day"].as_primitive::<Int64Type>().values().to_vec()).collect();
    assert_eq!(days, [5]);
}
