//! How a gateway is run. Plain data: what a config file says is brought into this form by the one who reads it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rsb_core::Env;
use serde::{Deserialize, Serialize};

use crate::GatewayError;
pub use crate::classes::ShardCounts;

/// Gives the process's metrics as Prometheus text. The gateway adds its gauges of the repository.
pub type MetricsRender = Arc<dyn Fn() -> String + Send + Sync>;

/// How a gateway is run.
#[derive(Clone)]
pub struct GatewayConfig {
    /// Where HTTP is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where S3 is served, with the same TLS; not at all when absent. It always asks for signed requests, whatever `auth` says.
    pub s3_listen: Option<SocketAddr>,
    /// TLS; plain HTTP when absent.
    pub tls: Option<Tls>,
    /// Serve plain HTTP on an address other machines reach. Somebody else ends TLS before it, or nobody does.
    pub allow_plain_http: bool,
    /// Who must show credentials.
    pub auth: Auth,
    /// The credentials known.
    pub keys: Vec<AccessKey>,
    /// Further credentials, which may change while the gateway runs.
    pub key_source: Option<Arc<dyn KeySource>>,
    /// The names of hosts below which each bucket has a name of its own (`bucket.s3.example.org`). Path style works beside.
    pub s3_domains: Vec<String>,
    /// The region that S3 signatures must be made for; any when absent.
    pub region: Option<String>,
    /// Whether, and to whom, the prototype's protocol is served.
    pub prototype: PrototypeMode,
    /// The bucket that the prototype's protocol sees. Made at its first upload.
    pub prototype_bucket: String,
    /// How objects of S3's storage classes are coded, by the class's name; as the repository has it where a class is not here.
    pub storage_classes: BTreeMap<String, ShardCounts>,
    /// How often the lifecycle rules of buckets are followed; never when zero.
    pub lifecycle_every: Duration,
    /// Time and size limits.
    pub limits: Limits,
    /// Gives the process's metrics; without it `/metrics` has the repository's gauges only.
    pub metrics_render: Option<MetricsRender>,
    /// Where ids of requests and jobs, and their times, come from.
    pub env: Env,
}

impl GatewayConfig {
    /// The defaults: plain HTTP, [`Auth::Auto`] without keys, the prototype's protocol open for bucket `rsbackup`.
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            s3_listen: None,
            tls: None,
            allow_plain_http: false,
            auth: Auth::Auto,
            keys: Vec::new(),
            key_source: None,
            s3_domains: Vec::new(),
            region: None,
            prototype: PrototypeMode::Open,
            prototype_bucket: "rsbackup".into(),
            storage_classes: BTreeMap::new(),
            lifecycle_every: Duration::from_secs(3600),
            limits: Limits::default(),
            metrics_render: None,
            env: Env::system(),
        }
    }

    /// Whether only programs of this machine reach the address.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.listen.ip())
    }

    /// Refuses what would serve somebody's data to everybody by mistake. The warnings are what was asked for on purpose
    /// and ought to be said at every start.
    pub fn validate(&self) -> Result<Vec<String>, GatewayError> {
        self.validate_keys()?;
        let mut warnings = Vec::new();
        if !self.is_loopback() {
            if self.auth != Auth::Off {
                self.validate_has_keys(self.listen, "listen on 127.0.0.1, or set auth = \"off\"")?;
            }
            self.validate_reachable(self.listen, &mut warnings)?;
            self.warn_of_open_prototype(&mut warnings);
        }
        if let Some(s3) = self.s3_listen.filter(|s3| !is_loopback(s3.ip())) {
            self.validate_has_keys(s3, "or let S3 listen on 127.0.0.1")?;
            self.validate_reachable(s3, &mut warnings)?;
        }
        if self.auth == Auth::Off {
            warnings.push(format!(
                "auth is \"off\": whoever reaches {} may read, write and delete everything",
                self.listen
            ));
        }
        for key in self.keys.iter().filter(|k| k.rights.is_empty() || k.buckets.is_empty()) {
            warnings.push(format!("key {:?} has no rights or no buckets, so it opens nothing", key.id));
        }
        Ok(warnings)
    }

    fn validate_keys(&self) -> Result<(), GatewayError> {
        let mut seen = HashSet::new();
        for key in self.keys.iter().chain(&*self.further_keys()) {
            if key.id.is_empty() || key.id.contains(':') || key.id.chars().any(char::is_control) {
                return Err(config(format!(
                    "the key id {:?} cannot be used: it must have at least one character, no colon and no control character",
                    key.id
                )));
            }
            if key.secret.expose().is_empty() {
                return Err(config(format!("key {:?} has an empty secret; give it one", key.id)));
            }
            if !seen.insert(key.id.as_str()) {
                return Err(config(format!("the key id {:?} is there twice; each key needs an id of its own", key.id)));
            }
        }
        let asks = match (self.auth, self.prototype) {
            (Auth::Required, _) => Some("auth is \"required\""),
            (Auth::Auto, PrototypeMode::Auth) => Some("prototype is \"auth\""),
            _ => None,
        };
        if let (Some(asks), false) = (asks, self.has_keys()) {
            return Err(config(format!("{asks} and there are no keys, so nobody could use it; add a key")));
        }
        Ok(())
    }

    /// What the source of keys has now.
    fn further_keys(&self) -> Arc<Vec<AccessKey>> {
        self.key_source.as_ref().map(|source| source.current()).unwrap_or_default()
    }

    fn has_keys(&self) -> bool {
        !self.keys.is_empty() || !self.further_keys().is_empty()
    }

    fn validate_has_keys(&self, listen: SocketAddr, way_out: &str) -> Result<(), GatewayError> {
        if !self.has_keys() {
            return Err(config(format!("other machines reach {listen} and there are no keys; add a key, {way_out}")));
        }
        Ok(())
    }

    fn validate_reachable(&self, listen: SocketAddr, warnings: &mut Vec<String>) -> Result<(), GatewayError> {
        match (&self.tls, self.allow_plain_http) {
            (Some(_), _) => {}
            (None, false) => {
                return Err(config(format!(
                    "other machines reach {listen} and there is no TLS, so credentials and data would cross the network in the clear; give a certificate and key, listen on 127.0.0.1, or allow plain HTTP explicitly"
                )));
            }
            (None, true) => warnings.push(format!(
                "plain HTTP on {listen}: credentials and data cross the network in the clear unless something before the gateway ends TLS"
            )),
        }
        Ok(())
    }

    fn warn_of_open_prototype(&self, warnings: &mut Vec<String>) {
        if self.prototype == PrototypeMode::Open && self.auth != Auth::Off {
            warnings.push(format!(
                "prototype is \"open\": whoever reaches {} may read and write bucket {:?} without credentials",
                self.listen, self.prototype_bucket
            ));
        }
    }
}

