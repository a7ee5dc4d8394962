//! Wishes, intents and version ids.

use std::sync::Arc;

use super::fixtures::*;
use crate::catalog::*;
use crate::error::ErrorKind::{AlreadyExists, Conflict, NotFound, PreconditionFailed};
use crate::format::manifest::Record;

pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Catalog>) {
    buckets_are_made_once(&*make().await).await;
    only_empty_buckets_are_deleted(&*make().await).await;
    new_settings_are_one_at_a_time_and_stop_no_writes(&*make().await).await;
    preconditions_are_checked(&*make().await).await;
    conditions_conflict_with_open_intents(&*make().await).await;
    wishes_of_one_call_see_each_other(&*make().await).await;
    ids_rise_within_a_key(&*make().await).await;
    ids_are_never_given_again(&*make().await).await;
    intents_are_remembered_and_closed(&*make().await).await;
    low_water_is_the_oldest_open_batch(&*make().await).await;
}

async fn buckets_are_made_once(catalog: &dyn Catalog) {
    refused(catalog, wish("k", 1), NotFound, "a write to a bucket that does not exist").await;
    refused(catalog, bucket_wish(BucketRule::Empty, 1), NotFound, "deleting a bucket that does not exist").await;
    assert!(catalog.open_intents().await.unwrap().is_empty(), "a refused wish leaves an intent");
    assert_eq!(catalog.greatest_version().await.unwrap(), None, "a refused wish leaves an id");

    let any = Reserve { bucket_rule: BucketRule::Any, ..wish("k", 2) };
    assert!(reserve(catalog, any).await.unwrap().bucket.is_none(), "Any does not ask for the bucket");
    let id = granted(catalog, bucket_wish(BucketRule::Absent, 3)).await;
    assert_eq!(id, version(3));
    assert_eq!(catalog.bucket(BUCKET).await.unwrap(), None, "a reserved bucket is not there yet");
    refused(catalog, bucket_wish(BucketRule::Absent, 4), Conflict, "two makers of one bucket").await;
    refused(catalog, wish("k", 4), Conflict, "a write to a bucket being made").await;

    write(catalog, 1, vec![bucket_record(BUCKET, 3, false)]).await;
    refused(catalog, bucket_wish(BucketRule::Absent, 5), AlreadyExists, "making a bucket that exists").await;
    let reserved = reserve(catalog, wish("k", 5)).await.unwrap();
    assert_eq!(reserved.bucket.map(|bucket| bucket.name).as_deref(), Some(BUCKET));
    let other = Reserve { bucket: "other".into(), ..bucket_wish(BucketRule::Absent, 6) };
    granted(catalog, other).await;
}

async fn only_empty_buckets_are_deleted(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let intent = granted(catalog, wish("k", 2)).await;
    refused(catalog, bucket_wish(BucketRule::Empty, 3), Conflict, "deleting under an open intent").await;
    catalog.release(&[intent]).await.unwrap();
    write(catalog, 2, vec![null_version("k", 3).into()]).await;
    refused(catalog, bucket_wish(BucketRule::Empty, 4), Conflict, "deleting with an object").await;
    write(catalog, 3, vec![tombstone("k", 4, None, false), delete_marker("l", 4).into()]).await;
    refused(catalog, bucket_wish(BucketRule::Empty, 5), Conflict, "deleting with a delete marker").await;
    write(catalog, 4, vec![tombstone("l", 5, Some(4), false)]).await;

    let id = granted(catalog, bucket_wish(BucketRule::Empty, 6)).await;
    refused(catalog, wish("k", 7), Conflict, "a write to a bucket being deleted").await;
    catalog.release(&[id]).await.unwrap();
    granted(catalog, wish("k", 8)).await;
}

async fn new_settings_are_one_at_a_time_and_stop_no_writes(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    granted(catalog, wish("k", 2)).await;
    // New settings do not ask for emptiness.
    let id = granted(catalog, bucket_wish(BucketRule::Exists, 3)).await;
    for rule in [BucketRule::Exists, BucketRule::Absent, BucketRule::Empty, BucketRule::Any] {
        refused(catalog, bucket_wish(rule, 4), Conflict, "a wish about a bucket being changed").await;
    }
    let any = Reserve { bucket_rule: BucketRule::Any, ..wish("k", 4) };
    let writes = [granted(catalog, any).await, granted(catalog, if_absent("l", 4)).await];
    catalog.release(&writes).await.unwrap();
    assert_eq!(id, version(3));
    write(catalog, 2, vec![bucket_record(BUCKET, 3, false)]).await;
    granted(catalog, wish("k", 5)).await;
}

