//! A history from begin to end: processes begin, do steps, die; the world goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use object_store::path::Path;
use tokio::time::Instant;

use super::act::{Actor, Planned, Told, needs};
use super::catalog::SimCatalog;
use super::history::{Condition, Damage, End, History, Illness, KEYS, LAST_KEYS, Op, Step};
use super::judge::{Broken, Strictness, Tale};
use super::model::{Model, name};
use super::store::SimStore;
use super::world::{Fault, World};
use crate::catalog::{Catalog, Precondition};
use crate::codec::{CodecId, Codecs};
use crate::env::{Compute, Env, Flaw};
use crate::format::manifest::{BucketSettings, Versions};
use crate::format::paths;
use crate::id::VersionId;
use crate::upkeep::{Budget, HealConfig, ScrubConfig};
use crate::{Backend, Cost, Engine, EngineConfig, ErrorKind, Role, Scheme, Spread};

/// A history that went well.
#[derive(Clone, Debug)]
pub struct Report {
    /// The hash of everything that was asked of the backends, and when.
    pub trace: String,
    /// Calls of backends.
    pub calls: u64,
    /// Processes that lived.
    pub lives: u64,
    /// What happened, line by line, where it was asked for.
    pub log: String,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What was seen.
    pub what: String,
    /// The step in which it was seen; one past the last for what must hold at the end.
    pub step: usize,
    /// What happened, line by line, where it was asked for.
    pub log: String,
}

/// How a history is run.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// The steps that are left out.
    pub without: Option<&'a dyn Fn(usize) -> bool>,
    /// Keep a log of everything.
    pub with_log: bool,
    /// A deliberate bug of the engine.
    pub flaw: Option<Flaw>,
}

/// Runs a history.
pub fn run(history: &History, options: Options<'_>) -> Result<Report, Failure> {
    let Options { without, with_log, flaw } = options;
    let keep = |at: usize| without.is_none_or(|without| !without(at));
    let keep: &dyn Fn(usize) -> bool = &keep;
    let world = World::new(history.seed, history.layout.backends, with_log);
    let at = Arc::new(Mutex::new(0));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut sim = Sim::new(history, world.clone(), at.clone(), flaw);
        sim.all_lives(history, keep).map(|lives| (lives, sim.world.lock().ops))
    }));
    let (trace, log) = world.trace();
    let step = *crate::core::lock(&at);
    match outcome {
        Ok(Ok((lives, calls))) => Ok(Report { trace: trace.to_hex().to_string(), calls, lives, log }),
        Ok(Err(what)) => Err(Failure { what, step, log }),
        Err(_) => Err(Failure { what: "it panicked".into(), step, log }),
    }
}

/// How a life came to its end.
enum Ended {
    Step(End),
    AllDone,
}

/// A history under way.
pub(super) struct Sim {
    pub world: World,
    pub config: EngineConfig,
    pub layout: Arc<super::history::Layout>,
    pub model: Model,
    pub illness: Illness,
    /// Backends that were damaged since all was well.
    pub damaged: BTreeSet<usize>,
    catalog: Option<Arc<SimCatalog>>,
    codecs: Codecs,
    /// What is going on in a step: the process may die in it.
    underway: Arc<Mutex<Vec<Tale>>>,
    /// How it ends when the fuse has burnt.
    fuse: End,
    at: Arc<Mutex<usize>>,
    /// A backend that must be well was ill until then.
    calm_from: Option<Instant>,
    flaw: Option<Flaw>,
    /// The history was looked at while some backends were away and others damaged: it may show less until all are well.
    pub shaky: bool,
}

