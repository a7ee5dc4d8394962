//! A record on too few backends: adopted for good, or garbage; and which of two descriptions of a version wins.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use rsb_core::catalog::MemoryCatalog;
use rsb_core::upkeep::HealConfig;
use rsb_core::*;

use crate::gate::Refusals;
use crate::moves::repaired;
use crate::support::*;

/// The object of an [`unacknowledged`] write.
const LATE: &str = "late";

/// A repository whose process died in the middle of a write: its shards are durable, its record is on `held` backends.
/// Before that, `old` was acknowledged.
pub async fn unacknowledged(world: &World, len: usize, held: usize) {
    let engine = with_bucket(world).await;
    put(&engine, "old", &content(len, 8)).await.unwrap();
    put(&engine, LATE, &content(len, 9)).await.unwrap();
    engine.close().await.unwrap();
    keep_copies(world, held).await;
}

/// Leaves `held` copies of the newest batch, as if the process had died when it had written those.
pub async fn keep_copies(world: &World, held: usize) {
    let files = world.files("m").await;
    let newest = files.iter().map(|(_, path)| path.clone()).max().unwrap();
    for (backend, path) in files.into_iter().filter(|(_, path)| *path == newest).skip(held) {
        world.stores[backend].1.delete(&path).await.unwrap();
    }
}

/// The shards of the newest segment.
pub async fn newest_shards(world: &World) -> Vec<(usize, Path)> {
    let files = world.files("s").await;
    let id = |path: &Path| path.filename().unwrap().split('.').next().unwrap().to_owned();
    let newest = files.iter().map(|(_, path)| id(path)).max().unwrap();
    files.into_iter().filter(|(_, path)| id(path) == newest).collect()
}

/// On how many backends the copies of the newest batch lie.
async fn holders_of_newest(world: &World) -> usize {
    let files = world.files("m").await;
    let newest = files.iter().map(|(_, path)| path.clone()).max().unwrap();
    files.iter().filter(|(_, path)| *path == newest).count()
}

/// Writes that share a batch: of what was replaced or deleted the shards are gone, which says nothing of its neighbours.
#[tokio::test]
async fn what_is_dead_in_a_batch_does_not_take_what_lives_along() {
    for (k, m, n) in SCHEMES {
        let world = World::new(k, m, n);
        let engine = with_bucket(&world).await;
        let names: Vec<String> = (0..24).map(|i| format!("k{i:02}")).collect();
        let bytes = content(3000, 1);
        futures::future::try_join_all(names.iter().map(|name| put(&engine, name, &bytes))).await.unwrap();
        let batches: BTreeSet<Path> = world.files("m").await.into_iter().map(|(_, path)| path).collect();
        assert!(batches.len() < names.len(), "some share a batch");
        for (i, name) in names.iter().enumerate() {
            match i % 3 {
                0 => drop(put(&engine, name, &content(3000, 2)).await.unwrap()),
                1 => drop(delete(&engine, name).await.unwrap()),
                _ => {}
            }
        }
        engine.close().await.unwrap();
        // As many backends as may be lost were replaced by empty ones.
        for (backend, path) in world.files("m").await.into_iter().filter(|(backend, _)| *backend < m) {
            world.stores[backend].1.delete(&path).await.unwrap();
        }
        let engine = world.open(&[]).await;
        for (i, name) in names.iter().enumerate() {
            let found = get(&engine, name, None).await;
            let expected = [Some(content(3000, 2)), None, Some(bytes.clone())][i % 3].clone();
            assert_eq!(found.ok(), expected, "{name} of {k}+{m}");
        }
    }
}

