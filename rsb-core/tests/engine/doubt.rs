//! What was never acknowledged, and cannot be told from what was: nothing acknowledged goes for it, and it goes when it can be.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use rsb_core::catalog::{MemoryCatalog, Precondition};
use rsb_core::upkeep::HealConfig;
use rsb_core::*;

use crate::moves::{drain, repaired, run, whole};
use crate::support::*;

async fn newest(world: &World, store: usize, folder: &str) -> Path {
    world.paths(store, folder).await.pop().unwrap()
}

/// The copies of records that one world has and another one has not.
async fn new_records(has: &World, has_not: &World) -> Vec<(usize, Path)> {
    has.files("m").await.difference(&has_not.files("m").await).cloned().collect()
}

/// A file that was written in one world comes to another one, however late.
async fn land(from: &World, to: &World, store: usize, path: &Path) {
    let file = from.stores[store].1.get(path).await.unwrap().bytes().await.unwrap();
    to.stores[store].1.put(path, file.into()).await.unwrap();
}

/// A write that was never acknowledged, and of which one backend has the record, may be shown while another is away. What it
/// seems to have replaced is all there is when it turns out to be garbage.
#[tokio::test]
async fn nothing_is_deleted_that_was_replaced_by_what_is_in_doubt() {
    let mut world = World::new(2, 1, 3);
    world.config.watch_every = Duration::from_millis(20);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(400, 1)).await.unwrap();
    let died = world.fork();
    put(&engine, "x", &content(9000, 2)).await.unwrap();
    land(&world, &died, 0, &newest(&world, 0, "m").await).await;
    died.refuse(&[2], AWAY);
    let engine = died.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap_err().kind(), ErrorKind::Unreadable);
    // With a copy, or a change of what is said of it, it would be acknowledged as it is.
    let copy = engine.copy(("bucket", "x"), ("bucket", "y"), Precondition::None).await.unwrap_err();
    let tags = [("colour".to_owned(), "red".to_owned())].into();
    let change = engine.set_tags("bucket", "x", None, tags).await.unwrap_err();
    for error in [copy, change] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.message().contains("in doubt"), "{error}");
    }
    assert_eq!(keys(&engine).await, ["x"]);
    died.heal();
    until(|| reachable(&engine, 2)).await;
    until(|| async { get(&engine, "x", None).await.ok() == Some(content(400, 1)) }).await;
    engine.heal(&HealConfig::default()).await.unwrap();
    assert_whole(&engine).await;
}

/// It has no shards, so nobody gives it the copies that it lacks: with them it would pass for acknowledged.
#[tokio::test]
async fn what_is_in_doubt_and_cannot_be_read_is_not_completed() {
    let world = World::new(2, 1, 4);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(400, 1)).await.unwrap();
    let died = world.fork();
    put(&engine, "x", &content(9000, 2)).await.unwrap();
    let (first, record) = new_records(&world, &died).await[0].clone();
    land(&world, &died, first, &record).await;
    let away = (0..4).find(|store| *store != first).unwrap();
    let engine = died.open(&[away]).await;
    let request = CheckRequest::default();
    engine.check(&request, &Progress::default()).await.unwrap();
    for _ in 0..2 {
        engine.heal(&HealConfig::default()).await.unwrap();
        let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
        engine.repair(&plan, &Progress::default()).await.unwrap();
    }
    let holds = died.files("m").await.into_iter().filter(|(_, path)| *path == record).count();
    assert_eq!(holds, 1, "it was given copies");
    engine.close().await.unwrap();
    let engine = died.open(&[]).await;
    assert!(get(&engine, "x", None).await.unwrap() == content(400, 1));
    engine.heal(&HealConfig::default()).await.unwrap();
    sweep(&engine).await;
    assert_whole(&engine).await;
}