impl Sim {
    fn new(history: &History, world: World, at: Arc<Mutex<usize>>, flaw: Option<Flaw>) -> Self {
        let layout = &history.layout;
        let (k, m) = layout.scheme;
        let codec = if layout.novelpoly { CodecId::NOVELPOLY } else { CodecId::CAUCHY };
        let scheme = Scheme { data_shards: k as u16, parity_shards: m as u16, codec: codec.0, block_size: 512 };
        let mut config = EngineConfig::new("sim", scheme);
        config.segment_size = 2048;
        config.inline_limit = 300;
        config.ack_margin = layout.ack_margin;
        config.grace = Duration::from_secs(600);
        config.multipart_expiry = Duration::from_secs(6 * 3600);
        config.heal = layout.heals.then(HealConfig::default);
        config.scrub = layout.scrubs.then(|| {
            let hours = |hours: u64| Duration::from_secs(hours * 3600);
            let (inventory_every, sample_every, full_every) = (hours(1), hours(4), hours(12));
            ScrubConfig { inventory_every, sample_every, full_every, budget: Budget::default() }
        });
        config.spread = Spread::Label("site".into());
        Self {
            world,
            config,
            layout: Arc::new(layout.clone()),
            model: Model::default(),
            illness: history.illness.clone(),
            damaged: BTreeSet::new(),
            catalog: None,
            codecs: Codecs::with_builtin(),
            underway: Arc::default(),
            fuse: End::Killed,
            at,
            calm_from: None,
            flaw,
            shaky: false,
        }
    }

    fn all_lives(&mut self, history: &History, keep: &dyn Fn(usize) -> bool) -> Result<u64, Broken> {
        let steps: Vec<usize> = (0..history.steps.len()).filter(|at| keep(*at)).collect();
        let mut next = 0;
        for lives in 1.. {
            // Only a current-thread runtime has its order decided by the program alone.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
            let ended = runtime.block_on(async {
                let crash = self.world.begin_life();
                let burnt = tokio::select! {
                    biased;
                    () = crash.notified() => None,
                    ended = self.life(history, &steps, &mut next) => Some(ended),
                };
                burnt.unwrap_or(Ok(Ended::Step(self.fuse)))
            })?;
            if let Ended::AllDone = ended {
                return Ok(lives);
            }
            // All tasks of the process die here, wherever they are.
            runtime.block_on(async { self.world.end_life() });
            drop(runtime);
            self.after_death(ended)?;
        }
        Ok(0)
    }

    /// What was going on when the process died is settled, and the catalog is what is left of it.
    fn after_death(&mut self, ended: Ended) -> Result<(), Broken> {
        let tales = std::mem::take(&mut *crate::core::lock(&self.underway));
        let step = *crate::core::lock(&self.at);
        let strict = Strictness { reads: false, history: false };
        self.model.settle(step, &tales, strict)?;
        let Ended::Step(end) = ended else { return Ok(()) };
        self.world.note(&format!("it was {end:?}"));
        let catalog = self.catalog.take().filter(|_| end != End::CatalogLost);
        self.catalog = catalog.map(|catalog| futures::executor::block_on(catalog.survivor(end == End::PowerCut)));
        Ok(())
    }

    pub fn env(&self) -> Env {
        Env::new(Arc::new(self.world.clone()), Arc::new(self.world.clone()), Compute::Inline).with_flaw(self.flaw)
    }

    pub fn backends(&self) -> Vec<Backend> {
        let layout = &self.layout;
        let make = |disk: usize| {
            let site = format!("site{}", disk / layout.domain_size);
            let domain = BTreeMap::from([("site".to_owned(), site)]);
            let role = if layout.spare && disk + 1 == layout.backends { Role::Spare } else { Role::Active };
            let store = Arc::new(SimStore::new(self.world.clone(), disk));
            Backend::with(format!("b{disk}"), store, domain, role, Cost::default())
        };
        (0..layout.backends).map(make).collect()
    }

    /// Opens the repository on these backends; `None` for the catalog: an empty one, which is not kept.
    pub async fn open_on(&self, backends: Vec<Backend>, catalog: Option<Arc<SimCatalog>>) -> crate::Result<Engine> {
        let catalog = catalog.unwrap_or_else(|| SimCatalog::new(self.world.clone()));
        Engine::open(self.config.clone(), backends, catalog, self.codecs.clone(), self.env()).await
    }

