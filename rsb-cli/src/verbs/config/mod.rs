//! `config init`, `config check`, `config show`.

mod init;
mod survey;

use rsb_backends::stores;
use rsb_core::Engine;
use rsb_core::codec::{codec_named, self_test};
use rsb_core::placement::prove;
use serde_json::json;

use self::survey::Survey;
use crate::assemble;
use crate::cli::{Cli, ConfigVerb};
use crate::config::show::Shown;
use crate::config::{Config, Source};
use crate::failure::{DONE, FAILED, Failure};
use crate::out::Out;

pub async fn run(cli: &Cli, out: &Out, verb: &ConfigVerb) -> Result<u8, Failure> {
    match verb {
        ConfigVerb::Show => {
            let config = assemble::load(cli, None, Vec::new())?;
            let shown = Shown::of(&config);
            let text = toml::to_string(&shown).map_err(|e| Failure::new(FAILED, e.to_string()))?;
            out.say(&shown, || text.trim_end().to_owned())?;
            Ok(DONE)
        }
        ConfigVerb::Init(args) => init::run(cli, out, args).await,
        ConfigVerb::Check => check(&assemble::load(cli, None, Vec::new())?, out).await,
    }
}

/// `backend add`: sets up one backend that was written into the config.
pub async fn add(cli: &Cli, out: &Out, name: &str) -> Result<u8, Failure> {
    let config = assemble::load(cli, None, Vec::new())?;
    let unknown = || {
        Failure::of_kind(
            "not-found",
            format!("the config has no backend {name:?}; write it there first"),
            None,
            Vec::new(),
        )
    };
    let backend = config.backends.iter().find(|b| b.name == name).ok_or_else(unknown)?;
    let made = stores::ensure_container(&assemble::spec(&config, backend)).await?;
    let backends = assemble::backends(&config).await?;
    let marked = Engine::init_marker(&assemble::engine_config(&config)?, &backends, name).await?;
    let value = json!({ "backend": name, "container_made": made, "marker_written": marked });
    out.say(&value, || match (made, marked) {
        (_, false) => format!("{name} is set up already"),
        (true, true) => format!("{name} is set up: its place was made, its marker written"),
        (false, true) => format!("{name} is set up: its marker was written"),
    })?;
    Ok(DONE)
}

/// Proves a config that was read without a mistake: every backend in turn, then codec and domains. Writes nothing.
async fn check(config: &Config, out: &Out) -> Result<u8, Failure> {
    let engine_config = assemble::engine_config(config)?;
    let mut catalog_problem = None;
    if let Some(folder) = assemble::catalog_file(config)?.as_deref().and_then(std::path::Path::parent)
        && matches!(config.source, Source::File(_))
        && !folder.is_dir()
    {
        catalog_problem = Some(format!("the catalog's folder {} does not exist; make it first", folder.display()));
    }
    let survey = Survey::of(config).await;
    let unused = matches!(config.source, Source::Embedded(_)) && survey.is_untouched();
    if !unused {
        survey.must_be_good(catalog_problem)?;
    }
    let codec = &config.repository.codec;
    if let Some(codec) = codec_named(codec) {
        self_test(codec.as_ref()).map_err(|e| Failure::usage(format!("the codec does not pass its self-test: {e}")))?;
    }
    let (k, m) = (engine_config.scheme.k(), engine_config.scheme.m());
    let warning = prove(&assemble::backends(config).await?, &engine_config.spread, k, m)?;
    let names: Vec<&str> = config.backends.iter().map(|b| b.name.as_str()).collect();
    let value = json!({ "config": config.source.describe(), "good": true, "set_up": !unused, "data_shards": k,
        "parity_shards": m, "codec": codec, "domain_warning": warning, "backends": names });
    out.say(&value, || {
        let mut text = format!("{} is good: {k}+{m} {codec} on {} backends", config.source.describe(), names.len());
        text += match unused {
            true => "; its folders are made at the first use",
            false => ", each reached and with its marker",
        };
        match &warning {
            Some(warning) => text + "\nwarning: " + warning,
            None => text + "\nno loss of one failure domain makes anything unreadable",
        }
    })?;
    Ok(DONE)
}