async fn preconditions_are_checked(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let (there, marked) = (kept_version("there", 10), delete_marker("marked", 11));
    write(catalog, 2, vec![kept_version("there", 9).into(), there.clone().into()]).await;
    write(catalog, 3, vec![kept_version("marked", 10).into(), marked.into()]).await;
    let tags = |tag: &str| Precondition::EtagIn(vec!["none".into(), tag.into()]);
    let cases = [
        ("there", Precondition::Absent, false),
        ("there", Precondition::Present, true),
        ("there", tags(&there.etag.to_string()), true),
        ("there", tags(&kept_version("there", 9).etag.to_string()), false),
        ("there", Precondition::VersionIs(version(10)), true),
        ("there", Precondition::VersionIs(version(9)), false),
        ("marked", Precondition::Absent, true),
        ("marked", Precondition::Present, false),
        ("marked", tags(&there.etag.to_string()), false),
        ("marked", Precondition::VersionIs(version(11)), true),
        ("missing", Precondition::Absent, true),
        ("missing", Precondition::Present, false),
        ("missing", tags(""), false),
        ("missing", Precondition::VersionIs(version(10)), false),
    ];
    for (key, precondition, holds) in cases {
        let why = format!("{key} with {precondition:?}");
        let wish = Reserve { precondition, ..wish(key, 20) };
        if holds {
            let id = granted(catalog, wish).await;
            catalog.release(&[id]).await.unwrap();
        } else {
            refused(catalog, wish, PreconditionFailed, &why).await;
        }
    }
}

async fn conditions_conflict_with_open_intents(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let plain = granted(catalog, wish("k", 2)).await;
    refused(catalog, if_absent("k", 3), Conflict, "a condition beside a plain write").await;
    granted(catalog, if_absent("other", 3)).await;
    catalog.release(&[plain]).await.unwrap();

    let conditional = granted(catalog, if_absent("k", 4)).await;
    refused(catalog, if_absent("k", 5), Conflict, "a second condition").await;
    granted(catalog, wish("k", 6)).await;
    refused(catalog, if_absent("k", 7), Conflict, "a condition beside two writes").await;
    catalog.release(&[conditional]).await.unwrap();
    refused(catalog, if_absent("k", 8), Conflict, "a condition beside the other write").await;
    write(catalog, 2, vec![null_version("k", 6).into()]).await;
    refused(catalog, if_absent("k", 9), PreconditionFailed, "create-only of what was just made").await;
}

async fn wishes_of_one_call_see_each_other(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let wishes = vec![if_absent("k", 5), if_absent("k", 6), wish("k", 5), wish("k", 3), wish("l", 3)];
    let results = catalog.reserve(wishes).await.unwrap();
    let kinds: Vec<_> = results.iter().map(|r| r.as_ref().map(|_| ()).map_err(|e| e.kind())).collect();
    assert_eq!(kinds, [Ok(()), Err(Conflict), Ok(()), Ok(()), Ok(())], "one refused wish does not touch the others");
    let ids: Vec<_> = results.into_iter().filter_map(|result| Some(result.ok()?.version)).collect();
    assert!(ids[0] < ids[1] && ids[1] < ids[2], "ids of one key rise in order of the wishes: {ids:?}");
    assert_eq!(ids[3], version(3), "another key has its own order");
}

async fn ids_rise_within_a_key(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    write(catalog, 2, vec![kept_version("k", 10).into()]).await;
    assert_eq!(granted(catalog, wish("k", 11)).await, version(11), "a greater id wins");
    let bumped = granted(catalog, wish("k", 5)).await;
    assert!(bumped > version(11), "greater than an open intent's: {bumped}");
    write(catalog, 3, vec![tombstone("gone", 20, None, false)]).await;
    let bumped = granted(catalog, wish("gone", 15)).await;
    assert!(bumped > version(20), "greater than a tombstone's: {bumped}");
    // A record of a rebuild may be a dead one: it counts too.
    write(catalog, 4, vec![tombstone("dead", 30, None, false), null_version("dead", 29).into()]).await;
    assert!(granted(catalog, wish("dead", 29)).await > version(30));
    let bucket = granted(catalog, bucket_wish(BucketRule::Exists, 0)).await;
    assert!(bucket > version(1), "greater than the bucket's own record: {bucket}");
}

