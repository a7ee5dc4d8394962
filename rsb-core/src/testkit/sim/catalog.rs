//! A catalog that forgets: what was not put on its storage may be gone after a power cut, from the last change backwards.
//! (SQLite's write-ahead log does so when commits are not synced.)

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::world::World;
use crate::catalog::*;
use crate::error::Result;
use crate::id::{BatchId, DataId, UploadId, VersionId};

#[derive(Clone)]
#[allow(clippy::large_enum_variant, reason = "few of them, and none is moved about")]
enum Change {
    Reserve(Vec<Reserve>),
    Release(Vec<VersionId>),
    Commit(Commit),
    SetHolders(BatchId, Vec<Holder>),
    Forget(BatchId),
    Drop(Located),
    Begin(UploadRow),
    Part(UploadId, PartRow, Vec<LedgerEntry>),
    End(UploadId),
    Note(Vec<LedgerEntry>),
    Unnote(Vec<LedgerItem>),
    Value(String, Option<String>),
    Clear,
}

#[derive(Default)]
struct Log {
    changes: Vec<Change>,
    /// So many of them are safe.
    synced: usize,
}

/// The catalog of a simulated repository.
pub(super) struct SimCatalog {
    memory: MemoryCatalog,
    log: Mutex<Log>,
    world: World,
}

impl SimCatalog {
    pub fn new(world: World) -> Arc<Self> {
        Arc::new(Self { memory: MemoryCatalog::new(), log: Mutex::default(), world })
    }

    /// What is left of it after the process is gone; with `power_cut` what was not synced may be lost.
    pub async fn survivor(&self, power_cut: bool) -> Arc<Self> {
        let (changes, synced) = {
            let log = crate::core::lock(&self.log);
            (log.changes.clone(), log.synced)
        };
        let lost = if power_cut { self.world.lock().rng.index(changes.len() - synced + 1) } else { 0 };
        let kept = changes.len() - lost;
        self.world.note(&format!("the catalog keeps {kept} of {} changes", changes.len()));
        let next = Self::new(self.world.clone());
        for change in changes.into_iter().take(kept) {
            next.apply(change).await;
        }
        crate::core::lock(&next.log).synced = kept;
        next
    }

    async fn apply(&self, change: Change) {
        let memory = &self.memory;
        crate::core::lock(&self.log).changes.push(change.clone());
        // What was refused once is refused again, and changes nothing.
        let _ = match change {
            Change::Reserve(wishes) => memory.reserve(wishes).await.map(drop),
            Change::Release(ids) => memory.release(&ids).await,
            Change::Commit(commit) => memory.commit(commit).await.map(drop),
            Change::SetHolders(id, holders) => memory.set_holders(id, holders).await,
            Change::Forget(id) => memory.forget_batch(id).await,
            Change::Drop(at) => memory.drop_record(at).await,
            Change::Begin(row) => memory.begin_upload(row).await,
            Change::Part(id, part, ledger) => memory.put_part(id, part, ledger).await.map(drop),
            Change::End(id) => memory.forget_upload(id).await.map(drop),
            Change::Note(lines) => memory.ledger_add(lines).await,
            Change::Unnote(items) => memory.ledger_remove(&items).await,
            Change::Value(name, value) => memory.set_value(&name, value).await,
            Change::Clear => memory.clear().await,
        };
    }

    /// Before a change is made: others may go first.
    async fn begin(&self) {
        self.world.moment().await;
    }

    fn log(&self, change: Change) {
        let checkpoint = self.world.lock().rng.chance(3);
        let mut log = crate::core::lock(&self.log);
        log.changes.push(change);
        if checkpoint {
            log.synced = log.changes.len();
        }
    }
}

impl std::fmt::Debug for SimCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SimCatalog")
    }
}

