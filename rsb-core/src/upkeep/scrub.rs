//! The scrubber looks at everything again and again: by listings, by samples, in full, each on its own schedule and all
//! within one budget of the day. Where it is stands in the catalog, so it goes on after a restart. What it finds goes in the
//! ledger, as what reads find does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Budget, Spent};
use crate::api::{Depth, FindingKind};
use crate::catalog::Entry;
use crate::check::{Checker, SAMPLE_BLOCKS};
use crate::core::Core;
use crate::error::Result;
use crate::events::EventKind;
use crate::format::manifest::Body;
use crate::id::VersionId;
use crate::read::piece::Piece;

/// The catalog's named values: what was spent today, and since when each backend's oldest byte is verified.
const SPENT: &str = "scrub.spent";
const VERIFIED: &str = "scrub.verified";
/// How often it is looked whether a cycle is due, or the budget allows to go on.
const TICK: Duration = Duration::from_secs(10);
/// After so many versions it is remembered how far it is.
const PAGE: usize = 100;

/// When what is stored is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrubConfig {
    /// A cycle by listings (presence and size) begins this often; zero: never.
    pub inventory_every: Duration,
    /// One that also reads random blocks of each shard.
    pub sample_every: Duration,
    /// One that reads every byte.
    pub full_every: Duration,
    /// What all of them may cost in a day.
    pub budget: Budget,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        Self {
            inventory_every: days(1),
            sample_every: days(7),
            full_every: days(90),
            budget: Budget { bytes: Some(1 << 30), requests: Some(100_000), price: None },
        }
    }
}

impl ScrubConfig {
    fn every(&self, depth: Depth) -> Duration {
        match depth {
            Depth::Inventory => self.inventory_every,
            Depth::Sample => self.sample_every,
            Depth::Full => self.full_every,
        }
    }
}

/// How the scrubbing is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// Its cycles, one of each depth that has a schedule.
    pub cycles: Vec<Cycle>,
    /// It waits for tomorrow's budget.
    pub waits_for_budget: bool,
    /// What was spent today.
    pub spent: Spent,
    /// By backend: no byte that was on it before this time (milliseconds since the Unix epoch) has not been verified since
    /// then.
    pub verified_ms: BTreeMap<String, u64>,
}

/// A cycle through everything that is stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cycle {
    /// How deep it looks.
    pub depth: Depth,
    /// It has begun and not ended.
    pub running: bool,
    /// When it, or the last one, began: milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// When the last one ended; 0 for never.
    pub ended_ms: u64,
    /// Versions looked at.
    pub objects: u64,
    /// Of them, not whole.
    pub damaged: u64,
    /// The last version looked at.
    after: Option<(String, String, VersionId)>,
    /// Backends of which something could not be looked at.
    missed: BTreeSet<String>,
}

impl Cycle {
    fn name(depth: Depth) -> &'static str {
        match depth {
            Depth::Inventory => "scrub.inventory",
            Depth::Sample => "scrub.sample",
            Depth::Full => "scrub.full",
        }
    }

    async fn load(core: &Core, depth: Depth) -> Result<Self> {
        let text = core.catalog.value(Self::name(depth)).await?.unwrap_or_default();
        // The first one is due a whole period after the first start.
        let first = || Self { depth, started_ms: core.env.now_ms(), ..Self::default() };
        let cycle: Self = serde_json::from_str(&text).unwrap_or_else(|_| first());
        Ok(cycle)
    }

    async fn save(&self, core: &Core) -> Result<()> {
        core.catalog.set_value(Self::name(self.depth), serde_json::to_string(self).ok()).await
    }
}

