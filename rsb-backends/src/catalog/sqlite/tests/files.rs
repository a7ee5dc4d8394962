//! Opening what is there, and what is not a catalog.

use std::path::{Path, PathBuf};

use rsb_core::ErrorKind;
use rsb_core::catalog::ListQuery;
use rsb_core::id::BatchId;

use super::*;

async fn open(path: &Path) -> Result<SqliteCatalog> {
    SqliteCatalog::open(path, Mode::ReadWrite).await
}

async fn refusal(path: &Path, mode: Mode) -> Error {
    match SqliteCatalog::open(path, mode).await {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error,
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("rsb.db")
}

#[tokio::test]
async fn what_was_written_is_there_after_closing() {
    let folder = TempDir::new().unwrap();
    let catalog = open(&file(&folder)).await.unwrap();
    catalog.set_value("repository", Some("x".into())).await.unwrap();
    catalog.close().await.unwrap();
    let late = catalog.set_value("repository", None).await.unwrap_err();
    assert_eq!(late.message(), "the catalog has been closed");
    assert_eq!(catalog.value("repository").await.unwrap_err().message(), "the catalog has been closed");
    assert!(!folder.path().join("rsb.db-wal").exists(), "closing folds the log into the file");
    let again = open(&file(&folder)).await.unwrap();
    assert_eq!(again.value("repository").await.unwrap().as_deref(), Some("x"));
}

#[tokio::test]
async fn a_second_writer_is_told_who_holds_it() {
    let folder = TempDir::new().unwrap();
    let catalog = open(&file(&folder)).await.unwrap();
    let error = refusal(&file(&folder), Mode::ReadWrite).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let expected = format!("in use by process {}; use --server", std::process::id());
    assert!(error.message().contains(&expected), "{error}");
    catalog.close().await.unwrap();
    // A lock file left by a process that was killed holds nobody up.
    open(&file(&folder)).await.unwrap();
}

#[tokio::test]
async fn a_reader_works_beside_the_writer_and_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    assert_eq!(refusal(&path, Mode::ReadOnly).await.kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a look leaves nothing behind");

    let writer = open(&path).await.unwrap();
    let reader = SqliteCatalog::open(&path, Mode::ReadOnly).await.unwrap();
    writer.set_value("cursor", Some("1".into())).await.unwrap();
    assert_eq!(reader.value("cursor").await.unwrap().as_deref(), Some("1"));
    let error = reader.set_value("cursor", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    assert_eq!(reader.reserve(Vec::new()).await.unwrap_err().kind(), ErrorKind::ReadOnly);
    writer.close().await.unwrap();
    let alone = SqliteCatalog::open(&path, Mode::ReadOnly).await.unwrap();
    assert_eq!(alone.value("cursor").await.unwrap().as_deref(), Some("1"));
}

#[tokio::test]
async fn a_file_that_is_no_catalog_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    std::fs::write(&path, "these are the accounts of 1987, not a catalog; ".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    for mode in [Mode::ReadWrite, Mode::ReadOnly] {
        let error = refusal(&path, mode).await;
        assert!(error.message().contains("is not a catalog"), "{error}");
        assert!(error.message().contains("rsb catalog rebuild"), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let other = folder.path().join("other.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE accounts (id INTEGER)").execute(&pool).await.unwrap();
    pool.close().await;
    let before = std::fs::read(&other).unwrap();
    let error = refusal(&other, Mode::ReadWrite).await;
    assert!(error.message().contains("another program"), "{error}");
    assert_eq!(std::fs::read(&other).unwrap(), before, "not even its journal mode");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    open(&path).await.unwrap().close().await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("PRAGMA user_version = 99").execute(&pool).await.unwrap();
    pool.close().await;
    for mode in [Mode::ReadWrite, Mode::ReadOnly] {
        let error = refusal(&path, mode).await;
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("schema version 99, this program knows versions 1 to 2"), "{error}");
    }
}

#[tokio::test]
async fn a_file_of_the_first_schema_is_brought_to_this_one() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::raw_sql(include_str!("../schema/001.sql")).execute(&pool).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 1; INSERT INTO named_values VALUES ('repository', 'x')")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    assert_eq!(refusal(&path, Mode::ReadOnly).await.kind(), ErrorKind::ReadOnly, "a look changes nothing");
    let catalog = open(&path).await.unwrap();
    assert_eq!(catalog.value("repository").await.unwrap().as_deref(), Some("x"));
    assert!(catalog.uploads_after(None, 10).await.unwrap().is_empty());
    catalog.close().await.unwrap();
    SqliteCatalog::open(&path, Mode::ReadOnly).await.unwrap();
}

#[tokio::test]
async fn damage_is_told_as_damage() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder);
    open(&path).await.unwrap().close().await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let roots = "SELECT rootpage FROM sqlite_schema WHERE rootpage > 0";
    let roots: Vec<u32> = sqlx::query_scalar(roots).fetch_all(&pool).await.unwrap();
    pool.close().await;
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything but the schema.
    for root in roots {
        bytes[4096 * (root as usize - 1)..][..4096].fill(0xA5);
    }
    std::fs::write(&path, bytes).unwrap();
    let catalog = open(&path).await.unwrap();
    let error = catalog.list(&ListQuery { bucket: "b".into(), limit: 1, ..Default::default() }).await.unwrap_err();
    assert!(error.message().contains("is damaged; move it away and run `rsb catalog rebuild`"), "{error}");
    let error = catalog.forget_batch(BatchId::MIN).await.unwrap_err();
    assert!(error.message().contains("is damaged"), "{error}");
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let folder = TempDir::new().unwrap();
    let error = refusal(&folder.path().join("nowhere/rsb.db"), Mode::ReadWrite).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("folder") && error.message().contains("does not exist"), "{error}");
}
