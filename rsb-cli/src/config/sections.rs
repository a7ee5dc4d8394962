//! Each key of the config by name, with its bounds and its default. `docs/config.md` has the same in words.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Dict;
use rsb_core::scheme::{MAX_BLOCK_SIZE, MIN_BLOCK_SIZE};
use rsb_core::{Cost, EtagMode, Role, Spread};

use super::problem::Problems;
use super::reader::Reader;
use super::{
    Auth, Backend, Config, Credentials, DayBudget, Gateway, Heal, Key, KeyStore, Limits, Prototype, Repository, Right,
    Scrub, Secret, Source, StorageClass, Tls,
};

/// Reads all sections.
pub fn read(table: &Dict, problems: &Problems<'_>, source: Source, base: PathBuf) -> Config {
    let root = Reader::root(table, problems);
    let config = Config {
        source,
        base,
        repository: repository(root.table("repository")),
        gateway: gateway(root.table("gateway")),
        heal: heal(root.table("heal")),
        scrub: scrub(root.table("scrub")),
        backends: root.tables("backend").into_iter().map(backend).collect(),
    };
    root.finish();
    config
}

fn repository(r: Reader<'_>) -> Repository {
    let out = Repository {
        name: r.string("name").unwrap_or_else(|| "rsbackup".into()),
        data_shards: r.count("data_shards", 1, 256).unwrap_or(10),
        parity_shards: r.count("parity_shards", 0, 255).unwrap_or(3),
        codec: r.choice("codec", &[("novelpoly", "novelpoly"), ("cauchy", "cauchy")]).unwrap_or("novelpoly").into(),
        block_size: r.size("block_size", MIN_BLOCK_SIZE.into(), MAX_BLOCK_SIZE.into()).unwrap_or(64 << 10),
        segment_size: r.size("segment_size", 64 << 10, 4 << 30).unwrap_or(64 << 20),
        inline_limit: r.size("inline_limit", 0, 4 << 20).unwrap_or(128 << 10),
        spread: spread(&r),
        ack_margin: r.count("ack_margin", 0, 255),
        grace: r.duration("grace").unwrap_or(Duration::from_secs(24 * 3600)),
        multipart_expiry: r.duration("multipart_expiry").unwrap_or(Duration::from_secs(7 * 24 * 3600)),
        straggler_limit: r.duration("straggler_limit").unwrap_or(Duration::from_secs(2)),
        straggler_least: r.duration("straggler_least").unwrap_or(Duration::from_millis(200)),
        hedge_least: r.duration("hedge_least").unwrap_or(Duration::from_millis(50)),
        hedge_after: r.duration("hedge_after").unwrap_or(Duration::from_millis(500)),
        catalog: r.string("catalog").unwrap_or_else(|| "sqlite://rsb.db".into()),
    };
    r.finish();
    out
}

fn spread(r: &Reader<'_>) -> Spread {
    match r.string("spread") {
        None => Spread::Label("provider".into()),
        Some(label) if label == "none" => Spread::None,
        Some(label) => Spread::Label(label),
    }
}

fn gateway(r: Reader<'_>) -> Gateway {
    let socket = |key: &'static str| {
        r.parsed(key, "an address and a port, such as \"127.0.0.1:44987\"", |text| text.parse::<SocketAddr>().ok())
    };
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Whoever says where HTTP is says where S3 is too: two gateways on one machine must not meet at a port nobody named.
    let s3_default = (!r.has("listen") && !r.has("s3_listen")).then(|| local(44988));
    let out = Gateway {
        listen: socket("listen").unwrap_or(local(44987)),
        s3_listen: socket("s3_listen").or(s3_default),
        memory_limit: r.size("memory_limit", 1 << 20, 1 << 50).unwrap_or(512 << 20),
        auth: r
            .choice("auth", &[("auto", Auth::Auto), ("required", Auth::Required), ("off", Auth::Off)])
            .unwrap_or(Auth::Auto),
        prototype: r
            .choice("prototype", &[("open", Prototype::Open), ("auth", Prototype::Auth), ("off", Prototype::Off)]),
        prototype_bucket: r.string("prototype_bucket").unwrap_or_else(|| "rsbackup".into()),
        etag: r.choice("etag", &[("md5", EtagMode::Md5), ("fast", EtagMode::Fast)]).unwrap_or_default(),
        allow_plain_http: r.boolean("allow_plain_http").unwrap_or(false),
        lifecycle_every: r.duration("lifecycle_every").unwrap_or(Duration::from_secs(3600)),
        storage_classes: r.named("storage_classes").into_iter().filter_map(storage_class).collect(),
        tls: tls(r.table("tls")),
        s3_domain: domains(&r),
        region: r.string("region"),
        key_store: key_store(r.table("key_store")),
        keys: r.tables("keys").into_iter().filter_map(key).collect(),
    };
    r.finish();
    out
}

