//! What the ledger's lines ask for: looked at anew, as a line may be old. What is sound, or was deleted, is dropped.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::plan::{holders_in, targets};
use super::work::check_live_readable;
use crate::api::{Finding, FindingKind};
use crate::catalog::{BatchRow, Entry, HolderState, LedgerEntry, LedgerItem};
use crate::check::verify_shard;
use crate::core::Core;
use crate::error::{ErrorKind, Result};
use crate::files::{get_all, size_of};
use crate::format::batch::{MAX_RECORD_LEN, read_copy};
use crate::format::paths;
use crate::id::{BatchId, DataId};
use crate::read::piece::Piece;
use crate::recover::{is_in_doubt, unneeded};
use crate::upkeep::{HealConfig, Spent};

/// What is rebuilt, and where: (index or copy, backend).
pub(crate) enum Doing {
    Nothing,
    Shards(DataId, Vec<(u16, String)>),
    Copies(BatchId, Vec<(u16, String)>),
}

/// What becomes of the lines about one segment or batch.
pub(crate) struct Healing {
    pub doing: Doing,
    /// What it will cost, with what looking has cost.
    pub cost: Spent,
    /// Lines that were dropped.
    pub dropped: u64,
    /// Lines that wait for a backend.
    pub waiting: u64,
}

impl Healing {
    fn new() -> Self {
        Self { doing: Doing::Nothing, cost: Spent::default(), dropped: 0, waiting: 0 }
    }

    /// Drops lines.
    async fn drop(mut self, core: &Core, items: &[LedgerItem]) -> Result<Self> {
        core.catalog.ledger_remove(items).await?;
        self.dropped += items.len() as u64;
        Ok(self)
    }
}

impl HealConfig {
    /// Whether a line's backend is away, and not for so long yet that another one should take its place.
    pub(crate) fn waits(&self, core: &Core, line: &LedgerEntry) -> bool {
        let for_ms = core.env.now_ms().saturating_sub(line.noted_ms);
        // Of what nobody had nobody comes back.
        core.backend(&line.backend).is_some()
            && is_away(core, &line.backend)
            && u128::from(for_ms) < self.elsewhere_after.as_millis()
    }
}

fn is_away(core: &Core, backend: &str) -> bool {
    core.admitted(backend).is_none_or(|b| !b.health().answers())
}

fn items(lines: &[LedgerEntry]) -> Vec<LedgerItem> {
    lines.iter().map(|line| line.item.clone()).collect()
}

/// How many more losses what these lines are about survives; `None` where it was deleted.
pub(crate) async fn margin_of(core: &Core, id: DataId, lines: &[LedgerEntry]) -> Result<Option<i32>> {
    let referrers = core.catalog.referrers(id).await?;
    let mut views = Piece::views(&referrers, id);
    Ok(views.next().map(|(_, piece)| piece.scheme.m() as i32 - lines.len() as i32))
}

/// Whether nothing needs a segment, and nothing will. What is coded anew is noted before it is named, and a copy may be
/// about to name what was deleted since it began. Asked of a whole catalog, which is held.
pub(crate) async fn is_forgotten(core: &Core, id: DataId) -> Result<bool> {
    let is_arriving = core.first_arriving().is_some_and(|first| id >= first);
    if is_arriving || !is_unneeded(core, id).await? || core.held_by_now().await.contains(&id.0) {
        return Ok(false);
    }
    // Whoever held it meanwhile has named it by now, or never will.
    is_unneeded(core, id).await
}

async fn is_unneeded(core: &Core, id: DataId) -> Result<bool> {
    Ok(!unneeded(core, &[id]).await?.is_empty())
}

