//! Puts stripes together from the first blocks that arrive verified. A shard that fails, or is slow, is hedged by others;
//! missing data blocks are rebuilt from any k.

mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use object_store::Extensions;
use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::sources::WINDOW;
use super::elsewhere::Known;
use super::piece::Piece;
use super::rank::{Ranking, ShardFault, rank};
use super::shard_reader::{Heard, ShardReader};
use crate::backend::Backend;
use crate::catalog::{LedgerEntry, LedgerReason};
use crate::core::Core;
use crate::env::Flaw;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Fault, FaultKind};
use crate::health::Op;

/// Reads the stripes of one piece in order.
pub(crate) struct StripeReader {
    core: Arc<Core>,
    piece: Piece,
    /// Bytes of the piece that are wanted; only their blocks are read.
    range: Range<u64>,
    stripes: Range<u64>,
    next: u64,
    readers: BTreeMap<usize, ShardReader>,
    /// Readers that are no tasks of their own.
    driven: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Shards not tried yet, best first.
    candidates: Vec<usize>,
    /// Shards on backends that nothing is known against.
    well: BTreeSet<usize>,
    faults: Vec<ShardFault>,
    /// Backends that are not asked.
    avoid: Vec<String>,
    /// Where shards were looked for; filled when that is needed.
    known: Known,
    blocks: BTreeMap<u64, Vec<Option<Bytes>>>,
    send: mpsc::UnboundedSender<Heard>,
    receive: mpsc::UnboundedReceiver<Heard>,
    object: (String, String),
    extensions: Extensions,
}

/// The blocks of one stripe, by shard index; at least those that were wanted.
pub(crate) type StripeBlocks = Vec<Option<Bytes>>;

impl StripeReader {
    /// A reader of the bytes `range` of a piece. `avoid` names backends to leave out (a drill, a repair).
    pub fn new(core: &Arc<Core>, piece: Piece, range: Range<u64>, object: (String, String), avoid: &[String]) -> Self {
        let stripes = piece.layout.stripes_of(&range);
        let (send, receive) = mpsc::unbounded_channel();
        let Ranking { candidates, well, faults } = rank(core, &piece, avoid);
        Self {
            core: core.clone(),
            next: stripes.start,
            stripes,
            range,
            readers: BTreeMap::new(),
            driven: FuturesUnordered::new(),
            candidates,
            well,
            faults,
            avoid: avoid.to_vec(),
            known: Known::new(),
            blocks: BTreeMap::new(),
            send,
            receive,
            object,
            extensions: Extensions::new(),
            piece,
        }
    }

    /// The same; the backends are given these with each request.
    pub fn passing(self, extensions: Extensions) -> Self {
        Self { extensions, ..self }
    }

    fn k(&self) -> usize {
        self.piece.scheme.k()
    }

    /// The data bytes of the next stripe that lie in the range; `None` when all were given.
    pub async fn next_data(&mut self) -> Result<Option<Vec<Bytes>>> {
        if self.next >= self.stripes.end {
            return Ok(None);
        }
        let stripe = self.next;
        let layout = self.piece.layout;
        let wanted = layout.blocks_of(stripe, &self.range);
        let mut blocks = self.fetch(stripe, &(wanted.start as usize..wanted.end as usize)).await?;
        let block_len = layout.block_len(stripe);
        let base = stripe * layout.stripe_len();
        let mut out = Vec::with_capacity((wanted.end - wanted.start) as usize);
        for index in wanted {
            let Some(block) = blocks.get_mut(index as usize).and_then(Option::take) else {
                return Err(Error::internal("a wanted block is missing from a complete stripe"));
            };
            let block_start = base + index * block_len;
            let block_end = block_start + layout.data_len_of_block(stripe, index);
            let start = self.range.start.max(block_start) - block_start;
            let end = self.range.end.min(block_end).saturating_sub(block_start);
            out.push(block.slice(start as usize..end as usize));
        }
        Ok(Some(out))
    }

    /// Any k (or more) verified blocks of the next stripe, for a repair; `None` at the end.
    pub async fn next_blocks(&mut self) -> Result<Option<(u64, StripeBlocks)>> {
        if self.next >= self.stripes.end {
            return Ok(None);
        }
        let stripe = self.next;
        let blocks = self.gather(stripe, None).await?;
        self.advance(stripe);
        Ok(Some((stripe, blocks)))
    }

