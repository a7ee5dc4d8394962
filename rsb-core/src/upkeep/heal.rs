//! The ledger works itself off: what is missing or damaged is rebuilt, least margin first, within the day's budget. What
//! turns out to be sound, or was deleted, is dropped. What waits for a backend that is away is left until that is back, or
//! has been away for long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::{Budget, HealConfig, Spent};
use crate::api::RepairReport;
use crate::catalog::{LedgerEntry, LedgerItem};
use crate::core::{Core, lock};
use crate::error::Result;
use crate::events::EventKind;
use crate::id::{BatchId, DataId};
use crate::repair::lines::{Doing, margin_of, plan_batch, plan_segment};
use crate::repair::{markers, repair_copies, repair_shards};
use crate::write::commit::Committer;

/// The catalog's named value with what was spent today.
const SPENT: &str = "heal.spent";
/// Most groups of lines that are looked at in one go: those with the most lines.
const MOST: usize = 20_000;
/// Groups worked on at once.
const AT_ONCE: usize = 4;
/// What failed is tried again after this time, then after twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What lines are about that are repaired together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    Segment(DataId),
    Batch(BatchId),
}

impl Group {
    fn of(item: &LedgerItem) -> Self {
        match item {
            LedgerItem::Shard { data_id, .. } => Self::Segment(*data_id),
            LedgerItem::Copy { batch, .. } => Self::Batch(*batch),
        }
    }
}

/// Starts the worker.
pub(super) fn start(core: &Arc<Core>, committer: &Committer, config: HealConfig) {
    core.upkeep.heal(|_| {});
    let (weak, committer, closing): (Weak<Core>, _, _) =
        (Arc::downgrade(core), committer.downgrade(), core.closing.clone());
    core.tasks.spawn(async move {
        let mut worker = Worker { config, failed: BTreeMap::new() };
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = tokio::time::sleep(worker.config.every) => {}
            }
            let (Some(core), Some(committer)) = (weak.upgrade(), committer.upgrade()) else { return };
            // What is in the middle of something is finished: it is bounded by one segment.
            if let Err(error) = worker.round(&core, &committer).await {
                tracing::warn!(%error, "the ledger could not be worked off; it is tried again");
            }
        }
    });
}

/// Works through the ledger once, with no regard to earlier failures.
pub(crate) async fn once(core: &Arc<Core>, committer: &Committer, config: HealConfig) -> Result<()> {
    Worker { config, failed: BTreeMap::new() }.round(core, committer).await
}

struct Worker {
    config: HealConfig,
    /// When what failed is tried again, and the pause before that.
    failed: BTreeMap<Group, (Instant, Duration)>,
}

#[derive(Default)]
struct Outcome {
    healed: u64,
    dropped: u64,
    waiting: u64,
    over_budget: u64,
    error: Option<String>,
}

impl Worker {
    async fn round(&mut self, core: &Arc<Core>, committer: &Committer) -> Result<()> {
        if core.read_only_reason().is_some() {
            return Ok(());
        }
        for name in markers::restore(core).await? {
            core.events.tell(EventKind::Healed, Some(&name), "its marker was lost, and was written again");
        }
        let groups = self.groups(core).await?;
        self.failed.retain(|group, _| groups.contains_key(group));
        let (mut total, mut work) = (Outcome::default(), Vec::new());
        for (group, lines) in groups {
            if self.must_wait(core, &group, &lines) {
                total.waiting += lines.len() as u64;
                continue;
            }
            let margin = match group {
                Group::Segment(id) => margin_of(core, id, &lines).await?.unwrap_or(i32::MAX),
                Group::Batch(_) => core.record_margin as i32 - lines.len() as i32,
            };
            work.push((margin, group, lines));
        }
        work.sort_by_key(|(margin, group, _)| (*margin, *group));
        self.work(core, committer, work, &mut total).await?;
        if total.healed > 0 {
            // Where it lies now, no power cut must make forgotten.
            core.catalog.sync().await?;
        }
        let before = core.upkeep.status().heal.unwrap_or_default();
        let now_ms = core.env.now_ms();
        core.upkeep.heal(|status| {
            (status.last_ms, status.waiting, status.over_budget) = (now_ms, total.waiting, total.over_budget);
        });
        if total.healed > 0 {
            core.events.tell(
                EventKind::Healed,
                None,
                format!("rebuilt and read back: {} shards and copies", total.healed),
            );
        }
        if total.over_budget > 0 && before.over_budget == 0 {
            let detail = format!("{} lines of the ledger wait for tomorrow", total.over_budget);
            core.events.tell(EventKind::BudgetSpent, None, detail);
        }
        if total.error.is_some() {
            core.events.tell(EventKind::HealFailed, None, "something that is lost could not be rebuilt; see the log");
        }
        Ok(())
    }