/// The same where what it seems to have replaced lies in a batch with what is deleted, or shares segments with it.
#[tokio::test]
async fn nothing_is_deleted_beside_what_was_replaced_by_what_is_in_doubt() {
    let mut world = World::new(2, 2, 4);
    world.config.watch_every = Duration::from_millis(20);
    let engine = with_bucket(&world).await;
    let names: Vec<String> = (0..24).map(|i| format!("k{i:02}")).collect();
    let bytes = content(400, 1);
    futures::future::try_join_all(names.iter().map(|name| put(&engine, name, &bytes))).await.unwrap();
    let records = world.paths(0, "m").await;
    assert!(records.len() < names.len(), "some share a batch");
    put(&engine, "x", &content(9000, 1)).await.unwrap();
    engine.copy(("bucket", "x"), ("bucket", "y"), Precondition::None).await.unwrap();
    let died = world.fork();
    let known = died.paths(0, "m").await;
    let (replaced, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.ends_with(['0', '2', '4', '6', '8']));
    for name in replaced.iter().map(|name| name.as_str()).chain(["x"]) {
        put(&engine, name, &content(9000, 2)).await.unwrap();
    }
    for path in world.paths(0, "m").await.into_iter().filter(|path| !known.contains(path)) {
        for store in [0, 1] {
            land(&world, &died, store, &path).await;
        }
    }
    died.refuse(&[3], AWAY);
    let engine = died.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap_err().kind(), ErrorKind::Unreadable);
    for name in others.iter().map(|name| name.as_str()).chain(["y"]) {
        delete(&engine, name).await.unwrap();
    }
    engine.close().await.unwrap();
    died.heal();
    let engine = died.open(&[]).await;
    until(|| async { get(&engine, "x", None).await.ok() == Some(content(9000, 1)) }).await;
    for name in replaced {
        assert_eq!(get(&engine, name, None).await.unwrap(), bytes, "{name}");
    }
    engine.heal(&HealConfig::default()).await.unwrap();
    sweep(&engine).await;
    assert_whole(&engine).await;
}

/// A copy that was never acknowledged, written by a process that died: its record comes late, when what it was copied from is
/// deleted. What it names is still there, whether the next process goes on or was closed well meanwhile.
#[tokio::test]
async fn a_copy_that_comes_late_can_be_read() {
    let (old, bytes) = (content(9000, 1), content(9000, 2));
    for landed in 1..=3 {
        for closed in [false, true] {
            let mut world = World::new(2, 1, 3);
            world.config.grace = Duration::from_secs(3600);
            let engine = with_bucket(&world).await;
            put(&engine, "y", &old).await.unwrap();
            put(&engine, "x", &bytes).await.unwrap();
            let now = world.fork();
            engine.copy(("bucket", "x"), ("bucket", "y"), Precondition::None).await.unwrap();
            let record = newest(&world, 0, "m").await;
            let catalog = Arc::new(MemoryCatalog::new());
            let mut engine = now.open_with(catalog.clone(), &[]).await.unwrap();
            if closed {
                engine.close().await.unwrap();
                engine = now.open_with(catalog, &[]).await.unwrap();
            }
            delete(&engine, "x").await.unwrap();
            assert_eq!(sweep(&engine).await.shards_removed, 0);
            for store in 0..landed {
                land(&world, &now, store, &record).await;
            }
            sweep(&engine).await;
            assert!(get(&engine, "y", None).await.unwrap() == bytes, "{landed} landed");
            outlive_earlier(&now, &engine).await;
            engine.heal(&HealConfig::default()).await.unwrap();
            assert_whole(&engine).await;
            delete(&engine, "y").await.unwrap();
            engine.close().await.unwrap();
            assert!(now.files("s").await.is_empty(), "nothing can land any more");
        }
    }
}

/// What was deleted keeps its shards after a crash, and its tombstone as long: without it a backend that is put back to an earlier
/// content would bring back what can still be read.
#[tokio::test]
async fn what_was_deleted_and_has_its_shards_yet_does_not_come_back() {
    let mut world = World::new(2, 1, 3);
    world.config.grace = Duration::from_millis(HOUR_MS as u64);
    let before = with_bucket(&world).await;
    put(&before, "x", &content(9000, 1)).await.unwrap();
    let earlier = world.fork();
    let record = newest(&earlier, 0, "m").await;
    let catalog = Arc::new(MemoryCatalog::new());
    let first = world.open_with(catalog.clone(), &[]).await.unwrap();
    delete(&first, "x").await.unwrap();
    // Nothing of the first two processes lands an hour after the third one began, and the tombstone is that old before.
    world.clock.turn(HOUR_MS * 2 / 3);
    let engine = world.open_with(catalog, &[]).await.unwrap();
    world.clock.turn(HOUR_MS * 2 / 3);
    sweep(&engine).await;
    assert_eq!(world.files("s").await, earlier.files("s").await);
    land(&earlier, &world, 0, &record).await;
    let engine = world.open(&[]).await;
    let error = get(&engine, "x", None).await.err().map(|error| error.kind());
    assert_eq!(error, Some(ErrorKind::NotFound));
    assert!(keys(&engine).await.is_empty());
    outlive_earlier(&world, &engine).await;
    engine.heal(&HealConfig::default()).await.unwrap();
    assert!(world.files("s").await.is_empty(), "nothing can land any more");
    assert_eq!(sweep(&engine).await.tombstones_dropped, 1);
    assert_whole(&engine).await;
}

