//! Folders, memory, and each wrapper around memory.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::limit::LimitStore;
use object_store::memory::InMemory;
use rsb_backends::stores::{StoreErrorKind, build, ensure_container, probe};
use rsb_backends::wrappers::{Exact, Fault, Metrics, Retry, RetryOptions, Timeout, Timeouts, WrapOptions, wrap};
use rsb_core::Env;

use crate::open::{spec, unique};
use crate::suite::{ALL, Abilities, run, short_ranges};

/// A file system keeps no metadata and has no entity tags to write under a condition.
const FOLDER: Abilities = Abilities { update: false, attributes: false, ..ALL };

fn memory() -> Arc<dyn ObjectStore> {
    Arc::new(InMemory::new())
}

#[tokio::test]
async fn memory_by_name() {
    let store = build(&spec("m", format!("memory://{}", unique("conformance")), &[])).await.unwrap();
    run(&*store, ALL).await;
}

#[tokio::test]
async fn folder() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/rsb");
    let spec = spec("nas", path.display().to_string(), &[]);
    let error = probe(&spec).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Missing, "{error}");
    assert!(ensure_container(&spec).await.unwrap());
    assert!(!ensure_container(&spec).await.unwrap(), "made once");
    probe(&spec).await.unwrap();
    let store = build(&spec).await.unwrap();
    run(&*store, FOLDER).await;
    let wrapped = wrap("nas", store, &WrapOptions::default());
    run(&*wrapped, FOLDER).await;
    short_ranges(&*wrapped).await;
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "emptied folders go with their last object");
}

#[tokio::test]
async fn a_file_in_place_of_a_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = probe(&spec("nas", file.path().display().to_string(), &[])).await.unwrap_err();
    assert!(error.to_string().contains("is not a folder"), "{error}");
}

#[tokio::test]
async fn exact() {
    let store = Exact::new(memory());
    run(&store, ALL).await;
    short_ranges(&store).await;
}

#[tokio::test]
async fn retry() {
    run(&Retry::new(memory(), RetryOptions::default(), Env::system()), ALL).await;
}

#[tokio::test]
async fn timeout() {
    run(&Timeout::new(memory(), Timeouts::default()), ALL).await;
}

#[tokio::test]
async fn metrics() {
    run(&Metrics::new("m", memory()), ALL).await;
}

#[tokio::test]
async fn limit() {
    run(&LimitStore::new(memory(), 4), ALL).await;
}

#[tokio::test]
async fn fault_without_rules() {
    run(&*Fault::around(memory()).0, ALL).await;
}

#[tokio::test]
async fn the_whole_stack() {
    let store = wrap("m", memory(), &WrapOptions::default());
    run(&*store, ALL).await;
    short_ranges(&*store).await;
}
