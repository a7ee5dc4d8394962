//! From findings to work: what is read from where, and where what is lost is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::api::{Finding, FindingKind, ObjectHealth, RepairItem, RepairPlan, RepairWork};
use crate::backend::Backend;
use crate::catalog::{Entry, HolderState, RecordRow};
use crate::check::Other;
use crate::core::Core;
use crate::error::Result;
use crate::health::Op;
use crate::id::{BatchId, DataId};
use crate::placement::Placer;
use crate::read::piece::Piece;

/// Turns findings into work.
pub(super) struct Planner<'a> {
    pub core: &'a Arc<Core>,
    pub plan: RepairPlan,
    /// Lost shards that are planned for: copies share them.
    pub shards: BTreeSet<(DataId, u16, String)>,
    pub batches: BTreeSet<BatchId>,
    /// Records that are no object.
    pub others: Vec<Other>,
}

impl Planner<'_> {
    pub async fn add(&mut self, health: ObjectHealth) -> Result<()> {
        let entry = self.core.catalog.entry(&health.bucket, &health.key, Some(health.version)).await?;
        let Some(entry) = entry else { return self.add_other(health).await };
        // Of an empty object each copy says all, though more are needed to believe in it.
        let spare = if entry.manifest.size == 0 { entry.manifest.copies_needed() as i32 - 1 } else { 0 };
        if health.margin + spare < 0 {
            self.plan.unrepairable.push(health);
            return Ok(());
        }
        let mut waiting = Vec::new();
        for (number, piece) in Piece::of_entry(&entry, None).into_iter().enumerate() {
            // A move may have put the shard elsewhere since it was looked at, or given the object another scheme.
            let is_there = |f: &&Finding| {
                let at = piece.shards.get(usize::from(f.index)).and_then(Option::as_ref);
                at.is_some_and(|at| at.backend == f.backend)
            };
            let of_it = health.findings.iter().filter(|f| f.segment == Some(number as u64));
            let is_new = |f: &&Finding| self.shards.insert((piece.data_id, f.index, f.backend.clone()));
            let lost: Vec<&Finding> = of_it.filter(is_there).filter(is_new).collect();
            if !lost.is_empty() {
                let holders = holders_in(&self.core.catalog.referrers(piece.data_id).await?, &piece, &lost);
                waiting.extend(self.add_shards(&health, &piece, &holders, &lost));
            }
        }
        let lost: Vec<&Finding> = health.findings.iter().filter(|f| f.segment.is_none()).collect();
        if !lost.is_empty() && self.batches.insert(entry.at.batch) {
            let m = entry.manifest.scheme().map_or(0, |s| s.m());
            waiting.extend(self.add_copies(&health, entry.at.batch, m, &lost).await?);
        }
        if !waiting.is_empty() {
            self.plan.unrepairable.push(ObjectHealth { findings: waiting, ..health });
        }
        Ok(())
    }

    fn add_shards(
        &mut self,
        health: &ObjectHealth,
        piece: &Piece,
        holders: &[String],
        lost: &[&Finding],
    ) -> Vec<Finding> {
        let (write, waiting) = targets(self.core, holders, piece.scheme.m(), lost);
        if write.is_empty() {
            return waiting;
        }
        let bad: BTreeSet<usize> = lost.iter().map(|f| usize::from(f.index)).collect();
        let good = piece.shards.iter().enumerate().filter(|(i, _)| !bad.contains(i));
        let read: Vec<(u16, String)> = good
            .filter_map(|(i, at)| at.as_ref().map(|at| (i as u16, at.backend.clone())))
            .take(piece.scheme.k())
            .collect();
        let shard_len = piece.file_len();
        self.count(&read, &write, shard_len);
        let work = RepairWork::Shards { data_id: piece.data_id, len_bytes: piece.layout.len, read, write };
        self.push(health, work);
        waiting
    }

    /// The copies of a record that is no object.
    async fn add_other(&mut self, health: ObjectHealth) -> Result<()> {
        let is_it = |r: &RecordRow| (&r.bucket, &r.key, r.version) == (&health.bucket, &health.key, health.version);
        let Some(batch) = self.others.iter().find(|Other(r)| is_it(r)).map(|Other(r)| r.at.batch) else {
            return Ok(());
        };
        if !health.is_readable() {
            self.plan.unrepairable.push(health);
            return Ok(());
        }
        let lost: Vec<&Finding> = health.findings.iter().collect();
        if !lost.is_empty() && self.batches.insert(batch) {
            let waiting = self.add_copies(&health, batch, 0, &lost).await?;
            if !waiting.is_empty() {
                self.plan.unrepairable.push(ObjectHealth { findings: waiting, ..health });
            }
        }
        Ok(())
    }

    async fn add_copies(
        &mut self,
        health: &ObjectHealth,
        batch: BatchId,
        m: usize,
        lost: &[&Finding],
    ) -> Result<Vec<Finding>> {
        let Some(row) = self.core.catalog.batch(batch).await? else { return Ok(Vec::new()) };
        let held = row.holders.iter().filter(|h| h.state == HolderState::Held);
        // The record may lie in another batch since it was looked at, and the backend hold another copy of that.
        let fits =
            |f: &&&Finding| f.index < row.copies && held.clone().all(|h| h.backend != f.backend || h.copy == f.index);
        let lost: Vec<&Finding> = lost.iter().filter(fits).copied().collect();
        let bad: BTreeSet<u16> = lost.iter().map(|f| f.index).collect();
        // Of two that hold the same copy one is free for another copy.
        let firsts: BTreeMap<u16, &str> = held.clone().rev().map(|h| (h.copy, h.backend.as_str())).collect();
        let holders: Vec<String> = firsts.into_values().map(str::to_owned).collect();
        let m = m.max(self.core.record_margin);
        let (write, waiting) = targets(self.core, &holders, m, &lost);
        if write.is_empty() {
            return Ok(waiting);
        }
        let read: Vec<(u16, String)> =
            held.filter(|h| !bad.contains(&h.copy)).map(|h| (h.copy, h.backend.clone())).collect();
        self.count(&read, &write, row.len_bytes);
        let work = RepairWork::Copies { batch: row.id, len_bytes: row.len_bytes, read, write };
        self.push(health, work);
        Ok(waiting)
    }

    fn push(&mut self, health: &ObjectHealth, work: RepairWork) {
        self.plan.items.push(RepairItem {
            bucket: health.bucket.clone(),
            key: health.key.clone(),
            version: health.version,
            margin: health.margin,
            work,
        });
    }

    fn count(&mut self, read: &[(u16, String)], write: &[(u16, String)], len_bytes: u64) {
        let cost = |name: &str| self.core.backend(name).map(|b| *b.cost()).unwrap_or_default();
        let plan = &mut self.plan;
        plan.read_bytes += len_bytes * read.len() as u64;
        // What was written is read back.
        plan.read_bytes += len_bytes * write.len() as u64;
        plan.write_bytes += len_bytes * write.len() as u64;
        plan.read_requests += (read.len() + write.len()) as u64;
        plan.write_requests += write.len() as u64;
        let gigabytes = len_bytes as f64 / 1e9;
        for (_, name) in read.iter().chain(write) {
            plan.price += cost(name).get_per_million / 1e6 + cost(name).egress_per_gb * gigabytes;
        }
        for (_, name) in write {
            plan.price += cost(name).put_per_million / 1e6;
        }
    }
}

