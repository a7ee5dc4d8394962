//! Moves: whatever backend is drained, however it ends, the history stays the same, and nothing of it needs the backend
//! any more: not its bytes, not its copies of records, with the catalog or without it.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use rsb_core::catalog::{Catalog, HolderState, ListQuery, MemoryCatalog, Precondition};
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::*;

use crate::gate::Refusals;
use crate::multipart::{begin, complete, send};
use crate::support::*;

/// Every version of every bucket: what it is called, whether it is a delete marker, its bytes.
pub type History = BTreeMap<(String, String, String), Option<Vec<u8>>>;

pub async fn history(engine: &Engine) -> History {
    let mut out = History::new();
    for bucket in engine.buckets().await.unwrap() {
        out.insert((bucket.name.clone(), format!("{:?}", bucket.settings), String::new()), None);
        let query = ListQuery { bucket: bucket.name.clone(), limit: 1000, versions: true, ..ListQuery::default() };
        for object in engine.list(&query).await.unwrap().objects {
            let m = object.info.manifest.clone();
            let bytes = match m.delete_marker {
                true => None,
                false => {
                    let stream = engine.get(&m.bucket, &m.key, Some(m.version), None).await.unwrap().stream;
                    Some(stream.try_collect::<Vec<_>>().await.unwrap().concat())
                }
            };
            out.insert((m.bucket.clone(), m.key.clone(), m.version.to_string()), bytes);
        }
    }
    out
}

/// A repository in which everything of a history was done, and its catalog.
pub async fn lived_in(world: &World) -> (Engine, Arc<MemoryCatalog>) {
    world.init().await;
    let catalog = Arc::new(MemoryCatalog::new());
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    let all = BucketSettings { versions: Versions::KeepAll, ..BucketSettings::default() };
    engine.create_bucket("all", all).await.unwrap();
    engine.create_bucket("gone", BucketSettings::default()).await.unwrap();
    engine.delete_bucket("gone").await.unwrap();
    for (key, len) in [("small", 300), ("large", 250_000), ("medium", 9000), ("killed", 400), ("killed-large", 30_000)]
    {
        put(&engine, key, &content(len, 3)).await.unwrap();
    }
    put(&engine, "small", &content(500, 4)).await.unwrap();
    engine.copy(("bucket", "large"), ("bucket", "copy"), Precondition::None).await.unwrap();
    delete(&engine, "killed").await.unwrap();
    delete(&engine, "killed-large").await.unwrap();
    for seed in 0..2 {
        let request = PutRequest { bucket: "all".into(), key: "k".into(), ..PutRequest::default() };
        engine.put(request, body(&content(700 + 20_000 * seed, 9))).await.unwrap();
    }
    engine.delete("all", "k", None, Precondition::None).await.unwrap();
    (engine, catalog)
}

pub fn drain(backend: &str) -> Move {
    MoveTask::Drain { backend: backend.into(), to: None, lost: false }.into()
}

fn replace(backend: &str, to: &str) -> Move {
    MoveTask::Drain { backend: backend.into(), to: Some(to.into()), lost: false }.into()
}

pub async fn run(engine: &Engine, order: &Move) -> MoveReport {
    let report = engine.run_move(order, &Progress::default()).await.unwrap();
    assert_eq!(report.failed, Vec::<String>::new());
    report
}

pub async fn whole(engine: &Engine) {
    let report = engine.check(&CheckRequest { depth: Depth::Full, ..Default::default() }, &Progress::default()).await;
    let report = report.unwrap();
    assert_eq!((report.degraded, report.unreadable), (0, 0), "{:?}", report.damaged);
    assert_eq!(engine.ledger(None, 100).await.unwrap(), Vec::new());
}

/// A record that the kill cut short has the copies that acknowledge it, and gets the others by a repair.
pub async fn repaired(engine: &Engine) {
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    let report = engine.repair(&plan, &Progress::default()).await.unwrap();
    assert_eq!((report.failed, report.unrepairable), (Vec::new(), Vec::new()));
    whole(engine).await;
}

/// The world without its first backend, which is taken out of the config.
pub fn without_first(world: &World) -> World {
    World::of(world.stores[1..].to_vec(), world.config.clone())
}

/// The history can be told from what is left alone, with any m backends away.
async fn told_without(world: &World, expected: &History) {
    let rest = without_first(world);
    let m = world.config.scheme.m();
    for away in subsets(rest.stores.len(), m) {
        let engine = rest.open(&away).await;
        assert_eq!(engine.status().await.unwrap().read_only, None, "without {away:?} the history is not sure");
        assert_eq!(&history(&engine).await, expected, "without {away:?}");
        engine.close().await.unwrap();
    }
    let engine = rest.open(&[]).await;
    whole(&engine).await;
    let verified = engine.verify_catalog(&Progress::default()).await.unwrap();
    assert_eq!(verified.differences, Vec::<String>::new());
}

