//! Multipart uploads.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::super::*;
use super::state::State;
use crate::error::Result;

impl State {
    pub fn begin_upload(&mut self, upload: UploadRow) -> Result<()> {
        if self.bucket(&upload.bucket).is_none() {
            return Err(refusal::no_bucket(&upload.bucket));
        }
        self.uploads.insert(upload.id, upload);
        Ok(())
    }

    pub fn uploads_after(&self, after: Option<UploadId>, limit: usize) -> Vec<UploadRow> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.uploads.range((lower, Bound::Unbounded)).take(limit).map(|(_, row)| row.clone()).collect()
    }

    pub fn open_uploads(&self, bucket: &str, from: &[u8], after: Option<UploadId>, limit: usize) -> Vec<UploadRow> {
        let is_behind = |row: &&UploadRow| {
            let key = row.key.as_bytes();
            key > from || (key == from && after.is_none_or(|after| row.id > after))
        };
        let open = self.uploads.values().filter(|row| row.bucket == bucket && row.completed.is_none());
        let mut found: Vec<&UploadRow> = open.filter(is_behind).collect();
        found.sort_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
        found.into_iter().take(limit).cloned().collect()
    }

    pub fn put_part(&mut self, id: UploadId, part: PartRow, ledger: Vec<LedgerEntry>) -> Result<Option<PartRow>> {
        if self.uploads.get(&id).is_none_or(|row| row.completed.is_some()) {
            return Err(refusal::no_upload(id));
        }
        self.ledger_add(ledger);
        Ok(self.parts.insert((id, part.number), part))
    }

    pub fn parts_after(&self, id: UploadId, after: u16, limit: usize) -> Vec<PartRow> {
        let range = (Bound::Excluded((id, after)), Bound::Included((id, u16::MAX)));
        self.parts.range(range).take(limit).map(|(_, row)| row.clone()).collect()
    }

    pub fn data_of_parts(&self) -> BTreeSet<DataId> {
        self.parts.values().flat_map(PartRow::data_ids).collect()
    }

    pub fn forget_upload(&mut self, id: UploadId) -> Vec<PartRow> {
        self.uploads.remove(&id);
        self.take_parts(id)
    }

    pub fn complete_upload(&mut self, id: UploadId, completed: Completed) {
        if let Some(row) = self.uploads.get_mut(&id) {
            row.completed = Some(completed);
            self.take_parts(id);
        }
    }

    fn take_parts(&mut self, id: UploadId) -> Vec<PartRow> {
        self.parts.extract_if((id, 0)..=(id, u16::MAX), |_, _| true).map(|(_, row)| row).collect()
    }
}
