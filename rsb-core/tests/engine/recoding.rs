//! Bytes are evened out over backends, and stored objects get another k and m: the history stays, whenever it is killed.

use std::sync::Arc;

use futures::TryStreamExt;
use rsb_core::format::manifest::Body;
use rsb_core::*;

use crate::moves::{history, lived_in, repaired, run, whole};
use crate::support::*;

fn rescheme(data_shards: usize, parity_shards: usize) -> Move {
    MoveTask::Rescheme { scope: Scope::default(), data_shards, parity_shards }.into()
}

#[tokio::test]
async fn bytes_are_evened_out_over_a_new_backend() {
    let mut world = World::new(2, 1, 3);
    let (engine, catalog) = lived_in(&world).await;
    for i in 0..40 {
        put(&engine, &format!("o{i}"), &content(20_000, i)).await.unwrap();
        put(&engine, &format!("s{i}"), &content(900, i)).await.unwrap();
    }
    let before = history(&engine).await;
    engine.close().await.unwrap();
    let mut stores = world.stores.clone();
    stores.push(("b3".into(), Arc::default()));
    world = World::of(stores, world.config.clone());
    world.init().await;
    let engine = world.open_with(catalog, &[]).await.unwrap();
    let order: Move = MoveTask::Rebalance.into();
    let plan = engine.plan_move(&order, &Progress::default()).await.unwrap();
    let report = run(&engine, &order).await;
    assert!(report.shards >= plan.shards && report.shards > 10, "{plan:?} {report:?}");
    let mut sizes = Vec::new();
    for backend in 0..4 {
        let mut sum = 0;
        for folder in ["s", "m"] {
            let prefix = object_store::path::Path::from(folder);
            let listed = object_store::ObjectStore::list(world.stores[backend].1.as_ref(), Some(&prefix));
            sum += listed.map_ok(|meta| meta.size).try_fold(0, |a, b| async move { Ok(a + b) }).await.unwrap();
        }
        sizes.push(sum);
    }
    let (least, most) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
    assert!(most * 100 <= least * 115, "{sizes:?}");
    assert_eq!(history(&engine).await, before);
    whole(&engine).await;
    let again = run(&engine, &order).await;
    assert_eq!((again.shards, again.copies), (0, 0), "what is even stays");
    engine.close().await.unwrap();
    let engine = world.open(&[1]).await;
    assert_eq!(history(&engine).await, before);
}

#[tokio::test]
async fn stored_objects_get_another_scheme() {
    for ((k, m), (to_k, to_m)) in [((4, 2), (2, 4)), ((4, 1), (4, 2)), ((1, 3), (3, 1)), ((2, 1), (1, 3))] {
        let world = World::new(k, m, 7);
        let (engine, catalog) = lived_in(&world).await;
        let before = history(&engine).await;
        let order = rescheme(to_k, to_m);
        let plan = engine.plan_move(&order, &Progress::default()).await.unwrap();
        let report = run(&engine, &order).await;
        assert_eq!((report.shards, report.copies), (plan.shards, plan.copies));
        assert_eq!(history(&engine).await, before);
        for (bucket, key) in [("bucket", "small"), ("bucket", "large"), ("bucket", "copy"), ("bucket", "medium")] {
            let scheme = engine.head(bucket, key, None).await.unwrap().scheme().unwrap();
            assert_eq!((scheme.k(), scheme.m()), (to_k, to_m), "{key}");
        }
        let ids = |info: ObjectInfo| info.manifest.data_ids().collect::<Vec<_>>();
        let large = ids(engine.head("bucket", "large", None).await.unwrap());
        assert_eq!(large, ids(engine.head("bucket", "copy", None).await.unwrap()), "a copy still shares its segments");
        assert!(large.is_sorted());
        whole(&engine).await;
        // Nothing is left of what it was.
        engine.close().await.unwrap();
        let engine = world.open_with(catalog, &[]).await.unwrap();
        world.clock.turn(1000);
        assert_eq!(sweep(&engine).await.shards_removed, 0);
        assert_eq!(run(&engine, &order).await.shards, 0);
        engine.close().await.unwrap();
        for away in subsets(7, m.min(to_m)) {
            let engine = world.open(&away).await;
            assert_eq!(history(&engine).await, before, "without {away:?}");
        }
    }
}

