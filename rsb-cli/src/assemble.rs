//! From a config to an opened repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rsb_backends::catalog::{Mode, SqliteCatalog};
use rsb_backends::stores::{self, StoreSpec};
use rsb_backends::wrappers::{RetryOptions, Timeouts, WrapOptions, classify, wrap};
use rsb_core::catalog::{Catalog, MemoryCatalog};
use rsb_core::codec::{Codecs, codec_named};
use rsb_core::upkeep::{Budget, HealConfig, ScrubConfig};
use rsb_core::{Backend, Engine, EngineConfig, Env, ErrorKind, Scheme};

use crate::cli::Cli;
use crate::config::load::{self, Flag, LoadError, Request};
use crate::config::{self, Config, Source};
use crate::failure::{Failure, USAGE};

/// Reads the config that the command line asks for.
pub fn load(cli: &Cli, data: Option<&Path>, flags: Vec<Flag>) -> Result<Config, Failure> {
    let request = Request {
        file: cli.config.clone(),
        data: data.map(Path::to_path_buf),
        environment: std::env::vars().collect(),
        flags,
    };
    load::load(&request).map_err(|error| match error {
        LoadError::Unreadable(sentence) => Failure::usage(sentence),
        LoadError::Wrong(problems) => Failure::problems(USAGE, problems.iter().map(ToString::to_string).collect()),
    })
}

/// How the engine is run.
pub fn engine_config(config: &Config) -> Result<EngineConfig, Failure> {
    let r = &config.repository;
    let codec = codec_named(&r.codec).ok_or_else(|| Failure::usage(format!("there is no codec {:?}", r.codec)))?;
    let block_size = u32::try_from(r.block_size).unwrap_or(u32::MAX);
    let scheme = Scheme::new(r.data_shards, r.parity_shards, codec.id(), block_size)?;
    let mut out = EngineConfig::new(&r.name, scheme);
    out.segment_size = r.segment_size;
    out.inline_limit = r.inline_limit;
    out.ack_margin = r.ack_margin;
    out.spread = r.spread.clone();
    out.memory_limit = config.gateway.memory_limit;
    out.grace = r.grace;
    out.multipart_expiry = r.multipart_expiry;
    out.straggler_limit = r.straggler_limit;
    out.straggler_least = r.straggler_least;
    out.hedge_after = r.hedge_after;
    out.hedge_least = r.hedge_least;
    out.etag = config.gateway.etag;
    Ok(out)
}

/// What an engine that stays open does of itself.
fn upkeep(config: &Config, out: &mut EngineConfig) {
    let budget =
        |b: &config::DayBudget| Budget { bytes: b.bytes_per_day, requests: b.requests_per_day, price: b.price_per_day };
    let (heal, scrub) = (&config.heal, &config.scrub);
    if !heal.every.is_zero() {
        let (every, elsewhere_after) = (heal.every, heal.elsewhere_after);
        out.heal = Some(HealConfig { every, elsewhere_after, budget: budget(&heal.budget) });
    }
    out.scrub = Some(ScrubConfig {
        inventory_every: scrub.inventory_every,
        sample_every: scrub.sample_every,
        full_every: scrub.full_every,
        budget: budget(&scrub.budget),
    });
}

/// What a config says of one backend's store.
pub fn spec(config: &Config, backend: &config::Backend) -> StoreSpec {
    let credentials = match &backend.credentials {
        config::Credentials::Default => stores::Credentials::Default,
        config::Credentials::Profile(name) => stores::Credentials::Profile(name.clone()),
        config::Credentials::Env(prefix) => stores::Credentials::Env(prefix.clone()),
        config::Credentials::File(path) => stores::Credentials::File(config.path(path)),
    };
    StoreSpec { name: backend.name.clone(), url: config.url(backend), options: backend.options.clone(), credentials }
}

/// The backends of a config. Asks none of them anything.
pub async fn backends(config: &Config) -> Result<Vec<Backend>, Failure> {
    let mut out = Vec::with_capacity(config.backends.len());
    for backend in &config.backends {
        let store = stores::build(&spec(config, backend)).await?;
        let store = wrap(&backend.name, store, &wrap_options(&backend.limits));
        let made = Backend::with(&backend.name, store, backend.domain.clone(), backend.role, backend.cost);
        out.push(made.at(without_credentials(&config.url(backend))).classified_by(classify));
    }
    Ok(out)
}

/// An address as it may be shown.
fn without_credentials(address: &str) -> String {
    let Ok(mut url) = url::Url::parse(address) else { return address.to_owned() };
    if url.username().is_empty() && url.password().is_none() && url.query().is_none() {
        return address.to_owned();
    }
    url.set_query(None);
    match (url.set_username(""), url.set_password(None)) {
        (Ok(()), Ok(())) => url.to_string(),
        _ => format!("{}:", url.scheme()),
    }
}