#[tokio::test]
async fn a_drained_backend_is_needed_for_nothing() {
    // What lies on a backend is chance: with one scheme nothing may, or all copies may have died.
    let (mut shards, mut copies) = (0, 0);
    for (k, m, n) in SCHEMES {
        let world = World::new(k, m, n + 1);
        let (engine, catalog) = lived_in(&world).await;
        let upload = begin(&engine, "parts").await.unwrap();
        send(&engine, &upload, 1, &content(120_000, 7)).await.unwrap();
        let before = history(&engine).await;
        let plan = engine.plan_move(&drain("b0"), &Progress::default()).await.unwrap();
        assert_eq!(plan.stuck_examples, Vec::<String>::new());
        let report = run(&engine, &drain("b0")).await;
        let proof = report.proof.unwrap();
        assert!(proof.holds_nothing_live && proof.listed, "{k}+{m}: {proof:?}");
        assert_eq!((report.shards, report.rebuilt), (plan.shards, 0), "{k}+{m} as planned");
        // A batch whose versions were all described anew is dead, and its copies go instead of being moved.
        assert!(report.copies <= plan.copies && report.actual.written_bytes <= plan.bill.written_bytes);
        shards += report.shards;
        copies += report.copies;
        assert_eq!(proof.garbage, 0, "{k}+{m}: everything was moved or dead");
        assert!(world.paths(0, "s").await.is_empty() && world.paths(0, "m").await.is_empty());
        assert_eq!(history(&engine).await, before);
        whole(&engine).await;
        // The part was moved too.
        world.wipe(0).await;
        complete(&engine, &upload, &[1]).await.unwrap();
        let after = history(&engine).await;
        whole(&engine).await;
        engine.close().await.unwrap();
        drop(catalog);
        told_without(&world, &after).await;
    }
    assert!(shards > 0 && copies > 0);
}

#[tokio::test]
async fn a_dead_backend_is_drained_from_parity() {
    for (k, m, n) in [(4, 2, 7), (1, 3, 5), (2, 4, 7), (2, 1, 7)] {
        let world = World::new(k, m, n);
        let (engine, catalog) = lived_in(&world).await;
        let before = history(&engine).await;
        engine.close().await.unwrap();
        world.refuse(&[0], Refusals { all: true, ..Refusals::default() });
        let engine = world.open_with(catalog, &[]).await.unwrap();
        // Of what is written while it is dead, the ledger owes it something.
        let report = run(&engine, &drain("b0")).await;
        let proof = report.proof.unwrap();
        assert!(proof.holds_nothing_live && !proof.listed, "{k}+{m}: {proof:?}");
        assert_eq!(report.rebuilt, report.shards + report.copies, "nothing could be read from it");
        assert_eq!(history(&engine).await, before);
        engine.close().await.unwrap();
        told_without(&world, &before).await;
    }
}

#[tokio::test]
async fn what_the_ledger_owes_a_dead_backend_goes_elsewhere() {
    // As many backends as shards when it is written, so that the dead one's share has no other place.
    let mut world = World::new(4, 2, 6);
    let (engine, catalog) = lived_in(&world).await;
    world.refuse(&[0], Refusals { all: true, ..Refusals::default() });
    put(&engine, "late", &content(50_000, 1)).await.unwrap();
    put(&engine, "late-small", &content(50, 1)).await.unwrap();
    assert!(!engine.ledger(None, 100).await.unwrap().is_empty());
    let before = history(&engine).await;
    engine.close().await.unwrap();
    let refused = engine.run_move(&drain("b0"), &Progress::default()).await;
    assert!(refused.is_err(), "it is closed");
    let mut stores = world.stores.clone();
    stores.push(("b6".into(), Arc::default()));
    world = World::of(stores, world.config.clone());
    world.init().await;
    world.refuse(&[0], Refusals { all: true, ..Refusals::default() });
    let engine = world.open_with(catalog, &[]).await.unwrap();
    let report = run(&engine, &drain("b0")).await;
    assert!(report.proof.unwrap().holds_nothing_live);
    assert_eq!(engine.ledger(None, 100).await.unwrap(), Vec::new());
    engine.close().await.unwrap();
    told_without(&world, &before).await;
}

