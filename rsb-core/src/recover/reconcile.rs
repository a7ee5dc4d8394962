//! What a backend missed while it was away: what the catalog says it holds and it does not show goes in the ledger, and what
//! should have been deleted from it is. Nothing of it is served that the catalog does not name, so an old state it may have
//! been put back to cannot be seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::backend::Backend;
use crate::catalog::{BatchRow, Holder, HolderState, LedgerEntry, LedgerItem, LedgerReason};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::files::{Ask, error_sentence, get_all};
use crate::format::batch::{MAX_RECORD_LEN, read_copy};
use crate::format::manifest::Body;
use crate::format::paths;
use crate::id::{BatchId, DataId};
use crate::read::piece::Piece;
use crate::recover::is_in_doubt;
use crate::write::cleanup::remove_batch;

/// What a backend missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Shards that it should have and does not: in the ledger now.
    pub shards: u64,
    /// Manifest copies, likewise.
    pub copies: u64,
}

/// Files by name, with their sizes.
struct Shown {
    shards: BTreeMap<(DataId, usize), u64>,
    batches: BTreeMap<BatchId, u64>,
}

/// Compares what a backend shows with what the catalog says of it. `Unavailable` where it cannot be listed.
pub(crate) async fn reconcile(core: &Arc<Core>, backend: &Backend) -> Result<Missed> {
    let _whole = core.whole.read().await;
    // The listing comes first: what is written meanwhile may be taken for missing, which is looked at once more.
    let shown = Shown {
        shards: list(backend, paths::shards(), paths::parse_shard).await?,
        batches: list(backend, paths::manifests(), paths::parse_batch).await?,
    };
    Ok(Missed { copies: copies(core, backend, &shown).await?, shards: shards(core, backend, &shown).await? })
}

async fn list<K: Ord>(backend: &Backend, folder: Path, parse: impl Fn(&Path) -> Option<K>) -> Result<BTreeMap<K, u64>> {
    let mut files = BTreeMap::new();
    let mut listing = backend.store().list(Some(&folder));
    loop {
        match listing.try_next().await {
            Ok(Some(meta)) => files.extend(parse(&meta.location).map(|name| (name, meta.size))),
            Ok(None) | Err(object_store::Error::NotFound { .. }) => return Ok(files),
            Err(error) => {
                let sentence = format!("backend {:?} cannot be listed: {}", backend.name(), error_sentence(&error));
                return Err(Error::unavailable(sentence).backends([backend.name()]));
            }
        }
    }
}

/// What is wrong with a file of which the backend shows this size; `None` when nothing is.
fn wrong(shown: Option<&u64>, expected: u64) -> Option<LedgerReason> {
    match shown {
        None => Some(LedgerReason::Missing),
        Some(size) if *size == expected || expected == 0 => None,
        Some(_) => Some(LedgerReason::Corrupt),
    }
}

async fn copies(core: &Arc<Core>, backend: &Backend, shown: &Shown) -> Result<u64> {
    let (mut missed, mut after) = (0, None);
    loop {
        let page = core.catalog.batches_after(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(missed) };
        after = Some(last.id);
        for row in page {
            missed += u64::from(copy(core, backend, row, shown).await?);
        }
    }
}

/// Whether the backend lacks its copy of a batch.
async fn copy(core: &Arc<Core>, backend: &Backend, row: BatchRow, shown: &Shown) -> Result<bool> {
    let own = row.holders.iter().find(|h| h.backend == backend.name() && h.state == HolderState::Held);
    let shows = shown.batches.get(&row.id);
    let (number, reason) = match own {
        Some(own) => match wrong(shows, row.len_bytes) {
            Some(reason) => (own.copy, reason),
            None => return Ok(false),
        },
        None if shows.is_some() => {
            take_in(core, backend, row).await?;
            return Ok(false);
        }
        // A rebuild without this backend did not know of its copy.
        None => match missing_copy(&row).filter(|_| backend.is_writable()) {
            Some(copy) => (copy, LedgerReason::Missing),
            None => return Ok(false),
        },
    };
    let records = core.catalog.records_of(row.id).await?;
    let Some(first) = records.iter().find(|record| record.live) else { return Ok(false) };
    let item = LedgerItem::Copy { batch: row.id, copy: number };
    note(core, backend, item, (&first.bucket, &first.key), reason).await?;
    Ok(true)
}

