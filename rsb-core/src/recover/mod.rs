//! From the backends to the catalog: markers, batches, the catch-up at start, the rebuild, and the comparison of both.
//!
//! A record that enough backends show is taken as it is. One held by too few is adopted only after its copies were
//! completed and k good shards were read, so that what was once visible stays visible. Where they cannot be completed it is
//! shown in doubt, as it may be what was acknowledged; one that cannot be read is garbage.

mod batches;
mod kept;
mod late;
mod markers;
mod reconcile;
mod short;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;

pub(crate) use self::batches::{Loaded, list_all, load_batch, load_enough};
use self::kept::Kept;
pub(crate) use self::late::{all_has_landed, expect_late, expect_late_as_before};
pub(crate) use self::markers::{
    add_marker, admit, init_marker, init_markers, is_torn, read_marker, write_marker, wrong_marker,
};
pub(crate) use self::reconcile::{make_up_for_deletes, reconcile};
use self::short::{Scout, SeenShards, Verdict};
pub(crate) use self::short::{check_decided, check_readable};
use crate::api::{Progress, RebuildReport, VerifyReport};
use crate::backend::Backend;
use crate::catalog::{
    BatchRow, Catalog, Commit, Holder, HolderState, LedgerEntry, LedgerItem, LedgerReason, LocatedRecord, MemoryCatalog,
};
use crate::core::Core;
use crate::env::Flaw;
use crate::error::{Error, Result};
use crate::format::manifest::Record;
use crate::format::paths;
use crate::id::{BatchId, DataId};
use crate::watch::not_seen;

/// The catalog's named value that holds the repository's id.
pub(crate) const REPOSITORY_ID: &str = "repository_id";

/// The catalog's named value that holds the millisecond in which the ids of the last process began.
pub(crate) const IDS_FROM: &str = "ids_from_ms";

/// The catalog's named value that says that it shows records of which too few copies were seen, for backends were away: when
/// they are back, the catalog is made anew, as what those records replaced may be what was acknowledged.
pub(crate) const UNDECIDED: &str = "undecided";

/// The catalog's named value that says that a rebuild of it was begun and not ended.
pub(crate) const PARTIAL: &str = "rebuild_not_ended";

struct Recovery<'a> {
    core: &'a Arc<Core>,
    catalog: &'a dyn Catalog,
    /// Complete the copies of what too few backends hold.
    adopt: bool,
    /// Backends that could not be listed, or did not answer when something of a batch was looked at.
    unreachable: BTreeSet<String>,
    report: RebuildReport,
    /// Shards of the batch judged last that are not there, or not whole.
    lost_shards: Vec<LedgerEntry>,
    /// Known when the batches are judged that too few backends hold.
    tombstones: Tombstones,
}

/// Brings the catalog up to date with the backends: reads the batches it does not know, from `from` on.
pub(crate) async fn catch_up(
    core: &Arc<Core>,
    from: Option<BatchId>,
    adopt: bool,
    progress: &Progress,
) -> Result<RebuildReport> {
    let report = read_into(core, core.catalog.as_ref(), from, adopt, progress).await?;
    not_seen(core, &report.unreachable).await?;
    Ok(report)
}

