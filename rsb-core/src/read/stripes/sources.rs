//! Which shards are asked for a piece: first, when others have failed, and when others are slow.

use std::ops::Range;

use super::StripeReader;
use crate::error::Result;
use crate::read::elsewhere;
use crate::read::rank::ShardFault;
use crate::read::shard_reader::ShardReader;

/// Stripes a shard's reader may be ahead.
pub(crate) const WINDOW: usize = 3;

impl StripeReader {
    /// The first readers: where all goes well those of the wanted blocks alone, else the k best.
    pub(super) fn open_first(&mut self, stripe: u64, wanted: Option<&Range<usize>>) {
        let chosen = match wanted.and_then(|_| self.wanted_alone()) {
            Some(chosen) => chosen,
            None => self.candidates.iter().take(self.k()).map(|i| (*i, stripe..self.stripes.end)).collect(),
        };
        for (index, stripes) in chosen {
            self.open(index, stripes);
        }
    }

    /// Each data shard that has wanted blocks, with the stripes that they are in: all of them but, where the range begins or ends
    /// within a stripe, the first or the last. `None` where other shards are better: a wanted one is ill, or dearer.
    fn wanted_alone(&self) -> Option<Vec<(usize, Range<u64>)>> {
        let (first, last) = (self.stripes.start, self.stripes.end.checked_sub(1)?);
        let (begin, end) = (self.blocks_wanted(first), self.blocks_wanted(last));
        let stripes_of = |index: usize| {
            let start = if index >= begin.start && (first < last || index < begin.end) { first } else { first + 1 };
            let stop = if index < end.end && (first < last || index >= end.start) { last + 1 } else { last };
            start..stop
        };
        let chosen: Vec<(usize, Range<u64>)> =
            (0..self.k()).map(|i| (i, stripes_of(i))).filter(|(_, stripes)| !stripes.is_empty()).collect();
        let few = first == last || self.candidates.iter().take(self.k()).all(|i| *i < self.k());
        (few && chosen.iter().all(|(i, _)| self.well.contains(i))).then_some(chosen)
    }

    fn blocks_wanted(&self, stripe: u64) -> Range<usize> {
        let blocks = self.piece.layout.blocks_of(stripe, &self.range);
        blocks.start as usize..blocks.end as usize
    }

    /// The next shard to ask for a stripe: one that was not asked yet, else one that was asked for other stripes only.
    fn next_source(&self, stripe: u64) -> Option<usize> {
        let for_others = || self.readers.iter().find(|(_, r)| !r.stripes.contains(&stripe)).map(|(index, _)| *index);
        self.candidates.first().copied().or_else(for_others)
    }

    fn open(&mut self, index: usize, stripes: Range<u64>) {
        self.candidates.retain(|i| *i != index);
        self.readers.remove(&index);
        let Some(at) = &self.piece.shards[index] else { return };
        let Some(backend) = self.core.admitted(&at.backend).cloned() else { return };
        let (reader, driven) = ShardReader::start(
            &self.piece,
            index,
            at,
            backend,
            self.core.checksums.clone(),
            stripes,
            WINDOW,
            self.send.clone(),
            self.extensions.clone(),
        );
        self.readers.insert(index, reader);
        self.driven.extend(driven);
    }

    /// Replaces what has failed: as long as a wanted shard is lost, k in all must be there or on their way.
    pub(super) async fn open_for_lost(&mut self, stripe: u64, wanted: Option<&Range<usize>>) -> Result<()> {
        let Some(blocks) = self.blocks.get(&stripe) else { return Ok(()) };
        let coming =
            |i: usize| blocks[i].is_some() || self.readers.get(&i).is_some_and(|r| r.stripes.contains(&stripe));
        if wanted.is_some_and(|w| w.clone().all(coming)) {
            return Ok(());
        }
        let mut have = (0..blocks.len()).filter(|i| coming(*i)).count();
        while have < self.k() {
            match self.next_source(stripe) {
                Some(index) => self.open(index, stripe..self.stripes.end),
                None if self.seek_elsewhere().await => continue,
                None => return Err(self.unreadable()),
            }
            have += 1;
        }
        Ok(())
    }

    /// The last resort: whether shards that are lost where they are named are found elsewhere.
    async fn seek_elsewhere(&mut self) -> bool {
        let is_open = |i: &usize| self.readers.contains_key(i) || self.candidates.contains(i);
        let lost: Vec<usize> = (0..self.piece.shards.len()).filter(|i| !is_open(i)).collect();
        let is_nowhere = |fault: &ShardFault| elsewhere::may_be(&self.core, &fault.backend, fault.fault.kind);
        let is_unknown = self.piece.shards.iter().any(Option::is_none);
        if !is_unknown && !self.faults.iter().any(is_nowhere) {
            return false;
        }
        self.known.extend(elsewhere::named_places(&self.piece));
        let mut known = self.known.clone();
        known.extend(self.avoid.iter().flat_map(|name| lost.iter().map(|index| (*index, name.clone()))));
        let found = elsewhere::seek(&self.core, &self.piece, &lost, &known).await;
        for (index, at) in &found {
            tracing::info!(object = %format!("{}/{}", self.object.0, self.object.1), shard = index, backend = %at.backend,
                "a shard is not where it is named, and was found on this backend");
            self.piece.shards[*index] = Some(at.clone());
            self.candidates.push(*index);
        }
        !found.is_empty()
    }

    /// Nothing was heard for a while: as many other shards are asked as there are outstanding ones.
    pub(super) fn hedge(&mut self, stripe: u64) {
        let Some(blocks) = self.blocks.get(&stripe) else { return };
        let have = blocks.iter().flatten().count();
        for _ in have..self.k() {
            match self.next_source(stripe) {
                Some(index) => self.open(index, stripe..self.stripes.end),
                None => break,
            }
        }
    }
}
