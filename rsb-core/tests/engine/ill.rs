//! Ill backends: a dead one costs nothing, a slow one its limit once, and what a backend's own times say is kept to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use object_store::ObjectStoreExt;
use rsb_core::catalog::LedgerReason;
use rsb_core::health::{BreakerState, ErrorClass, Op};
use rsb_core::*;
use tokio::time::Instant;

use crate::gate::Refusals;
use crate::support::*;

const LONG: Duration = Duration::from_secs(60);

fn slow(folder: &'static str) -> Refusals {
    Refusals { delay: Some((folder, LONG)), ..Refusals::default() }
}

/// How long something takes, with its result.
async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let done = work.await;
    (done, begun.elapsed())
}

async fn health_of(engine: &Engine, backend: usize) -> BackendStatus {
    engine.status().await.unwrap().backends.remove(backend)
}

fn kinds(engine: &Engine) -> Vec<EventKind> {
    engine.events().0.iter().map(|event| event.kind).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_costs_writes_its_straggler_limit_once() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    world.refuse(&[2], slow("s/"));
    let limit = world.config.straggler_limit;
    let (info, took) = timed(put(&engine, "first", &content(30_000, 1))).await;
    assert_eq!(info.unwrap().short, 2, "its shard, and then its manifest copy");
    assert!(took >= limit && took < limit * 2, "{took:?}");
    let ill = health_of(&engine, 2).await;
    assert_eq!((ill.health.write_breaker, ill.health.errors[&ErrorClass::Slow]), (BreakerState::Open, 1));
    assert!(ill.reachable && !ill.health.healthy, "it answers");
    for key in 0..3 {
        let (info, took) = timed(put(&engine, &format!("k{key}"), &content(30_000, 1))).await;
        assert!(info.unwrap().short >= 1);
        assert!(took < Duration::from_millis(10), "it is left alone: {took:?}");
    }
    // Each trial is hardly waited for, and the pauses grow.
    let mut trials = 0;
    for key in 0..40 {
        tokio::time::advance(Duration::from_secs(1)).await;
        let before = health_of(&engine, 2).await.health.errors[&ErrorClass::Slow];
        let (info, took) = timed(put(&engine, &format!("t{key}"), &content(30_000, 1))).await;
        info.unwrap();
        assert!(took < Duration::from_millis(50), "{took:?}");
        trials += health_of(&engine, 2).await.health.errors[&ErrorClass::Slow] - before;
    }
    assert!((2..=6).contains(&trials), "{trials} trials in 40 s");
    world.heal();
    // The last trial ends, and the pause after it.
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(put(&engine, "healed", &content(30_000, 1)).await.unwrap().short, 0);
    assert!(health_of(&engine, 2).await.health.healthy);
    let told = kinds(&engine);
    assert_eq!((told.first(), told.last()), (Some(&EventKind::BreakerOpened), Some(&EventKind::BreakerClosed)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_backend_costs_reads_its_hedge_once() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let bytes = content(90_000, 1);
    for key in 0..8 {
        put(&engine, &format!("k{key}"), &bytes).await.unwrap();
    }
    world.refuse(&[2], slow("s/"));
    let mut waits = Vec::new();
    for key in 0..8 {
        // Whole, and a range that lies in one block, which may be that of the slow one.
        for range in [None, Some(ByteRange::Bounded { start: 100, end: 200 })] {
            let (read, took) = timed(get(&engine, &format!("k{key}"), range)).await;
            assert_eq!(read.unwrap(), if range.is_some() { &bytes[100..200] } else { &bytes[..] });
            waits.push(took);
        }
    }
    let waited: Duration = waits.iter().sum();
    let most = world.config.hedge_after + Duration::from_millis(50);
    assert!(waited >= world.config.hedge_least && waited < most, "{waits:?}");
    let ill = health_of(&engine, 2).await;
    assert_eq!((ill.health.read_breaker, ill.health.write_breaker), (BreakerState::Open, BreakerState::Closed));
}

#[tokio::test(start_paused = true)]
async fn the_limits_come_from_the_backends_own_times() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for key in 0..30 {
        put(&engine, &format!("k{key}"), &content(30_000, 1)).await.unwrap();
    }
    let status = health_of(&engine, 2).await;
    assert_eq!(status.health.straggler_limit_ms, 2000.0, "nothing large was written");
    assert!(status.health.times[&Op::SmallWrite].samples >= 60);
    world.refuse(&[2], slow("s/"));
    let (_, took) = timed(put(&engine, "x", &content(30_000, 1))).await;
    let least = world.config.straggler_least;
    assert!(took >= least && took < least * 2, "a quick one is not waited for like a slow one: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dead_backend_is_not_asked_by_writes_and_reads() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for key in 0..20 {
        put(&engine, &format!("k{key}"), &content(30_000, 1)).await.unwrap();
    }
    world.refuse(&[1], Refusals { all: true, ..Refusals::default() });
    let asked = || world.gates[1].asked().requests.load(Ordering::SeqCst);
    for key in 0..3 {
        put(&engine, &format!("d{key}"), &content(30_000, 1)).await.unwrap();
    }
    // A read does not ask for parity, which is what it holds of every third object: of so many, it has data of one.
    let before = asked();
    for key in 0..20 {
        get(&engine, &format!("k{key}"), None).await.unwrap();
    }
    assert!(asked() > before);
    let before = asked();
    for key in 0..20 {
        assert_eq!(put(&engine, &format!("e{key}"), &content(30_000, 1)).await.unwrap().short, 2);
        get(&engine, &format!("k{}", key % 4), None).await.unwrap();
    }
    for key in 0..4 {
        delete(&engine, &format!("k{key}")).await.unwrap();
        put(&engine, &format!("e{key}"), &content(500, 1)).await.unwrap();
    }
    until(|| async { world.files("s").await.iter().filter(|(backend, _)| *backend == 0).count() == 16 + 3 + 16 }).await;
    assert_eq!(asked(), before, "nor by what is deleted and replaced");
    assert!(!health_of(&engine, 1).await.reachable);
    // Where a write would be refused without it, it is asked.
    world.refuse(&[3], Refusals { puts: Some("s/"), ..Refusals::default() });
    let short = put(&engine, "f", &content(30_000, 1)).await.unwrap().short;
    assert!(asked() > before && short >= 1, "b1 works again, and b3 does not: {short}");
}

/// A store may answer a range beyond the end of a truncated file with any error: the file's size tells.
#[tokio::test]
async fn a_truncated_shard_is_corrupt_and_a_backend_that_refuses_is_not() {
    for left in [0, 10, 200, 8000] {
        let world = World::new(4, 2, 6);
        let engine = with_bucket(&world).await;
        let bytes = content(90_000, 1);
        put(&engine, "x", &bytes).await.unwrap();
        let (backend, path) = world.files("s").await.into_iter().find(|(_, p)| p.as_ref().ends_with(".0")).unwrap();
        let store = &world.stores[backend].1;
        let shard = store.get(&path).await.unwrap().bytes().await.unwrap();
        store.put(&path, shard.slice(..left).into()).await.unwrap();
        assert_eq!(get(&engine, "x", Some(ByteRange::From(80_000))).await.unwrap(), bytes[80_000..]);
        assert_eq!(get(&engine, "x", None).await.unwrap(), bytes);
        let lines = engine.ledger(None, 10).await.unwrap();
        assert_eq!(lines.len(), 1, "{left} bytes left");
        assert_eq!((lines[0].reason, lines[0].backend.clone()), (LedgerReason::Corrupt, format!("b{backend}")));
    }
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(90_000, 1)).await.unwrap();
    world.refuse(&[0, 1], Refusals { gets: Some("s/"), ..Refusals::default() });
    get(&engine, "x", None).await.unwrap();
    assert!(engine.ledger(None, 10).await.unwrap().is_empty(), "nothing is known of what could not be asked for");
}