    /// The wanted data blocks of a stripe, rebuilt where they are missing.
    async fn fetch(&mut self, stripe: u64, wanted: &Range<usize>) -> Result<StripeBlocks> {
        let mut blocks = self.gather(stripe, Some(wanted)).await?;
        let missing: Vec<usize> = wanted.clone().filter(|i| blocks[*i].is_none()).collect();
        if !missing.is_empty() {
            blocks = self.restore(stripe, blocks, &missing).await?;
        }
        self.advance(stripe);
        Ok(blocks)
    }

    async fn restore(&mut self, stripe: u64, mut blocks: StripeBlocks, missing: &[usize]) -> Result<StripeBlocks> {
        let coder = crate::write::make_coder(&self.core, self.piece.scheme)?;
        let block_len = self.piece.layout.block_len(stripe) as usize;
        let missing = missing.to_vec();
        let restore = move || {
            let rebuilt = restore_blocks(&coder, &blocks, &missing, block_len)?;
            for (index, block) in missing.iter().zip(rebuilt) {
                blocks[*index] = Some(block);
            }
            Ok(blocks)
        };
        self.core.env.compute(restore).await
    }

    /// Waits until the wanted blocks of a stripe, or any k, have arrived. Without `wanted`: any k.
    async fn gather(&mut self, stripe: u64, wanted: Option<&Range<usize>>) -> Result<StripeBlocks> {
        if stripe == self.stripes.start && self.readers.is_empty() {
            self.open_first(stripe, wanted);
        }
        self.blocks.entry(stripe).or_insert_with(|| vec![None; self.piece.scheme.n()]);
        let begun = Instant::now();
        let mut since = begun;
        let mut slow = Vec::new();
        loop {
            if self.is_complete(stripe, wanted) {
                break;
            }
            self.open_for_lost(stripe, wanted).await?;
            let patience = self.patience(stripe);
            match tokio::time::timeout_at(since + patience, self.next_heard()).await {
                Ok(Some(heard)) => self.hear(heard).await?,
                Ok(None) => return Err(Error::internal("the readers of a stripe are gone")),
                Err(_) => {
                    if slow.is_empty() {
                        slow = self.outstanding(stripe);
                    }
                    self.hedge(stripe);
                    since = Instant::now();
                }
            }
        }
        self.give_up(stripe, &slow, begun.elapsed());
        self.drop_laggards(stripe, &slow);
        self.blocks.remove(&stripe).ok_or_else(|| Error::internal("a stripe was lost"))
    }

    fn is_complete(&self, stripe: u64, wanted: Option<&Range<usize>>) -> bool {
        let Some(blocks) = self.blocks.get(&stripe) else { return false };
        let any_k = blocks.iter().flatten().count() >= self.k();
        any_k || wanted.is_some_and(|w| w.clone().all(|i| blocks[i].is_some()))
    }

    /// What a reader says next.
    async fn next_heard(&mut self) -> Option<Heard> {
        loop {
            tokio::select! {
                biased;
                heard = self.receive.recv() => return heard,
                Some(()) = self.driven.next() => {}
            }
        }
    }

    /// Readers that owe a block of the stripe.
    fn outstanding(&self, stripe: u64) -> Vec<usize> {
        let lacks = |i: usize| self.blocks.get(&stripe).is_none_or(|blocks| blocks[i].is_none());
        self.readers.iter().filter(|(i, r)| r.stripes.contains(&stripe) && lacks(**i)).map(|(i, _)| *i).collect()
    }

    fn backend_of(&self, index: usize) -> Option<&Backend> {
        self.piece.shards[index].as_ref().and_then(|at| self.core.backend(&at.backend))
    }

    /// How long nothing may be heard before others are asked: what is usual for the backends that are waited for.
    fn patience(&self, stripe: u64) -> Duration {
        let backends = self.outstanding(stripe).into_iter().filter_map(|i| self.backend_of(i));
        backends.map(|b| b.health().limit(Op::Read)).max().unwrap_or(self.core.config.hedge_after)
    }

    async fn hear(&mut self, heard: Heard) -> Result<()> {
        let Heard { index, stripe, block } = heard;
        match block {
            Ok(block) => {
                // A block of a stripe that went on without it is of no use; its room was given back then.
                if stripe >= self.next {
                    let n = self.piece.scheme.n();
                    self.blocks.entry(stripe).or_insert_with(|| vec![None; n])[index] = Some(block);
                }
            }
            Err(fault) => {
                self.readers.remove(&index);
                if fault.kind == FaultKind::Corrupt && self.core.env.has(Flaw::TrustsBlocks) {
                    let block = Bytes::from(vec![0; self.piece.layout.block_len(stripe) as usize]);
                    let n = self.piece.scheme.n();
                    self.blocks.entry(stripe).or_insert_with(|| vec![None; n])[index] = Some(block);
                }
                self.note(index, fault).await;
            }
        }
        Ok(())
    }

