//! Writes a merged config without its secrets.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use url::Url;

use super::{Backend, Config, Gateway, Heal, Repository, Scrub};

/// What stands for a secret.
pub const HIDDEN: &str = "(hidden)";

/// The parts of a config in the order and under the names of the file.
#[derive(Serialize)]
pub struct Shown<'a> {
    repository: Repository,
    gateway: &'a Gateway,
    heal: &'a Heal,
    scrub: &'a Scrub,
    backend: &'a [Backend],
}

impl<'a> Shown<'a> {
    /// What may be shown of `config`.
    pub fn of(config: &'a Config) -> Self {
        let mut repository = config.repository.clone();
        repository.catalog = without_secret(&repository.catalog);
        Self {
            repository,
            gateway: &config.gateway,
            heal: &config.heal,
            scrub: &config.scrub,
            backend: &config.backends,
        }
    }
}

/// An address without password and query, either of which may be a secret.
pub fn without_secret(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return address.to_owned() };
    if url.password().is_some() && url.set_password(Some("hidden")).is_err() {
        return HIDDEN.to_owned();
    }
    if url.query().is_some() {
        url.set_query(Some("hidden"));
    }
    // An address without a secret stays as it was written.
    if url.password().is_none() && url.query().is_none() { address.to_owned() } else { url.to_string() }
}

/// Serializes an address without its secret.
pub fn url<S: Serializer>(address: &str, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&without_secret(address))
}

/// Serializes options, hiding the values of those that are secrets.
pub fn options<S: Serializer>(options: &BTreeMap<String, String>, s: S) -> Result<S::Ok, S::Error> {
    let hidden =
        |(key, value): (&String, &String)| (key.clone(), if is_secret(key) { HIDDEN.into() } else { value.clone() });
    options.iter().map(hidden).collect::<BTreeMap<String, String>>().serialize(s)
}

/// Whether an option's value must not be shown. Rather one too many: only what is known to be harmless about keys is.
fn is_secret(option: &str) -> bool {
    const HARMLESS: [&str; 2] = ["conditional_put", "checksum_algorithm"];
    const SIGNS: [&str; 8] = ["key", "secret", "token", "password", "sas", "credential", "signature", "authorization"];
    !HARMLESS.contains(&option) && SIGNS.iter().any(|sign| option.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_addresses_and_options_are_hidden() {
        assert_eq!(without_secret("postgres://rsb:pass@db/rsb"), "postgres://rsb:hidden@db/rsb");
        assert_eq!(without_secret("az://c/p?sig=abc"), "az://c/p?hidden");
        assert_eq!(without_secret("s3://bucket"), "s3://bucket");
        for option in ["secret_access_key", "aws_secret_access_key", "account_key", "sas_token", "service_account_key"]
        {
            assert!(is_secret(option), "{option}");
        }
        assert!(!is_secret("endpoint") && !is_secret("region") && !is_secret("allow_http"));
    }
}
