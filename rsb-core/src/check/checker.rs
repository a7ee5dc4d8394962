//! One object is looked at: the copies of its record, and its shards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;

use super::inventory::{Inventory, listed};
use super::verify::verify_shard;
use crate::api::{Depth, Finding, FindingKind, ObjectHealth};
use crate::catalog::{BatchRow, Entry, HolderState, LedgerEntry, LedgerItem, LedgerReason};
use crate::core::Core;
use crate::error::Result;
use crate::files::{Fault, FaultKind, get_all, size_of};
use crate::format::batch::{Extent, read_copy};
use crate::format::manifest::Body;
use crate::format::paths;
use crate::id::DataId;
use crate::read::elsewhere;
use crate::read::piece::Piece;

/// Random blocks of each shard that a sample reads.
pub(crate) const SAMPLE_BLOCKS: u64 = 2;

/// Looks at objects one by one.
pub(crate) struct Checker {
    pub(super) core: Arc<Core>,
    pub(super) depth: Depth,
    inventory: Option<Inventory>,
}

/// What was seen of one object.
pub(crate) struct Seen {
    pub health: ObjectHealth,
    pub bytes_read: u64,
    pub sound: Vec<LedgerItem>,
    /// What each of the findings is about, as the ledger names it: by the time that it is noted the object may be another.
    lost: Vec<LedgerItem>,
}

impl Seen {
    pub fn of(health: ObjectHealth) -> Self {
        Self { health, bytes_read: 0, sound: Vec::new(), lost: Vec::new() }
    }

    fn lose(&mut self, item: LedgerItem, finding: Finding) {
        self.lost.push(item);
        self.health.findings.push(finding);
    }

    /// What the ledger is to know of it. What cannot be reached is not known to be lost.
    pub fn lines(&self, noted_ms: u64) -> Vec<LedgerEntry> {
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
            Body::Inline(_) => (good_copies as i32 - manifest.copies_needed() as i32).min(seen.health.full_margin),
            Body::None => good_copies as i32 - manifest.copies_needed() as i32,
            Body::Segments(_) => {
                let mut margin = good_copies as i32 - manifest.copies_needed() as i32;
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
    pub async fn look_at_copies(&self, extent: Extent, row: &BatchRow, shards: usize, seen: &mut Seen) -> usize {
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
        let (mut good, mut lost) = (0, Vec::new());
        for (index, result) in results {
            match result {
                Ok(bytes) => {
                    good += 1;
                    seen.bytes_read += bytes;
                    seen.sound.push(piece.ledger_item(index));
                }
                Err(fault) => lost.push((index, fault)),
            }
        }
        let k = piece.scheme.k();
        if good < k {
            // With them it can be read. No more is counted on: several may lie on one backend, and be lost with it.
            good = (good + self.look_elsewhere(piece, &mut lost, seen).await).min(k);
        }
        for (index, fault) in lost {
            let backend = piece.shards[index].as_ref().map_or("", |at| at.backend.as_str());
            seen.lose(piece.ledger_item(index), finding(&fault, backend, Some(segment), index as u16));
        }
        good
    }

    /// Where too few shards are where they are named: how many of the others are good elsewhere. A read finds them too.
    async fn look_elsewhere(&self, piece: &Piece, lost: &mut [(usize, Fault)], seen: &mut Seen) -> usize {
        let name_of = |index: usize| piece.shards[index].as_ref().map_or("", |at| at.backend.as_str());
        if !lost.iter().any(|(index, fault)| elsewhere::may_be(&self.core, name_of(*index), fault.kind)) {
            return 0;
        }
        let indices: Vec<usize> = lost.iter().map(|(index, _)| *index).collect();
        let known = elsewhere::named_places(piece);
        let found = match &self.inventory {
            Some(inventory) => inventory.elsewhere(piece, &indices, &known),
            None => elsewhere::seek(&self.core, piece, &indices, &known).await,
        };
        let mut good = 0;
        for (index, at) in found {
            let mut there = piece.clone();
            let name = at.backend.clone();
            there.shards[index] = Some(at);
            let Ok(bytes) = self.look_at_blocks(&there, index).await else { continue };
            seen.bytes_read += bytes;
            good += 1;
            for (_, fault) in lost.iter_mut().filter(|(lost, _)| *lost == index) {
                fault.detail.push_str(&format!(", but on backend {name:?}"));
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
        same_size(size, piece.file_len())?;
        self.look_at_blocks(piece, index).await
    }

    /// Reads as much of a shard as the depth asks for.
    async fn look_at_blocks(&self, piece: &Piece, index: usize) -> Result<u64, Fault> {
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

pub(super) fn out_of_reach() -> Fault {
    Fault::unreachable("its backend is not reachable, or not in the config")
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
