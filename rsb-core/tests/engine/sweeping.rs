//! Nothing is deleted in doubt: what a sweep may take, and when.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use rsb_core::catalog::Precondition;
use rsb_core::*;

use crate::gate::Refusals;
use crate::rebuild::{keep_copies, newest_shards, unacknowledged};
use crate::support::*;

/// Leaves garbage of each kind that a sweep deletes: shards that nothing names, a record that was never acknowledged, an
/// object that was deleted where it could not be removed, and a newer version's forerunner.
async fn with_garbage(world: &World) {
    unadoptable(world).await;
    let engine = world.open(&[]).await;
    put(&engine, "killed", &content(9000, 1)).await.unwrap();
    put(&engine, "replaced", &content(9000, 2)).await.unwrap();
    world.refuse(&(0..world.gates.len()).collect::<Vec<_>>(), Refusals { deletes: Some(""), ..Refusals::default() });
    delete(&engine, "killed").await.unwrap();
    put(&engine, "replaced", &content(300, 3)).await.unwrap();
    engine.close().await.unwrap();
    world.heal();
}

async fn all_files(world: &World) -> std::collections::BTreeSet<(usize, object_store::path::Path)> {
    world.files("m").await.into_iter().chain(world.files("s").await).collect()
}

#[tokio::test]
async fn nothing_younger_than_the_grace_time_is_swept() {
    let mut world = World::new(4, 2, 6);
    world.config.grace = Duration::from_millis(HOUR_MS as u64);
    unadoptable(&world).await;
    let before = all_files(&world).await;
    let engine = world.open(&[]).await;
    world.clock.turn(HOUR_MS - 60_000);
    let report = sweep(&engine).await;
    assert!(report.too_young >= 2 && report.shards_removed == 0 && report.batches_removed == 0, "{report:?}");
    assert_eq!(all_files(&world).await, before);
    world.clock.turn(120_000);
    let report = sweep(&engine).await;
    assert_eq!((report.batches_removed, report.shards_removed), (1, 3), "{report:?}");
    assert_eq!(keys(&engine).await, ["old"]);
}

/// A write that was never acknowledged, with one good shard too few to be adopted: k - 1 shards and a record.
async fn unadoptable(world: &World) {
    unacknowledged(world, 9000, 1).await;
    for (backend, path) in newest_shards(world).await.into_iter().skip(world.config.scheme.k() - 1) {
        world.stores[backend].1.delete(&path).await.unwrap();
    }
}

/// A shard may be written long after its id was given: the file's own time counts too.
#[tokio::test]
async fn a_file_written_just_now_is_young_however_old_its_id_is() {
    let mut world = World::new(4, 2, 6);
    world.config.grace = Duration::from_millis(HOUR_MS as u64);
    world.clock.turn(-3 * HOUR_MS);
    unadoptable(&world).await;
    world.clock.turn(3 * HOUR_MS);
    let engine = world.open(&[]).await;
    let report = sweep(&engine).await;
    assert_eq!((report.shards_removed, report.too_young), (0, 3), "{report:?}");
}

#[tokio::test]
async fn nothing_is_deleted_while_a_backend_cannot_be_reached() {
    for (k, m, n) in SCHEMES {
        let origin = World::new(k, m, n);
        with_garbage(&origin).await;
        origin.clock.turn(10);
        for backend in 0..n {
            for away in [false, true] {
                let world = origin.fork();
                let engine = world.open(if away { std::slice::from_ref(&backend) } else { &[] }).await;
                if !away {
                    world.refuse(&[backend], Refusals { lists: true, ..Refusals::default() });
                }
                let before = all_files(&world).await;
                let report = sweep(&engine).await;
                assert_eq!(report.unreachable, [format!("b{backend}")], "{k}+{m} over {n}");
                let nothing = SweepReport { unreachable: report.unreachable.clone(), ..SweepReport::default() };
                assert_eq!(report, nothing, "{k}+{m} over {n}");
                assert!(all_files(&world).await.is_superset(&before), "{k}+{m} over {n} without b{backend}");
            }
        }
        // With all of them there it goes, and what is alive stays.
        let engine = origin.open(&[]).await;
        for _ in 0..3 {
            sweep(&engine).await;
        }
        assert_eq!(keys(&engine).await, ["old", "replaced"]);
        assert_eq!(get(&engine, "old", None).await.unwrap(), content(9000, 8));
        assert_eq!(origin.files("s").await.len(), k + m, "the old object's");
        assert_eq!(engine.status().await.unwrap().counts.tombstones, 0);
    }
}

