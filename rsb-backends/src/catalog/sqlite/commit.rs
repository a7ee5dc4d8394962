//! Records taking effect. Each rule of [`rsb_core::catalog::kills`] is a seek in an index, so that a key's dead rows, or
//! its many live versions, cost a write nothing.

use std::collections::BTreeMap;

use rsb_core::catalog::{BatchRow, Commit, Committed, Entry, LedgerEntry, Located, LocatedRecord};
use rsb_core::format::manifest::{Manifest, Record};
use rsb_core::id::{BatchId, VersionId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::Inside;
use super::{bulk, reserve, row, uploads, views};

/// The numbers of the schema.
mod kind {
    pub const VERSION: i64 = 0;
    pub const NULL_VERSION: i64 = 1;
    pub const BUCKET: i64 = 2;
    pub const TOMBSTONE: i64 = 3;
    pub const TARGETED: i64 = 4;
    pub const TARGETED_NULL: i64 = 5;
}

pub(super) fn kind_of(record: &Record) -> i64 {
    match record {
        Record::Version(manifest) if manifest.null_version => kind::NULL_VERSION,
        Record::Version(_) => kind::VERSION,
        Record::Bucket(_) => kind::BUCKET,
        Record::Tombstone(tombstone) => match (tombstone.target, tombstone.null_version) {
            (None, _) => kind::TOMBSTONE,
            (Some(_), false) => kind::TARGETED,
            (Some(_), true) => kind::TARGETED_NULL,
        },
    }
}

fn target_of(record: &Record) -> Option<VersionId> {
    match record {
        Record::Tombstone(tombstone) => tombstone.target,
        _ => None,
    }
}

/// A commit under way.
struct Effect<'c> {
    conn: &'c mut SqliteConnection,
    committed: Committed,
    /// Change of the counts of the state row.
    versions: i64,
    tombstones: i64,
    /// The newest version of each touched key as it was before.
    newest: BTreeMap<(String, String), Option<VersionId>>,
}

pub(super) async fn commit(conn: &mut SqliteConnection, commit: Commit) -> Inside<Committed> {
    let batch = commit.batch.id;
    note_batch(conn, commit.batch).await?;
    let greatest = commit.records.iter().map(|located| located.record.version()).max();
    let (records, versions) = bulk::add_new(conn, batch, commit.records).await?;
    let mut effect = Effect { conn, committed: Committed::default(), versions, tombstones: 0, newest: BTreeMap::new() };
    for LocatedRecord { record, at } in records {
        reserve::close(effect.conn, (record.bucket(), record.key()), record.version(), batch).await?;
        effect.add(record, Located { batch, ..at }).await?;
    }
    effect.settle_newest().await?;
    let Effect { conn, committed, versions, tombstones, .. } = effect;
    reserve::raise(conn, None, greatest).await?;
    if (versions, tombstones) != (0, 0) {
        sqlx::query("UPDATE state SET versions = versions + $1, tombstones = tombstones + $2")
            .bind(versions)
            .bind(tombstones)
            .execute(&mut *conn)
            .await?;
    }
    ledger_add(conn, commit.ledger).await?;
    for (id, completed) in commit.completes {
        uploads::complete(conn, id, completed).await?;
    }
    Ok(committed)
}

/// Adds a batch, or what is new of it: a holder once known is not forgotten by a later commit that did not see it.
async fn note_batch(conn: &mut SqliteConnection, mut batch: BatchRow) -> Inside<()> {
    let known = views::batch(conn, batch.id).await?;
    if let Some(known) = &known {
        let seen = std::mem::take(&mut batch.holders);
        let unseen = known.holders.iter().filter(|old| seen.iter().all(|holder| holder.backend != old.backend));
        batch.holders = unseen.cloned().collect();
        batch.holders.extend(seen);
    }
    sqlx::query(
        "INSERT INTO batches (id, len_bytes, copies, holders) VALUES ($1, $2, $3, $4)
         ON CONFLICT (id) DO UPDATE SET len_bytes = $2, copies = $3, holders = $4",
    )
    .bind(batch.id.0.as_bytes().as_slice())
    .bind(batch.len_bytes.cast_signed())
    .bind(i64::from(batch.copies))
    .bind(row::holders_json(&batch.holders)?)
    .execute(&mut *conn)
    .await?;
    if known.is_none() {
        sqlx::query("UPDATE state SET batches = batches + 1").execute(conn).await?;
    }
    Ok(())
}

