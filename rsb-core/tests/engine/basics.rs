//! What a person does, what breaks, and what must hold nevertheless.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use rsb_core::catalog::{MemoryCatalog, Precondition};
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::*;

use crate::support::*;

/// Lengths around every border: empty, inline, block, stripe, segment.
const LENGTHS: [usize; 14] = [0, 1, 2, 999, 1000, 1001, 4095, 4096, 4097, 16_384, 99_999, 100_000, 100_001, 350_003];

#[tokio::test]
async fn every_length_comes_back_whole_and_in_ranges_with_m_backends_gone() {
    for (k, m, n) in [(4, 2, 6), (1, 3, 4), (2, 4, 6), (3, 1, 6), (2, 0, 2)] {
        let mut world = World::new(k, m, n);
        if m == 0 {
            world.config.spread = Spread::None;
        }
        let engine = with_bucket(&world).await;
        for len in LENGTHS {
            let info = put(&engine, &format!("o{len}"), &content(len, 3)).await.unwrap();
            assert_eq!((info.size(), info.short), (len as u64, 0));
        }
        engine.close().await.unwrap();
        let away: Vec<usize> = (0..m).collect();
        let engine = world.open(&away).await;
        for len in LENGTHS {
            let expected = content(len, 3);
            let key = format!("o{len}");
            assert_eq!(get(&engine, &key, None).await.unwrap(), expected, "{k}+{m} {len}");
            for (start, end) in [(0, 1), (len / 2, len / 2 + 5000), (len.saturating_sub(1), len), (90_000, 210_000)] {
                let end = end.min(len);
                let range = ByteRange::Bounded { start: start as u64, end: end as u64 };
                if start < end {
                    assert_eq!(get(&engine, &key, Some(range)).await.unwrap(), expected[start..end]);
                } else {
                    assert_eq!(
                        get(&engine, &key, Some(range)).await.unwrap_err().kind(),
                        ErrorKind::RangeNotSatisfiable
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn flipped_swapped_truncated_and_missing_shards_are_read_around_found_and_repaired() {
    let world = World::new(4, 3, 7);
    let engine = with_bucket(&world).await;
    let bytes = content(60_000, 9);
    put(&engine, "big", &bytes).await.unwrap();
    put(&engine, "small", &bytes[..800]).await.unwrap();

    // One shard has a flipped bit, one is truncated, and one is replaced by another one of the same segment.
    let first = world.paths(0, "s").await[0].clone();
    world.flip(0, &first, 200).await;
    let second = world.paths(1, "s").await[0].clone();
    let cut = world.stores[1].1.get(&second).await.unwrap().bytes().await.unwrap();
    world.stores[1].1.put(&second, cut.slice(..cut.len() - 5000).into()).await.unwrap();
    let third = world.paths(2, "s").await[0].clone();
    let fourth = world.paths(3, "s").await[0].clone();
    let other = world.stores[3].1.get(&fourth).await.unwrap().bytes().await.unwrap();
    world.stores[2].1.put(&third, other.into()).await.unwrap();
    assert_eq!(get(&engine, "big", None).await.unwrap(), bytes);

    let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
    let report = engine.check(&request, &Progress::default()).await.unwrap();
    assert_eq!((report.objects, report.whole, report.degraded), (2, 1, 1), "{report:?}");
    assert_eq!(report.least_margin, Some(0));
    assert_eq!(engine.ledger(None, 100).await.unwrap().len(), 3);

    let plan = engine.plan_repair(&Scope::default(), Depth::Full, &Progress::default()).await.unwrap();
    assert!(plan.unrepairable.is_empty());
    let done = engine.repair(&plan, &Progress::default()).await.unwrap();
    assert_eq!((done.shards_rebuilt, done.failed.len()), (3, 0), "{done:?}");
    let report = engine.check(&request, &Progress::default()).await.unwrap();
    assert_eq!((report.whole, report.least_margin), (2, Some(3)));
    assert!(engine.ledger(None, 100).await.unwrap().is_empty());

    // The content of a whole backend goes: copies and shards are rebuilt.
    world.wipe(5).await;
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    let done = engine.repair(&plan, &Progress::default()).await.unwrap();
    assert_eq!((done.shards_rebuilt, done.failed.len()), (1, 0));
    assert!(done.copies_rebuilt >= 2);
    let report = engine.check(&request, &Progress::default()).await.unwrap();
    assert_eq!((report.whole, report.damaged.len()), (2, 0), "{report:?}");
}

#[tokio::test]
async fn more_than_m_lost_shards_are_a_typed_error_that_names_them() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "big", &content(60_000, 1)).await.unwrap();
    for backend in 0..3 {
        for path in world.paths(backend, "s").await {
            world.stores[backend].1.delete(&path).await.unwrap();
        }
    }
    let error = get(&engine, "big", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreadable);
    for backend in ["b0", "b1", "b2"] {
        assert!(error.message().contains(backend), "{error}");
    }
    let report = engine.check(&CheckRequest::default(), &Progress::default()).await.unwrap();
    assert_eq!((report.unreadable, report.least_margin), (1, Some(-1)));
}

#[tokio::test]
async fn a_rebuilt_catalog_equals_the_history_and_deleted_objects_stay_deleted() {
    for (k, m, n) in [(4, 2, 6), (1, 3, 4), (2, 4, 6), (3, 2, 9)] {
        let world = World::new(k, m, n);
        let engine = with_bucket(&world).await;
        put(&engine, "kept", &content(5000, 1)).await.unwrap();
        put(&engine, "overwritten", &content(300, 2)).await.unwrap();
        put(&engine, "overwritten", &content(250_000, 3)).await.unwrap();
        put(&engine, "deleted", &content(40_000, 4)).await.unwrap();
        assert!(engine.delete("bucket", "deleted", None, Precondition::None).await.unwrap().existed);
        let differences = engine.verify_catalog(&Progress::default()).await.unwrap().differences;
        assert!(differences.is_empty(), "{differences:?}");
        engine.close().await.unwrap();
        // A new catalog, and any m backends away.
        for first in 0..n {
            let away: Vec<usize> = (first..first + m).map(|i| i % n).collect();
            let engine = world.open(&away).await;
            assert_eq!(keys(&engine).await, ["kept", "overwritten"], "{k}+{m} without {away:?}");
            assert_eq!(get(&engine, "overwritten", None).await.unwrap(), content(250_000, 3));
            assert_eq!(get(&engine, "deleted", None).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        // With one more away the history is not sure: reads only.
        let away: Vec<usize> = (0..=m).collect();
        if away.len() == n {
            continue;
        }
        let engine = world.open(&away).await;
        assert!(engine.status().await.unwrap().read_only.is_some());
        assert_eq!(put(&engine, "x", b"x").await.unwrap_err().kind(), ErrorKind::ReadOnly);
    }
}

#[tokio::test]
async fn a_tombstone_outlives_a_backend_that_was_away() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "ghost", &content(30_000, 5)).await.unwrap();
    engine.close().await.unwrap();
    // Deleted while one backend is away; it comes back with the manifest.
    let engine = world.open(&[4]).await;
    engine.delete("bucket", "ghost", None, Precondition::None).await.unwrap();
    let swept = engine.sweep(SweepRequest::default(), &Progress::default()).await.unwrap();
    assert_eq!(swept.unreachable, ["b4"]);
    assert_eq!(swept.tombstones_dropped, 0);
    engine.close().await.unwrap();
    assert!(!world.paths(4, "m").await.is_empty());
    let engine = world.open(&[]).await;
    assert!(keys(&engine).await.is_empty());
    // With all of them there the sweep removes what is left, then the tombstone, and nothing returns.
    let progress = Progress::default();
    for _ in 0..3 {
        engine.sweep(SweepRequest::default(), &progress).await.unwrap();
    }
    assert_eq!(engine.status().await.unwrap().counts.tombstones, 0);
    for backend in 0..6 {
        assert!(world.paths(backend, "s").await.is_empty());
        assert_eq!(world.paths(backend, "m").await.len(), 1, "only the bucket's record is left");
    }
    assert!(keys(&world.open(&[]).await).await.is_empty());
}

#[tokio::test]
async fn a_write_that_reaches_too_few_backends_fails_and_leaves_nothing() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    engine.close().await.unwrap();
    let catalog = Arc::new(MemoryCatalog::default());
    let engine = world.open_with(catalog, &[0, 1]).await.unwrap();
    for len in [500, 50_000] {
        let error = put(&engine, "x", &content(len, 1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    engine.close().await.unwrap();
    for backend in 2..6 {
        assert!(world.paths(backend, "s").await.is_empty());
    }
    assert!(keys(&world.open(&[]).await).await.is_empty());
}

#[tokio::test]
async fn what_could_not_be_written_is_in_the_ledger_and_repaired_later() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    engine.close().await.unwrap();
    let engine = world.open(&[3]).await;
    let info = put(&engine, "x", &content(50_000, 1)).await.unwrap();
    assert_eq!(info.short, 2, "a shard and a manifest copy");
    assert_eq!(engine.ledger(None, 10).await.unwrap().len(), 2);
    engine.close().await.unwrap();
    let engine = world.open(&[]).await;
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    let done = engine.repair(&plan, &Progress::default()).await.unwrap();
    assert!(done.failed.is_empty(), "{done:?}");
    let report = engine.check(&CheckRequest { depth: Depth::Full, ..Default::default() }, &Progress::default()).await;
    assert_eq!(report.unwrap().whole, 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_the_old_version_and_no_shards() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(700, 1)).await.unwrap();
    let broken = futures::stream::iter(vec![
        Ok(Bytes::from(content(250_000, 2))),
        Err(Error::new(ErrorKind::BadBody, "the sender went away")),
    ]);
    let request = PutRequest { bucket: "bucket".into(), key: "x".into(), ..PutRequest::default() };
    assert_eq!(engine.put(request, broken.boxed()).await.unwrap_err().kind(), ErrorKind::BadBody);
    let request = PutRequest { bucket: "bucket".into(), key: "x".into(), len: Some(10), ..PutRequest::default() };
    assert_eq!(engine.put(request, body(&[0; 9])).await.unwrap_err().kind(), ErrorKind::BadBody);
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(700, 1));
    engine.close().await.unwrap();
    for backend in 0..6 {
        assert!(world.paths(backend, "s").await.is_empty());
    }
}

#[tokio::test]
async fn conditions_are_kept_under_concurrency() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let tries = (0..16u8).map(|i| {
        let engine = engine.clone();
        async move {
            let request = PutRequest {
                bucket: "bucket".into(),
                key: "once".into(),
                precondition: Precondition::Absent,
                ..PutRequest::default()
            };
            engine.put(request, body(&[i; 10])).await
        }
    });
    let results = futures::future::join_all(tries).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::PreconditionFailed), "{error:?}");
    }
}

