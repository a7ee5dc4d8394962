//! Small records, batches and a snapshot of everything that can be seen of a catalog.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::catalog::*;
use crate::error::{ErrorKind, Result};
use crate::format::batch::Extent;
use crate::format::manifest::*;
use crate::id::{BatchId, DataId, VersionId};
use crate::scheme::Scheme;

/// The bucket of most examples.
pub(super) const BUCKET: &str = "photos";

fn uuid(n: u64) -> Uuid {
    Uuid::from_u64_pair((n << 16) | 0x7000, 0x8000_0000_0000_0000 | n)
}

pub(super) fn version(n: u64) -> VersionId {
    VersionId(uuid(n))
}

pub(super) fn batch(n: u64) -> BatchId {
    BatchId(uuid(n))
}

pub(super) fn data(n: u64) -> DataId {
    DataId(uuid(n))
}

/// A version that replaces the key's earlier ones, as in a keep-last bucket.
pub(super) fn null_version(key: &str, n: u64) -> Manifest {
    Manifest {
        bucket: BUCKET.into(),
        key: key.into(),
        version: version(n),
        revision: 0,
        modified_ms: n,
        size: 0,
        etag: Etag::Md5([n as u8; 16]),
        attributes: BTreeMap::from([("content-type".into(), "text/plain".into())]),
        metadata: BTreeMap::new(),
        tags: BTreeMap::new(),
        delete_marker: false,
        null_version: true,
        body: Body::None,
        run_digests: None,
        extra: BTreeMap::new(),
        parts: None,
        checksum: None,
    }
}

/// A version that is kept beside the key's earlier ones, as in a keep-all bucket.
pub(super) fn kept_version(key: &str, n: u64) -> Manifest {
    Manifest { null_version: false, ..null_version(key, n) }
}

pub(super) fn delete_marker(key: &str, n: u64) -> Manifest {
    Manifest { delete_marker: true, ..kept_version(key, n) }
}

/// A version whose bytes are in these segments.
pub(super) fn with_segments(mut manifest: Manifest, ids: &[u64]) -> Manifest {
    let scheme = Scheme { data_shards: 1, parity_shards: 0, codec: 1, block_size: 512 };
    let mut body = SegmentedBody::default();
    for id in ids {
        body.push(data(*id), 7, SegmentScheme { scheme, symbol_len: 1 }, &["disk"]);
    }
    manifest.size = 7 * ids.len() as u64;
    manifest.body = Body::Segments(body);
    manifest
}

pub(super) fn revision(manifest: &Manifest, revision: u32) -> Manifest {
    Manifest { revision, ..manifest.clone() }
}

pub(super) fn tombstone(key: &str, n: u64, target: Option<u64>, null_version: bool) -> Record {
    let target = target.map(version);
    Record::Tombstone(Tombstone {
        bucket: BUCKET.into(),
        key: key.into(),
        version: version(n),
        revision: 0,
        target,
        null_version,
    })
}

pub(super) fn bucket_record(name: &str, n: u64, deleted: bool) -> Record {
    let settings = BucketSettings { extra: BTreeMap::from([("made-by".into(), n.to_string())]), ..Default::default() };
    let name = name.into();
    Record::Bucket(BucketRecord { name, version: version(n), revision: 0, created_ms: 1, deleted, settings })
}

impl From<Manifest> for Record {
    fn from(manifest: Manifest) -> Self {
        Self::Version(manifest)
    }
}

/// Where the record with this position lies in a batch.
pub(super) fn place(batch_number: u64, position: usize) -> Located {
    let offset = 64 + 300 * position as u32;
    Located { batch: batch(batch_number), extent: Extent { offset, len: 300, body_len: 200 } }
}

pub(super) fn holder(backend: &str, copy: u16) -> Holder {
    Holder { backend: backend.into(), copy, state: HolderState::Held }
}

/// A batch of these records.
pub(super) fn commit(number: u64, records: Vec<Record>) -> Commit {
    let records: Vec<_> = records
        .into_iter()
        .enumerate()
        .map(|(position, record)| LocatedRecord { record, at: place(number, position) })
        .collect();
    let len_bytes = 64 + 300 * records.len() as u64;
    let holders = vec![holder("a", 0), holder("b", 1)];
    let batch = BatchRow { id: batch(number), len_bytes, copies: 2, holders };
    Commit { batch, records, ledger: Vec::new(), completes: Vec::new() }
}

/// Commits a batch of these records; what it superseded, as (key, version, revision, batch).
pub(super) async fn write(
    catalog: &dyn Catalog,
    number: u64,
    records: Vec<Record>,
) -> Vec<(String, VersionId, u32, BatchId)> {
    let committed = catalog.commit(commit(number, records)).await.unwrap_or_else(|e| panic!("commit: {e:?}"));
    let mut superseded: Vec<_> = committed
        .superseded
        .into_iter()
        .map(|entry| (entry.manifest.key, entry.manifest.version, entry.manifest.revision, entry.at.batch))
        .collect();
    superseded.sort();
    superseded
}

