//! The config file: what may stand in it, where it is looked for, and what is wrong with one.
//!
//! Order to read: this file (the types), [`load`] (which file; environment and flags over it), [`reader`] (a value
//! taken or a problem noted), [`sections`] (each key by name), [`rules`] (what must hold between keys), [`overrides`], [`origin`] and
//! [`problem`] (how a problem finds its line), [`show`].

pub mod keys;
pub mod load;
pub mod origin;
pub mod overrides;
pub mod problem;
pub mod reader;
pub mod rules;
pub mod sections;
pub mod show;
pub mod template;
#[cfg(test)]
mod tests;
pub mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rsb_core::{Cost, EtagMode, Role, Spread};
use serde::Serialize;
use url::Url;

pub use self::keys::{Key, KeyStore, Secret};

/// A config, merged and read. Relative paths in it mean below `base`.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from.
    pub source: Source,
    /// The folder that relative paths begin at: the file's own, or the data folder of the built-in default.
    pub base: PathBuf,
    /// How objects are coded and kept.
    pub repository: Repository,
    /// How the gateway serves.
    pub gateway: Gateway,
    /// How the gateway works the ledger off.
    pub heal: Heal,
    /// How the gateway looks at what is stored.
    pub scrub: Scrub,
    /// The backends, in the file's order.
    pub backends: Vec<Backend>,
}

/// Where a config came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The default that is part of the program, with this data folder.
    Embedded(PathBuf),
}

impl Source {
    /// How a person is told which config it is.
    pub fn describe(&self) -> String {
        match self {
            Self::File(path) => format!("the config file {}", path.display()),
            Self::Embedded(data) => format!("the built-in default config with its data in {}", data.display()),
        }
    }
}

/// `[repository]`
#[derive(Clone, Serialize)]
pub struct Repository {
    /// The repository's own name, in every marker.
    pub name: String,
    /// k.
    pub data_shards: usize,
    /// m.
    pub parity_shards: usize,
    /// The codec's name.
    pub codec: String,
    /// Bytes.
    #[serde(serialize_with = "units::size")]
    pub block_size: u64,
    /// Bytes.
    #[serde(serialize_with = "units::size")]
    pub segment_size: u64,
    /// Bytes.
    #[serde(serialize_with = "units::size")]
    pub inline_limit: u64,
    /// The domain label of which no m+1 shards may share a value.
    #[serde(serialize_with = "units::spread")]
    pub spread: Spread,
    /// Shards beyond k that must be durable before a write is acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack_margin: Option<usize>,
    /// Nothing younger is garbage.
    #[serde(serialize_with = "units::duration")]
    pub grace: Duration,
    /// A multipart upload is aborted when it was begun so long ago and not completed; zero: never.
    #[serde(serialize_with = "units::duration")]
    pub multipart_expiry: Duration,
    /// How long the rest is waited for once enough shards are durable.
    #[serde(serialize_with = "units::duration")]
    pub straggler_limit: Duration,
    /// The least of it, however quick a backend usually is.
    #[serde(serialize_with = "units::duration")]
    pub straggler_least: Duration,
    /// After this long without an answer a read starts a parity read.
    #[serde(serialize_with = "units::duration")]
    pub hedge_after: Duration,
    /// The least of it, however quick a backend usually is.
    #[serde(serialize_with = "units::duration")]
    pub hedge_least: Duration,
    /// The catalog's address.
    pub catalog: String,
}

/// `[gateway]`
#[derive(Clone, Debug, Serialize)]
pub struct Gateway {
    /// Where HTTP is served.
    pub listen: SocketAddr,
    /// Where S3 is served; not at all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_listen: Option<SocketAddr>,
    /// Bytes of buffers for all reads and writes.
    #[serde(serialize_with = "units::size")]
    pub memory_limit: u64,
    /// Who needs a key.
    pub auth: Auth,
    /// Whether the prototype's protocol asks for one; `None`: "open" on loopback, "auth" elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prototype: Option<Prototype>,
    /// The bucket the prototype's protocol sees.
    pub prototype_bucket: String,
    /// How entity tags are made.
    pub etag: EtagMode,
    /// How often the lifecycle rules of buckets are followed.
    #[serde(serialize_with = "units::duration")]
    pub lifecycle_every: Duration,
    /// Serve plain HTTP on an address that other machines reach.
    pub allow_plain_http: bool,
    /// How objects of S3's storage classes are coded, by the class's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub storage_classes: BTreeMap<String, StorageClass>,
    /// The certificate to serve with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Names of hosts below which each bucket has one of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub s3_domain: Vec<String>,
    /// The region that S3 signatures must be for; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where `rsb key add` keeps key pairs.
    #[serde(skip_serializing_if = "KeyStore::is_default")]
    pub key_store: KeyStore,
    /// The key pairs that are let in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Key>,
}

/// `[heal]`
#[derive(Clone, Debug, Serialize)]
pub struct Heal {
    /// How often the ledger is worked off; zero: only by `rsb repair`.
    #[serde(serialize_with = "units::duration")]
    pub every: Duration,
    /// After this long another backend takes the place of one that is away.
    #[serde(serialize_with = "units::duration")]
    pub elsewhere_after: Duration,
    /// What it may cost.
    #[serde(flatten)]
    pub budget: DayBudget,
}

