//! Backends that come back: what they missed is known before they are used, and an old state of one is never seen.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use rsb_core::catalog::{Catalog, MemoryCatalog};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::upkeep::HealConfig;
use rsb_core::*;

use crate::gate::Refusals;
use crate::support::*;

fn world() -> World {
    let mut world = World::new(4, 2, 6);
    world.config.watch_every = Duration::from_millis(20);
    world
}

fn told(engine: &Engine, kind: EventKind) -> usize {
    engine.events().0.iter().filter(|event| event.kind == kind).count()
}

#[tokio::test]
async fn what_a_backend_missed_is_in_the_ledger_before_it_is_used() {
    let world = world();
    let engine = with_bucket(&world).await;
    for key in 0..4 {
        put(&engine, &format!("k{key}"), &content(90_000, key)).await.unwrap();
        put(&engine, &format!("s{key}"), &content(500, key)).await.unwrap();
    }
    engine.close().await.unwrap();
    world.refuse(&[2], AWAY);
    let engine = world.open(&[]).await;
    assert!(!reachable(&engine, 2).await);
    put(&engine, "new", &content(90_000, 9)).await.unwrap();
    delete(&engine, "s0").await.unwrap();
    delete(&engine, "k0").await.unwrap();
    // It comes back with its marker, and nothing else.
    world.wipe(2).await;
    world.heal();
    until(|| reachable(&engine, 2)).await;
    assert_eq!(told(&engine, EventKind::BackendBack), 1);
    let missed = engine.ledger(None, 1000).await.unwrap();
    assert!(missed.iter().all(|line| line.backend == "b2") && missed.len() >= 4 + 6, "{missed:?}");
    engine.heal(&HealConfig::default()).await.unwrap();
    assert_whole(&engine).await;
}

/// Every file of a backend, as it is now.
async fn state(world: &World, backend: usize) -> Vec<(Path, Bytes)> {
    let mut state = Vec::new();
    for folder in ["s", "m"] {
        for path in world.paths(backend, folder).await {
            let bytes = world.stores[backend].1.get(&path).await.unwrap().bytes().await.unwrap();
            state.push((path, bytes));
        }
    }
    state
}

#[tokio::test]
async fn a_backend_with_an_old_state_brings_nothing_back() {
    let world = world();
    let engine = with_bucket(&world).await;
    for key in 0..3 {
        put(&engine, &format!("k{key}"), &content(90_000, key)).await.unwrap();
        put(&engine, &format!("s{key}"), &content(500, key)).await.unwrap();
    }
    let old = state(&world, 3).await;
    for key in ["k0", "s0"] {
        delete(&engine, key).await.unwrap();
    }
    put(&engine, "k1", &content(80_000, 77)).await.unwrap();
    put(&engine, "s1", &content(400, 77)).await.unwrap();
    sweep(&engine).await;
    engine.close().await.unwrap();
    world.refuse(&[3], AWAY);
    let engine = world.open(&[]).await;
    put(&engine, "new", &content(500, 1)).await.unwrap();
    world.wipe(3).await;
    for (path, bytes) in old {
        world.stores[3].1.put(&path, bytes.into()).await.unwrap();
    }
    world.heal();
    until(|| reachable(&engine, 3)).await;
    engine.heal(&HealConfig::default()).await.unwrap();
    for engine in [engine, world.open(&[]).await] {
        assert_eq!(keys(&engine).await, ["k1", "k2", "new", "s1", "s2"]);
        assert_eq!(get(&engine, "k1", None).await.unwrap(), content(80_000, 77));
        assert_eq!(get(&engine, "s1", None).await.unwrap(), content(400, 77));
        assert_whole(&engine).await;
    }
}