    /// Opens the repository, or, where too much is ill for that, has it seen to first.
    async fn open(&mut self) -> Result<Engine, Broken> {
        self.look_at_history();
        let catalog = self.catalog.get_or_insert_with(|| SimCatalog::new(self.world.clone())).clone();
        match self.open_on(self.backends(), Some(catalog.clone())).await {
            Ok(engine) => return Ok(engine),
            Err(error) if error.kind() == ErrorKind::Internal => return Err(format!("opening: {error}")),
            Err(error) => self.world.note(&format!("it does not open: {error}")),
        }
        self.see_to_backends().await?;
        self.open_on(self.backends(), Some(catalog))
            .await
            .map_err(|e| format!("it does not open on well backends: {e}"))
    }

    /// The catalog is made anew, or catches up.
    fn look_at_history(&mut self) {
        let state = self.world.lock();
        let is_ill = |disk: &usize| state.disks[*disk].fault.is_some() || self.damaged.contains(disk);
        let lies = |disk: usize| {
            state.disks[disk].fault.is_some_and(|fault| Fault::LYING.contains(&fault)) || self.damaged.contains(&disk)
        };
        let ill: Vec<usize> = (0..state.disks.len()).filter(is_ill).collect();
        // One that lost something and takes no writes looks like the rest of a write that was never acknowledged.
        let takes_no_writes = |disk: usize| state.disks[disk].fault.is_some();
        let doubt = !self.damaged.is_empty() && ill.iter().copied().any(takes_no_writes);
        self.shaky |=
            doubt || if self.illness.storm { !ill.is_empty() } else { ill.len() > 1 && ill.into_iter().any(lies) };
    }

    async fn life(&mut self, history: &History, steps: &[usize], next: &mut usize) -> Result<Ended, Broken> {
        if *next == 0 && self.catalog.is_none() {
            let made = Engine::init_markers(&self.config, &self.backends(), &self.env()).await;
            made.map_err(|e| format!("markers: {e}"))?;
        }
        let mut engine = self.open().await?;
        self.make_buckets(&engine).await?;
        self.read_all(&engine, "after the start").await?;
        while let Some(at) = steps.get(*next).copied() {
            *next += 1;
            *crate::core::lock(&self.at) = at;
            self.world.note(&format!("step {at}: {:?}", history.steps[at]));
            let limit = Duration::from_secs(24 * 3600);
            let step = tokio::time::timeout(limit, self.step(&mut engine, at, &history.steps[at])).await;
            if let Some(ended) = step.map_err(|_| "the step does not come to an end".to_owned())?? {
                return Ok(ended);
            }
        }
        *crate::core::lock(&self.at) = history.steps.len();
        let limit = Duration::from_secs(30 * 24 * 3600);
        tokio::time::timeout(limit, self.finish(engine))
            .await
            .map_err(|_| "it does not come to an end".to_owned())??;
        Ok(Ended::AllDone)
    }

    async fn make_buckets(&mut self, engine: &Engine) -> Result<(), Broken> {
        if !self.model.buckets_made {
            for (bucket, versions) in [("last", Versions::KeepLast), ("all", Versions::KeepAll)] {
                let settings = BucketSettings { versions, ..BucketSettings::default() };
                let made = engine.create_bucket(bucket, settings).await;
                made.map_err(|e| format!("bucket {bucket}: {e}"))?;
            }
            self.model.buckets_made = true;
        }
        Ok(())
    }

