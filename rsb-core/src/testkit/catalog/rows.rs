//! Batches and the rows in them: paging, holders, forgetting, dropping.

use std::sync::Arc;

use super::fixtures::*;
use crate::catalog::*;
use crate::error::ErrorKind::{Conflict, NotFound};

pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Catalog>) {
    batches_are_paged(&*make().await).await;
    holders_are_replaced(&*make().await).await;
    only_dead_batches_are_forgotten(&*make().await).await;
    tombstones_tell_what_is_left(&*make().await).await;
    ends_of_buckets_tell_what_is_left(&*make().await).await;
    only_ends_are_dropped(&*make().await).await;
    versions_are_paged(&*make().await).await;
    rows_are_counted(&*make().await).await;
}

async fn batches_are_paged(catalog: &dyn Catalog) {
    let numbers = [7, 3, 5, 9];
    for number in numbers {
        write(catalog, number, vec![kept_version("k", number).into()]).await;
    }
    write(catalog, 4, vec![]).await;
    write(catalog, 10, vec![tombstone("k", 6, None, false)]).await;
    let ids = |rows: Vec<BatchRow>| rows.into_iter().map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(ids(catalog.batches_after(None, 3).await.unwrap()), [3, 4, 5].map(batch));
    assert_eq!(ids(catalog.batches_after(Some(batch(5)), 10).await.unwrap()), [7, 9, 10].map(batch));
    assert_eq!(ids(catalog.dead_batches(None, 2).await.unwrap()), [3, 4].map(batch));
    assert_eq!(ids(catalog.dead_batches(Some(batch(3)), 10).await.unwrap()), [4, 5].map(batch));
    assert_eq!(catalog.batch(batch(3)).await.unwrap(), Some(commit(3, vec![kept_version("k", 3).into()]).batch));
    assert_eq!(catalog.batch(batch(8)).await.unwrap(), None);
    assert!(catalog.records_of(batch(8)).await.unwrap().is_empty());
}

async fn holders_are_replaced(catalog: &dyn Catalog) {
    write(catalog, 2, vec![null_version("k", 2).into()]).await;
    let holders = vec![Holder { state: HolderState::Doubtful, ..holder("z", 1) }];
    catalog.set_holders(batch(2), holders.clone()).await.unwrap();
    assert_eq!(catalog.batch(batch(2)).await.unwrap().unwrap().holders, holders);
    let error = catalog.set_holders(batch(3), holders).await.unwrap_err();
    assert_eq!(error.kind(), NotFound);
}

async fn only_dead_batches_are_forgotten(catalog: &dyn Catalog) {
    write(catalog, 2, vec![null_version("k", 2).into(), null_version("l", 2).into()]).await;
    write(catalog, 3, vec![null_version("k", 3).into()]).await;
    let before = snapshot(catalog, &[]).await;
    assert_eq!(catalog.forget_batch(batch(2)).await.unwrap_err().kind(), Conflict);
    assert_eq!(snapshot(catalog, &[]).await, before, "a refused call changes nothing");
    write(catalog, 4, vec![null_version("l", 4).into()]).await;
    catalog.forget_batch(batch(2)).await.unwrap();
    assert_eq!(catalog.batch(batch(2)).await.unwrap(), None);
    assert!(catalog.records_of(batch(2)).await.unwrap().is_empty());
    assert_eq!(catalog.counts().await.unwrap().batches, 2);
    assert_eq!(versions_of(catalog, "k").await, [version(3)]);
    catalog.forget_batch(batch(2)).await.unwrap();
}

async fn tombstones_tell_what_is_left(catalog: &dyn Catalog) {
    write(catalog, 2, vec![null_version("k", 2).into(), kept_version("l", 2).into(), null_version("m", 2).into()])
        .await;
    // The one for `m` has killed nothing but what lies beside it and a version that is greater than it.
    let beside = vec![
        tombstone("k", 20, None, false),
        tombstone("l", 18, Some(2), false),
        tombstone("m", 19, Some(3), false),
        null_version("m", 3).into(),
    ];
    write(catalog, 3, beside).await;
    let told = async |after: Option<u64>, limit: usize| {
        let rows = catalog.tombstones_after(after.map(version), limit).await.unwrap();
        rows.into_iter().map(|(row, left)| (row.record.version(), row.at, left)).collect::<Vec<_>>()
    };
    let (k, l, m) =
        ((version(20), place(3, 0), true), (version(18), place(3, 1), true), (version(19), place(3, 2), false));
    assert_eq!(told(None, 10).await, [l, m, k], "in order of id");
    assert_eq!(told(Some(18), 1).await, [m]);
    assert_eq!(told(Some(20), 10).await, []);
    let rows = catalog.tombstones_after(None, 1).await.unwrap();
    assert_eq!(rows[0].0.record, tombstone("l", 18, Some(2), false), "told whole");

    write(catalog, 4, vec![null_version("m", 30).into()]).await;
    catalog.forget_batch(batch(2)).await.unwrap();
    let gone = told(None, 10).await.into_iter().map(|(_, _, left)| left).collect::<Vec<_>>();
    assert_eq!(gone, [false, false, false], "every record they kill is gone");
    // A null target stands for the null versions before it, too.
    write(catalog, 5, vec![null_version("n", 5).into(), kept_version("n", 4).into()]).await;
    write(catalog, 6, vec![tombstone("n", 40, Some(6), true), tombstone("n", 41, Some(6), false)]).await;
    let left: Vec<_> = told(Some(20), 10).await.into_iter().map(|(_, _, left)| left).collect();
    assert_eq!(left, [true, false]);
    catalog.drop_record(place(3, 1)).await.unwrap();
    assert_eq!(told(None, 10).await.len(), 4, "a dropped tombstone is not told");
}