/// When what a copy was made from is deleted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Stays,
    GoesBefore,
    GoesAfter,
}

/// The same where more of the shards were moved meanwhile than may be lost: the copy names the places where they were.
#[tokio::test]
async fn a_copy_that_comes_late_is_read_where_its_shards_have_gone() {
    for source in [Source::Stays, Source::GoesBefore, Source::GoesAfter] {
        for (drains_more, landed) in [(false, 1), (false, 2), (false, 9), (true, 9)] {
            let mut world = World::new(2, 1, 6);
            world.config.grace = Duration::from_secs(3600);
            let engine = with_bucket(&world).await;
            let bytes = content(9000, 2);
            // Many are looked up in listings.
            for other in 0..if drains_more { 70 } else { 0 } {
                put(&engine, &format!("other{other}"), b"small").await.unwrap();
            }
            put(&engine, "y", &content(100, 1)).await.unwrap();
            put(&engine, "x", &bytes).await.unwrap();
            let now = world.fork();
            engine.copy(("bucket", "x"), ("bucket", "y"), Precondition::None).await.unwrap();
            let record = new_records(&world, &now).await;
            let engine = now.open(&[]).await;
            let holders: Vec<usize> = now.files("s").await.into_iter().map(|(store, _)| store).collect();
            for store in &holders[..2] {
                run(&engine, &drain(&format!("b{store}"))).await;
            }
            if source == Source::GoesBefore {
                delete(&engine, "x").await.unwrap();
                sweep(&engine).await;
            }
            for (store, record) in record.iter().take(landed) {
                land(&world, &now, *store, record).await;
            }
            sweep(&engine).await;
            if source == Source::GoesAfter {
                delete(&engine, "x").await.unwrap();
            }
            let is_read = async |when| {
                assert!(get(&engine, "y", None).await.unwrap() == bytes, "{source:?} {drains_more} {landed} {when}");
            };
            is_read("landed").await;
            let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
            assert_eq!(plan.unrepairable, [], "{source:?}");
            assert!(plan.items.iter().all(|item| item.margin == 0 || item.key != "y"), "{plan:?}");
            now.clock.turn(2 * HOUR_MS);
            let report = sweep(&engine).await;
            assert_eq!(report.shards_removed, 0, "{source:?}: {report:?}");
            assert_eq!(report.misplaced, if source == Source::Stays { 0 } else { 2 }, "{source:?}: {report:?}");
            is_read("swept").await;
            if drains_more {
                // What lies where nothing names it is not taken away with what was moved.
                let elsewhere = now.files("s").await.into_iter().map(|(store, _)| store).find(|s| !holders.contains(s));
                let order = drain(&format!("b{}", elsewhere.unwrap()));
                let report = engine.run_move(&order, &Progress::default()).await.unwrap();
                if source != Source::Stays {
                    assert!(report.failed.iter().any(|why| why.contains("stays on backend")), "{report:?}");
                }
                is_read("drained").await;
            }
            match source {
                Source::Stays => repaired(&engine).await,
                _ => drop(engine.heal(&HealConfig::default()).await.unwrap()),
            }
            whole(&engine).await;
            is_read("healed").await;
            now.clock.turn(2 * HOUR_MS);
            sweep(&engine).await;
            is_read("swept again").await;
            whole(&engine).await;
            assert_eq!(now.files("s").await.len(), 3, "{source:?}: what lay elsewhere is garbage now");
            let _ = delete(&engine, "x").await;
            delete(&engine, "y").await.unwrap();
            engine.close().await.unwrap();
            assert!(now.files("s").await.is_empty(), "{source:?}");
        }
    }
}