/// `[scrub]`; zero: never.
#[derive(Clone, Debug, Serialize)]
pub struct Scrub {
    /// How often by listings.
    #[serde(serialize_with = "units::duration")]
    pub inventory_every: Duration,
    /// How often by samples.
    #[serde(serialize_with = "units::duration")]
    pub sample_every: Duration,
    /// How often in full.
    #[serde(serialize_with = "units::duration")]
    pub full_every: Duration,
    /// What it may cost.
    #[serde(flatten)]
    pub budget: DayBudget,
}

/// What something may cost in a day; without bound where absent.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct DayBudget {
    /// Bytes read and written.
    #[serde(serialize_with = "units::optional_size", skip_serializing_if = "Option::is_none")]
    pub bytes_per_day: Option<u64>,
    /// Requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_day: Option<u64>,
    /// Money, by the cost model of the backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_per_day: Option<f64>,
}

/// One of `gateway.storage_classes`
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StorageClass {
    /// k.
    pub data_shards: usize,
    /// m.
    pub parity_shards: usize,
}

/// Who needs a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// Nobody on loopback, everybody elsewhere.
    Auto,
    /// Everybody.
    Required,
    /// Nobody.
    Off,
}

/// Whether the prototype's protocol is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prototype {
    /// To everybody: its old client knows no credentials.
    Open,
    /// To those with a key.
    Auth,
    /// Not at all.
    Off,
}

/// `gateway.tls`
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Tls {
    /// A certificate of the user's.
    Pem {
        /// The certificate chain's PEM file.
        certificate: PathBuf,
        /// The private key's PEM file.
        key: PathBuf,
    },
    /// One made at each start.
    SelfSigned {
        /// Always true.
        self_signed: bool,
        /// Host names and addresses it is for, besides the local ones.
        names: Vec<String>,
    },
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// GET, HEAD, listings.
    Read,
    /// PUT.
    Write,
    /// DELETE.
    Delete,
    /// Everything about the repository itself: check, repair, jobs, …
    Admin,
}

/// `[[backend]]`
#[derive(Clone, Serialize)]
pub struct Backend {
    /// Its name, in every manifest that places a shard on it.
    pub name: String,
    /// Its address.
    #[serde(serialize_with = "show::url")]
    pub url: String,
    /// Its role.
    pub role: Role,
    /// object_store's own options.
    #[serde(serialize_with = "show::options", skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Where its credentials come from.
    #[serde(skip_serializing_if = "Credentials::is_default")]
    pub credentials: Credentials,
    /// What it shares with others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub domain: BTreeMap<String, String>,
    /// What its use costs.
    #[serde(skip_serializing_if = "is_free")]
    pub cost: Cost,
    /// How hard it is used and how long it is waited for.
    pub limits: Limits,
}

/// Where a backend's credentials come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// The provider's usual places.
    #[default]
    Default,
    /// A profile of the AWS configuration.
    Profile(String),
    /// Environment variables that begin with this.
    Env(String),
    /// A file.
    File(PathBuf),
}

impl Credentials {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

/// `backend.limits`
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Requests at once.
    pub concurrency: usize,
    /// How long an answer, and then each further piece of it, is waited for.
    #[serde(serialize_with = "units::duration")]
    pub timeout: Duration,
    /// How often a request is tried again.
    pub retries: usize,
}

impl Config {
    /// A path of the config, below its folder where it is relative.
    pub fn path(&self, path: &Path) -> PathBuf {
        let path = self.base.join(path);
        std::path::absolute(&path).unwrap_or(path)
    }

    /// The file that `rsb key add` keeps key pairs in.
    pub fn key_store(&self) -> PathBuf {
        match (&self.gateway.key_store.file, self.repository.catalog.strip_prefix("sqlite://")) {
            (Some(file), _) => self.path(file),
            (None, Some(catalog)) => {
                let mut name = self.path(Path::new(catalog)).into_os_string();
                name.push(".keys");
                name.into()
            }
            (None, None) => self.path(Path::new("rsb.keys")),
        }
    }

    /// A backend's folder, absolute, where it is one.
    pub fn folder(&self, backend: &Backend) -> Option<PathBuf> {
        folder_of(&backend.url).map(|path| self.path(&path))
    }

    /// A backend's address with a folder's path made absolute.
    pub fn url(&self, backend: &Backend) -> String {
        let folder = self.folder(backend).and_then(|path| Url::from_file_path(path).ok());
        folder.map_or_else(|| backend.url.clone(), String::from)
    }

    /// What tells two places apart: the address, and for a bucket the server it is on.
    pub fn location(&self, backend: &Backend) -> (String, Option<String>) {
        let server = ["endpoint", "aws_endpoint", "azure_endpoint", "google_base_url", "account_name"]
            .iter()
            .find_map(|key| backend.options.get(*key).cloned());
        (self.url(backend).trim_end_matches('/').to_owned(), server)
    }
}

/// The path in `file:///abs/path`, `file:rel/path`, or a bare path. A bare path has no scheme.
fn folder_of(url: &str) -> Option<PathBuf> {
    match url.split_once(':') {
        None => Some(PathBuf::from(url)),
        Some(("file", rest)) => match rest.strip_prefix("//") {
            Some(_) => Url::parse(url).ok()?.to_file_path().ok(),
            None => Some(PathBuf::from(rest)),
        },
        Some(_) => None,
    }
}

/// Without the catalog's address, which may hold a password.
impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Without address and options, which may hold secrets.
impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("name", &self.name).field("role", &self.role).finish_non_exhaustive()
    }
}

fn is_free(cost: &Cost) -> bool {
    *cost == Cost::default()
}