#[tokio::test]
async fn a_delete_that_a_backend_missed_is_made_up_for() {
    let world = world();
    let engine = with_bucket(&world).await;
    put(&engine, "s0", &content(500, 1)).await.unwrap();
    put(&engine, "s1", &content(500, 1)).await.unwrap();
    let before = world.paths(1, "m").await.len();
    engine.close().await.unwrap();
    let catalog = std::sync::Arc::new(rsb_core::catalog::MemoryCatalog::default());
    let engine = world.open_with(catalog, &[]).await.unwrap();
    world.refuse(&[1], AWAY);
    // It is noticed, and expelled as its marker is gone too.
    let marker = Path::from("rsb.json");
    let bytes = world.stores[1].1.get(&marker).await.unwrap().bytes().await.unwrap();
    world.stores[1].1.delete(&marker).await.unwrap();
    delete(&engine, "s0").await.unwrap();
    world.heal();
    until(|| async { !reachable(&engine, 1).await || told(&engine, EventKind::BackendExpelled) > 0 }).await;
    until(|| async { told(&engine, EventKind::BackendExpelled) > 0 }).await;
    world.stores[1].1.put(&marker, bytes.into()).await.unwrap();
    until(|| async { told(&engine, EventKind::BackendBack) > 0 && reachable(&engine, 1).await }).await;
    engine.heal(&HealConfig::default()).await.unwrap();
    // Gone is the batch of s0; the tombstone's has come.
    until(|| async { world.paths(1, "m").await.len() == before }).await;
    assert_whole(&engine).await;
}

#[tokio::test]
async fn a_lost_marker_is_written_again_where_the_backend_proves_to_be_the_one() {
    let mut world = world();
    world.config.inline_limit = 0;
    let engine = with_bucket(&world).await;
    for key in 0..5 {
        put(&engine, &format!("k{key}"), &content(9_000, key)).await.unwrap();
    }
    let marker = Path::from("rsb.json");
    for backend in [1, 4] {
        world.stores[backend].1.delete(&marker).await.unwrap();
    }
    world.wipe(4).await;
    // Only those that fail are asked soon.
    world.refuse(&[1, 4], AWAY);
    put(&engine, "x", &content(9_000, 1)).await.unwrap_err();
    world.heal();
    until(|| async { told(&engine, EventKind::BackendExpelled) == 2 }).await;
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    let report = engine.repair(&plan, &Progress::default()).await.unwrap();
    assert_eq!(report.markers_restored, ["b1"], "b4 is empty: it may be a disk that is not mounted");
    assert!(world.stores[1].1.head(&marker).await.is_ok() && world.stores[4].1.head(&marker).await.is_err());
    until(|| reachable(&engine, 1)).await;
}

/// A crash, or a loss, that leaves a batch on some backends only.
#[tokio::test]
async fn half_a_batch_is_completed() {
    let world = world();
    world.init().await;
    let engine = world.open(&[]).await;
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    put(&engine, "s", &content(500, 1)).await.unwrap();
    put(&engine, "k", &content(90_000, 1)).await.unwrap();
    engine.close().await.unwrap();
    for path in world.paths(0, "m").await {
        world.stores[5].1.delete(&path).await.unwrap();
    }
    let engine = world.open(&[]).await;
    assert!(!engine.ledger(None, 10).await.unwrap().is_empty(), "a rebuild notes what it did not find");
    engine.heal(&HealConfig::default()).await.unwrap();
    assert_eq!(world.paths(5, "m").await.len(), world.paths(0, "m").await.len());
    assert_whole(&engine).await;
}

/// Writing a marker was broken off: what is there of it belongs to nobody else.
#[tokio::test]
async fn the_beginning_of_a_marker_is_made_whole_and_what_else_is_there_is_left_alone() {
    let world = world();
    world.init().await;
    let marker = Path::from("rsb.json");
    let whole = world.stores[1].1.get(&marker).await.unwrap().bytes().await.unwrap();
    let init = || async { Engine::init_markers(&world.config, &world.backends(&[]), &world.env()).await };
    for len in [0, 1, whole.len() / 2, whole.len() - 2] {
        world.stores[1].1.put(&marker, whole.slice(..len).into()).await.unwrap();
        assert_eq!(init().await.unwrap(), ["b1"], "{len} bytes");
        assert_eq!(world.stores[1].1.get(&marker).await.unwrap().bytes().await.unwrap(), whole);
    }
    let mut other = whole.to_vec();
    other[whole.len() / 2] ^= 1;
    for other in [other.clone(), other[..other.len() - 3].to_vec(), b"somebody's own".to_vec()] {
        world.stores[1].1.put(&marker, Bytes::from(other.clone()).into()).await.unwrap();
        let error = init().await.unwrap_err();
        assert!(error.message().contains("b1"), "{error}");
        assert_eq!(world.stores[1].1.get(&marker).await.unwrap().bytes().await.unwrap(), other, "nothing was written");
    }
}

