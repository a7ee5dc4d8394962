//! How records take effect: what lives, what dies, what is reported.

use std::sync::Arc;

use super::fixtures::*;
use crate::catalog::*;
use crate::format::manifest::Record;
use crate::id::{BatchId, VersionId};

pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Catalog>) {
    null_versions_replace_each_other(&*make().await).await;
    kept_versions_stay(&*make().await).await;
    tombstones_kill_smaller_ids(&*make().await).await;
    tombstones_with_a_target_kill_it(&*make().await).await;
    dead_records_go_on_killing(&*make().await).await;
    the_highest_revision_wins(&*make().await).await;
    one_record_in_two_batches_lives_once(&*make().await).await;
    commits_are_idempotent(&*make().await).await;
    other_keys_are_not_touched(&*make().await).await;
    the_greatest_bucket_record_wins(&*make().await).await;
    data_ids_are_counted(&*make().await).await;
    manifests_come_back_whole(&*make().await).await;
}

/// What a superseded version is told as.
fn lost(key: &str, n: u64, revision: u32, in_batch: u64) -> (String, VersionId, u32, BatchId) {
    (key.into(), version(n), revision, batch(in_batch))
}

async fn live_rows(catalog: &dyn Catalog, number: u64) -> Vec<bool> {
    catalog.records_of(batch(number)).await.unwrap().iter().map(|row| row.live).collect()
}

async fn null_versions_replace_each_other(catalog: &dyn Catalog) {
    assert!(write(catalog, 2, vec![null_version("k", 10).into()]).await.is_empty());
    assert_eq!(write(catalog, 3, vec![null_version("k", 20).into()]).await, [lost("k", 10, 0, 2)]);
    assert_eq!(versions_of(catalog, "k").await, [version(20)]);
    assert_eq!(live_rows(catalog, 2).await, [false], "the killed record stays as a dead row");
    // One that arrives late is dead on arrival, and reported so that its shards are looked after.
    assert_eq!(write(catalog, 4, vec![null_version("k", 15).into()]).await, [lost("k", 15, 0, 4)]);
    assert_eq!(versions_of(catalog, "k").await, [version(20)]);
    assert_eq!(catalog.entry(BUCKET, "k", Some(version(15))).await.unwrap(), None);
    // Within one batch the order does not matter either.
    let both = vec![null_version("l", 31).into(), null_version("l", 30).into()];
    assert_eq!(write(catalog, 5, both).await, [lost("l", 30, 0, 5)]);
    assert_eq!(live_rows(catalog, 5).await, [true, false]);
}

async fn kept_versions_stay(catalog: &dyn Catalog) {
    assert!(write(catalog, 2, vec![kept_version("k", 10).into(), kept_version("k", 20).into()]).await.is_empty());
    assert!(write(catalog, 3, vec![null_version("k", 15).into()]).await.is_empty(), "null kills only null");
    assert!(write(catalog, 4, vec![delete_marker("k", 30).into()]).await.is_empty(), "a marker kills nothing");
    assert_eq!(versions_of(catalog, "k").await, [30, 20, 15, 10].map(version));
    assert_eq!(write(catalog, 5, vec![null_version("k", 25).into()]).await, [lost("k", 15, 0, 3)]);
    assert_eq!(versions_of(catalog, "k").await, [30, 25, 20, 10].map(version));
    let newest = catalog.entry(BUCKET, "k", None).await.unwrap().unwrap();
    assert!(newest.manifest.delete_marker, "the newest version may be a delete marker");
    let older = catalog.entry(BUCKET, "k", Some(version(20))).await.unwrap().unwrap();
    assert_eq!((older.manifest.version, older.at), (version(20), place(2, 1)));
}

async fn tombstones_kill_smaller_ids(catalog: &dyn Catalog) {
    write(catalog, 2, vec![kept_version("k", 10).into(), null_version("k", 11).into(), kept_version("k", 30).into()])
        .await;
    let killed = write(catalog, 3, vec![tombstone("k", 20, None, false)]).await;
    assert_eq!(killed, [lost("k", 10, 0, 2), lost("k", 11, 0, 2)]);
    assert_eq!(versions_of(catalog, "k").await, [version(30)]);
    assert_eq!(write(catalog, 4, vec![kept_version("k", 19).into()]).await, [lost("k", 19, 0, 4)]);
    assert!(write(catalog, 5, vec![kept_version("k", 21).into()]).await.is_empty());
    assert_eq!(live_rows(catalog, 3).await, [true], "a tombstone lives until it is dropped");
}

