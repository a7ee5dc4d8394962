//! The default catalog: one SQLite file, no server. One task writes, in grouped transactions; a few connections read
//! beside it. docs/catalog.md tells the schema.

mod buckets;
mod bulk;
mod commit;
mod fault;
mod list;
mod lock;
mod open;
mod readers;
mod reserve;
mod row;
mod upkeep;
mod uploads;
mod views;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::BoxFuture;
use rsb_core::catalog::{
    BatchRow, Catalog, Commit, Committed, Counts, Entry, Holder, Intent, LedgerEntry, LedgerItem, ListPage, ListQuery,
    Located, LocatedRecord, PartRow, RecordRow, Reserve, Reserved, UploadRow,
};
use rsb_core::format::manifest::{BucketRecord, Record};
use rsb_core::id::{BatchId, DataId, UploadId, VersionId};
use rsb_core::{Error, ErrorKind, Result};
use sqlx::{Connection, SqliteConnection};

use self::buckets::Buckets;
use self::fault::Inside;
use self::lock::WriterLock;
use self::readers::Readers;
use self::writer::Writer;

/// What a catalog is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By one process at a time.
    ReadWrite,
    /// Beside a process that writes; every write is refused (`ReadOnly`).
    ReadOnly,
}

/// A catalog in an SQLite file.
#[derive(Debug)]
pub struct SqliteCatalog {
    path: Arc<Path>,
    readers: Readers,
    /// Absent when it was opened to read.
    writer: Option<Writer>,
    buckets: Buckets,
}

impl SqliteCatalog {
    /// Opens the catalog in the file at `path`. To read and write, the file is made when it is missing (its folder is
    /// not), its schema is brought to this program's version, and a lock beside it is held until [`Catalog::close`].
    ///
    /// Errors: `Unavailable` when another process writes it; `NotFound` when there is none to read; `Config` when the
    /// file is not a catalog, or a newer program's; `Internal` when it is damaged.
    pub async fn open(path: &Path, mode: Mode) -> Result<Self> {
        let (lock, conn) = match mode {
            Mode::ReadOnly => (None, None),
            Mode::ReadWrite => {
                if path.parent().is_some_and(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
                    let message = format!("the folder of the catalog {} does not exist; make it first", path.display());
                    return Err(Error::config(message));
                }
                (Some(WriterLock::take(path)?), Some(open::writer(path).await?))
            }
        };
        let readers = open::readers(path, mode).await?;
        let path: Arc<Path> = path.into();
        let writer = lock.zip(conn).map(|(lock, conn)| Writer::start(path.clone(), conn, lock));
        Ok(Self { path, readers, writer, buckets: Buckets::default() })
    }

