//! What is read.

use std::ops::Bound;

use super::super::listing::{Pager, Step};
use super::super::*;
use super::state::{Batch, Key, RowId, State};

impl State {
    /// The live record of a bucket, that of its end included.
    fn bucket_row(&self, name: &str) -> Option<(RowId, &BucketRecord)> {
        self.key(name, "")?.rows.iter().find_map(|id| match self.row(*id)? {
            row if !row.live => None,
            row => match &row.record {
                Record::Bucket(record) => Some((*id, record)),
                _ => None,
            },
        })
    }

    pub fn bucket(&self, name: &str) -> Option<&BucketRecord> {
        self.bucket_row(name).map(|(_, record)| record).filter(|record| !record.deleted)
    }

    pub fn buckets(&self) -> Vec<BucketRecord> {
        self.names.keys().filter_map(|name| self.bucket(name)).cloned().collect()
    }

    fn live_entry(&self, id: RowId) -> Option<Entry> {
        let row = self.row(id)?;
        match &row.record {
            Record::Version(manifest) => Some(Entry { manifest: manifest.clone(), at: row.at }),
            _ => None,
        }
    }

    pub fn entry(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Option<Entry> {
        let versions = &self.key(bucket, key)?.versions;
        let id = match version {
            Some(version) => versions.get(&version)?,
            None => versions.last_key_value()?.1,
        };
        self.live_entry(*id)
    }

    pub fn referrers(&self, id: DataId) -> Vec<Entry> {
        let rows = self.references.get(&id).into_iter().flatten();
        let mut found: Vec<Entry> = rows.filter_map(|id| self.live_entry(*id)).collect();
        found.sort_by(|a, b| {
            let place =
                |entry: &Entry| (entry.manifest.bucket.clone(), entry.manifest.key.clone(), entry.manifest.version);
            place(a).cmp(&place(b))
        });
        found
    }

    pub fn list(&self, query: &ListQuery) -> ListPage {
        let mut pager = Pager::new(query);
        let (Some(keys), end) = (self.names.get(&query.bucket), pager.end()) else { return pager.finish() };
        let mut next = pager.start();
        'seek: while let Some(start) = next.take() {
            let upper = end.clone().map_or(Bound::Unbounded, Bound::Excluded);
            if end.as_ref().is_some_and(|end| start.key >= *end) {
                break;
            }
            for (name, key) in keys.range((Bound::Included(start.key.clone()), upper)) {
                let below = start.below.filter(|_| *name == start.key);
                for entry in self.listed(key, query.versions, below) {
                    let name = entry.0.manifest.key.clone();
                    match pager.take(&name, || Ok::<_, std::convert::Infallible>(entry)) {
                        Ok(Step::Next) => {}
                        Ok(Step::Seek(position)) => {
                            next = Some(position);
                            continue 'seek;
                        }
                        Ok(Step::Done) => break 'seek,
                        Err(never) => match never {},
                    }
                }
            }
        }
        pager.finish()
    }

