//! Copies of manifest files. A copy keeps its number and its bytes, whichever backend holds it: so the records in it, small
//! objects, tombstones and buckets among them, keep as many holders as they had when they were acknowledged.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::PutPayload;

use super::Mover;
use super::shards::failed;
use super::target::Wish;
use crate::backend::Backend;
use crate::catalog::{BatchRow, Holder, HolderState, LedgerItem};
use crate::core::Core;
use crate::error::{ErrorKind, Result};
use crate::files::{Fault, get_all, put};
use crate::format::batch::{MAX_RECORD_LEN, read_copy};
use crate::format::manifest::Record;
use crate::format::paths;
use crate::health::Op;
use crate::id::BatchId;
use crate::recover::load_batch;

/// Whether a copy of a batch counts on a backend.
pub(super) fn counts_on(row: &BatchRow, backend: &str) -> bool {
    row.holders.iter().any(|h| h.backend == backend && h.state == HolderState::Held)
}

/// All batches that count on a backend, or of which the ledger has it that a copy is still to be written there.
pub(super) async fn batches_on(core: &Core, backend: &str) -> Result<Vec<BatchRow>> {
    let mut owed = BTreeSet::new();
    let mut after = None;
    loop {
        let page = core.catalog.ledger_after(after.as_ref(), 1000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.item.clone());
        owed.extend(page.iter().filter(|line| line.backend == backend).filter_map(|line| match line.item {
            LedgerItem::Copy { batch, .. } => Some(batch),
            LedgerItem::Shard { .. } => None,
        }));
    }
    let mut out = Vec::new();
    let mut after = None;
    loop {
        let page = core.catalog.batches_after(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some(last.id);
        out.extend(page.into_iter().filter(|row| counts_on(row, backend) || owed.contains(&row.id)));
    }
}

/// Before another copy is written over one that counts no more: a power cut must not make that one count again.
pub(crate) async fn before_overwriting(core: &Core, holders: &[Holder], backend: &str) -> Result<()> {
    match holders.iter().any(|h| h.backend == backend) {
        true => core.catalog.sync().await,
        false => Ok(()),
    }
}

/// Numbers of the copies that no other backend holds.
pub(super) fn missing_without(row: &BatchRow, backend: &str) -> Vec<u16> {
    let held =
        |copy: u16| row.holders.iter().any(|h| h.copy == copy && h.state == HolderState::Held && h.backend != backend);
    (0..row.copies).filter(|copy| !held(*copy)).collect()
}

/// The backends that hold a copy and keep it.
pub(super) fn keepers<'r>(row: &'r BatchRow, from: &str) -> Vec<&'r str> {
    let held = row.holders.iter().filter(|h| h.state == HolderState::Held && h.backend != from);
    held.map(|h| h.backend.as_str()).collect()
}

/// What is asked of a new place for a copy.
pub(super) fn wish<'p>(
    core: &Core,
    row: &BatchRow,
    keepers: &'p [&'p str],
    from: &'p str,
    prefer: Option<&'p str>,
    m: usize,
) -> Wish<'p> {
    let max_per_domain = core.max_per_domain(m.max(core.record_margin));
    Wish { holders: keepers, from, prefer, max_per_domain, seed: row.id.0.as_u64_pair().1 }
}

