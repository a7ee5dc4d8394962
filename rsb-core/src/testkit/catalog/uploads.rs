//! Multipart uploads: begun, given parts, listed, completed, forgotten.

use std::sync::Arc;

use super::fixtures::*;
use crate::catalog::*;
use crate::error::ErrorKind;
use crate::format::manifest::{Body, Digest, Etag, Manifest, SegmentedBody};
use crate::format::parts::{ChecksumAlgorithm, ObjectChecksum};
use crate::id::UploadId;

pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Catalog>) {
    an_upload_needs_a_bucket_and_is_remembered(&*make().await).await;
    open_uploads_are_listed_by_key_and_id(&*make().await).await;
    a_part_replaces_the_one_of_its_number(&*make().await).await;
    parts_are_pages_of_one_upload(&*make().await).await;
    what_a_part_points_at_is_referenced(&*make().await).await;
    a_commit_completes_an_upload(&*make().await).await;
    clearing_forgets_uploads(&*make().await).await;
}

fn id(n: u64) -> UploadId {
    UploadId(data(n).0)
}

fn upload(n: u64, key: &str) -> UploadRow {
    UploadRow {
        id: id(n),
        bucket: BUCKET.into(),
        key: key.into(),
        created_ms: n,
        data_shards: 1,
        parity_shards: 0,
        attributes: Default::default(),
        metadata: [("made-by".to_owned(), n.to_string())].into(),
        tags: Default::default(),
        extra: Default::default(),
        checksum: Some(ChecksumWish { algorithm: ChecksumAlgorithm::Sha256, composite: true }),
        completed: None,
    }
}

fn part(number: u16, ids: &[u64]) -> PartRow {
    let body = match with_segments(null_version("k", 1), ids).body {
        Body::Segments(body) => body,
        _ => SegmentedBody::default(),
    };
    let value = vec![number as u8; 4];
    let checksum = Some(ObjectChecksum { algorithm: ChecksumAlgorithm::Crc32, value, composite: false });
    PartRow { number, size: 7 * ids.len() as u64, etag: Etag::Md5([number as u8; 16]), modified_ms: 5, body, checksum }
}

fn line(n: u64) -> LedgerEntry {
    LedgerEntry {
        item: LedgerItem::Shard { data_id: data(n), index: 0 },
        backend: "nas".into(),
        bucket: BUCKET.into(),
        key: "k".into(),
        reason: LedgerReason::NotWritten,
        noted_ms: 5,
    }
}

fn completed(n: u64, manifest: &Manifest) -> Completed {
    Completed { list: Digest([n as u8; 32]), manifest: Manifest { body: Body::None, size: 0, ..manifest.clone() } }
}

async fn begin(catalog: &dyn Catalog, n: u64, key: &str) -> UploadRow {
    let row = upload(n, key);
    catalog.begin_upload(row.clone()).await.unwrap();
    row
}

