//! What must hold between the keys of a config: each broken rule is a problem at the key that a person would change.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::memory::InMemory;
use rsb_core::placement::prove;
use rsb_core::{Role, Spread};

use super::problem::Problems;
use super::reader::{nearest, one_of};
use super::{Auth, Backend, Config, Prototype};

/// Schemes a backend's address may have.
pub const SCHEMES: [&str; 7] = ["file", "memory", "s3", "az", "gs", "http", "https"];

/// Notes every broken rule.
pub fn check(config: &Config, problems: &Problems<'_>) {
    repository(config, problems);
    catalog(config, problems);
    gateway(config, problems);
    storage_classes(config, problems);
    for (index, backend) in config.backends.iter().enumerate() {
        one_backend(config, index, backend, problems);
    }
    if config.backends.is_empty() && !problems.about(&["backend"]) {
        let n = config.repository.data_shards + config.repository.parity_shards;
        problems
            .add(&["backend"], format!("there is no backend; write {n} of them or more, each begun by [[backend]]"));
    } else {
        domains(config, problems);
    }
}

/// Names of storage classes, and whether each can be had at all; [`domains`] proves that the backends can hold it.
fn storage_classes(config: &Config, problems: &Problems<'_>) {
    for (name, class) in &config.gateway.storage_classes {
        let at = ["gateway", "storage_classes", name];
        if let Some(why) = rsb_gateway::why_no_class(name) {
            problems.add(&at, why);
        } else if class.data_shards + class.parity_shards > 256 {
            let (k, m) = (class.data_shards, class.parity_shards);
            problems.add(&at, format!("data_shards {k} + parity_shards {m} is more than 256 shards; choose fewer"));
        }
    }
}

fn repository(config: &Config, problems: &Problems<'_>) {
    let r = &config.repository;
    let (k, m) = (r.data_shards, r.parity_shards);
    if k + m > 256 {
        let message = format!("data_shards {k} + parity_shards {m} is more than 256 shards; choose fewer");
        problems.add(&["repository", "parity_shards"], message);
    }
    if !r.block_size.is_multiple_of(64) {
        let message = format!("{} bytes is not a multiple of 64 bytes; write one, such as \"64 KiB\"", r.block_size);
        problems.add(&["repository", "block_size"], message);
    }
    if let Some(margin) = r.ack_margin.filter(|margin| *margin > m) {
        let message = format!("{margin} is more than parity_shards, {m}; write a number from 0 to {m}");
        problems.add(&["repository", "ack_margin"], message);
    }
    if r.name.is_empty() || r.name.len() > 100 || r.name.chars().any(char::is_control) {
        problems.add(&["repository", "name"], "a name has 1 to 100 bytes and no control characters; write another");
    }
    if r.spread == Spread::Label(String::new()) {
        problems.add(&["repository", "spread"], "it is empty; write a domain label such as \"provider\", or \"none\"");
    }
    if config.gateway.memory_limit < r.segment_size {
        let message = "it is less than segment_size, and a segment must fit in memory; raise it, or lower segment_size";
        problems.add(&["gateway", "memory_limit"], message);
    }
}

fn catalog(config: &Config, problems: &Problems<'_>) {
    let url = &config.repository.catalog;
    let at = ["repository", "catalog"];
    match url.split_once("://") {
        Some(("sqlite", "")) => problems.add(&at, "it names no file; write sqlite:// and a path, such as \"sqlite://rsb.db\""),
        Some(("sqlite" | "memory" | "postgres" | "postgresql", _)) => {}
        // The address may hold a password: it is not repeated.
        _ => problems.add(&at, "it is not a catalog's address; write \"sqlite://PATH\", \"memory://\" or \"postgres://USER@HOST/DATABASE\""),
    }
}