fn heal(r: Reader<'_>) -> Heal {
    let out = Heal {
        every: r.duration("every").unwrap_or(Duration::from_secs(10)),
        elsewhere_after: r.duration("elsewhere_after").unwrap_or(Duration::from_secs(3600)),
        budget: day_budget(&r, DayBudget::default()),
    };
    r.finish();
    out
}

fn scrub(r: Reader<'_>) -> Scrub {
    let every = |key: &'static str, days: u64| r.duration(key).unwrap_or(Duration::from_secs(days * 24 * 3600));
    let least = DayBudget { bytes_per_day: Some(1 << 30), requests_per_day: Some(100_000), price_per_day: None };
    let out = Scrub {
        inventory_every: every("inventory_every", 1),
        sample_every: every("sample_every", 7),
        full_every: every("full_every", 90),
        budget: day_budget(&r, least),
    };
    r.finish();
    out
}

fn day_budget(r: &Reader<'_>, default: DayBudget) -> DayBudget {
    DayBudget {
        bytes_per_day: r.size("bytes_per_day", 0, 1 << 60).or(default.bytes_per_day),
        requests_per_day: r.count("requests_per_day", 0, usize::MAX).map(|n| n as u64).or(default.requests_per_day),
        price_per_day: r.amount("price_per_day").or(default.price_per_day),
    }
}

fn storage_class((name, r): (String, Reader<'_>)) -> Option<(String, StorageClass)> {
    let count = |key: &'static str, least, most| {
        if !r.has(key) {
            r.problem(key, format!("{key} is missing; write a whole number from {least} to {most}"));
        }
        r.count(key, least, most)
    };
    let (data_shards, parity_shards) = (count("data_shards", 1, 256), count("parity_shards", 0, 255));
    r.finish();
    Some((name, StorageClass { data_shards: data_shards?, parity_shards: parity_shards? }))
}

fn tls(r: Reader<'_>) -> Option<Tls> {
    let certificate = r.string("certificate").map(PathBuf::from);
    let key = r.string("key").map(PathBuf::from);
    let self_signed = r.boolean("self_signed").unwrap_or(false);
    let names = r.strings("names").unwrap_or_default();
    let out = match (certificate, key, self_signed) {
        (Some(certificate), Some(key), false) => Some(Tls::Pem { certificate, key }),
        (None, None, true) => Some(Tls::SelfSigned { self_signed, names }),
        (None, None, false) => None,
        _ => {
            r.problem("", "write certificate and key, the paths of two PEM files, or self_signed = true");
            None
        }
    };
    r.finish();
    out
}

/// Names of hosts: letters, digits, `-` and `.`, without a port.
fn domains(r: &Reader<'_>) -> Vec<String> {
    let domains = r.strings("s3_domain").unwrap_or_default();
    let is_name = |domain: &&String| {
        let ok = |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        domain.split('.').all(ok)
    };
    if let Some(wrong) = domains.iter().find(|domain| !is_name(domain)) {
        r.problem(
            "s3_domain",
            format!("{wrong:?} is no name of a host; write one such as \"s3.example.org\", without a port"),
        );
    }
    domains
}

fn key_store(r: Reader<'_>) -> KeyStore {
    let wraps =
        [r.string("secret_file").map(|path| Secret::File(path.into())), r.string("secret_env").map(Secret::Env)];
    let mut wraps: Vec<Secret> = wraps.into_iter().flatten().collect();
    if wraps.len() > 1 {
        r.problem("", "secret_file and secret_env are both given; write one of them, or neither");
    }
    let out = KeyStore { file: r.string("file").map(PathBuf::from), wrapping: wraps.pop() };
    r.finish();
    out
}

