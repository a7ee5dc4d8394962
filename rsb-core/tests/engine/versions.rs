//! Versions by id and by being the `null` one, and copies that say something else of themselves.

use rsb_core::catalog::Precondition;
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::*;

use crate::support::*;

async fn set(engine: &Engine, versions: Versions) {
    engine.set_bucket("bucket", BucketSettings { versions, ..BucketSettings::default() }).await.unwrap();
}

#[tokio::test]
async fn the_null_version_is_found_below_many_newer_ones_and_never_in_another_key() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    assert_eq!(engine.null_version("bucket", "x").await.unwrap(), None);
    let null = put(&engine, "x", b"null").await.unwrap().version();
    put(&engine, "x-other", b"null of another key").await.unwrap();
    assert_eq!(engine.null_version("bucket", "x").await.unwrap(), Some(null));
    set(&engine, Versions::KeepAll).await;
    for _ in 0..105 {
        put(&engine, "x", b"newer").await.unwrap();
    }
    assert_eq!(engine.null_version("bucket", "x").await.unwrap(), Some(null));
    engine.delete("bucket", "x", Some(null), Precondition::None).await.unwrap();
    assert_eq!(engine.null_version("bucket", "x").await.unwrap(), None);
    assert_eq!(engine.null_version("nowhere", "x").await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_delete_marker_is_a_version_and_its_deletion_says_so() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    set(&engine, Versions::KeepAll).await;
    put(&engine, "x", b"one").await.unwrap();
    let marker = delete(&engine, "x").await.unwrap().delete_marker.unwrap();
    assert_eq!(engine.head("bucket", "x", None).await.unwrap_err().kind(), ErrorKind::NotFound);
    let newest = engine.version("bucket", "x", None).await.unwrap().unwrap();
    assert_eq!((newest.version(), newest.manifest.delete_marker), (marker, true));
    let removed = engine.delete("bucket", "x", Some(marker), Precondition::None).await.unwrap();
    assert!(removed.existed && removed.was_marker && removed.delete_marker.is_none());
    assert_eq!(get(&engine, "x", None).await.unwrap(), b"one");
    assert_eq!(engine.version("bucket", "y", None).await.unwrap(), None);
}

#[tokio::test]
async fn a_copy_is_of_the_version_asked_for_and_says_what_it_is_told() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    set(&engine, Versions::KeepAll).await;
    for len in [100, 300_000] {
        let old = put(&engine, "x", &content(len, 1)).await.unwrap().version();
        put(&engine, "x", &content(len, 2)).await.unwrap();
        let at = |key: &str| ("bucket".to_owned(), key.to_owned());
        let metadata = [("a".to_owned(), "b".to_owned())].into();
        let request = CopyRequest {
            from: at("x"),
            version: Some(old),
            to: at("y"),
            precondition: Precondition::None,
            replace: Some(Described { metadata, ..Described::default() }),
            ..CopyRequest::default()
        };
        let copied = engine.copy_object(request).await.unwrap();
        assert_eq!(copied.manifest.metadata["a"], "b");
        assert_eq!(get(&engine, "y", None).await.unwrap(), content(len, 1));
    }
}