async fn an_upload_needs_a_bucket_and_is_remembered(catalog: &dyn Catalog) {
    let error = catalog.begin_upload(upload(5, "k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.message().contains(BUCKET), "{error}");
    assert_eq!(catalog.upload(id(5)).await.unwrap(), None);
    make_bucket(catalog).await;
    let row = begin(catalog, 5, "k").await;
    assert_eq!(catalog.upload(id(5)).await.unwrap(), Some(row));
    assert!(catalog.entry(BUCKET, "k", None).await.unwrap().is_none(), "an upload is not an object");
    assert!(catalog.forget_upload(id(5)).await.unwrap().is_empty());
    assert_eq!(catalog.upload(id(5)).await.unwrap(), None);
    assert!(catalog.forget_upload(id(5)).await.unwrap().is_empty(), "twice is as once");
}

async fn open_uploads_are_listed_by_key_and_id(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    write(catalog, 2, vec![bucket_record("other", 2, false)]).await;
    let elsewhere = UploadRow { bucket: "other".into(), ..upload(1, "a") };
    catalog.begin_upload(elsewhere.clone()).await.unwrap();
    let mut rows = Vec::new();
    for (n, key) in [(9, "a"), (4, "b"), (3, "ü"), (6, "b"), (8, "A"), (7, "b/c"), (2, "b")] {
        rows.push(begin(catalog, n, key).await);
    }
    rows.sort_by_key(|row| (row.key.clone(), row.id));
    assert_eq!(catalog.open_uploads(BUCKET, b"", None, usize::MAX).await.unwrap(), rows);
    for limit in 1..=rows.len() {
        let (mut from, mut after, mut paged) = (Vec::new(), None, Vec::new());
        loop {
            let page = catalog.open_uploads(BUCKET, &from, after, limit).await.unwrap();
            let Some(last) = page.last() else { break };
            (from, after) = (last.key.clone().into_bytes(), Some(last.id));
            assert!(page.len() <= limit);
            paged.extend(page);
        }
        assert_eq!(paged, rows, "pages of {limit}");
    }
    let behind = catalog.open_uploads(BUCKET, b"b\xff", None, usize::MAX).await.unwrap();
    assert_eq!(behind.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["ü"], "a place need not be UTF-8");
    let mut all = rows;
    all.push(elsewhere);
    all.sort_by_key(|row| row.id);
    assert_eq!(catalog.uploads_after(None, usize::MAX).await.unwrap(), all);
    assert_eq!(catalog.uploads_after(Some(all[1].id), 3).await.unwrap(), all[2..5]);
}

async fn a_part_replaces_the_one_of_its_number(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let error = catalog.put_part(id(5), part(1, &[1]), vec![line(1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(catalog.counts().await.unwrap().ledger, 0, "a refused part leaves nothing");
    begin(catalog, 5, "k").await;
    assert_eq!(catalog.put_part(id(5), part(1, &[1, 2]), vec![line(1)]).await.unwrap(), None);
    assert_eq!(catalog.put_part(id(5), part(1, &[3]), Vec::new()).await.unwrap(), Some(part(1, &[1, 2])));
    assert_eq!(catalog.parts(id(5), 0, 10).await.unwrap(), [part(1, &[3])]);
    assert_eq!(catalog.counts().await.unwrap().ledger, 1);
    assert_eq!(catalog.unreferenced(&[data(1), data(2), data(3)]).await.unwrap(), [data(1), data(2)]);
}

async fn parts_are_pages_of_one_upload(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    for n in [4, 5, 6] {
        begin(catalog, n, "k").await;
        for number in [10_000, 2, 300, 1] {
            catalog.put_part(id(n), part(number, &[n * 100_000 + u64::from(number)]), Vec::new()).await.unwrap();
        }
    }
    let numbers = async |after, limit| -> Vec<u16> {
        catalog.parts(id(5), after, limit).await.unwrap().iter().map(|part| part.number).collect()
    };
    assert_eq!(numbers(0, 10).await, [1, 2, 300, 10_000]);
    assert_eq!(numbers(0, 3).await, [1, 2, 300]);
    assert_eq!(numbers(2, 1).await, [300]);
    assert!(numbers(10_000, 1).await.is_empty());
    assert_eq!(catalog.forget_upload(id(5)).await.unwrap().len(), 4);
    assert!(numbers(0, 10).await.is_empty());
    assert_eq!(catalog.parts(id(6), 0, 10).await.unwrap().len(), 4);
}

async fn what_a_part_points_at_is_referenced(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    for n in [4, 5] {
        begin(catalog, n, "k").await;
        catalog.put_part(id(n), part(1, &[1]), Vec::new()).await.unwrap();
    }
    assert!(catalog.unreferenced(&[data(1)]).await.unwrap().is_empty());
    assert_eq!(catalog.forget_upload(id(4)).await.unwrap(), [part(1, &[1])]);
    assert!(catalog.unreferenced(&[data(1)]).await.unwrap().is_empty(), "another upload has it too");
    write(catalog, 7, vec![with_segments(null_version("l", 7), &[1]).into()]).await;
    catalog.forget_upload(id(5)).await.unwrap();
    assert!(catalog.unreferenced(&[data(1)]).await.unwrap().is_empty(), "an object has it too");
    assert!(catalog.referrers(data(1)).await.unwrap().len() == 1, "referrers are versions");
}

async fn a_commit_completes_an_upload(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    let row = begin(catalog, 5, "k").await;
    catalog.put_part(id(5), part(1, &[1]), Vec::new()).await.unwrap();
    catalog.put_part(id(5), part(2, &[2]), Vec::new()).await.unwrap();
    let manifest = with_segments(null_version("k", 9), &[1]);
    let mut commit = commit(9, vec![manifest.clone().into()]);
    let end = completed(1, &manifest);
    commit.completes = vec![(id(5), end.clone()), (id(6), end.clone())];
    catalog.commit(commit).await.unwrap();
    assert_eq!(catalog.upload(id(5)).await.unwrap(), Some(UploadRow { completed: Some(end), ..row }));
    assert_eq!(catalog.upload(id(6)).await.unwrap(), None, "one that is not known is passed over");
    assert!(catalog.parts(id(5), 0, 10).await.unwrap().is_empty());
    assert!(catalog.open_uploads(BUCKET, b"", None, 10).await.unwrap().is_empty());
    assert_eq!(catalog.uploads_after(None, 10).await.unwrap().len(), 1);
    assert_eq!(catalog.unreferenced(&[data(1), data(2)]).await.unwrap(), [data(2)], "a part that was left out is free");
    let error = catalog.put_part(id(5), part(3, &[3]), Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "its time is over");
    assert!(catalog.forget_upload(id(5)).await.unwrap().is_empty());
    assert_eq!(catalog.upload(id(5)).await.unwrap(), None);
}

async fn clearing_forgets_uploads(catalog: &dyn Catalog) {
    make_bucket(catalog).await;
    begin(catalog, 5, "k").await;
    catalog.put_part(id(5), part(1, &[1]), Vec::new()).await.unwrap();
    catalog.clear().await.unwrap();
    assert_eq!(catalog.upload(id(5)).await.unwrap(), None);
    assert!(catalog.parts(id(5), 0, 10).await.unwrap().is_empty());
    assert_eq!(catalog.unreferenced(&[data(1)]).await.unwrap(), [data(1)]);
}