    /// Runs `work` in a transaction of the writer.
    async fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Inside<T>> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.write(work).await,
            None => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("the catalog {} was opened to read only; use --server to change anything", self.path.display()),
            )),
        }
    }

    /// Runs `work`, which is one query.
    async fn read<T, F>(&self, work: F) -> Result<T>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Inside<T>> + Send,
    {
        let outcome = async { work(self.readers.acquire().await?.conn()?).await };
        outcome.await.map_err(|fault| fault.outside(&self.path))
    }

    /// Runs `work`, which may be several queries, on one snapshot.
    async fn read_several<T, F>(&self, work: F) -> Result<T>
    where
        T: Send,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, Inside<T>> + Send,
    {
        let outcome = async {
            let mut lent = self.readers.acquire().await?;
            let mut snapshot = lent.conn()?.begin().await?;
            let value = work(&mut snapshot).await?;
            snapshot.rollback().await?;
            Ok(value)
        };
        outcome.await.map_err(|fault: fault::Fault| fault.outside(&self.path))
    }

    /// Runs a change of buckets.
    async fn changing_buckets<T>(&self, change: impl Future<Output = Result<T>>) -> Result<T> {
        self.buckets.forget();
        let outcome = change.await;
        self.buckets.forget();
        outcome
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    async fn reserve(&self, wishes: Vec<Reserve>) -> Result<Vec<Result<Reserved>>> {
        self.write(|conn| Box::pin(reserve::reserve(conn, wishes))).await
    }

    async fn release(&self, versions: &[VersionId]) -> Result<()> {
        let versions = versions.to_vec();
        self.write(|conn| Box::pin(reserve::release(conn, versions))).await
    }

    async fn commit(&self, commit: Commit) -> Result<Committed> {
        let of_buckets = commit.records.iter().any(|located| matches!(located.record, Record::Bucket(_)));
        let change = self.write(|conn| Box::pin(commit::commit(conn, commit)));
        if of_buckets { self.changing_buckets(change).await } else { change.await }
    }

    async fn open_intents(&self) -> Result<Vec<Intent>> {
        self.read(|conn| Box::pin(reserve::open(conn))).await
    }

    async fn bucket(&self, name: &str) -> Result<Option<BucketRecord>> {
        let changes = match self.buckets.get(name) {
            Ok(bucket) => return Ok(Some(bucket)),
            Err(changes) => changes,
        };
        let asked = name.to_owned();
        let found = self.read(|conn| Box::pin(async move { views::bucket(conn, &asked).await })).await?;
        if let Some(bucket) = found.as_ref().filter(|_| self.writer.is_some()) {
            self.buckets.keep(bucket, changes);
        }
        Ok(found)
    }

    async fn buckets(&self) -> Result<Vec<BucketRecord>> {
        self.read(|conn| Box::pin(views::buckets(conn))).await
    }

    async fn entry(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Option<Entry>> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.read(|conn| Box::pin(async move { views::entry(conn, &bucket, &key, version).await })).await
    }

    async fn entry_and_batch(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
    ) -> Result<Option<(Entry, Option<BatchRow>)>> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.read(|conn| Box::pin(async move { views::entry_and_batch(conn, &bucket, &key, version).await })).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage> {
        let query = query.clone();
        self.read_several(|conn| Box::pin(async move { list::list(conn, &query).await })).await
    }

    async fn versions_after(&self, after: Option<(String, String, VersionId)>, limit: usize) -> Result<Vec<Entry>> {
        self.read_several(|conn| Box::pin(views::versions_after(conn, after, limit))).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<BatchRow>> {
        self.read(|conn| Box::pin(views::batch(conn, id))).await
    }

    async fn batches_after(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>> {
        self.read(|conn| Box::pin(views::batches_after(conn, after, limit, false))).await
    }

    async fn set_holders(&self, id: BatchId, holders: Vec<Holder>) -> Result<()> {
        self.write(move |conn| Box::pin(upkeep::set_holders(conn, id, holders))).await
    }

    async fn records_of(&self, id: BatchId) -> Result<Vec<RecordRow>> {
        self.read(|conn| Box::pin(views::records_of(conn, id))).await
    }

    async fn dead_batches(&self, after: Option<BatchId>, limit: usize) -> Result<Vec<BatchRow>> {
        self.read(|conn| Box::pin(views::batches_after(conn, after, limit, true))).await
    }

    async fn forget_batch(&self, id: BatchId) -> Result<()> {
        self.write(move |conn| Box::pin(upkeep::forget_batch(conn, id))).await
    }

    async fn tombstones_after(&self, after: Option<VersionId>, limit: usize) -> Result<Vec<(LocatedRecord, bool)>> {
        self.read(|conn| Box::pin(views::tombstones_after(conn, after, limit))).await
    }

    async fn dead_buckets(&self) -> Result<Vec<(LocatedRecord, bool)>> {
        self.read(|conn| Box::pin(views::dead_buckets(conn))).await
    }

    async fn drop_record(&self, at: Located) -> Result<()> {
        self.changing_buckets(self.write(move |conn| Box::pin(upkeep::drop_record(conn, at)))).await
    }

    async fn unreferenced(&self, ids: &[DataId]) -> Result<Vec<DataId>> {
        let ids = ids.to_vec();
        self.read_several(|conn| Box::pin(async move { views::unreferenced(conn, &ids).await })).await
    }

    async fn referrers(&self, id: DataId) -> Result<Vec<Entry>> {
        self.read(|conn| Box::pin(views::referrers(conn, id))).await
    }

    async fn begin_upload(&self, upload: UploadRow) -> Result<()> {
        self.write(|conn| Box::pin(uploads::begin(conn, upload))).await
    }

    async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>> {
        self.read(|conn| Box::pin(uploads::one(conn, id))).await
    }

    async fn uploads_after(&self, after: Option<UploadId>, limit: usize) -> Result<Vec<UploadRow>> {
        self.read(|conn| Box::pin(uploads::after(conn, after, limit))).await
    }

    async fn open_uploads(
        &self,
        bucket: &str,
        from: &[u8],
        after: Option<UploadId>,
        limit: usize,
    ) -> Result<Vec<UploadRow>> {
        let (bucket, from) = (bucket.to_owned(), from.to_vec());
        self.read_several(|conn| Box::pin(async move { uploads::open(conn, &bucket, &from, after, limit).await })).await
    }

    async fn put_part(&self, id: UploadId, part: PartRow, ledger: Vec<LedgerEntry>) -> Result<Option<PartRow>> {
        self.write(move |conn| Box::pin(uploads::put_part(conn, id, part, ledger))).await
    }

    async fn parts(&self, id: UploadId, after: u16, limit: usize) -> Result<Vec<PartRow>> {
        self.read(|conn| Box::pin(uploads::parts(conn, id, after, limit))).await
    }

    async fn forget_upload(&self, id: UploadId) -> Result<Vec<PartRow>> {
        self.write(move |conn| Box::pin(uploads::forget(conn, id))).await
    }

    async fn ledger_add(&self, entries: Vec<LedgerEntry>) -> Result<()> {
        self.write(|conn| Box::pin(commit::ledger_add(conn, entries))).await
    }

    async fn ledger_remove(&self, items: &[LedgerItem]) -> Result<()> {
        let items = items.to_vec();
        self.write(|conn| Box::pin(upkeep::ledger_remove(conn, items))).await
    }

    async fn ledger_after(&self, after: Option<&LedgerItem>, limit: usize) -> Result<Vec<LedgerEntry>> {
        let after = after.cloned();
        self.read(|conn| Box::pin(views::ledger_after(conn, after, limit))).await
    }

    async fn low_water(&self) -> Result<Option<BatchId>> {
        self.read(|conn| Box::pin(views::low_water(conn))).await
    }

    async fn greatest_version(&self) -> Result<Option<VersionId>> {
        self.read(|conn| Box::pin(views::greatest_version(conn))).await
    }

    async fn counts(&self) -> Result<Counts> {
        self.read(|conn| Box::pin(views::counts(conn))).await
    }

    async fn value(&self, name: &str) -> Result<Option<String>> {
        let name = name.to_owned();
        self.read(|conn| Box::pin(async move { views::value(conn, &name).await })).await
    }

    async fn set_value(&self, name: &str, value: Option<String>) -> Result<()> {
        let name = name.to_owned();
        self.write(|conn| Box::pin(upkeep::set_value(conn, name, value))).await
    }

    async fn clear(&self) -> Result<()> {
        self.changing_buckets(self.write(|conn| Box::pin(upkeep::clear(conn)))).await
    }

    async fn sync(&self) -> Result<()> {
        match &self.writer {
            Some(writer) => writer.sync().await,
            None => Ok(()),
        }
    }

    /// Writes the log back into the file and lets go of the lock.
    async fn close(&self) -> Result<()> {
        // Readers first: the last connection to close is the writer's, which folds the log into the file.
        self.readers.close().await;
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        Ok(())
    }
}