    /// Remembers a fault, and puts what is missing or corrupt in the ledger.
    async fn note(&mut self, index: usize, fault: Fault) {
        let Some(at) = self.piece.shards[index].as_ref() else { return };
        let backend = at.backend.clone();
        tracing::warn!(object = %format!("{}/{}", self.object.0, self.object.1), shard = index, %backend,
            "a shard cannot be used: {}", fault.detail);
        let reason = match fault.kind {
            FaultKind::Missing => Some(LedgerReason::Missing),
            FaultKind::Corrupt => Some(LedgerReason::Corrupt),
            FaultKind::Unreachable => None,
        };
        if let Some(reason) = reason {
            let entry = LedgerEntry {
                item: self.piece.ledger_item(index),
                backend: backend.clone(),
                bucket: self.object.0.clone(),
                key: self.object.1.clone(),
                reason,
                noted_ms: self.core.env.now_ms(),
            };
            if let Err(error) = self.core.catalog.ledger_add(vec![entry]).await {
                tracing::debug!(%error, "a finding could not be put in the ledger");
            }
        }
        self.faults.push(ShardFault { index, backend, fault });
    }

    /// Those that were hedged, and that the stripe is complete without, are not asked first the next time.
    fn give_up(&self, stripe: u64, slow: &[usize], waited: Duration) {
        let late = self.outstanding(stripe);
        for backend in slow.iter().filter(|i| late.contains(*i)).filter_map(|i| self.backend_of(*i)) {
            backend.health().gave_up(Op::Read, waited, "a read of it was overtaken by others");
        }
    }

    /// Readers that did not deliver a stripe which is complete without them are ended, where there are more than are needed.
    fn drop_laggards(&mut self, stripe: u64, slow: &[usize]) {
        let Some(blocks) = self.blocks.get(&stripe) else { return };
        if blocks.iter().flatten().count() < self.k() || stripe + 1 >= self.stripes.end {
            return;
        }
        let mut late = self.outstanding(stripe);
        late.sort_by_key(|i| !slow.contains(i));
        let extra = self.readers.len().saturating_sub(self.k());
        for index in late.into_iter().take(extra) {
            self.readers.remove(&index);
        }
    }

    fn advance(&mut self, stripe: u64) {
        self.next = stripe + 1;
        for reader in self.readers.values().filter(|r| r.stripes.start <= stripe) {
            reader.release_one();
        }
    }

    fn unreadable(&self) -> Error {
        let n = self.piece.scheme.n();
        let lost: Vec<String> =
            self.faults.iter().map(|f| format!("shard {} on {}: {}", f.index, f.backend, f.fault.detail)).collect();
        let unknown = self.piece.shards.iter().filter(|s| s.is_none()).count();
        let unknown = if unknown > 0 { format!("; {unknown} more have no known place") } else { String::new() };
        Error::new(
            ErrorKind::Unreadable,
            format!(
                "{}/{} cannot be read: {} of its {n} shards are lost or out of reach, and it survives the loss of {}; bring backends back ({}{unknown})",
                self.object.0,
                self.object.1,
                self.faults.len() + self.piece.shards.iter().filter(|s| s.is_none()).count(),
                self.piece.scheme.m(),
                lost.join("; "),
            ),
        )
        .object(format!("{}/{}", self.object.0, self.object.1))
        .backends(self.faults.iter().map(|f| f.backend.clone()))
    }
}

/// Rebuilds the `missing` blocks (data or parity) of a stripe from any k that are there.
pub(crate) fn restore_blocks(
    coder: &crate::write::encode::Coder,
    blocks: &StripeBlocks,
    missing: &[usize],
    block_len: usize,
) -> Result<Vec<Bytes>> {
    let present: Vec<(usize, &[u8])> =
        blocks.iter().enumerate().filter_map(|(i, b)| b.as_ref().map(|b| (i, b.as_ref()))).collect();
    let mut rebuilt = BytesMut::zeroed(block_len * missing.len());
    if block_len > 0 {
        let mut outputs: Vec<(usize, &mut [u8])> =
            missing.iter().copied().zip(rebuilt.chunks_exact_mut(block_len)).collect();
        coder.codec.restore(coder.shape, &present, &mut outputs)?;
    }
    let rebuilt = rebuilt.freeze();
    Ok((0..missing.len()).map(|i| rebuilt.slice(i * block_len..(i + 1) * block_len)).collect())
}
