//! Who asks, and what they may do. Credentials are HTTP Basic with a key's id and secret.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, Uri};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::config::{AccessKey, Auth, GatewayConfig, KeySource, PrototypeMode, Right, Secret};
use crate::problem::Problem;

/// Knows the keys, and whether one is needed.
pub(crate) struct Guard {
    keys: Arc<Vec<Key>>,
    further: Option<Further>,
    /// The native API is served without credentials.
    open: Open,
    /// The prototype's protocol is served without credentials.
    prototype_open: Open,
}

/// Whether a request without credentials is served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    No,
    /// Because only this machine can ask. A web page in this machine's browser could too, so its requests are told apart.
    ToThisMachine,
    ToAll,
}

/// Keys that may change, as they were last seen.
struct Further {
    source: Arc<dyn KeySource>,
    seen: Mutex<Seen>,
}

/// Keys as their source gives them, and as they are compared with.
type Seen = (Arc<Vec<AccessKey>>, Arc<Vec<Key>>);

impl Further {
    fn new(source: Arc<dyn KeySource>) -> Self {
        let current = source.current();
        let keys = digested(&current);
        Self { source, seen: Mutex::new((current, keys)) }
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        let current = self.source.current();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&seen.0, &current) {
            let keys = digested(&current);
            *seen = (current, keys);
        }
        seen.1.clone()
    }
}

fn digested(keys: &[AccessKey]) -> Arc<Vec<Key>> {
    let key = |key: &AccessKey| Key {
        id: digest(&key.id),
        secret: digest(key.secret.expose()),
        plain: key.secret.clone(),
        grant: Arc::new(Grant { id: key.id.clone(), rights: key.rights.clone(), buckets: key.buckets.clone() }),
    };
    Arc::new(keys.iter().map(key).collect())
}

struct Key {
    id: [u8; 32],
    secret: [u8; 32],
    /// The secret itself: S3's signatures are made with it.
    plain: Secret,
    grant: Arc<Grant>,
}

/// What a key opens.
#[derive(Debug)]
pub(crate) struct Grant {
    id: String,
    rights: BTreeSet<Right>,
    buckets: Vec<String>,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// Somebody, where no credentials are needed: may do everything.
    Anyone,
    /// The holder of a key.
    Key(Arc<Grant>),
}

impl Guard {
    pub(crate) fn new(config: &GatewayConfig) -> Self {
        let open = match config.auth {
            Auth::Off => Open::ToAll,
            Auth::Auto if config.is_loopback() => Open::ToThisMachine,
            Auth::Auto | Auth::Required => Open::No,
        };
        let prototype_open = match (config.auth, config.prototype) {
            (Auth::Off, _) => Open::ToAll,
            (_, PrototypeMode::Open) if config.is_loopback() => Open::ToThisMachine,
            (_, PrototypeMode::Open) => Open::ToAll,
            _ => Open::No,
        };
        let further = config.key_source.clone().map(Further::new);
        Self { keys: digested(&config.keys), further, open, prototype_open }
    }

    /// Who asks on the native API.
    pub(crate) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.identify(headers, self.open)
    }

    /// Who asks on the prototype's protocol.
    pub(crate) fn prototype_caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        self.identify(headers, self.prototype_open)
    }

    /// What a key opens, and its secret, for who proves by a signature that it knows it. Ids are no secrets.
    pub(crate) fn key(&self, id: &str) -> Option<(Caller, Secret)> {
        let [fixed, further] = self.all_keys();
        let key = fixed.iter().chain(&*further).find(|key| key.grant.id == id)?;
        Some((Caller::Key(key.grant.clone()), key.plain.clone()))
    }

    /// The configured keys, and those that may change as they are now.
    fn all_keys(&self) -> [Arc<Vec<Key>>; 2] {
        [self.keys.clone(), self.further.as_ref().map(Further::keys).unwrap_or_default()]
    }

    fn identify(&self, headers: &HeaderMap, open: Open) -> Result<Caller, Problem> {
        if let Some(value) = headers.get(AUTHORIZATION) {
            // Given credentials are held to, also where none are needed.
            return self.verify(value.as_bytes()).map(Caller::Key);
        }
        match open {
            Open::No => Err(Problem::unauthorized(
                "credentials are needed here: HTTP Basic with a key's id as user name and its secret as password",
            )),
            Open::ToAll => Ok(Caller::Anyone),
            Open::ToThisMachine => refuse_foreign_pages(headers).map(|()| Caller::Anyone),
        }
    }

    fn verify(&self, value: &[u8]) -> Result<Arc<Grant>, Problem> {
        let wrong = || Problem::unauthorized("the credentials are wrong: no such key, or not its secret");
        let (id, secret) = parse_basic(value).ok_or_else(|| {
            Problem::unauthorized("the Authorization header cannot be read; use HTTP Basic with a key's id and secret")
        })?;
        let (id, secret) = (digest(&id), digest(&secret));
        let mut found = None;
        // Every key is compared, in constant time, so that the time taken tells nothing about any.
        let [fixed, further] = self.all_keys();
        for key in fixed.iter().chain(&*further) {
            let matches: Choice = key.id.ct_eq(&id) & key.secret.ct_eq(&secret);
            if bool::from(matches) {
                found = Some(key.grant.clone());
            }
        }
        found.ok_or_else(wrong)
    }
}

impl Caller {
    /// An error where the caller may not do this in this bucket (everywhere, when `None`).
    pub(crate) fn check(&self, right: Right, bucket: Option<&str>) -> Result<(), Problem> {
        if self.may(right, bucket) {
            return Ok(());
        }
        let id = match self {
            Self::Anyone => "",
            Self::Key(grant) => &grant.id,
        };
        let place = bucket.map_or("all buckets".to_owned(), |bucket| format!("bucket {bucket:?}"));
        Err(Problem::forbidden(format!("key {id:?} does not have the right {:?} on {place}", right.as_str())))
    }

    /// Whether the caller may do this in this bucket (everywhere, when `None`).
    pub(crate) fn may(&self, right: Right, bucket: Option<&str>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Key(grant) => {
                grant.rights.contains(&right)
                    && grant.buckets.iter().any(|pattern| match bucket {
                        Some(bucket) => matches(pattern, bucket),
                        None => pattern == "*",
                    })
            }
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The user name and password of an `Authorization: Basic …` value.
fn parse_basic(value: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, rest) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// Whether `name` matches `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// A gateway that is open to this machine is open to its browser, and so to any web page shown there. Such a page's
/// requests carry its own `Origin`, or (by DNS rebinding) its own `Host`.
fn refuse_foreign_pages(headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text(HOST.as_str());
    if let Some(host) = host
        && !is_this_machine(host)
    {
        return Err(Problem::forbidden(format!(
            "this gateway is open without credentials only under this machine's own names, not as {host:?}; set auth = \"required\" and add a key"
        )));
    }
    let foreign_origin = text(ORIGIN.as_str()).is_some_and(|origin| {
        origin.parse::<Uri>().ok().and_then(|uri| Some(uri.authority()?.to_string())).as_deref() != host
    });
    if foreign_origin || text("sec-fetch-site") == Some("cross-site") {
        return Err(Problem::forbidden("a web page of another site sent this request, and it is not served"));
    }
    Ok(())
}

/// Whether a `Host` header names this machine: `localhost`, a name under it, or an IP address of the loopback or of
/// whoever forwards a port to it. Other names may have been made to point here by anybody.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name.parse::<std::net::IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests;