/// Makes the bucket of most examples, in batch 1 with version 1.
pub(super) async fn make_bucket(catalog: &dyn Catalog) {
    write(catalog, 1, vec![bucket_record(BUCKET, 1, false)]).await;
}

/// A wish for a key of the bucket, in batch 1000 + `proposed`.
pub(super) fn wish(key: &str, proposed: u64) -> Reserve {
    Reserve {
        bucket: BUCKET.into(),
        key: key.into(),
        proposed: version(proposed),
        batch: batch(1000 + proposed),
        precondition: Precondition::None,
        bucket_rule: BucketRule::Exists,
        now_ms: proposed,
    }
}

pub(super) fn if_absent(key: &str, proposed: u64) -> Reserve {
    Reserve { precondition: Precondition::Absent, ..wish(key, proposed) }
}

/// A wish about the bucket itself.
pub(super) fn bucket_wish(rule: BucketRule, proposed: u64) -> Reserve {
    Reserve { bucket_rule: rule, ..wish("", proposed) }
}

/// Asks for one wish.
pub(super) async fn reserve(catalog: &dyn Catalog, wish: Reserve) -> Result<Reserved> {
    let mut results = catalog.reserve(vec![wish]).await.unwrap_or_else(|e| panic!("reserve: {e:?}"));
    assert_eq!(results.len(), 1, "one result for each wish");
    results.remove(0)
}

/// The version granted.
pub(super) async fn granted(catalog: &dyn Catalog, wish: Reserve) -> VersionId {
    reserve(catalog, wish).await.unwrap_or_else(|e| panic!("a wish that should be granted: {e:?}")).version
}

/// Asserts that a wish is refused with this kind, in a sentence that names what it is about.
pub(super) async fn refused(catalog: &dyn Catalog, wish: Reserve, kind: ErrorKind, why: &str) {
    let bucket = wish.bucket.clone();
    match reserve(catalog, wish).await {
        Ok(reserved) => panic!("{why}: granted {}", reserved.version),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{why}: {error}");
            assert!(error.message().contains(&bucket), "{why}: the sentence names nothing: {error}");
        }
    }
}

/// The live versions of a key, newest first.
pub(super) async fn versions_of(catalog: &dyn Catalog, key: &str) -> Vec<VersionId> {
    let query =
        ListQuery { bucket: BUCKET.into(), prefix: key.into(), limit: 1000, versions: true, ..ListQuery::default() };
    let page = catalog.list(&query).await.unwrap_or_else(|e| panic!("list: {e:?}"));
    let versions = page.items.into_iter().filter_map(|item| match item {
        ListItem::Entry { entry, .. } if entry.manifest.key == key => Some(entry.manifest.version),
        _ => None,
    });
    versions.collect()
}

/// Everything that can be seen of a catalog and depends only on the records in it, as text.
pub(super) async fn snapshot(catalog: &dyn Catalog, ids: &[DataId]) -> Vec<String> {
    let mut seen = Vec::new();
    see(catalog, ids, &mut seen).await.unwrap_or_else(|e| panic!("a read failed: {e:?}"));
    seen
}

async fn see(catalog: &dyn Catalog, ids: &[DataId], seen: &mut Vec<String>) -> Result<()> {
    seen.push(format!("buckets {:?}", catalog.buckets().await?));
    for row in catalog.batches_after(None, usize::MAX).await? {
        seen.push(format!("{row:?}"));
        seen.extend(catalog.records_of(row.id).await?.iter().map(|record| format!("{record:?}")));
    }
    for entry in catalog.versions_after(None, usize::MAX).await? {
        seen.push(format!("{entry:?}"));
        let (manifest, at) = (&entry.manifest, entry.at);
        let again = catalog.entry(&manifest.bucket, &manifest.key, Some(manifest.version)).await?;
        assert_eq!(again.map(|again| again.at), Some(at), "entry and versions_after agree");
        let newest = catalog.entry(&manifest.bucket, &manifest.key, None).await?;
        seen.push(format!("newest {:?}", newest.map(|entry| entry.at)));
    }
    for versions in [false, true] {
        let query = ListQuery { bucket: BUCKET.into(), limit: usize::MAX, versions, ..ListQuery::default() };
        seen.push(format!("{:?}", catalog.list(&query).await?));
    }
    seen.push(format!("tombstones {:?}", catalog.tombstones_after(None, usize::MAX).await?));
    seen.push(format!("dead buckets {:?}", catalog.dead_buckets().await?));
    seen.push(format!("dead batches {:?}", catalog.dead_batches(None, usize::MAX).await?));
    seen.push(format!("unreferenced {:?}", catalog.unreferenced(ids).await?));
    for id in ids {
        let places: Vec<_> = catalog.referrers(*id).await?.into_iter().map(|entry| entry.at).collect();
        seen.push(format!("{id} is in {places:?}"));
    }
    seen.push(format!("greatest {:?}, low water {:?}", catalog.greatest_version().await?, catalog.low_water().await?));
    seen.push(format!("{:?}", catalog.counts().await?));
    Ok(())
}