/// Looks at the shards of a segment that the ledger names.
pub(crate) async fn plan_segment(
    core: &Arc<Core>,
    id: DataId,
    lines: &[LedgerEntry],
    config: &HealConfig,
) -> Result<Healing> {
    let mut healing = Healing::new();
    let referrers = core.catalog.referrers(id).await?;
    let views = distinct_views(&referrers, id);
    let Some(first) = views.first() else {
        // In a catalog that is being made anew nothing is named yet.
        let _whole = core.hold_whole().await?;
        if !is_forgotten(core, id).await? {
            // It is about to be named, or a part of an upload that is not completed: until then nothing is known of the object.
            healing.waiting = lines.len() as u64;
            return Ok(healing);
        }
        return healing.drop(core, &items(lines)).await;
    };
    let shard_len = first.file_len();
    let mut sound: BTreeSet<LedgerItem> = lines.iter().map(|line| line.item.clone()).collect();
    // What one version has where it names it may be missing where another one does, so the first is healed that lacks something.
    let (mut piece, mut lost) = (first, Vec::new());
    for view in &views {
        lost = lost_in(core, view, lines, config, (&mut sound, &mut healing)).await;
        piece = view;
        if !lost.is_empty() {
            break;
        }
    }
    healing = healing.drop(core, &Vec::from_iter(sound)).await?;
    let lost: Vec<&Finding> = lost.iter().collect();
    let holders = holders_in(&referrers, piece, &lost);
    let (write, waiting) = targets(core, &holders, piece.scheme.m(), &lost);
    healing.waiting += waiting.len() as u64;
    if write.is_empty() {
        return Ok(healing);
    }
    let bad: BTreeSet<u16> = lines.iter().map(|l| index_of(&l.item)).collect();
    let good = piece.shards.iter().enumerate().filter(|(i, _)| !bad.contains(&(*i as u16)));
    for at in good.filter_map(|(_, at)| at.as_ref()).take(piece.scheme.k()) {
        healing.cost.count(core, &at.backend, 1, 0, shard_len);
    }
    write.iter().for_each(|(_, name)| healing.cost.count(core, name, 1, 1, shard_len));
    healing.doing = Doing::Shards(id, write);
    Ok(healing)
}

/// A segment as its versions have it, each different one once.
fn distinct_views(referrers: &[Entry], id: DataId) -> Vec<Piece> {
    let mut views: Vec<Piece> = Vec::new();
    let names =
        |piece: &Piece| piece.shards.iter().map(|at| at.as_ref().map(|at| at.backend.clone())).collect::<Vec<_>>();
    for (_, view) in Piece::views(referrers, id) {
        if !views.iter().any(|known| names(known) == names(&view)) {
            views.push(view);
        }
    }
    views
}

/// The shards that the lines name and one version lacks. What is lost, or waits for its backend, is not sound.
async fn lost_in(
    core: &Arc<Core>,
    piece: &Piece,
    lines: &[LedgerEntry],
    config: &HealConfig,
    (sound, healing): (&mut BTreeSet<LedgerItem>, &mut Healing),
) -> Vec<Finding> {
    let mut lost = Vec::new();
    let urgent = lines.len() >= piece.scheme.m();
    for line in lines {
        let LedgerItem::Shard { index, .. } = line.item else { continue };
        let Some(at) = piece.shards.get(usize::from(index)).and_then(Option::as_ref) else { continue };
        let kind = if is_away(core, &at.backend) {
            if !urgent && config.waits(core, line) {
                healing.waiting += u64::from(sound.remove(&line.item));
                continue;
            }
            FindingKind::Unreachable
        } else if is_sound(core, piece, usize::from(index), &mut healing.cost).await {
            continue;
        } else {
            FindingKind::ShardMissing
        };
        sound.remove(&line.item);
        lost.push(finding(&at.backend, kind, Some(0), index));
    }
    lost
}