/// Takes into a catalog what the backends show and it does not know, from `from` on.
async fn read_into(
    core: &Arc<Core>,
    catalog: &dyn Catalog,
    from: Option<BatchId>,
    adopt: bool,
    progress: &Progress,
) -> Result<RebuildReport> {
    let after = from.map(paths::batch);
    let listed = list_all(core, paths::manifests(), after, |meta| paths::parse_batch(&meta.location)).await;
    let mut batches: BTreeMap<BatchId, Vec<String>> = BTreeMap::new();
    for (backend, ids) in &listed.files {
        for id in ids {
            batches.entry(*id).or_default().push(backend.clone());
        }
    }
    progress.set_total(batches.len() as u64, 0);
    let unreachable = listed.unreachable.into_iter().collect();
    let mut recovery = Recovery {
        core,
        catalog,
        adopt,
        unreachable,
        report: RebuildReport::default(),
        lost_shards: Vec::new(),
        tombstones: Tombstones::new(),
    };
    let mut short = Vec::new();
    let loads = futures::stream::iter(batches).map(|(id, backends)| async move {
        // First this, then the catalog: one that has just been written is in it.
        let is_flying = core.is_flying(id) && !core.env.has(Flaw::AdoptsFlying);
        // What this process has removed is not taken from a listing that is late.
        let is_removed = core.leases.is_removed(id.0);
        let is_new = !is_flying && !is_removed && catalog.batch(id).await?.is_none();
        let loaded = if is_new { Some(load_batch(core, id, &backends).await) } else { None };
        Ok::<_, Error>((id, backends, loaded))
    });
    let mut loads = loads.buffered(AT_ONCE);
    while let Some(loaded) = loads.next().await {
        progress.check()?;
        let (id, backends, loaded) = loaded?;
        if let Some(loaded) = loaded
            && let Taken::Short = recovery.take(id, loaded, Short::Wait).await?
        {
            short.push((id, backends));
        }
        progress.add(1, 0);
    }
    drop(loads);
    if !short.is_empty() {
        recovery.tombstones = tombstones(catalog).await?;
    }
    // The newest first: what has replaced a version that lost its shards for that must be known by then.
    let scout = &Scout::new();
    let loads = futures::stream::iter(short.into_iter().rev()).map(|(id, backends)| async move {
        let loaded = load_batch(core, id, &backends).await;
        let shards = scout.look(core, &loaded).await;
        (id, loaded, shards)
    });
    let mut loads = loads.buffered(AT_ONCE);
    while let Some((id, loaded, shards)) = loads.next().await {
        progress.check()?;
        recovery.take(id, loaded, Short::Judge(shards)).await?;
    }
    drop(loads);
    let mut report = recovery.report;
    report.certain = recovery.unreachable.len() <= core.record_margin;
    report.unreachable = recovery.unreachable.into_iter().collect();
    report.versions = catalog.counts().await?.versions;
    report.buckets = catalog.buckets().await?.len() as u64;
    Ok(report)
}

/// So many batches are read at once.
const AT_ONCE: usize = 8;

/// The tombstones of a bucket and key.
type Tombstones = BTreeMap<(String, String), Vec<Record>>;

async fn tombstones(catalog: &dyn Catalog) -> Result<Tombstones> {
    let (mut out, mut after) = (Tombstones::new(), None);
    loop {
        let page = catalog.tombstones_after(after, 1000).await?;
        let Some((last, _)) = page.last() else { return Ok(out) };
        after = Some(last.record.version());
        for (LocatedRecord { record, .. }, _) in page {
            out.entry((record.bucket().to_owned(), record.key().to_owned())).or_default().push(record);
        }
    }
}

/// What becomes of a batch that too few backends hold.
enum Short {
    /// It waits until all others are known.
    Wait,
    /// With what is seen of its shards.
    Judge(SeenShards),
}

enum Taken {
    Done,
    Short,
}

