//! `--server URL`: where a gateway is, and the key for it. The key is never shown.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::{Host, Url};

use crate::failure::Failure;

/// What may stand in a path or a query as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same with the slashes of a key.
const PLAIN_KEY: &AsciiSet = &PLAIN.remove(b'/');

/// A bucket's name, or a query's value, as it stands in an address.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A key as it stands in a path.
pub fn encoded_key(key: &str) -> String {
    utf8_percent_encode(key, PLAIN_KEY).to_string()
}

/// Where a gateway is.
#[derive(Clone)]
pub struct Address {
    /// Without user info and the last slash.
    base: String,
    this_machine: bool,
    key: Option<(String, String)>,
}

impl Address {
    /// Reads `http[s]://[ID:SECRET@]HOST[:PORT][/PATH]`.
    pub fn parse(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            // What stands before an @ may be a secret.
            let shown = text.rsplit_once('@').map_or(text.to_owned(), |(_, rest)| format!("…@{rest}"));
            Failure::usage(format!(
                "--server {shown:?} is not a gateway's address: {why}; write one such as http://127.0.0.1:44987"
            ))
        };
        let mut url = Url::parse(text).map_err(|e| wrong(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it begins neither with http:// nor with https://"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("it has a query or a fragment"));
        }
        let key = key_of(&url, environment).map_err(wrong)?;
        let this_machine = match url.host() {
            Some(Host::Ipv4(ip)) => ip.is_loopback(),
            Some(Host::Ipv6(ip)) => ip.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => false,
        };
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(wrong("it names no host"));
        }
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned(), this_machine, key })
    }

    /// The whole address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// For sentences: without the key.
    pub fn shown(&self) -> &str {
        &self.base
    }

    /// The key's id and secret.
    pub fn key(&self) -> Option<(&str, &str)> {
        self.key.as_ref().map(|(id, secret)| (id.as_str(), secret.as_str()))
    }

    /// Whether it is a loopback address.
    pub fn is_this_machine(&self) -> bool {
        self.this_machine
    }
}

/// The key in the address, else the one in the environment.
fn key_of(url: &Url, environment: impl Fn(&str) -> Option<String>) -> Result<Option<(String, String)>, &'static str> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).ok();
    if !url.username().is_empty() || url.password().is_some() {
        let id = decoded(url.username()).filter(|id| !id.is_empty());
        return match (id, url.password().and_then(decoded)) {
            (Some(id), Some(secret)) => Ok(Some((id, secret))),
            _ => Err("a key in it is written ID:SECRET@, each percent-encoded"),
        };
    }
    let given = |name| environment(name).filter(|value| !value.is_empty());
    match (given("RSB_KEY_ID"), given("RSB_KEY_SECRET")) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err("only one of RSB_KEY_ID and RSB_KEY_SECRET is set, and a key needs both"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn an_address_is_read_with_its_key_and_shown_without() {
        let address = Address::parse("https://me:p%40ss@host:1/base/", nothing).unwrap();
        assert_eq!(address.key(), Some(("me", "p@ss")));
        assert_eq!(address.shown(), "https://host:1/base");
        assert_eq!(address.url("/v1/b"), "https://host:1/base/v1/b");
        let set = |name: &str| Some(format!("{name}-value"));
        let address = Address::parse("http://localhost:1", set).unwrap();
        assert_eq!(address.key(), Some(("RSB_KEY_ID-value", "RSB_KEY_SECRET-value")));
        assert!(address.is_this_machine());
    }

    #[test]
    fn what_is_no_address_is_wrong_usage_and_no_secret_is_said() {
        for bad in ["nonsense", "ftp://127.0.0.1", "http://", "http://h?x=1", "http://only-id@h", "ftp://a:hush@h"] {
            let failure = Address::parse(bad, nothing).err().unwrap();
            assert_eq!(failure.code(), crate::failure::USAGE, "{bad}");
            assert!(failure.to_string().contains("--server") && !failure.to_string().contains("hush"), "{failure}");
        }
        let half = |name: &str| (name == "RSB_KEY_ID").then(|| "x".to_owned());
        assert!(Address::parse("http://h", half).is_err());
    }

    #[test]
    fn names_are_encoded_byte_by_byte() {
        assert_eq!(encoded_key("a b/ü?#%"), "a%20b/%C3%BC%3F%23%25");
        assert_eq!(encoded("a/b"), "a%2Fb");
    }
}
