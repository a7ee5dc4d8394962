//! Listings: ranges of one index, a seek for each common prefix.

use rsb_core::catalog::listing::{Pager, Position, Step};
use rsb_core::catalog::{Entry, ListPage, ListQuery};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::fault::{Fault, Inside};
use super::{row, views};

/// Most rows that are read at once: a page of 1,000, and the row that proves another one.
const MOST: usize = 1001;
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

/// The first keys ($1 bucket, from $2 up to $3) of one common prefix after the other, each found by one seek, up to and with
/// the first key that is under none: $4 is the delimiter, $5 where names go on behind the listing's prefix (counted from
/// 1), $6 what stands just behind the delimiter in the order of bytes.
pub(super) const PREFIXES: &str = "
    WITH RECURSIVE walk (key) AS (
        SELECT (SELECT key FROM versions INDEXED BY objects WHERE bucket = $1 AND key >= $2 AND key < $3
                AND latest = 1 AND delete_marker = 0 ORDER BY key LIMIT 1)
        UNION ALL
        SELECT (SELECT v.key FROM versions v INDEXED BY objects WHERE v.bucket = $1 AND v.key >= CAST(
                    substr(walk.key, 1, $5 - 2 + instr(substr(walk.key, $5), $4)) || $6 AS BLOB) AND v.key < $3
                AND v.latest = 1 AND v.delete_marker = 0 ORDER BY v.key LIMIT 1)
        FROM walk WHERE instr(substr(walk.key, $5), $4) > 0 LIMIT $7)
    SELECT key FROM walk WHERE key IS NOT NULL";

pub(super) async fn list(conn: &mut SqliteConnection, query: &ListQuery) -> Inside<ListPage> {
    let mut pager = Pager::new(query);
    let end = pager.end().unwrap_or_else(|| LAST.to_vec());
    let first = if query.delimiter.is_some() { FEW } else { MOST };
    let (mut next, mut chunk, mut rolled) = (pager.start(), first, false);
    while let Some(from) = next.take().filter(|from| from.key < end) {
        if rolled && !query.versions {
            match prefixes(conn, query, &mut pager, &from, &end).await? {
                Some(from) => (next, rolled) = (Some(from), false),
                None => return Ok(pager.finish()),
            }
            continue;
        }
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
        rolled = passed.is_some();
        chunk = if rolled { first } else { (chunk * 2).min(MOST) };
        next = match (passed, last) {
            (Some(passed), _) => Some(passed),
            (None, Some((key, row))) if rows.len() == count => Some(behind(query, key, row)?),
            // The range is at its end; after the rest of one key come the keys behind it.
            (None, _) => from.below.map(|_| Position::behind(&from.key)),
        };
    }
    Ok(pager.finish())
}

/// Takes common prefixes for as long as nothing else lies between them; where to go on, or `None` when the page is done.
async fn prefixes(
    conn: &mut SqliteConnection,
    query: &ListQuery,
    pager: &mut Pager<'_>,
    from: &Position,
    end: &[u8],
) -> Inside<Option<Position>> {
    let delimiter = query.delimiter.as_deref().unwrap_or_default().as_bytes();
    let mut behind = delimiter.to_vec();
    // No byte of UTF-8 is the greatest one.
    if let Some(last) = behind.last_mut() {
        *last += 1;
    }
    let rows = sqlx::query(PREFIXES)
        .bind(query.bucket.as_bytes())
        .bind(from.key.as_slice())
        .bind(end)
        .bind(delimiter)
        .bind(views::limit(query.prefix.len() + 1))
        .bind(behind)
        .bind(views::limit(pager.wanted()))
        .fetch_all(conn)
        .await?;
    let mut next = None;
    for row in &rows {
        let key = row::text(row, "key")?;
        let rest = key.get(query.prefix.len()..).unwrap_or_default();
        if !query.delimiter.as_deref().is_some_and(|delimiter| rest.contains(delimiter)) {
            return Ok(Some(Position { key: key.into_bytes(), below: None }));
        }
        let nothing = || Err(Fault::Damaged(format!("{key:?} is under a common prefix and was listed")));
        match pager.take(&key, nothing)? {
            Step::Seek(position) => next = Some(position),
            Step::Next | Step::Done => return Ok(None),
        }
    }
    Ok(next)
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
