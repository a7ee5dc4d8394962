//! Plans, drills and durability: what is said before, or without, doing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rsb_core::catalog::MemoryCatalog;
use rsb_core::codec::Codecs;
use rsb_core::durability::Assumptions;
use rsb_core::format::manifest::BucketSettings;
use rsb_core::*;

use crate::support::*;

/// A repository whose backends all cost this.
async fn priced(world: &World, cost: Cost) -> Engine {
    let backends = world
        .backends(&[])
        .into_iter()
        .map(|b| Backend::with(b.name(), b.store().clone(), b.domain().clone(), Role::Active, cost));
    let backends: Vec<Backend> = backends.collect();
    Engine::init_markers(&world.config, &backends, &world.env()).await.unwrap();
    let catalog = Arc::new(MemoryCatalog::new());
    let engine =
        Engine::open(world.config.clone(), backends, catalog, Codecs::with_builtin(), world.env()).await.unwrap();
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    engine
}

async fn plan(engine: &Engine, request: WorkRequest) -> WorkPlan {
    engine.plan_work(&request, &Progress::default()).await.unwrap()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9)
}

#[tokio::test]
async fn a_plan_says_bytes_requests_and_price_before() {
    let world = World::new(2, 1, 4);
    let cost = Cost { get_per_million: 1e6, egress_per_gb: 1e9, stored_per_gb_month: 1e9, ..Cost::default() };
    let engine = priced(&world, cost).await;
    put(&engine, "large", &content(100_000, 1)).await.unwrap();
    put(&engine, "small", &content(500, 1)).await.unwrap();
    let get = plan(&engine, WorkRequest::Get(Scope::object("bucket", "large"))).await;
    // Two shards of half the bytes, and a checksum for each of their blocks of 4096.
    let shard = 50_000 + 32 * 13;
    assert_eq!(
        (get.versions, get.object_bytes, get.bill.read_bytes, get.bill.read_requests),
        (1, 100_000, 2 * shard, 2)
    );
    assert!(close(get.bill.price, 2.0 + 2.0 * shard as f64), "{get:?}");
    let store = plan(&engine, WorkRequest::Store(Scope::default())).await;
    let (mut stored, mut records) = (0, 0);
    for backend in 0..4 {
        for path in world.paths(backend, "s").await {
            stored += object_store::ObjectStoreExt::head(world.stores[backend].1.as_ref(), &path).await.unwrap().size;
        }
        records += world.paths(backend, "m").await.len();
    }
    assert_eq!(stored, 3 * (96 + shard));
    assert!(store.stored_bytes > stored && close(store.bill.price_per_month, store.stored_bytes as f64), "{store:?}");
    assert!(records >= 6);
    let full = plan(&engine, WorkRequest::Check { scope: Scope::default(), depth: Depth::Full }).await;
    let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
    let checked = engine.check(&request, &Progress::default()).await.unwrap();
    // Of shards a check counts blocks and checksums, not their headers; the bucket's record is in both.
    assert_eq!(full.bill.read_bytes, checked.bytes_read + 3 * 96, "{full:?}");
    let inventory = plan(&engine, WorkRequest::Check { scope: Scope::default(), depth: Depth::Inventory }).await;
    assert_eq!((inventory.bill.read_bytes, inventory.bill.backends.len()), (0, 4));
    let missing = WorkRequest::Get(Scope { bucket: Some("none".into()), ..Scope::default() });
    assert_eq!(engine.plan_work(&missing, &Progress::default()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn minimum_durations_and_sizes_are_paid_for() {
    let world = World::new(2, 1, 4);
    let cost = Cost { stored_per_gb_month: 1e9, minimum_days: 90.0, minimum_size: 1 << 20, ..Cost::default() };
    let engine = priced(&world, cost).await;
    put(&engine, "large", &content(100_000, 1)).await.unwrap();
    let store = plan(&engine, WorkRequest::Store(Scope::default())).await;
    // Three shards and three copies of the record, of a mebibyte each.
    assert!(close(store.bill.price_per_month, 6.0 * f64::from(1 << 20)), "{store:?}");
    let order: Move = MoveTask::Rescheme { scope: Scope::default(), data_shards: 1, parity_shards: 2 }.into();
    let now = engine.plan_move(&order, &Progress::default()).await.unwrap();
    // Three shards removed at once are paid for three months all the same.
    let early = 3.0 * f64::from(1 << 20) * 3.0;
    assert!((now.bill.price / early - 1.0).abs() < 0.01, "{} {early}", now.bill.price);
    assert!(close(now.bill.price_per_month, 0.0), "as many files as before, and all of them small");
    world.clock.turn(91 * 24 * HOUR_MS);
    let later = engine.plan_move(&order, &Progress::default()).await.unwrap();
    assert!(close(later.bill.price, 0.0), "{later:?}");
    let done = engine.run_move(&order, &Progress::default()).await.unwrap();
    assert!(close(done.actual.price, done.plan.bill.price));
    assert_eq!(done.actual.written_bytes, done.plan.bill.written_bytes, "as planned");
}

#[tokio::test]
async fn a_drill_masks_sets_of_backends_and_reads_without_them() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for i in 0..6 {
        put(&engine, &format!("large{i}"), &content(60_000, i)).await.unwrap();
        put(&engine, &format!("small{i}"), &content(600, i)).await.unwrap();
    }
    let request = DrillRequest { subsets: 100, seed: 7, read_bytes: Some(1 << 20), ..DrillRequest::default() };
    let report = engine.drill_as(&request, &Progress::default()).await.unwrap();
    assert_eq!(report.domains.len(), 6 + 15, "each domain, and every pair");
    assert!(report.domains.iter().all(|d| d.unreadable.is_empty() && d.readable == 12));
    let reads = report.reads.unwrap();
    assert_eq!((reads.objects, reads.whole, reads.failures, reads.bytes), (12, 12, 0, 6 * 60_600));
    assert_eq!((report.repository_id, report.seed, report.objects), (engine.repository_id().to_string(), 7, 12));
    let few = DrillRequest { read_bytes: Some(100_000), ..request.clone() };
    let reads = engine.drill_as(&few, &Progress::default()).await.unwrap().reads.unwrap();
    assert_eq!(reads.bytes, 100_000, "the budget is kept to");
    // A flipped byte is no matter for listings; reading finds it where what is masked leaves nothing to spare.
    for path in world.paths(0, "s").await {
        world.flip(0, &path, 300).await;
    }
    for path in world.paths(0, "m").await {
        world.flip(0, &path, 70).await;
    }
    let only = DrillRequest { subsets: 100, seed: 3, read_bytes: Some(10 << 20), domain: Some("provider=b0".into()) };
    let report = engine.drill_as(&only, &Progress::default()).await.unwrap();
    assert!(report.domains.iter().all(|d| d.unreadable.is_empty()), "by inventory all is there");
    let reads = report.reads.unwrap();
    assert!(reads.failures > 0 && reads.failed[0].contains("without"), "{reads:?}");
    // What is not there is seen without reading.
    world.wipe(1).await;
    let report =
        engine.drill_as(&DrillRequest { subsets: 100, ..DrillRequest::default() }, &Progress::default()).await.unwrap();
    assert!(report.domains.iter().any(|d| d.backends.len() == 2 && !d.unreadable.is_empty()));
    assert!(report.domains.iter().filter(|d| d.backends.len() == 1).all(|d| d.unreadable.is_empty()));
}

#[tokio::test]
async fn an_engine_judges_its_own_durability() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let assumptions = Assumptions { cycles: 5000, ..Assumptions::default() };
    let judged = engine.durability(&assumptions).await.unwrap();
    assert_eq!(judged.shards_by_domain, (0..6).map(|i| (format!("b{i}"), 1)).collect::<BTreeMap<_, _>>());
    assert!(judged.chance.per_year > 0.0 && judged.chance.per_year < 1e-5, "{judged:?}");
    let wrong = Assumptions { scrub_days: -1.0, ..Assumptions::default() };
    assert_eq!(engine.durability(&wrong).await.unwrap_err().kind(), ErrorKind::Invalid);
}