#[tokio::test]
async fn copies_share_bytes_and_a_delete_of_one_keeps_the_other() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let bytes = content(200_000, 7);
    put(&engine, "a", &bytes).await.unwrap();
    let shards = world.paths(0, "s").await;
    engine.copy(("bucket", "a"), ("bucket", "b"), Precondition::None).await.unwrap();
    assert_eq!(world.paths(0, "s").await, shards, "a copy moves no bytes");
    engine.delete("bucket", "a", None, Precondition::None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    engine.sweep(SweepRequest::default(), &Progress::default()).await.unwrap();
    assert_eq!(get(&engine, "b", None).await.unwrap(), bytes);
    put(&engine, "s", &bytes[..100]).await.unwrap();
    engine.copy(("bucket", "s"), ("bucket", "t"), Precondition::None).await.unwrap();
    assert_eq!(get(&engine, "t", None).await.unwrap(), &bytes[..100]);
}

#[tokio::test]
async fn a_keep_all_bucket_keeps_every_version_over_a_rebuild() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "x", b"zero").await.unwrap();
    let settings = BucketSettings { versions: Versions::KeepAll, ..BucketSettings::default() };
    engine.set_bucket("bucket", settings).await.unwrap();
    let one = put(&engine, "x", b"one").await.unwrap().version();
    put(&engine, "x", b"two").await.unwrap();
    assert!(engine.delete("bucket", "x", None, Precondition::None).await.unwrap().delete_marker.is_some());
    engine.close().await.unwrap();
    let engine = world.open(&[]).await;
    assert_eq!(get(&engine, "x", None).await.unwrap_err().kind(), ErrorKind::NotFound);
    let old = engine.get("bucket", "x", Some(one), None).await.unwrap();
    assert_eq!(old.stream.try_collect::<Vec<Bytes>>().await.unwrap().concat(), b"one");
    assert_eq!(engine.status().await.unwrap().counts.versions, 4);
}