/// Starts the scrubber.
pub(super) fn start(core: &Arc<Core>, config: ScrubConfig) {
    core.upkeep.scrub(|_| {});
    let (weak, closing) = (Arc::downgrade(core), core.closing.clone());
    core.tasks.spawn(async move {
        loop {
            let Some(core) = weak.upgrade() else { return };
            if let Err(error) = tick(&core, &config).await {
                tracing::warn!(%error, "the scrubber could not go on; it tries again");
            }
            drop(core);
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    });
}

/// Goes on with what is due, as far as the budget allows.
pub(crate) async fn tick(core: &Arc<Core>, config: &ScrubConfig) -> Result<()> {
    let verified = core.catalog.value(VERIFIED).await?.unwrap_or_default();
    let verified = serde_json::from_str(&verified).unwrap_or_default();
    core.upkeep.scrub(|status| status.verified_ms = verified);
    let mut cycles = Vec::new();
    let mut waits = false;
    for depth in [Depth::Inventory, Depth::Sample, Depth::Full] {
        let every = u64::try_from(config.every(depth).as_millis()).unwrap_or(u64::MAX);
        if every == 0 || core.read_only_reason().is_some() || core.closing.is_cancelled() {
            continue;
        }
        let mut cycle = Cycle::load(core, depth).await?;
        let now_ms = core.env.now_ms();
        if !cycle.running && now_ms >= cycle.started_ms.saturating_add(every) {
            let ended_ms = cycle.ended_ms;
            cycle = Cycle { depth, running: true, started_ms: now_ms, ended_ms, ..Cycle::default() };
        }
        cycle.save(core).await?;
        if cycle.running {
            waits |= !go_on(core, config, &mut cycle).await?;
        }
        cycles.push(cycle);
        core.upkeep.scrub(|status| status.cycles.clone_from(&cycles));
    }
    let waited = core.upkeep.status().scrub.is_some_and(|status| status.waits_for_budget);
    core.upkeep.scrub(|status| (status.cycles, status.waits_for_budget) = (cycles, waits));
    if waits && !waited {
        core.events.tell(EventKind::BudgetSpent, None, "the scrubber waits for tomorrow");
    }
    Ok(())
}

/// Whether the cycle came to its end, and not to the end of the budget.
async fn go_on(core: &Arc<Core>, config: &ScrubConfig, cycle: &mut Cycle) -> Result<bool> {
    let mut spent = Spent::load(core, SPENT).await?;
    let checker = Checker::new(core, cycle.depth, cycle.depth == Depth::Inventory).await;
    loop {
        let page = core.catalog.versions_after(cycle.after.clone(), PAGE).await?;
        if page.is_empty() {
            end(core, cycle).await?;
            return Ok(true);
        }
        for entry in page {
            let cost = cost(core, cycle.depth, &entry);
            spent = spent.today(core.env.now_ms());
            let allowed = spent.allows(&config.budget, &cost);
            if !allowed || core.closing.is_cancelled() {
                spent.save(core, SPENT).await?;
                cycle.save(core).await?;
                return Ok(allowed);
            }
            spent.add(&cost);
            look(core, &checker, cycle, entry).await?;
        }
        spent.save(core, SPENT).await?;
        cycle.save(core).await?;
        core.upkeep.scrub(|status| status.spent = spent);
    }
}

async fn look(core: &Arc<Core>, checker: &Checker, cycle: &mut Cycle, entry: Entry) -> Result<()> {
    let m = &entry.manifest;
    let name = (m.bucket.clone(), m.key.clone(), m.version);
    let is_marker = m.delete_marker;
    let seen = checker.look(entry).await?;
    // What was deleted or moved since the page was read is no finding.
    let gone = core.catalog.entry(&name.0, &name.1, Some(name.2)).await?.is_none();
    if !gone && !is_marker {
        checker.remember(&seen).await?;
        cycle.damaged += u64::from(!seen.health.is_whole());
        let away = seen.health.findings.iter().filter(|f| f.kind == FindingKind::Unreachable);
        cycle.missed.extend(away.map(|f| f.backend.clone()));
    }
    cycle.objects += 1;
    cycle.after = Some(name);
    Ok(())
}

async fn end(core: &Arc<Core>, cycle: &mut Cycle) -> Result<()> {
    cycle.running = false;
    cycle.ended_ms = core.env.now_ms();
    cycle.after = None;
    if cycle.depth == Depth::Full {
        let known = core.catalog.value(VERIFIED).await?.unwrap_or_default();
        let mut verified: BTreeMap<String, u64> = serde_json::from_str(&known).unwrap_or_default();
        let seen = core.backends.iter().map(|b| b.name()).filter(|name| !cycle.missed.contains(*name));
        verified.extend(seen.map(|name| (name.to_owned(), cycle.started_ms)));
        core.catalog.set_value(VERIFIED, serde_json::to_string(&verified).ok()).await?;
        core.upkeep.scrub(|status| status.verified_ms = verified);
    }
    cycle.save(core).await?;
    let depth = format!("{:?}", cycle.depth).to_lowercase();
    let detail = format!("{depth}: {} versions looked at, {} of them not whole", cycle.objects, cycle.damaged);
    core.events.tell(EventKind::ScrubEnded, None, detail);
    Ok(())
}

/// What it costs to look at a version: requests and bytes. Listings are shared by all and cost nothing here.
fn cost(core: &Core, depth: Depth, entry: &Entry) -> Spent {
    let mut cost = Spent::default();
    if depth == Depth::Inventory {
        return cost;
    }
    let Body::Segments(body) = &entry.manifest.body else {
        cost.requests = core.backends.len() as u64;
        cost.bytes = if depth == Depth::Full { cost.requests * u64::from(entry.at.extent.len) } else { 0 };
        return cost;
    };
    for piece in body.views().map(|view| Piece::of_segment(&view)) {
        let whole = piece.layout.shard_body_len();
        let blocks = SAMPLE_BLOCKS.min(piece.layout.stripes());
        let (requests, bytes) = match depth {
            Depth::Sample => (1 + 2 * blocks, (blocks * piece.layout.block_len(0)).min(whole)),
            _ => (3, whole),
        };
        for at in piece.shards.iter().flatten() {
            cost.count(core, &at.backend, requests - 1, 0, 0);
            cost.count(core, &at.backend, 1, 0, bytes);
        }
    }
    cost
}
