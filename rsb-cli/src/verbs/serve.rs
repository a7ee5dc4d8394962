//! `serve`: the gateway.

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusBuilder;
use rsb_gateway::{AccessKey, Auth, GatewayConfig, PrototypeMode, Right, Secret, Tls};

use super::key_pair::KeyPair;
use crate::assemble::{self, Access};
use crate::cli::{Cli, Serve};
use crate::config::load::Flag;
use crate::config::{self, Config, Source};
use crate::failure::{DONE, FAILED, Failure, USAGE};

pub async fn run(cli: &Cli, args: &Serve) -> Result<u8, Failure> {
    let mut flags = Vec::new();
    if let Some(listen) = args.listen {
        flags.push(Flag { flag: "--listen", key: "gateway.listen", value: listen.to_string() });
    }
    let config = assemble::load(cli, args.data.as_deref(), flags)?;
    let mut gateway = gateway_config(&config)?;
    if args.tls_self_signed {
        gateway.tls = Some(Tls::SelfSigned { names: Vec::new() });
    }
    let recorder = PrometheusBuilder::new().install_recorder().map_err(|e| Failure::new(FAILED, e.to_string()))?;
    gateway.metrics_render = Some(Arc::new(move || recorder.render()));
    for warning in gateway.validate().map_err(|e| Failure::new(USAGE, e.to_string()))? {
        tracing::warn!("{warning}");
    }
    let engine = assemble::open(&config, Access::Write).await?;
    // After the repository is opened, so that of two that start at once only the one that has the catalog makes a pair.
    let pair = wants_pair(&config).then(|| KeyPair::beside(&config)).transpose()?;
    gateway.keys.extend(pair.as_ref().map(KeyPair::access));
    let status = engine.status().await?;
    let bucket = gateway.prototype_bucket.clone();
    let bound = rsb_gateway::bind(engine.clone(), gateway).await.map_err(|e| Failure::new(FAILED, e.to_string()))?;
    let url = bound.url();
    if !cli.quiet {
        let insecure = if args.tls_self_signed { "-k " } else { "" };
        println!("RSBackup serves {url} (a page for people, the API below {url}/v1)");
        println!("data: {}, {} on {} backends", config.source.describe(), status.scheme, status.backends.len());
        match &status.domain_warning {
            _ if matches!(config.source, Source::Embedded(_)) => println!(
                "note: all of it is on one disk, which is one failure domain: damage to any {} folders is survived, the loss of the disk is not",
                status.scheme.m()
            ),
            Some(warning) => println!("note: {warning}"),
            None => println!("note: no loss of one failure domain makes anything unreadable"),
        }
        if let Some(pair) = pair.filter(|pair| pair.is_new) {
            println!("{}", pair.announcement());
        }
        println!(
            "try: curl {insecure}-F filename=hello.txt -F file=@README.md {url}/submit_data   (it goes to bucket {bucket})"
        );
    }
    bound.run(stop_signal()).await;
    engine.close().await?;
    Ok(DONE)
}

/// Whether a key pair is made where none is configured: on loopback, which needs none, for clients that want one.
fn wants_pair(config: &Config) -> bool {
    let g = &config.gateway;
    g.keys.is_empty() && g.auth != config::Auth::Off && g.listen.ip().to_canonical().is_loopback()
}

fn gateway_config(config: &Config) -> Result<GatewayConfig, Failure> {
    let g = &config.gateway;
    let mut out = GatewayConfig::new(g.listen);
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
