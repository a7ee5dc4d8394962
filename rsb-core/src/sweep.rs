//! Sweep: removes what no manifest names, once it is older than the grace time, and drops tombstones when every copy of
//! what they killed is known to be gone. While any backend cannot be reached, nothing is deleted.

mod strays;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::path::Path;

use self::strays::Named;
use crate::api::{Progress, SweepReport, SweepRequest};
use crate::catalog::{Holder, HolderState, LedgerItem};
use crate::core::Core;
use crate::env::Flaw;
use crate::error::{Error, Result};
use crate::files::{Ask, delete_files};
use crate::format::manifest::Record;
use crate::format::paths;
use crate::id::{BatchId, DataId};
use crate::recover::{all_has_landed, catch_up, decide, is_in_doubt, list_all, load_batch, unneeded};
use crate::repair::lines::is_forgotten;
use crate::watch;
use crate::write::cleanup::remove_batch;
use crate::write::commit::Committer;
use crate::write::compact::compact;
use crate::write::multipart::expire;

pub(crate) async fn sweep(
    core: &Arc<Core>,
    committer: &Committer,
    request: SweepRequest,
    progress: &Progress,
) -> Result<SweepReport> {
    core.check_writable()?;
    let mut report = SweepReport::default();
    // A disk that is not mounted looks like an empty one: who does not show its marker now counts as away.
    watch::look_at_all(core).await;
    for _ in 0..ATTEMPTS {
        if sweep_once(core, committer, request, progress, &mut report).await? {
            return Ok(report);
        }
    }
    let sentence = "the catalog was made anew again and again while it was swept; sweep again when that is over";
    Err(Error::unavailable(sentence))
}

/// So often a sweep begins anew because the catalog was.
const ATTEMPTS: usize = 4;

/// Whether it came to its end: it begins anew where the catalog was made anew after what backends show was looked at.
async fn sweep_once(
    core: &Arc<Core>,
    committer: &Committer,
    request: SweepRequest,
    progress: &Progress,
    report: &mut SweepReport,
) -> Result<bool> {
    (report.too_young, report.foreign, report.misplaced) = (0, 0, 0);
    let began_ms = core.env.now_ms();
    // What looks like garbage may be a write whose acknowledgement the catalog lost: adopt it first.
    let whole = core.whole.read().await;
    let rebuilds = core.rebuilds();
    let caught_up = catch_up(core, None, !request.dry_run, progress).await?;
    drop(whole);
    if !caught_up.unreachable.is_empty() && !core.env.has(Flaw::SweepsInDoubt) {
        report.unreachable = caught_up.unreachable;
        return Ok(true);
    }
    all_has_landed(core, began_ms).await?;
    // Nothing may go that was replaced by what is in doubt. All backends can be seen now, so it can be told.
    if !request.dry_run
        && let Err(unreachable) = decide(core, progress).await?
    {
        tracing::warn!("nothing is swept: the catalog shows records of which too few copies are seen");
        report.undecided = unreachable.is_empty();
        report.unreachable = unreachable;
        return Ok(true);
    }
    report.uploads_expired += expire(core, request.dry_run).await?;
    let mut sweep =
        Sweep { core, dry_run: request.dry_run, horizon_ms: horizon(core), rebuilds, spared: BTreeSet::new() };
    let Some(whole) = core.hold_since(rebuilds).await? else { return Ok(false) };
    let certain = sweep.batches(report).await?;
    if !report.unreachable.is_empty() {
        return Ok(true);
    }
    drop(whole);
    if !sweep.shards(report).await? {
        return Ok(false);
    }
    if !report.unreachable.is_empty() {
        return Ok(true);
    }
    if certain && !request.dry_run {
        let Some(_whole) = core.hold_since(rebuilds).await? else { return Ok(false) };
        sweep.tombstones(report).await?;
    }
    if !request.dry_run {
        report.batches_compacted += compact(core, committer, sweep.horizon_ms, progress).await?;
    }
    let Some(_whole) = core.hold_since(rebuilds).await? else { return Ok(false) };
    sweep.dead_batches(report).await?;
    if !request.dry_run {
        forgotten_lines(core).await?;
    }
    Ok(true)
}

/// Takes lines out of the ledger that are about what is not there any more: noted beside its removal.
async fn forgotten_lines(core: &Core) -> Result<()> {
    let mut after = None;
    loop {
        let page = core.catalog.ledger_after(after.as_ref(), 1000).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.item.clone());
        let mut gone = Vec::new();
        for line in page {
            let is_gone = match &line.item {
                LedgerItem::Shard { data_id, .. } => is_forgotten(core, *data_id).await?,
                LedgerItem::Copy { batch, copy } => {
                    core.catalog.batch(*batch).await?.is_none_or(|row| *copy >= row.copies)
                }
            };
            gone.extend(is_gone.then_some(line.item));
        }
        core.catalog.ledger_remove(&gone).await?;
    }
}

