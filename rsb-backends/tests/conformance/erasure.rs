//! The store made of stores passes the suite of a store: object_store's own integration functions, all of them but the one that
//! looks for HTTP's marks, and what is asked of every backend. Over memory, over folders, and over MinIO, Azurite, a folder and
//! memory mixed; whole, and with as many of its backends failing as may be lost.

use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::{ObjectStore, integration};
use rsb_backends::catalog::{Mode, SqliteCatalog};
use rsb_backends::stores::{StoreSpec, build, ensure_container};
use rsb_backends::wrappers::{Action, Failure, Fault, FaultHandle, Rule, WrapOptions, wrap};
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::testkit::backend::{ALL, run};
use rsb_core::{ErasureStore, ErasureStoreBuilder};

use crate::open::{server, spec, unique};
use crate::servers::{azure, s3};

/// 3+2 on seven backends: with two of them failing a write still finds five.
const M: usize = 2;
const BACKENDS: usize = 7;

/// A builder on these stores, and what makes each of them fail.
fn on(stores: Vec<Arc<dyn ObjectStore>>) -> (ErasureStoreBuilder, Vec<FaultHandle>) {
    assert_eq!(stores.len(), BACKENDS);
    let mut builder = ErasureStore::builder().name("conformance").scheme(BACKENDS - 2 * M, M).create_if_missing(true);
    // Objects of more bytes than this have shards of their own, and of more than that several segments.
    builder = builder.block_size(4096).configure(|config| {
        config.inline_limit = 16 << 10;
        config.segment_size = 1 << 20;
    });
    let mut handles = Vec::new();
    for (i, store) in stores.into_iter().enumerate() {
        let (store, handle) = Fault::around(store);
        builder = builder.backend(format!("b{i}"), store, [("provider", format!("p{i}"))]);
        handles.push(handle);
    }
    (builder, handles)
}

async fn conforms(stores: Vec<Arc<dyn ObjectStore>>, lost: &[usize]) {
    let (builder, handles) = on(stores);
    let store = builder.build().await.unwrap();
    for backend in lost {
        handles[*backend].add(Rule::new(Action::FailBefore(Failure::Server)));
    }
    run(&store, ALL).await;
    integration::multipart(&store, &store).await;
    integration::multipart_with_opts(&store, &store).await;
    integration::multipart_put_part_out_of_order(&store, &store).await;
    integration::list_paginated(&store, &store).await;
    store.close().await.unwrap();
}

fn memory() -> Vec<Arc<dyn ObjectStore>> {
    (0..BACKENDS).map(|_| Arc::new(InMemory::new()) as Arc<dyn ObjectStore>).collect()
}

/// A store as a configured backend is: made, opened and wrapped.
async fn backend(spec: StoreSpec) -> Arc<dyn ObjectStore> {
    ensure_container(&spec).await.unwrap();
    wrap(&spec.name, build(&spec).await.unwrap(), &WrapOptions::default())
}

async fn folders(root: &tempfile::TempDir) -> Vec<Arc<dyn ObjectStore>> {
    let mut stores = Vec::new();
    for i in 0..BACKENDS {
        stores.push(backend(spec(&format!("f{i}"), root.path().join(i.to_string()).display().to_string(), &[])).await);
    }
    stores
}

#[tokio::test(flavor = "multi_thread")]
async fn over_memory() {
    conforms(memory(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_memory_with_as_many_failing_as_may_be_lost() {
    conforms(memory(), &[1, 4]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_folders() {
    let root = tempfile::tempdir().unwrap();
    conforms(folders(&root).await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_folders_with_as_many_failing_as_may_be_lost() {
    let root = tempfile::tempdir().unwrap();
    conforms(folders(&root).await, &[0, 6]).await;
}

/// Three MinIO buckets, two Azurite containers, a folder, memory.
async fn mixed(root: &tempfile::TempDir) -> Option<Vec<Arc<dyn ObjectStore>>> {
    let what = "a store over MinIO, Azurite, a folder and memory";
    let minio = server(what, "RSB_TEST_S3_ENDPOINT")?;
    let azurite = server(what, "RSB_TEST_AZURITE_ENDPOINT")?;
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(backend(s3(&minio, &unique("erasure"))).await);
    }
    for _ in 0..2 {
        stores.push(backend(azure(&azurite, &unique("erasure"))).await);
    }
    stores.push(backend(spec("folder", root.path().display().to_string(), &[])).await);
    stores.push(Arc::new(InMemory::new()));
    Some(stores)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_minio_azurite_a_folder_and_memory() {
    let root = tempfile::tempdir().unwrap();
    let Some(stores) = mixed(&root).await else { return };
    conforms(stores, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn over_minio_azurite_a_folder_and_memory_with_one_of_each_provider_failing() {
    let root = tempfile::tempdir().unwrap();
    let Some(stores) = mixed(&root).await else { return };
    conforms(stores, &[0, 3]).await;
}

/// In a bucket that keeps all versions, versions are named and stay readable: object_store's suite asks for that of whoever
/// names them. Its other functions begin with empty buckets and so do not look at that.
#[tokio::test]
async fn a_bucket_that_keeps_all_versions_over_a_catalog_that_lasts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.db");
    let stores = memory();
    let open = async || {
        let catalog = SqliteCatalog::open(&path, Mode::ReadWrite).await.unwrap();
        let settings = BucketSettings { versions: Versions::KeepAll, ..BucketSettings::default() };
        on(stores.clone()).0.catalog(Arc::new(catalog)).bucket_settings(settings).build().await.unwrap()
    };
    let store = open().await;
    integration::get_opts(&store).await;
    integration::put_opts(&store, true).await;
    integration::put_get_attributes(&store).await;
    integration::rename_and_copy(&store).await;
    let counts = store.engine().status().await.unwrap().counts;
    store.close().await.unwrap();
    // Opened again, it is the same repository.
    let again = open().await;
    assert_eq!(again.engine().status().await.unwrap().counts, counts);
    integration::get_opts(&again).await;
    again.close().await.unwrap();
}