impl Recovery<'_> {
    async fn take(&mut self, id: BatchId, mut loaded: Loaded, short: Short) -> Result<Taken> {
        self.lost_shards.clear();
        self.unreachable.extend(loaded.unreachable.iter().cloned());
        for record in loaded.records.values() {
            // Garbage now, it may be adopted when more backends are back: what is written until then must be newer.
            self.core.env.observe_id(record.record.version().0);
        }
        let (k, m) = loaded.scheme(self.core);
        let (copies, quorum) = self.core.record_quorum(k, m);
        let is_enough = loaded.holders.len() >= quorum || self.core.env.has(Flaw::BelievesFewCopies);
        let shards = match short {
            Short::Wait if !is_enough => return Ok(Taken::Short),
            Short::Wait => SeenShards::new(),
            Short::Judge(shards) => shards,
        };
        self.report.batches += 1;
        self.report.records += loaded.records.len() as u64;
        let verdict = match is_enough {
            true => Verdict::Shown,
            false => self.judge_short(&mut loaded, &shards, copies, quorum).await?,
        };
        if verdict == Verdict::Garbage {
            // Until it is swept it is known as nobody's: a dead batch would be deleted at once.
            self.report.garbage += 1;
            tracing::warn!(batch = %id, copies = loaded.holders.len(), "a batch that was never acknowledged is garbage");
            return Ok(Taken::Done);
        }
        if verdict == Verdict::InDoubt {
            // Before it is shown: a crash must not forget that it is in doubt.
            self.report.undecided += 1;
            self.catalog.set_value(UNDECIDED, Some("yes".into())).await?;
        }
        let holders = one_of_each(self.core, loaded.holders.clone());
        let row = BatchRow { id, len_bytes: loaded.len_bytes, copies: copies as u16, holders };
        // Shards come before copies: with those it would count as acknowledged.
        let ledger = match self.lost_shards.is_empty() {
            true => self.short_of(&row, &loaded),
            false => std::mem::take(&mut self.lost_shards),
        };
        let commit = Commit { batch: row, records: loaded.located(), ledger, completes: Vec::new() };
        for record in loaded.records.values().filter(|r| matches!(r.record, Record::Tombstone(_))) {
            let name = (record.record.bucket().to_owned(), record.record.key().to_owned());
            self.tombstones.entry(name).or_default().push(record.record.clone());
        }
        self.catalog.commit(commit).await?;
        Ok(Taken::Done)
    }

    /// What a batch is short of goes in the ledger: half of it may be all that a crash left, or a backend was lost.
    fn short_of(&self, row: &BatchRow, loaded: &Loaded) -> Vec<LedgerEntry> {
        let away = |backend: &str| self.unreachable.contains(backend);
        // Copies on backends that are away are nobody's loss yet.
        let lost = usize::from(row.copies).saturating_sub(row.holders.len());
        if lost == 0 || self.core.backends.iter().any(|b| away(b.name())) {
            return Vec::new();
        }
        let Some(first) = loaded.records.values().next() else { return Vec::new() };
        let free =
            |b: &&Backend| b.is_admitted() && b.is_writable() && !row.holders.iter().any(|h| h.backend == b.name());
        let homes = self.core.backends.iter().filter(free);
        let missing = (0..row.copies).filter(|copy| !row.holders.iter().any(|h| h.copy == *copy));
        let line = |(copy, home): (u16, &Backend)| LedgerEntry {
            item: LedgerItem::Copy { batch: row.id, copy },
            backend: home.name().to_owned(),
            bucket: first.record.bucket().to_owned(),
            key: first.record.key().to_owned(),
            reason: LedgerReason::Missing,
            noted_ms: self.core.env.now_ms(),
        };
        missing.zip(homes).map(line).collect()
    }
}

/// A move that was broken off leaves a copy in two places: one counts, where writes may go before others, and the other goes
/// when the batch goes.
fn one_of_each(core: &Core, mut holders: Vec<Holder>) -> Vec<Holder> {
    holders.sort_by_key(|h| (h.copy, core.backend(&h.backend).is_none_or(|b| !b.is_writable())));
    let mut last = None;
    for holder in &mut holders {
        if last.replace(holder.copy) == Some(holder.copy) {
            holder.state = HolderState::Doubtful;
        }
    }
    holders
}

/// Empties the catalog and rebuilds it from the backends alone. Until it is done nothing is looked up in it.
pub(crate) async fn rebuild(core: &Arc<Core>, progress: &Progress) -> Result<RebuildReport> {
    // What is being written is committed first, what is being removed goes.
    let _alone = core.whole.write().await;
    let catalog = core.catalog.as_ref();
    core.count_rebuild();
    core.set_catalog_partial(true);
    let kept = Kept::take(core).await.unwrap_or_else(|error| {
        // It may be rebuilt because it cannot be read.
        tracing::warn!(%error, "uploads in progress and the ledger cannot be kept");
        Kept::default()
    });
    // Which moves go on is known to the catalog alone, where ids began, and what may land.
    let mut known = Vec::new();
    for name in [crate::moves::JOURNAL, IDS_FROM, late::LATE] {
        known.push((name, catalog.value(name).await?));
    }
    catalog.clear().await?;
    for (name, value) in known {
        catalog.set_value(name, value).await?;
    }
    // One that is broken off is noticed at the next start.
    catalog.set_value(PARTIAL, Some("yes".into())).await?;
    catalog.set_value(REPOSITORY_ID, Some(core.repository.to_string())).await?;
    let report = catch_up(core, None, !core.config.read_only, progress).await?;
    catalog.set_value(PARTIAL, None).await?;
    kept.put_back(core).await?;
    judge_certainty(core, &report);
    core.set_catalog_partial(false);
    Ok(report)
}

