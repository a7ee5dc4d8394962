use std::sync::Arc;

use rsb_core::catalog::Catalog;
use rsb_core::testkit::catalog as suite;
use tempfile::TempDir;

use super::*;

mod files;
mod plans;
mod writing;

/// A catalog whose folder goes with it.
async fn make(folder: &TempDir) -> Arc<dyn Catalog> {
    let number = std::fs::read_dir(folder.path()).unwrap().count();
    let path = folder.path().join(format!("{number}.db"));
    Arc::new(SqliteCatalog::open(&path, Mode::ReadWrite).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let folder = TempDir::new().unwrap();
    suite::run(async || make(&folder).await).await;
}

#[test]
fn depends_on_the_set_of_records_only() {
    let folder = TempDir::new().unwrap();
    suite::histories(async || make(&folder).await);
}

#[test]
fn lists_as_the_model_does() {
    let folder = TempDir::new().unwrap();
    suite::listings(async || make(&folder).await);
}
