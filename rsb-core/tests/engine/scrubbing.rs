//! The scrubber: what it finds, what it costs, and that it goes on where it was.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStoreExt;
use rsb_core::catalog::{Catalog, LedgerReason, MemoryCatalog};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::upkeep::{Budget, HealConfig, ScrubConfig, ScrubStatus};
use rsb_core::*;

use crate::gate::Refusals;
use crate::support::*;

fn only(depth: Depth, bytes: Option<u64>) -> ScrubConfig {
    let every = |d| if d == depth { Duration::from_secs(3600) } else { Duration::ZERO };
    ScrubConfig {
        inventory_every: every(Depth::Inventory),
        sample_every: every(Depth::Sample),
        full_every: every(Depth::Full),
        budget: Budget { bytes, ..Budget::default() },
    }
}

async fn open(world: &World, catalog: &Arc<dyn Catalog>) -> Engine {
    world.open_with(catalog.clone(), &[]).await.unwrap()
}

async fn made(world: &World, objects: u8) -> (Engine, Arc<dyn Catalog>) {
    let catalog: Arc<dyn Catalog> = Arc::new(MemoryCatalog::default());
    world.init().await;
    let engine = open(world, &catalog).await;
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    for key in 0..objects {
        put(&engine, &format!("k{key}"), &content(90_000, key)).await.unwrap();
    }
    (engine, catalog)
}

async fn scrub(engine: &Engine, config: &ScrubConfig) -> ScrubStatus {
    engine.scrub(config).await.unwrap().scrub.unwrap()
}

#[tokio::test]
async fn a_cycle_begins_when_it_is_due_and_finds_what_its_depth_shows() {
    for depth in [Depth::Inventory, Depth::Sample, Depth::Full] {
        let world = World::new(4, 2, 6);
        let (engine, _) = made(&world, 3).await;
        let config = only(depth, None);
        let first = scrub(&engine, &config).await;
        assert_eq!((first.cycles.len(), first.cycles[0].ended_ms), (1, 0), "not due yet");
        // Every block of one shard is wrong, and another shard is missing.
        let shards: Vec<_> = world.files("s").await.into_iter().collect();
        let (backend, path) = &shards[0];
        let len = world.stores[*backend].1.head(path).await.unwrap().size as usize;
        for at in (64..len).step_by(2000) {
            world.flip(*backend, path, at).await;
        }
        let (backend, path) = &shards[7];
        world.stores[*backend].1.delete(path).await.unwrap();
        world.clock.turn(HOUR_MS);
        let done = scrub(&engine, &config).await;
        assert!(!done.cycles[0].running && done.cycles[0].ended_ms > 0);
        let lines = engine.ledger(None, 10).await.unwrap();
        let corrupt = lines.iter().filter(|line| line.reason == LedgerReason::Corrupt).count();
        assert_eq!((lines.len() - corrupt, corrupt), (1, usize::from(depth != Depth::Inventory)), "{depth:?}");
        assert_eq!(done.cycles[0].objects, 3);
        assert_eq!(scrub(&engine, &config).await.cycles[0].ended_ms, done.cycles[0].ended_ms, "not due again");
        engine.heal(&HealConfig::default()).await.unwrap();
        if depth != Depth::Inventory {
            assert_whole(&engine).await;
        }
        assert!(engine.events().0.iter().any(|event| event.kind == EventKind::ScrubEnded));
    }
}

#[tokio::test]
async fn it_stays_within_the_day_s_budget_and_goes_on_after_a_restart() {
    let world = World::new(4, 2, 6);
    let (mut engine, catalog) = made(&world, 6).await;
    // An object is 6 shards of 22 to 23 thousand bytes: two of them in a day.
    let config = only(Depth::Full, Some(300_000));
    scrub(&engine, &config).await;
    world.clock.turn(HOUR_MS);
    let mut seen = Vec::new();
    for _ in 0..3 {
        let status = scrub(&engine, &config).await;
        seen.push((status.cycles[0].objects, status.waits_for_budget));
        assert_eq!(scrub(&engine, &config).await.spent, status.spent, "not more in a day");
        engine.close().await.unwrap();
        engine = open(&world, &catalog).await;
        world.clock.turn(24 * HOUR_MS);
    }
    assert_eq!(seen, [(2, true), (4, true), (6, false)]);
}

#[tokio::test]
async fn it_says_since_when_each_backend_is_verified() {
    let world = World::new(4, 2, 6);
    let (engine, _) = made(&world, 3).await;
    let config = only(Depth::Full, None);
    scrub(&engine, &config).await;
    let verified = async || -> Vec<Option<u64>> {
        engine.status().await.unwrap().backends.iter().map(|b| b.oldest_verified_ms).collect()
    };
    assert_eq!(verified().await, [None; 6]);
    world.clock.turn(HOUR_MS);
    let began = world.env().now_ms();
    scrub(&engine, &config).await;
    let first = verified().await;
    assert!(first.iter().all(|ms| ms.is_some_and(|ms| ms >= began)), "{first:?}");
    // What could not be read is not verified.
    world.refuse(&[2], Refusals { gets: Some("s/"), ..Refusals::default() });
    world.clock.turn(2 * HOUR_MS);
    scrub(&engine, &config).await;
    let second = verified().await;
    assert_eq!(second[2], first[2]);
    assert!(second[3] > first[3]);
}

#[tokio::test]
async fn the_worker_scrubs_by_itself() {
    let mut world = World::new(4, 2, 6);
    world.config.scrub = Some(ScrubConfig { full_every: Duration::from_millis(1), ..only(Depth::Full, None) });
    let (engine, _) = made(&world, 2).await;
    let (backend, path) = world.files("s").await.into_iter().next().unwrap();
    world.flip(backend, &path, 1000).await;
    // The next one begins ten seconds later.
    tokio::time::pause();
    until(|| async { !engine.ledger(None, 10).await.unwrap().is_empty() }).await;
    engine.close().await.unwrap();
}
