//! `key`: the key pairs that a gateway lets in.

use rsb_core::Env;
use rsb_gateway::Right;
use serde_json::json;

use crate::assemble;
use crate::cli::{Cli, KeyVerb, RightArg};
use crate::config::load::Flag;
use crate::config::{self, Config};
use crate::failure::{DONE, Failure};
use crate::key_store::KeyStore;
use crate::out::Out;

pub async fn run(cli: &Cli, out: &Out, verb: &KeyVerb) -> Result<u8, Failure> {
    if cli.server.is_some() {
        return Err(Failure::usage(
            "key pairs are kept beside the config of the gateway; run this there, without --server",
        ));
    }
    // How the gateway listens is no matter here, and may be refused for want of the very key that is to be made.
    let aside = [("gateway.listen", "127.0.0.1:1"), ("gateway.s3_listen", "127.0.0.1:2"), ("gateway.auth", "auto")];
    let aside = aside.map(|(key, value)| Flag { flag: "key", key, value: value.into() });
    let config = assemble::load(cli, None, aside.into())?;
    let store = KeyStore::of(&config);
    if let Some(folder) = store.file().parent().filter(|folder| !folder.exists()) {
        return Err(Failure::usage(format!(
            "there is no folder {} to keep key pairs in; `rsb serve` or `rsb config init` makes it",
            folder.display()
        )));
    }
    match verb {
        KeyVerb::Add { id, rights, buckets } => add(out, &config, &store, id.as_deref(), rights, buckets),
        KeyVerb::Ls => ls(out, &config, &store),
        KeyVerb::Rm { id } => {
            if config.gateway.keys.iter().any(|key| key.id == *id) {
                let what = format!("key {id:?} is in the config; take it out there, and start the gateway again");
                return Err(Failure::usage(what));
            }
            store.remove(id)?;
            out.say_done(&json!({ "id": id, "removed": true }), || format!("{id} is let in no more"))?;
            Ok(DONE)
        }
    }
}

fn add(
    out: &Out,
    config: &Config,
    store: &KeyStore,
    id: Option<&str>,
    rights: &[RightArg],
    buckets: &[String],
) -> Result<u8, Failure> {
    if let Some(id) = id {
        check_id(config, id)?;
    }
    let mut rights: Vec<Right> = rights.iter().map(|right| right.right()).collect();
    rights.sort_unstable();
    rights.dedup();
    let (key, secret) = store.add(&Env::system(), id.map(str::to_owned), rights, buckets.to_vec())?;
    let value = json!({ "id": key.id, "secret": secret, "rights": key.rights, "buckets": key.buckets });
    out.say(&value, || {
        format!(
            "id      {}\nsecret  {secret}\nThe secret is told this once and kept encrypted in {}.",
            key.id,
            store.file().display()
        )
    })?;
    Ok(DONE)
}

/// An id as a signature, HTTP Basic and the config can carry it.
fn check_id(config: &Config, id: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '@');
    if id.is_empty() || id.len() > 128 || !id.chars().all(plain) {
        return Err(Failure::usage(format!(
            "{id:?} cannot be a key's id; it has 1 to 128 of the letters, digits and - _ . + @"
        )));
    }
    if config.gateway.keys.iter().any(|key| key.id == id) {
        return Err(Failure::usage(format!("there is a key {id:?} in the config already")));
    }
    Ok(())
}

fn ls(out: &Out, config: &Config, store: &KeyStore) -> Result<u8, Failure> {
    out.head(&format!("{:<24} {:<26} {:<8} BUCKETS", "ID", "RIGHTS", "KEPT IN"))?;
    let say = |id: &str, rights: Vec<&str>, buckets: &[String], source: &str, created_ms: Option<u64>| {
        let mut value = json!({ "id": id, "rights": rights, "buckets": buckets, "source": source });
        if let Some(created_ms) = created_ms {
            value["created_ms"] = created_ms.into();
        }
        out.say(&value, || format!("{id:<24} {:<26} {source:<8} {}", rights.join(","), buckets.join(",")))
    };
    for key in &config.gateway.keys {
        let rights = key.rights.iter().map(|right| match right {
            config::Right::Read => "read",
            config::Right::Write => "write",
            config::Right::Delete => "delete",
            config::Right::Admin => "admin",
        });
        say(&key.id, rights.collect(), &key.buckets, "config", None)?;
    }
    for key in store.entries()? {
        let rights = key.rights.iter().map(|right| right.as_str()).collect();
        say(&key.id, rights, &key.buckets, "store", Some(key.created_ms))?;
    }
    Ok(DONE)
}
