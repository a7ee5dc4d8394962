//! From a config to an opened repository.

use std::path::Path;
use std::sync::Arc;

use rsb_backends::catalog::{Mode, SqliteCatalog};
use rsb_backends::stores::{self, StoreError, StoreErrorKind, StoreSpec};
use rsb_backends::wrappers::{WrapOptions, wrap};
use rsb_core::catalog::{Catalog, MemoryCatalog};
use rsb_core::codec::{Codecs, codec_named};
use rsb_core::{Backend, Engine, EngineConfig, Env, Scheme};

use crate::cli::Cli;
use crate::config::load::{self, Flag, LoadError, Request};
use crate::config::{self, Config, Source};
use crate::failure::{FAILED, Failure, REFUSED, USAGE};

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
        LoadError::Wrong(problems) => Failure::problems(problems.iter().map(ToString::to_string).collect()),
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
    out.straggler_limit = r.straggler_limit;
    out.hedge_after = r.hedge_after;
    out.etag = config.gateway.etag;
    Ok(out)
}

fn spec(config: &Config, backend: &config::Backend) -> StoreSpec {
    let credentials = match &backend.credentials {
        config::Credentials::Default => stores::Credentials::Default,
        config::Credentials::Profile(name) => stores::Credentials::Profile(name.clone()),
        config::Credentials::Env(prefix) => stores::Credentials::Env(prefix.clone()),
        config::Credentials::File(path) => stores::Credentials::File(config.path(path)),
    };
    StoreSpec { name: backend.name.clone(), url: config.url(backend), options: backend.options.clone(), credentials }
}

fn store_failure(error: &StoreError) -> Failure {
    let code = match error.kind() {
        StoreErrorKind::Config | StoreErrorKind::Missing => USAGE,
        StoreErrorKind::Denied => REFUSED,
        _ => FAILED,
    };
    Failure::new(code, error.to_string())
}

/// The backends of a config. With `make`, missing folders are made.
pub async fn backends(config: &Config, make: bool) -> Result<Vec<Backend>, Failure> {
    let mut out = Vec::with_capacity(config.backends.len());
    for backend in &config.backends {
        let spec = spec(config, backend);
        if make {
            stores::ensure_container(&spec).await.map_err(|e| store_failure(&e))?;
        }
        let store = stores::build(&spec).await.map_err(|e| store_failure(&e))?;
        let options = WrapOptions { max_concurrent: backend.limits.concurrency, ..WrapOptions::default() };
        let store = wrap(&backend.name, store, &options);
        out.push(Backend::with(&backend.name, store, backend.domain.clone(), backend.role, backend.cost));
    }
    Ok(out)
}

/// Opens the repository of a config. The built-in default sets its own folders up.
pub async fn open(config: &Config) -> Result<Engine, Failure> {
    let embedded = matches!(config.source, Source::Embedded(_));
    let engine_config = engine_config(config)?;
    let backends = backends(config, embedded).await?;
    let env = Env::system();
    if embedded {
        Engine::init_markers(&engine_config, &backends, &env).await?;
    }
    let catalog = catalog(config).await?;
    Ok(Engine::open(engine_config, backends, catalog, Codecs::with_builtin(), env).await?)
}

/// The catalog of a config. A SQLite file is beside the config; a memory one is made from the backends at each start.
async fn catalog(config: &Config) -> Result<Arc<dyn Catalog>, Failure> {
    let url = &config.repository.catalog;
    match url.split_once("://") {
        Some(("memory", _)) => Ok(Arc::new(MemoryCatalog::default())),
        Some(("sqlite", path)) => {
            let path = config.path(Path::new(path));
            Ok(Arc::new(SqliteCatalog::open(&path, Mode::ReadWrite).await?))
        }
        Some(("postgres" | "postgresql", _)) => {
            Err(Failure::usage("PostgreSQL catalogs are not there yet; write catalog = \"sqlite://rsb.db\""))
        }
        _ => Err(Failure::usage("repository.catalog must begin with sqlite:// or memory://")),
    }
}
