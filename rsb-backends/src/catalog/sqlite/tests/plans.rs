//! Every query of a write, a read or a listing seeks in an index and sorts nothing.

use sqlx::Row;

use super::super::{commit, list, reserve, uploads, views};
use super::*;

/// What SQLite would do, a line for each step.
async fn plan(catalog: &SqliteCatalog, sql: &'static str) -> Vec<String> {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let mut conn = catalog.readers.acquire().await.unwrap();
    let rows = sqlx::query(explain).fetch_all(&mut *conn).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

#[tokio::test]
async fn queries_seek() {
    let folder = TempDir::new().unwrap();
    let catalog = SqliteCatalog::open(&folder.path().join("c.db"), Mode::ReadWrite).await.unwrap();
    let name = "USING COVERING INDEX records_by_name (bucket=? AND key=? AND kind=? AND live=? AND version";
    let cases = [
        (list::OBJECTS, "USING INDEX objects (bucket=? AND key>? AND key<?)"),
        (list::VERSIONS, "USING PRIMARY KEY (bucket=? AND key>? AND key<?)"),
        (list::REST_OF_KEY, "USING PRIMARY KEY (bucket=? AND key=? AND version<?)"),
        (commit::VERSION_IS_DEAD, name),
        (commit::TOMBSTONE_IS_DEAD, name),
        (commit::REPLACED_VERSION, name),
        (commit::REPLACED_TOMBSTONE, name),
        (commit::BELOW, name),
        (commit::NULL_BELOW, name),
        (commit::EXACTLY, name),
        (views::BUCKET, "USING INDEX live_buckets (bucket=?)"),
        (views::TOMBSTONES, "USING INDEX live_tombstones (version>?)"),
        (views::DEAD_BATCHES, "USING INDEX dead_batches (id>?)"),
        (views::REFERRERS, "USING PRIMARY KEY (bucket=? AND key=? AND version=?)"),
        (uploads::OPEN_OF_KEY, "USING INDEX open_uploads (bucket=? AND key=? AND id>?)"),
        (uploads::OPEN_BEHIND, "USING INDEX open_uploads (bucket=? AND key>?)"),
        (uploads::PARTS, "USING PRIMARY KEY (upload=? AND number>?)"),
        (views::REFERENCED, "USING PRIMARY KEY (data_id=?)"),
        (reserve::GREATEST_OF_KEY, "USING COVERING INDEX records_by_name (bucket=? AND key=? AND kind=? AND live=?)"),
    ];
    for (sql, expected) in cases {
        let steps = plan(&catalog, sql).await;
        assert!(steps.iter().any(|step| step.contains(expected)), "{sql}\n{steps:#?}");
        let scans = |step: &String| step.starts_with("SCAN ") && !step.contains("parts") && !step.contains("CONSTANT");
        assert!(!steps.iter().any(scans), "{sql}\n{steps:#?}");
        let sorts = sql != views::REFERRERS && steps.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(!sorts, "{sql}\n{steps:#?}");
    }
    // The order of versions within a key is sorted key by key, never the table.
    let steps = plan(&catalog, views::NEXT_VERSIONS).await;
    assert!(steps.iter().any(|step| step.contains("USING PRIMARY KEY ((bucket,key)>(?,?))")), "{steps:#?}");
    assert!(steps.iter().all(|step| !step.contains("TEMP B-TREE") || step.contains("LAST TERM")), "{steps:#?}");
}