/// Whether a shard is there after all, and every byte of it is right: a write that was given up on may have arrived.
async fn is_sound(core: &Arc<Core>, piece: &Piece, index: usize, cost: &mut Spent) -> bool {
    let shard_len = piece.file_len();
    let Some(at) = &piece.shards[index] else { return false };
    let Some(backend) = core.admitted(&at.backend) else { return false };
    cost.count(core, &at.backend, 1, 0, 0);
    if size_of(backend, &at.path).await.ok() != Some(shard_len) {
        return false;
    }
    cost.count(core, &at.backend, 1, 0, shard_len);
    verify_shard(core, piece, index, 0..piece.layout.stripes()).await.is_ok()
}

/// Looks at the copies of a batch that the ledger names.
pub(crate) async fn plan_batch(
    core: &Arc<Core>,
    id: BatchId,
    lines: &[LedgerEntry],
    config: &HealConfig,
) -> Result<Healing> {
    let mut healing = Healing::new();
    let row = core.catalog.batch(id).await?;
    let live = core.catalog.is_live(id).await?;
    let Some(row) = row else { return healing.drop(core, &items(lines)).await };
    if !live {
        if is_in_doubt(core).await? {
            // What was replaced by what is in doubt may live again.
            healing.waiting = lines.len() as u64;
            return Ok(healing);
        }
        return healing.drop(core, &items(lines)).await;
    }
    if let Err(error) = check_live_readable(core, id).await {
        if error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        healing.waiting = lines.len() as u64;
        return Ok(healing);
    }
    let (mut lost, mut sound) = (Vec::new(), Vec::new());
    let urgent = lines.len() >= core.record_margin;
    for line in lines {
        let LedgerItem::Copy { copy, .. } = line.item else { continue };
        let held = row.holders.iter().find(|h| h.copy == copy && h.state == HolderState::Held);
        let home = held.map_or(&line.backend, |h| &h.backend);
        let kind = if is_away(core, home) {
            if !urgent && config.waits(core, line) {
                healing.waiting += 1;
                continue;
            }
            FindingKind::Unreachable
        } else if held.is_some() && is_sound_copy(core, &row, home, &mut healing.cost).await {
            sound.push(line.item.clone());
            continue;
        } else {
            FindingKind::CopyMissing
        };
        lost.push(finding(home, kind, None, copy));
    }
    healing = healing.drop(core, &sound).await?;
    let lost: Vec<&Finding> = lost.iter().collect();
    let held: Vec<String> =
        row.holders.iter().filter(|h| h.state == HolderState::Held).map(|h| h.backend.clone()).collect();
    let (write, waiting) = targets(core, &held, core.record_margin, &lost);
    healing.waiting += waiting.len() as u64;
    if write.is_empty() {
        return Ok(healing);
    }
    // How many copies are read depends on what is in it: at most as many as small objects have data shards.
    for name in held.iter().take(core.config.scheme.k()) {
        healing.cost.count(core, name, 1, 0, row.len_bytes);
    }
    write.iter().for_each(|(_, name)| healing.cost.count(core, name, 1, 1, row.len_bytes));
    healing.doing = Doing::Copies(id, write);
    Ok(healing)
}

async fn is_sound_copy(core: &Core, row: &BatchRow, name: &str, cost: &mut Spent) -> bool {
    let Some(backend) = core.admitted(name) else { return false };
    cost.count(core, name, 1, 0, row.len_bytes);
    let Ok(bytes) = get_all(backend, &paths::batch(row.id), MAX_RECORD_LEN).await else { return false };
    let Ok((_, records)) = read_copy(&core.checksums, core.repository, row.id, &bytes) else { return false };
    bytes.len() as u64 == row.len_bytes && records.iter().all(|r| matches!(r, Ok(r) if r.inline.is_ok()))
}

fn index_of(item: &LedgerItem) -> u16 {
    match item {
        LedgerItem::Shard { index, .. } => *index,
        LedgerItem::Copy { copy, .. } => *copy,
    }
}

fn finding(backend: &str, kind: FindingKind, segment: Option<u64>, index: u16) -> Finding {
    Finding { backend: backend.to_owned(), kind, segment, index, detail: String::new() }
}
