//! Drains that end early: whoever kills the process, or drops the call, a next one goes on with it and nothing is lost.

use std::sync::Arc;

use rsb_core::catalog::MemoryCatalog;
use rsb_core::*;

use crate::gate::Refusals;
use crate::moves::{drain, history, lived_in, repaired, run, without_first};
use crate::support::*;

#[tokio::test]
async fn a_drain_killed_at_any_change_is_gone_on_with_and_loses_nothing() {
    for (k, m, n) in [(4, 2, 7), (1, 3, 5)] {
        for keeps_catalog in [true, false] {
            let origin = World::new(k, m, n);
            let (engine, _) = lived_in(&origin).await;
            let before = history(&engine).await;
            engine.close().await.unwrap();
            let mut changes = 1;
            loop {
                let world = origin.fork();
                let catalog = Arc::new(MemoryCatalog::new());
                let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
                world.fuse.light(changes);
                let _ = engine.run_move(&drain("b0"), &Progress::default()).await;
                let died = world.fuse.is_burnt();
                let _ = engine.close().await;
                drop(engine);
                world.fuse.put_out();
                let catalog = if keeps_catalog { catalog } else { Arc::new(MemoryCatalog::new()) };
                let engine = world.open_with(catalog, &[]).await.unwrap();
                assert_eq!(history(&engine).await, before, "{k}+{m}, dead after {changes} changes");
                // Its begin is remembered where the catalog is, and so is that nothing new goes there.
                if keeps_catalog {
                    assert_eq!(engine.moves().await.unwrap().len(), 1);
                    assert_eq!(engine.status().await.unwrap().backends[0].role, Role::Draining);
                }
                let report = run(&engine, &drain("b0")).await;
                assert!(report.proof.unwrap().holds_nothing_live, "{k}+{m}, dead after {changes} changes");
                world.clock.turn(1000);
                sweep(&engine).await;
                assert!(world.paths(0, "s").await.is_empty() && world.paths(0, "m").await.is_empty());
                repaired(&engine).await;
                engine.close().await.unwrap();
                let rest = without_first(&world);
                let away: Vec<usize> = (0..m).map(|i| (changes as usize + i) % rest.stores.len()).collect();
                let engine = rest.open(&away).await;
                assert_eq!(history(&engine).await, before, "{k}+{m}, dead after {changes} changes, without {away:?}");
                if !died {
                    assert!(changes > 20);
                    break;
                }
                changes += 1 + changes / 12;
            }
        }
    }
}

#[tokio::test]
async fn a_drain_dropped_at_any_await_is_gone_on_with() {
    let origin = World::new(2, 1, 5);
    let (engine, _) = lived_in(&origin).await;
    let before = history(&engine).await;
    engine.close().await.unwrap();
    for polls in 1.. {
        let world = origin.fork();
        let engine = world.open(&[]).await;
        world.refuse(&[0, 1, 2, 3, 4], Refusals { waits: true, ..Refusals::default() });
        let progress = Progress::default();
        let order = drain("b0");
        let mut work = Box::pin(engine.run_move(&order, &progress));
        let mut ended = false;
        for _ in 0..polls {
            if futures::poll!(&mut work).is_ready() {
                ended = true;
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(work);
        // The same engine goes on: nothing is left locked.
        let report = run(&engine, &drain("b0")).await;
        assert!(report.proof.unwrap().holds_nothing_live);
        assert_eq!(history(&engine).await, before);
        repaired(&engine).await;
        engine.close().await.unwrap();
        if ended {
            assert!(polls > 3, "it takes more awaits than that");
            return;
        }
    }
}
