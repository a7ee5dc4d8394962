//! A repository inside a program: thirteen folders stand for thirteen places, three of them are lost, and nobody notices.
//!
//! ```text
//! cargo run --release --example embed
//! ```
#![allow(clippy::print_stdout, reason = "it is a program that prints")]

use std::error::Error;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use rsb_core::{CheckRequest, Depth, ErasureStore, Progress, Scope};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    // Any object store will do: MinIO, S3, Azure, memory, a wrapper of your own, all of them mixed.
    let mut builder = ErasureStore::builder().name("photos").scheme(10, 3).bucket("data").create_if_missing(true);
    for i in 0..13 {
        let place = folder.path().join(format!("place-{i:02}"));
        std::fs::create_dir(&place)?;
        let store = Arc::new(LocalFileSystem::new_with_prefix(&place)?);
        builder = builder.backend(format!("place-{i:02}"), store, [("provider", format!("provider-{i:02}"))]);
    }
    let store = builder.build().await?;

    // From here on it is an object store like any other.
    let path = Path::from("2026/sea.raw");
    let bytes: Vec<u8> = (0..10_000_000u32).flat_map(u32::to_le_bytes).collect();
    store.put(&path, bytes.clone().into()).await?;
    store.put_opts(&Path::from("2026/once"), "only the first one wins".into(), PutMode::Create.into()).await?;
    println!("put {} bytes; the store is {store}", bytes.len());

    for i in [2, 7, 11] {
        std::fs::remove_dir_all(folder.path().join(format!("place-{i:02}/s")))?;
        std::fs::remove_dir_all(folder.path().join(format!("place-{i:02}/m")))?;
        println!("lost place-{i:02}");
    }
    let same = store.get(&path).await?.bytes().await? == bytes;
    let some = store.get_ranges(&path, &[0..8, 39_999_992..40_000_000]).await?;
    let listed: Vec<_> = store.list(Some(&Path::from("2026"))).map_ok(|meta| meta.location).try_collect().await?;
    println!("read it all: the same: {same}; two ranges of it: {some:?}; listed: {listed:?}");

    // The engine below checks and repairs.
    let (scope, depth) = (Scope::default(), Depth::Full);
    let found = store.engine().check(&CheckRequest { depth, ..CheckRequest::default() }, &Progress::default()).await?;
    let plan = store.engine().plan_repair(&scope, depth, &Progress::default()).await?;
    store.engine().repair(&plan, &Progress::default()).await?;
    let after = store.engine().check(&CheckRequest { depth, ..CheckRequest::default() }, &Progress::default()).await?;
    println!("damaged before the repair: {}, after it: {}", found.damaged.len(), after.damaged.len());
    store.close().await?;
    if same && after.damaged.is_empty() { Ok(()) } else { Err("it is not as it was".into()) }
}
