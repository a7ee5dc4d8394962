//! What is read.

use rsb_core::catalog::{BatchRow, Counts, Entry, LedgerEntry, LedgerItem, LocatedRecord, RecordRow};
use rsb_core::format::manifest::{BucketRecord, Record};
use rsb_core::id::{BatchId, DataId, VersionId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::{Fault, Inside};
use super::row;

pub(super) const BUCKET: &str =
    "SELECT * FROM records INDEXED BY live_buckets WHERE bucket = $1 AND kind = 2 AND live = 1";
pub(super) const NEXT_VERSIONS: &str =
    "SELECT * FROM versions WHERE (bucket, key) > ($1, $2) ORDER BY bucket, key, version LIMIT $3";
pub(super) const REFERRERS: &str = "
    SELECT v.* FROM data_references d
    JOIN records r ON r.batch = d.batch AND r.at = d.at
    JOIN versions v ON v.bucket = r.bucket AND v.key = r.key AND v.version = r.version
    WHERE d.data_id = $1 ORDER BY v.bucket, v.key, v.version";
pub(super) const REFERENCED: &str = "
    SELECT EXISTS (SELECT 1 FROM data_references WHERE data_id = $1)
        OR EXISTS (SELECT 1 FROM part_references WHERE data_id = $1)";
pub(super) const DEAD_BATCHES: &str = "SELECT * FROM batches WHERE id > $1 AND live = 0 ORDER BY id LIMIT $2";

/// A limit as SQL takes it.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// An id to go on after; every id is greater than the least one.
fn after(id: Option<uuid::Uuid>) -> Vec<u8> {
    id.unwrap_or_default().as_bytes().to_vec()
}

fn bucket_record(located: LocatedRecord) -> Inside<BucketRecord> {
    match located.record {
        Record::Bucket(bucket) => Ok(bucket),
        _ => Err(Fault::Damaged(format!("the record at {:?} is not a bucket's", located.at))),
    }
}

pub(super) async fn bucket(conn: &mut SqliteConnection, name: &str) -> Inside<Option<BucketRecord>> {
    let row = sqlx::query(BUCKET).bind(name.as_bytes()).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(bucket_record(row::record(&row)?)?).filter(|bucket| !bucket.deleted))
}

pub(super) async fn buckets(conn: &mut SqliteConnection) -> Inside<Vec<BucketRecord>> {
    let rows = sqlx::query("SELECT * FROM records WHERE kind = 2 AND live = 1 ORDER BY bucket").fetch_all(conn).await?;
    let mut buckets = Vec::with_capacity(rows.len());
    for row in &rows {
        let bucket = bucket_record(row::record(row)?)?;
        if !bucket.deleted {
            buckets.push(bucket);
        }
    }
    Ok(buckets)
}

pub(super) async fn entry(
    conn: &mut SqliteConnection,
    bucket: &str,
    key: &str,
    version: Option<VersionId>,
) -> Inside<Option<Entry>> {
    let query = match &version {
        Some(version) => sqlx::query("SELECT * FROM versions WHERE bucket = $1 AND key = $2 AND version = $3")
            .bind(bucket.as_bytes())
            .bind(key.as_bytes())
            .bind(version.0.as_bytes().as_slice()),
        None => sqlx::query("SELECT * FROM versions WHERE bucket = $1 AND key = $2 ORDER BY version DESC LIMIT 1")
            .bind(bucket.as_bytes())
            .bind(key.as_bytes()),
    };
    query.fetch_optional(conn).await?.as_ref().map(row::entry).transpose()
}

