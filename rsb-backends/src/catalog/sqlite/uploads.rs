//! Multipart uploads.

use rsb_core::catalog::{Completed, LedgerEntry, PartRow, UploadRow, refusal};
use rsb_core::id::{DataId, UploadId};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::commit;
use super::fault::{Fault, Inside};
use super::views::{self, limit};

pub(super) const OPEN_OF_KEY: &str = "
    SELECT body FROM uploads INDEXED BY open_uploads
    WHERE bucket = $1 AND key = $2 AND id > $3 AND open = 1 ORDER BY id LIMIT $4";
pub(super) const OPEN_BEHIND: &str = "
    SELECT body FROM uploads INDEXED BY open_uploads
    WHERE bucket = $1 AND key > $2 AND open = 1 ORDER BY key, id LIMIT $3";
pub(super) const PARTS: &str = "SELECT body FROM parts WHERE upload = $1 AND number > $2 ORDER BY number LIMIT $3";

fn bytes(id: &UploadId) -> &[u8] {
    id.0.as_bytes().as_slice()
}

fn upload(row: &SqliteRow) -> Inside<UploadRow> {
    UploadRow::decode(row.try_get("body")?).map_err(|error| Fault::Damaged(error.message().to_owned()))
}

fn part(row: &SqliteRow) -> Inside<PartRow> {
    PartRow::decode(row.try_get("body")?).map_err(|error| Fault::Damaged(error.message().to_owned()))
}

pub(super) async fn begin(conn: &mut SqliteConnection, upload: UploadRow) -> Inside<()> {
    if views::bucket(conn, &upload.bucket).await?.is_none() {
        return Err(refusal::no_bucket(&upload.bucket).into());
    }
    store(conn, &upload).await
}

async fn store(conn: &mut SqliteConnection, upload: &UploadRow) -> Inside<()> {
    sqlx::query("INSERT OR REPLACE INTO uploads (id, bucket, key, open, body) VALUES ($1, $2, $3, $4, $5)")
        .bind(bytes(&upload.id))
        .bind(upload.bucket.as_bytes())
        .bind(upload.key.as_bytes())
        .bind(upload.completed.is_none())
        .bind(upload.encode())
        .execute(conn)
        .await?;
    Ok(())
}

pub(super) async fn one(conn: &mut SqliteConnection, id: UploadId) -> Inside<Option<UploadRow>> {
    let row = sqlx::query("SELECT body FROM uploads WHERE id = $1").bind(bytes(&id)).fetch_optional(conn).await?;
    row.as_ref().map(upload).transpose()
}

pub(super) async fn after(conn: &mut SqliteConnection, last: Option<UploadId>, count: usize) -> Inside<Vec<UploadRow>> {
    let rows = sqlx::query("SELECT body FROM uploads WHERE id > $1 ORDER BY id LIMIT $2")
        .bind(bytes(&last.unwrap_or(UploadId::MIN)))
        .bind(limit(count))
        .fetch_all(conn)
        .await?;
    rows.iter().map(upload).collect()
}

pub(super) async fn open(
    conn: &mut SqliteConnection,
    bucket: &str,
    from: &[u8],
    after: Option<UploadId>,
    count: usize,
) -> Inside<Vec<UploadRow>> {
    // The rest of this key, then what lies behind it: each is one range of the index.
    let rows = sqlx::query(OPEN_OF_KEY)
        .bind(bucket.as_bytes())
        .bind(from)
        .bind(bytes(&after.unwrap_or(UploadId::MIN)))
        .bind(limit(count))
        .fetch_all(&mut *conn)
        .await?;
    let mut found: Vec<UploadRow> = rows.iter().map(upload).collect::<Inside<_>>()?;
    if found.len() < count {
        let rest = limit(count - found.len());
        let rows = sqlx::query(OPEN_BEHIND).bind(bucket.as_bytes()).bind(from).bind(rest).fetch_all(conn).await?;
        for row in &rows {
            found.push(upload(row)?);
        }
    }
    Ok(found)
}

pub(super) async fn put_part(
    conn: &mut SqliteConnection,
    id: UploadId,
    new: PartRow,
    ledger: Vec<LedgerEntry>,
) -> Inside<Option<PartRow>> {
    if one(conn, id).await?.is_none_or(|upload| upload.completed.is_some()) {
        return Err(refusal::no_upload(id).into());
    }
    let replaced = take(conn, id, Some(new.number)).await?.pop();
    sqlx::query("INSERT INTO parts (upload, number, body) VALUES ($1, $2, $3)")
        .bind(bytes(&id))
        .bind(i64::from(new.number))
        .bind(new.encode())
        .execute(&mut *conn)
        .await?;
    for data in new.data_ids() {
        refer(conn, "INSERT INTO part_references VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", data, id, new.number)
            .await?;
    }
    commit::ledger_add(conn, ledger).await?;
    Ok(replaced)
}

async fn refer(conn: &mut SqliteConnection, sql: &'static str, data: DataId, id: UploadId, number: u16) -> Inside<()> {
    let query = sqlx::query(sql).bind(data.0.as_bytes().as_slice()).bind(bytes(&id)).bind(i64::from(number));
    query.execute(conn).await?;
    Ok(())
}

pub(super) async fn parts(conn: &mut SqliteConnection, id: UploadId, after: u16, count: usize) -> Inside<Vec<PartRow>> {
    let query = sqlx::query(PARTS).bind(bytes(&id)).bind(i64::from(after)).bind(limit(count));
    query.fetch_all(conn).await?.iter().map(part).collect()
}

/// Removes the part of this number, or all, and gives what was there.
async fn take(conn: &mut SqliteConnection, id: UploadId, number: Option<u16>) -> Inside<Vec<PartRow>> {
    let query = match number {
        Some(number) => sqlx::query("DELETE FROM parts WHERE upload = $1 AND number = $2 RETURNING body")
            .bind(bytes(&id))
            .bind(i64::from(number)),
        None => sqlx::query("DELETE FROM parts WHERE upload = $1 RETURNING body").bind(bytes(&id)),
    };
    let rows = query.fetch_all(&mut *conn).await?;
    let taken: Vec<PartRow> = rows.iter().map(part).collect::<Inside<_>>()?;
    for part in &taken {
        for data in part.data_ids() {
            const FORGET: &str = "DELETE FROM part_references WHERE data_id = $1 AND upload = $2 AND number = $3";
            refer(conn, FORGET, data, id, part.number).await?;
        }
    }
    Ok(taken)
}

pub(super) async fn forget(conn: &mut SqliteConnection, id: UploadId) -> Inside<Vec<PartRow>> {
    sqlx::query("DELETE FROM uploads WHERE id = $1").bind(bytes(&id)).execute(&mut *conn).await?;
    take(conn, id, None).await
}

/// Notes that an upload is completed; one that is not known is passed over.
pub(super) async fn complete(conn: &mut SqliteConnection, id: UploadId, completed: Completed) -> Inside<()> {
    let Some(mut row) = one(conn, id).await? else { return Ok(()) };
    row.completed = Some(completed);
    store(conn, &row).await?;
    take(conn, id, None).await?;
    Ok(())
}
