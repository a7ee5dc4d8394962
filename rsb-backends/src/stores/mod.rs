//! From a backend's lines in the config file to an object store: folders, memory, S3, Azure Blob, Google Cloud Storage
//! and web servers.
//!
//! [`build`] opens what is there and makes nothing; [`ensure_container`] makes a missing folder, bucket or container;
//! [`probe`] says in a sentence why a place cannot be used. A store from `build` never retries by itself: wrap it with
//! [`crate::wrappers::wrap`].

mod aws_credentials;
mod azure;
mod client;
mod container;
mod credentials;
mod error;
mod folder;
mod gcs;
mod location;
mod options;
mod probe;
mod read_only;
mod s3;
mod web;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use serde::Deserialize;

pub use self::client::ServerStatus;
pub use self::container::ensure_container;
pub use self::credentials::Credentials;
pub use self::error::{StoreError, StoreErrorKind};
pub use self::options::{deserialize_options, is_secret_option};
pub use self::probe::probe;

use self::client::Typed;
use self::credentials::environment;
use self::error::root_cause;
use self::folder::Folder;
use self::location::Location;
use self::read_only::ReadOnly;

/// What a config says of one backend's store.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreSpec {
    /// The backend's name, for sentences.
    pub name: String,
    /// Its address: `file:///path` or a relative path, `memory://name`, `s3://bucket/prefix`, `az://container/prefix`,
    /// `gs://bucket/prefix`, `https://host/path`.
    pub url: String,
    /// object_store's own options for its provider, such as `endpoint` and `region`. Values are kept as text.
    #[serde(default, deserialize_with = "deserialize_options")]
    pub options: BTreeMap<String, String>,
    /// Where its credentials come from.
    #[serde(default)]
    pub credentials: Credentials,
}

impl fmt::Debug for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The url is left out: one with a password in it is refused later, but may be printed before.
        f.debug_struct("StoreSpec")
            .field("name", &self.name)
            .field("options", &options::Shown(&self.options))
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

/// Opens a backend's store. Makes nothing, and asks no server but AWS for a bucket's region when nothing else says it:
/// a backend that is down opens all the same, and its operations fail until it is back.
///
/// # Errors
/// [`StoreErrorKind::Config`] when the url, an option or the credentials cannot be used.
pub async fn build(spec: &StoreSpec) -> Result<Arc<dyn ObjectStore>, StoreError> {
    open(spec, Typed::Temporary).await
}

async fn open(spec: &StoreSpec, typed: Typed) -> Result<Arc<dyn ObjectStore>, StoreError> {
    Ok(match location::parse(&spec.name, &spec.url)? {
        Location::File(folder) => {
            spec.takes_neither_options_nor_credentials("a folder")?;
            Arc::new(Folder::new(&spec.name, folder))
        }
        Location::Memory(name) => {
            spec.takes_neither_options_nor_credentials("a memory store")?;
            memory(name)
        }
        Location::S3 { bucket, prefix } => prefixed(s3::open(spec, &bucket, typed, &environment).await?.store, prefix),
        Location::Azure { container, prefix } => {
            prefixed(azure::open(spec, &container, typed, &environment)?.store, prefix)
        }
        Location::Gcs { bucket, prefix } => prefixed(gcs::open(spec, &bucket, typed, &environment)?, prefix),
        Location::Http(url) => {
            let base = Path::from_url_path(url.path()).unwrap_or_default();
            Arc::new(ReadOnly::new(&spec.name, web::open(spec, &url, typed, &environment)?, base))
        }
    })
}

/// The process's store of that name: whoever opens the name again sees the same objects.
fn memory(name: String) -> Arc<dyn ObjectStore> {
    static STORES: LazyLock<Mutex<HashMap<String, Arc<InMemory>>>> = LazyLock::new(Mutex::default);
    // A panicking holder leaves at worst one entry more or less.
    STORES.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default().clone()
}

fn prefixed<S: ObjectStore>(store: S, prefix: Path) -> Arc<dyn ObjectStore> {
    if prefix.as_ref().is_empty() { Arc::new(store) } else { Arc::new(PrefixStore::new(store, prefix)) }
}

impl StoreSpec {
    fn takes_neither_options_nor_credentials(&self, what: &str) -> Result<(), StoreError> {
        if let Some(key) = self.options.keys().next() {
            return Err(StoreError::config(&self.name, format!("{what} takes no options; take {key:?} out")));
        }
        if self.credentials != Credentials::Default {
            return Err(StoreError::config(&self.name, format!("{what} takes no credentials; take them out")));
        }
        Ok(())
    }

    fn no_profiles(&self) -> StoreError {
        StoreError::config(
            &self.name,
            "profiles are for s3 only; write credentials = { env = \"PREFIX\" } or { file = \"…\" }",
        )
    }

    /// object_store found something in the options that it cannot work with.
    fn cannot_open(&self, error: object_store::Error) -> StoreError {
        StoreError::config(&self.name, format!("the options cannot be used: {}", root_cause(&error))).because(error)
    }
}

/// Refuses an endpoint that is no http url, and plain HTTP that was not asked for.
fn check_endpoint(spec: &StoreSpec, endpoint: Option<&str>, allow_http: bool) -> Result<(), StoreError> {
    match endpoint {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(StoreError::config(&spec.name, format!("the endpoint {url:?} must begin with http:// or https://")))
        }
        Some(url) if url.starts_with("http://") && !allow_http => Err(StoreError::config(
            &spec.name,
            format!(
                "the endpoint {url} is plain HTTP, which anybody on the way can read; write allow_http = true in options if that is meant, or use https://"
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether an option's text means yes, by object_store's own words.
fn is_yes(text: &str) -> bool {
    matches!(text.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    fn spec(text: &str) -> StoreSpec {
        toml::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn two_openings_of_one_memory_name_see_the_same_objects() {
        let one = build(&spec("name = 'a'\nurl = 'memory://shared-by-two'")).await.unwrap();
        let two = build(&spec("name = 'b'\nurl = 'memory://shared-by-two'")).await.unwrap();
        one.put(&Path::from("x"), "1".into()).await.unwrap();
        assert_eq!(two.get(&Path::from("x")).await.unwrap().bytes().await.unwrap(), "1");
        let other = build(&spec("name = 'other-memory'\nurl = 'memory://'")).await.unwrap();
        assert!(other.head(&Path::from("x")).await.is_err());
    }

    #[tokio::test]
    async fn folders_take_no_options() {
        let error = build(&spec("name = 'a'\nurl = '/x'\noptions = { region = 'x' }")).await.unwrap_err();
        assert!(error.to_string().contains("a folder takes no options; take \"region\" out"), "{error}");
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let spec = spec(
            "name = 'a'\nurl = 's3://u:hunter2@b'\noptions = { secret_access_key = 'hunter2', endpoint = 'https://e' }",
        );
        let shown = format!("{spec:?}");
        assert!(!shown.contains("hunter2") && shown.contains("https://e"), "{shown}");
    }

    #[test]
    fn a_mistyped_field_is_an_error() {
        assert!(toml::from_str::<StoreSpec>("name = 'a'\nurl = '/x'\noption = {}").is_err());
    }
}