/// What was made before this millisecond is old enough to be garbage.
fn horizon(core: &Core) -> u64 {
    let grace = u64::try_from(core.config.grace.as_millis()).unwrap_or(u64::MAX);
    core.env.now_ms().saturating_sub(grace)
}

struct Sweep<'a> {
    core: &'a Arc<Core>,
    dry_run: bool,
    horizon_ms: u64,
    /// How often the catalog had been made anew when the backends were looked at.
    rebuilds: u64,
    /// What records name that are nobody's, and too young to be garbage: they may be adopted yet.
    spared: BTreeSet<DataId>,
}

impl Sweep<'_> {
    /// Unknown shards. False where the catalog was made anew meanwhile.
    async fn shards(&self, report: &mut SweepReport) -> Result<bool> {
        let core = self.core;
        let _alone = core.moving.write().await;
        let Some(_whole) = core.hold_since(self.rebuilds).await? else { return Ok(false) };
        // The listing comes before the catalog is read: what is committed in between is seen as named.
        let listed = list_all(core, paths::shards(), None, |meta| {
            Some((paths::parse_shard(&meta.location), meta.size, meta.last_modified.timestamp_millis(), meta.location))
        })
        .await;
        if !listed.unreachable.is_empty() && !core.env.has(Flaw::SweepsInDoubt) {
            report.unreachable = listed.unreachable;
            return Ok(true);
        }
        let first_arriving = core.first_arriving();
        let held = core.held_by_now().await;
        let named = Named::in_catalog(core).await?;
        let mut garbage: Vec<(DataId, usize, String, Path, u64)> = Vec::new();
        for (backend, files) in &listed.files {
            for (parsed, size, modified_ms, path) in files {
                let Some((id, index)) = *parsed else {
                    report.foreign += 1;
                    continue;
                };
                if named.names(id, index, backend) {
                    continue;
                }
                let horizon_ms = if core.may_be_named(id) { 0 } else { self.horizon_ms };
                let old = id.unix_ms() < horizon_ms && u64::try_from(*modified_ms).unwrap_or(0) < horizon_ms;
                let is_used = held.contains(&id.0) || first_arriving.is_some_and(|first| id >= first);
                if !old || is_used {
                    report.too_young += 1;
                } else {
                    garbage.push((id, index, backend.clone(), path.clone(), *size));
                }
            }
        }
        let free = self.free(garbage.iter().map(|(id, ..)| *id).filter(|id| !named.contains(*id)).collect()).await?;
        // Where a shard lies besides what is named may be what something names that was replaced by what is in doubt.
        let strays_go = !is_in_doubt(core).await?;
        garbage.retain(|(id, ..)| if named.contains(*id) { strays_go } else { free.contains(id) });
        let files = listed.files.iter().flat_map(|(backend, files)| files.iter().map(move |file| (backend, file)));
        let shards = files.filter_map(|(backend, (parsed, size, ..))| {
            let (id, index) = (*parsed)?;
            Some((id, index, *size, backend.as_str()))
        });
        let needed = named.needed(garbage.iter().map(|(id, index, _, _, size)| (*id, *index, *size)), shards);
        garbage.retain(|(id, index, ..)| !needed.contains_key(&(*id, *index)));
        report.misplaced += needed.len() as u64;
        report.shards_removed += garbage.len() as u64;
        report.bytes_removed += garbage.iter().map(|(.., size)| size).sum::<u64>();
        if !self.dry_run {
            strays::note(core, &needed).await?;
            let files = garbage.into_iter().map(|(_, _, backend, path, _)| (backend, path));
            let left = delete_files(core, files.collect::<Vec<_>>(), Ask::All).await;
            report.shards_removed -= left.len() as u64;
        }
        Ok(true)
    }

    /// Which of the data ids nobody reads, and nothing names: a copy may have been made of what was being deleted.
    async fn free(&self, ids: BTreeSet<DataId>) -> Result<BTreeSet<DataId>> {
        let leases = &self.core.leases;
        let wanted = ids.into_iter().filter(|id| !self.spared.contains(id));
        let (free, _marked): (Vec<DataId>, Vec<_>) =
            wanted.filter_map(|id| Some((id, leases.try_delete(id.0)?))).unzip();
        // A backend that came back meanwhile may have shown something in doubt.
        let free: BTreeSet<DataId> = unneeded(self.core, &free).await?.into_iter().collect();
        if !self.dry_run {
            leases.remove(free.iter().map(|id| id.0));
        }
        Ok(free)
    }

    /// Unknown manifest files. Whether every file is known (or gone), so that nothing hidden could be killed by a tombstone.
    async fn batches(&mut self, report: &mut SweepReport) -> Result<bool> {
        let core = self.core;
        let listed =
            list_all(core, paths::manifests(), None, |meta| Some((paths::parse_batch(&meta.location), meta.size)))
                .await;
        if !listed.unreachable.is_empty() && !core.env.has(Flaw::SweepsInDoubt) {
            report.unreachable = listed.unreachable;
            return Ok(false);
        }
        let mut files: BTreeMap<BatchId, Vec<(String, u64)>> = BTreeMap::new();
        for (backend, found) in listed.files {
            for (id, size) in found {
                match id {
                    Some(id) => files.entry(id).or_default().push((backend.clone(), size)),
                    None => report.foreign += 1,
                }
            }
        }
        let mut certain = true;
        for (id, holders) in files {
            // The clock may have been turned since it was named.
            let is_flying = core.is_flying(id);
            match core.catalog.batch(id).await? {
                Some(row) => {
                    let stray = |name: &String| !row.holders.iter().any(|h| h.backend == *name);
                    let strays: Vec<Holder> = holders
                        .iter()
                        .filter(|(name, _)| stray(name))
                        .map(|(name, _)| Holder { backend: name.clone(), copy: 0, state: HolderState::Doubtful })
                        .collect();
                    if !strays.is_empty() && !self.dry_run {
                        // It must go when the batch goes, or it would bring dead records back.
                        let _changing = core.changing_batch(id).await;
                        let Some(row) = core.catalog.batch(id).await? else { continue };
                        core.catalog.set_holders(id, with_strays(row.holders, strays)).await?;
                    }
                }
                None if id.unix_ms() >= self.horizon_ms || is_flying => {
                    report.too_young += holders.len() as u64;
                    certain = false;
                    let holders: Vec<String> = holders.into_iter().map(|(name, _)| name).collect();
                    report.unreachable.extend(self.spare(id, &holders).await);
                }
                None => {
                    report.batches_removed += 1;
                    report.bytes_removed += holders.iter().map(|(_, size)| size).sum::<u64>();
                    if !self.dry_run {
                        core.leases.remove([id.0]);
                        let files = holders.into_iter().map(|(name, _)| (name, paths::batch(id)));
                        certain &= delete_files(core, files.collect::<Vec<_>>(), Ask::All).await.is_empty();
                    }
                }
            }
        }
        Ok(certain)
    }

    /// Spares what a batch names. Gives the backends that did not answer.
    async fn spare(&mut self, id: BatchId, holders: &[String]) -> Vec<String> {
        let loaded = load_batch(self.core, id, holders).await;
        for record in loaded.records.values() {
            if let Record::Version(manifest) = &record.record {
                self.spared.extend(manifest.data_ids());
            }
        }
        loaded.unreachable
    }

    async fn tombstones(&self, report: &mut SweepReport) -> Result<()> {
        let mut after = None;
        // Once a tombstone is gone from the backends only the catalog knows of the deletion, so no power cut may take that back.
        self.core.catalog.sync().await?;
        // While the shards stay of what was there before a crash, a backend that is put back to an earlier content would bring it
        // back.
        let horizon_ms = if self.core.late().is_some() { 0 } else { self.horizon_ms };
        loop {
            let page = self.core.catalog.tombstones_after(after, 1000).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.record.version());
            for (tombstone, blocked) in page {
                // A revision written beside the delete may still be on its way: the tombstone outlives it.
                let blocked = blocked && !self.core.env.has(Flaw::DropsTombstones);
                if !blocked && tombstone.record.version().unix_ms() < horizon_ms {
                    self.core.catalog.drop_record(tombstone.at).await?;
                    report.tombstones_dropped += 1;
                }
            }
        }
        for (bucket, blocked) in self.core.catalog.dead_buckets().await? {
            if !blocked && bucket.record.version().unix_ms() < horizon_ms {
                self.core.catalog.drop_record(bucket.at).await?;
                report.tombstones_dropped += 1;
            }
        }
        Ok(())
    }

    async fn dead_batches(&self, report: &mut SweepReport) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.core.catalog.dead_batches(after, 1000).await?;
            let Some(last) = page.last() else { return Ok(()) };
            if is_in_doubt(self.core).await? {
                return Ok(());
            }
            after = Some(last.id);
            for row in page {
                let bytes = row.len_bytes * row.holders.len() as u64;
                // Whoever moves a copy of it has a lease.
                let marked = if self.dry_run { None } else { self.core.leases.try_delete(row.id.0) };
                if !self.dry_run && marked.is_none() {
                    continue;
                }
                if self.dry_run || remove_batch(self.core, row, Ask::All).await? {
                    report.batches_removed += 1;
                    report.bytes_removed += bytes;
                }
            }
        }
    }
}

/// The holders of a batch and those that turned out to have a copy besides.
fn with_strays(mut holders: Vec<Holder>, strays: Vec<Holder>) -> Vec<Holder> {
    for stray in strays {
        if !holders.iter().any(|h| h.backend == stray.backend) {
            holders.push(stray);
        }
    }
    holders
}