    /// The ledger by what is repaired together.
    async fn groups(&self, core: &Core) -> Result<BTreeMap<Group, Vec<LedgerEntry>>> {
        let mut groups: BTreeMap<Group, Vec<LedgerEntry>> = BTreeMap::new();
        let mut after = None;
        loop {
            let page = core.catalog.ledger_after(after.as_ref(), 1000).await?;
            let Some(last) = page.last() else { return Ok(groups) };
            after = Some(last.item.clone());
            for line in page {
                groups.entry(Group::of(&line.item)).or_default().push(line);
            }
            if groups.len() > MOST {
                let mut counts: Vec<usize> = groups.values().map(Vec::len).collect();
                counts.sort_unstable_by(|a, b| b.cmp(a));
                let least = counts[MOST / 2];
                // Always those that have lost most; the rest has its turn when these are done.
                let mut room = MOST / 2;
                groups.retain(|_, lines| {
                    let keep = lines.len() > least || (lines.len() == least && room > 0);
                    room = room.saturating_sub(usize::from(keep));
                    keep
                });
            }
        }
    }

    /// Whether nothing can be done about a group now: it failed a moment ago, or its backends are away.
    fn must_wait(&self, core: &Core, group: &Group, lines: &[LedgerEntry]) -> bool {
        if self.failed.get(group).is_some_and(|(until, _)| Instant::now() < *until) {
            return true;
        }
        // As many lost as the repository survives: whatever the object's own scheme is, it is looked at.
        let urgent = lines.len() >= core.record_margin.max(1);
        !urgent && lines.iter().all(|line| self.config.waits(core, line))
    }

    /// Does what the budget allows, the least margin first.
    async fn work(
        &mut self,
        core: &Arc<Core>,
        committer: &Committer,
        work: Vec<(i32, Group, Vec<LedgerEntry>)>,
        total: &mut Outcome,
    ) -> Result<()> {
        let till = Till { budget: self.config.budget, spent: Mutex::new(Spent::load(core, SPENT).await?) };
        let (till, config) = (&till, &self.config);
        let results = futures::stream::iter(work).map(|(_, group, lines)| async move {
            if core.closing.is_cancelled() {
                return (group, Outcome { waiting: lines.len() as u64, ..Outcome::default() });
            }
            (group, heal(core, committer, group, &lines, config, till).await)
        });
        let mut results = results.buffer_unordered(AT_ONCE);
        while let Some((group, outcome)) = results.next().await {
            let spent = *lock(&till.spent);
            core.upkeep.heal(|status| {
                status.healed += outcome.healed;
                status.dropped += outcome.dropped;
                status.failed += u64::from(outcome.error.is_some());
                status.spent = spent;
            });
            total.healed += outcome.healed;
            total.waiting += outcome.waiting;
            total.over_budget += outcome.over_budget;
            match outcome.error {
                None => drop(self.failed.remove(&group)),
                Some(error) => {
                    let last = self.failed.get(&group).map_or(Duration::ZERO, |(_, pause)| *pause);
                    let pause = (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                    self.failed.insert(group, (Instant::now() + pause, pause));
                    tracing::warn!(?group, %error, "what is in the ledger could not be rebuilt; it is tried again");
                    total.error = Some(error);
                }
            }
        }
        Ok(())
    }
}

/// What may be spent, and what was.
struct Till {
    budget: Budget,
    spent: Mutex<Spent>,
}

impl Till {
    /// Takes out a cost, where the budget allows it. It is remembered before it is spent, so that a crash gives nothing back.
    async fn take(&self, core: &Core, cost: &Spent) -> Result<bool> {
        let spent = {
            let mut spent = lock(&self.spent);
            *spent = spent.today(core.env.now_ms());
            if !spent.allows(&self.budget, cost) {
                return Ok(false);
            }
            spent.add(cost);
            *spent
        };
        if self.budget != Budget::default() {
            spent.save(core, SPENT).await?;
        }
        Ok(true)
    }
}

async fn heal(
    core: &Arc<Core>,
    committer: &Committer,
    group: Group,
    lines: &[LedgerEntry],
    config: &HealConfig,
    till: &Till,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut report = RepairReport::default();
    let done = async {
        if !till.take(core, &Spent::default()).await? {
            outcome.over_budget = lines.len() as u64;
            return Ok(());
        }
        let healing = match group {
            Group::Segment(id) => plan_segment(core, id, lines, config).await?,
            Group::Batch(id) => plan_batch(core, id, lines, config).await?,
        };
        (outcome.dropped, outcome.waiting) = (healing.dropped, healing.waiting);
        if !till.take(core, &healing.cost).await? {
            outcome.over_budget = lines.len() as u64 - healing.dropped - healing.waiting;
            return Ok(());
        }
        match healing.doing {
            Doing::Nothing => Ok(()),
            Doing::Shards(data_id, write) => repair_shards(core, committer, data_id, &write, &mut report).await,
            Doing::Copies(batch, write) => repair_copies(core, committer, batch, &write, &mut report).await,
        }
    };
    let done: Result<()> = done.await;
    outcome.healed = report.shards_rebuilt + report.copies_rebuilt;
    outcome.error = done.err().map(|error| error.message().to_owned());
    outcome
}