/// How a backend with these limits is used.
pub fn wrap_options(limits: &config::Limits) -> WrapOptions {
    let (timeouts, retry) = (Timeouts::default(), RetryOptions::default());
    let retries = u32::try_from(limits.retries).unwrap_or(u32::MAX);
    WrapOptions {
        timeouts: Timeouts {
            answer: limits.timeout,
            idle: limits.timeout,
            // Finishing a large upload takes a server longer than an answer does.
            work: timeouts.work.max(limits.timeout),
            ..timeouts
        },
        retry: RetryOptions {
            attempts: retries.saturating_add(1),
            // Room for the pauses of as many tries as were asked for.
            window: retry.window.max(retry.longest_pause.saturating_mul(retries.saturating_sub(1))),
            ..retry
        },
        max_concurrent: limits.concurrency,
        ..WrapOptions::default()
    }
}

/// What a repository is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// By the gateway: as `Make`, and what the repository does of itself is done here.
    Serve,
    /// By one process at a time; a built-in default that was never used is made.
    Make,
    /// By one process at a time.
    Write,
    /// Beside a process that writes, where there is one.
    Read,
}

/// Opens the repository of a config. The built-in default sets its own folders up when something is to be stored.
pub async fn open(config: &Config, access: Access) -> Result<Engine, Failure> {
    let mut engine_config = engine_config(config)?;
    if access == Access::Serve {
        upkeep(config, &mut engine_config);
    }
    let embedded = match &config.source {
        Source::Embedded(data) if !matches!(access, Access::Make | Access::Serve) && !data.exists() => {
            return Err(Failure::usage(format!(
                "there is no config, and nothing in {} yet; `rsb serve`, `rsb mb` or `rsb put` begin there, or write a config with `rsb config init`",
                data.display()
            )));
        }
        Source::Embedded(_) => access != Access::Read,
        Source::File(_) => false,
    };
    if embedded {
        for backend in &config.backends {
            stores::ensure_container(&spec(config, backend)).await?;
        }
    }
    let backends = backends(config).await?;
    let env = Env::system();
    if embedded {
        let made = Engine::init_markers(&engine_config, &backends, &env).await?;
        if made.len() < backends.len() {
            for name in made {
                tracing::warn!(backend = name, "was gone and was made anew, empty; `rsb repair` fills it again");
            }
        }
    }
    let (catalog, beside) = catalog(config, access).await?;
    engine_config.read_only = beside;
    Ok(Engine::open(engine_config, backends, catalog, Codecs::with_builtin(), env).await?)
}

/// The catalog of a config, and whether it was opened beside a process that writes it. A SQLite file is beside the config; a
/// memory one is made from the backends at each start.
async fn catalog(config: &Config, access: Access) -> Result<(Arc<dyn Catalog>, bool), Failure> {
    let Some(path) = catalog_file(config)? else { return Ok((Arc::new(MemoryCatalog::default()), false)) };
    match (SqliteCatalog::open(&path, Mode::ReadWrite).await, access) {
        (Ok(catalog), _) => Ok((Arc::new(catalog), false)),
        // Another process writes it, or this one may not.
        (Err(error), Access::Read)
            if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ReadOnly | ErrorKind::Denied) =>
        {
            tracing::info!("{error}; it is only read");
            Ok((Arc::new(SqliteCatalog::open(&path, Mode::ReadOnly).await?), true))
        }
        (Err(error), _) if error.kind() == ErrorKind::Unavailable => {
            let hint = format!("where that is a gateway: --server http://{}", config.gateway.listen);
            Err(Failure::of_kind(error.kind().as_str(), format!("{error} ({hint})"), None, Vec::new()))
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// The file of a config's catalog; `None` for one in memory.
pub fn catalog_file(config: &Config) -> Result<Option<PathBuf>, Failure> {
    match config.repository.catalog.split_once("://") {
        Some(("memory", _)) => Ok(None),
        Some(("sqlite", path)) => Ok(Some(config.path(Path::new(path)))),
        Some(("postgres" | "postgresql", _)) => {
            Err(Failure::usage("PostgreSQL catalogs are not there yet; write catalog = \"sqlite://rsb.db\""))
        }
        _ => Err(Failure::usage("repository.catalog must begin with sqlite:// or memory://")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_backends_limits_reach_its_wrappers() {
        let limits = config::Limits { concurrency: 5, timeout: Duration::from_secs(60), retries: 9 };
        let options = wrap_options(&limits);
        assert_eq!((options.max_concurrent, options.retry.attempts), (5, 10));
        assert_eq!(
            (options.timeouts.answer, options.timeouts.work),
            (Duration::from_secs(60), Duration::from_secs(60))
        );
        assert!(options.retry.window >= Duration::from_secs(16));
        let none = wrap_options(&config::Limits { retries: 0, ..limits });
        assert_eq!(none.retry.attempts, 1);
    }
}
