//! `serve`: the gateway.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use rsb_core::Status;
use rsb_gateway::{AccessKey, Auth, Gateway, GatewayConfig, PrototypeMode, Right, Secret, ShardCounts, Tls};

use super::key_pair::KeyPair;
use crate::assemble::{self, Access};
use crate::cli::{Cli, Serve};
use crate::config::load::Flag;
use crate::config::{self, Config, Source};
use crate::failure::{DONE, FAILED, Failure, USAGE};
use crate::key_store::{KeyStore, Watched};

pub async fn run(cli: &Cli, args: &Serve) -> Result<u8, Failure> {
    let config = assemble::load(cli, args.data.as_deref(), flags(args))?;
    let mut gateway = gateway_config(&config)?;
    gateway.key_source = Some(Arc::new(Watched::new(KeyStore::of(&config))?));
    let recorder = PrometheusBuilder::new().install_recorder().map_err(|e| Failure::new(FAILED, e.to_string()))?;
    let summing = tokio::spawn(sum_up(recorder.clone()));
    gateway.metrics_render = Some(Arc::new(move || recorder.render()));
    for warning in gateway.validate().map_err(|e| Failure::new(USAGE, e.to_string()))? {
        tracing::warn!("{warning}");
    }
    let engine = assemble::open(&config, Access::Serve).await?;
    // After the repository is opened, so that of two that start at once only the one that has the catalog makes a pair.
    let pair = wants_pair(&config).then(|| KeyPair::beside(&config)).transpose()?;
    gateway.keys.extend(pair.as_ref().map(KeyPair::access));
    let status = engine.status().await?;
    let bucket = gateway.prototype_bucket.clone();
    let bound = match rsb_gateway::bind(engine.clone(), gateway).await {
        Ok(bound) => bound,
        Err(error) => {
            // It was not told yet, so the start that succeeds must make another one.
            pair.as_ref().map_or(Ok(()), KeyPair::forget_new)?;
            engine.close().await?;
            return Err(Failure::new(FAILED, error.to_string()));
        }
    };
    if !cli.quiet {
        let lines = greeting(&config, &status, &bound, &bucket, pair.as_ref());
        if let Err(error) = writeln!(std::io::stdout(), "{}", lines.join("\n")) {
            // A gateway does not end because nobody reads its first words.
            tracing::debug!("stdout cannot be written: {error}");
        }
    }
    bound.run(stop_signal()).await;
    summing.abort();
    engine.close().await?;
    Ok(DONE)
}

/// Times that were measured wait, one by one, until they are summed up: without this they would pile up for as long as nobody
/// asks for the metrics.
async fn sum_up(recorder: PrometheusHandle) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        every.tick().await;
        recorder.run_upkeep();
    }
}

/// The first words, for people: where it is, what it holds, what to try.
fn greeting(config: &Config, status: &Status, bound: &Gateway, bucket: &str, pair: Option<&KeyPair>) -> Vec<String> {
    let url = bound.url();
    let mut lines = vec![format!("RSBackup serves {url} (a page for people, the API below {url}/v1)")];
    lines.extend(bound.s3_url().map(|s3| format!("S3: {s3}")));
    lines.extend([
        format!("data: {}, {} on {} backends", config.source.describe(), status.scheme, status.backends.len()),
        match &status.domain_warning {
            _ if matches!(config.source, Source::Embedded(_)) => format!(
                "note: all of it is on one disk, which is one failure domain: damage to any {} folders is survived, the loss of the disk is not",
                status.scheme.m()
            ),
            Some(warning) => format!("note: {warning}"),
            None => "note: no loss of one failure domain makes anything unreadable".into(),
        },
    ]);
    lines.extend(pair.filter(|pair| pair.is_new).map(KeyPair::announcement));
    let insecure = if matches!(config.gateway.tls, Some(config::Tls::SelfSigned { .. })) { "-k " } else { "" };
    lines.push(format!(
        "try: curl {insecure}-F filename=hello.txt -F file=@README.md {url}/submit_data   (it goes to bucket {bucket})"
    ));
    lines
}