#[tokio::test]
async fn wrong_missing_and_swapped_markers_are_refused_with_both_names() {
    let world = World::new(2, 1, 3);
    let none = world.open_with(Arc::new(MemoryCatalog::default()), &[]).await.unwrap_err();
    assert!(none.message().contains("config init"), "{none}");
    world.init().await;
    let other = World::new(2, 1, 3);
    other.init().await;
    let mixed = World::of(
        vec![world.stores[0].clone(), world.stores[1].clone(), ("b2".into(), other.stores[2].1.clone())],
        world.config.clone(),
    );
    let error = mixed.open_with(Arc::new(MemoryCatalog::default()), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("\"b2\" belongs to repository"), "{error}");
    let twice = World::of(
        vec![world.stores[0].clone(), world.stores[1].clone(), ("b2".into(), world.stores[1].1.clone())],
        world.config.clone(),
    );
    let error = twice.open_with(Arc::new(MemoryCatalog::default()), &[]).await.unwrap_err();
    assert!(error.message().contains("marked as backend \"b1\""), "{error}");
}

#[tokio::test]
async fn a_lost_tail_of_the_catalog_is_caught_up_at_start() {
    let world = World::new(4, 2, 6);
    let catalog = Arc::new(MemoryCatalog::default());
    world.init().await;
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    put(&engine, "a", b"a").await.unwrap();
    // Another process writes with a catalog of its own; this one was never closed clean and must see it.
    let other = world.open(&[]).await;
    put(&other, "b", &content(30_000, 1)).await.unwrap();
    drop(engine);
    let engine = world.open_with(catalog, &[]).await.unwrap();
    assert_eq!(keys(&engine).await, ["a", "b"]);
}