/// Shards can be brought elsewhere and manifests cannot: a drain that goes round and round would copy them for ever.
#[tokio::test]
async fn a_drain_that_cannot_name_what_it_moved_comes_to_its_end() {
    let mut world = World::new(3, 2, 6);
    world.config.ack_margin = Some(2);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(90_000, 1)).await.unwrap();
    for i in 0..10 {
        // Of so many, the drained backend has something.
        put(&engine, &format!("o{i}"), &content(9000, i)).await.unwrap();
    }
    let (drained, refusing) = (0, 1);
    world.refuse(&[refusing], Refusals { puts: Some("m/"), ..Refusals::default() });
    let order = Move::from(MoveTask::Drain { backend: format!("b{drained}"), to: None, lost: false });
    let progress = Progress::default();
    let drain = engine.run_move(&order, &progress);
    let report = tokio::time::timeout(Duration::from_secs(60), drain).await.unwrap().unwrap();
    assert!(report.failures > 0 && !report.proof.unwrap().holds_nothing_live, "{:?}", report.failed);
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(90_000, 1));
    world.heal();
    let report = engine.run_move(&order, &progress).await.unwrap();
    assert!(report.proof.unwrap().holds_nothing_live, "{:?}", report.failed);
    assert_whole(&engine).await;
}