    async fn step(&mut self, engine: &mut Engine, at: usize, step: &Step) -> Result<Option<Ended>, Broken> {
        match step {
            Step::Ops(ops) => return self.ops(engine, at, ops).await,
            Step::Fault { which, fault } => self.fall_ill(*which, *fault),
            Step::Mend { which } => self.mend(*which),
            Step::Damage { which, damage } => self.damage(*which, *damage),
            Step::Remember { which } => {
                if let Some(disk) = self.ill(*which) {
                    let mut state = self.world.lock();
                    state.disks[disk].old = Some(state.disks[disk].files.clone());
                }
            }
            Step::Jump { ms } => self.world.lock().jump(*ms),
            Step::Pass { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Step::Fuse { calls, end } => {
                self.fuse = *end;
                self.world.crash_after(*calls);
            }
            Step::Restart { end } => {
                if *end == End::Closed {
                    let closed = engine.close().await;
                    closed.map_err(|e| format!("closing: {e}"))?;
                }
                return Ok(Some(Ended::Step(*end)));
            }
            Step::Tend { next } => {
                self.world.no_crash();
                self.tend(engine).await?;
                self.illness = next.clone();
            }
        }
        Ok(None)
    }

    fn ill(&self, which: usize) -> Option<usize> {
        let ill = &self.illness.ill;
        (!ill.is_empty()).then(|| ill[which % ill.len()])
    }

    fn fall_ill(&mut self, which: usize, fault: Fault) {
        let anywhere = self.illness.storm && Fault::HONEST.contains(&fault);
        let disk = if anywhere { Some(which % self.layout.backends) } else { self.ill(which) };
        if let Some(disk) = disk {
            self.world.lock().disks[disk].fault = Some(fault);
        }
    }

    fn mend(&mut self, which: usize) {
        let mut state = self.world.lock();
        let with: Vec<usize> = (0..state.disks.len()).filter(|disk| state.disks[*disk].fault.is_some()).collect();
        if let Some(disk) = (!with.is_empty()).then(|| with[which % with.len()]) {
            state.disks[disk].fault = None;
            // Until the watch has seen it, it is not used.
            self.calm_from = Some(Instant::now() + Duration::from_secs(60));
        }
    }

    fn damage(&mut self, which: usize, damage: Damage) {
        let Some(disk) = self.ill(which) else { return };
        self.damaged.insert(disk);
        super::tend::damage(&mut self.world.lock(), disk, damage);
    }

    /// A sweep drops tombstones. With k ≤ m a backend that comes back as it was before may bring back what was deleted, and so
    /// much is not promised: docs/reliability.md.
    pub fn forget_what_was(&self) {
        let (k, m) = self.layout.scheme;
        if self.layout.others.iter().any(|(k, m)| k <= m) || k <= m {
            self.world.lock().disks.iter_mut().for_each(|disk| disk.old = None);
        }
    }

    /// What may be asked of reads now.
    pub fn strictness(&self, engine: &Engine) -> Strictness {
        let state = self.world.lock();
        let others_ill =
            (0..state.disks.len()).any(|disk| state.disks[disk].fault.is_some() && !self.illness.ill.contains(&disk));
        let calm = !others_ill && self.calm_from.is_none_or(|from| Instant::now() >= from);
        Strictness { reads: calm, history: !engine.core.is_uncertain() && !self.shaky }
    }

    async fn ops(&mut self, engine: &Engine, at: usize, ops: &[(u64, Op)]) -> Result<Option<Ended>, Broken> {
        let mut plan = Vec::new();
        for (delay_ms, op) in ops {
            plan.push(self.plan(engine, *delay_ms, op).await);
        }
        if ops.iter().any(|(_, op)| matches!(op, Op::Rebuild | Op::Sweep)) {
            self.look_at_history();
        }
        if ops.iter().any(|(_, op)| matches!(op, Op::Sweep)) {
            self.forget_what_was();
        }
        let before = self.strictness(engine);
        let alone = plan.len() == 1;
        *crate::core::lock(&self.underway) = plan.iter().map(|planned| (planned.clone(), None)).collect();
        let actor = Actor { engine: engine.clone(), world: self.world.clone(), layout: self.layout.clone(), alone };
        join_all(plan.iter().enumerate().map(|(i, planned)| {
            let (actor, underway) = (&actor, self.underway.clone());
            async move {
                let told = actor.act(planned).await;
                crate::core::lock(&underway)[i].1 = Some(told);
            }
        }))
        .await;
        let tales = std::mem::take(&mut *crate::core::lock(&self.underway));
        let after = self.strictness(engine);
        // While the catalog is made anew the history is not all there yet.
        let rebuilds = ops.iter().any(|(_, op)| matches!(op, Op::Rebuild)) && ops.len() > 1;
        let history = before.history && after.history && !rebuilds;
        let strict = Strictness { reads: before.reads && after.reads && !rebuilds, history };
        self.model.settle(at, &tales, strict)?;
        self.world.no_crash();
        self.read_all(engine, "after the step").await?;
        Ok(None)
    }

    async fn plan(&mut self, engine: &Engine, delay_ms: u64, op: &Op) -> Planned {
        let (writes, condition) = needs(op);
        let value = writes.map(|(_, len)| self.model.new_value(len));
        let precondition = match (condition, writes) {
            (Condition::Absent, _) => Precondition::Absent,
            (Condition::Unchanged, Some((key, _))) => {
                let (bucket, key) = name(key);
                let head = engine.head(bucket, &key, None).await;
                head.map_or(Precondition::None, |info| Precondition::VersionIs(info.version()))
            }
            _ => Precondition::None,
        };
        let version = match op {
            Op::DeleteVersion { key, pick } | Op::GetVersion { key, pick } => {
                let known: Vec<VersionId> = self.model.all[key - LAST_KEYS].versions.keys().copied().collect();
                (!known.is_empty()).then(|| known[pick % known.len()])
            }
            _ => None,
        };
        Planned { delay_ms, op: op.clone(), value, precondition, version }
    }

    /// Reads the newest of every key, while nothing is going on, and holds it against the model.
    pub async fn read_all(&mut self, engine: &Engine, when: &str) -> Result<(), Broken> {
        self.read_each(engine, when, false).await
    }

    /// The same; what is not sure yet must be readable too: it is there wholly, or not at all.
    pub async fn read_all_strictly(&mut self, engine: &Engine, when: &str) -> Result<(), Broken> {
        self.read_each(engine, when, true).await
    }

    async fn read_each(&mut self, engine: &Engine, when: &str, open_too: bool) -> Result<(), Broken> {
        let layout = self.layout.clone();
        let actor = Actor { engine: engine.clone(), world: self.world.clone(), layout, alone: true };
        for key in 0..KEYS {
            let before = self.strictness(engine);
            let mut told = actor.get(key, None, None).await;
            // It is made anew as what was in doubt can be told now: that ends.
            while engine.core.check_catalog_whole().is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                told = actor.get(key, None, None).await;
            }
            let told = told.unwrap_or_else(|error| Told::Failed(error.kind(), error.to_string()));
            let after = self.strictness(engine);
            let strict = Strictness {
                reads: before.reads && after.reads && (open_too || !self.model.is_open(key)),
                history: before.history && after.history,
            };
            if let Told::Failed(ErrorKind::Internal, message) = &told {
                return Err(format!("{when}: {message}"));
            }
            let judged = self.model.judge_read(key, &self.model.newest(key), &told, strict);
            judged.map_err(|broken| format!("{when}: {broken}"))?;
            // What is in doubt is shown, and may be unreadable, or not there, until it is told.
            let told_for_good = strict.history && !self.is_undecided().await?;
            match told {
                Told::Read(_, value, ..) if told_for_good => self.model.seen(key, Some(value)),
                Told::Failed(ErrorKind::NotFound, _) if told_for_good => self.model.seen(key, None),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the catalog shows what is in doubt.
    async fn is_undecided(&self) -> Result<bool, Broken> {
        let Some(catalog) = &self.catalog else { return Ok(false) };
        let value = catalog.value(crate::recover::UNDECIDED).await.map_err(|e| format!("the catalog: {e}"))?;
        Ok(value.is_some())
    }

    /// From now on nobody is ill.
    pub fn all_calm(&mut self) {
        self.calm_from = None;
    }

    /// The marker of a backend.
    pub fn marker() -> Path {
        paths::marker()
    }
}