/// A copy of what a tombstone kills that cannot be deleted keeps the tombstone, and that keeps the object deleted.
#[tokio::test]
async fn a_tombstone_is_dropped_only_when_every_copy_of_what_it_kills_is_gone() {
    for (k, m, n) in SCHEMES {
        for len in [400, 9000] {
            for stubborn in [0, n - 1] {
                let world = World::new(k, m, n);
                let engine = with_bucket(&world).await;
                put(&engine, "ghost", &content(len, 5)).await.unwrap();
                let only = Refusals { deletes: Some(""), ..Refusals::default() };
                world.refuse(&[stubborn], only.clone());
                let held = world.paths(stubborn, "m").await.len();
                delete(&engine, "ghost").await.unwrap();
                for _ in 0..3 {
                    world.clock.turn(10);
                    sweep(&engine).await;
                }
                engine.close().await.unwrap();
                let case = format!("{k}+{m} over {n}, {len} bytes, b{stubborn} keeps {held} files");
                // Whoever looks at the backends alone finds it deleted, m of them away or not.
                for away in subsets(n, m).into_iter().filter(|away| !away.contains(&stubborn)).chain([vec![]]) {
                    let engine = world.fork().open(&away).await;
                    assert!(keys(&engine).await.is_empty(), "{case}, without {away:?}");
                }
                world.heal();
                let engine = world.open(&[]).await;
                for _ in 0..3 {
                    world.clock.turn(10);
                    sweep(&engine).await;
                }
                assert_eq!(engine.status().await.unwrap().counts.tombstones, 0, "{case}");
                assert!(keys(&world.open(&[]).await).await.is_empty(), "{case}");
                assert!(world.files("s").await.is_empty(), "{case}");
            }
        }
    }
}

/// A killed record's last copy is young garbage to a rebuilt catalog: it is there still, so the tombstone stays.
#[tokio::test]
async fn a_tombstone_outlives_copies_that_are_too_young_to_be_swept() {
    let mut world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "ghost", &content(9000, 5)).await.unwrap();
    world.refuse(&[0], Refusals { deletes: Some(""), ..Refusals::default() });
    delete(&engine, "ghost").await.unwrap();
    engine.close().await.unwrap();
    world.heal();
    world.config.grace = Duration::from_millis(HOUR_MS as u64);
    let engine = world.open(&[]).await;
    assert_eq!(sweep(&engine).await.tombstones_dropped, 0);
    assert_eq!(engine.status().await.unwrap().counts.tombstones, 1);
    world.clock.turn(2 * HOUR_MS);
    for _ in 0..2 {
        sweep(&engine).await;
    }
    assert_eq!(engine.status().await.unwrap().counts.tombstones, 0);
}

#[tokio::test]
async fn shards_that_a_copy_still_names_are_never_swept() {
    for (k, m, n) in SCHEMES {
        let world = World::new(k, m, n);
        let engine = with_bucket(&world).await;
        let bytes = content(150_000, 7);
        put(&engine, "a", &bytes).await.unwrap();
        engine.copy(("bucket", "a"), ("bucket", "b"), Precondition::None).await.unwrap();
        delete(&engine, "a").await.unwrap();
        engine.close().await.unwrap();
        // Also when the catalog was lost since.
        for catalog in ["kept", "rebuilt"] {
            let engine = world.open(&[]).await;
            world.clock.turn(HOUR_MS);
            let report = sweep(&engine).await;
            assert_eq!((report.shards_removed, world.files("s").await.len()), (0, 2 * (k + m)), "{catalog}");
            assert_eq!(get(&engine, "b", None).await.unwrap(), bytes, "{k}+{m} over {n}, {catalog}");
            engine.close().await.unwrap();
        }
        let engine = world.open(&[]).await;
        outlive_earlier(&world, &engine).await;
        delete(&engine, "b").await.unwrap();
        engine.close().await.unwrap();
        assert!(world.files("s").await.is_empty(), "the last name went");
    }
}

