//! Multipart uploads: no crash loses what was acknowledged, or keeps what is not wanted.

use std::collections::BTreeSet;
use std::sync::Arc;

use rsb_core::catalog::{Catalog, MemoryCatalog, UploadRow};
use rsb_core::*;

use crate::multipart::*;
use crate::support::*;

/// A history of one upload and one object, in steps of which each may be the last.
async fn history(engine: &Engine, upload: &UploadRow) -> (usize, Option<Error>) {
    let mut done = 0;
    let steps: [(u16, usize, u8); 3] = [(1, 120_000, 1), (2, 9000, 2), (1, 9000, 3)];
    for (number, len, seed) in steps {
        match send(engine, upload, number, &content(len, seed)).await {
            Ok(_) => done += 1,
            Err(error) => return (done, Some(error)),
        }
    }
    match complete(engine, upload, &[1, 2]).await {
        Ok(_) => (done + 1, None),
        Err(error) => (done, Some(error)),
    }
}

/// Whatever change is the last one: with the catalog what was acknowledged can go on, without it the object is there
/// wholly or not at all; and nothing is left but what is named.
#[tokio::test]
async fn a_crash_anywhere_loses_no_part_and_no_object() {
    for (k, m, n) in [(4, 2, 6), (1, 3, 4)] {
        let origin = World::new(k, m, n);
        with_bucket(&origin).await.close().await.unwrap();
        for changes in 1.. {
            let world = origin.fork();
            let catalog = Arc::new(MemoryCatalog::new());
            let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
            let upload = begin(&engine, "k").await.unwrap();
            world.fuse.light(changes);
            let (done, failed) = history(&engine, &upload).await;
            let _ = engine.close().await;
            drop(engine);
            let died = world.fuse.is_burnt();
            world.fuse.put_out();
            assert!(died || failed.is_none(), "{changes}: {failed:?}");
            lost_catalog(&world.fork(), done == 4, changes).await;
            goes_on(&world, catalog, &upload, done, changes).await;
            if !died {
                assert!(changes > 20, "the history is one of many changes");
                break;
            }
        }
    }
}

fn whole() -> Vec<u8> {
    [content(9000, 3), content(9000, 2)].concat()
}

async fn lost_catalog(world: &World, acknowledged: bool, changes: i64) {
    let engine = world.open(&[]).await;
    let there = keys(&engine).await == ["k"];
    assert!(there || !acknowledged, "{changes}");
    world.clock.turn(1000);
    for _ in 0..3 {
        sweep(&engine).await;
    }
    let mut named = BTreeSet::new();
    if there {
        assert_eq!(get(&engine, "k", None).await.unwrap(), whole(), "{changes}");
        named.extend(engine.head("bucket", "k", None).await.unwrap().manifest.data_ids().map(|id| id.to_string()));
    }
    assert_eq!(stored(world).await, named, "{changes}");
}

/// The process comes back with its catalog and the client goes on where it was.
async fn goes_on(world: &World, catalog: Arc<MemoryCatalog>, upload: &UploadRow, done: usize, changes: i64) {
    let engine = world.open_with(catalog.clone() as Arc<dyn Catalog>, &[]).await.unwrap();
    world.clock.turn(1000);
    sweep(&engine).await;
    let completed = engine.upload("bucket", "k", upload.id).await.is_err();
    assert!(completed || done < 4, "{changes}");
    if !completed {
        let parts = engine.parts(upload.id, 0, 10).await.unwrap();
        assert!(parts.len() >= done.min(2), "{changes}: an acknowledged part is there");
        if parts.len() < 2 || parts[0].size != 9000 {
            send(&engine, upload, 1, &content(9000, 3)).await.unwrap();
            send(&engine, upload, 2, &content(9000, 2)).await.unwrap();
        }
        complete(&engine, upload, &[1, 2]).await.unwrap();
    }
    assert_eq!(get(&engine, "k", None).await.unwrap(), whole(), "{changes}");
    world.clock.turn(1000);
    for _ in 0..3 {
        sweep(&engine).await;
    }
    let manifest = engine.head("bucket", "k", None).await.unwrap().manifest;
    engine.close().await.unwrap();
    let named: BTreeSet<String> = manifest.data_ids().map(|id| id.to_string()).collect();
    assert_eq!(stored(world).await, named, "{changes}");
}

/// A power cut may take the last transactions of a catalog back: then it has parts whose shards were removed.
#[tokio::test]
async fn a_catalog_that_was_set_back_does_not_complete_what_was_removed() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    let bytes = content(30_000, 1);
    let part = send(&engine, &upload, 1, &bytes).await.unwrap();
    engine.abort_upload("bucket", "k", upload.id).await.unwrap();
    engine.close().await.unwrap();
    assert!(shards(&world).await.is_empty());
    catalog.begin_upload(upload.clone()).await.unwrap();
    catalog.put_part(upload.id, part, Vec::new()).await.unwrap();
    catalog.set_value("closed_clean", None).await.unwrap();

    // Two backends that are away do not make it likelier.
    for away in [&[][..], &[0, 3]] {
        let engine = world.open_with(catalog.clone(), away).await.unwrap();
        let error = complete(&engine, &upload, &[1]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(keys(&engine).await.is_empty());
    }
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    send(&engine, &upload, 1, &bytes).await.unwrap();
    complete(&engine, &upload, &[1]).await.unwrap();
    assert_eq!(get(&engine, "k", None).await.unwrap(), bytes);
}
