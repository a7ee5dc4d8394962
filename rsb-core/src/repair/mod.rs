//! Repair: first a plan, plain data that a dry run shows; then the work, least margin first. It reads k shards, writes only
//! what is lost, and calls nothing healed that it has not read back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;

use crate::api::{
    CheckRequest, Depth, Finding, FindingKind, ObjectHealth, Progress, RepairItem, RepairPlan, RepairReport,
    RepairWork, Scope,
};
use crate::catalog::{BucketRule, Entry, Holder, HolderState, LedgerItem, LedgerReason, Precondition};
use crate::check::{check, verify_shard};
use crate::core::{Core, get_all, put};
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::{InlineShards, MAX_RECORD_LEN};
use crate::format::manifest::{Body, Record, SegmentedBody};
use crate::format::paths;
use crate::format::shard::{HEADER_LEN, ShardHeader};
use crate::health::Op;
use crate::id::{BatchId, DataId};
use crate::placement::Placer;
use crate::read::piece::{Piece, ShardAt};
use crate::read::stripes::{StripeReader, restore_blocks};
use crate::recover::load_batch;
use crate::stripe::CHECKSUM_LEN;
use crate::write::commit::{Committer, Pending};

/// Makes a plan from a check of the scope.
pub(crate) async fn plan(core: &Arc<Core>, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairPlan> {
    let request = CheckRequest { scope: scope.clone(), depth };
    let mut damaged: BTreeMap<_, ObjectHealth> = BTreeMap::new();
    let report = check(core, &request, progress).await?;
    let known = if depth == Depth::Full { Vec::new() } else { known_corrupt(core, scope, progress).await? };
    for health in report.damaged.into_iter().chain(known) {
        damaged.insert((health.bucket.clone(), health.key.clone(), health.version), health);
    }
    let mut planner =
        Planner { core, plan: RepairPlan::default(), segments: BTreeSet::new(), batches: BTreeSet::new() };
    for health in damaged.into_values() {
        planner.add(health).await?;
    }
    let mut plan = planner.plan;
    plan.items.sort_by_key(|item| item.margin);
    Ok(plan)
}

/// The objects of a scope of which the ledger says that something does not verify, read in full: what listings do not
/// show, a read or an earlier check has found.
async fn known_corrupt(core: &Arc<Core>, scope: &Scope, progress: &Progress) -> Result<Vec<ObjectHealth>> {
    let mut objects = BTreeSet::new();
    let mut after = None;
    loop {
        let page = core.catalog.ledger_after(after.as_ref(), 1000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.item.clone());
        let corrupt = page.into_iter().filter(|line| line.reason == LedgerReason::Corrupt);
        objects.extend(corrupt.filter(|l| scope.has(&l.bucket, &l.key)).map(|line| (line.bucket, line.key)));
    }
    let mut out = Vec::new();
    for (bucket, key) in objects {
        let request = CheckRequest { scope: Scope::object(bucket, key), depth: Depth::Full };
        match check(core, &request, progress).await {
            Ok(report) => out.extend(report.damaged),
            // Deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(out)
}

struct Planner<'a> {
    core: &'a Arc<Core>,
    plan: RepairPlan,
    segments: BTreeSet<DataId>,
    batches: BTreeSet<BatchId>,
}

impl Planner<'_> {
    async fn add(&mut self, health: ObjectHealth) -> Result<()> {
        let Some(entry) = self.core.catalog.entry(&health.bucket, &health.key, Some(health.version)).await? else {
            return Ok(());
        };
        if !health.is_readable() {
            self.plan.unrepairable.push(health);
            return Ok(());
        }
        let mut waiting = Vec::new();
        for (number, piece) in Piece::of_entry(&entry, None).into_iter().enumerate() {
            let lost: Vec<&Finding> = health.findings.iter().filter(|f| f.segment == Some(number as u64)).collect();
            if !lost.is_empty() && self.segments.insert(piece.data_id) {
                waiting.extend(self.add_shards(&health, &piece, &lost));
            }
        }
        let lost: Vec<&Finding> = health.findings.iter().filter(|f| f.segment.is_none()).collect();
        if !lost.is_empty() && self.batches.insert(entry.at.batch) {
            waiting.extend(self.add_copies(&health, &entry, &lost).await?);
        }
        if !waiting.is_empty() {
            self.plan.unrepairable.push(ObjectHealth { findings: waiting, ..health });
        }
        Ok(())
    }

    /// Where each lost file goes: back to its backend, or, when that is away, to one that has no part of it yet.
    fn targets(&self, holders: &[String], m: usize, lost: &[&Finding]) -> (Vec<(u16, String)>, Vec<Finding>) {
        let core = self.core;
        let mut placer = Placer::new(&core.backends, &core.config.spread, core.max_per_domain(m), 0);
        for name in holders {
            placer.exclude(name, !lost.iter().any(|f| f.backend == *name && f.kind == FindingKind::Unreachable));
        }
        let mut write = Vec::new();
        let mut waiting = Vec::new();
        for finding in lost {
            let home = core.admitted(&finding.backend).filter(|b| b.is_writable());
            let home = home.filter(|_| finding.kind != FindingKind::Unreachable);
            let other = || placer.next(|b| b.is_admitted() && !b.health().is_suspect(Op::LargeWrite));
            match home.or_else(other) {
                Some(backend) => write.push((finding.index, backend.name().to_owned())),
                None => waiting.push((*finding).clone()),
            }
        }
        (write, waiting)
    }

    fn add_shards(&mut self, health: &ObjectHealth, piece: &Piece, lost: &[&Finding]) -> Vec<Finding> {
        let holders: Vec<String> = piece.shards.iter().flatten().map(|at| at.backend.clone()).collect();
        let (write, waiting) = self.targets(&holders, piece.scheme.m(), lost);
        if write.is_empty() {
            return waiting;
        }
        let bad: BTreeSet<usize> = lost.iter().map(|f| usize::from(f.index)).collect();
        let good = piece.shards.iter().enumerate().filter(|(i, _)| !bad.contains(i));
        let read: Vec<(u16, String)> = good
            .filter_map(|(i, at)| at.as_ref().map(|at| (i as u16, at.backend.clone())))
            .take(piece.scheme.k())
            .collect();
        let shard_len = HEADER_LEN as u64 + piece.layout.shard_body_len();
        self.count(&read, &write, shard_len);
        let work = RepairWork::Shards { data_id: piece.data_id, len_bytes: piece.layout.len, read, write };
        self.push(health, work);
        waiting
    }

    async fn add_copies(&mut self, health: &ObjectHealth, entry: &Entry, lost: &[&Finding]) -> Result<Vec<Finding>> {
        let Some(row) = self.core.catalog.batch(entry.at.batch).await? else { return Ok(Vec::new()) };
        let bad: BTreeSet<u16> = lost.iter().map(|f| f.index).collect();
        let held = row.holders.iter().filter(|h| h.state == HolderState::Held);
        let holders: Vec<String> = held.clone().map(|h| h.backend.clone()).collect();
        let m = entry.manifest.scheme().map_or(self.core.record_margin, |s| s.m()).max(self.core.record_margin);
        let (write, waiting) = self.targets(&holders, m, lost);
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

/// Carries a plan out. What fails is said and does not stop the rest.
pub(crate) async fn repair(
    core: &Arc<Core>,
    committer: &Committer,
    plan: &RepairPlan,
    progress: &Progress,
) -> Result<RepairReport> {
    core.check_writable()?;
    progress.set_total(plan.items.len() as u64, plan.write_bytes);
    let mut report = RepairReport { unrepairable: plan.unrepairable.clone(), ..RepairReport::default() };
    for item in &plan.items {
        progress.check()?;
        let result = match &item.work {
            RepairWork::Shards { data_id, write, .. } => {
                repair_shards(core, committer, *data_id, write, &mut report).await
            }
            RepairWork::Copies { batch, write, .. } => repair_copies(core, *batch, write, &mut report).await,
        };
        if let Err(error) = result {
            report.failed.push(format!("{}/{}: {error}", item.bucket, item.key));
        }
        progress.add(1, 0);
    }
    Ok(report)
}

async fn repair_shards(
    core: &Arc<Core>,
    committer: &Committer,
    data_id: DataId,
    write: &[(u16, String)],
    report: &mut RepairReport,
) -> Result<()> {
    let referrers = core.catalog.referrers(data_id).await?;
    // What was deleted meanwhile needs no repair.
    let Some(entry) = referrers.first() else { return Ok(()) };
    let Some(held) = crate::read::hold_entry(core, entry.clone()).await? else { return Ok(()) };
    let Some(piece) = held.pieces.into_iter().find(|p| p.data_id == data_id) else { return Ok(()) };
    let files = rebuild_shards(core, &piece, write, entry, report).await?;
    let mut moved = false;
    for ((index, name), payload) in write.iter().zip(files) {
        let backend = core.admitted(name).ok_or_else(|| away(name))?;
        let at = ShardAt {
            backend: name.clone(),
            path: paths::shard(data_id, usize::from(*index)),
            base: HEADER_LEN as u64,
        };
        let len = payload.content_length() as u64;
        put(backend, &at.path, payload).await.map_err(|f| failed("written", name, &f.detail))?;
        report.bytes_written += len;
        let mut there = piece.clone();
        moved |= there.shards[usize::from(*index)].as_ref().is_none_or(|old| old.backend != *name);
        there.shards[usize::from(*index)] = Some(at);
        let stripes = 0..there.layout.stripes();
        let read = verify_shard(core, &there, usize::from(*index), stripes).await;
        report.bytes_read += read.map_err(|f| failed("read back", name, &f.detail))?;
        report.shards_rebuilt += 1;
    }
    if moved {
        for entry in referrers {
            revise(core, committer, entry, data_id, write).await?;
        }
    }
    let items: Vec<LedgerItem> = write.iter().map(|(index, _)| LedgerItem::Shard { data_id, index: *index }).collect();
    core.catalog.ledger_remove(&items).await
}

/// The files of lost shards, rebuilt from k others.
async fn rebuild_shards(
    core: &Arc<Core>,
    piece: &Piece,
    write: &[(u16, String)],
    entry: &Entry,
    report: &mut RepairReport,
) -> Result<Vec<PutPayload>> {
    let lost: Vec<usize> = write.iter().map(|(index, _)| usize::from(*index)).collect();
    let mut source = piece.clone();
    for index in &lost {
        source.shards[*index] = None;
    }
    let coder = crate::write::make_coder(core, piece.scheme)?;
    let symbol_len = coder.codec.symbol_len() as u32;
    let header = |index: usize| ShardHeader {
        repository: core.repository,
        data_id: piece.data_id,
        index: index as u16,
        scheme: piece.scheme,
        segment_len: piece.layout.len,
        symbol_len,
    };
    let mut files: Vec<Vec<Bytes>> =
        lost.iter().map(|index| vec![Bytes::copy_from_slice(&header(*index).encode())]).collect();
    let object = (entry.manifest.bucket.clone(), entry.manifest.key.clone());
    let mut reader = StripeReader::new(core, source, 0..piece.layout.len, object, &[]);
    while let Some((stripe, blocks)) = reader.next_blocks().await? {
        let block_len = piece.layout.block_len(stripe);
        report.bytes_read += (block_len + CHECKSUM_LEN as u64) * piece.scheme.k() as u64;
        let (coder, lost_here, data_id) = (coder.clone(), lost.clone(), piece.data_id);
        let work = move || {
            let rebuilt = restore_blocks(&coder, &blocks, &lost_here, block_len as usize)?;
            Ok::<_, Error>(
                lost_here
                    .iter()
                    .zip(rebuilt)
                    .map(|(index, block)| {
                        let sum = coder.checksums.block(data_id, *index, stripe, &block);
                        (BytesMut::from(&sum[..]).freeze(), block)
                    })
                    .collect::<Vec<_>>(),
            )
        };
        for (file, (sum, block)) in files.iter_mut().zip(core.env.compute(work).await?) {
            file.extend([sum, block]);
        }
    }
    Ok(files.into_iter().map(|chunks| chunks.into_iter().collect()).collect())
}

/// Writes a version's manifest anew, with shards of one segment placed elsewhere.
async fn revise(
    core: &Arc<Core>,
    committer: &Committer,
    entry: Entry,
    data_id: DataId,
    moves: &[(u16, String)],
) -> Result<()> {
    let m = &entry.manifest;
    let _revising = core.revising(&m.bucket, &m.key).await;
    // What was deleted meanwhile needs no revision.
    let Some(now) = core.catalog.entry(&m.bucket, &m.key, Some(m.version)).await? else { return Ok(()) };
    let mut manifest = now.manifest;
    let Body::Segments(old) = &manifest.body else { return Ok(()) };
    let mut body = SegmentedBody::default();
    let (mut k, mut m) = (core.config.scheme.k(), core.config.scheme.m());
    for view in old.views() {
        let mut backends = view.backends.clone();
        if view.data_id == data_id {
            for (index, name) in moves {
                backends[usize::from(*index)] = name;
            }
        }
        (k, m) = (view.scheme.scheme.k(), view.scheme.scheme.m());
        body.push(view.data_id, view.len, view.scheme, &backends);
    }
    manifest.body = Body::Segments(body);
    manifest.revision += 1;
    let pending = Pending {
        bucket: manifest.bucket.clone(),
        key: manifest.key.clone(),
        precondition: Precondition::None,
        bucket_rule: BucketRule::Any,
        keeps_id: true,
        k,
        m,
        inline: InlineShards::default(),
        make: Box::new(move |_| Record::Version(manifest)),
        ledger: Vec::new(),
        hold: None,
        completes: None,
    };
    committer.commit(pending).await?;
    Ok(())
}

async fn repair_copies(
    core: &Arc<Core>,
    batch: BatchId,
    write: &[(u16, String)],
    report: &mut RepairReport,
) -> Result<()> {
    let Some(row) = core.catalog.batch(batch).await? else { return Ok(()) };
    let backends: Vec<String> =
        row.holders.iter().filter(|h| h.state == HolderState::Held).map(|h| h.backend.clone()).collect();
    let loaded = load_batch(core, batch, &backends).await;
    report.bytes_read += row.len_bytes * loaded.holders.len() as u64;
    let image = loaded.image(core).await?;
    let mut holders: BTreeMap<(String, u16), Holder> =
        row.holders.into_iter().map(|h| ((h.backend.clone(), h.copy), h)).collect();
    for (copy, name) in write {
        let backend = core.admitted(name).ok_or_else(|| away(name))?;
        let bytes = image.copy(&core.checksums, *copy);
        let path = paths::batch(batch);
        put(backend, &path, PutPayload::from_bytes(bytes.clone()))
            .await
            .map_err(|f| failed("written", name, &f.detail))?;
        report.bytes_written += bytes.len() as u64;
        let back = get_all(backend, &path, MAX_RECORD_LEN).await.map_err(|f| failed("read back", name, &f.detail))?;
        report.bytes_read += back.len() as u64;
        if back != bytes {
            return Err(failed("read back", name, "it is not what was written"));
        }
        for holder in holders.values_mut().filter(|h| h.copy == *copy) {
            holder.state = HolderState::Doubtful;
        }
        holders.retain(|(backend, _), _| backend != name);
        let holder = Holder { backend: name.clone(), copy: *copy, state: HolderState::Held };
        holders.insert((name.clone(), *copy), holder);
        core.catalog.set_holders(batch, holders.values().cloned().collect()).await?;
        core.catalog.ledger_remove(&[LedgerItem::Copy { batch, copy: *copy }]).await?;
        report.copies_rebuilt += 1;
    }
    Ok(())
}

fn away(name: &str) -> Error {
    Error::unavailable(format!("backend {name:?} cannot be reached; repair again when it is back")).backends([name])
}

fn failed(what: &str, name: &str, detail: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("what was rebuilt could not be {what} on backend {name:?}: {detail}"))
        .backends([name])
}
