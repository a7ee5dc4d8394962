//! A history from begin to end: processes begin, do steps, die; the world goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::path::Path;
use tokio::time::Instant;

use super::catalog::SimCatalog;
use super::history::{End, History, Illness};
use super::judge::{Broken, Strictness, Tale};
use super::model::Model;
use super::store::SimStore;
use super::world::{Fault, World};
use crate::codec::{CodecId, Codecs};
use crate::env::{Compute, Env, Flaw};
use crate::format::manifest::{BucketSettings, Versions};
use crate::format::paths;
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
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(Failure { what: format!("it panicked: {}", said.unwrap_or("of what is not said")), step, log })
        }
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
    pub catalog: Option<Arc<SimCatalog>>,
    codecs: Codecs,
    /// What is going on in a step: the process may die in it.
    pub underway: Arc<Mutex<Vec<Tale>>>,
    /// How it ends when the fuse has burnt.
    pub fuse: End,
    at: Arc<Mutex<usize>>,
    /// A backend that must be well was ill until then.
    pub calm_from: Option<Instant>,
    flaw: Option<Flaw>,
    /// The history was looked at while some backends were away and others damaged: it may show less until all are well.
    pub shaky: bool,
    /// Nobody has lied or lost anything, and no process has died: what the catalog names is there, or in the ledger.
    pub is_spotless: bool,
    /// Objects may share segments.
    pub has_copied: bool,
    /// Tombstones may have been dropped.
    pub has_swept: bool,
    /// The clock jumped, or a process died that knew what it had deleted: what was deleted a moment ago is not known to be young.
    pub is_deleted_forgotten: bool,
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
            is_spotless: true,
            has_copied: false,
            has_swept: false,
            is_deleted_forgotten: false,
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
        self.is_spotless &= end == End::Closed;
        self.is_deleted_forgotten = true;
        if self.has_swept {
            self.forget_what_was_deleted();
        }
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
    pub fn look_at_history(&mut self) {
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
                return Ok(Ended::Step(ended));
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

    /// From now on nobody is ill.
    pub fn all_calm(&mut self) {
        self.calm_from = None;
    }

    /// The marker of a backend.
    pub fn marker() -> Path {
        paths::marker()
    }
}