async fn tombstones_with_a_target_kill_it(catalog: &dyn Catalog) {
    write(catalog, 2, vec![kept_version("k", 10).into(), kept_version("k", 11).into(), null_version("k", 9).into()])
        .await;
    assert_eq!(write(catalog, 3, vec![tombstone("k", 20, Some(11), false)]).await, [lost("k", 11, 0, 2)]);
    assert_eq!(versions_of(catalog, "k").await, [10, 9].map(version), "older ones come to light again");
    assert_eq!(write(catalog, 4, vec![kept_version("k", 11).into()]).await, [lost("k", 11, 0, 4)]);

    // A null target takes the null versions before it along, whether they come before or after.
    assert_eq!(write(catalog, 5, vec![tombstone("k", 21, Some(12), true)]).await, [lost("k", 9, 0, 2)]);
    let late = vec![null_version("k", 8).into(), null_version("k", 12).into(), null_version("k", 13).into()];
    assert_eq!(write(catalog, 6, late).await, [lost("k", 8, 0, 6), lost("k", 12, 0, 6)]);
    assert_eq!(versions_of(catalog, "k").await, [13, 10].map(version));
}

async fn dead_records_go_on_killing(catalog: &dyn Catalog) {
    // The replacing version is itself gone when the replaced one arrives: it must not come back.
    write(catalog, 2, vec![null_version("k", 10).into()]).await;
    write(catalog, 3, vec![tombstone("k", 20, Some(10), false)]).await;
    assert_eq!(write(catalog, 4, vec![null_version("k", 9).into()]).await, [lost("k", 9, 0, 4)]);
    assert!(versions_of(catalog, "k").await.is_empty());
    catalog.drop_record(place(3, 0)).await.unwrap();
    assert!(versions_of(catalog, "k").await.is_empty(), "a dropped tombstone revives nothing");
    assert_eq!(write(catalog, 5, vec![null_version("k", 10).into()]).await, [lost("k", 10, 0, 5)]);
}

async fn the_highest_revision_wins(catalog: &dyn Catalog) {
    let first = with_segments(kept_version("k", 10), &[1, 2]);
    let second = revision(&with_segments(kept_version("k", 10), &[2, 3]), 2);
    let third = revision(&with_segments(kept_version("k", 10), &[4]), 1);
    write(catalog, 2, vec![first.into()]).await;
    assert_eq!(write(catalog, 3, vec![second.clone().into()]).await, [lost("k", 10, 0, 2)]);
    assert_eq!(write(catalog, 4, vec![third.into()]).await, [lost("k", 10, 1, 4)]);
    let entry = catalog.entry(BUCKET, "k", Some(version(10))).await.unwrap().unwrap();
    assert_eq!(entry, Entry { manifest: second, at: place(3, 0) });
    let free = catalog.unreferenced(&[1, 2, 3, 4].map(data)).await.unwrap();
    assert_eq!(free, [1, 4].map(data), "what the new revision shares with the old one stays");
    // Tombstones have revisions too.
    write(catalog, 5, vec![tombstone("k", 20, None, false)]).await;
    write(catalog, 6, vec![tombstone("k", 20, None, false).with_revision(1)]).await;
    assert_eq!((live_rows(catalog, 5).await, live_rows(catalog, 6).await), (vec![false], vec![true]));
    assert_eq!(catalog.tombstones_after(None, 10).await.unwrap().len(), 1);
}

async fn one_record_in_two_batches_lives_once(catalog: &dyn Catalog) {
    let record = with_segments(kept_version("k", 10), &[1]);
    write(catalog, 5, vec![record.clone().into()]).await;
    assert_eq!(write(catalog, 6, vec![record.clone().into()]).await, [lost("k", 10, 0, 5)]);
    assert_eq!((live_rows(catalog, 5).await, live_rows(catalog, 6).await), (vec![false], vec![true]));
    // A rebuild may find them the other way round: the greater batch has it all the same.
    assert_eq!(write(catalog, 4, vec![record.into()]).await, [lost("k", 10, 0, 4)]);
    assert_eq!((live_rows(catalog, 4).await, live_rows(catalog, 6).await), (vec![false], vec![true]));
    assert_eq!(versions_of(catalog, "k").await, [version(10)]);
    assert_eq!(catalog.counts().await.unwrap().versions, 1);
    assert!(catalog.unreferenced(&[data(1)]).await.unwrap().is_empty());
    catalog.forget_batch(batch(4)).await.unwrap();
    catalog.forget_batch(batch(5)).await.unwrap();
    assert!(catalog.unreferenced(&[data(1)]).await.unwrap().is_empty());
}

async fn commits_are_idempotent(catalog: &dyn Catalog) {
    let records = || -> Vec<Record> {
        let (dead, live) = (null_version("k", 10), with_segments(null_version("k", 11), &[1]));
        vec![bucket_record(BUCKET, 1, false), dead.into(), live.into(), tombstone("l", 12, None, false)]
    };
    write(catalog, 2, records()).await;
    let before = snapshot(catalog, &[data(1)]).await;
    assert!(write(catalog, 2, records()).await.is_empty(), "nothing newly dies");
    assert_eq!(snapshot(catalog, &[data(1)]).await, before);
    // A commit that saw fewer holders does not make the others forgotten; what it says of those it saw is newer.
    let mut again = commit(2, records());
    again.batch.holders = vec![Holder { state: HolderState::Doubtful, ..holder("b", 1) }, holder("c", 2)];
    catalog.commit(again.clone()).await.unwrap();
    let row = catalog.batch(batch(2)).await.unwrap().unwrap();
    let mut expected = again.batch.holders;
    expected.insert(0, holder("a", 0));
    assert_eq!(row.holders, expected);
    // A record once dropped is not revived by a replay.
    catalog.drop_record(place(2, 3)).await.unwrap();
    write(catalog, 2, records()).await;
    assert_eq!(live_rows(catalog, 2).await, [true, false, true, false]);
}

