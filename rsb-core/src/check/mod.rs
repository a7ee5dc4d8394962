//! Check: looks at what is stored, at three depths, and says each object's margin. It changes nothing but the ledger.

mod records;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use object_store::Extensions;
use tokio::sync::mpsc;

use crate::api::{CheckReport, CheckRequest, Depth, Finding, FindingKind, ObjectHealth, Progress, Scope};
use crate::catalog::{BatchRow, Entry, HolderState, LedgerEntry, LedgerItem, LedgerReason};
use crate::core::{Core, Fault, FaultKind, get_all, ranged, size_of};
use crate::error::{Error, Result};
use crate::format::batch::{Extent, read_copy};
use crate::format::manifest::Body;
use crate::format::{paths, shard};
use crate::health::Op;
use crate::id::{BatchId, DataId, VersionId};
use crate::read::piece::Piece;
use crate::read::shard_reader::ShardReader;
use crate::recover::list_all;

/// Up to so many objects are asked for file by file; more are looked up in listings.
const FEW_OBJECTS: usize = 64;
/// Random blocks of each shard that a sample reads.
pub(crate) const SAMPLE_BLOCKS: u64 = 2;

/// What the listings of all backends show: presence and size.
pub(crate) struct Inventory {
    shards: HashMap<(String, DataId, usize), u64>,
    batches: HashMap<(String, BatchId), u64>,
    pub unreachable: BTreeSet<String>,
}

impl Inventory {
    /// Lists everything.
    pub async fn list(core: &Core) -> Self {
        let shards = list_all(core, paths::shards(), None, |meta| {
            paths::parse_shard(&meta.location).map(|(id, index)| (id, index, meta.size))
        })
        .await;
        let batches = list_all(core, paths::manifests(), None, |meta| {
            paths::parse_batch(&meta.location).map(|id| (id, meta.size))
        })
        .await;
        let mut out = Self {
            shards: HashMap::new(),
            batches: HashMap::new(),
            unreachable: shards.unreachable.into_iter().chain(batches.unreachable).collect(),
        };
        for (backend, files) in shards.files {
            out.shards.extend(files.into_iter().map(|(id, index, size)| ((backend.clone(), id, index), size)));
        }
        for (backend, files) in batches.files {
            out.batches.extend(files.into_iter().map(|(id, size)| ((backend.clone(), id), size)));
        }
        out
    }
}

/// Looks at objects one by one.
pub(crate) struct Checker {
    core: Arc<Core>,
    depth: Depth,
    inventory: Option<Inventory>,
}

pub(crate) use self::records::{Other, others};

/// What was seen of one object.
pub(crate) struct Seen {
    pub health: ObjectHealth,
    pub bytes_read: u64,
    pub sound: Vec<LedgerItem>,
    /// What each of the findings is about, as the ledger names it: by the time that it is noted the object may be another.
    lost: Vec<LedgerItem>,
}

impl Seen {
    fn of(health: ObjectHealth) -> Self {
        Self { health, bytes_read: 0, sound: Vec::new(), lost: Vec::new() }
    }

    fn lose(&mut self, item: LedgerItem, finding: Finding) {
        self.lost.push(item);
        self.health.findings.push(finding);
    }

    /// What the ledger is to know of it. What cannot be reached is not known to be lost.
    fn lines(&self, noted_ms: u64) -> Vec<LedgerEntry> {
        let lines = self.lost.iter().zip(&self.health.findings).filter_map(|(item, f)| {
            let reason = match f.kind {
                FindingKind::ShardMissing | FindingKind::CopyMissing => LedgerReason::Missing,
                FindingKind::ShardCorrupt | FindingKind::CopyCorrupt => LedgerReason::Corrupt,
                FindingKind::Unreachable => return None,
            };
            let (bucket, key) = (self.health.bucket.clone(), self.health.key.clone());
            Some(LedgerEntry { item: item.clone(), backend: f.backend.clone(), bucket, key, reason, noted_ms })
        });
        lines.collect()
    }
}