fn gateway(config: &Config, problems: &Problems<'_>) {
    let g = &config.gateway;
    let no_keys = g.keys.is_empty() && !config.key_store().exists();
    let sure = !problems.about(&["gateway", "keys"]) && !problems.about(&["gateway", "tls"]);
    for (key, listen) in [("listen", Some(g.listen)), ("s3_listen", g.s3_listen)] {
        let Some(listen) = listen.filter(|listen| !listen.ip().to_canonical().is_loopback() && sure) else { continue };
        let reached = format!("{listen} is not a loopback address");
        // S3 knows no requests without a key.
        if no_keys && (key == "s3_listen" || g.auth != Auth::Off) {
            let way_out = match key {
                "listen" => "listen on 127.0.0.1, or allow everybody by auth = \"off\" (--no-auth)",
                _ => "or listen on 127.0.0.1",
            };
            let message = format!(
                "{reached}, and no key pair is configured; add [[gateway.keys]] or `rsb key add` one, {way_out}"
            );
            problems.add(&["gateway", key], message);
        }
        if g.tls.is_none() && !g.allow_plain_http {
            let message = format!(
                "{reached}, and without TLS data and credentials would cross the network in the clear; write tls = {{ certificate = \"cert.pem\", key = \"key.pem\" }} or tls = {{ self_signed = true }} (--tls-self-signed), or allow plain HTTP by allow_plain_http = true (--no-tls)"
            );
            problems.add(&["gateway", key], message);
        }
    }
    if g.auth == Auth::Required && no_keys && !problems.about(&["gateway", "keys"]) {
        problems.add(
            &["gateway", "auth"],
            "it is \"required\", and no key pair is configured; add [[gateway.keys]] or `rsb key add` one",
        );
    }
    if g.prototype == Some(Prototype::Auth) && g.auth == Auth::Off {
        problems.add(&["gateway", "prototype"], "it is \"auth\" while auth is \"off\"; change one of them");
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, key) in g.keys.iter().enumerate() {
        let number = index.to_string();
        if key.id.contains(':') {
            problems
                .add(&["gateway", "keys", &number, "id"], "HTTP Basic ends the id at a colon; write an id without one");
        }
        if let Some(first) = seen.insert(&key.id, index + 1) {
            let message = format!("{:?} is the id of key {first} too; write another", key.id);
            problems.add(&["gateway", "keys", &number, "id"], message);
        }
    }
}

fn one_backend(config: &Config, index: usize, backend: &Backend, problems: &Problems<'_>) {
    let number = index.to_string();
    let earlier = || config.backends[..index].iter();
    if !backend.name.is_empty() {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if backend.name.len() > 64 || !backend.name.chars().all(plain) {
            let message = format!(
                "{:?} has other characters than letters, digits, \".\", \"_\" and \"-\", or more than 64; write another name",
                backend.name
            );
            problems.add(&["backend", &number, "name"], message);
        }
        if earlier().any(|other| other.name == backend.name) {
            problems.add(
                &["backend", &number, "name"],
                format!("{:?} is the name of an earlier backend too; write another", backend.name),
            );
        }
    }
    if backend.url.is_empty() {
        return;
    }
    if let Some((scheme, _)) = backend.url.split_once(':').filter(|(scheme, _)| !SCHEMES.contains(scheme)) {
        let words: Vec<String> = SCHEMES.iter().map(|s| format!("{s}:")).collect();
        let hint = nearest(scheme, &SCHEMES).map(|near| format!(" (the nearest is {near}:)")).unwrap_or_default();
        let message = format!("{scheme:?} is not a kind of backend; write an address with {}{hint}", one_of(&words));
        problems.add(&["backend", &number, "url"], message);
    } else if let Some(other) = earlier().find(|other| config.location(other) == config.location(backend)) {
        let message = format!(
            "backend {:?} is at the same place; two shards there would be lost together, so write another address",
            other.name
        );
        problems.add(&["backend", &number, "url"], message);
    }
}

/// The labels that the spread needs, and the proof that no domain's loss is fatal (promise 6).
fn domains(config: &Config, problems: &Problems<'_>) {
    let r = &config.repository;
    let mut bare = false;
    if let Spread::Label(label) = &r.spread {
        for (index, backend) in config.backends.iter().enumerate() {
            let placed = matches!(backend.role, Role::Active | Role::Spare);
            if placed && !backend.domain.contains_key(label) {
                bare = true;
                let message = format!(
                    "backend {:?} has no label {label:?}, so it cannot be known what is lost together with it; write domain = {{ {label} = \"…\" }}",
                    backend.name
                );
                problems.add(&["backend", &index.to_string(), "domain"], message);
            }
        }
    }
    let unsure = [["repository", "data_shards"], ["repository", "parity_shards"], ["repository", "spread"]];
    if bare || unsure.iter().any(|key| problems.about(key)) || problems.about(&["backend"]) {
        return;
    }
    let stand_in = |b: &Backend| {
        rsb_core::Backend::with(b.name.clone(), Arc::new(InMemory::new()), b.domain.clone(), b.role, b.cost)
    };
    let backends: Vec<rsb_core::Backend> = config.backends.iter().map(stand_in).collect();
    if let Err(error) = prove(&backends, &r.spread, r.data_shards, r.parity_shards) {
        let active = backends.iter().filter(|b| b.role() == Role::Active).count();
        let key = if active < r.data_shards + r.parity_shards { "data_shards" } else { "spread" };
        problems.add(&["repository", key], error.message());
        return;
    }
    for (name, class) in &config.gateway.storage_classes {
        let at = ["gateway", "storage_classes", name];
        if let Err(error) = prove(&backends, &r.spread, class.data_shards, class.parity_shards)
            && !problems.about(&at)
        {
            problems.add(&at, error.message());
        }
    }
}
