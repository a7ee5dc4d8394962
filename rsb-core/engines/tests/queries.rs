//! DataFusion: Parquet written and queried through the store.

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::dataframe::DataFrameWriteOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::TryStreamExt;
use object_store::ObjectStore;
use rsb_core_engines::{Side, assert_frugal, sides};
use url::Url;

use crate::columns::batch;

/// A context whose `rsb://data/` is the store.
fn context(store: Arc<dyn ObjectStore>) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(2);
    let options = config.options_mut();
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.max_row_group_size = 65_536;
    // Small, so that files are uploaded in parts.
    options.execution.objectstore_writer_buffer_size = 1 << 20;
    let context = SessionContext::new_with_config(config);
    context.register_object_store(&Url::parse("rsb://data/").unwrap(), store);
    context
}

async fn write(side: &Side) {
    let context = context(side.store.clone());
    for part in 0..2 {
        let rows = context.read_batch(batch(200_000, part * 200_000)).unwrap();
        let path = format!("rsb://data/sales/part-{part}.parquet");
        let options = DataFrameWriteOptions::new().with_single_file_output(true);
        rows.write_parquet(&path, options, None).await.unwrap();
    }
}

/// The answer as text, and the bytes that were read for it. A context of its own, which remembers nothing.
async fn ask(side: &Side, question: &str) -> (String, u64) {
    let context = context(side.store.clone());
    context.register_parquet("sales", "rsb://data/sales/", ParquetReadOptions::default()).await.unwrap();
    side.read();
    let rows = context.sql(question).await.unwrap().collect().await.unwrap();
    (pretty_format_batches(&rows).unwrap().to_string(), side.read())
}

const QUESTIONS: [(&str, &str, u64); 4] = [
    (
        "a filter on a sorted column",
        "SELECT day, count(*), sum(price), min(name) FROM sales WHERE id BETWEEN 70000 AND 90000 GROUP BY day ORDER BY day",
        3,
    ),
    ("one row", "SELECT * FROM sales WHERE id = 333333", 3),
    ("two columns of all rows", "SELECT day, max(price) FROM sales GROUP BY day ORDER BY day LIMIT 5", 2),
    ("everything", "SELECT count(DISTINCT name), sum(id), avg(price), max(day) FROM sales", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_and_only_what_they_need_is_read() {
    let [plain, erasure] = sides().await;
    write(&plain).await;
    write(&erasure).await;
    let size = |side: &Side| side.store.list(None).try_fold(0, |sum, meta| async move { Ok(sum + meta.size) });
    let stored = size(&plain).await.unwrap();
    assert_eq!(size(&erasure).await.unwrap(), stored);
    for (what, question, least) in QUESTIONS {
        let ((expected, cost), (answer, bytes)) = (ask(&plain, question).await, ask(&erasure, question).await);
        assert_eq!(answer, expected, "{what}");
        assert!(bytes <= stored * 5 / 4 / least, "{what}: {bytes} bytes were read of {stored}");
        assert_frugal(&format!("DataFusion: {what} (of {stored} bytes)"), cost, bytes);
    }
    erasure.lose();
    for (what, question, _) in QUESTIONS {
        assert_eq!(ask(&erasure, question).await.0, ask(&plain, question).await.0, "{what}, degraded");
    }
}
