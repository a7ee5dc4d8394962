//! Compaction: a batch with mostly dead records is kept only for the few that live. They are written anew, each as its next
//! revision, and the batch is then dead and goes.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::api::Progress;
use crate::catalog::{BatchRow, BucketRule, HolderState, Located, Precondition, RecordRow};
use crate::core::Core;
use crate::error::Result;
use crate::format::batch::InlineShards;
use crate::format::manifest::Record;
use crate::recover::{check_readable, load_batch};
use crate::write::commit::{Committer, Pending};

/// Records moved at once: they share a batch.
const AT_ONCE: usize = 128;

/// Rewrites what lives in batches made before `horizon_ms` of which more than half is dead. Gives how many there were.
pub(crate) async fn compact(
    core: &Arc<Core>,
    committer: &Committer,
    horizon_ms: u64,
    progress: &Progress,
) -> Result<u64> {
    let mut compacted = 0;
    let mut after = None;
    loop {
        let page = core.catalog.batches_after(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(compacted) };
        after = Some(last.id);
        for row in page.into_iter().filter(|row| row.id.unix_ms() < horizon_ms) {
            progress.check()?;
            compacted += u64::from(rewrite(core, committer, row).await?);
        }
    }
}

async fn rewrite(core: &Arc<Core>, committer: &Committer, row: BatchRow) -> Result<bool> {
    let rows = core.catalog.records_of(row.id).await?;
    let live = rows.iter().filter(|r| r.live).count();
    if live == 0 || live * 2 >= rows.len() {
        return Ok(false);
    }
    move_out(core, committer, &row, &rows).await
}

/// Writes what lives in a batch anew, so that the batch is dead. Whether all of it could be read.
pub(crate) async fn move_out(
    core: &Arc<Core>,
    committer: &Committer,
    row: &BatchRow,
    rows: &[RecordRow],
) -> Result<bool> {
    let held = row.holders.iter().filter(|h| h.state == HolderState::Held);
    let loaded = load_batch(core, row.id, &held.map(|h| h.backend.clone()).collect::<Vec<_>>()).await;
    let mut wishes = Vec::new();
    for at in rows.iter().filter(|r| r.live).map(|r| r.at) {
        // What cannot be read now stays where it is, for the repair.
        let Some(found) = loaded.records.get(&at.extent.offset) else { return Ok(false) };
        let Ok(inline) = loaded.inline_of(core, found) else { return Ok(false) };
        wishes.push((at, found.record.clone(), inline));
    }
    let moves = wishes.into_iter().map(|(at, record, inline)| move_record(core, committer, at, record, inline));
    stream::iter(moves.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(true)
}

/// Commits a record's next revision, unless somebody else has done so since.
async fn move_record(
    core: &Arc<Core>,
    committer: &Committer,
    at: Located,
    record: Record,
    inline: InlineShards,
) -> Result<()> {
    let _revising = core.revising(record.bucket(), record.key()).await;
    let default = core.config.scheme;
    let scheme = match &record {
        Record::Version(m) => {
            let now = core.catalog.entry(&m.bucket, &m.key, Some(m.version)).await?;
            if now.is_none_or(|entry| entry.at != at) {
                return Ok(());
            }
            check_readable(core, m).await?;
            m.scheme().unwrap_or(default)
        }
        _ => default,
    };
    let record = next_revision(&record);
    let pending = Pending {
        bucket: record.bucket().to_owned(),
        key: record.key().to_owned(),
        precondition: Precondition::None,
        bucket_rule: BucketRule::Any,
        keeps_id: true,
        k: scheme.k(),
        m: scheme.m(),
        inline,
        make: Box::new(move |_| record),
        ledger: Vec::new(),
        hold: None,
        completes: None,
    };
    committer.commit(pending).await?;
    Ok(())
}

fn next_revision(record: &Record) -> Record {
    let mut next = record.clone();
    match &mut next {
        Record::Version(manifest) => manifest.revision += 1,
        Record::Tombstone(tombstone) => tombstone.revision += 1,
        Record::Bucket(bucket) => bucket.revision += 1,
    }
    next
}