pub(super) async fn versions_after(
    conn: &mut SqliteConnection,
    after: Option<(String, String, VersionId)>,
    count: usize,
) -> Inside<Vec<Entry>> {
    let mut found = Vec::new();
    let (bucket, key) = match &after {
        None => (Vec::new(), Vec::new()),
        Some((bucket, key, version)) => {
            // The rest of this key, then what lies behind it: each is one range of the index.
            let rows = sqlx::query(
                "SELECT * FROM versions WHERE bucket = $1 AND key = $2 AND version > $3 ORDER BY version LIMIT $4",
            )
            .bind(bucket.as_bytes())
            .bind(key.as_bytes())
            .bind(version.0.as_bytes().as_slice())
            .bind(limit(count))
            .fetch_all(&mut *conn)
            .await?;
            found = rows.iter().map(row::entry).collect::<Inside<_>>()?;
            (bucket.as_bytes().to_vec(), key.as_bytes().to_vec())
        }
    };
    if found.len() < count {
        let rest = limit(count - found.len());
        let rows = sqlx::query(NEXT_VERSIONS).bind(bucket).bind(key).bind(rest).fetch_all(conn).await?;
        for row in &rows {
            found.push(row::entry(row)?);
        }
    }
    Ok(found)
}

pub(super) async fn batch(conn: &mut SqliteConnection, id: BatchId) -> Inside<Option<BatchRow>> {
    let row = sqlx::query("SELECT * FROM batches WHERE id = $1")
        .bind(id.0.as_bytes().as_slice())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(row::batch).transpose()
}

pub(super) async fn batches_after(
    conn: &mut SqliteConnection,
    last: Option<BatchId>,
    count: usize,
    dead: bool,
) -> Inside<Vec<BatchRow>> {
    let sql = if dead { DEAD_BATCHES } else { "SELECT * FROM batches WHERE id > $1 ORDER BY id LIMIT $2" };
    let rows = sqlx::query(sql).bind(after(last.map(|id| id.0))).bind(limit(count)).fetch_all(conn).await?;
    rows.iter().map(row::batch).collect()
}

pub(super) async fn records_of(conn: &mut SqliteConnection, id: BatchId) -> Inside<Vec<RecordRow>> {
    let rows = sqlx::query("SELECT * FROM records WHERE batch = $1 ORDER BY at")
        .bind(id.0.as_bytes().as_slice())
        .fetch_all(conn)
        .await?;
    let record = |row: &SqliteRow| {
        Ok(RecordRow {
            at: row::located(row)?,
            version: row::version(row)?,
            revision: row::number(row, "revision")?,
            bucket: row::text(row, "bucket")?,
            key: row::text(row, "key")?,
            live: row.try_get("live")?,
        })
    };
    rows.iter().map(record).collect()
}

/// Live tombstones, and whether a row that one kills lies in another batch: one seek for each rule of `tombstone_kills`.
pub(super) const TOMBSTONES: &str = "
    SELECT t.*, CASE t.kind
        WHEN 3 THEN EXISTS (SELECT 1 FROM records r WHERE r.bucket = t.bucket AND r.key = t.key AND r.kind IN (0, 1)
                            AND r.live IN (0, 1) AND r.version < t.version AND r.batch <> t.batch)
        ELSE EXISTS (SELECT 1 FROM records r WHERE r.bucket = t.bucket AND r.key = t.key AND r.kind IN (0, 1)
                     AND r.live IN (0, 1) AND r.version = t.target AND r.batch <> t.batch)
            OR (t.kind = 5 AND EXISTS (
                    SELECT 1 FROM records r WHERE r.bucket = t.bucket AND r.key = t.key AND r.kind = 1
                    AND r.live IN (0, 1) AND r.version < t.target AND r.batch <> t.batch))
        END AS something_left
    FROM records t WHERE t.kind >= 3 AND t.live = 1 AND t.version > $1 ORDER BY t.version LIMIT $2";

pub(super) const LIVE_BUCKETS: &str = "
    SELECT b.*, EXISTS (SELECT 1 FROM records r WHERE r.bucket = b.bucket AND r.batch <> b.batch) AS something_left
    FROM records b WHERE b.kind = 2 AND b.live = 1 ORDER BY b.version";