/// What the command line says over the config. The config's rules are held to it like to the file.
fn flags(args: &Serve) -> Vec<Flag> {
    let given = [
        ("--listen", "gateway.listen", args.listen.map(|listen| listen.to_string())),
        ("--s3-listen", "gateway.s3_listen", args.s3_listen.map(|listen| listen.to_string())),
        ("--tls-self-signed", "gateway.tls.self_signed", args.tls_self_signed.then(|| "true".into())),
        ("--no-tls", "gateway.allow_plain_http", args.no_tls.then(|| "true".into())),
        ("--no-auth", "gateway.auth", args.no_auth.then(|| "off".into())),
    ];
    let flag =
        |(flag, key, value): (&'static str, &'static str, Option<String>)| Some(Flag { flag, key, value: value? });
    given.into_iter().filter_map(flag).collect()
}

/// Whether a key pair is made where none is configured: on loopback, which needs none, for clients that want one, as those
/// of S3 do even where nobody else is asked for one.
fn wants_pair(config: &Config) -> bool {
    let g = &config.gateway;
    let addresses = [Some(g.listen), g.s3_listen];
    let local = addresses.into_iter().flatten().all(|address| address.ip().to_canonical().is_loopback());
    g.keys.is_empty() && local && (g.auth != config::Auth::Off || g.s3_listen.is_some())
}

fn gateway_config(config: &Config) -> Result<GatewayConfig, Failure> {
    let g = &config.gateway;
    let mut out = GatewayConfig::new(g.listen);
    out.s3_listen = g.s3_listen;
    out.allow_plain_http = g.allow_plain_http;
    out.auth = match g.auth {
        config::Auth::Auto => Auth::Auto,
        config::Auth::Required => Auth::Required,
        config::Auth::Off => Auth::Off,
    };
    out.prototype = match g.prototype {
        Some(config::Prototype::Open) => PrototypeMode::Open,
        Some(config::Prototype::Auth) => PrototypeMode::Auth,
        Some(config::Prototype::Off) => PrototypeMode::Off,
        None if out.is_loopback() => PrototypeMode::Open,
        None => PrototypeMode::Auth,
    };
    out.prototype_bucket.clone_from(&g.prototype_bucket);
    out.s3_domains.clone_from(&g.s3_domain);
    out.region.clone_from(&g.region);
    out.lifecycle_every = g.lifecycle_every;
    let counts = |class: &config::StorageClass| ShardCounts {
        data_shards: class.data_shards,
        parity_shards: class.parity_shards,
    };
    out.storage_classes = g.storage_classes.iter().map(|(name, class)| (name.clone(), counts(class))).collect();
    out.tls = match &g.tls {
        None => None,
        Some(config::Tls::SelfSigned { names, .. }) => Some(Tls::SelfSigned { names: names.clone() }),
        Some(config::Tls::Pem { certificate, key }) => {
            let key =
                String::from_utf8(read(config, key)?).map_err(|_| Failure::usage("the TLS key is not PEM text"))?;
            Some(Tls::Pem { certificate: read(config, certificate)?, key: Secret::new(key) })
        }
    };
    out.keys = g.keys.iter().map(|key| access_key(config, key)).collect::<Result<_, _>>()?;
    Ok(out)
}

fn access_key(config: &Config, key: &config::Key) -> Result<AccessKey, Failure> {
    let secret = match &key.secret {
        config::Secret::Inline(text) => text.clone(),
        config::Secret::Env(name) => std::env::var(name).map_err(|_| {
            Failure::usage(format!("the secret of key {:?} is not in the environment: {name} is not set", key.id))
        })?,
        config::Secret::File(path) => String::from_utf8_lossy(&read(config, path)?).trim_end().to_owned(),
    };
    let rights = key.rights.iter().map(|right| match right {
        config::Right::Read => Right::Read,
        config::Right::Write => Right::Write,
        config::Right::Delete => Right::Delete,
        config::Right::Admin => Right::Admin,
    });
    Ok(AccessKey {
        id: key.id.clone(),
        secret: Secret::new(secret),
        rights: rights.collect(),
        buckets: key.buckets.clone(),
    })
}

fn read(config: &Config, path: &std::path::Path) -> Result<Vec<u8>, Failure> {
    let path = config.path(path);
    std::fs::read(&path).map_err(|e| Failure::usage(format!("{} cannot be read: {e}", path.display())))
}

/// Ends when somebody asks the process to stop. A second time ends it at once.
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
    tracing::warn!("stopping; what is in flight is finished first (once more to stop at once)");
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        std::process::exit(130);
    });
}
