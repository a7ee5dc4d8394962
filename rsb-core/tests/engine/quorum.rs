//! Acknowledged means safe: when a write is acknowledged, when it is refused, and what any n - m backends show of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::path::Path;
use rsb_core::catalog::{MemoryCatalog, Precondition};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::*;

use crate::gate::Refusals;
use crate::support::*;

fn puts(folder: &'static str) -> Refusals {
    Refusals { puts: Some(folder), ..Refusals::default() }
}

/// The acknowledged record kinds: each is one batch of its own.
async fn write(engine: &Engine, kind: &str) -> Result<()> {
    match kind {
        "inline" => put(engine, "inline", &content(500, 1)).await.map(|_| ()),
        "segments" => put(engine, "segments", &content(30_000, 1)).await.map(|_| ()),
        "copy" => engine.copy(("bucket", "old"), ("bucket", "copy"), Precondition::None).await.map(|_| ()),
        "tombstone" => delete(engine, "old").await.map(|_| ()),
        "bucket" => engine.create_bucket("another", BucketSettings::default()).await.map(|_| ()),
        other => panic!("{other}"),
    }
}

/// Files of a folder that were not there before, by name: on how many backends each.
async fn new_files(world: &World, folder: &str, before: &BTreeSet<(usize, Path)>) -> Vec<(String, usize)> {
    let after = world.files(folder).await;
    // Shards of one segment differ in their number only.
    let name = |path: &Path| path.filename().unwrap().split('.').next().unwrap().to_owned();
    let new: Vec<String> = after.difference(before).map(|(_, path)| name(path)).collect();
    let names: BTreeSet<&String> = new.iter().collect();
    names.into_iter().map(|n| (n.clone(), new.iter().filter(|other| *other == n).count())).collect()
}