/// Whether a row, dead or alive, keeps a version ($1 bucket, $2 key, $3 id, $4 revision, $5 $6 place, $7 null) dead.
pub(super) const VERSION_IS_DEAD: &str = "
    SELECT EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND kind IN (0, 1) AND live IN (0, 1)
                   AND version = $3 AND (revision > $4 OR (revision = $4 AND (batch, at) > ($5, $6))))
        OR EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND kind = 3 AND live IN (0, 1)
                   AND version > $3)
        OR EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND target = $3)
        OR ($7 AND (EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND kind = 1 AND live IN (0, 1)
                            AND version > $3)
                 OR EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND target > $3 AND kind = 5)))";
/// The same of a tombstone: only another copy or revision of it does.
pub(super) const TOMBSTONE_IS_DEAD: &str = "
    SELECT EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND kind IN (3, 4, 5) AND live IN (0, 1)
                   AND version = $3 AND (revision > $4 OR (revision = $4 AND (batch, at) > ($5, $6))))";
/// The same of a bucket's record: the greatest wins.
pub(super) const BUCKET_IS_DEAD: &str = "
    SELECT EXISTS (SELECT 1 FROM records WHERE bucket = $1 AND key = $2 AND kind = 2 AND live IN (0, 1)
                   AND ((version, revision) > ($3, $4)
                        OR (version = $3 AND revision = $4 AND (batch, at) > ($5, $6))))";

/// Live rows that a new row of the same kind, id and greater rank replaces.
pub(super) const REPLACED_VERSION: &str = "
    SELECT batch, at, kind FROM records WHERE bucket = $1 AND key = $2 AND kind IN (0, 1) AND live = 1
        AND version = $3 AND (revision < $4 OR (revision = $4 AND (batch, at) < ($5, $6)))";
pub(super) const REPLACED_TOMBSTONE: &str = "
    SELECT batch, at, kind FROM records WHERE bucket = $1 AND key = $2 AND kind IN (3, 4, 5) AND live = 1
        AND version = $3 AND (revision < $4 OR (revision = $4 AND (batch, at) < ($5, $6)))";
pub(super) const REPLACED_BUCKET: &str = "
    SELECT batch, at, kind FROM records WHERE bucket = $1 AND key = $2 AND kind = 2 AND live = 1
        AND ((version, revision) < ($3, $4) OR (version = $3 AND revision = $4 AND (batch, at) < ($5, $6)))";
/// Live versions of a key below an id; all, null ones, or exactly that one.
pub(super) const BELOW: &str = "SELECT batch, at, kind FROM records
    WHERE bucket = $1 AND key = $2 AND kind IN (0, 1) AND live = 1 AND version < $3";
pub(super) const NULL_BELOW: &str = "SELECT batch, at, kind FROM records
    WHERE bucket = $1 AND key = $2 AND kind = 1 AND live = 1 AND version < $3";
pub(super) const EXACTLY: &str = "SELECT batch, at, kind FROM records
    WHERE bucket = $1 AND key = $2 AND kind IN (0, 1) AND live = 1 AND version = $3";