/// Live versions in a scope.
pub(crate) async fn entries(core: &Core, scope: &Scope) -> Result<Vec<Entry>> {
    if let Some(bucket) = &scope.bucket
        && core.catalog.bucket(bucket).await?.is_none()
    {
        return Err(Error::not_found(format!("bucket {bucket:?} does not exist")).object(bucket.clone()));
    }
    let first_key = scope.key.as_ref().unwrap_or(&scope.prefix);
    let mut out = Vec::new();
    // The scope is one range of (bucket, key, version): the scan begins at it and ends behind it.
    let mut after = scope.bucket.as_ref().map(|bucket| (bucket.clone(), first_key.clone(), VersionId::MIN));
    loop {
        let page = core.catalog.versions_after(after.clone(), 1000).await?;
        core.check_catalog_whole()?;
        let Some(last) = page.last() else { break };
        after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
        let past = scope.bucket.is_some() && !scope.has(&last.manifest.bucket, &last.manifest.key);
        out.extend(page.into_iter().filter(|e| {
            let m = &e.manifest;
            !m.delete_marker && scope.has(&m.bucket, &m.key)
        }));
        if past {
            break;
        }
    }
    match (&scope.bucket, &scope.key) {
        (Some(bucket), Some(key)) if out.is_empty() => {
            let name = format!("{bucket}/{key}");
            Err(Error::not_found(format!("{name} does not exist")).object(name))
        }
        _ => Ok(out),
    }
}

/// Checks the objects of a scope.
pub(crate) async fn check(core: &Arc<Core>, request: &CheckRequest, progress: &Progress) -> Result<CheckReport> {
    let entries = entries(core, &request.scope).await?;
    let bytes = entries.iter().map(|e| e.manifest.size).sum();
    progress.set_total(entries.len() as u64, bytes);
    let checker = Checker::new(core, request.depth, entries.len() > FEW_OBJECTS).await;
    let mut report = CheckReport { depth: request.depth, ..CheckReport::default() };
    let mut unreachable: BTreeSet<String> = BTreeSet::new();
    let others = records::others(core, &request.scope, &entries).await?;
    let mut work = futures::stream::iter(entries).map(|entry| checker.look(entry)).buffer_unordered(4);
    while let Some(seen) = work.next().await {
        let seen = seen?;
        progress.check()?;
        progress.add(1, seen.health.size);
        checker.remember(&seen).await?;
        unreachable.extend(
            seen.health.findings.iter().filter(|f| f.kind == FindingKind::Unreachable).map(|f| f.backend.clone()),
        );
        report.add(seen);
    }
    drop(work);
    for other in others {
        let seen = checker.look_at_other(&other).await?;
        checker.remember_other(&other, &seen).await?;
        unreachable.extend(
            seen.health.findings.iter().filter(|f| f.kind == FindingKind::Unreachable).map(|f| f.backend.clone()),
        );
        report.add_other(seen);
    }
    report.damaged.sort_by_key(|health| health.margin);
    report.unreachable = unreachable.into_iter().collect();
    Ok(report)
}

impl CheckReport {
    fn add(&mut self, seen: Seen) {
        let health = seen.health;
        self.objects += 1;
        self.bytes += health.size;
        self.bytes_read += seen.bytes_read;
        self.least_margin = Some(self.least_margin.map_or(health.margin, |least| least.min(health.margin)));
        match (health.is_readable(), health.is_whole()) {
            (false, _) => self.unreadable += 1,
            (true, false) => self.degraded += 1,
            (true, true) => {
                self.whole += 1;
                return;
            }
        }
        self.damaged.push(health);
    }
}

impl Checker {
    pub async fn new(core: &Arc<Core>, depth: Depth, many: bool) -> Self {
        let inventory = if many { Some(Inventory::list(core).await) } else { None };
        Self { core: core.clone(), depth, inventory }
    }

    /// Looks at one version.
    pub async fn look(&self, entry: Entry) -> Result<Seen> {
        let batch = self.core.catalog.batch(entry.at.batch).await?;
        let manifest = &entry.manifest;
        let mut seen = Seen::of(ObjectHealth {
            bucket: manifest.bucket.clone(),
            key: manifest.key.clone(),
            version: manifest.version,
            size: manifest.size,
            margin: 0,
            full_margin: manifest.scheme().map_or(0, |s| s.m() as i32),
            findings: Vec::new(),
        });
        let good_copies = match &batch {
            Some(row) => {
                let shards = match &entry.manifest.body {
                    Body::Inline(body) => body.scheme.n(),
                    _ => usize::from(row.copies),
                };
                self.look_at_copies(entry.at.extent, row, shards, &mut seen).await
            }
            None => 0,
        };
        seen.health.margin = match &manifest.body {
            // The record itself is needed too.
            Body::Inline(_) => {
                let needed = manifest.inline_needs().unwrap_or(0).max(1);
                (good_copies as i32 - needed as i32).min(seen.health.full_margin)
            }
            Body::None => good_copies as i32 - 1,
            Body::Segments(_) => {
                let mut margin = good_copies as i32 - 1;
                for (number, piece) in Piece::of_entry(&entry, None).into_iter().enumerate() {
                    let good = self.look_at_shards(&piece, number as u64, &mut seen).await;
                    margin = margin.min(good as i32 - piece.scheme.k() as i32);
                }
                margin.min(seen.health.full_margin)
            }
        };
        Ok(seen)
    }