/// Whether the catalog shows something that may turn out to be garbage: what that has replaced lives again then. Whoever
/// removes what nothing seems to need asks this after he has seen that: it is said before anything in doubt is shown.
pub(crate) async fn is_in_doubt(core: &Core) -> Result<bool> {
    Ok(core.catalog.value(UNDECIDED).await?.is_some())
}

/// Which of these segments nothing needs: nothing names them, or may yet, and nothing in doubt may have replaced what did. Asked
/// of a whole catalog, which is held.
pub(crate) async fn unneeded(core: &Core, ids: &[DataId]) -> Result<Vec<DataId>> {
    let ids: Vec<DataId> = ids.iter().copied().filter(|id| !core.may_be_named(*id)).collect();
    let unnamed = core.catalog.unreferenced(&ids).await?;
    Ok(if is_in_doubt(core).await? { Vec::new() } else { unnamed })
}

/// Makes the catalog anew where it shows records that were in doubt, and every backend says now what it has of them. Whether
/// nothing is in doubt any more; else the backends that did not answer.
pub(crate) async fn decide(core: &Arc<Core>, progress: &Progress) -> Result<Result<(), Vec<String>>> {
    if !is_in_doubt(core).await? {
        return Ok(Ok(()));
    }
    // Nobody can look anything up while the catalog is made anew, so it is tried beside it first.
    let fresh = MemoryCatalog::default();
    let report = read_into(core, &fresh, None, true, progress).await?;
    if !report.unreachable.is_empty() {
        return Ok(Err(report.unreachable));
    }
    // What has too few shards, or copies, waits for a repair, or for room. That sees only what the catalog shows: where it
    // would show something else it is made anew all the same.
    if report.undecided > 0 && all_versions(core.catalog.as_ref()).await? == all_versions(&fresh).await? {
        return Ok(Err(Vec::new()));
    }
    let report = rebuild(core, progress).await?;
    let decided = report.undecided == 0 && report.unreachable.is_empty();
    Ok(if decided { Ok(()) } else { Err(report.unreachable) })
}

/// Serves read-only while more backends are missing than a sure history allows.
pub(crate) fn judge_certainty(core: &Core, report: &RebuildReport) {
    core.set_left_out(report.garbage > 0 && !report.unreachable.is_empty());
    if report.certain || core.config.accept_uncertain_history {
        core.set_uncertain(None);
        if !report.certain {
            tracing::error!(unreachable = ?report.unreachable, "the history is uncertain, and was accepted so");
        }
        return;
    }
    core.set_uncertain(Some(format!(
        "{} backends cannot be reached ({}), more than the {} that may be missing for the history to be sure; bring them back, or accept an uncertain history",
        report.unreachable.len(),
        report.unreachable.join(", "),
        core.record_margin,
    )));
}

/// Compares the catalog with what a rebuild would make of the backends; changes nothing.
pub(crate) async fn verify(core: &Arc<Core>, progress: &Progress) -> Result<VerifyReport> {
    let _whole = core.hold_whole().await?;
    let fresh = MemoryCatalog::default();
    let rebuilt = read_into(core, &fresh, None, false, progress).await?;
    let (ours, theirs) = (all_versions(core.catalog.as_ref()).await?, all_versions(&fresh).await?);
    let mut differences = Vec::new();
    for (name, ours) in &ours {
        match theirs.get(name) {
            None => differences.push(format!("{}/{} version {} is not on the backends", name.0, name.1, name.2)),
            Some(theirs) if theirs != ours => {
                differences
                    .push(format!("{}/{} version {} is described otherwise on the backends", name.0, name.1, name.2));
            }
            Some(_) => {}
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        differences.push(format!("{}/{} version {} is not in the catalog", name.0, name.1, name.2));
    }
    Ok(VerifyReport { versions: ours.len() as u64, differences, unreachable: rebuilt.unreachable })
}

type VersionName = (String, String, crate::id::VersionId);

async fn all_versions(catalog: &dyn Catalog) -> Result<BTreeMap<VersionName, crate::format::manifest::Manifest>> {
    let mut out = BTreeMap::new();
    let mut after = None;
    loop {
        let page = catalog.versions_after(after.clone(), 1000).await?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
        for entry in page {
            let m = entry.manifest;
            out.insert((m.bucket.clone(), m.key.clone(), m.version), m);
        }
    }
}
