//! Rows and how they live and die.

use std::collections::{BTreeMap, BTreeSet};

use super::super::*;
use crate::error::Result;

/// A record's place: its batch and its offset in it.
pub(super) type RowId = (BatchId, u32);

#[derive(Debug)]
pub(super) struct Row {
    pub at: Located,
    pub record: Record,
    pub live: bool,
}

#[derive(Debug)]
pub(super) struct Batch {
    pub row: BatchRow,
    pub records: BTreeMap<u32, Row>,
}

impl Batch {
    pub fn is_live(&self) -> bool {
        self.records.values().any(|row| row.live)
    }
}

/// What is known of one key, or, under the empty key, of its bucket.
#[derive(Debug, Default)]
pub(super) struct Key {
    /// Every record about it, live or dead.
    pub rows: BTreeSet<RowId>,
    /// Its live versions.
    pub versions: BTreeMap<VersionId, RowId>,
}

/// Keys as bytes: the place behind a prefix, which a listing seeks, need not be UTF-8.
pub(super) type Keys = BTreeMap<Vec<u8>, Key>;

#[derive(Debug, Default)]
pub(super) struct State {
    pub batches: BTreeMap<BatchId, Batch>,
    /// By bucket, then by key.
    pub names: BTreeMap<String, Keys>,
    /// Live versions by the data ids they point at.
    pub references: BTreeMap<DataId, BTreeSet<RowId>>,
    pub intents: BTreeMap<VersionId, Intent>,
    pub uploads: BTreeMap<UploadId, UploadRow>,
    pub parts: BTreeMap<(UploadId, u16), PartRow>,
    pub ledger: BTreeMap<LedgerItem, LedgerEntry>,
    pub values: BTreeMap<String, String>,
    /// The greatest id ever reserved or committed.
    pub greatest: Option<VersionId>,
    /// The greatest id whose key may no longer be known: of released intents and forgotten records.
    pub floor: Option<VersionId>,
}

/// Whether one record, dead or alive, keeps another of the same bucket and key dead. Of two with one (version, revision) the
/// one in the greater batch lives, so that the order of commits does not matter.
fn beats(winner: (&Record, RowId), loser: (&Record, RowId)) -> bool {
    let rank = |(record, id): (&Record, RowId)| (record.version(), record.revision(), id);
    match (winner.0, loser.0) {
        (Record::Bucket(_), Record::Bucket(_)) => rank(winner) > rank(loser),
        (Record::Version(a), Record::Version(b)) if a.version == b.version => rank(winner) > rank(loser),
        (Record::Tombstone(a), Record::Tombstone(b)) if a.version == b.version => rank(winner) > rank(loser),
        (record, Record::Version(manifest)) => kills(record, manifest),
        _ => false,
    }
}

impl State {
    pub fn row(&self, id: RowId) -> Option<&Row> {
        self.batches.get(&id.0)?.records.get(&id.1)
    }

    pub fn key(&self, bucket: &str, key: &str) -> Option<&Key> {
        self.names.get(bucket)?.get(key.as_bytes())
    }

    pub fn commit(&mut self, commit: Commit) -> Committed {
        let batch = commit.batch.id;
        self.note_batch(commit.batch);
        let mut committed = Committed::default();
        for LocatedRecord { record, at } in commit.records {
            self.greatest = self.greatest.max(Some(record.version()));
            self.close_intents(&record, batch);
            self.add(record, Located { batch, ..at }, &mut committed);
        }
        self.ledger_add(commit.ledger);
        for (id, completed) in commit.completes {
            self.complete_upload(id, completed);
        }
        committed
    }

    /// Closes the intents that a record fulfils: of its name, with its id or, for a new revision, in its batch.
    fn close_intents(&mut self, record: &Record, batch: BatchId) {
        let fulfilled = self.intents.extract_if(.., |version, intent| {
            let same_name = intent.bucket == record.bucket() && intent.key == record.key();
            same_name && (*version == record.version() || intent.batch == batch)
        });
        // No row will remember an id that was given for nothing.
        let unused = fulfilled.map(|(version, _)| version).filter(|version| *version != record.version()).max();
        self.floor = self.floor.max(unused);
    }