async fn ids_are_never_given_again(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let released = granted(catalog, wish("k", 50)).await;
    catalog.release(&[released]).await.unwrap();
    let next = granted(catalog, wish("k", 40)).await;
    assert!(next > released, "greater than a released id: {next}");
    catalog.release(&[next]).await.unwrap();

    write(catalog, 2, vec![null_version("f", 60).into()]).await;
    write(catalog, 3, vec![tombstone("f", 61, None, false)]).await;
    catalog.drop_record(place(3, 0)).await.unwrap();
    catalog.forget_batch(batch(2)).await.unwrap();
    catalog.forget_batch(batch(3)).await.unwrap();
    let after = granted(catalog, wish("f", 55)).await;
    assert!(after > version(61), "greater than a forgotten id: {after}");

    // Two keys never get one id, whatever they propose.
    let mut ids = Vec::new();
    for key in ["a", "b", "c", "d"] {
        for proposed in [1, 70, 70] {
            ids.push(granted(catalog, wish(key, proposed)).await);
        }
    }
    let given = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), given, "an id was given twice");
    assert_eq!(catalog.greatest_version().await.unwrap(), ids.last().copied());
}

async fn intents_are_remembered_and_closed(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    granted(catalog, if_absent("k", 7)).await;
    let conditional = Intent {
        version: version(7),
        batch: batch(1007),
        bucket: BUCKET.into(),
        key: "k".into(),
        conditional: true,
        created_ms: 7,
    };
    assert_eq!(catalog.open_intents().await.unwrap(), [conditional]);
    let other = Reserve { bucket: "elsewhere".into(), bucket_rule: BucketRule::Any, ..wish("k", 8) };
    granted(catalog, other).await;
    catalog.release(&[version(99)]).await.unwrap();
    assert_eq!(catalog.open_intents().await.unwrap().len(), 2, "an unknown intent is passed over");

    // The record's batch need not be the reserved one; its id closes the intent, of its own key only.
    write(catalog, 9, vec![null_version("k", 7).into(), null_version("l", 8).into()]).await;
    let open: Vec<_> = catalog.open_intents().await.unwrap().into_iter().map(|intent| intent.version).collect();
    assert_eq!(open, [version(8)]);

    // A new revision is reserved under an id that no record will have: its batch closes it.
    let revised = Reserve { bucket_rule: BucketRule::Any, ..wish("k", 20) };
    granted(catalog, revised).await;
    granted(catalog, Reserve { batch: batch(1020), ..wish("m", 21) }).await;
    write(catalog, 1020, vec![Record::Version(revision(&null_version("k", 7), 1))]).await;
    let open: Vec<_> = catalog.open_intents().await.unwrap().into_iter().map(|intent| intent.version).collect();
    assert_eq!(open, [version(8), version(21)], "another key's intent in the same batch stays open");
    assert!(granted(catalog, wish("k", 15)).await > version(20), "an id given for nothing is not given again");
}

async fn low_water_is_the_oldest_open_batch(catalog: &dyn Catalog) {
    assert_eq!(catalog.low_water().await.unwrap(), None);
    make_bucket(catalog).await;
    assert_eq!(catalog.low_water().await.unwrap(), Some(batch(1)));
    write(catalog, 2000, vec![null_version("k", 2).into()]).await;
    write(catalog, 1500, vec![null_version("l", 2).into()]).await;
    assert_eq!(catalog.low_water().await.unwrap(), Some(batch(2000)), "the greatest committed one");
    let second = granted(catalog, wish("a", 6)).await;
    let first = granted(catalog, wish("b", 5)).await;
    assert_eq!(catalog.low_water().await.unwrap(), Some(batch(1005)), "the smallest open one");
    catalog.release(&[first]).await.unwrap();
    assert_eq!(catalog.low_water().await.unwrap(), Some(batch(1006)));
    catalog.release(&[second]).await.unwrap();
    assert_eq!(catalog.low_water().await.unwrap(), Some(batch(2000)));
}
