//! A backend is drained: round after round what lives on it is moved, until a round that began when every write from before
//! was done finds nothing. Then what nobody needs is removed from it, and the proof is made.

use std::collections::HashSet;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectMeta;
use object_store::path::Path;

use super::Mover;
use super::copies::{batches_on, counts_on, missing_without};
use super::parts::{count_on, open_parts};
use super::segments::{Versions, on};
use crate::api::DrainProof;
use crate::backend::{Backend, Role};
use crate::catalog::{BatchRow, HolderState, LedgerEntry, LedgerItem};
use crate::core::{Core, lock};
use crate::env::Flaw;
use crate::error::{Error, Result};
use crate::files::{Ask, delete, error_sentence};
use crate::format::paths;
use crate::id::DataId;
use crate::placement;
use crate::read::elsewhere::is_there;
use crate::read::piece::Piece;
use crate::recover::is_in_doubt;
use crate::write::cleanup::remove_batch;

/// How often writes that began before are looked at.
const SETTLE_LOOK: Duration = Duration::from_millis(20);

/// Refuses a drain that cannot come to its end.
pub(super) fn check(core: &Core, from: &str, to: Option<&str>) -> Result<()> {
    let unknown = |name: &str| Error::not_found(format!("there is no backend {name:?}; see `rsb backend ls`"));
    core.backend(from).ok_or_else(|| unknown(from))?;
    if let Some(to) = to {
        let target = core.backend(to).ok_or_else(|| unknown(to))?;
        if to == from || !target.is_writable() {
            let sentence =
                format!("{to:?} cannot take what {from:?} holds: it is not another backend that may be written to");
            return Err(Error::invalid(sentence).backends([to]));
        }
        if !target.is_admitted() {
            return Err(Error::unavailable(format!(
                "backend {to:?} cannot be reached, or has no marker of this repository; make it with `rsb backend add {to}`"
            ))
            .backends([to]));
        }
    }
    let rest: Vec<Backend> = core.backends.iter().filter(|b| b.name() != from).cloned().collect();
    let scheme = core.config.scheme;
    placement::prove(&rest, &core.config.spread, scheme.k(), scheme.m()).map_err(|e| {
        Error::config(format!("without backend {from:?} new objects could not be written: {}", e.message()))
            .backends([from])
    })?;
    Ok(())
}

pub(super) async fn run(mover: &Mover<'_>, from: &str, to: Option<&str>, lost: bool) -> Result<()> {
    loop {
        mover.settle().await?;
        mover.note(|report| (report.failures, report.failed) = (0, Vec::new()));
        let mut found = 0;
        let mut moved = 0;
        for (f, m) in [
            mover.move_segments(from, to).await?,
            mover.move_parts(from, to).await?,
            mover.move_copies(from, to).await?,
        ] {
            found += f;
            moved += m;
        }
        // What could not be moved now is told; more rounds are worth it only while they get somewhere.
        if found == 0 || moved == 0 {
            break;
        }
    }
    mover.forget_place(from, lost).await?;
    mover.remove_moved(from).await?;
    mover.settle_ledger(from).await?;
    let proof = prove(mover, from).await?;
    mover.note(|report| report.proof = Some(proof));
    Ok(())
}

