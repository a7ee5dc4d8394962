//! The ledger works itself off: in what order, at what cost, and what it never says.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use rsb_core::catalog::{Catalog, LedgerEntry, LedgerItem, LedgerReason, MemoryCatalog};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::upkeep::{Budget, HealConfig, HealStatus};
use rsb_core::*;

use crate::gate::Refusals;
use crate::support::*;

const BODY: usize = 90_000;

async fn heal(engine: &Engine, config: &HealConfig) -> HealStatus {
    engine.heal(config).await.unwrap().heal.unwrap()
}

async fn healed(engine: &Engine) -> HealStatus {
    heal(engine, &HealConfig::default()).await
}

async fn lines(engine: &Engine) -> usize {
    engine.ledger(None, 1000).await.unwrap().len()
}

/// The shard of this index of the only segment that is stored, with the backend it is on.
async fn shard(world: &World, index: usize) -> (usize, Path) {
    let end = format!(".{index}");
    world.files("s").await.into_iter().find(|(_, path)| path.as_ref().ends_with(&end)).unwrap()
}

async fn lose(world: &World, index: usize) -> usize {
    let (backend, path) = shard(world, index).await;
    world.stores[backend].1.delete(&path).await.unwrap();
    backend
}

async fn read_and_note(engine: &Engine) {
    let request = CheckRequest::default();
    engine.check(&request, &Progress::default()).await.unwrap();
}

/// Whoever has a lease may be about to name it once more: a copy of what is deleted meanwhile.
#[tokio::test]
async fn lines_about_what_is_deleted_stay_while_somebody_holds_it() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    world.refuse(&[2], Refusals { puts: Some("s/"), ..Refusals::default() });
    put(&engine, "x", &content(BODY, 1)).await.unwrap();
    assert_eq!(lines(&engine).await, 1);
    let reader = engine.get("bucket", "x", None, None).await.unwrap();
    delete(&engine, "x").await.unwrap();
    healed(&engine).await;
    assert_eq!(sweep(&engine).await.shards_removed, 0);
    assert_eq!(lines(&engine).await, 1);
    drop(reader);
    until(|| async { lines(&engine).await == 0 }).await;
}

#[tokio::test]
async fn what_is_short_is_brought_there_when_the_backend_works_again() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for folder in ["s/", "m/"] {
        world.refuse(&[2], Refusals { puts: Some(folder), ..Refusals::default() });
        for key in 0..5 {
            put(&engine, &format!("long{folder}{key}"), &content(BODY, 1)).await.unwrap();
            put(&engine, &format!("short{folder}{key}"), &content(500, 2)).await.unwrap();
        }
    }
    let short = lines(&engine).await;
    assert!(short >= 10, "{short}");
    let status = healed(&engine).await;
    assert_eq!((status.healed, status.waiting), (0, short as u64), "its backend does not answer: that is waited for");
    world.heal();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    put(&engine, "trial", &content(BODY, 1)).await.unwrap();
    assert_eq!(healed(&engine).await.healed, short as u64);
    assert_whole(&engine).await;
    assert!(engine.events().0.iter().any(|event| event.kind == EventKind::Healed));
}

#[tokio::test]
async fn the_worker_needs_nobody_to_ask_it_and_ends_with_the_repository() {
    let mut world = World::new(4, 2, 6);
    world.config.heal = Some(HealConfig { every: Duration::from_millis(20), ..HealConfig::default() });
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(BODY, 1)).await.unwrap();
    lose(&world, 3).await;
    get(&engine, "x", None).await.unwrap();
    until(|| async { lines(&engine).await == 0 && engine.status().await.unwrap().upkeep.heal.unwrap().healed > 0 })
        .await;
    assert_whole(&engine).await;
    engine.close().await.unwrap();
}

#[tokio::test]
async fn what_was_deleted_and_what_is_sound_is_dropped() {
    let world = World::new(4, 2, 6);
    let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::default());
    world.init().await;
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    put(&engine, "x", &content(BODY, 1)).await.unwrap();
    let info = put(&engine, "gone", &content(BODY, 2)).await.unwrap();
    let gone = info.manifest.data_ids().next().unwrap();
    let kept = engine.head("bucket", "x", None).await.unwrap().manifest.data_ids().next().unwrap();
    delete(&engine, "gone").await.unwrap();
    until(|| async { world.files("s").await.len() == 6 }).await;
    let line = |data_id| LedgerEntry {
        item: LedgerItem::Shard { data_id, index: 1 },
        backend: "b1".into(),
        bucket: "bucket".into(),
        key: "x".into(),
        reason: LedgerReason::NotWritten,
        noted_ms: 0,
    };
    catalog.ledger_add(vec![line(gone), line(kept)]).await.unwrap();
    let status = healed(&engine).await;
    assert_eq!((status.dropped, status.healed, lines(&engine).await), (2, 0, 0));
}

