//! Wishes and intents.

use rsb_core::Result;
use rsb_core::catalog::{BucketRule, Intent, Reserve, Reserved, refusal};
use rsb_core::format::manifest::{BucketRecord, Manifest};
use rsb_core::id::{BatchId, VersionId};
use sqlx::{Row, SqliteConnection};

use super::fault::{Fault, Inside};
use super::{row, views};

/// One result for each wish; a refused one changes nothing.
pub(super) async fn reserve(conn: &mut SqliteConnection, wishes: Vec<Reserve>) -> Inside<Vec<Result<Reserved>>> {
    let mut results = Vec::with_capacity(wishes.len());
    for wish in wishes {
        results.push(match one(conn, wish).await {
            Ok(reserved) => Ok(reserved),
            Err(Fault::Refused(error)) => Err(error),
            Err(fault) => return Err(fault),
        });
    }
    Ok(results)
}

async fn one(conn: &mut SqliteConnection, wish: Reserve) -> Inside<Reserved> {
    let bucket = views::bucket(conn, &wish.bucket).await?;
    check_bucket(conn, &wish, bucket.as_ref()).await?;
    check_key(conn, &wish).await?;
    let version = give_version(conn, &wish).await?;
    sqlx::query(
        "INSERT INTO intents (version, batch, bucket, key, conditional, created_ms) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(version.0.as_bytes().as_slice())
    .bind(wish.batch.0.as_bytes().as_slice())
    .bind(wish.bucket.as_bytes())
    .bind(wish.key.as_bytes())
    .bind(wish.is_conditional())
    .bind(wish.now_ms.cast_signed())
    .execute(conn)
    .await?;
    Ok(Reserved { version, bucket })
}

/// Whether an intent is open for a key, or, without one, for anything in the bucket.
async fn open_intent(conn: &mut SqliteConnection, bucket: &str, key: Option<&str>) -> Inside<bool> {
    let query = match key {
        Some(key) => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM intents WHERE bucket = $1 AND key = $2)")
            .bind(bucket.as_bytes())
            .bind(key.as_bytes()),
        None => sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM intents WHERE bucket = $1)").bind(bucket.as_bytes()),
    };
    Ok(query.fetch_one(conn).await?)
}

async fn check_bucket(conn: &mut SqliteConnection, wish: &Reserve, bucket: Option<&BucketRecord>) -> Inside<()> {
    let name = wish.bucket.as_str();
    // New settings of the bucket keep nobody from writing in it.
    let in_way: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM intents WHERE bucket = $1 AND key = x'' AND (conditional OR $2))",
    )
    .bind(name.as_bytes())
    .bind(wish.key.is_empty())
    .fetch_one(&mut *conn)
    .await?;
    if in_way {
        return Err(refusal::bucket_changing(name).into());
    }
    match (wish.bucket_rule, bucket) {
        (BucketRule::Any, _) | (BucketRule::Absent, None) | (BucketRule::Exists, Some(_)) => Ok(()),
        (BucketRule::Absent, Some(_)) => Err(refusal::bucket_exists(name).into()),
        (BucketRule::Exists | BucketRule::Empty, None) => Err(refusal::no_bucket(name).into()),
        (BucketRule::Empty, Some(_)) => {
            let versions: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM versions WHERE bucket = $1)")
                .bind(name.as_bytes())
                .fetch_one(&mut *conn)
                .await?;
            if versions || open_intent(conn, name, None).await? {
                return Err(refusal::bucket_not_empty(name).into());
            }
            Ok(())
        }
    }
}

async fn check_key(conn: &mut SqliteConnection, wish: &Reserve) -> Inside<()> {
    if wish.precondition.is_none() {
        return Ok(());
    }
    if open_intent(conn, &wish.bucket, Some(&wish.key)).await? {
        return Err(refusal::key_changing(&wish.bucket, &wish.key).into());
    }
    let latest = views::entry(conn, &wish.bucket, &wish.key, None).await?;
    let latest: Option<&Manifest> = latest.as_ref().map(|entry| &entry.manifest);
    if !wish.precondition.holds(latest) {
        return Err(refusal::condition(&wish.bucket, &wish.key).into());
    }
    Ok(())
}