impl Mover<'_> {
    /// Moves all copies of live batches away from a backend. Gives how many were found there, and how many were moved.
    pub(super) async fn move_copies(&self, from: &str, to: Option<&str>) -> Result<(u64, u64)> {
        let (mut found, mut moved) = (0, 0);
        let mut live = Vec::new();
        for row in batches_on(self.core, from).await? {
            let missing = missing_without(&row, from).len() as u64;
            if missing > 0 && self.core.catalog.is_live(row.id).await? {
                found += missing;
                live.push(row.id);
            }
        }
        let work: Vec<_> = live.into_iter().map(|id| self.move_copies_of(id, from, to, false)).collect();
        let mut work = stream::iter(work).buffer_unordered(self.parallel);
        while let Some(done) = work.next().await {
            match done {
                Ok(count) => moved += count,
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => self.failed(error.message().to_owned()),
            }
        }
        Ok((found, moved))
    }

    /// Moves the copies of one batch that only this backend has, or should have.
    pub(super) async fn move_copies_of(&self, id: BatchId, from: &str, to: Option<&str>, only: bool) -> Result<u64> {
        self.progress.ready().await?;
        let core = self.core;
        let Some(row) = core.catalog.batch(id).await? else { return Ok(0) };
        let mut moved = 0;
        for copy in missing_without(&row, from) {
            self.progress.check()?;
            let _memory = core.read_memory.take(3 * row.len_bytes).await?;
            self.throttle.take(2 * row.len_bytes, self.progress).await?;
            let _whole = core.hold_whole().await?;
            // Nobody removes the batch meanwhile, and nobody else changes who holds it.
            let Some(_lease) = core.leases.take([id.0]) else { return Ok(moved) };
            let _changing = core.changing_batch(id).await;
            let Some(mut row) = core.catalog.batch(id).await? else { return Ok(moved) };
            if !core.catalog.is_live(id).await? || !missing_without(&row, from).contains(&copy) {
                continue;
            }
            let source = self.copy_of(&row, copy, from).await?;
            let keepers: Vec<String> = keepers(&row, from).into_iter().map(str::to_owned).collect();
            let names: Vec<&str> = keepers.iter().map(String::as_str).collect();
            let target = wish(core, &row, &names, from, to, source.m).target(core);
            let Some(target) = target.filter(|t| !only || to == Some(t.name())) else {
                self.failed(format!(
                    "a manifest copy has nowhere to go from {from:?}; add a backend, or bring one back"
                ));
                continue;
            };
            self.write_copy(&mut row, copy, target, source.bytes).await?;
            moved += 1;
            self.note(|report| {
                report.copies += 1;
                report.rebuilt += u64::from(source.rebuilt);
            });
            self.progress.add(1, 2 * row.len_bytes);
        }
        Ok(moved)
    }

    async fn write_copy(&self, row: &mut BatchRow, copy: u16, target: &Backend, bytes: Bytes) -> Result<()> {
        let core = self.core;
        let path = paths::batch(row.id);
        let name = target.name().to_owned();
        before_overwriting(core, &row.holders, &name).await?;
        // Known before it is written, so that it goes when the batch goes.
        row.holders.retain(|h| h.backend != name);
        row.holders.push(Holder { backend: name.clone(), copy, state: HolderState::Doubtful });
        core.catalog.set_holders(row.id, row.holders.clone()).await?;
        put(target, &path, PutPayload::from_bytes(bytes.clone())).await.map_err(|f| failed("written", target, &f))?;
        self.meter.write(&name, row.len_bytes);
        let back = get_all(target, &path, MAX_RECORD_LEN).await.map_err(|f| failed("read back", target, &f))?;
        self.meter.read(&name, 1, back.len() as u64);
        if back != bytes {
            return Err(failed("read back", target, &Fault::corrupt("it is not what was written")));
        }
        for holder in row.holders.iter_mut().filter(|h| h.copy == copy) {
            holder.state = if holder.backend == name { HolderState::Held } else { HolderState::Doubtful };
        }
        core.catalog.set_holders(row.id, row.holders.clone()).await?;
        core.catalog.ledger_remove(&[LedgerItem::Copy { batch: row.id, copy }]).await
    }

    /// A copy's bytes: those that the backend has, where they verify, or made from the others.
    async fn copy_of(&self, row: &BatchRow, copy: u16, from: &str) -> Result<Source> {
        let core = self.core;
        let held = row.holders.iter().any(|h| h.backend == from && h.copy == copy && h.state == HolderState::Held);
        if held
            && let Some(backend) = core.admitted(from).filter(|b| !b.health().is_suspect(Op::Read))
            && let Ok(bytes) = get_all(backend, &paths::batch(row.id), MAX_RECORD_LEN).await
        {
            self.meter.read(from, 1, bytes.len() as u64);
            if let Ok((header, records)) = read_copy(&core.checksums, core.repository, row.id, &bytes)
                && header.copy == copy
                && records.iter().all(|r| matches!(r, Ok(r) if r.inline.is_ok()))
            {
                let m = greatest_m(records.iter().flatten().map(|r| &r.record));
                return Ok(Source { bytes, m, rebuilt: false });
            }
        }
        let others: Vec<String> = keepers(row, from).into_iter().map(str::to_owned).collect();
        let loaded = load_batch(core, row.id, &others).await;
        others.iter().for_each(|name| self.meter.read(name, 1, row.len_bytes));
        let m = greatest_m(loaded.records.values().map(|r| &r.record));
        let bytes = loaded.image_of_known(core).await?.copy(&core.checksums, copy);
        Ok(Source { bytes, m, rebuilt: true })
    }
}

struct Source {
    bytes: Bytes,
    /// The greatest m of the records' schemes.
    m: usize,
    rebuilt: bool,
}

fn greatest_m<'r>(records: impl Iterator<Item = &'r Record>) -> usize {
    let schemes = records.filter_map(|record| match record {
        Record::Version(manifest) => manifest.scheme(),
        _ => None,
    });
    schemes.map(|scheme| scheme.m()).max().unwrap_or_default()
}