/// A record that too few hold and that cannot be completed now is in doubt, and its shards stay as long as it does.
#[tokio::test]
async fn shards_that_a_record_in_doubt_names_are_not_swept_however_old_they_are() {
    let mut world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "a", &content(9000, 7)).await.unwrap();
    world.config.grace = Duration::from_millis(HOUR_MS as u64);
    world.clock.turn(2 * HOUR_MS);
    delete_keeping_shards(&world, &engine).await;
    engine.close().await.unwrap();
    // A new catalog sees the end of the original, and of its copy a record that it cannot complete.
    world.refuse(&(0..6).collect::<Vec<_>>(), Refusals { puts: Some("m/"), ..Refusals::default() });
    let engine = world.open(&[]).await;
    assert_eq!(keys(&engine).await, ["b"]);
    let report = sweep(&engine).await;
    assert_eq!((report.shards_removed, report.undecided), (0, true), "{report:?}");
    engine.close().await.unwrap();
    world.heal();
    let engine = world.open(&[]).await;
    assert_eq!(get(&engine, "b", None).await.unwrap(), content(9000, 7));
}

/// Copies `a` to `b`, which reaches three backends, and deletes `a`.
async fn delete_keeping_shards(world: &World, engine: &Engine) {
    engine.copy(("bucket", "a"), ("bucket", "b"), Precondition::None).await.unwrap();
    keep_copies(world, 3).await;
    delete(engine, "a").await.unwrap();
}

/// Who reads an old version goes on reading it, while a newer one is there and a sweep goes by.
#[tokio::test]
async fn a_sweep_leaves_what_is_being_read() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let bytes = content(950_000, 7);
    put(&engine, "x", &bytes).await.unwrap();
    let mut reading = engine.get("bucket", "x", None, None).await.unwrap().stream;
    let mut seen = reading.next().await.unwrap().unwrap().to_vec();
    world.clock.turn(HOUR_MS);
    put(&engine, "x", &content(9000, 8)).await.unwrap();
    sweep(&engine).await;
    while let Some(chunk) = reading.try_next().await.unwrap() {
        seen.extend_from_slice(&chunk);
    }
    assert!(seen == bytes, "another version's bytes");
    drop(reading);
    engine.close().await.unwrap();
    let engine = world.open(&[]).await;
    world.clock.turn(HOUR_MS);
    sweep(&engine).await;
    assert_eq!(world.files("s").await.len(), 6, "the new version's");
}

/// A batch that is kept only for a few of its records is compacted: what lives stays readable, also for a rebuild with m
/// backends away, and the old batch goes.
#[tokio::test]
async fn a_batch_of_mostly_dead_records_is_compacted() {
    let mut world = World::new(4, 2, 6);
    world.config.grace = Duration::from_millis(HOUR_MS as u64);
    let engine = with_bucket(&world).await;
    let names: Vec<String> = (0..40).map(|i| format!("k{i:02}")).collect();
    let puts = names.iter().enumerate().map(|(i, name)| {
        let (engine, body) = (engine.clone(), content(if i % 2 == 0 { 300 } else { 9000 }, i as u8));
        async move { put(&engine, name, &body).await.unwrap() }
    });
    futures::future::join_all(puts).await;
    let kept = ["k07", "k20", "k33"];
    for name in names.iter().filter(|name| !kept.contains(&name.as_str())) {
        delete(&engine, name).await.unwrap();
    }
    world.clock.turn(2 * HOUR_MS);
    let before = world.files("m").await;
    let report = sweep(&engine).await;
    assert!(report.batches_compacted >= 1, "{report:?}");
    let after = world.files("m").await;
    assert!(before.iter().any(|file| !after.contains(file)), "the compacted batches are gone");
    engine.close().await.unwrap();
    let engine = world.open(&[1, 4]).await;
    engine.rebuild_catalog(&Progress::default()).await.unwrap();
    assert_eq!(keys(&engine).await, kept);
    for (name, number) in kept.iter().zip([7u8, 20, 33]) {
        let body = content(if number % 2 == 0 { 300 } else { 9000 }, number);
        assert_eq!(get(&engine, name, None).await.unwrap(), body, "{name}");
    }
}
