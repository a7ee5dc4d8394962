//! Lifecycle rules at work: what ends, what stays, and what only a later time may end.

use rsb_core::catalog::{ListQuery, Precondition};
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::lifecycle::{self, Expiration, Filter, Noncurrent, Rule};
use rsb_core::object_lock::{BucketLock, ObjectLock};
use rsb_core::*;

use crate::support::*;

async fn set(engine: &Engine, versions: Versions, rules: &[Rule]) {
    let change = |settings: &mut BucketSettings| {
        settings.versions = versions;
        settings.extra.insert(lifecycle::SETTING.into(), serde_json::to_string(rules).unwrap());
        Ok(())
    };
    engine.update_bucket("bucket", change).await.unwrap();
}

fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule { id: "r".into(), enabled: true, ..Rule::default() };
    change(&mut rule);
    rule
}

async fn run(engine: &Engine) -> LifecycleReport {
    engine.lifecycle(false, &Progress::default()).await.unwrap()
}

/// Every version in the bucket: key, and whether it is a delete marker.
async fn versions(engine: &Engine) -> Vec<(String, bool)> {
    let query = ListQuery { bucket: "bucket".into(), limit: 5000, versions: true, ..ListQuery::default() };
    let listing = engine.list(&query).await.unwrap();
    let name = |o: &ListedObject| (o.info.manifest.key.clone(), o.info.manifest.delete_marker);
    listing.objects.iter().map(name).collect()
}

#[tokio::test]
async fn objects_end_after_their_days_and_stay_away() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let logs = rule(|r| {
        r.filter = Filter { prefix: Some("logs/".into()), ..Filter::default() };
        r.expiration = Some(Expiration::Days(1));
    });
    set(&engine, Versions::KeepLast, &[logs]).await;
    for key in ["logs/a", "logs/b", "other", "log"] {
        put(&engine, key, &content(5000, 1)).await.unwrap();
    }
    assert_eq!(run(&engine).await, LifecycleReport::default());
    world.clock.turn(49 * HOUR_MS);
    put(&engine, "logs/b", b"new").await.unwrap();
    let dry = engine.lifecycle(true, &Progress::default()).await.unwrap();
    assert_eq!((dry.expired, keys(&engine).await.len()), (1, 4));
    assert_eq!(run(&engine).await, LifecycleReport { expired: 1, ..LifecycleReport::default() });
    let left = ["log", "logs/b", "other"];
    assert_eq!(keys(&engine).await, left);
    assert_eq!(keys(&world.open(&[2]).await).await, left);
    // A sweep does it too.
    world.clock.turn(49 * HOUR_MS);
    assert_eq!(sweep(&engine).await.lifecycle.expired, 1);
    assert_eq!(keys(&engine).await, ["log", "other"]);
}

#[tokio::test]
async fn in_a_bucket_that_keeps_versions_an_object_ends_in_steps() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let all = rule(|r| {
        r.expiration = Some(Expiration::Days(1));
        r.noncurrent = Some(Noncurrent { days: 1, keep: None });
    });
    set(&engine, Versions::KeepAll, &[all]).await;
    put(&engine, "x", b"1").await.unwrap();
    put(&engine, "x", b"2").await.unwrap();
    world.clock.turn(49 * HOUR_MS);
    let first = run(&engine).await;
    assert_eq!((first.expired, first.noncurrent, first.markers), (1, 1, 0));
    assert_eq!(versions(&engine).await, [("x".into(), true), ("x".into(), false)]);
    world.clock.turn(49 * HOUR_MS);
    let second = run(&engine).await;
    assert_eq!((second.expired, second.noncurrent, second.markers), (0, 1, 0));
    let third = run(&engine).await;
    assert_eq!((third.expired, third.noncurrent, third.markers), (0, 0, 1));
    assert_eq!(versions(&engine).await, []);
}

#[tokio::test]
async fn more_versions_than_a_page_and_the_newest_stay() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let keep = rule(|r| r.noncurrent = Some(Noncurrent { days: 1, keep: Some(3) }));
    set(&engine, Versions::KeepAll, &[keep]).await;
    let put = |i: usize| put(&engine, if i < 1100 { "many" } else { "more" }, b"v");
    futures::future::join_all((0..1110).map(put)).await;
    world.clock.turn(49 * HOUR_MS);
    assert_eq!(run(&engine).await.noncurrent, 1096 + 6);
    assert_eq!(versions(&engine).await.len(), 4 + 4);
}

#[tokio::test]
async fn what_is_locked_outlives_the_rule() {
    let world = World::new(2, 1, 3);
    world.init().await;
    let engine = world.open(&[]).await;
    let mut settings = BucketSettings::default();
    BucketLock::default().set(&mut settings);
    engine.create_bucket("bucket", settings).await.unwrap();
    set(&engine, Versions::KeepAll, &[rule(|r| r.noncurrent = Some(Noncurrent { days: 1, keep: None }))]).await;
    let lock = ObjectLock { legal_hold: true, ..ObjectLock::default() };
    let request = PutRequest { bucket: "bucket".into(), key: "x".into(), lock, ..PutRequest::default() };
    let held = engine.put(request, body(b"1")).await.unwrap().version();
    delete(&engine, "x").await.unwrap();
    world.clock.turn(49 * HOUR_MS);
    let report = run(&engine).await;
    assert_eq!((report.noncurrent, report.locked), (0, 1));
    engine.set_legal_hold("bucket", "x", Some(held), false).await.unwrap();
    assert_eq!(run(&engine).await.noncurrent, 1);
}

#[tokio::test]
async fn tags_choose_and_a_cancelled_run_ends() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let tags: std::collections::BTreeMap<String, String> = [("keep".to_owned(), "no".to_owned())].into();
    let tagged = rule(|r| {
        r.filter.tags = tags.clone();
        r.expiration = Some(Expiration::DateMs(0));
    });
    set(&engine, Versions::KeepLast, &[tagged]).await;
    put(&engine, "a", b"1").await.unwrap();
    put(&engine, "b", b"1").await.unwrap();
    engine.set_tags("bucket", "b", None, tags).await.unwrap();
    let cancelled = Progress::default();
    cancelled.cancel();
    assert_eq!(engine.lifecycle(false, &cancelled).await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(run(&engine).await.expired, 1);
    assert_eq!(keys(&engine).await, ["a"]);
    engine.delete("bucket", "a", None, Precondition::None).await.unwrap();
}
