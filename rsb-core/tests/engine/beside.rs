//! Moves beside what people and other jobs do, at every moment of them: nothing is lost, nothing waits for ever, and the
//! ledger names nothing that is not there.

use std::time::Duration;

use object_store::ObjectStoreExt;
use rsb_core::catalog::LedgerItem;
use rsb_core::*;

use crate::gate::Refusals;
use crate::moves::{lived_in, repaired};
use crate::support::*;

/// Turns of the other tasks after which something is done beside a move.
const TURNS: std::ops::Range<usize> = 0..150;

/// A repository in which nothing is answered at once, so that tasks take turns.
async fn slow_world(k: usize, m: usize, backends: usize) -> (World, Engine) {
    let mut world = World::new(k, m, backends);
    // Nothing that no one names is swept meanwhile.
    world.config.grace = Duration::from_secs(3600);
    let (engine, _) = lived_in(&world).await;
    let all: Vec<usize> = (0..backends).collect();
    world.refuse(&all, Refusals { waits: true, ..Refusals::default() });
    (world, engine)
}

/// Begins a move, lets it have so many turns, does something else, and waits until both have come to their end.
async fn beside(engine: &Engine, order: Move, turns: usize, other: impl Future<Output = ()>) {
    let mover = engine.clone();
    let work = tokio::spawn(async move { mover.run_move(&order, &Progress::default()).await });
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(60), other).await.unwrap();
    // Beside a rebuild a move may have to be begun again.
    let _ = tokio::time::timeout(Duration::from_secs(60), work).await.unwrap().unwrap();
}

async fn read_all(engine: &Engine, keys: &[(&str, usize)]) {
    for (key, len) in keys {
        let read = tokio::time::timeout(Duration::from_secs(60), get(engine, key, None)).await;
        let bytes = read.unwrap_or_else(|_| panic!("{key} is never read")).unwrap();
        assert_eq!(bytes.len(), *len, "{key}");
    }
}

fn rescheme(data_shards: usize, parity_shards: usize) -> Move {
    MoveTask::Rescheme { scope: Scope::default(), data_shards, parity_shards }.into()
}

#[tokio::test]
async fn what_is_coded_anew_outlives_the_first_of_those_that_share_it() {
    for turns in TURNS {
        let (_world, engine) = slow_world(2, 2, 4).await;
        // It comes before the object that it was copied from.
        let deleted = async { _ = delete(&engine, "copy").await.unwrap() };
        beside(&engine, rescheme(2, 1), turns, deleted).await;
        read_all(&engine, &[("large", 250_000), ("medium", 9000), ("small", 500)]).await;
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_rebuild_beside_a_move_loses_nothing() {
    for turns in TURNS {
        let (_world, engine) = slow_world(2, 1, 4).await;
        let order = match turns % 3 {
            0 => MoveTask::Rebalance.into(),
            1 => MoveTask::Drain { backend: "b0".into(), to: None, lost: false }.into(),
            _ => rescheme(1, 2),
        };
        let rebuilt = async { assert!(engine.rebuild_catalog(&Progress::default()).await.unwrap().certain) };
        beside(&engine, order, turns, rebuilt).await;
        let keys = [("large", 250_000), ("copy", 250_000), ("medium", 9000), ("small", 500)];
        read_all(&engine, &keys).await;
        repaired(&engine).await;
        engine.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_check_beside_a_rescheme_notes_nothing_that_is_not_there() {
    for turns in TURNS {
        let (_world, engine) = slow_world(2, 2, 4).await;
        let checked = async { _ = engine.check(&CheckRequest::default(), &Progress::default()).await.unwrap() };
        beside(&engine, rescheme(2, 1), turns, checked).await;
        for line in engine.ledger(None, 100).await.unwrap() {
            if let LedgerItem::Shard { index, .. } = line.item {
                assert!(index < 3, "after {turns} turns: {line:?}");
            }
        }
        engine.close().await.unwrap();
    }
}

/// A rebuild at every turn of a sweep, while a copy of something acknowledged is lost and its backend has no room.
#[tokio::test]
async fn a_rebuild_beside_a_sweep_loses_nothing() {
    for turns in 0..60 {
        let world = World::new(1, 3, 4);
        let engine = with_bucket(&world).await;
        put(&engine, "x", &content(9000, 1)).await.unwrap();
        world.clock.turn(2 * HOUR_MS);
        let (holder, newest) = world.files("m").await.into_iter().max_by_key(|(_, path)| path.clone()).unwrap();
        world.stores[holder].1.delete(&newest).await.unwrap();
        for (backend, gate) in world.gates.iter().enumerate() {
            let puts = (backend == holder).then_some("");
            gate.refuse(Refusals { puts, waits: true, ..Refusals::default() });
        }
        let (progress, request) = (Progress::default(), SweepRequest::default());
        let sweep = async {
            let mut sweep = Box::pin(engine.sweep(request, &progress));
            for _ in 0..turns {
                if futures::poll!(&mut sweep).is_ready() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            let (swept, rebuilt) = futures::join!(sweep, engine.rebuild_catalog(&progress));
            rebuilt.unwrap();
            drop(swept);
        };
        sweep.await;
        engine.close().await.unwrap();
        world.heal();
        let engine = world.open(&[]).await;
        assert_eq!(get(&engine, "x", None).await.unwrap(), content(9000, 1), "after {turns} turns");
    }
}