/// Of two copies that are short one goes back to its backend, and the other has nowhere to go: not over the first.
#[tokio::test]
async fn two_copies_never_go_to_one_backend() {
    let mut world = world();
    world.config.ack_margin = Some(0);
    let engine = with_bucket(&world).await;
    world.refuse(&[1, 4], AWAY);
    put(&engine, "s", &content(500, 1)).await.unwrap();
    assert_eq!(engine.ledger(None, 10).await.unwrap().len(), 2);
    world.refuse(&[4], AWAY);
    until(|| reachable(&engine, 1)).await;
    until(|| async { !reachable(&engine, 4).await }).await;
    engine.heal(&HealConfig::default()).await.unwrap();
    let left = engine.ledger(None, 10).await.unwrap();
    assert_eq!(left.iter().map(|line| line.backend.as_str()).collect::<Vec<_>>(), ["b4"]);
    world.heal();
    until(|| reachable(&engine, 4)).await;
    engine.heal(&HealConfig::default()).await.unwrap();
    assert_whole(&engine).await;
}

/// A backend that shows an old state while what was deleted is swept, tombstone and all, does not bring it back.
#[tokio::test]
async fn a_single_copy_brings_no_deleted_object_back() {
    for (k, m, n) in SCHEMES.into_iter().filter(|(k, ..)| *k > 1) {
        for len in [0, 1, 400] {
            let world = World::new(k, m, n);
            let engine = with_bucket(&world).await;
            put(&engine, "gone", &content(len, 1)).await.unwrap();
            let (holder, newest) = world.files("m").await.into_iter().max_by_key(|(_, path)| path.clone()).unwrap();
            let copy = world.stores[holder].1.get(&newest).await.unwrap().bytes().await.unwrap();
            delete(&engine, "gone").await.unwrap();
            world.clock.turn(2 * HOUR_MS);
            for _ in 0..2 {
                sweep(&engine).await;
            }
            engine.close().await.unwrap();
            world.stores[holder].1.put(&newest, copy.into()).await.unwrap();
            let engine = world.open(&[]).await;
            assert_eq!(keys(&engine).await, [""; 0], "{len} bytes, {k}+{m} over {n}");
        }
    }
}

/// A rebuild does not know the copies of a backend that did not answer just then: they are taken in when it does, however
/// soon that is, and also where the process ended in between.
#[tokio::test]
async fn what_a_rebuild_did_not_see_is_taken_in_soon() {
    for dies in [false, true] {
        let world = world();
        let catalog = Arc::new(MemoryCatalog::new());
        let engine = with_bucket(&world).await;
        engine.close().await.unwrap();
        let mut engine = world.open_with(catalog.clone(), &[]).await.unwrap();
        put(&engine, "x", &content(400, 1)).await.unwrap();
        world.refuse(&[0], Refusals { lists: true, ..Refusals::default() });
        engine.rebuild_catalog(&Progress::default()).await.unwrap();
        let held = async || {
            let batches = catalog.batches_after(None, 100).await.unwrap();
            batches.iter().all(|batch| batch.holders.len() == 6)
        };
        assert!(!held().await, "the rebuild saw a backend that did not answer");
        if dies {
            drop(engine);
            world.heal();
            engine = world.open_with(catalog.clone(), &[]).await.unwrap();
            assert!(held().await, "before anything is asked of it");
        }
        world.heal();
        until(held).await;
        assert_eq!(engine.ledger(None, 1).await.unwrap(), [], "nothing is missing");
        engine.close().await.unwrap();
    }
}

/// Another repository's backend, the only one that answers, is not taken for the repository. A new name in the config is no
/// hindrance where all backends answer, or the catalog knows the repository.
#[tokio::test]
async fn one_backend_of_another_repository_is_not_taken_for_this_one() {
    let mut world = World::new(2, 1, 3);
    let catalog = Arc::new(MemoryCatalog::new());
    world.init().await;
    world.open_with(catalog.clone(), &[]).await.unwrap().close().await.unwrap();
    world.config.name = "renamed".into();
    for away in [vec![1], vec![1, 2]] {
        let error = world.open_with(Arc::new(MemoryCatalog::new()), &away).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("\"b0\" belongs to repository \"test\""), "{error}");
        world.open_with(catalog.clone(), &away).await.unwrap().close().await.unwrap();
    }
    world.open(&[]).await.close().await.unwrap();
}
