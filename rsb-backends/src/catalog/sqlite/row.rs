//! Rows and types.

use rsb_core::catalog::{BatchRow, Entry, Holder, HolderState, LedgerItem, Located, LocatedRecord};
use rsb_core::format::batch::Extent;
use rsb_core::format::manifest::Record;
use rsb_core::id::{BatchId, VersionId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::fault::{Fault, Inside};

fn damaged(what: &str, detail: impl std::fmt::Display) -> Fault {
    Fault::Damaged(format!("{what}: {detail}"))
}

pub(super) fn id(row: &SqliteRow, column: &'static str) -> Inside<Uuid> {
    Uuid::from_slice(row.try_get(column)?).map_err(|error| damaged(column, error))
}

pub(super) fn version(row: &SqliteRow) -> Inside<VersionId> {
    id(row, "version").map(VersionId)
}

/// An id of the state row, where zeros stand for none.
pub(super) fn known(row: &SqliteRow, column: &'static str) -> Inside<Option<VersionId>> {
    Ok(Some(VersionId(id(row, column)?)).filter(|id| *id != VersionId::MIN))
}

pub(super) fn text(row: &SqliteRow, column: &'static str) -> Inside<String> {
    String::from_utf8(row.try_get(column)?).map_err(|error| damaged(column, error))
}

/// A number that this program wrote.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Inside<T>
where
    T::Error: std::fmt::Display,
{
    let value: i64 = row.try_get(column)?;
    T::try_from(value).map_err(|error| damaged(column, error))
}

/// Columns batch, at, len, body_len.
pub(super) fn located(row: &SqliteRow) -> Inside<Located> {
    let extent = Extent { offset: number(row, "at")?, len: number(row, "len")?, body_len: number(row, "body_len")? };
    Ok(Located { batch: BatchId(id(row, "batch")?), extent })
}

/// Those and body.
pub(super) fn record(row: &SqliteRow) -> Inside<LocatedRecord> {
    let body: &[u8] = row.try_get("body")?;
    let record = Record::decode(body).map_err(|error| damaged("a record's body", error))?;
    Ok(LocatedRecord { record, at: located(row)? })
}

/// The same, of a version.
pub(super) fn entry(row: &SqliteRow) -> Inside<Entry> {
    match record(row)? {
        LocatedRecord { record: Record::Version(manifest), at } => Ok(Entry { manifest, at }),
        LocatedRecord { at, .. } => Err(damaged("versions", format!("the record at {at:?} is not a version"))),
    }
}

/// Columns id, len_bytes, copies, holders.
pub(super) fn batch(row: &SqliteRow) -> Inside<BatchRow> {
    Ok(BatchRow {
        id: BatchId(id(row, "id")?),
        len_bytes: number(row, "len_bytes")?,
        copies: number(row, "copies")?,
        holders: holders(row.try_get("holders")?)?,
    })
}

fn holders(json: &str) -> Inside<Vec<Holder>> {
    let rows: Vec<(String, u16, bool)> = serde_json::from_str(json).map_err(|error| damaged("holders", error))?;
    let holder = |(backend, copy, doubtful)| Holder {
        backend,
        copy,
        state: if doubtful { HolderState::Doubtful } else { HolderState::Held },
    };
    Ok(rows.into_iter().map(holder).collect())
}

/// As short as JSON gets: there is a row for each batch.
pub(super) fn holders_json(holders: &[Holder]) -> Inside<String> {
    let rows: Vec<_> =
        holders.iter().map(|holder| (&holder.backend, holder.copy, holder.state == HolderState::Doubtful)).collect();
    serde_json::to_string(&rows).map_err(|error| damaged("holders", error))
}

/// A ledger item as bytes that sort as the item does.
pub(super) fn item_bytes(item: &LedgerItem) -> Vec<u8> {
    let (kind, id, index) = match item {
        LedgerItem::Shard { data_id, index } => (0, data_id.0, *index),
        LedgerItem::Copy { batch, copy } => (1, batch.0, *copy),
    };
    [&[kind], id.as_bytes().as_slice(), &index.to_be_bytes()].concat()
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Inside<String> {
    serde_json::to_string(value).map_err(|error| damaged("a ledger line", error))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Inside<T> {
    serde_json::from_str(text).map_err(|error| damaged("a ledger line", error))
}