/// An empty object of which one copy is left is not believed in, and a repair of its neighbours in the batch does not make
/// it believable: it would be there again after the next rebuild.
#[tokio::test]
async fn what_was_passed_over_is_not_brought_back_by_a_repair() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let names = |kind: &str| (0..24).map(|i| format!("{kind}{i:02}")).collect::<Vec<_>>();
    let (gone, empty) = (names("gone"), names("empty"));
    let bytes = content(400, 1);
    futures::future::try_join_all(gone.iter().map(|name| put(&engine, name, &bytes))).await.unwrap();
    let before = world.files("m").await;
    let writes = empty.iter().map(|name| async { put(&engine, name, &[]).await.map(drop) });
    let deletes = gone.iter().map(|name| async { delete(&engine, name).await.map(drop) });
    futures::join!(futures::future::join_all(writes), futures::future::join_all(deletes));
    engine.close().await.unwrap();
    for (backend, path) in world.files("m").await.difference(&before) {
        if *backend > 0 {
            world.stores[*backend].1.delete(path).await.unwrap();
        }
    }
    let engine = world.open(&[]).await;
    assert!(keys(&engine).await.iter().all(|key| key.starts_with("gone")));
    for _ in 0..2 {
        let plan = engine.plan_repair(&Scope::default(), Depth::Full, &Progress::default()).await.unwrap();
        engine.repair(&plan, &Progress::default()).await.unwrap();
        engine.heal(&HealConfig::default()).await.unwrap();
        engine.rebuild_catalog(&Progress::default()).await.unwrap();
        assert_eq!(keys(&engine).await, Vec::<String>::new());
    }
    engine.heal(&HealConfig::default()).await.unwrap();
    assert_whole(&engine).await;
}