fn key(r: Reader<'_>) -> Option<Key> {
    let id = required(&r, "id", "a name for the key, such as \"backup-job\"");
    let secrets = [
        r.string("secret").map(Secret::Inline),
        r.string("secret_file").map(|path| Secret::File(path.into())),
        r.string("secret_env").map(Secret::Env),
    ];
    let mut secrets: Vec<Secret> = secrets.into_iter().flatten().collect();
    if secrets.len() != 1 {
        let found = secrets.len();
        r.problem("", format!("{found} of secret, secret_file and secret_env are given; write exactly one of them"));
    }
    let rights = r.strings("rights").unwrap_or_else(|| vec!["read".into()]);
    let rights = rights.iter().filter_map(|word| right(&r, word)).collect();
    let buckets = r.strings("buckets").unwrap_or_else(|| vec!["*".into()]);
    r.finish();
    Some(Key { id: id?, secret: secrets.pop()?, rights, buckets })
}

fn right(r: &Reader<'_>, word: &str) -> Option<Right> {
    let found = match word {
        "read" => Some(Right::Read),
        "write" => Some(Right::Write),
        "delete" => Some(Right::Delete),
        "admin" => Some(Right::Admin),
        _ => None,
    };
    if found.is_none() {
        r.problem("rights", format!("{word:?} is not a right; write \"read\", \"write\", \"delete\" or \"admin\""));
    }
    found
}

fn backend(r: Reader<'_>) -> Backend {
    let roles =
        [("active", Role::Active), ("draining", Role::Draining), ("read-only", Role::ReadOnly), ("spare", Role::Spare)];
    let out = Backend {
        name: required(&r, "name", "a name of its own, such as \"nas\"").unwrap_or_default(),
        url: required(&r, "url", "where it is, such as \"file:///mnt/nas/rsb\" or \"s3://bucket/prefix\"")
            .unwrap_or_default(),
        role: r.choice("role", &roles).unwrap_or_default(),
        options: options(&r),
        credentials: credentials(&r),
        domain: r.map("domain"),
        cost: cost(r.table("cost")),
        limits: limits(r.table("limits")),
    };
    r.finish();
    out
}

/// object_store's keys are written in lower case here, whatever case they came in.
fn options(r: &Reader<'_>) -> BTreeMap<String, String> {
    r.map("options").into_iter().map(|(key, value)| (key.to_lowercase(), value)).collect()
}

fn credentials(r: &Reader<'_>) -> Credentials {
    let given = r.has("credentials");
    let table = r.table("credentials");
    let found = [
        table.string("profile").map(Credentials::Profile),
        table.string("env").map(Credentials::Env),
        table.string("file").map(|path| Credentials::File(path.into())),
    ];
    let mut found: Vec<Credentials> = found.into_iter().flatten().collect();
    if given && found.len() != 1 {
        let count = found.len();
        table.problem(
            "",
            format!("{count} of profile, env and file are given; write exactly one of them, or leave credentials out"),
        );
    }
    table.finish();
    found.pop().unwrap_or_default()
}

fn cost(r: Reader<'_>) -> Cost {
    let amount = |key: &'static str| r.amount(key).unwrap_or_default();
    let out = Cost {
        get_per_million: amount("get_per_million"),
        put_per_million: amount("put_per_million"),
        egress_per_gb: amount("egress_per_gb"),
        stored_per_gb_month: amount("stored_per_gb_month"),
        minimum_days: amount("minimum_days"),
        minimum_size: r.size("minimum_size", 0, 1 << 40).unwrap_or_default(),
    };
    r.finish();
    out
}

fn limits(r: Reader<'_>) -> Limits {
    let out = Limits {
        concurrency: r.count("concurrency", 1, 4096).unwrap_or(32),
        timeout: r.duration("timeout").unwrap_or(Duration::from_secs(8)),
        retries: r.count("retries", 0, 20).unwrap_or(2),
    };
    r.finish();
    out
}

/// A text that must be there and not be empty.
fn required(r: &Reader<'_>, key: &'static str, write: &str) -> Option<String> {
    let given = r.has(key);
    let text = r.string(key);
    if !given {
        r.problem(key, format!("{key} is missing; write {write}"));
    } else if text.as_deref() == Some("") {
        r.problem(key, format!("it is empty; write {write}"));
    }
    text.filter(|text| !text.is_empty())
}