/// Objects whose records share a batch are described anew one after another, and each time somebody looks whether the batch may
/// go: nothing is passed over for that. An object of many segments is described anew several times.
#[tokio::test]
async fn a_rescheme_passes_nothing_over() {
    let mut world = World::new(2, 1, 6);
    world.config.segment_size = 4096;
    let (engine, _) = lived_in(&world).await;
    let key = |i: u8| format!("k{i}");
    let bytes = |i: u8| content(if i == 0 { 4096 * 150 } else { 9000 }, i);
    let names: Vec<String> = (0..30).map(key).collect();
    futures::future::join_all(names.iter().zip(0..).map(|(key, i)| {
        let engine = &engine;
        async move { put(engine, key, &bytes(i)).await.unwrap() }
    }))
    .await;
    for (k, m) in [(3, 2), (2, 1), (4, 2)] {
        run(&engine, &rescheme(k, m)).await;
        for i in 0..30 {
            let info = engine.head("bucket", &key(i), None).await.unwrap();
            let Body::Segments(body) = &info.manifest.body else { panic!("it is not small") };
            assert!(body.views().all(|view| view.scheme.scheme.k() == k), "{k}+{m}: {}", key(i));
            assert!(info.manifest.data_ids().collect::<Vec<_>>().is_sorted());
            assert_eq!(get(&engine, &key(i), None).await.unwrap(), bytes(i));
        }
        whole(&engine).await;
    }
}

#[tokio::test]
async fn a_rescheme_keeps_to_its_scope() {
    let world = World::new(2, 1, 6);
    let (engine, _) = lived_in(&world).await;
    let scope = Scope { bucket: Some("bucket".into()), prefix: "l".into(), key: None };
    run(&engine, &MoveTask::Rescheme { scope, data_shards: 3, parity_shards: 2 }.into()).await;
    for (key, k) in [("large", 3), ("copy", 2), ("small", 2)] {
        assert_eq!(engine.head("bucket", key, None).await.unwrap().scheme().unwrap().k(), k, "{key}");
    }
    whole(&engine).await;
    for order in [rescheme(9, 9), rescheme(0, 1)] {
        assert!(engine.plan_move(&order, &Progress::default()).await.is_err());
        assert!(engine.run_move(&order, &Progress::default()).await.is_err());
    }
}

#[tokio::test]
async fn a_rescheme_killed_at_any_change_is_gone_on_with_and_loses_nothing() {
    let origin = World::new(2, 1, 5);
    let (engine, _) = lived_in(&origin).await;
    let before = history(&engine).await;
    engine.close().await.unwrap();
    let mut changes = 1;
    loop {
        let world = origin.fork();
        let engine = world.open(&[]).await;
        world.fuse.light(changes);
        let _ = engine.run_move(&rescheme(2, 2), &Progress::default()).await;
        let died = world.fuse.is_burnt();
        let _ = engine.close().await;
        world.fuse.put_out();
        let engine = world.open(&[]).await;
        assert_eq!(history(&engine).await, before, "dead after {changes} changes");
        run(&engine, &rescheme(2, 2)).await;
        assert_eq!(engine.head("bucket", "large", None).await.unwrap().scheme().unwrap().m(), 2);
        repaired(&engine).await;
        engine.close().await.unwrap();
        let engine = world.open(&[changes as usize % 5]).await;
        assert_eq!(history(&engine).await, before);
        if !died {
            assert!(changes > 20);
            break;
        }
        changes += 1 + changes / 12;
    }
}