#[tokio::test]
async fn a_record_is_acknowledged_only_when_more_than_m_and_k_plus_margin_backends_hold_it() {
    for (k, m, n) in SCHEMES {
        let (_, quorum) = quorums(k, m);
        let origin = World::new(k, m, n);
        let engine = with_bucket(&origin).await;
        put(&engine, "old", &content(20_000, 9)).await.unwrap();
        engine.close().await.unwrap();
        for kind in ["inline", "segments", "copy", "tombstone", "bucket"] {
            for failing in n.saturating_sub(quorum + 1)..=n - quorum + 1 {
                let world = origin.fork();
                let engine = world.open(&[]).await;
                let before = world.files("m").await;
                world.refuse(&(0..failing).collect::<Vec<_>>(), puts("m/"));
                let result = write(&engine, kind).await;
                engine.close().await.unwrap();
                let new = new_files(&world, "m", &before).await;
                let case = format!("{k}+{m} over {n}, {failing} refuse a {kind}: {result:?}, {new:?}");
                if n - failing >= quorum {
                    result.unwrap_or_else(|_| panic!("{case}"));
                    assert!(new.len() == 1 && new[0].1 >= quorum, "{case}");
                } else {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable, "{case}");
                    assert!(new.is_empty(), "undone: {case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn shards_are_acknowledged_only_when_k_plus_margin_backends_hold_them() {
    for (k, m, n) in SCHEMES {
        let (least, _) = quorums(k, m);
        for failing in n.saturating_sub(least + 1)..=n - least + 1 {
            let world = World::new(k, m, n);
            let engine = with_bucket(&world).await;
            world.refuse(&(0..failing).collect::<Vec<_>>(), puts("s/"));
            let result = put(&engine, "x", &content(150_000, 1)).await;
            engine.close().await.unwrap();
            let new = new_files(&world, "s", &BTreeSet::new()).await;
            let case = format!("{k}+{m} over {n}, {failing} refuse: {result:?}, {new:?}");
            if n - failing >= least {
                let short = result.unwrap_or_else(|_| panic!("{case}")).short;
                assert!(new.len() == 2 && new.iter().all(|(_, held)| *held >= least), "two segments: {case}");
                assert_eq!(short, new.iter().map(|(_, held)| k + m - held).sum::<usize>(), "{case}");
                assert_eq!(world.open(&[]).await.head("bucket", "x", None).await.unwrap().size(), 150_000);
            } else {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable, "{case}");
                assert!(new.is_empty(), "undone: {case}");
            }
        }
    }
}

/// What is short of a write stands in the ledger when the reply is sent.
#[tokio::test]
async fn what_is_short_of_an_acknowledged_write_is_in_the_ledger() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for (folder, seed) in [("s/", 1), ("m/", 2)] {
        world.refuse(&[2], puts(folder));
        let info = put(&engine, &format!("o{seed}"), &content(30_000, seed)).await.unwrap();
        assert_eq!((info.short, engine.ledger(None, 10).await.unwrap().len()), (1, usize::from(seed)));
    }
    assert!(engine.ledger(None, 10).await.unwrap().iter().all(|line| line.backend == "b2"));
}

/// An object whose own m is small still has its record on more backends than the repository may lose.
#[tokio::test]
async fn an_objects_own_scheme_never_lowers_the_repositorys_margin() {
    let world = World::new(2, 4, 6);
    let engine = with_bucket(&world).await;
    world.refuse(&[0], puts("m/"));
    put_as(&engine, "x", &content(500, 1), (2, 1)).await.unwrap();
    world.refuse(&[0, 1], puts("m/"));
    let error = put_as(&engine, "y", &content(500, 1), (2, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "4 copies would not outlive 4 backends");
    engine.close().await.unwrap();
    world.heal();
    for away in subsets(6, 4) {
        assert_eq!(keys(&world.fork().open(&away).await).await, ["x"], "without {away:?}");
    }
}

/// A history in which each write reaches as few backends as may acknowledge it, others each time; and in which what a
/// newer record kills could be deleted nowhere.
async fn least_history(k: usize, m: usize, n: usize, len: usize) -> World {
    let (_, quorum) = quorums(k, m);
    let world = World::new(k, m, n);
    with_bucket(&world).await.close().await.unwrap();
    let catalog = Arc::new(MemoryCatalog::default());
    let steps = [
        ("kept", 1),
        ("overwritten", 2),
        ("deleted", 2),
        ("deleted", 0),
        ("overwritten", 3),
        ("deleted", 3),
        ("deleted", 0),
        ("overwritten", 4),
        ("again", 6),
        ("again", 0),
        ("again", 7),
    ];
    for (step, (key, seed)) in steps.into_iter().enumerate() {
        let away: Vec<usize> = (0..n - quorum).map(|i| (step * (n - quorum) + i) % n).collect();
        for (i, gate) in world.gates.iter().enumerate() {
            let puts = away.contains(&i).then_some("m/");
            gate.refuse(Refusals { puts, deletes: Some(""), ..Refusals::default() });
        }
        // Opened anew each time, so that a backend that failed before is not passed over now.
        let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
        match seed {
            0 => assert!(delete(&engine, key).await.unwrap().existed),
            _ => assert_eq!(put(&engine, key, &content(len, seed)).await.unwrap().size(), len as u64),
        }
        engine.close().await.unwrap();
    }
    world.heal();
    world
}

#[tokio::test]
async fn any_n_less_m_backends_show_the_acknowledged_history() {
    for (k, m, n) in SCHEMES {
        for len in [400, 9000] {
            let world = least_history(k, m, n, len).await;
            for away in subsets(n, m) {
                let engine = world.fork().open(&away).await;
                let case = format!("{k}+{m} over {n}, {len} bytes, without {away:?}");
                assert_eq!(engine.status().await.unwrap().read_only, None, "{case}");
                assert_eq!(keys(&engine).await, ["again", "kept", "overwritten"], "{case}");
                for (key, seed) in [("kept", 1), ("overwritten", 4), ("again", 7)] {
                    assert_eq!(engine.head("bucket", key, None).await.unwrap().size(), len as u64, "{case}");
                    match get(&engine, key, None).await {
                        Ok(bytes) => assert_eq!(bytes, content(len, seed), "{key}: {case}"),
                        // Acknowledged with fewer than all of them, it may outlive fewer than m until it is repaired.
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Unreadable, "{key}: {case}"),
                    }
                }
            }
        }
    }
}

/// One m more than may be missing, and the history is not sure: it is said of whom, and nothing is written.
#[tokio::test]
async fn more_missing_backends_than_the_margin_are_named_and_nothing_is_written() {
    for (k, m, n) in SCHEMES.into_iter().filter(|(_, m, n)| m + 1 < *n) {
        let world = least_history(k, m, n, 400).await;
        let away: Vec<usize> = (1..=m + 1).collect();
        let engine = world.open(&away).await;
        let reason = engine.status().await.unwrap().read_only.unwrap();
        for i in 0..n {
            assert_eq!(reason.contains(&format!("b{i}")), away.contains(&i), "{k}+{m} over {n}: {reason}");
        }
        let refused = [
            put(&engine, "x", b"x").await.map(|_| ()),
            delete(&engine, "kept").await.map(|_| ()),
            engine.copy(("bucket", "kept"), ("bucket", "x"), Precondition::None).await.map(|_| ()),
            engine.create_bucket("other", BucketSettings::default()).await.map(|_| ()),
            engine.sweep(SweepRequest::default(), &Progress::default()).await.map(|_| ()),
            engine.repair(&RepairPlan::default(), &Progress::default()).await.map(|_| ()),
        ];
        for result in refused {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::ReadOnly);
        }
        let report = engine.rebuild_catalog(&Progress::default()).await.unwrap();
        assert_eq!((report.certain, report.unreachable.len()), (false, m + 1));
        assert!(engine.status().await.unwrap().read_only.is_some(), "a rebuild cannot know more");
        engine.close().await.unwrap();
        // With them back it writes again.
        let engine = world.open(&[]).await;
        assert!(engine.status().await.unwrap().read_only.is_none());
        put(&engine, "x", b"x").await.unwrap();
    }
}

#[tokio::test]
async fn an_uncertain_history_can_be_accepted() {
    let mut world = least_history(2, 1, 7, 400).await;
    let away = [0, 1];
    assert!(world.open(&away).await.status().await.unwrap().read_only.is_some());
    world.config.accept_uncertain_history = true;
    let engine = world.open(&away).await;
    assert_eq!(engine.status().await.unwrap().read_only, None);
    put(&engine, "x", b"x").await.unwrap();
    assert!(!engine.rebuild_catalog(&Progress::default()).await.unwrap().certain);
    put(&engine, "y", b"y").await.unwrap();
}

/// What a repository was acknowledged under need not be what its config says now.
#[tokio::test]
async fn a_record_outlives_m_backends_whatever_the_margin_is_changed_to() {
    let mut world = World::new(4, 2, 6);
    world.config.ack_margin = Some(0);
    let engine = with_bucket(&world).await;
    world.refuse(&[0, 1], puts("m/"));
    put(&engine, "x", &content(30_000, 1)).await.unwrap();
    put(&engine, "y", &content(30_000, 1)).await.unwrap();
    delete(&engine, "y").await.unwrap();
    engine.close().await.unwrap();
    world.heal();
    world.config.ack_margin = Some(2);
    for away in subsets(6, 2) {
        assert_eq!(keys(&world.fork().open(&away).await).await, ["x"], "without {away:?}");
    }
}

/// A tombstone says nothing of the scheme it was acknowledged under.
#[tokio::test]
async fn the_tombstone_of_an_object_with_a_scheme_of_its_own_outlives_m_backends() {
    for scheme in [(1, 3), (1, 2), (5, 1)] {
        let world = World::new(4, 2, 6);
        let engine = with_bucket(&world).await;
        put_as(&engine, "x", &content(30_000, 1), scheme).await.unwrap();
        put_as(&engine, "y", &content(300, 1), scheme).await.unwrap();
        world.refuse(&(0..6).collect::<Vec<_>>(), Refusals { deletes: Some(""), ..Refusals::default() });
        delete(&engine, "x").await.unwrap();
        delete(&engine, "y").await.unwrap();
        engine.close().await.unwrap();
        world.heal();
        for away in subsets(6, 2) {
            let engine = world.fork().open(&away).await;
            assert!(keys(&engine).await.is_empty(), "{scheme:?} without {away:?}: {:?}", keys(&engine).await);
        }
    }
}
