//! The façade: one repository, opened.

mod buckets;
mod config;
mod copy;
mod delete;
mod drill;
mod lock;
mod moves;
mod multipart;
mod reading;
mod start;
mod versions;

use std::sync::Arc;

use tokio::sync::broadcast;

pub use self::config::EngineConfig;
pub use self::multipart::Completing;
pub use self::reading::Reading;
use crate::api::*;
use crate::backend::Backend;
use crate::catalog::{BucketRule, Catalog, LedgerItem, ListItem, ListQuery, Precondition};
use crate::codec::{self, Codecs};
use crate::core::Core;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::events::Event;
use crate::format::batch::InlineShards;
use crate::id::{RepositoryId, VersionId};
use crate::placement::{self};
use crate::scheme::Scheme;
use crate::upkeep::{HealConfig, ScrubConfig, UpkeepStatus};
use crate::write::commit::{Committer, Done, MakeRecord, Pending};
use crate::{check, lifecycle, read, recover, repair, sweep, upkeep, watch, write};

/// One repository, opened. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) core: Arc<Core>,
    committer: Committer,
    domain_warning: Option<String>,
}

/// The catalog's named value that says it was closed with nothing in flight.
const CLEAN: &str = "closed_clean";

impl Engine {
    /// Writes the marker on each backend that has none, and gives their names. A backend that holds another repository's
    /// marker, or another backend's, is an error that names both, and nothing is written to any. [`Engine::open`] never
    /// writes a marker.
    pub async fn init_markers(config: &EngineConfig, backends: &[Backend], env: &Env) -> Result<Vec<String>> {
        recover::init_markers(config, backends, env).await
    }