#[tokio::test]
async fn what_too_few_hold_is_adopted_for_good_once_its_copies_are_complete() {
    for (k, m, n) in SCHEMES {
        let (_, quorum) = quorums(k, m);
        for len in [400, 9000] {
            // An inline object's shards lie in the copies, so it needs k of them.
            for held in (if len == 400 { k } else { 1 })..quorum {
                let world = World::new(k, m, n);
                unacknowledged(&world, len, held).await;
                let case = format!("{k}+{m} over {n}, {len} bytes, held by {held}");
                assert_eq!(holders_of_newest(&world).await, held, "{case}");
                let engine = world.open(&[]).await;
                assert_eq!(keys(&engine).await, [LATE, "old"], "{case}");
                assert_eq!(get(&engine, LATE, None).await.unwrap(), content(len, 9), "{case}");
                engine.close().await.unwrap();
                assert!(holders_of_newest(&world).await >= quorum, "{case}");
                // Visible once, visible for ever: whichever m are away.
                for away in subsets(n, m) {
                    let engine = world.fork().open(&away).await;
                    assert_eq!(keys(&engine).await, [LATE, "old"], "{case}, without {away:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_too_few_hold_is_garbage_without_k_good_shards() {
    for (k, m, n) in SCHEMES {
        let (_, quorum) = quorums(k, m);
        for held in 1..quorum {
            for cut in [false, true] {
                let world = World::new(k, m, n);
                unacknowledged(&world, 9000, held).await;
                // One good shard fewer than it takes: the others are gone, or torn.
                let shards = newest_shards(&world).await;
                assert_eq!(shards.len(), k + m);
                for (backend, path) in &shards[k - 1..] {
                    let store = &world.stores[*backend].1;
                    let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
                    store.delete(path).await.unwrap();
                    if cut {
                        store.put(path, bytes.slice(..bytes.len() - 1).into()).await.unwrap();
                    }
                }
                let engine = world.open(&[]).await;
                let case = format!("{k}+{m} over {n}, held by {held}, torn {cut}");
                assert_eq!(keys(&engine).await, ["old"], "{case}");
                assert_eq!(get(&engine, "old", None).await.unwrap(), content(9000, 8), "{case}");
                assert_eq!(holders_of_newest(&world).await, held, "nothing is completed: {case}");
                world.clock.turn(10);
                let report = sweep(&engine).await;
                assert_eq!(report.batches_removed, 1, "{case}: {report:?}");
                assert_eq!(
                    (world.files("m").await.len(), world.files("s").await.len()),
                    (2 * (k + m).max(quorum), k + m)
                );
            }
        }
    }
}

#[tokio::test]
async fn an_inline_object_with_fewer_than_k_copies_is_garbage() {
    for ((k, m, n), len) in SCHEMES.into_iter().flat_map(|scheme| [(scheme, 400), (scheme, 0)]) {
        for held in 1..k {
            let world = World::new(k, m, n);
            unacknowledged(&world, len, held).await;
            let engine = world.open(&[]).await;
            assert_eq!(keys(&engine).await, ["old"], "{len} bytes, {k}+{m} over {n}, held by {held}");
        }
    }
}

/// While its copies cannot be completed it is in doubt: with other backends away the record would not be seen. It may be what
/// was acknowledged, so a sweep leaves it, also one that looked at the backends before the catalog was made anew.
#[tokio::test]
async fn what_too_few_hold_is_in_doubt_while_its_copies_cannot_be_completed() {
    for (k, m, n) in SCHEMES {
        let world = World::new(k, m, n);
        let held = m.min(k);
        unacknowledged(&world, 9000, held).await;
        world.refuse(&(0..n).collect::<Vec<_>>(), Refusals { puts: Some("m/"), ..Refusals::default() });
        let engine = world.open(&[]).await;
        assert_eq!(keys(&engine).await, [LATE, "old"], "{k}+{m} over {n}, held by {held}");
        world.clock.turn(2 * HOUR_MS);
        let files = (world.files("m").await, world.files("s").await);
        assert!(sweep(&engine).await.undecided);
        engine.rebuild_catalog(&Progress::default()).await.unwrap();
        assert_eq!((world.files("m").await, world.files("s").await), files);
        engine.close().await.unwrap();
        world.heal();
        let engine = world.open(&[]).await;
        assert!(!sweep(&engine).await.undecided);
        assert_eq!(keys(&engine).await, [LATE, "old"]);
    }
}

/// With backends away nobody can say that it was not acknowledged.
#[tokio::test]
async fn what_may_have_been_acknowledged_is_shown() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(9000, 1)).await.unwrap();
    engine.close().await.unwrap();
    // 3 of 6 copies are left within reach, too few for a quorum of 5 and too many for garbage.
    for backend in [0, 1] {
        for path in world.paths(backend, "m").await {
            world.stores[backend].1.delete(&path).await.unwrap();
        }
    }
    world.refuse(&[0, 1, 2, 3], Refusals { puts: Some("m/"), ..Refusals::default() });
    let engine = world.open(&[4]).await;
    assert_eq!(keys(&engine).await, ["x"]);
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(9000, 1));
}

/// A backend that lists a file and then does not answer is as good as away: what lies there is not gone.
#[tokio::test]
async fn a_backend_that_fails_to_answer_leaves_doubt() {
    for (folder, held) in [("m/", 3), ("s/", 2)] {
        let world = World::new(4, 2, 6);
        unacknowledged(&world, 9000, held).await;
        for (backend, path) in newest_shards(&world).await.into_iter().filter(|(backend, _)| *backend >= 4) {
            world.stores[backend].1.delete(&path).await.unwrap();
        }
        world.clock.turn(10);
        let before = [world.files("m").await, world.files("s").await];
        world.refuse(&[0, 1, 2], Refusals { gets: Some(folder), puts: Some(""), ..Refusals::default() });
        let engine = world.open(&[]).await;
        assert!(engine.status().await.unwrap().read_only.unwrap().contains("b0, b1, b2"), "{folder}");
        engine.close().await.unwrap();
        for (i, gate) in world.gates.iter().enumerate() {
            let gets = (i == 0).then_some(folder);
            gate.refuse(Refusals { gets, puts: Some("m/"), ..Refusals::default() });
        }
        let engine = world.open(&[]).await;
        assert_eq!(engine.status().await.unwrap().read_only, None);
        assert_eq!(sweep(&engine).await.unreachable, ["b0"], "{folder}");
        assert_eq!([world.files("m").await, world.files("s").await], before, "{folder}");
        world.heal();
        sweep(&engine).await;
        assert_eq!(keys(&engine).await, [LATE, "old"], "{folder}");
        assert_eq!(get(&engine, LATE, None).await.unwrap(), content(9000, 9));
    }
}

/// What is in doubt may be adopted when its copies can be completed: everything written meanwhile is newer, also when the clock
/// was set back.
#[tokio::test]
async fn a_write_is_newer_than_every_record_that_was_seen() {
    let world = World::new(4, 2, 6);
    with_bucket(&world).await.close().await.unwrap();
    world.clock.turn(HOUR_MS);
    let engine = world.open(&[]).await;
    put(&engine, "x", b"first").await.unwrap();
    world.clock.turn(1000);
    world.refuse(&(0..6).collect::<Vec<_>>(), Refusals { deletes: Some(""), ..Refusals::default() });
    put(&engine, "x", &content(9000, 2)).await.unwrap();
    engine.close().await.unwrap();
    keep_copies(&world, 2).await;
    world.clock.turn(-HOUR_MS - 1000);
    world.refuse(&[2, 3, 4, 5], Refusals { puts: Some("m/"), ..Refusals::default() });
    let engine = world.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(9000, 2));
    world.heal();
    put(&engine, "x", b"third").await.unwrap();
    engine.close().await.unwrap();
    let engine = world.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap(), b"third");
}