/// The greatest id of a key: one seek for each part of the index, and one for its intents.
pub(super) const GREATEST_OF_KEY: &str = "
    WITH parts (kind, live) AS
        (VALUES (0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1), (4, 0), (4, 1), (5, 0), (5, 1))
    SELECT max(id) FROM (
        SELECT (SELECT max(version) FROM records
                WHERE bucket = $1 AND key = $2 AND kind = parts.kind AND live = parts.live) AS id FROM parts
        UNION ALL
        SELECT max(version) FROM intents WHERE bucket = $1 AND key = $2)";

/// The proposed id where it is greater than every id of the key that was ever reserved or committed, else one that is.
/// Ids whose key may be forgotten count for every key.
async fn give_version(conn: &mut SqliteConnection, wish: &Reserve) -> Inside<VersionId> {
    let of_key: Option<Vec<u8>> = sqlx::query_scalar(GREATEST_OF_KEY)
        .bind(wish.bucket.as_bytes())
        .bind(wish.key.as_bytes())
        .fetch_one(&mut *conn)
        .await?;
    let of_key = match of_key {
        Some(bytes) => Some(VersionId(uuid::Uuid::from_slice(&bytes).map_err(|e| Fault::Damaged(e.to_string()))?)),
        None => None,
    };
    let mut floor = row::known(&sqlx::query("SELECT floor FROM state").fetch_one(&mut *conn).await?, "floor")?;
    let mut version = wish.proposed;
    if Some(version) <= of_key.max(floor) {
        version = of_key.max(floor).unwrap_or(version).after();
    }
    while taken(conn, version).await? {
        version = version.after();
    }
    if of_key < floor && version != wish.proposed {
        // Another key that is below the floor must not be given the same id.
        floor = Some(version);
    }
    raise(conn, floor, Some(version)).await?;
    Ok(version)
}

async fn taken(conn: &mut SqliteConnection, version: VersionId) -> Inside<bool> {
    Ok(sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM intents WHERE version = $1)")
        .bind(version.0.as_bytes().as_slice())
        .fetch_one(conn)
        .await?)
}

/// Raises the floor and the greatest id to at least these.
pub(super) async fn raise(
    conn: &mut SqliteConnection,
    floor: Option<VersionId>,
    greatest: Option<VersionId>,
) -> Inside<()> {
    sqlx::query("UPDATE state SET floor = max(floor, $1), greatest = max(greatest, $2)")
        .bind(floor.unwrap_or(VersionId::MIN).0.as_bytes().as_slice())
        .bind(greatest.unwrap_or(VersionId::MIN).0.as_bytes().as_slice())
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn release(conn: &mut SqliteConnection, versions: Vec<VersionId>) -> Inside<()> {
    let mut closed = None;
    for version in versions {
        let done = sqlx::query("DELETE FROM intents WHERE version = $1")
            .bind(version.0.as_bytes().as_slice())
            .execute(&mut *conn)
            .await?;
        if done.rows_affected() > 0 {
            closed = closed.max(Some(version));
        }
    }
    // No row will remember these ids.
    raise(conn, closed, None).await
}

/// Closes the intents that a record fulfils: of its name, with its id or, for a new revision, in its batch.
pub(super) async fn close(
    conn: &mut SqliteConnection,
    (bucket, key): (&str, &str),
    version: VersionId,
    batch: BatchId,
) -> Inside<()> {
    let closed = sqlx::query(
        "DELETE FROM intents WHERE bucket = $1 AND key = $2 AND (version = $3 OR batch = $4) RETURNING version",
    )
    .bind(bucket.as_bytes())
    .bind(key.as_bytes())
    .bind(version.0.as_bytes().as_slice())
    .bind(batch.0.as_bytes().as_slice())
    .fetch_all(&mut *conn)
    .await?;
    let mut unused = None;
    for id in closed.iter().map(row::version) {
        unused = unused.max(Some(id?).filter(|id| *id != version));
    }
    if unused.is_some() { raise(conn, unused, None).await } else { Ok(()) }
}

pub(super) async fn open(conn: &mut SqliteConnection) -> Inside<Vec<Intent>> {
    let rows = sqlx::query("SELECT * FROM intents ORDER BY version").fetch_all(conn).await?;
    let intent = |row: &sqlx::sqlite::SqliteRow| {
        let created_ms: i64 = row.try_get("created_ms")?;
        Ok(Intent {
            version: row::version(row)?,
            batch: BatchId(row::id(row, "batch")?),
            bucket: row::text(row, "bucket")?,
            key: row::text(row, "key")?,
            conditional: row.try_get("conditional")?,
            created_ms: created_ms.cast_unsigned(),
        })
    };
    rows.iter().map(intent).collect()
}