async fn other_keys_are_not_touched(catalog: &dyn Catalog) {
    let mut elsewhere = null_version("k", 10);
    elsewhere.bucket = "elsewhere".into();
    write(catalog, 2, vec![null_version("k", 10).into(), null_version("kk", 10).into(), elsewhere.into()]).await;
    let killed = write(catalog, 3, vec![tombstone("k", 20, None, false)]).await;
    assert_eq!(killed, [lost("k", 10, 0, 2)]);
    assert!(catalog.entry("elsewhere", "k", None).await.unwrap().is_some());
    assert!(catalog.entry(BUCKET, "kk", None).await.unwrap().is_some());
}

async fn the_greatest_bucket_record_wins(catalog: &dyn Catalog) {
    let made_by = async || Some(catalog.bucket(BUCKET).await.unwrap()?.settings.extra["made-by"].clone());
    write(catalog, 2, vec![bucket_record(BUCKET, 10, false), bucket_record("albums", 11, false)]).await;
    write(catalog, 3, vec![bucket_record(BUCKET, 30, false)]).await;
    write(catalog, 4, vec![bucket_record(BUCKET, 20, true)]).await;
    assert_eq!(made_by().await.as_deref(), Some("30"), "an end that is older than the settings does not count");
    assert_eq!((live_rows(catalog, 2).await, live_rows(catalog, 4).await), (vec![false, true], vec![false]));
    let names: Vec<_> = catalog.buckets().await.unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["albums", BUCKET], "by name");

    write(catalog, 5, vec![bucket_record(BUCKET, 30, false).with_revision(1)]).await;
    assert_eq!((live_rows(catalog, 3).await, live_rows(catalog, 5).await), (vec![false], vec![true]));
    write(catalog, 6, vec![bucket_record(BUCKET, 40, true)]).await;
    assert_eq!(made_by().await, None);
    assert_eq!(live_rows(catalog, 6).await, [true], "a bucket's end lives until it is dropped");
    write(catalog, 7, vec![bucket_record(BUCKET, 50, false)]).await;
    assert_eq!(made_by().await.as_deref(), Some("50"), "made again");
}

async fn data_ids_are_counted(catalog: &dyn Catalog) {
    let ids = [1, 2, 3].map(data);
    assert_eq!(catalog.unreferenced(&ids).await.unwrap(), ids);
    let twice = with_segments(null_version("k", 10), &[1, 2, 1]);
    let copy = with_segments(null_version("copy", 11), &[2]);
    write(catalog, 2, vec![twice.clone().into(), copy.clone().into()]).await;
    assert_eq!(catalog.unreferenced(&ids).await.unwrap(), [data(3)]);
    let keys: Vec<_> = catalog.referrers(data(2)).await.unwrap().into_iter().map(|e| e.manifest).collect();
    assert_eq!(keys, [copy, twice], "in order of keys");
    assert_eq!(catalog.referrers(data(1)).await.unwrap().len(), 1, "once for each version");
    write(catalog, 3, vec![tombstone("k", 20, None, false)]).await;
    assert_eq!(catalog.unreferenced(&ids).await.unwrap(), [1, 3].map(data));
    write(catalog, 4, vec![with_segments(null_version("k", 5), &[3]).into()]).await;
    assert_eq!(catalog.unreferenced(&ids).await.unwrap(), [1, 3].map(data), "a dead version points at nothing");
    assert!(catalog.referrers(data(3)).await.unwrap().is_empty());
}

async fn manifests_come_back_whole(catalog: &dyn Catalog) {
    let mut manifest = with_segments(kept_version("a/Ünïcode \u{10FFFF}%_\"'\\", u64::from(u32::MAX)), &[1, 2]);
    manifest.tags.insert("π".into(), String::new());
    manifest.extra.insert("parts".into(), "1,2".into());
    write(catalog, 2, vec![manifest.clone().into()]).await;
    let entry = catalog.entry(BUCKET, &manifest.key, None).await.unwrap().unwrap();
    assert_eq!(entry, Entry { manifest: manifest.clone(), at: place(2, 0) });
    let row = RecordRow {
        at: place(2, 0),
        version: manifest.version,
        revision: 0,
        bucket: manifest.bucket.clone(),
        key: manifest.key.clone(),
        live: true,
    };
    assert_eq!(catalog.records_of(batch(2)).await.unwrap(), [row]);
    let killed = catalog.commit(commit(3, vec![revision(&manifest, 1).into()])).await.unwrap();
    assert_eq!(killed.superseded, [Entry { manifest, at: place(2, 0) }], "the killed version is told whole");
}