async fn ends_of_buckets_tell_what_is_left(catalog: &dyn Catalog) {
    let mut object = null_version("k", 5);
    object.bucket = "b".into();
    write(catalog, 2, vec![bucket_record("a", 2, false), bucket_record("b", 3, false), bucket_record("c", 4, false)])
        .await;
    write(catalog, 3, vec![bucket_record("a", 20, true), object.into()]).await;
    write(catalog, 4, vec![bucket_record("b", 10, true)]).await;
    let told = async || {
        let rows = catalog.dead_buckets().await.unwrap();
        rows.into_iter().map(|(row, left)| (row.record.bucket().to_owned(), row.at, left)).collect::<Vec<_>>()
    };
    let (a, b) = (("a".to_owned(), place(3, 0), true), ("b".to_owned(), place(4, 0), true));
    assert_eq!(told().await, [b.clone(), a.clone()], "in order of id");
    write(catalog, 5, vec![bucket_record("c", 30, false)]).await;
    catalog.forget_batch(batch(2)).await.unwrap();
    assert_eq!(told().await, [b, (a.0, a.1, false)], "what was in the bucket counts, not only its records");
    catalog.drop_record(place(3, 0)).await.unwrap();
    assert_eq!(told().await.len(), 1);
    assert_eq!(catalog.bucket("a").await.unwrap(), None, "dropping the end does not bring the bucket back");
}

async fn only_ends_are_dropped(catalog: &dyn Catalog) {
    write(catalog, 2, vec![bucket_record(BUCKET, 2, false), null_version("k", 3).into()]).await;
    write(catalog, 3, vec![tombstone("l", 4, None, false)]).await;
    for at in [place(2, 0), place(2, 1)] {
        assert_eq!(catalog.drop_record(at).await.unwrap_err().kind(), Conflict, "it says that something is there");
    }
    assert_eq!(catalog.drop_record(place(3, 7)).await.unwrap_err().kind(), NotFound);
    assert_eq!(catalog.drop_record(place(9, 0)).await.unwrap_err().kind(), NotFound);
    assert!(catalog.bucket(BUCKET).await.unwrap().is_some());
    assert_eq!(catalog.forget_batch(batch(3)).await.unwrap_err().kind(), Conflict);
    catalog.drop_record(place(3, 0)).await.unwrap();
    catalog.drop_record(place(3, 0)).await.unwrap();
    assert_eq!(catalog.counts().await.unwrap().tombstones, 0);
    catalog.forget_batch(batch(3)).await.unwrap();
}

async fn versions_are_paged(catalog: &dyn Catalog) {
    let mut other = kept_version("z", 1);
    other.bucket = "aardvark".into();
    let mut records = vec![other.into(), delete_marker("c", 12).into()];
    records.extend([("a", 3), ("a", 1), ("a", 2), ("b", 9), ("ab", 4)].map(|(key, n)| kept_version(key, n).into()));
    write(catalog, 2, records).await;
    write(catalog, 3, vec![kept_version("dead", 1).into(), tombstone("dead", 2, None, false)]).await;
    let all = catalog.versions_after(None, 100).await.unwrap();
    let names: Vec<_> =
        all.iter().map(|e| (e.manifest.bucket.as_str(), e.manifest.key.as_str(), e.manifest.version)).collect();
    let expected = [("a", 1), ("a", 2), ("a", 3), ("ab", 4), ("b", 9), ("c", 12)].map(|(k, n)| (BUCKET, k, version(n)));
    assert_eq!(names[0], ("aardvark", "z", version(1)));
    assert_eq!(names[1..], expected, "in order of bucket, key, version");
    for limit in 1..=all.len() + 1 {
        let (mut after, mut paged) = (None, Vec::new());
        loop {
            let page = catalog.versions_after(after.clone(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
            paged.extend(page);
        }
        assert_eq!(paged, all, "pages of {limit}");
    }
    let between = Some((BUCKET.to_owned(), "a\u{1}".to_owned(), version(99)));
    assert_eq!(catalog.versions_after(between, 1).await.unwrap()[0].manifest.key, "ab", "a place where nothing is");
}

async fn rows_are_counted(catalog: &dyn Catalog) {
    assert_eq!(catalog.counts().await.unwrap(), Counts::default());
    assert_eq!(catalog.greatest_version().await.unwrap(), None);
    make_bucket(catalog).await;
    write(catalog, 2, vec![kept_version("k", 5).into(), kept_version("k", 6).into(), delete_marker("k", 7).into()])
        .await;
    write(catalog, 3, vec![tombstone("k", 4, None, false), tombstone("k", 90, Some(5), false)]).await;
    let counts = catalog.counts().await.unwrap();
    assert_eq!(counts, Counts { versions: 2, batches: 3, tombstones: 2, ledger: 0 });
    assert_eq!(catalog.greatest_version().await.unwrap(), Some(version(90)), "of tombstones too");
}
