//! Changes that are not commits.

use rsb_core::catalog::{Holder, LedgerItem, Located, refusal};
use rsb_core::id::{BatchId, VersionId};
use sqlx::{Row, SqliteConnection};

use super::fault::Inside;
use super::{commit, reserve, row, views};

pub(super) async fn set_holders(conn: &mut SqliteConnection, id: BatchId, holders: Vec<Holder>) -> Inside<()> {
    let done = sqlx::query("UPDATE batches SET holders = $2 WHERE id = $1")
        .bind(id.0.as_bytes().as_slice())
        .bind(row::holders_json(&holders)?)
        .execute(conn)
        .await?;
    if done.rows_affected() == 0 {
        return Err(refusal::no_batch(id).into());
    }
    Ok(())
}

pub(super) async fn forget_batch(conn: &mut SqliteConnection, id: BatchId) -> Inside<()> {
    let bytes = id.0.as_bytes().as_slice();
    let live: Option<i64> =
        sqlx::query_scalar("SELECT live FROM batches WHERE id = $1").bind(bytes).fetch_optional(&mut *conn).await?;
    match live {
        None => return Ok(()),
        Some(0) => {}
        Some(_) => return Err(refusal::batch_live(id).into()),
    }
    let rows =
        sqlx::query("DELETE FROM records WHERE batch = $1 RETURNING version").bind(bytes).fetch_all(&mut *conn).await?;
    let mut greatest: Option<VersionId> = None;
    for row in &rows {
        greatest = greatest.max(Some(row::version(row)?));
    }
    reserve::raise(conn, greatest, None).await?;
    sqlx::query("DELETE FROM batches WHERE id = $1").bind(bytes).execute(&mut *conn).await?;
    sqlx::query("UPDATE state SET batches = batches - 1").execute(conn).await?;
    Ok(())
}

pub(super) async fn drop_record(conn: &mut SqliteConnection, at: Located) -> Inside<()> {
    let (batch, offset) = (at.batch.0.as_bytes().as_slice(), i64::from(at.extent.offset));
    let row = sqlx::query("SELECT * FROM records WHERE batch = $1 AND at = $2")
        .bind(batch)
        .bind(offset)
        .fetch_optional(&mut *conn)
        .await?;
    let Some(row) = row else { return Err(refusal::no_record(&at).into()) };
    if !row.try_get::<bool, _>("live")? {
        return Ok(());
    }
    let tombstone = row.try_get::<i64, _>("kind")? >= 3;
    let bucket = row::text(&row, "bucket")?;
    let is_bucket = row.try_get::<i64, _>("kind")? == 2;
    let ended = is_bucket && views::bucket(conn, &bucket).await?.is_none();
    if !tombstone && !ended {
        return Err(refusal::not_droppable(&at).into());
    }
    sqlx::query("UPDATE records SET live = 0, body = NULL WHERE batch = $1 AND at = $2")
        .bind(batch)
        .bind(offset)
        .execute(&mut *conn)
        .await?;
    commit::count_live(conn, at.batch, -1).await?;
    sqlx::query("UPDATE state SET tombstones = tombstones - $1").bind(tombstone).execute(conn).await?;
    Ok(())
}

pub(super) async fn ledger_remove(conn: &mut SqliteConnection, items: Vec<LedgerItem>) -> Inside<()> {
    for item in &items {
        sqlx::query("DELETE FROM ledger WHERE item = $1").bind(row::item_bytes(item)).execute(&mut *conn).await?;
    }
    Ok(())
}

pub(super) async fn set_value(conn: &mut SqliteConnection, name: String, value: Option<String>) -> Inside<()> {
    let query = match value {
        Some(value) => sqlx::query(
            "INSERT INTO named_values (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
        )
        .bind(name)
        .bind(value),
        None => sqlx::query("DELETE FROM named_values WHERE name = $1").bind(name),
    };
    query.execute(conn).await?;
    Ok(())
}

pub(super) async fn clear(conn: &mut SqliteConnection) -> Inside<()> {
    sqlx::raw_sql(
        "DELETE FROM batches; DELETE FROM records; DELETE FROM versions; DELETE FROM data_references;
         DELETE FROM intents; DELETE FROM ledger; DELETE FROM named_values;
         DELETE FROM uploads; DELETE FROM parts; DELETE FROM part_references;
         UPDATE state SET floor = zeroblob(16), greatest = zeroblob(16), versions = 0, tombstones = 0, batches = 0;",
    )
    .execute(conn)
    .await?;
    Ok(())
}