/// The first copy that nobody holds.
fn missing_copy(row: &BatchRow) -> Option<u16> {
    let held = |copy: &u16| row.holders.iter().any(|h| h.copy == *copy && h.state == HolderState::Held);
    (0..row.copies).find(|copy| !held(copy))
}

/// A copy that the catalog does not know of: a rebuild was made without this backend, or a delete did not reach it.
async fn take_in(core: &Arc<Core>, backend: &Backend, row: BatchRow) -> Result<()> {
    let _changing = core.changing_batch(row.id).await;
    let Some(row) = core.catalog.batch(row.id).await? else { return Ok(()) };
    if row.holders.iter().any(|h| h.backend == backend.name() && h.state == HolderState::Held) {
        return Ok(());
    }
    let read = get_all(backend, &paths::batch(row.id), MAX_RECORD_LEN).await;
    let copy = read.ok().and_then(|bytes| {
        let (header, records) = read_copy(&core.checksums, core.repository, row.id, &bytes).ok()?;
        let whole = records.iter().all(|r| matches!(r, Ok(r) if r.inline.is_ok()));
        (whole && bytes.len() as u64 == row.len_bytes).then_some(header.copy)
    });
    let free =
        |copy: &u16| *copy < row.copies && !row.holders.iter().any(|h| h.copy == *copy && h.state == HolderState::Held);
    let name = backend.name().to_owned();
    let holder = match copy.filter(free) {
        Some(copy) => Holder { backend: name, copy, state: HolderState::Held },
        // It must go when the batch goes, or it would bring dead records back.
        None => Holder { backend: name, copy: 0, state: HolderState::Doubtful },
    };
    let mut holders = row.holders;
    holders.retain(|h| h.backend != holder.backend);
    let item = LedgerItem::Copy { batch: row.id, copy: holder.copy };
    let is_held = holder.state == HolderState::Held;
    holders.push(holder);
    core.catalog.set_holders(row.id, holders).await?;
    if is_held { core.catalog.ledger_remove(&[item]).await } else { Ok(()) }
}

async fn shards(core: &Arc<Core>, backend: &Backend, shown: &Shown) -> Result<u64> {
    let (mut missed, mut after) = (0, None);
    loop {
        let page = core.catalog.versions_after(after.clone(), 1000).await?;
        let Some(last) = page.last() else { return Ok(missed) };
        after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
        for entry in &page {
            let Body::Segments(body) = &entry.manifest.body else { continue };
            for piece in body.views().map(|view| Piece::of_segment(&view)) {
                let expected = piece.file_len();
                for (index, at) in piece.shards.iter().enumerate() {
                    if at.as_ref().is_none_or(|at| at.backend != backend.name()) {
                        continue;
                    }
                    let Some(reason) = wrong(shown.shards.get(&(piece.data_id, index)), expected) else { continue };
                    let of = (&entry.manifest.bucket, &entry.manifest.key);
                    note(core, backend, piece.ledger_item(index), of, reason).await?;
                    missed += 1;
                }
            }
        }
    }
}

async fn note(
    core: &Core,
    backend: &Backend,
    item: LedgerItem,
    (bucket, key): (&String, &String),
    reason: LedgerReason,
) -> Result<()> {
    let entry = LedgerEntry {
        item,
        backend: backend.name().to_owned(),
        bucket: bucket.clone(),
        key: key.clone(),
        reason,
        noted_ms: core.env.now_ms(),
    };
    core.catalog.ledger_add(vec![entry]).await
}

/// Deletes what should have gone from a backend while it was away: manifest files with nothing live in them. Nothing while
/// the catalog shows what is in doubt: what that replaced may be what was acknowledged.
pub(crate) async fn make_up_for_deletes(core: &Core, backend: &Backend) -> Result<u64> {
    let _whole = core.hold_whole().await?;
    if is_in_doubt(core).await? {
        return Ok(0);
    }
    let (mut removed, mut after) = (0, None);
    loop {
        let page = core.catalog.dead_batches(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(removed) };
        after = Some(last.id);
        for row in page.into_iter().filter(|row| row.holders.iter().any(|h| h.backend == backend.name())) {
            // One that is read, or written anew, goes later.
            if let Some(_marked) = core.leases.try_delete(row.id.0) {
                removed += u64::from(remove_batch(core, row, Ask::All).await?);
            }
        }
    }
}