#[tokio::test]
async fn a_drain_that_could_not_end_is_refused_before_it_begins() {
    let world = World::new(4, 2, 6);
    let (engine, _) = lived_in(&world).await;
    for order in [drain("b0"), drain("nobody"), replace("b0", "b0"), replace("b0", "nobody")] {
        let planned = engine.plan_move(&order, &Progress::default()).await.unwrap_err();
        let refused = engine.run_move(&order, &Progress::default()).await.unwrap_err();
        assert_eq!(planned.kind(), refused.kind());
        assert_eq!(engine.moves().await.unwrap(), Vec::new());
    }
    let error = engine.run_move(&drain("b0"), &Progress::default()).await.unwrap_err();
    assert!(error.message().contains("needs 6 active backends"), "{error}");
    assert_eq!(engine.status().await.unwrap().backends[0].role, Role::Active);
}

#[tokio::test]
async fn while_it_is_drained_people_write_copy_and_delete() {
    let mut world = World::new(3, 2, 7);
    world.config.grace = std::time::Duration::from_secs(3600);
    let (engine, _) = lived_in(&world).await;
    for i in 0..30 {
        put(&engine, &format!("old/{i}"), &content(3000 + i * 500, i as u8)).await.unwrap();
    }
    let mover = engine.clone();
    let work = tokio::spawn(async move { run(&mover, &drain("b0")).await });
    for i in 0..30usize {
        put(&engine, &format!("new/{i}"), &content(2000 + i * 700, i as u8)).await.unwrap();
        let (from, to) = (format!("old/{i}"), format!("copied/{i}"));
        engine.copy(("bucket", &from), ("bucket", &to), Precondition::None).await.unwrap();
        if i % 3 == 0 {
            delete(&engine, &from).await.unwrap();
        }
        if i % 10 == 0 {
            sweep(&engine).await;
        }
    }
    let proof = work.await.unwrap().proof.unwrap();
    assert!(proof.holds_nothing_live, "{proof:?}");
    whole(&engine).await;
    let before = history(&engine).await;
    engine.close().await.unwrap();
    told_without(&world, &before).await;
}

#[tokio::test]
async fn a_replacement_takes_all_that_it_may() {
    let mut world = World::new(4, 2, 6);
    let (engine, catalog) = lived_in(&world).await;
    let before = history(&engine).await;
    engine.close().await.unwrap();
    let mut stores = world.stores.clone();
    stores.push(("new".into(), Arc::default()));
    world = World::of(stores, world.config.clone());
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    let error = engine.plan_move(&replace("b0", "new"), &Progress::default()).await.unwrap_err();
    assert!(error.message().contains("rsb backend add"), "it has no marker yet: {error}");
    engine.close().await.unwrap();
    world.init().await;
    let engine = world.open_with(catalog, &[]).await.unwrap();
    let shards = world.paths(0, "s").await;
    run(&engine, &replace("b0", "new")).await;
    assert_eq!(world.paths(6, "s").await, shards);
    assert!(world.paths(0, "m").await.is_empty() && !world.paths(6, "m").await.is_empty());
    assert_eq!(history(&engine).await, before);
    engine.close().await.unwrap();
    told_without(&world, &before).await;
}

#[tokio::test]
async fn new_objects_keep_away_until_it_is_cancelled() {
    let world = World::new(2, 1, 4);
    let (engine, catalog) = lived_in(&world).await;
    run(&engine, &drain("b0")).await;
    engine.close().await.unwrap();
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    assert_eq!(engine.status().await.unwrap().backends[0].role, Role::Draining, "after a restart too");
    engine.rebuild_catalog(&Progress::default()).await.unwrap();
    for i in 0..8 {
        put(&engine, &format!("x{i}"), &content(5000, i)).await.unwrap();
    }
    assert!(world.paths(0, "s").await.is_empty() && world.paths(0, "m").await.is_empty());
    let moves = engine.moves().await.unwrap();
    assert_eq!(moves[0].state, MoveState::Done);
    engine.cancel_move(&moves[0].id).await.unwrap();
    assert_eq!(engine.cancel_move("none").await.unwrap_err().kind(), ErrorKind::NotFound);
    for i in 0..8 {
        put(&engine, &format!("y{i}"), &content(5000, i)).await.unwrap();
    }
    assert!(!world.paths(0, "s").await.is_empty());
    // A backend that the config has no more is forgotten.
    run(&engine, &drain("b0")).await;
    engine.close().await.unwrap();
    let rest = without_first(&world);
    let engine = rest.open_with(catalog, &[]).await.unwrap();
    assert_eq!(engine.moves().await.unwrap(), Vec::new());
}