/// The backends that hold a part of a segment, as any of these versions has it: two that share it may name different ones for a
/// moment. Where another one has what this one lost is no hindrance: there it may go.
pub(super) fn holders_in(referrers: &[Entry], piece: &Piece, lost: &[&Finding]) -> Vec<String> {
    let kept = Piece::views(referrers, piece.data_id).flat_map(|(_, other)| other.shards.into_iter().enumerate());
    let kept = kept.filter(|(index, _)| !lost.iter().any(|f| usize::from(f.index) == *index));
    let own = piece.shards.iter().flatten().map(|at| at.backend.clone());
    let names: BTreeSet<String> = kept.filter_map(|(_, at)| Some(at?.backend)).chain(own).collect();
    names.into_iter().collect()
}

/// Where each lost file goes: back to its backend, or, when that is away, to one that has no part of it yet.
pub(super) fn targets(
    core: &Core,
    holders: &[String],
    m: usize,
    lost: &[&Finding],
) -> (Vec<(u16, String)>, Vec<Finding>) {
    let mut placer = Placer::new(&core.backends, &core.config.spread, core.max_per_domain(m), 0);
    for name in holders {
        placer.exclude(name, !lost.iter().any(|f| f.backend == *name && f.kind == FindingKind::Unreachable));
    }
    let home_of = |finding: &Finding| {
        let home = core.admitted(&finding.backend).filter(|b| b.is_writable());
        home.filter(|_| finding.kind != FindingKind::Unreachable)
    };
    // Where one goes back to no other is put: a backend has one file of it.
    for home in lost.iter().filter_map(|finding| home_of(finding)) {
        if !holders.iter().any(|name| name == home.name()) {
            placer.exclude(home.name(), true);
        }
    }
    let mut write = Vec::new();
    let mut waiting = Vec::new();
    for finding in lost {
        let home = home_of(finding);
        let other = || {
            let well = placer.next(|b| b.is_admitted() && !b.health().is_suspect(Op::LargeWrite));
            // One that failed before may work again: better tried than left.
            well.or_else(|| placer.next(Backend::is_admitted))
        };
        match home.or_else(other) {
            Some(backend) => write.push((finding.index, backend.name().to_owned())),
            None => waiting.push((*finding).clone()),
        }
    }
    (write, waiting)
}