impl Mover<'_> {
    /// Waits for all writes that may have chosen their places before now.
    async fn settle(&self) -> Result<()> {
        let mark = DataId(self.core.env.new_id());
        while self.core.first_arriving().is_some_and(|first| first < mark) {
            self.progress.ready().await?;
            tokio::time::sleep(SETTLE_LOOK).await;
        }
        self.progress.ready().await
    }

    /// Takes the backend out of every batch that does not count on it any more, and removes the copy that lies there.
    pub(super) async fn forget_place(&self, from: &str, lost: bool) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.core.catalog.batches_after(after, 1000).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            let here: Vec<BatchRow> =
                page.into_iter().filter(|row| row.holders.iter().any(|h| h.backend == from)).collect();
            if !here.is_empty() {
                // A power cut must not make a copy count again that has been removed.
                self.core.catalog.sync().await?;
            }
            for row in here {
                self.progress.ready().await?;
                self.forget_copy(row, from, lost).await?;
            }
        }
    }

    async fn forget_copy(&self, row: BatchRow, from: &str, lost: bool) -> Result<()> {
        let core = self.core;
        let _whole = core.hold_whole().await?;
        if !core.catalog.is_live(row.id).await? && !lost {
            // What was replaced by what is in doubt may be what was acknowledged.
            if is_in_doubt(core).await? {
                self.failed(format!(
                    "{} stays on backend {from:?}: whether it may go cannot be told while other backends are away; bring them back and drain again",
                    paths::batch(row.id)
                ));
                return Ok(());
            }
            if let Some(_marked) = core.leases.try_delete(row.id.0) {
                remove_batch(core, row, Ask::All).await?;
            }
            return Ok(());
        }
        let _changing = core.changing_batch(row.id).await;
        let synced = row.holders;
        let Some(mut row) = core.catalog.batch(row.id).await? else { return Ok(()) };
        if row.holders != synced {
            core.catalog.sync().await?;
        }
        if counts_on(&row, from) && !missing_without(&row, from).is_empty() && core.catalog.is_live(row.id).await? {
            return Ok(());
        }
        if lost || self.remove_file(from, &paths::batch(row.id), row.len_bytes, row.id.0).await {
            row.holders.retain(|h| h.backend != from);
        } else {
            // Where it may still lie it is never read, and goes when the batch goes.
            row.holders.iter_mut().filter(|h| h.backend == from).for_each(|h| h.state = HolderState::Doubtful);
        }
        core.catalog.set_holders(row.id, row.holders).await
    }

    /// Whether a file is gone for certain.
    async fn remove_file(&self, from: &str, path: &Path, len: u64, id: uuid::Uuid) -> bool {
        let deletable = |b: &&Backend| b.role() != Role::ReadOnly;
        let Some(backend) = self.core.admitted(from).filter(deletable) else { return false };
        if !self.core.leases.is_free(id) || delete(backend, path).await.is_err() {
            return false;
        }
        self.meter.freed(from, len, crate::env::id_ms(id));
        self.note(|report| report.removed += 1);
        true
    }

    /// Removes the shards that lie on the backend and are named elsewhere now. What nothing names is left to the sweep.
    pub(super) async fn remove_moved(&self, from: &str) -> Result<()> {
        // Nobody brings a shard there between looking at what is named and removing what is not.
        let _alone = self.core.moving.write().await;
        let _whole = self.core.hold_whole().await?;
        let Ok(files) = list(self, from, paths::shards()).await else { return Ok(()) };
        let first_arriving = self.core.first_arriving();
        let held = self.core.held_by_now().await;
        let is_blind = self.core.env.has(Flaw::TakesNewForMoved);
        let named = named_on(self.core, from).await?;
        let shards = files.into_iter().filter_map(|meta| {
            let (id, index) = paths::parse_shard(&meta.location)?;
            let is_used = !is_blind && (held.contains(&id.0) || first_arriving.is_some_and(|first| id >= first));
            (!named.contains(&(id, index)) && !is_used).then_some((id, index, meta))
        });
        for shards in shards.collect::<Vec<_>>().chunks(1000) {
            let ids: Vec<DataId> = shards.iter().map(|(id, ..)| *id).collect();
            let unreferenced: HashSet<DataId> = self.core.catalog.unreferenced(&ids).await?.into_iter().collect();
            for (id, index, meta) in shards.iter().filter(|(id, ..)| !unreferenced.contains(id)) {
                self.progress.check()?;
                // One that is new may have been named since.
                let referrers = self.core.catalog.referrers(*id).await?;
                let views: Vec<Piece> = Piece::views(&referrers, *id).map(|(_, piece)| piece).collect();
                let is_named = views.iter().any(|piece| on(piece, from).any(|here| here == *index));
                if is_named && !is_blind {
                    continue;
                }
                if let Some(named) = self.lacks(&views, *index).await {
                    self.failed(format!(
                        "shard {index} of segment {id} stays on backend {from:?}: {named:?} should have it and has not, or does not answer; run `rsb repair`, then this again"
                    ));
                    continue;
                }
                // What was replaced by what is in doubt may share the segment, and name it here.
                if is_in_doubt(self.core).await? {
                    self.failed(format!(
                        "what was moved from backend {from:?} stays there too: whether it may go cannot be told while other backends are away; bring them back and run this again"
                    ));
                    return Ok(());
                }
                self.remove_file(from, &meta.location, meta.size, id.0).await;
            }
        }
        Ok(())
    }

    /// A backend that should have a shard and does not show it: what lies elsewhere may be the last one. Nobody asks for what this
    /// move has brought, and read back.
    async fn lacks(&self, views: &[Piece], index: usize) -> Option<String> {
        for piece in views {
            let Some(at) = piece.shards.get(index).and_then(Option::as_ref) else { continue };
            if lock(&self.brought).contains(&(piece.data_id, index, at.backend.clone())) {
                continue;
            }
            self.meter.read(&at.backend, 1, 0);
            if !is_there(self.core, piece, index, &at.backend).await {
                return Some(at.backend.clone());
            }
        }
        None
    }

    /// Takes out of the ledger what it has of the backend and is whole elsewhere.
    async fn settle_ledger(&self, from: &str) -> Result<()> {
        let catalog = &self.core.catalog;
        let _whole = self.core.hold_whole().await?;
        for line in ledger_of(self.core, from).await? {
            let settled = match &line.item {
                LedgerItem::Copy { batch, copy } => match catalog.batch(*batch).await? {
                    Some(row) => {
                        !missing_without(&row, from).contains(copy) || !self.core.catalog.is_live(*batch).await?
                    }
                    None => true,
                },
                LedgerItem::Shard { data_id, index } => {
                    let referrers = catalog.referrers(*data_id).await?;
                    let there = |entry| Versions::of(self.core).fresh(entry);
                    let mut pieces = referrers.iter().flat_map(there).filter(|p| p.data_id == *data_id);
                    !pieces.any(|piece| on(&piece, from).any(|at| at == usize::from(*index)))
                }
            };
            if settled {
                catalog.ledger_remove(&[line.item]).await?;
            }
        }
        Ok(())
    }
}