impl Effect<'_> {
    async fn add(&mut self, record: Record, at: Located) -> Inside<()> {
        if kind_of(&record) != kind::BUCKET {
            self.remember_newest(&record).await?;
        }
        let live = !self.is_dead(&record, at).await?;
        let body = record.encode();
        if !self.insert_row(&record, at, live, &body).await? {
            return Ok(());
        }
        self.kill_what_it_kills(&record, at).await?;
        match record {
            Record::Version(manifest) if live => self.insert_version(&manifest, at, body).await,
            Record::Version(manifest) => {
                self.committed.superseded.push(Entry { manifest, at });
                Ok(())
            }
            Record::Tombstone(_) => {
                self.tombstones += i64::from(live);
                Ok(())
            }
            Record::Bucket(_) => Ok(()),
        }
    }

    async fn remember_newest(&mut self, record: &Record) -> Inside<()> {
        let name = (record.bucket().to_owned(), record.key().to_owned());
        if !self.newest.contains_key(&name) {
            let newest = newest(self.conn, &name.0, &name.1).await?;
            self.newest.insert(name, newest);
        }
        Ok(())
    }

    async fn is_dead(&mut self, record: &Record, at: Located) -> Inside<bool> {
        let sql = match record {
            Record::Version(_) => VERSION_IS_DEAD,
            Record::Tombstone(_) => TOMBSTONE_IS_DEAD,
            Record::Bucket(_) => BUCKET_IS_DEAD,
        };
        Ok(sqlx::query_scalar(sql)
            .bind(record.bucket().as_bytes())
            .bind(record.key().as_bytes())
            .bind(record.version().0.as_bytes().as_slice())
            .bind(i64::from(record.revision()))
            .bind(at.batch.0.as_bytes().as_slice())
            .bind(i64::from(at.extent.offset))
            .bind(kind_of(record) == kind::NULL_VERSION)
            .fetch_one(&mut *self.conn)
            .await?)
    }

    /// Whether the row is new.
    async fn insert_row(&mut self, record: &Record, at: Located, live: bool, body: &[u8]) -> Inside<bool> {
        let body = (live && !matches!(record, Record::Version(_))).then_some(body);
        let done = sqlx::query(
            "INSERT INTO records (batch, at, len, body_len, kind, bucket, key, version, revision, target, live, body)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (batch, at) DO NOTHING",
        )
        .bind(at.batch.0.as_bytes().as_slice())
        .bind(i64::from(at.extent.offset))
        .bind(i64::from(at.extent.len))
        .bind(i64::from(at.extent.body_len))
        .bind(kind_of(record))
        .bind(record.bucket().as_bytes())
        .bind(record.key().as_bytes())
        .bind(record.version().0.as_bytes().as_slice())
        .bind(i64::from(record.revision()))
        .bind(target_of(record).as_ref().map(|target| target.0.as_bytes().as_slice()))
        .bind(live)
        .bind(body)
        .execute(&mut *self.conn)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if live {
            count_live(self.conn, at.batch, 1).await?;
        }
        Ok(true)
    }

    async fn insert_version(&mut self, manifest: &Manifest, at: Located, body: Vec<u8>) -> Inside<()> {
        sqlx::query(
            "INSERT INTO versions (bucket, key, version, delete_marker, latest, batch, at, len, body_len, body)
             VALUES ($1, $2, $3, $4, 0, $5, $6, $7, $8, $9)",
        )
        .bind(manifest.bucket.as_bytes())
        .bind(manifest.key.as_bytes())
        .bind(manifest.version.0.as_bytes().as_slice())
        .bind(manifest.delete_marker)
        .bind(at.batch.0.as_bytes().as_slice())
        .bind(i64::from(at.extent.offset))
        .bind(i64::from(at.extent.len))
        .bind(i64::from(at.extent.body_len))
        .bind(body)
        .execute(&mut *self.conn)
        .await?;
        for data in manifest.data_ids() {
            sqlx::query("INSERT INTO data_references VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
                .bind(data.0.as_bytes().as_slice())
                .bind(at.batch.0.as_bytes().as_slice())
                .bind(i64::from(at.extent.offset))
                .execute(&mut *self.conn)
                .await?;
        }
        self.versions += 1;
        Ok(())
    }

    async fn kill_what_it_kills(&mut self, record: &Record, at: Located) -> Inside<()> {
        let replaced = match record {
            Record::Version(_) => REPLACED_VERSION,
            Record::Tombstone(_) => REPLACED_TOMBSTONE,
            Record::Bucket(_) => REPLACED_BUCKET,
        };
        let rows = sqlx::query(replaced)
            .bind(record.bucket().as_bytes())
            .bind(record.key().as_bytes())
            .bind(record.version().0.as_bytes().as_slice())
            .bind(i64::from(record.revision()))
            .bind(at.batch.0.as_bytes().as_slice())
            .bind(i64::from(at.extent.offset))
            .fetch_all(&mut *self.conn)
            .await?;
        self.kill(record, rows).await?;
        let by_id: &[(&'static str, VersionId)] = &match record {
            Record::Version(manifest) if manifest.null_version => vec![(NULL_BELOW, manifest.version)],
            Record::Version(_) | Record::Bucket(_) => Vec::new(),
            Record::Tombstone(tombstone) => match tombstone.target {
                None => vec![(BELOW, tombstone.version)],
                Some(target) if tombstone.null_version => vec![(EXACTLY, target), (NULL_BELOW, target)],
                Some(target) => vec![(EXACTLY, target)],
            },
        };
        for (sql, id) in by_id {
            let rows = sqlx::query(*sql)
                .bind(record.bucket().as_bytes())
                .bind(record.key().as_bytes())
                .bind(id.0.as_bytes().as_slice())
                .fetch_all(&mut *self.conn)
                .await?;
            self.kill(record, rows).await?;
        }
        Ok(())
    }

    /// Marks rows of the record's bucket and key dead.
    async fn kill(&mut self, by: &Record, rows: Vec<SqliteRow>) -> Inside<()> {
        for row in rows {
            let (batch, at): (_, i64) = (BatchId(row::id(&row, "batch")?), row.try_get("at")?);
            sqlx::query("UPDATE records SET live = 0, body = NULL WHERE batch = $1 AND at = $2")
                .bind(batch.0.as_bytes().as_slice())
                .bind(at)
                .execute(&mut *self.conn)
                .await?;
            count_live(self.conn, batch, -1).await?;
            match row.try_get::<i64, _>("kind")? {
                kind::VERSION | kind::NULL_VERSION => self.remove_version(by, batch, at).await?,
                kind::BUCKET => {}
                _ => self.tombstones -= 1,
            }
        }
        Ok(())
    }

    async fn remove_version(&mut self, by: &Record, batch: BatchId, at: i64) -> Inside<()> {
        let row = sqlx::query(
            "DELETE FROM versions WHERE bucket = $1 AND key = $2 AND version =
                 (SELECT version FROM records WHERE batch = $3 AND at = $4) RETURNING *",
        )
        .bind(by.bucket().as_bytes())
        .bind(by.key().as_bytes())
        .bind(batch.0.as_bytes().as_slice())
        .bind(at)
        .fetch_one(&mut *self.conn)
        .await?;
        let entry = row::entry(&row)?;
        for data in entry.manifest.data_ids() {
            sqlx::query("DELETE FROM data_references WHERE data_id = $1 AND batch = $2 AND at = $3")
                .bind(data.0.as_bytes().as_slice())
                .bind(batch.0.as_bytes().as_slice())
                .bind(at)
                .execute(&mut *self.conn)
                .await?;
        }
        self.versions -= 1;
        self.committed.superseded.push(entry);
        Ok(())
    }

    /// Moves the mark of the newest version where it has changed.
    async fn settle_newest(&mut self) -> Inside<()> {
        for ((bucket, key), before) in std::mem::take(&mut self.newest) {
            let now = newest(self.conn, &bucket, &key).await?;
            // The same id may be a new row (another revision), which has no mark yet.
            let old = before.filter(|before| Some(*before) != now);
            for (version, latest) in [(old, false), (now, true)] {
                let Some(version) = version else { continue };
                sqlx::query(
                    "UPDATE versions SET latest = $4 WHERE bucket = $1 AND key = $2 AND version = $3 AND latest <> $4",
                )
                .bind(bucket.as_bytes())
                .bind(key.as_bytes())
                .bind(version.0.as_bytes().as_slice())
                .bind(latest)
                .execute(&mut *self.conn)
                .await?;
            }
        }
        Ok(())
    }
}

async fn newest(conn: &mut SqliteConnection, bucket: &str, key: &str) -> Inside<Option<VersionId>> {
    let row = sqlx::query("SELECT version FROM versions WHERE bucket = $1 AND key = $2 ORDER BY version DESC LIMIT 1")
        .bind(bucket.as_bytes())
        .bind(key.as_bytes())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(row::version).transpose()
}

pub(super) async fn count_live(conn: &mut SqliteConnection, batch: BatchId, change: i64) -> Inside<()> {
    sqlx::query("UPDATE batches SET live = live + $2 WHERE id = $1")
        .bind(batch.0.as_bytes().as_slice())
        .bind(change)
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn ledger_add(conn: &mut SqliteConnection, entries: Vec<LedgerEntry>) -> Inside<()> {
    for entry in entries {
        sqlx::query("INSERT INTO ledger (item, entry) VALUES ($1, $2) ON CONFLICT (item) DO UPDATE SET entry = $2")
            .bind(row::item_bytes(&entry.item))
            .bind(row::json(&entry)?)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}
