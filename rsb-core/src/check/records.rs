//! Records that are no object: buckets, delete markers, deletions. Losing their copies would bring deleted objects back and
//! hide buckets, so they are checked and repaired as objects are.

use std::collections::{BTreeSet, HashSet};

use super::Checker;
use super::checker::Seen;
use crate::api::{CheckReport, Depth, ObjectHealth, Scope};
use crate::catalog::{Located, RecordRow};
use crate::core::Core;
use crate::env::Flaw;
use crate::error::Result;
use crate::id::BatchId;

/// A live record in a batch that holds no object which is looked at anyway.
pub(crate) struct Other(pub RecordRow);

/// One live record for each batch of the scope, but for those that were `seen` with an object of theirs.
pub(crate) async fn others(core: &Core, scope: &Scope, seen: &BTreeSet<BatchId>) -> Result<Vec<Other>> {
    let mut out = Vec::new();
    // One object is asked for, not what else was written of its name.
    if scope.key.is_some() || core.env.has(Flaw::ForgetsRecords) {
        return Ok(out);
    }
    let needless = needless(core).await?;
    let mut after = None;
    loop {
        let page = core.catalog.batches_after(after, 1000).await?;
        core.check_catalog_whole()?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some(last.id);
        for row in page.iter().filter(|row| !seen.contains(&row.id)) {
            let records = core.catalog.records_of(row.id).await?;
            out.extend(
                records
                    .into_iter()
                    .find(|r| r.live && !needless.contains(&r.at) && scope.has(&r.bucket, &r.key))
                    .map(Other),
            );
        }
    }
}

/// Deletions that nothing is left of to be kept deleted: a sweep drops them, and a power cut may show ones again that it has
/// dropped.
async fn needless(core: &Core) -> Result<HashSet<Located>> {
    let mut out = HashSet::new();
    let mut after = None;
    loop {
        let page = core.catalog.tombstones_after(after, 1000).await?;
        let Some((last, _)) = page.last() else { break };
        after = Some(last.record.version());
        out.extend(page.into_iter().filter(|(_, blocked)| !blocked).map(|(tombstone, _)| tombstone.at));
    }
    let buckets = core.catalog.dead_buckets().await?;
    out.extend(buckets.into_iter().filter(|(_, blocked)| !blocked).map(|(bucket, _)| bucket.at));
    Ok(out)
}

impl Checker {
    /// Notes in the ledger what is missing or corrupt of such a record's copies, and takes out what is sound.
    pub(super) async fn remember_other(&self, Other(record): &Other, seen: &Seen) -> Result<()> {
        if self.depth == Depth::Full {
            self.core.catalog.ledger_remove(&seen.sound).await?;
        }
        let lines = seen.lines(self.core.env.now_ms());
        if lines.is_empty() || self.core.catalog.batch(record.at.batch).await?.is_none() {
            return Ok(());
        }
        self.core.catalog.ledger_add(lines).await
    }

    /// Looks at the copies of such a record. Its key is empty where it is a bucket's.
    pub async fn look_at_other(&self, Other(record): &Other) -> Result<Seen> {
        let batch = self.core.catalog.batch(record.at.batch).await?;
        let mut seen = Seen::of(ObjectHealth {
            bucket: record.bucket.clone(),
            key: record.key.clone(),
            version: record.version,
            size: 0,
            margin: 0,
            full_margin: 0,
            findings: Vec::new(),
        });
        // Gone meanwhile: nothing is missing.
        let Some(row) = batch else { return Ok(seen) };
        let good = self.look_at_copies(record.at.extent, &row, usize::from(row.copies), &mut seen).await;
        seen.health.margin = good as i32 - 1;
        seen.health.full_margin = i32::from(row.copies) - 1;
        Ok(seen)
    }
}

impl CheckReport {
    /// Counts what is damaged of them; they are no objects.
    pub(super) fn add_other(&mut self, seen: Seen) {
        let health = seen.health;
        self.bytes_read += seen.bytes_read;
        match (health.is_readable(), health.is_whole()) {
            (false, _) => self.unreadable += 1,
            (true, false) => self.degraded += 1,
            (true, true) => return,
        }
        self.damaged.push(health);
    }
}