#[tokio::test]
async fn the_prototypes_digests_are_the_same_whether_the_length_is_known_or_not() {
    use sha2::Digest as _;
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    for len in [0usize, 808, 4097, 230_001] {
        let bytes = content(len, 8);
        let mut all = Vec::new();
        for (key, known) in [("known", Some(len as u64)), ("unknown", None)] {
            let request = PutRequest {
                bucket: "bucket".into(),
                key: key.into(),
                len: known,
                run_digests: true,
                ..PutRequest::default()
            };
            engine.put(request, body(&bytes)).await.unwrap();
            let info = engine.head("bucket", key, None).await.unwrap();
            all.push(engine.run_digests(&info).await.unwrap());
        }
        assert_eq!(all[0], all[1], "{len}");
        let run = len.div_ceil(2);
        let mut second = bytes[run.min(len)..].to_vec();
        second.resize(run, 0);
        let expected: [u8; 32] = sha2::Sha256::digest(&second).into();
        assert_eq!((all[0].len(), all[0][1]), (3, expected));
    }
}

#[tokio::test]
async fn a_drill_names_what_a_domain_would_take_with_it() {
    let mut world = World::new(4, 2, 6);
    world.config.spread = Spread::None;
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(50_000, 1)).await.unwrap();
    let report = engine.drill(None, &Progress::default()).await.unwrap();
    assert_eq!(report.domains.len(), 6);
    assert!(report.domains.iter().all(|d| d.readable == 1 && d.unreadable.is_empty()));
    world.wipe(0).await;
    world.wipe(1).await;
    let report = engine.drill(None, &Progress::default()).await.unwrap();
    assert_eq!(report.domains.iter().filter(|d| !d.unreadable.is_empty()).count(), 4);
}

/// A gateway runs the engine's work on other threads: its futures must be sendable, whatever they borrow.
#[tokio::test]
async fn every_long_operation_can_run_in_a_task_of_its_own() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(9000, 1)).await.unwrap();
    let work = async move {
        let progress = Progress::default();
        engine.check(&CheckRequest::default(), &progress).await.unwrap();
        let plan = engine.plan_repair(&Scope::default(), Depth::Sample, &progress).await.unwrap();
        engine.repair(&plan, &progress).await.unwrap();
        engine.drill(None, &progress).await.unwrap();
        engine.sweep(SweepRequest { dry_run: true }, &progress).await.unwrap();
        engine.rebuild_catalog(&progress).await.unwrap();
        engine.verify_catalog(&progress).await.unwrap();
        let copied = engine.copy(("bucket", "x"), ("bucket", "y"), Precondition::None).await.unwrap();
        engine.run_digests(&copied).await.unwrap();
        get(&engine, "y", None).await.unwrap()
    };
    assert_eq!(tokio::spawn(work).await.unwrap(), content(9000, 1));
}
