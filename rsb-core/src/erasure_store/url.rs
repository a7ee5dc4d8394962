//! `rsb://BUCKET/PATH`: how crates that open stores by their URLs find the buckets of a repository.

use std::sync::Arc;

use object_store::path::Path;
use object_store::registry::ObjectStoreRegistry;
use object_store::{ObjectStore, Result};
use url::Url;

use super::ErasureStore;
use super::errors::STORE;
use crate::engine::Engine;
use crate::error::Error;

/// The scheme of the URLs.
pub const SCHEME: &str = "rsb";

/// What an `rsb://BUCKET/PATH` means in an open repository: the store of the bucket, and the path in it. A counterpart of
/// [`object_store::parse_url_opts`], which cannot know an open repository. Another URL, or one whose bucket is no bucket's name,
/// is `Generic`; a bucket that does not exist is found out when the store is used.
pub fn parse_url(engine: &Engine, url: &Url) -> Result<(Box<dyn ObjectStore>, Path)> {
    let bad = |error: Error| object_store::Error::Generic { store: STORE, source: Box::new(error) };
    let refused =
        |why: &str| bad(Error::invalid(format!("{url} is no URL of an object: {why}; write rsb://BUCKET/PATH")));
    if url.scheme() != SCHEME {
        return Err(refused("its scheme is another one"));
    }
    if url.port().is_some() || !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(refused("it has a port, a user or a query"));
    }
    let bucket = url.host_str().ok_or_else(|| refused("it names no bucket"))?;
    let store = ErasureStore::new(engine.clone(), bucket).map_err(bad)?;
    Ok((Box::new(store), Path::from_url_path(url.path())?))
}

impl ErasureStore {
    /// `rsb://BUCKET/`, where it is registered.
    pub fn url(&self) -> Result<Url> {
        let source = |error| Error::internal(format!("bucket {} has no URL", self.bucket)).source(error);
        let parsed = Url::parse(&format!("{SCHEME}://{}/", self.bucket)).map_err(source);
        parsed.map_err(|error| object_store::Error::Generic { store: STORE, source: Box::new(error) })
    }

    /// Registers the store under its [`url`](Self::url): whoever resolves `rsb://BUCKET/PATH` with this registry comes here.
    /// Gives the store that was registered there before.
    pub fn register(&self, registry: &dyn ObjectStoreRegistry) -> Result<Option<Arc<dyn ObjectStore>>> {
        Ok(registry.register(self.url()?, Arc::new(self.clone())))
    }
}
