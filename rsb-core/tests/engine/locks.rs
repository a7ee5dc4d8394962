//! Object lock: what is locked stays, whoever asks, until the lock is over. Time is the engine's own clock.

use rsb_core::catalog::Precondition;
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::id::VersionId;
use rsb_core::object_lock::{BucketLock, DefaultRetention, ObjectLock, Period, Retention, RetentionMode};
use rsb_core::*;

use crate::support::*;

const DAY_MS: u64 = 24 * HOUR_MS as u64;

/// A repository with a bucket that has object lock.
async fn with_lock(world: &World, default: Option<DefaultRetention>) -> Engine {
    world.init().await;
    let engine = world.open(&[]).await;
    let mut settings = BucketSettings::default();
    BucketLock { default }.set(&mut settings);
    engine.create_bucket("bucket", settings).await.unwrap();
    engine
}

fn now(world: &World) -> u64 {
    world.env().now_ms()
}

fn keep(mode: RetentionMode, until_ms: u64) -> ObjectLock {
    ObjectLock { retention: Some(Retention { mode, until_ms }), legal_hold: false }
}

async fn put_locked(engine: &Engine, key: &str, len: usize, lock: ObjectLock) -> Result<VersionId> {
    let request = PutRequest { bucket: "bucket".into(), key: key.into(), lock, ..PutRequest::default() };
    Ok(engine.put(request, body(&content(len, 1))).await?.version())
}

async fn remove(engine: &Engine, key: &str, version: VersionId, bypass: bool) -> Result<Deleted> {
    engine.delete_bypassing("bucket", key, Some(version), Precondition::None, bypass).await
}

fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// "Object Lock retention modes" in the S3 user guide.
#[tokio::test]
async fn a_locked_version_cannot_be_deleted_before_its_time() {
    for len in [100, 5000] {
        let world = World::new(2, 1, 3);
        let engine = with_lock(&world, None).await;
        let until = now(&world) + DAY_MS;
        let compliance = put_locked(&engine, "c", len, keep(RetentionMode::Compliance, until)).await.unwrap();
        let governance = put_locked(&engine, "g", len, keep(RetentionMode::Governance, until)).await.unwrap();
        for bypass in [false, true] {
            assert_eq!(kind(remove(&engine, "c", compliance, bypass).await), ErrorKind::Locked);
        }
        assert_eq!(kind(remove(&engine, "g", governance, false).await), ErrorKind::Locked);
        // A delete marker takes nothing away; deleting the bucket would.
        assert!(delete(&engine, "c").await.unwrap().delete_marker.is_some());
        assert_eq!(kind(engine.delete_bucket("bucket").await), ErrorKind::Conflict);
        remove(&engine, "g", governance, true).await.unwrap();
        // Whoever has the backends only keeps the lock.
        let rebuilt = world.open(&[0]).await;
        assert_eq!(kind(remove(&rebuilt, "c", compliance, true).await), ErrorKind::Locked);
        assert!(sweep(&engine).await.unreachable.is_empty());
        assert_eq!(engine.head("bucket", "c", Some(compliance)).await.unwrap().size(), len as u64);
        world.clock.turn(25 * HOUR_MS);
        remove(&engine, "c", compliance, false).await.unwrap();
    }
}

/// "Legal holds" in the S3 user guide: independent of retention, and without an end of its own.
#[tokio::test]
async fn a_legal_hold_holds_until_it_is_ended() {
    let world = World::new(2, 1, 3);
    let engine = with_lock(&world, None).await;
    for len in [100, 5000] {
        let lock = ObjectLock { legal_hold: true, ..keep(RetentionMode::Governance, now(&world) + DAY_MS) };
        let version = put_locked(&engine, "x", len, lock).await.unwrap();
        world.clock.turn(25 * HOUR_MS);
        assert_eq!(kind(remove(&engine, "x", version, true).await), ErrorKind::Locked);
        engine.set_legal_hold("bucket", "x", Some(version), false).await.unwrap();
        engine.set_legal_hold("bucket", "x", None, true).await.unwrap();
        assert_eq!(kind(remove(&engine, "x", version, true).await), ErrorKind::Locked);
        engine.set_legal_hold("bucket", "x", None, false).await.unwrap();
        assert_eq!(get(&engine, "x", None).await.unwrap(), content(len, 1));
        remove(&engine, "x", version, false).await.unwrap();
    }
}