    /// Looks at the copies of a batch for the record at `extent`. Gives how many of the first `shards` are good.
    async fn look_at_copies(&self, extent: Extent, row: &BatchRow, shards: usize, seen: &mut Seen) -> usize {
        let held: BTreeMap<u16, &str> =
            row.holders.iter().filter(|h| h.state == HolderState::Held).map(|h| (h.copy, h.backend.as_str())).collect();
        let mut good = 0;
        for copy in 0..row.copies {
            let item = LedgerItem::Copy { batch: row.id, copy };
            let result = match held.get(&copy) {
                Some(backend) => self.look_at_copy((extent, copy), row, backend, &mut seen.bytes_read).await,
                None => Err(Fault { kind: FaultKind::Missing, detail: "it was never written".into() }),
            };
            match result {
                Ok(()) => {
                    good += usize::from(usize::from(copy) < shards);
                    seen.sound.push(item);
                }
                Err(fault) => {
                    let doubtful = row.holders.iter().find(|h| h.copy == copy).map(|h| h.backend.as_str());
                    let backend = held.get(&copy).copied().or(doubtful).unwrap_or("none");
                    seen.lose(item, finding(&fault, backend, None, copy));
                }
            }
        }
        good
    }

    async fn look_at_copy(
        &self,
        (extent, copy): (Extent, u16),
        row: &BatchRow,
        name: &str,
        bytes_read: &mut u64,
    ) -> Result<(), Fault> {
        let path = paths::batch(row.id);
        let backend = self.core.admitted(name).ok_or_else(out_of_reach)?;
        if self.depth != Depth::Full {
            let size = match &self.inventory {
                Some(inventory) => listed(inventory, name, inventory.batches.get(&(name.to_owned(), row.id)).copied())?,
                None => size_of(backend, &path).await?,
            };
            return same_size(size, row.len_bytes);
        }
        let bytes = get_all(backend, &path, crate::format::batch::MAX_RECORD_LEN).await?;
        *bytes_read += bytes.len() as u64;
        let corrupt = |e: crate::format::FormatError| Fault::corrupt(e.to_string());
        let (header, records) =
            read_copy(&self.core.checksums, self.core.repository, row.id, &bytes).map_err(corrupt)?;
        if header.copy != copy {
            return Err(Fault::corrupt(format!("it is copy {} and should be copy {copy}", header.copy)));
        }
        let mut is_there = false;
        // A copy of which any record is bad is no good copy: a rebuild does not count it for the others either.
        for record in records {
            let record = record.map_err(corrupt)?;
            record.inline.map_err(corrupt)?;
            is_there |= record.extent == extent;
        }
        if is_there { Ok(()) } else { Err(Fault::corrupt("the record is not in it")) }
    }

    async fn look_at_shards(&self, piece: &Piece, segment: u64, seen: &mut Seen) -> usize {
        let looks = futures::stream::iter(0..piece.shards.len())
            .map(|index| async move { (index, self.look_at_shard(piece, index).await) });
        let results: Vec<_> = looks.buffered(16).collect().await;
        let mut good = 0;
        for (index, result) in results {
            match result {
                Ok(bytes) => {
                    good += 1;
                    seen.bytes_read += bytes;
                    seen.sound.push(piece.ledger_item(index));
                }
                Err(fault) => {
                    let backend = piece.shards[index].as_ref().map_or("", |at| at.backend.as_str());
                    seen.lose(piece.ledger_item(index), finding(&fault, backend, Some(segment), index as u16));
                }
            }
        }
        good
    }

    async fn look_at_shard(&self, piece: &Piece, index: usize) -> Result<u64, Fault> {
        let at = piece.shards[index].as_ref().ok_or_else(out_of_reach)?;
        let backend = self.core.admitted(&at.backend).ok_or_else(out_of_reach)?;
        let size = match &self.inventory {
            Some(inventory) => {
                let key = (at.backend.clone(), piece.data_id, index);
                listed(inventory, &at.backend, inventory.shards.get(&key).copied())?
            }
            None => size_of(backend, &at.path).await?,
        };
        same_size(size, shard::HEADER_LEN as u64 + piece.layout.shard_body_len())?;
        let stripes = piece.layout.stripes();
        match self.depth {
            Depth::Inventory => Ok(0),
            Depth::Full => verify_shard(&self.core, piece, index, 0..stripes).await,
            Depth::Sample => {
                let mut bytes = 0;
                for _ in 0..SAMPLE_BLOCKS.min(stripes) {
                    let stripe = self.core.env.random_below(stripes);
                    bytes += verify_shard(&self.core, piece, index, stripe..stripe + 1).await?;
                }
                Ok(bytes)
            }
        }
    }