#[async_trait]
impl Catalog for SimCatalog {
    async fn reserve(&self, wishes: Vec<Reserve>) -> Result<Vec<Result<Reserved>>> {
        self.begin().await;
        self.log(Change::Reserve(wishes.clone()));
        self.memory.reserve(wishes).await
    }
    async fn release(&self, versions: &[VersionId]) -> Result<()> {
        self.begin().await;
        self.log(Change::Release(versions.to_vec()));
        self.memory.release(versions).await
    }
    async fn commit(&self, commit: Commit) -> Result<Committed> {
        self.begin().await;
        self.log(Change::Commit(commit.clone()));
        self.memory.commit(commit).await
    }
    async fn open_intents(&self) -> Result<Vec<Intent>> {
        self.memory.open_intents().await
    }
    async fn bucket(&self, name: &str) -> Result<Option<crate::format::manifest::BucketRecord>> {
        self.memory.bucket(name).await
    }
    async fn buckets(&self) -> Result<Vec<crate::format::manifest::BucketRecord>> {
        self.memory.buckets().await
    }
    async fn entry(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Option<Entry>> {
        self.begin().await;
        self.memory.entry(bucket, key, version).await
    }
    async fn list(&self, query: &ListQuery) -> Result<ListPage> {
        self.memory.list(query).await
    }
    async fn versions_after(&self, after: Option<(String, String, VersionId)>, limit: usize) -> Result<Vec<Entry>> {
        self.begin().await;
        self.memory.versions_after(after, limit).await
    }
    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>> {
        self.begin().await;
        self.memory.batch(id).await
    }
    async fn batches_after(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>> {
        self.memory.batches_after(after, limit).await
    }
    async fn set_holders(&self, id: BatchId, holders: Vec<Holder>) -> Result<()> {
        self.begin().await;
        self.log(Change::SetHolders(id, holders.clone()));
        self.memory.set_holders(id, holders).await
    }
    async fn records_of(&self, id: BatchId) -> Result<Vec<RecordRow>> {
        self.begin().await;
        self.memory.records_of(id).await
    }
    async fn dead_batches(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>> {
        self.memory.dead_batches(after, limit).await
    }
    async fn forget_batch(&self, id: BatchId) -> Result<()> {
        self.begin().await;
        self.log(Change::Forget(id));
        self.memory.forget_batch(id).await
    }
    async fn tombstones_after(&self, after: Option<VersionId>, limit: usize) -> Result<Vec<(LocatedRecord, bool)>> {
        self.memory.tombstones_after(after, limit).await
    }
    async fn dead_buckets(&self) -> Result<Vec<(LocatedRecord, bool)>> {
        self.memory.dead_buckets().await
    }
    async fn drop_record(&self, at: Located) -> Result<()> {
        self.begin().await;
        self.log(Change::Drop(at));
        self.memory.drop_record(at).await
    }
    async fn unreferenced(&self, ids: &[DataId]) -> Result<Vec<DataId>> {
        self.begin().await;
        self.memory.unreferenced(ids).await
    }
    async fn referrers(&self, id: DataId) -> Result<Vec<Entry>> {
        self.begin().await;
        self.memory.referrers(id).await
    }
    async fn begin_upload(&self, upload: UploadRow) -> Result<()> {
        self.begin().await;
        self.log(Change::Begin(upload.clone()));
        self.memory.begin_upload(upload).await
    }
    async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>> {
        self.begin().await;
        self.memory.upload(id).await
    }
    async fn uploads_after(&self, after: Option<UploadId>, limit: usize) -> Result<Vec<UploadRow>> {
        self.memory.uploads_after(after, limit).await
    }
    async fn open_uploads(
        &self,
        bucket: &str,
        from: &[u8],
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>> {
        self.memory.open_uploads(bucket, from, after, limit).await
    }
    async fn put_part(&self, id: UploadId, part: PartRow, ledger: Vec<LedgerEntry>) -> Result<Option<PartRow>> {
        self.begin().await;
        self.log(Change::Part(id, part.clone(), ledger.clone()));
        self.memory.put_part(id, part, ledger).await
    }
    async fn parts(&self, id: UploadId, after: u16, limit: usize) -> Result<Vec<PartRow>> {
        self.begin().await;
        self.memory.parts(id, after, limit).await
    }
    async fn forget_upload(&self, id: UploadId) -> Result<Vec<PartRow>> {
        self.begin().await;
        self.log(Change::End(id));
        self.memory.forget_upload(id).await
    }
    async fn ledger_add(&self, entries: Vec<LedgerEntry>) -> Result<()> {
        self.begin().await;
        self.log(Change::Note(entries.clone()));
        self.memory.ledger_add(entries).await
    }
    async fn ledger_remove(&self, items: &[LedgerItem]) -> Result<()> {
        self.begin().await;
        self.log(Change::Unnote(items.to_vec()));
        self.memory.ledger_remove(items).await
    }
    async fn ledger_after(&self, after: Option<&LedgerItem>, limit: usize) -> Result<Vec<LedgerEntry>> {
        self.memory.ledger_after(after, limit).await
    }
    async fn low_water(&self) -> Result<Option<BatchId>> {
        self.memory.low_water().await
    }
    async fn greatest_version(&self) -> Result<Option<VersionId>> {
        self.memory.greatest_version().await
    }
    async fn counts(&self) -> Result<Counts> {
        self.memory.counts().await
    }
    async fn value(&self, name: &str) -> Result<Option<String>> {
        self.memory.value(name).await
    }
    async fn set_value(&self, name: &str, value: Option<String>) -> Result<()> {
        self.begin().await;
        self.log(Change::Value(name.to_owned(), value.clone()));
        self.memory.set_value(name, value).await
    }
    async fn sync(&self) -> Result<()> {
        self.begin().await;
        let mut log = crate::core::lock(&self.log);
        log.synced = log.changes.len();
        Ok(())
    }
    async fn clear(&self) -> Result<()> {
        self.begin().await;
        self.log(Change::Clear);
        self.memory.clear().await
    }
    async fn close(&self) -> Result<()> {
        let mut log = crate::core::lock(&self.log);
        log.synced = log.changes.len();
        Ok(())
    }
}