fn config(message: String) -> GatewayError {
    GatewayError::Config(message)
}

pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl fmt::Debug for GatewayConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayConfig")
            .field("listen", &self.listen)
            .field("s3_listen", &self.s3_listen)
            .field("tls", &self.tls)
            .field("allow_plain_http", &self.allow_plain_http)
            .field("auth", &self.auth)
            .field("keys", &self.keys)
            .field("s3_domains", &self.s3_domains)
            .field("region", &self.region)
            .field("prototype", &self.prototype)
            .field("prototype_bucket", &self.prototype_bucket)
            .field("storage_classes", &self.storage_classes)
            .field("lifecycle_every", &self.lifecycle_every)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Who must show credentials on `/v1`, the metrics and the web page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// Nobody on a loopback address, everybody elsewhere.
    #[default]
    Auto,
    /// Everybody.
    Required,
    /// Nobody.
    Off,
}

/// Whether, and to whom, the prototype's protocol is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrototypeMode {
    /// To everybody: the prototype's client knows no credentials.
    #[default]
    Open,
    /// To those with a key.
    Auth,
    /// To nobody.
    Off,
}

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Get, list, check.
    Read,
    /// Put, copy, repair.
    Write,
    /// Delete objects.
    Delete,
    /// Make and delete buckets; drills, sweeps, the catalog. Does not include the other rights.
    Admin,
}

impl Right {
    /// The word for it in a config file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Delete => "delete",
            Self::Admin => "admin",
        }
    }
}

/// A key pair and what it opens.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: Secret,
    /// What it may do.
    pub rights: BTreeSet<Right>,
    /// In which buckets: names, or patterns in which `*` stands for any run of characters.
    pub buckets: Vec<String>,
}

/// Credentials that may change while the gateway runs.
pub trait KeySource: Send + Sync {
    /// The credentials as they are now. Asked for at every request, so it must be quick; the same `Arc` as long as nothing has
    /// changed. A key that is not in it any more is refused from the next request on.
    fn current(&self) -> Arc<Vec<AccessKey>>;
}

/// A text that is never shown: `Debug` hides it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
    /// The text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where the certificate comes from.
#[derive(Clone, Debug)]
pub enum Tls {
    /// From the user.
    Pem {
        /// The certificate chain, the server's own first: PEM.
        certificate: Vec<u8>,
        /// Its private key, without a passphrase: PEM.
        key: Secret,
    },
    /// Made at each start. Clients must be told to trust it, see [`crate::Gateway::certificate_pem`].
    SelfSigned {
        /// Host names and IP addresses it is for, besides `localhost`, the loopback addresses and the listening one.
        names: Vec<String>,
    },
}

/// Time and size limits. The defaults suit a gateway on a network that is not wholly trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request's head must have come within this time; also how long an unused connection is kept.
    pub header_timeout: Duration,
    /// A body of which nothing comes, or a reply of which nothing is taken, for this long ends the connection.
    pub idle_timeout: Duration,
    /// On shutdown, requests in flight have this long to finish.
    pub shutdown_grace: Duration,
    /// Connections served at once; more wait to be accepted.
    pub max_connections: usize,
    /// Of a refused upload's body, this many bytes are taken and thrown away, so that its sender can read the refusal;
    /// then the connection is cut.
    pub drain_bytes: u64,
    /// Jobs that run at once; more are refused.
    pub max_running_jobs: usize,
    /// Ended jobs that are remembered.
    pub max_ended_jobs: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            shutdown_grace: Duration::from_secs(30),
            max_connections: 1024,
            drain_bytes: 64 << 20,
            max_running_jobs: 8,
            max_ended_jobs: 256,
        }
    }
}

#[cfg(test)]
mod tests;
