//! What a newer version, or a tombstone, leaves behind: shards that nothing points at any more, batches without a live
//! record. Removed in the background, after the readers of it have finished; what cannot be reached is left to the sweep.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::path::Path;
use uuid::Uuid;

use crate::catalog::{BatchRow, Entry, Holder, HolderState, LedgerItem, PartRow};
use crate::core::Core;
use crate::env::Flaw;
use crate::error::Result;
use crate::files::{Ask, delete_files};
use crate::format::manifest::{Body, SegmentedBody};
use crate::format::paths;
use crate::id::DataId;
use crate::read::ids_of;
use crate::recover::{is_in_doubt, unneeded};

/// Cleans up behind superseded versions, in the background.
pub(crate) fn superseded(core: &Arc<Core>, entries: Vec<Entry>) {
    if entries.is_empty() {
        return;
    }
    let worker = core.clone();
    core.tasks.spawn(async move {
        for entry in entries {
            if let Err(error) = clean(&worker, &entry).await {
                tracing::warn!(object = %format!("{}/{}", entry.manifest.bucket, entry.manifest.key), %error,
                    "what an old version left behind could not be removed; the sweep will");
            }
        }
    });
}

/// While something is in doubt it stays: what that has replaced may lie in the same batch, or share segments, and live again.
async fn clean(core: &Core, entry: &Entry) -> Result<()> {
    let ids: Vec<Uuid> = ids_of(entry).collect();
    let _marked = core.leases.begin_delete(&ids).await;
    let _whole = core.hold_whole().await?;
    if let Body::Segments(body) = &entry.manifest.body {
        remove_shards(core, body).await?;
    }
    if core.catalog.is_live(entry.at.batch).await? || is_in_doubt(core).await? {
        return Ok(());
    }
    if let Some(row) = core.catalog.batch(entry.at.batch).await? {
        remove_batch(core, row, Ask::TheWell).await?;
    }
    Ok(())
}

/// Removes the shards of those segments, all marked for deletion, that nothing points at.
async fn remove_shards(core: &Core, body: &SegmentedBody) -> Result<()> {
    let ids: Vec<DataId> = body.segments.iter().map(|s| s.data_id).collect();
    let mut free: BTreeSet<DataId> = unneeded(core, &ids).await?.into_iter().collect();
    if core.env.has(Flaw::RemovesShared) {
        free.extend(&ids);
    }
    core.leases.remove(free.iter().map(|id| id.0));
    let mut files: Vec<(String, Path)> = Vec::new();
    let mut items = Vec::new();
    for segment in body.views().filter(|s| free.contains(&s.data_id)) {
        for (index, backend) in segment.backends.iter().enumerate() {
            files.push(((*backend).to_owned(), paths::shard(segment.data_id, index)));
            items.push(LedgerItem::Shard { data_id: segment.data_id, index: index as u16 });
        }
    }
    // A repair of what has been deleted is dropped, not tried for ever.
    core.catalog.ledger_remove(&items).await?;
    delete_files(core, files, Ask::TheWell).await;
    Ok(())
}

/// Removes in the background what parts that are no longer wanted have left: replaced, left out, or of an aborted upload.
pub(crate) fn parts(core: &Arc<Core>, parts: Vec<PartRow>) {
    if parts.is_empty() {
        return;
    }
    let worker = core.clone();
    core.tasks.spawn(async move {
        for part in parts {
            let ids: Vec<Uuid> = part.data_ids().map(|id| id.0).collect();
            let _marked = worker.leases.begin_delete(&ids).await;
            let removed = async {
                let _whole = worker.hold_whole().await?;
                remove_shards(&worker, &part.body).await
            };
            if let Err(error) = removed.await {
                tracing::warn!(%error, "the shards of a part that is not wanted could not be removed; the sweep will");
            }
        }
    });
}

/// Removes all copies of a batch without live records; forgets it when every one is known to be gone.
pub(crate) async fn remove_batch(core: &Core, row: BatchRow, ask: Ask) -> Result<bool> {
    let _changing = core.changing_batch(row.id).await;
    // A copy may have been moved since it was looked up.
    let Some(row) = core.catalog.batch(row.id).await? else { return Ok(true) };
    core.leases.remove([row.id.0]);
    let items: Vec<LedgerItem> = (0..row.copies).map(|copy| LedgerItem::Copy { batch: row.id, copy }).collect();
    core.catalog.ledger_remove(&items).await?;
    let holders: BTreeSet<String> = row.holders.iter().map(|h| h.backend.clone()).collect();
    let files = holders.into_iter().map(|backend| (backend, paths::batch(row.id)));
    let left = delete_files(core, files.collect::<Vec<_>>(), ask).await;
    if left.is_empty() {
        core.catalog.forget_batch(row.id).await?;
        return Ok(true);
    }
    let holders = left.into_iter().map(|(backend, _)| Holder { backend, copy: 0, state: HolderState::Doubtful });
    core.catalog.set_holders(row.id, holders.collect()).await?;
    Ok(false)
}

/// Deletes what a write that failed has left of its segments, in the background.
pub(crate) fn undo_segments(core: &Arc<Core>, files: Vec<(String, Path)>) {
    if files.is_empty() {
        return;
    }
    let worker = core.clone();
    core.tasks.spawn(async move {
        let left = delete_files(&worker, files, Ask::TheWell).await;
        if !left.is_empty() {
            tracing::info!(files = left.len(), "shards of an undone write could not be deleted; the sweep will");
        }
    });
}
