//! Opening: the checks that the file is a catalog of a version we know, and its settings.

use std::path::Path;
use std::time::Duration;

use rsb_core::{Error, ErrorKind, Result};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, SqliteConnection, SqlitePool};

use super::Mode;
use super::fault::{Fault, Inside};

/// "RSBC", in the file's header.
const APPLICATION_ID: i64 = 0x5253_4243;
/// Each brings the schema one version further; they are never changed, only added to.
const MIGRATIONS: &[&str] = &[include_str!("schema/001.sql"), include_str!("schema/002.sql")];
/// Readers work beside the writer and beside each other.
const READERS: u32 = 4;
/// How long another program's lock (a backup, a shell) is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The one connection that writes.
pub(super) async fn writer(path: &Path) -> Result<SqliteConnection> {
    let connect = options(path).create_if_missing(true);
    let mut conn = connect.connect().await.map_err(|error| Fault::Sql(error).outside(path))?;
    match prepare(&mut conn, path).await {
        Ok(()) => Ok(conn),
        Err(fault) => {
            // Let go of the file before the sentence is read.
            if let Err(error) = conn.close().await {
                tracing::debug!(%error, "closing a catalog that was refused");
            }
            Err(fault.outside(path))
        }
    }
}

/// The connections that read.
pub(super) async fn readers(path: &Path, mode: Mode) -> Result<SqlitePool> {
    let pool = SqlitePoolOptions::new().max_connections(READERS);
    let pool = pool.connect_with(options(path).read_only(true)).await.map_err(|error| {
        if mode == Mode::ReadOnly && !path.exists() {
            let message = format!("there is no catalog at {}; run `rsb catalog rebuild`", path.display());
            return Error::not_found(message);
        }
        Fault::Sql(error).outside(path)
    })?;
    if mode == Mode::ReadOnly {
        let version = check_readable(&pool, path).await;
        if let Err(fault) = version {
            pool.close().await;
            return Err(fault.outside(path));
        }
    }
    Ok(pool)
}

async fn check_readable(pool: &SqlitePool, path: &Path) -> Inside<()> {
    let mut conn = pool.acquire().await?;
    match version(&mut conn, path).await? {
        found if found == MIGRATIONS.len() => Ok(()),
        0 => Err(Error::not_found(format!("{} is empty; run `rsb catalog rebuild`", path.display())).into()),
        found => Err(Error::new(
            ErrorKind::ReadOnly,
            format!(
                "the catalog {} has schema version {found} and needs {}; start the gateway once, which brings it there",
                path.display(),
                MIGRATIONS.len()
            ),
        )
        .into()),
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

/// The file's schema version, 0 for an empty file; refused when the file is another program's or newer than we are.
async fn version(conn: &mut SqliteConnection, path: &Path) -> Inside<usize> {
    let application: i64 = sqlx::query_scalar("PRAGMA application_id").fetch_one(&mut *conn).await?;
    let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *conn).await?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *conn).await?;
    let path = path.display();
    if (application, version, tables) == (0, 0, 0) {
        return Ok(0);
    }
    if application != APPLICATION_ID || version < 1 {
        let message =
            format!("{path} is an SQLite file of another program, not a catalog; name another file in `catalog`");
        return Err(Error::config(message).into());
    }
    match usize::try_from(version) {
        Ok(found) if found <= MIGRATIONS.len() => Ok(found),
        _ => Err(Error::config(format!(
            "the catalog {path} has schema version {version}, this program knows versions 1 to {}; use the newer program that wrote it, or move the file away and run `rsb catalog rebuild`",
            MIGRATIONS.len()
        ))
        .into()),
    }
}

async fn prepare(conn: &mut SqliteConnection, path: &Path) -> Inside<()> {
    // First look, then touch: a file of another program keeps its journal mode.
    let found = version(conn, path).await?;
    sqlx::query("PRAGMA journal_mode = WAL").execute(&mut *conn).await?;
    // NORMAL in WAL mode does not sync commits, only checkpoints: a power cut may take the last commits back, which the
    // next start catches up from the backends (promise 3), but never damages the file, as OFF could, which would cost
    // a full rebuild.
    sqlx::query("PRAGMA synchronous = NORMAL").execute(&mut *conn).await?;
    for (number, migration) in MIGRATIONS.iter().enumerate().skip(found) {
        let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
        let version = number + 1;
        // A pragma takes no parameters; the number is ours.
        let stamp = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {version}"));
        sqlx::raw_sql(stamp).execute(&mut *transaction).await?;
        transaction.commit().await?;
    }
    Ok(())
}