    /// Opens a repository: self-test of the codecs, proof of the domains, markers, catch-up of the catalog.
    ///
    /// Errors: `Config` where the backends and the config do not fit, `Unavailable` where no backend answers.
    pub async fn open(
        config: EngineConfig,
        backends: Vec<Backend>,
        catalog: Arc<dyn Catalog>,
        codecs: Codecs,
        env: Env,
    ) -> Result<Self> {
        let mut names: Vec<&str> = backends.iter().map(Backend::name).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::config(format!("two backends are named {:?}; give each its own name", twice[0])));
        }
        codec::self_test(codecs.get(config.scheme.codec_id())?.as_ref())
            .map_err(|e| Error::config(format!("the codec does not pass its self-test: {e}")))?;
        let domain_warning = placement::prove(&backends, &config.spread, config.scheme.k(), config.scheme.m())?;
        let known = catalog.value(recover::REPOSITORY_ID).await?;
        let (repository, record_margin) = recover::admit(&config, &backends, known.is_some()).await?;
        if let Some(known) = known.filter(|known| *known != repository.to_string()) {
            return Err(Error::config(format!(
                "the catalog belongs to repository {known}, and the backends to {repository}; use the right catalog, or move it away and run `rsb catalog rebuild`"
            )));
        }
        let core = Core::new(config, repository, record_margin, backends, catalog, codecs, env);
        let core = Arc::new(core);
        watch::remember(&core).await?;
        crate::moves::apply(&core).await?;
        if let Some(id) = core.catalog.greatest_version().await? {
            core.env.observe_id(id.0);
        }
        if !core.config.read_only {
            start::start_up(&core).await?;
            watch::look_at_the_unseen(&core).await;
        } else if core.catalog.value(recover::PARTIAL).await?.is_some() {
            core.set_catalog_partial(true);
        }
        watch::start(&core);
        write::multipart::start_expiry(&core);
        let committer = Committer::start(core.clone());
        upkeep::start(&core, &committer);
        Ok(Self { committer, core, domain_warning })
    }

    /// How the repository is run.
    pub fn config(&self) -> &EngineConfig {
        &self.core.config
    }

    /// The repository's id.
    pub fn repository_id(&self) -> RepositoryId {
        self.core.repository
    }

    /// The repository as it is now.
    pub async fn status(&self) -> Result<Status> {
        let core = &self.core;
        let upkeep = core.upkeep.status();
        let backends = core.backends.iter().map(|backend| {
            let health = backend.health().snapshot();
            let verified = upkeep.scrub.as_ref().and_then(|s| s.verified_ms.get(backend.name()).copied());
            BackendStatus {
                oldest_verified_ms: verified,
                name: backend.name().to_owned(),
                store: backend.place(),
                role: backend.role(),
                domain: backend.domain().clone(),
                reachable: backend.is_admitted() && backend.health().answers(),
                error: health.last_error.clone().filter(|_| !backend.is_admitted() || !health.healthy),
                health,
            }
        });
        Ok(Status {
            repository: core.config.name.clone(),
            repository_id: core.repository.to_string(),
            scheme: core.config.scheme,
            read_only: core.read_only_reason(),
            domain_warning: self.domain_warning.clone(),
            counts: core.catalog.counts().await?,
            backends: backends.collect(),
            upkeep,
        })
    }

    /// What happened of itself lately, oldest first, and what will happen from now on.
    pub fn events(&self) -> (Vec<Event>, broadcast::Receiver<Event>) {
        self.core.events.follow()
    }

    /// Refuses new writes, waits for what is in flight, then closes the catalog.
    pub async fn close(&self) -> Result<()> {
        let core = &self.core;
        let was_read_only = core.config.read_only;
        core.set_read_only(Some("it is being closed".into()));
        core.closing.cancel();
        self.committer.close().await;
        core.tasks.close();
        core.tasks.wait().await;
        if !was_read_only && core.catalog.open_intents().await?.is_empty() {
            core.catalog.set_value(CLEAN, Some("yes".into())).await?;
        }
        core.catalog.close().await
    }

    async fn commit_plain(
        &self,
        bucket: String,
        key: String,
        precondition: Precondition,
        bucket_rule: BucketRule,
        scheme: Option<Scheme>,
        make: MakeRecord,
    ) -> Result<Done> {
        self.core.check_writable()?;
        let scheme = scheme.unwrap_or(self.core.config.scheme);
        let pending = Pending {
            bucket,
            key,
            precondition,
            bucket_rule,
            keeps_id: false,
            k: scheme.k(),
            m: scheme.m(),
            inline: InlineShards::default(),
            make,
            ledger: Vec::new(),
            hold: None,
            completes: None,
        };
        Ok(self.committer.commit(pending).await?)
    }

    /// Refuses a scheme that objects cannot be written with: k and m are out of bounds, or the backends cannot hold it.
    pub fn check_scheme(&self, data_shards: usize, parity_shards: usize) -> Result<()> {
        write::scheme(&self.core, Some(data_shards), Some(parity_shards)).map(|_| ())
    }

    /// Writes an object. An error in the body undoes the write.
    pub async fn put(&self, request: PutRequest, body: BodyStream) -> Result<ObjectInfo> {
        let with_digests = request.run_digests;
        let info = write::put(&self.core, &self.committer, request, body).await?;
        if with_digests && info.manifest.run_digests.is_none() {
            // The length was not known, so the runs could not be told apart on the way: one read back.
            self.run_digests(&info).await?;
        }
        Ok(info)
    }

    /// Opens an object for reading; `range` None: the whole object. A range without bytes: `RangeNotSatisfiable`.
    pub async fn get(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        range: Option<ByteRange>,
    ) -> Result<GetObject> {
        read::get(&self.core, bucket, key, version, range).await
    }

    /// Reads a version already looked up (conditions checked on it), so that facts and bytes are of one version.
    pub async fn read(&self, info: &ObjectInfo, range: std::ops::Range<u64>) -> Result<GetObject> {
        let m = &info.manifest;
        let held = read::hold(&self.core, &m.bucket, &m.key, Some(m.version)).await?;
        let range = range.start.min(m.size)..range.end.min(m.size);
        Ok(read::open(&self.core, held, range))
    }

    /// The facts of an object.
    pub async fn head(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<ObjectInfo> {
        let entry = read::lookup(&self.core, bucket, key, version).await?;
        Ok(ObjectInfo { manifest: Arc::new(entry.manifest), short: 0 })
    }

    /// The prototype's k data digests and then m parity digests; made by reading, and kept, when the manifest has none.
    pub async fn run_digests(&self, info: &ObjectInfo) -> Result<Vec<[u8; 32]>> {
        if let Some(digests) = &info.manifest.run_digests {
            return Ok(digests.iter().map(|d| d.0).collect());
        }
        let digests = write::digest::by_reading(&self.core, info).await?;
        if self.core.read_only_reason().is_none() {
            write::keep_digests(&self.core, &self.committer, info, digests.clone()).await?;
        }
        Ok(digests.iter().map(|d| d.0).collect())
    }

    /// A page of a listing.
    pub async fn list(&self, query: &ListQuery) -> Result<Listing> {
        self.bucket(&query.bucket).await?;
        let page = self.core.catalog.list(query).await?;
        self.core.check_catalog_whole()?;
        let mut listing = Listing { next: page.next, ..Listing::default() };
        for item in page.items {
            match item {
                ListItem::Prefix(prefix) => listing.prefixes.push(prefix),
                ListItem::Entry { entry, is_latest } => listing.objects.push(ListedObject {
                    info: ObjectInfo { manifest: Arc::new(entry.manifest), short: 0 },
                    is_latest,
                }),
            }
        }
        Ok(listing)
    }

    /// Looks at what is stored. Changes nothing but the ledger.
    pub async fn check(&self, request: &CheckRequest, progress: &Progress) -> Result<CheckReport> {
        check::check(&self.core, request, progress).await
    }

    /// What a repair of the scope would do, after a check of the given depth.
    pub async fn plan_repair(&self, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairPlan> {
        repair::plan(&self.core, scope, depth, progress).await
    }

    /// Carries a plan out.
    pub async fn repair(&self, plan: &RepairPlan, progress: &Progress) -> Result<RepairReport> {
        repair::repair(&self.core, &self.committer, plan, progress).await
    }

    /// Works through the ledger once, now: as the worker of [`EngineConfig::heal`] does, within the same budget.
    pub async fn heal(&self, config: &HealConfig) -> Result<UpkeepStatus> {
        self.core.check_writable()?;
        upkeep::heal::once(&self.core, &self.committer, config.clone()).await?;
        Ok(self.core.upkeep.status())
    }

    /// Goes on with what is due of scrubbing, now: as the worker of [`EngineConfig::scrub`] does, within the same budget.
    pub async fn scrub(&self, config: &ScrubConfig) -> Result<UpkeepStatus> {
        self.core.check_writable()?;
        upkeep::scrub::tick(&self.core, config).await?;
        Ok(self.core.upkeep.status())
    }

    /// Follows the lifecycle rules of buckets, and then removes garbage older than the grace time.
    pub async fn sweep(&self, request: SweepRequest, progress: &Progress) -> Result<SweepReport> {
        let lifecycle = self.lifecycle(request.dry_run, progress).await?;
        let report = sweep::sweep(&self.core, &self.committer, request, progress).await?;
        Ok(SweepReport { lifecycle, ..report })
    }

    /// Follows the lifecycle rules of buckets; with `dry_run` it only says what would end.
    pub async fn lifecycle(&self, dry_run: bool, progress: &Progress) -> Result<LifecycleReport> {
        self.core.check_writable()?;
        lifecycle::run::run(self, dry_run, progress).await
    }

    /// Empties the catalog and rebuilds it from the backends alone.
    pub async fn rebuild_catalog(&self, progress: &Progress) -> Result<RebuildReport> {
        let report = recover::rebuild(&self.core, progress).await?;
        watch::look_at_the_unseen(&self.core).await;
        Ok(report)
    }

    /// Compares the catalog with what a rebuild would make of the backends.
    pub async fn verify_catalog(&self, progress: &Progress) -> Result<VerifyReport> {
        recover::verify(&self.core, progress).await
    }

    /// A page of the ledger.
    pub async fn ledger(&self, after: Option<&LedgerItem>, limit: usize) -> Result<LedgerPage> {
        self.core.catalog.ledger_after(after, limit).await
    }
}