#[tokio::test]
async fn a_backend_that_stays_away_is_replaced_after_a_while_and_at_once_where_nothing_more_may_be_lost() {
    for urgent in [false, true] {
        let world = World::new(4, 2, 8);
        let engine = with_bucket(&world).await;
        put(&engine, "x", &content(BODY, 1)).await.unwrap();
        let mut away = vec![lose(&world, 1).await];
        if urgent {
            away.push(lose(&world, 2).await);
        }
        read_and_note(&engine).await;
        assert_eq!(lines(&engine).await, away.len());
        world.refuse(&away, Refusals { all: true, ..Refusals::default() });
        // It is noticed.
        for _ in 0..3 {
            let _ = put(&engine, "y", &content(500, 1)).await;
            let _ = engine
                .check(&CheckRequest { depth: Depth::Full, ..CheckRequest::default() }, &Progress::default())
                .await;
        }
        let config = HealConfig::default();
        if !urgent {
            assert_eq!(heal(&engine, &config).await.healed, 0);
            world.clock.turn(2 * HOUR_MS);
        }
        assert!(heal(&engine, &config).await.healed >= away.len() as u64);
        let manifest = engine.head("bucket", "x", None).await.unwrap().manifest;
        assert!(manifest.revision >= 1, "it names the new place");
        assert_eq!(get(&engine, "x", None).await.unwrap(), content(BODY, 1));
    }
}

#[tokio::test]
async fn the_day_s_budget_is_kept_to_over_restarts_and_the_least_margin_comes_first() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::default());
    put(&engine, "one", &content(BODY, 1)).await.unwrap();
    lose(&world, 0).await;
    let lost_one = world.files("s").await;
    put(&engine, "two", &content(BODY, 2)).await.unwrap();
    let two: Vec<_> = world.files("s").await.difference(&lost_one).cloned().collect();
    for (backend, path) in two.iter().filter(|(_, path)| path.as_ref().ends_with(".1") || path.as_ref().ends_with(".4"))
    {
        world.stores[*backend].1.delete(path).await.unwrap();
    }
    engine.close().await.unwrap();
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    read_and_note(&engine).await;
    assert_eq!(lines(&engine).await, 3);
    let budget = Budget { bytes: Some(200_000), ..Budget::default() };
    let config = HealConfig { budget, ..HealConfig::default() };
    let status = heal(&engine, &config).await;
    assert_eq!((status.healed, status.over_budget), (2, 1), "{status:?}");
    assert!(status.spent.bytes > 90_000 && status.spent.bytes <= 200_000 && status.spent.requests > 6);
    let left = engine.ledger(None, 10).await.unwrap();
    assert_eq!(left[0].key, "one");
    assert!(engine.events().0.iter().any(|event| event.kind == EventKind::BudgetSpent));
    engine.close().await.unwrap();
    let engine = world.open_with(catalog, &[]).await.unwrap();
    assert_eq!(heal(&engine, &config).await.healed, 0, "a restart does not begin the day anew");
    world.clock.turn(24 * HOUR_MS);
    assert_eq!(heal(&engine, &config).await.healed, 1);
    assert_whole(&engine).await;
}

fn bytes_read(world: &World) -> u64 {
    world.gates.iter().map(|gate| gate.asked().bytes_read.load(Ordering::SeqCst)).sum()
}

#[tokio::test]
async fn a_repair_reads_k_times_what_is_lost_and_what_it_wrote() {
    const HEADER: u64 = rsb_core::format::shard::HEADER_LEN as u64;
    for lost in [vec![2], vec![5], vec![0, 4]] {
        let world = World::new(4, 2, 6);
        let engine = with_bucket(&world).await;
        put(&engine, "x", &content(BODY, 1)).await.unwrap();
        let (backend, path) = shard(&world, 1).await;
        let len = world.stores[backend].1.head(&path).await.unwrap().size;
        for index in &lost {
            lose(&world, *index).await;
        }
        let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
        let before = bytes_read(&world);
        let report = engine.repair(&plan, &Progress::default()).await.unwrap();
        assert_eq!((report.shards_rebuilt, report.failed.len()), (lost.len() as u64, 0));
        let read = bytes_read(&world) - before;
        let sources = 4 * (len - HEADER);
        assert_eq!(read, sources + lost.len() as u64 * len, "{lost:?} lost");
        assert_eq!(report.bytes_read, sources + lost.len() as u64 * (len - HEADER));
        assert_whole(&engine).await;
    }
}