    /// What a listing shows of a key: every version below one, newest first; or the newest, if it is an object.
    fn listed<'a>(
        &'a self,
        key: &'a Key,
        all: bool,
        below: Option<VersionId>,
    ) -> impl Iterator<Item = (Entry, bool)> + 'a {
        let newest = key.versions.last_key_value().map(|(version, _)| *version);
        let upper = below.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = key.versions.range((Bound::Unbounded, upper)).rev().take(if all { usize::MAX } else { 1 });
        rows.filter_map(move |(version, id)| Some((self.live_entry(*id)?, Some(*version) == newest)))
            .filter(move |(entry, _)| all || !entry.manifest.delete_marker)
    }

    pub fn versions_after(&self, after: Option<(String, String, VersionId)>, limit: usize) -> Vec<Entry> {
        let (bucket, key, version) = match after {
            Some((bucket, key, version)) => (bucket, key.into_bytes(), Some(version)),
            None => (String::new(), Vec::new(), None),
        };
        let mut found = Vec::new();
        for (name, keys) in self.names.range(bucket.clone()..) {
            let first = if *name == bucket { key.as_slice() } else { &[] };
            for (at, entry) in keys.range::<[u8], _>((Bound::Included(first), Bound::Unbounded)) {
                let above = version.filter(|_| *name == bucket && *at == key);
                let lower = above.map_or(Bound::Unbounded, Bound::Excluded);
                for id in entry.versions.range((lower, Bound::Unbounded)).map(|(_, id)| *id) {
                    if found.len() >= limit {
                        return found;
                    }
                    found.extend(self.live_entry(id));
                }
            }
        }
        found
    }

    pub fn batches_after(
        &self,
        after: Option<BatchId>,
        limit: usize,
        wanted: impl Fn(&Batch) -> bool,
    ) -> Vec<BatchRow> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let batches = self.batches.range((lower, Bound::Unbounded)).map(|(_, batch)| batch);
        batches.filter(|batch| wanted(batch)).take(limit).map(|batch| batch.row.clone()).collect()
    }

    pub fn records_of(&self, id: BatchId) -> Vec<RecordRow> {
        let rows = self.batches.get(&id).into_iter().flat_map(|batch| batch.records.values());
        rows.map(|row| RecordRow {
            at: row.at,
            version: row.record.version(),
            revision: row.record.revision(),
            bucket: row.record.bucket().to_owned(),
            key: row.record.key().to_owned(),
            live: row.live,
        })
        .collect()
    }

    fn live_rows(&self) -> impl Iterator<Item = LocatedRecord> + '_ {
        let rows = self.batches.values().flat_map(|batch| batch.records.values()).filter(|row| row.live);
        rows.map(|row| LocatedRecord { record: row.record.clone(), at: row.at })
    }

    /// Whether a record row that `of` holds true for lies in a batch other than `but`.
    fn left(&self, bucket: &str, key: &str, but: BatchId, of: impl Fn(&Record) -> bool) -> bool {
        let mut rows = self.key(bucket, key).into_iter().flat_map(|key| &key.rows);
        rows.any(|id| id.0 != but && self.row(*id).is_some_and(|row| of(&row.record)))
    }

    pub fn tombstones_after(&self, after: Option<VersionId>, limit: usize) -> Vec<(LocatedRecord, bool)> {
        let mut found: Vec<_> = self
            .live_rows()
            .filter(|row| matches!(row.record, Record::Tombstone(_)) && Some(row.record.version()) > after)
            .collect();
        found.sort_by_key(|row| row.record.version());
        found.truncate(limit);
        let left = |row: &LocatedRecord| {
            self.left(row.record.bucket(), row.record.key(), row.at.batch, |other| match other {
                Record::Version(manifest) => kills(&row.record, manifest),
                _ => false,
            })
        };
        found.into_iter().map(|row| (left(&row), row)).map(|(left, row)| (row, left)).collect()
    }

    pub fn dead_buckets(&self) -> Vec<(LocatedRecord, bool)> {
        let mut found: Vec<_> =
            self.live_rows().filter(|row| matches!(&row.record, Record::Bucket(bucket) if bucket.deleted)).collect();
        found.sort_by_key(|row| row.record.version());
        let left = |row: &LocatedRecord| {
            let keys = self.names.get(row.record.bucket());
            keys.into_iter().flatten().flat_map(|(_, key)| &key.rows).any(|id| id.0 != row.at.batch)
        };
        found.into_iter().map(|row| (left(&row), row)).map(|(left, row)| (row, left)).collect()
    }

    pub fn ledger_after(&self, after: Option<&LedgerItem>, limit: usize) -> Vec<LedgerEntry> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.ledger.range((lower, Bound::Unbounded)).take(limit).map(|(_, entry)| entry.clone()).collect()
    }

    pub fn counts(&self) -> Counts {
        let versions: usize = self.names.values().flatten().map(|(_, key)| key.versions.len()).sum();
        let tombstones = self.live_rows().filter(|row| matches!(row.record, Record::Tombstone(_))).count();
        Counts {
            versions: versions as u64,
            batches: self.batches.len() as u64,
            tombstones: tombstones as u64,
            ledger: self.ledger.len() as u64,
        }
    }
}