fn with_left(row: &SqliteRow) -> Inside<(LocatedRecord, bool)> {
    Ok((row::record(row)?, row.try_get("something_left")?))
}

pub(super) async fn tombstones_after(
    conn: &mut SqliteConnection,
    last: Option<VersionId>,
    count: usize,
) -> Inside<Vec<(LocatedRecord, bool)>> {
    let query = sqlx::query(TOMBSTONES).bind(after(last.map(|id| id.0))).bind(limit(count));
    query.fetch_all(conn).await?.iter().map(with_left).collect()
}

pub(super) async fn dead_buckets(conn: &mut SqliteConnection) -> Inside<Vec<(LocatedRecord, bool)>> {
    let rows = sqlx::query(LIVE_BUCKETS).fetch_all(conn).await?;
    let all: Vec<_> = rows.iter().map(with_left).collect::<Inside<_>>()?;
    let ended = |located: &LocatedRecord| matches!(&located.record, Record::Bucket(bucket) if bucket.deleted);
    Ok(all.into_iter().filter(|(located, _)| ended(located)).collect())
}

pub(super) async fn unreferenced(conn: &mut SqliteConnection, ids: &[DataId]) -> Inside<Vec<DataId>> {
    let mut free = Vec::new();
    for id in ids {
        let used: bool = sqlx::query_scalar(REFERENCED).bind(id.0.as_bytes().as_slice()).fetch_one(&mut *conn).await?;
        if !used {
            free.push(*id);
        }
    }
    Ok(free)
}

pub(super) async fn referrers(conn: &mut SqliteConnection, id: DataId) -> Inside<Vec<Entry>> {
    let rows = sqlx::query(REFERRERS).bind(id.0.as_bytes().as_slice()).fetch_all(conn).await?;
    rows.iter().map(row::entry).collect()
}

pub(super) async fn ledger_after(
    conn: &mut SqliteConnection,
    last: Option<LedgerItem>,
    count: usize,
) -> Inside<Vec<LedgerEntry>> {
    let from = last.as_ref().map(row::item_bytes).unwrap_or_default();
    let rows = sqlx::query("SELECT entry FROM ledger WHERE item > $1 ORDER BY item LIMIT $2")
        .bind(from)
        .bind(limit(count))
        .fetch_all(conn)
        .await?;
    rows.iter().map(|row| row::from_json(row.try_get("entry")?)).collect()
}

pub(super) async fn low_water(conn: &mut SqliteConnection) -> Inside<Option<BatchId>> {
    let row = sqlx::query("SELECT coalesce((SELECT min(batch) FROM intents), (SELECT max(id) FROM batches)) AS batch")
        .fetch_one(conn)
        .await?;
    let known: Option<&[u8]> = row.try_get("batch")?;
    if known.is_none() { Ok(None) } else { Ok(Some(BatchId(row::id(&row, "batch")?))) }
}

pub(super) async fn greatest_version(conn: &mut SqliteConnection) -> Inside<Option<VersionId>> {
    row::known(&sqlx::query("SELECT greatest FROM state").fetch_one(conn).await?, "greatest")
}

pub(super) async fn counts(conn: &mut SqliteConnection) -> Inside<Counts> {
    let row = sqlx::query("SELECT versions, batches, tombstones, (SELECT count(*) FROM ledger) AS ledger FROM state")
        .fetch_one(conn)
        .await?;
    Ok(Counts {
        versions: row::number(&row, "versions")?,
        batches: row::number(&row, "batches")?,
        tombstones: row::number(&row, "tombstones")?,
        ledger: row::number(&row, "ledger")?,
    })
}

pub(super) async fn value(conn: &mut SqliteConnection, name: &str) -> Inside<Option<String>> {
    let query = sqlx::query_scalar("SELECT value FROM named_values WHERE name = $1").bind(name);
    Ok(query.fetch_optional(conn).await?)
}