/// Repair moved a shard while its backend was away, and wrote the manifest anew. The old manifest and the old shard come
/// back with the backend; the newer revision wins on every choice of backends, and the old files are swept.
#[tokio::test]
async fn a_newer_revision_wins_when_the_old_holder_comes_back() {
    for (k, m, n) in [(4, 2, 7), (1, 3, 5), (2, 4, 7), (2, 1, 7)] {
        let world = World::new(k, m, n);
        let bytes = content(9000, 3);
        let engine = with_bucket(&world).await;
        put(&engine, "x", &bytes).await.unwrap();
        engine.copy(("bucket", "x"), ("bucket", "y"), catalog::Precondition::None).await.unwrap();
        engine.close().await.unwrap();
        let holder = world.files("s").await.first().unwrap().0;
        let engine = world.open(&[holder]).await;
        let progress = Progress::default();
        let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &progress).await.unwrap();
        let done = engine.repair(&plan, &progress).await.unwrap();
        assert!(done.failed.is_empty() && done.shards_rebuilt == 1, "{done:?}");
        engine.close().await.unwrap();
        for away in subsets(n, m) {
            let engine = world.fork().open(&away).await;
            for key in ["x", "y"] {
                let info = engine.head("bucket", key, None).await.unwrap();
                assert_eq!(info.manifest.revision, 1, "{k}+{m} over {n}, {key} without {away:?}");
                assert_eq!(get(&engine, key, None).await.unwrap(), bytes);
            }
        }
        let engine = world.open(&[]).await;
        world.clock.turn(10);
        for _ in 0..2 {
            sweep(&engine).await;
        }
        assert!(world.paths(holder, "s").await.is_empty(), "the old shard");
        assert_eq!(world.files("s").await.len(), k + m);
        let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
        assert_eq!(engine.check(&request, &progress).await.unwrap().whole, 2);
    }
}

/// The blocks of an empty object are empty, so one copy of its record says all there is to say of it.
#[tokio::test]
async fn an_empty_object_is_made_whole_from_any_copy() {
    for (k, m, n) in SCHEMES {
        let world = World::new(k, m, n);
        let engine = with_bucket(&world).await;
        put(&engine, "empty", b"").await.unwrap();
        keep_copies(&world, 1).await;
        assert_eq!(get(&engine, "empty", None).await.unwrap(), b"");
        repaired(&engine).await;
    }
}

/// What too few backends show is taken in newest first: a start that is broken off in the middle has the newest alone.
#[tokio::test]
async fn a_start_that_is_broken_off_is_gone_on_with() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    for i in 0..5 {
        put(&engine, &format!("k{i}"), &content(400, i)).await.unwrap();
        world.clock.turn(HOUR_MS);
    }
    let all = keys(&engine).await;
    engine.close().await.unwrap();
    world.refuse(&[0, 1, 2], Refusals { waits: true, ..Refusals::default() });
    for turns in 0.. {
        let catalog = Arc::new(MemoryCatalog::new());
        let mut open = Box::pin(world.open_with(catalog.clone(), &[2]));
        let mut opened = false;
        for _ in 0..turns {
            opened = futures::poll!(&mut open).is_ready();
            if opened {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(open);
        let engine = world.open_with(catalog, &[2]).await.unwrap();
        assert_eq!(keys(&engine).await, all, "after {turns} turns");
        if opened {
            return;
        }
    }
}