/// A copy of a batch of small objects is made from k others.
#[tokio::test]
async fn a_repair_of_manifest_copies_reads_no_more_of_them_than_it_needs() {
    for (size, needed) in [(500, 4), (BODY, 1)] {
        let world = World::new(4, 2, 6);
        let engine = with_bucket(&world).await;
        put(&engine, "x", &content(size, 1)).await.unwrap();
        let newest =
            world.files("m").await.into_iter().map(|(_, path)| path).max_by_key(|p| p.filename().map(str::to_owned));
        let newest = newest.unwrap();
        let len = world.stores[0].1.head(&newest).await.unwrap().size;
        world.stores[3].1.delete(&newest).await.unwrap();
        let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
        let before = bytes_read(&world);
        let report = engine.repair(&plan, &Progress::default()).await.unwrap();
        assert_eq!(report.copies_rebuilt, 1);
        assert_eq!(bytes_read(&world) - before, (needed + 1) * len);
        assert_whole(&engine).await;
    }
}

#[tokio::test]
async fn a_repair_survives_sources_that_fail_on_the_way() {
    let world = World::new(4, 2, 7);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(BODY, 1)).await.unwrap();
    lose(&world, 0).await;
    read_and_note(&engine).await;
    // One of the sources is wrong in its last block.
    let (backend, path) = shard(&world, 2).await;
    let len = world.stores[backend].1.head(&path).await.unwrap().size as usize;
    world.flip(backend, &path, len - 1).await;
    let status = healed(&engine).await;
    assert_eq!((status.healed, status.failed), (1, 0), "{status:?}");
    assert_eq!(lines(&engine).await, 1, "what was found on the way is in the ledger");
    assert_eq!(healed(&engine).await.healed, 2);
    assert_whole(&engine).await;
}

/// A backend that says that it has written, and has not.
#[tokio::test]
async fn nothing_is_healed_that_was_not_read_back() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(BODY, 1)).await.unwrap();
    put(&engine, "y", &content(500, 1)).await.unwrap();
    let backend = lose(&world, 3).await;
    for path in world.paths(backend, "m").await {
        world.stores[backend].1.delete(&path).await.unwrap();
    }
    read_and_note(&engine).await;
    let before = lines(&engine).await;
    for folder in ["s/", "m/"] {
        world.refuse(&[backend], Refusals { loses: Some(folder), ..Refusals::default() });
        let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
        let report = engine.repair(&plan, &Progress::default()).await.unwrap();
        let (healed, other) = match folder {
            "s/" => (report.shards_rebuilt, report.copies_rebuilt),
            _ => (report.copies_rebuilt, report.shards_rebuilt),
        };
        assert_eq!(healed, 0, "{folder}: {report:?}");
        assert!(!report.failed.is_empty() && (other > 0 || folder == "m/"), "{folder}: {report:?}");
        break_nothing_else(&world, backend).await;
        assert!(lines(&engine).await <= before);
    }
    world.heal();
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    engine.repair(&plan, &Progress::default()).await.unwrap();
    assert_whole(&engine).await;
}

/// Takes away again what the other half of a repair has brought.
async fn break_nothing_else(world: &World, backend: usize) {
    for path in world.paths(backend, "m").await {
        world.stores[backend].1.delete(&path).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_and_missing_manifests_are_made_anew() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for key in 0..3 {
        put(&engine, &format!("k{key}"), &content(500 + BODY * (key % 2), 1)).await.unwrap();
    }
    // Of every batch one copy is wrong in its header, one in a record, in turn.
    for (number, path) in world.paths(0, "m").await.into_iter().enumerate() {
        world.flip(number % 6, &path, 0).await;
        world.flip((number + 1) % 6, &path, 150).await;
    }
    let plan = engine.plan_repair(&Scope::default(), Depth::Full, &Progress::default()).await.unwrap();
    let report = engine.repair(&plan, &Progress::default()).await.unwrap();
    assert!(report.failed.is_empty() && report.copies_rebuilt >= 6, "{report:?}");
    assert_whole(&engine).await;
    for path in world.paths(0, "m").await {
        world.stores[4].1.delete(&path).await.unwrap();
        world.stores[5].1.delete(&path).await.unwrap();
    }
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    assert!(engine.repair(&plan, &Progress::default()).await.unwrap().failed.is_empty());
    assert_whole(&engine).await;
    let engine = world.open(&[]).await;
    assert_eq!(keys(&engine).await, ["k0", "k1", "k2"], "the same from the backends alone");
}
