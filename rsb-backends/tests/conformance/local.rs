//! Folders, memory, and each wrapper around memory.

use std::sync::Arc;

use object_store::memory::InMemory;
use rsb_backends::stores::{StoreErrorKind, build, ensure_container, probe};
use rsb_backends::wrappers::{Exact, WrapOptions, wrap};
use rsb_core::testkit::backend::{ALL, Abilities, run, short_ranges};

use crate::open::{spec, unique, wrappers};

/// A file system keeps no metadata and has no entity tags to write under a condition.
const FOLDER: Abilities = Abilities { update: false, attributes: false, ..ALL };

#[tokio::test]
async fn memory_by_name() {
    let store = build(&spec("m", format!("memory://{}", unique("conformance")), &[])).await.unwrap();
    run(&*store, ALL).await;
    short_ranges(&Exact::new(store)).await;
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

/// One test for each wrapper, so that a failure names it.
macro_rules! around_memory {
    ($($name:ident)*) => { $(
        #[tokio::test]
        async fn $name() {
            let all = wrappers(|_| Arc::new(InMemory::new()));
            let (_, store) = all.into_iter().find(|(name, _)| *name == stringify!($name)).unwrap();
            run(&*store, ALL).await;
            // Only these have the promise of `Exact`.
            if ["exact", "wrap"].contains(&stringify!($name)) {
                short_ranges(&*store).await;
            }
        }
    )* };
}

mod around_memory {
    use super::*;
    around_memory!(exact retry limit metrics timeout fault wrap);
}
