//! Listings: ranges of one index, a seek for each common prefix.

use rsb_core::catalog::listing::{Pager, Position, Step};
use rsb_core::catalog::{Entry, ListPage, ListQuery};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::Inside;
use super::{row, views};

/// Most rows that are read at once.
const MOST: usize = 1000;
/// Rows that are read after a seek, while it is not known whether the next ones are rolled up.
const FEW: usize = 16;
/// Above every key, which is UTF-8.
const LAST: [u8; 1] = [u8::MAX];

pub(super) const OBJECTS: &str = "SELECT * FROM versions INDEXED BY objects
    WHERE bucket = $1 AND key >= $2 AND key < $3 AND latest = 1 AND delete_marker = 0 ORDER BY key LIMIT $4";
pub(super) const VERSIONS: &str = "SELECT * FROM versions
    WHERE bucket = $1 AND key >= $2 AND key < $3 ORDER BY key, version DESC LIMIT $4";
pub(super) const REST_OF_KEY: &str = "SELECT * FROM versions
    WHERE bucket = $1 AND key = $2 AND version < $3 ORDER BY version DESC LIMIT $4";

pub(super) async fn list(conn: &mut SqliteConnection, query: &ListQuery) -> Inside<ListPage> {
    let mut pager = Pager::new(query);
    let end = pager.end().unwrap_or_else(|| LAST.to_vec());
    let first = if query.delimiter.is_some() { FEW } else { MOST };
    let (mut next, mut chunk) = (pager.start(), first);
    while let Some(from) = next.take().filter(|from| from.key < end) {
        let count = pager.wanted().min(chunk);
        let rows = fetch(conn, query, &from, &end, count).await?;
        let mut passed: Option<Position> = None;
        let mut last = None;
        for row in &rows {
            let key = row::text(row, "key")?;
            // Rows that came along from under a common prefix.
            let under = passed.as_ref().is_some_and(|passed| key.as_bytes() < passed.key.as_slice());
            if !under {
                passed = match pager.take(&key, || listed(row))? {
                    Step::Next => None,
                    Step::Seek(position) => Some(position),
                    Step::Done => return Ok(pager.finish()),
                };
            }
            last = Some((key, row));
        }
        chunk = if passed.is_some() { first } else { (chunk * 2).min(MOST) };
        next = match (passed, last) {
            (Some(passed), _) => Some(passed),
            (None, Some((key, row))) if rows.len() == count => Some(behind(query, key, row)?),
            // The range is at its end; after the rest of one key come the keys behind it.
            (None, _) => from.below.map(|_| Position::behind(&from.key)),
        };
    }
    Ok(pager.finish())
}

/// The version, and whether it is its key's newest.
fn listed(row: &SqliteRow) -> Inside<(Entry, bool)> {
    Ok((row::entry(row)?, row.try_get("latest")?))
}

fn behind(query: &ListQuery, key: String, row: &SqliteRow) -> Inside<Position> {
    if query.versions {
        return Ok(Position { key: key.into_bytes(), below: Some(row::version(row)?) });
    }
    Ok(Position::behind(key.as_bytes()))
}

async fn fetch(
    conn: &mut SqliteConnection,
    query: &ListQuery,
    from: &Position,
    end: &[u8],
    count: usize,
) -> Inside<Vec<SqliteRow>> {
    let count = views::limit(count);
    let bucket = query.bucket.as_bytes();
    let rows = match &from.below {
        Some(version) => {
            let version = version.0.as_bytes().as_slice();
            sqlx::query(REST_OF_KEY).bind(bucket).bind(from.key.as_slice()).bind(version).bind(count)
        }
        None => {
            let sql = if query.versions { VERSIONS } else { OBJECTS };
            sqlx::query(sql).bind(bucket).bind(from.key.as_slice()).bind(end).bind(count)
        }
    };
    Ok(rows.fetch_all(conn).await?)
}