#[tokio::test]
async fn a_move_waits_when_it_is_told_to_and_only_one_runs() {
    let world = World::new(2, 1, 5);
    let (engine, _) = lived_in(&world).await;
    // Where shards go is chance.
    for i in 0.. {
        if !world.paths(0, "s").await.is_empty() {
            break;
        }
        put(&engine, &format!("x{i}"), &content(5000, i)).await.unwrap();
    }
    let progress = Progress::new();
    progress.pause(true);
    let (mover, watched) = (engine.clone(), progress.clone());
    let work = tokio::spawn(async move { mover.run_move(&drain("b0"), &watched).await });
    while engine.moves().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let error = engine.run_move(&MoveTask::Rebalance.into(), &Progress::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!world.paths(0, "s").await.is_empty() && !work.is_finished());
    progress.pause(false);
    assert!(work.await.unwrap().unwrap().proof.unwrap().holds_nothing_live);
    // One that was told to wait before it was killed waits again.
    let order = drain("b1");
    let cancelled = Progress::new();
    cancelled.pause(true);
    let (mover, watched, same) = (engine.clone(), cancelled.clone(), order.clone());
    let work = tokio::spawn(async move { mover.run_move(&same, &watched).await });
    while engine.moves().await.unwrap().len() < 2 {
        tokio::task::yield_now().await;
    }
    let id = engine.moves().await.unwrap()[1].id.clone();
    engine.pause_move(&id, true).await.unwrap();
    cancelled.cancel();
    assert_eq!(work.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(engine.moves().await.unwrap()[1].state, MoveState::Paused);
    let resumed = Progress::new();
    resumed.pause(true);
    let (mover, watched) = (engine.clone(), resumed.clone());
    let work = tokio::spawn(async move { mover.run_move(&order, &watched).await });
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert!(!work.is_finished() && engine.moves().await.unwrap()[1].state == MoveState::Paused);
    engine.pause_move(&id, false).await.unwrap();
    resumed.pause(false);
    assert!(work.await.unwrap().unwrap().proof.unwrap().holds_nothing_live);
}

#[tokio::test]
async fn the_rule_of_domains_holds_after_every_step() {
    let mut world = World::new(4, 2, 8);
    world.config.spread = Spread::Label("site".into());
    // Two backends a site, and m is two: all of them are full but for the shard that leaves.
    let sites = |world: &World| -> Vec<Backend> {
        let backends = world.backends(&[]).into_iter().enumerate();
        let with_site = |(i, b): (usize, Backend)| {
            let domain = [("site".to_owned(), format!("s{}", i / 2))].into();
            Backend::with(b.name(), b.store().clone(), domain, Role::Active, Cost::default())
        };
        backends.map(with_site).collect()
    };
    Engine::init_markers(&world.config, &sites(&world), &world.env()).await.unwrap();
    let codecs = rsb_core::codec::Codecs::with_builtin();
    let catalog = Arc::new(MemoryCatalog::new());
    let engine = Engine::open(world.config.clone(), sites(&world), catalog, codecs, world.env()).await.unwrap();
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    for i in 0..20 {
        put(&engine, &format!("{i}"), &content(5000, i)).await.unwrap();
    }
    run(&engine, &drain("b0")).await;
    for i in 0..20 {
        let info = engine.head("bucket", &format!("{i}"), None).await.unwrap();
        let format::manifest::Body::Segments(body) = &info.manifest.body else { panic!("in segments") };
        for view in body.views() {
            let mut sites = BTreeMap::<usize, usize>::new();
            for name in &view.backends {
                *sites.entry(name[1..].parse::<usize>().unwrap() / 2).or_default() += 1;
            }
            assert!(sites.values().all(|count| *count <= 2), "{:?}", view.backends);
        }
    }
}

#[tokio::test]
async fn a_corrupt_shard_is_not_moved_but_rebuilt() {
    let world = World::new(2, 1, 4);
    let (engine, catalog) = lived_in(&world).await;
    let before = history(&engine).await;
    for path in world.paths(0, "s").await {
        world.flip(0, &path, 200).await;
    }
    for path in world.paths(0, "m").await {
        world.flip(0, &path, 70).await;
    }
    let report = run(&engine, &drain("b0")).await;
    assert_eq!(report.rebuilt, report.shards + report.copies);
    assert!(report.proof.unwrap().holds_nothing_live);
    assert_eq!(history(&engine).await, before);
    whole(&engine).await;
    let mut after = None;
    while let Some(last) = catalog.batches_after(after, 1).await.unwrap().pop() {
        assert!(last.holders.iter().all(|h| h.backend != "b0" || h.state == HolderState::Doubtful));
        after = Some(last.id);
    }
}
