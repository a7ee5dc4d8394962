//! Settings of buckets: what is changed at once, what is too long, what lasts.

use futures::FutureExt;
use rsb_core::format::manifest::Versions;
use rsb_core::names::MAX_SETTING_LEN;
use rsb_core::*;

use crate::support::*;

#[tokio::test]
async fn of_settings_changed_at_once_none_is_lost() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let one = |i: usize| {
        let engine = engine.clone();
        async move { engine.update_bucket_extra("bucket", &format!("s{i}"), Some(i.to_string())).await.unwrap() }
    };
    futures::future::join_all((0..16).map(one)).await;
    let versions = |settings: &mut rsb_core::format::manifest::BucketSettings| {
        settings.versions = Versions::KeepAll;
        Ok(())
    };
    engine.update_bucket("bucket", versions).await.unwrap();
    engine.update_bucket_extra("bucket", "s3", None).await.unwrap();
    // And they stand in the backends, not only in the catalog.
    for engine in [engine, world.open(&[1]).await] {
        let settings = engine.bucket("bucket").await.unwrap().settings;
        assert_eq!((settings.versions, settings.extra.len()), (Versions::KeepAll, 15));
        assert_eq!(settings.extra["s15"], "15");
    }
}

#[tokio::test]
async fn a_setting_that_is_too_long_is_refused_and_one_that_changes_nothing_is_not_written() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let set = |len: usize| engine.update_bucket_extra("bucket", "s", Some("x".repeat(len)));
    assert_eq!(set(MAX_SETTING_LEN).await.unwrap_err().kind(), ErrorKind::Invalid);
    let old = set(MAX_SETTING_LEN - 1).await.unwrap();
    assert_eq!(set(MAX_SETTING_LEN - 1).await.unwrap().version, old.version);
    let gone = engine.update_bucket_extra("nowhere", "s", None).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn tags_change_and_nothing_else_does() {
    for (k, m, backends) in SCHEMES {
        let world = World::new(k, m, backends);
        let engine = with_bucket(&world).await;
        // In the record, in shards of its own, in several segments, and nothing at all.
        for len in [700, 5000, 250_000, 0] {
            let key = format!("x{len}");
            let old = put(&engine, &key, &content(len, 1)).await.unwrap();
            let tags = |value: &str| [("colour".to_owned(), value.to_owned())].into();
            for value in ["red", "blue"] {
                let new = engine.set_tags("bucket", &key, None, tags(value)).await.unwrap();
                assert_eq!(new.manifest.tags["colour"], value);
                assert_eq!((new.version(), new.modified_ms(), new.short), (old.version(), old.modified_ms(), 0));
            }
            let revision = engine.version("bucket", &key, None).await.unwrap().unwrap().manifest.revision;
            engine.set_tags("bucket", &key, Some(old.version()), tags("blue")).await.unwrap();
            let again = engine.version("bucket", &key, None).await.unwrap().unwrap();
            assert_eq!((again.manifest.revision, revision), (2, 2), "what changes nothing is not written");
        }
        sweep(&engine).await;
        // The tags and the bytes are there for whoever has the backends only, any m of them away.
        let away: Vec<usize> = (0..m).collect();
        let rebuilt = world.open(&away).await;
        for len in [700, 5000, 250_000, 0] {
            let key = format!("x{len}");
            assert_eq!(rebuilt.head("bucket", &key, None).await.unwrap().manifest.tags["colour"], "blue");
            assert_eq!(get(&rebuilt, &key, None).await.unwrap(), content(len, 1), "{k}+{m} {len}");
        }
    }
}

#[tokio::test]
async fn tags_of_what_is_not_there_are_refused() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let set = |key: &'static str, tags| engine.set_tags("bucket", key, None, tags);
    assert_eq!(set("x", [].into()).await.unwrap_err().kind(), ErrorKind::NotFound);
    put(&engine, "x", b"1").await.unwrap();
    let long = [("k".to_owned(), "v".repeat(64 << 10))].into();
    assert_eq!(set("x", long).await.unwrap_err().kind(), ErrorKind::Invalid);
    delete(&engine, "x").await.unwrap();
    assert_eq!(set("x", [].into()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn of_tags_given_at_once_each_has_a_revision_of_its_own() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    put(&engine, "x", &content(500, 1)).await.unwrap();
    let change = |i: usize| {
        let engine = engine.clone();
        async move { engine.set_tags("bucket", "x", None, [("i".to_owned(), i.to_string())].into()).await.unwrap() }
    };
    let all = futures::future::join_all((0..16).map(change)).await;
    let mut revisions: Vec<u32> = all.iter().map(|info| info.manifest.revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=16).collect::<Vec<u32>>());
    assert_eq!(get(&engine, "x", None).await.unwrap(), content(500, 1));
}

#[tokio::test]
async fn new_settings_refuse_no_write() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let set = |i: usize| {
        let engine = engine.clone();
        async move { engine.update_bucket_extra("bucket", "s", Some(i.to_string())).await.map(|_| ()) }
    };
    let write = |i: usize| {
        let engine = engine.clone();
        async move { put(&engine, &format!("x{i}"), b"1").await.map(|_| ()) }
    };
    let all = (0..40).map(|i| if i % 4 == 0 { set(i).left_future() } else { write(i).right_future() });
    futures::future::try_join_all(all).await.unwrap();
    assert_eq!(keys(&engine).await.len(), 30);
}