    /// Notes in the ledger what is missing or corrupt, and takes out what a full check found sound.
    pub async fn remember(&self, seen: &Seen) -> Result<()> {
        if self.depth == Depth::Full {
            self.core.catalog.ledger_remove(&seen.sound).await?;
        }
        let health = &seen.health;
        let entry = self.core.catalog.entry(&health.bucket, &health.key, Some(health.version)).await?;
        let Some(entry) = entry else { return Ok(()) };
        // A move may have given it other segments, or put its record elsewhere, since it was looked at.
        let ids: BTreeSet<DataId> = entry.manifest.data_ids().collect();
        let mut lines = seen.lines(self.core.env.now_ms());
        lines.retain(|line| match &line.item {
            LedgerItem::Shard { data_id, .. } => ids.contains(data_id),
            LedgerItem::Copy { batch, .. } => *batch == entry.at.batch,
        });
        if lines.is_empty() { Ok(()) } else { self.core.catalog.ledger_add(lines).await }
    }
}

fn out_of_reach() -> Fault {
    Fault::unreachable("its backend is not reachable, or not in the config")
}

fn listed(inventory: &Inventory, backend: &str, size: Option<u64>) -> Result<u64, Fault> {
    if inventory.unreachable.contains(backend) {
        return Err(out_of_reach());
    }
    size.ok_or_else(|| Fault { kind: FaultKind::Missing, detail: "it is not there".into() })
}

fn same_size(found: u64, expected: u64) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    Err(Fault::corrupt(format!("it has {found} bytes instead of {expected}")))
}

fn finding(fault: &Fault, backend: &str, segment: Option<u64>, index: u16) -> Finding {
    let kind = match (fault.kind, segment) {
        (FaultKind::Missing, Some(_)) => FindingKind::ShardMissing,
        (FaultKind::Missing, None) => FindingKind::CopyMissing,
        (FaultKind::Corrupt, Some(_)) => FindingKind::ShardCorrupt,
        (FaultKind::Corrupt, None) => FindingKind::CopyCorrupt,
        (FaultKind::Unreachable, _) => FindingKind::Unreachable,
    };
    Finding { backend: backend.to_owned(), kind, segment, index, detail: fault.detail.clone() }
}

/// Reads and verifies blocks of one shard, and the header of a segment's one. Gives the bytes read.
pub(crate) async fn verify_shard(
    core: &Core,
    piece: &Piece,
    index: usize,
    stripes: std::ops::Range<u64>,
) -> Result<u64, Fault> {
    let at = piece.shards[index].as_ref().ok_or_else(out_of_reach)?;
    let backend = core.admitted(&at.backend).ok_or_else(out_of_reach)?;
    if piece.batch.is_none() {
        let head = backend.store().get_opts(&at.path, ranged(0..shard::HEADER_LEN as u64)).await;
        let head = head.map_err(|e| crate::core::fault_of(backend, Op::Read, &e))?;
        let bytes = head.bytes().await.map_err(|e| crate::core::fault_of(backend, Op::Read, &e))?;
        let header = shard::ShardHeader::decode(&bytes).map_err(|e| Fault::corrupt(e.to_string()))?;
        let right = header.repository == core.repository
            && header.data_id == piece.data_id
            && usize::from(header.index) == index
            && header.scheme == piece.scheme
            && header.segment_len == piece.layout.len;
        if !right {
            return Err(Fault::corrupt(format!("it is shard {} of segment {}", header.index, header.data_id)));
        }
    }
    let bytes = piece.layout.frame_offset(stripes.end) - piece.layout.frame_offset(stripes.start);
    if stripes.is_empty() {
        return Ok(0);
    }
    let (send, mut receive) = mpsc::unbounded_channel();
    let (checksums, last) = (core.checksums.clone(), stripes.end);
    let (reader, driven) =
        ShardReader::start(piece, index, at, backend.clone(), checksums, stripes, 4, send, Extensions::new());
    if let Some(driven) = driven {
        driven.await;
    }
    while let Some(heard) = receive.recv().await {
        heard.block?;
        reader.release_one();
        if heard.stripe + 1 == last {
            return Ok(bytes);
        }
    }
    Err(Fault::unreachable("its reader ended without a word"))
}