/// PutObjectRetention in the S3 API reference.
#[tokio::test]
async fn a_retention_may_be_made_longer_and_governance_bypassed() {
    use RetentionMode::{Compliance, Governance};
    let world = World::new(2, 1, 3);
    let engine = with_lock(&world, None).await;
    let day = |days: u64| now(&world) + days * DAY_MS;
    let set = |mode, until_ms, bypass| {
        let engine = engine.clone();
        async move { engine.set_retention("bucket", "x", None, Some(Retention { mode, until_ms }), bypass).await }
    };
    put_locked(&engine, "x", 100, ObjectLock::default()).await.unwrap();
    assert_eq!(kind(set(Governance, now(&world), false).await), ErrorKind::Invalid);
    set(Governance, day(2), false).await.unwrap();
    set(Governance, day(3), false).await.unwrap();
    for (mode, until) in [(Governance, day(2)), (Compliance, day(4))] {
        assert_eq!(kind(set(mode, until, false).await), ErrorKind::Locked, "{mode:?}");
    }
    assert_eq!(kind(engine.set_retention("bucket", "x", None, None, false).await), ErrorKind::Locked);
    set(Governance, day(1), true).await.unwrap();
    engine.set_retention("bucket", "x", None, None, true).await.unwrap();
    set(Compliance, day(2), false).await.unwrap();
    for (mode, until) in [(Compliance, day(1)), (Governance, day(3))] {
        assert_eq!(kind(set(mode, until, true).await), ErrorKind::Locked, "{mode:?}");
    }
    assert_eq!(kind(engine.set_retention("bucket", "x", None, None, true).await), ErrorKind::Locked);
    set(Compliance, day(3), false).await.unwrap();
    // What is over binds nobody.
    world.clock.turn(73 * HOUR_MS);
    set(Governance, day(1), false).await.unwrap();
}

/// "Default retention" in the S3 user guide: of versions without one of their own, whatever writes them.
#[tokio::test]
async fn the_buckets_default_is_for_what_has_none_of_its_own() {
    let world = World::new(2, 1, 3);
    let default = DefaultRetention { mode: RetentionMode::Governance, period: Period::Days(2) };
    let engine = with_lock(&world, Some(default)).await;
    for len in [100, 5000] {
        let own = keep(RetentionMode::Compliance, now(&world) + 9 * DAY_MS);
        let own = put_locked(&engine, "own", len, own).await.unwrap();
        put(&engine, "plain", &content(len, 1)).await.unwrap();
        let copied = engine.copy(("bucket", "own"), ("bucket", "copy"), Precondition::None).await.unwrap();
        for (key, mode, days) in [("plain", "governance", 2), ("copy", "governance", 2), ("own", "compliance", 9)] {
            let info = engine.head("bucket", key, None).await.unwrap();
            let retention = ObjectLock::of(&info.manifest).retention.unwrap();
            assert_eq!(retention.mode.as_str(), mode, "{key}");
            let after = retention.until_ms - info.modified_ms();
            assert!(after.abs_diff(days * DAY_MS) < 60_000, "{key}: {after}");
        }
        assert_eq!(kind(remove(&engine, "copy", copied.version(), false).await), ErrorKind::Locked);
        assert_eq!(kind(remove(&engine, "own", own, true).await), ErrorKind::Locked);
    }
}

#[tokio::test]
async fn a_bucket_never_loses_its_object_lock() {
    let world = World::new(2, 1, 3);
    let engine = with_lock(&world, None).await;
    let settings = engine.bucket("bucket").await.unwrap().settings;
    assert_eq!(settings.versions, Versions::KeepAll);
    let suspended = BucketSettings { versions: Versions::Suspended, ..settings.clone() };
    let without = BucketSettings { extra: Default::default(), ..settings.clone() };
    let mut broken = settings.clone();
    broken.extra.insert(object_lock::SETTING.into(), "{".into());
    let mut too_long = settings;
    let default = DefaultRetention { mode: RetentionMode::Governance, period: Period::Years(101) };
    BucketLock { default: Some(default) }.set(&mut too_long);
    for wrong in [suspended, without, broken, too_long] {
        assert_eq!(kind(engine.set_bucket("bucket", wrong).await), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn without_object_lock_nothing_is_locked() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let lock = keep(RetentionMode::Governance, now(&world) + DAY_MS);
    assert_eq!(kind(put_locked(&engine, "x", 100, lock).await), ErrorKind::Invalid);
    put(&engine, "x", b"1").await.unwrap();
    let to = ("bucket".to_owned(), "y".to_owned());
    let request = CopyRequest { from: ("bucket".into(), "x".into()), to, lock, ..CopyRequest::default() };
    assert_eq!(kind(engine.copy_object(request).await), ErrorKind::Invalid);
    assert_eq!(kind(engine.set_legal_hold("bucket", "x", None, true).await), ErrorKind::Invalid);
    assert_eq!(kind(engine.set_retention("bucket", "x", None, lock.retention, true).await), ErrorKind::Invalid);
    // It may get it later, when it keeps all versions.
    let mut settings = BucketSettings::default();
    BucketLock::default().set(&mut settings);
    engine.set_bucket("bucket", settings).await.unwrap();
    engine.set_legal_hold("bucket", "x", None, true).await.unwrap();
    let version = engine.head("bucket", "x", None).await.unwrap().version();
    assert_eq!(kind(remove(&engine, "x", version, true).await), ErrorKind::Locked);
}
