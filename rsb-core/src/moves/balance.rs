//! Evens out the bytes on the active backends: from the fullest to the emptiest that the domain rule allows, as long as both
//! come nearer to the mean.

use std::collections::BTreeMap;

use super::Mover;
use super::copies::{keepers, wish as copy_wish};
use super::segments::{Job, Versions, holders, wish};
use super::target::Wish;
use crate::backend::Role;
use crate::catalog::{BatchRow, HolderState};
use crate::core::Core;
use crate::error::Result;

/// A backend is left alone while it has at most this many hundredths more than the mean.
const SLACK_PERCENT: u64 = 2;
/// Rounds until it is even enough; one is nearly always.
const ROUNDS: usize = 3;

/// Bytes on each active backend, and the moves that even them out.
pub(super) struct Scales {
    bytes: BTreeMap<String, u64>,
    mean: u64,
}

impl Scales {
    /// Weighs what the catalog names.
    pub async fn weigh(core: &Core) -> Result<Self> {
        let active = core.backends.iter().filter(|b| b.role() == Role::Active && b.is_admitted());
        let mut bytes: BTreeMap<String, u64> = active.map(|b| (b.name().to_owned(), 0)).collect();
        let mut add = |name: &str, len: u64| {
            if let Some(sum) = bytes.get_mut(name) {
                *sum += len;
            }
        };
        let mut versions = Versions::of(core);
        while let Some(page) = versions.next().await? {
            for piece in versions.fresh_of(&page) {
                holders(&piece).into_iter().for_each(|name| add(name, piece.file_len()));
            }
        }
        let mut after = None;
        loop {
            let page = core.catalog.batches_after(after, 1000).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            for row in &page {
                let held = row.holders.iter().filter(|h| h.state == HolderState::Held);
                held.for_each(|holder| add(&holder.backend, row.len_bytes));
            }
        }
        let mean = bytes.values().sum::<u64>() / (bytes.len() as u64).max(1);
        Ok(Self { bytes, mean })
    }

    /// Where `len` bytes go from a backend that has too much; `None` where they stay. They count as moved from then on.
    pub fn tip(&mut self, core: &Core, from: &str, len: u64, wish: &Wish<'_>) -> Option<String> {
        let heavy = *self.bytes.get(from)?;
        if heavy <= self.mean + self.mean * SLACK_PERCENT / 100 {
            return None;
        }
        let lightest = wish.targets(core).into_iter().filter_map(|b| Some((*self.bytes.get(b.name())?, b.name())));
        let (light, to) = lightest.min()?;
        // Neither changes sides by it.
        if light + 2 * len > heavy || light + len > self.mean + self.mean * SLACK_PERCENT / 100 + len / 2 {
            return None;
        }
        let to = to.to_owned();
        self.bytes.insert(from.to_owned(), heavy - len);
        self.bytes.insert(to.clone(), light + len);
        Some(to)
    }

    /// What is moved of one segment: at most one shard, so that the rule holds after each step.
    pub fn tip_segment(&mut self, core: &Core, piece: &crate::read::piece::Piece) -> Option<Job> {
        let names = holders(piece);
        let len_bytes = piece.file_len();
        piece.shards.iter().enumerate().find_map(|(index, at)| {
            let from = &at.as_ref()?.backend;
            let to = self.tip(core, from, len_bytes, &wish(core, piece, &names, from, None))?;
            Some(Job { data_id: piece.data_id, index, from: from.clone(), to: Some(to), only: true, len_bytes })
        })
    }

    /// What is moved of one batch: from where, to where.
    pub fn tip_batch(&mut self, core: &Core, row: &BatchRow) -> Option<(String, String)> {
        let held = row.holders.iter().filter(|h| h.state == HolderState::Held);
        // A batch that is not whole is the repair's.
        (held.clone().count() == usize::from(row.copies)).then_some(())?;
        held.into_iter().find_map(|holder| {
            let names = keepers(row, &holder.backend);
            let wish = copy_wish(core, row, &names, &holder.backend, None, core.config.scheme.m());
            let to = self.tip(core, &holder.backend, row.len_bytes, &wish)?;
            Some((holder.backend.clone(), to))
        })
    }
}

pub(super) async fn run(mover: &Mover<'_>) -> Result<()> {
    let core = mover.core;
    for _ in 0..ROUNDS {
        mover.note(|report| (report.failures, report.failed) = (0, Vec::new()));
        let mut scales = Scales::weigh(core).await?;
        let mut moved = 0;
        let (mut versions, mut chunk) = (Versions::of(core), Vec::new());
        while let Some(page) = versions.next().await? {
            for piece in versions.fresh_of(&page) {
                chunk.extend(scales.tip_segment(core, &piece));
                moved += mover.move_full(&mut chunk).await?;
            }
        }
        moved += mover.move_chunk(chunk).await?;
        moved += move_batches(mover, &mut scales).await?;
        if moved == 0 {
            break;
        }
    }
    for backend in core.backends.iter().filter(|b| b.role() == Role::Active && b.is_admitted()) {
        mover.forget_place(backend.name(), false).await?;
        mover.remove_moved(backend.name()).await?;
    }
    Ok(())
}

async fn move_batches(mover: &Mover<'_>, scales: &mut Scales) -> Result<u64> {
    let core = mover.core;
    let (mut moved, mut after) = (0, None);
    loop {
        let page = core.catalog.batches_after(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(moved) };
        after = Some(last.id);
        for row in page {
            if core.catalog.is_live(row.id).await?
                && let Some((from, to)) = scales.tip_batch(core, &row)
            {
                match mover.move_copies_of(row.id, &from, Some(&to), true).await {
                    Ok(count) => moved += count,
                    Err(error) if error.kind() == crate::ErrorKind::Cancelled => return Err(error),
                    Err(error) => mover.failed(error.message().to_owned()),
                }
            }
        }
    }
}