    /// Adds a batch, or what is new of it: a holder once known is not forgotten by a later commit that did not see it.
    fn note_batch(&mut self, new: BatchRow) {
        let Some(known) = self.batches.get_mut(&new.id) else {
            self.batches.insert(new.id, Batch { row: new, records: BTreeMap::new() });
            return;
        };
        let mut holders = std::mem::take(&mut known.row.holders);
        holders.retain(|old| new.holders.iter().all(|holder| holder.backend != old.backend));
        holders.extend(new.holders.iter().cloned());
        known.row = BatchRow { holders, ..new };
    }

    fn add(&mut self, record: Record, at: Located, committed: &mut Committed) {
        let id = (at.batch, at.extent.offset);
        if self.row(id).is_some() {
            return;
        }
        let rows = self.key(record.bucket(), record.key()).map(|key| key.rows.clone()).unwrap_or_default();
        let mut live = true;
        for other in rows {
            let Some(row) = self.row(other) else { continue };
            if beats((&row.record, other), (&record, id)) {
                live = false;
            }
            if row.live && beats((&record, id), (&row.record, other)) {
                self.kill(other, committed);
            }
        }
        let key = self.names.entry(record.bucket().to_owned()).or_default();
        let key = key.entry(record.key().as_bytes().to_vec()).or_default();
        key.rows.insert(id);
        if let Record::Version(manifest) = &record {
            if live {
                key.versions.insert(manifest.version, id);
                for data in manifest.data_ids() {
                    self.references.entry(data).or_default().insert(id);
                }
            } else {
                committed.superseded.push(Entry { manifest: manifest.clone(), at });
            }
        }
        if let Some(batch) = self.batches.get_mut(&at.batch) {
            batch.records.insert(at.extent.offset, Row { at, record, live });
        }
    }

    fn kill(&mut self, id: RowId, committed: &mut Committed) {
        let Some(row) = self.batches.get_mut(&id.0).and_then(|batch| batch.records.get_mut(&id.1)) else { return };
        row.live = false;
        let Record::Version(manifest) = &row.record else { return };
        committed.superseded.push(Entry { manifest: manifest.clone(), at: row.at });
        for data in manifest.data_ids() {
            if let Some(rows) = self.references.get_mut(&data) {
                rows.remove(&id);
                if rows.is_empty() {
                    self.references.remove(&data);
                }
            }
        }
        let keys = self.names.get_mut(&manifest.bucket);
        if let Some(key) = keys.and_then(|keys| keys.get_mut(manifest.key.as_bytes()))
            && key.versions.get(&manifest.version) == Some(&id)
        {
            key.versions.remove(&manifest.version);
        }
    }

    pub fn set_holders(&mut self, id: BatchId, holders: Vec<Holder>) -> Result<()> {
        let Some(batch) = self.batches.get_mut(&id) else {
            return Err(refusal::no_batch(id));
        };
        batch.row.holders = holders;
        Ok(())
    }

    pub fn forget_batch(&mut self, id: BatchId) -> Result<()> {
        let Some(batch) = self.batches.get(&id) else { return Ok(()) };
        if batch.is_live() {
            return Err(refusal::batch_live(id));
        }
        let Some(batch) = self.batches.remove(&id) else { return Ok(()) };
        for (offset, Row { record, .. }) in batch.records {
            self.floor = self.floor.max(Some(record.version()));
            let Some(keys) = self.names.get_mut(record.bucket()) else { continue };
            if let Some(key) = keys.get_mut(record.key().as_bytes()) {
                key.rows.remove(&(id, offset));
                if key.rows.is_empty() {
                    keys.remove(record.key().as_bytes());
                }
            }
            if keys.is_empty() {
                self.names.remove(record.bucket());
            }
        }
        Ok(())
    }

    pub fn drop_record(&mut self, at: Located) -> Result<()> {
        let row = self.batches.get_mut(&at.batch).and_then(|batch| batch.records.get_mut(&at.extent.offset));
        let Some(row) = row else { return Err(refusal::no_record(&at)) };
        let droppable = match &row.record {
            Record::Version(_) => false,
            Record::Tombstone(_) => true,
            Record::Bucket(bucket) => bucket.deleted,
        };
        if row.live && !droppable {
            return Err(refusal::not_droppable(&at));
        }
        row.live = false;
        Ok(())
    }

    pub fn ledger_add(&mut self, entries: Vec<LedgerEntry>) {
        self.ledger.extend(entries.into_iter().map(|entry| (entry.item.clone(), entry)));
    }
}