async fn ledger_of(core: &Core, backend: &str) -> Result<Vec<LedgerEntry>> {
    let mut out = Vec::new();
    let mut after = None;
    loop {
        let page = core.catalog.ledger_after(after.as_ref(), 1000).await?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some(last.item.clone());
        out.extend(page.into_iter().filter(|line| line.backend == backend));
    }
}

/// The shards that the catalog names on a backend: of live versions, and of parts of uploads.
async fn named_on(core: &Core, backend: &str) -> Result<HashSet<(DataId, usize)>> {
    let mut named = HashSet::new();
    // Parts before versions: one that is completed meanwhile has been seen as a part.
    for (_, part) in open_parts(core).await?.iter().filter(|(_, part)| count_on(part, backend) > 0) {
        for view in part.body.views() {
            let here = view.backends.iter().enumerate().filter(|(_, name)| **name == backend);
            named.extend(here.map(|(index, _)| (view.data_id, index)));
        }
    }
    let mut versions = Versions::of(core);
    while let Some(page) = versions.next().await? {
        for entry in &page {
            // Each version's own view: two that share a segment may name different places for a moment.
            let pieces = Versions::of(core).fresh(entry);
            named
                .extend(pieces.iter().flat_map(|p| on(p, backend).map(|index| (p.data_id, index)).collect::<Vec<_>>()));
        }
    }
    Ok(named)
}

/// What a backend lists; an error where it does not answer.
async fn list(mover: &Mover<'_>, name: &str, folder: Path) -> Result<Vec<ObjectMeta>> {
    let away = |why: String| Error::unavailable(format!("backend {name:?} cannot be listed: {why}")).backends([name]);
    let backend = mover.core.admitted(name).ok_or_else(|| away("it is not reachable".into()))?;
    let listed = backend.store().list(Some(&folder)).try_collect::<Vec<ObjectMeta>>().await;
    let files = match listed {
        Err(object_store::Error::NotFound { .. }) => Vec::new(),
        other => other.map_err(|e| away(error_sentence(&e)))?,
    };
    mover.meter.list(name, 1 + files.len() as u64 / 1000);
    Ok(files)
}

/// Compares what the catalog names on a backend with what the backend lists.
async fn prove(mover: &Mover<'_>, name: &str) -> Result<DrainProof> {
    let core = mover.core;
    let _whole = core.hold_whole().await?;
    let shards = list(mover, name, paths::shards()).await;
    let batches = list(mover, name, paths::manifests()).await;
    let named = named_on(core, name).await?;
    let mut proof =
        DrainProof { backend: name.to_owned(), listed: shards.is_ok() && batches.is_ok(), ..Default::default() };
    proof.live_shards = named.len() as u64;
    let mut live = HashSet::new();
    for row in batches_on(core, name).await? {
        let missing = missing_without(&row, name).len() as u64;
        if missing > 0 && core.catalog.is_live(row.id).await? {
            proof.live_copies += missing;
            live.insert(row.id);
        }
    }
    proof.ledger = ledger_of(core, name).await?.len() as u64;
    for meta in shards.unwrap_or_default() {
        match paths::parse_shard(&meta.location) {
            Some((id, index)) if named.contains(&(id, index)) => {}
            known => left(&mut proof, known.is_some(), meta.size),
        }
    }
    for meta in batches.unwrap_or_default() {
        match paths::parse_batch(&meta.location) {
            Some(id) if live.contains(&id) => {}
            known => left(&mut proof, known.is_some(), meta.size),
        }
    }
    proof.holds_nothing_live = proof.live_shards == 0 && proof.live_copies == 0 && proof.ledger == 0;
    Ok(proof)
}

/// A file that nothing names.
fn left(proof: &mut DrainProof, is_ours: bool, size: u64) {
    if is_ours {
        proof.garbage += 1;
        proof.garbage_bytes += size;
    } else {
        proof.foreign += 1;
    }
}