/// The same later than the grace time: nobody waits for it, and it cannot be told from what was acknowledged while a backend is
/// away.
#[tokio::test]
async fn what_comes_late_and_names_what_was_deleted_is_unreadable() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(9000, 1)).await.unwrap();
    put(&engine, "z", &content(9000, 2)).await.unwrap();
    let now = world.fork();
    engine.copy(("bucket", "x"), ("bucket", "y"), Precondition::None).await.unwrap();
    let record = newest(&world, 0, "m").await;
    let engine = now.open(&[]).await;
    outlive_earlier(&now, &engine).await;
    delete(&engine, "x").await.unwrap();
    until(|| async { now.files("s").await.len() == 3 }).await;
    land(&world, &now, 0, &record).await;
    now.refuse(&[2], AWAY);
    sweep(&engine).await;
    assert_eq!(keys(&engine).await, ["y", "z"]);
    let error = get(&engine, "y", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
    assert!(error.message().contains("had been deleted"), "{error}");
    let drill = DrillRequest { read_bytes: Some(1 << 20), ..DrillRequest::default() };
    let reads = engine.drill_as(&drill, &Progress::default()).await.unwrap().reads.unwrap();
    assert!(reads.failed.iter().any(|why| why.starts_with("bucket/y ")), "{reads:?}");
    let rescheme = MoveTask::Rescheme { scope: Scope::default(), data_shards: 1, parity_shards: 1 };
    let report = engine.run_move(&rescheme.into(), &Progress::default()).await.unwrap();
    assert!(report.failed.iter().any(|why| why.starts_with("bucket/y: ")), "{report:?}");
    now.heal();
    until(|| reachable(&engine, 2)).await;
    sweep(&engine).await;
    assert_eq!(keys(&engine).await, ["z"]);
    assert_whole(&engine).await;
}

/// One shard of it is left, and that is corrupt: by its size it would be enough to show it, and to keep it in doubt for ever.
#[tokio::test]
async fn what_was_never_acknowledged_and_cannot_be_read_is_garbage() {
    let world = World::new(1, 2, 3);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(400, 1)).await.unwrap();
    let died = world.fork();
    put(&engine, "x", &content(9000, 2)).await.unwrap();
    let shard = newest(&world, 2, "s").await;
    land(&world, &died, 2, &newest(&world, 2, "m").await).await;
    land(&world, &died, 2, &shard).await;
    let whole = died.fork();
    let engine = whole.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(9000, 2), "while it can be read it may have been shown");
    engine.heal(&HealConfig::default()).await.unwrap();
    died.flip(2, &shard, 2000).await;
    let engine = died.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(400, 1));
    died.clock.turn(2 * HOUR_MS);
    sweep(&engine).await;
    assert_eq!(died.files("s").await.len(), 0);
    assert_whole(&engine).await;
}

/// The same where all shards are left, and too few copies of the record: if it were completed what it replaced would go.
#[tokio::test]
async fn nothing_acknowledged_goes_for_what_was_never_and_is_corrupt() {
    let world = World::new(1, 2, 4);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(9000, 1)).await.unwrap();
    let died = world.fork();
    put(&engine, "x", &content(9000, 2)).await.unwrap();
    let known = died.files("s").await;
    for (store, path) in world.files("s").await.into_iter().filter(|file| !known.contains(file)) {
        land(&world, &died, store, &path).await;
        died.flip(store, &path, 2000).await;
    }
    let (store, record) = new_records(&world, &died).await[0].clone();
    land(&world, &died, store, &record).await;
    let engine = died.open(&[]).await;
    assert!(get(&engine, "x", None).await.unwrap() == content(9000, 1));
    died.clock.turn(2 * HOUR_MS);
    sweep(&engine).await;
    assert_eq!(died.files("s").await, known);
    assert_whole(&engine).await;
}

/// Of a change that was never acknowledged a record lands when somebody else has made another one of the same revision.
#[tokio::test]
async fn a_change_that_comes_late_does_not_undo_an_acknowledged_one() {
    let colour = |name: &str| [("colour".to_owned(), name.to_owned())].into();
    let world = World::new(2, 2, 4);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(9000, 1)).await.unwrap();
    for landed in 1..=4 {
        let now = world.fork();
        let late = world.fork();
        let died = late.open(&[]).await;
        died.set_tags("bucket", "x", None, colour("red")).await.unwrap();
        let record = newest(&late, 0, "m").await;
        let engine = now.open(&[]).await;
        engine.set_tags("bucket", "x", None, colour("blue")).await.unwrap();
        for store in 0..landed {
            land(&late, &now, store, &record).await;
        }
        sweep(&engine).await;
        for engine in [engine, now.open(&[]).await] {
            let info = engine.head("bucket", "x", None).await.unwrap();
            assert_eq!(info.manifest.tags, colour("blue"), "{landed} landed");
            let verified = engine.verify_catalog(&Progress::default()).await.unwrap();
            assert_eq!(verified.differences, [""; 0]);
            assert_whole(&engine).await;
            engine.close().await.unwrap();
        }
    }
}
