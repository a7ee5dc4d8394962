//! The memory engine of the catalog: the contract in its plainest form. It is for tests and for `memory://`; all of its
//! state stands behind one lock, so every method is one transaction.

mod reserve;
mod state;
mod uploads;
mod views;

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use self::state::State;
use super::*;
use crate::error::Result;

/// A catalog in memory.
#[derive(Default)]
pub struct MemoryCatalog {
    state: Mutex<State>,
}

impl MemoryCatalog {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed when it panics: each checks first and then changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryCatalog")
    }
}

#[async_trait]
impl Catalog for MemoryCatalog {
    async fn reserve(&self, wishes: Vec<Reserve>) -> Result<Vec<Result<Reserved>>> {
        let mut state = self.state();
        Ok(wishes.into_iter().map(|wish| state.reserve(wish)).collect())
    }

    async fn release(&self, versions: &[VersionId]) -> Result<()> {
        self.state().release(versions);
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        Ok(self.state().commit(commit))
    }

    async fn open_intents(&self) -> Result<Vec<Intent>> {
        Ok(self.state().intents.values().cloned().collect())
    }

    async fn bucket(&self, name: &str) -> Result<Option<BucketRecord>> {
        Ok(self.state().bucket(name).cloned())
    }

    async fn buckets(&self) -> Result<Vec<BucketRecord>> {
        Ok(self.state().buckets())
    }

    async fn entry(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Option<Entry>> {
        Ok(self.state().entry(bucket, key, version))
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage> {
        Ok(self.state().list(query))
    }

    async fn versions_after(&self, after: Option<(String, String, VersionId)>, limit: usize) -> Result<Vec<Entry>> {
        Ok(self.state().versions_after(after, limit))
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>> {
        Ok(self.state().batches.get(&id).map(|batch| batch.row.clone()))
    }

    async fn batches_after(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>> {
        Ok(self.state().batches_after(after, limit, |_| true))
    }

    async fn set_holders(&self, id: BatchId, holders: Vec<Holder>) -> Result<()> {
        self.state().set_holders(id, holders)
    }

    async fn records_of(&self, id: BatchId) -> Result<Vec<RecordRow>> {
        Ok(self.state().records_of(id))
    }

    async fn dead_batches(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>> {
        Ok(self.state().batches_after(after, limit, |batch| !batch.is_live()))
    }

    async fn forget_batch(&self, id: BatchId) -> Result<()> {
        self.state().forget_batch(id)
    }

    async fn tombstones_after(&self, after: Option<VersionId>, limit: usize) -> Result<Vec<(LocatedRecord, bool)>> {
        Ok(self.state().tombstones_after(after, limit))
    }

    async fn dead_buckets(&self) -> Result<Vec<(LocatedRecord, bool)>> {
        Ok(self.state().dead_buckets())
    }

    async fn drop_record(&self, at: Located) -> Result<()> {
        self.state().drop_record(at)
    }

    async fn unreferenced(&self, ids: &[DataId]) -> Result<Vec<DataId>> {
        let state = self.state();
        let in_parts = state.data_of_parts();
        let is_free = |id: &DataId| !state.references.contains_key(id) && !in_parts.contains(id);
        Ok(ids.iter().copied().filter(is_free).collect())
    }

    async fn referrers(&self, id: DataId) -> Result<Vec<Entry>> {
        Ok(self.state().referrers(id))
    }

    async fn begin_upload(&self, upload: UploadRow) -> Result<()> {
        self.state().begin_upload(upload)
    }

    async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>> {
        Ok(self.state().uploads.get(&id).cloned())
    }

    async fn uploads_after(&self, after: Option<UploadId>, limit: usize) -> Result<Vec<UploadRow>> {
        Ok(self.state().uploads_after(after, limit))
    }

    async fn open_uploads(
        &self,
        bucket: &str,
        from: &[u8],
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>> {
        Ok(self.state().open_uploads(bucket, from, after, limit))
    }

    async fn put_part(&self, id: UploadId, part: PartRow, ledger: Vec<LedgerEntry>) -> Result<Option<PartRow>> {
        self.state().put_part(id, part, ledger)
    }

    async fn parts(&self, id: UploadId, after: u16, limit: usize) -> Result<Vec<PartRow>> {
        Ok(self.state().parts_after(id, after, limit))
    }

    async fn forget_upload(&self, id: UploadId) -> Result<Vec<PartRow>> {
        Ok(self.state().forget_upload(id))
    }

    async fn ledger_add(&self, entries: Vec<LedgerEntry>) -> Result<()> {
        self.state().ledger_add(entries);
        Ok(())
    }

    async fn ledger_remove(&self, items: &[LedgerItem]) -> Result<()> {
        let mut state = self.state();
        for item in items {
            state.ledger.remove(item);
        }
        Ok(())
    }

    async fn ledger_after(&self, after: Option<&LedgerItem>, limit: usize) -> Result<Vec<LedgerEntry>> {
        Ok(self.state().ledger_after(after, limit))
    }

    async fn low_water(&self) -> Result<Option<BatchId>> {
        let state = self.state();
        let open = state.intents.values().map(|intent| intent.batch).min();
        Ok(open.or_else(|| state.batches.last_key_value().map(|(id, _)| *id)))
    }

    async fn greatest_version(&self) -> Result<Option<VersionId>> {
        Ok(self.state().greatest)
    }

    async fn counts(&self) -> Result<Counts> {
        Ok(self.state().counts())
    }

    async fn value(&self, name: &str) -> Result<Option<String>> {
        Ok(self.state().values.get(name).cloned())
    }

    async fn set_value(&self, name: &str, value: Option<String>) -> Result<()> {
        let mut state = self.state();
        match value {
            Some(value) => state.values.insert(name.to_owned(), value),
            None => state.values.remove(name),
        };
        Ok(())
    }

    async fn sync(&self) -> Result<()> {
        Ok(())
    }

    async fn clear(&self) -> Result<()> {
        *self.state() = State::default();
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn make() -> Arc<dyn Catalog> {
        Arc::new(MemoryCatalog::new())
    }

    #[tokio::test]
    async fn keeps_the_contract() {
        crate::testkit::catalog::run(make).await;
    }

    #[test]
    fn depends_on_the_set_of_records_only() {
        crate::testkit::catalog::histories(make);
    }

    #[test]
    fn lists_as_the_model_does() {
        crate::testkit::catalog::listings(make);
    }
}
