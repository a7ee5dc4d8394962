//! Listings: scans of the catalog's index, in bytewise order of paths.

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListResult, PaginatedListStore};
use object_store::path::{DELIMITER, Path};
use object_store::{ListResult, ObjectMeta, Result};

use super::{ErasureStore, errors, facts};
use crate::api::Listing;
use crate::catalog::{ListAfter, ListQuery};
use crate::error::Error;

/// Objects looked up in one go.
const PAGE: usize = 1000;

/// What keys begin with that lie below a prefix; a prefix is whole segments of a path.
fn below(prefix: Option<&Path>) -> String {
    let prefix = prefix.map(Path::as_ref).filter(|prefix| !prefix.is_empty());
    prefix.map(|prefix| format!("{prefix}{DELIMITER}")).unwrap_or_default()
}

/// A page in object_store's words. What no path names is left out.
fn result(page: Listing) -> ListResult {
    let object = |info: crate::ObjectInfo| Some(facts::meta(facts::path_of(&info.manifest.key)?, &info));
    ListResult {
        common_prefixes: page
            .prefixes
            .iter()
            .filter_map(|p| facts::path_of(p.strip_suffix(DELIMITER).unwrap_or(p)))
            .collect(),
        objects: page.objects.into_iter().filter_map(|listed| object(listed.info)).collect(),
        extensions: Default::default(),
    }
}

impl ErasureStore {
    fn query(&self, prefix: String) -> ListQuery {
        ListQuery { bucket: self.bucket.clone(), prefix, limit: PAGE, ..ListQuery::default() }
    }

    /// All objects below a prefix, only those after the offset: one scan that begins there.
    pub(super) fn objects(
        &self,
        prefix: Option<&Path>,
        offset: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let mut query = self.query(below(prefix));
        query.after = offset.map(|offset| ListAfter::Key(offset.as_ref().to_owned()));
        let (store, place) = (self.clone(), prefix.cloned().unwrap_or_default());
        let next = move |query: Option<ListQuery>| {
            let (store, place) = (store.clone(), place.clone());
            async move {
                let Some(query) = query else { return Ok::<_, object_store::Error>(None) };
                let page = store.engine.list(&query).await.map_err(|error| errors::of(&place, error))?;
                let following = page.next.clone().map(|after| ListQuery { after: Some(after), ..query });
                let objects = result(page).objects;
                Ok(Some((stream::iter(objects.into_iter().map(Ok)), following)))
            }
        };
        stream::try_unfold(Some(query), next).try_flatten().boxed()
    }

    /// One level: the objects and the folders just below a prefix.
    pub(super) async fn level(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut query = self.query(below(prefix));
        query.delimiter = Some(DELIMITER.to_owned());
        let mut all = ListResult { common_prefixes: Vec::new(), objects: Vec::new(), extensions: Default::default() };
        loop {
            let page = self.engine.list(&query).await;
            let page = page.map_err(|error| errors::of(prefix.unwrap_or(&Path::default()), error))?;
            query.after = page.next.clone();
            let page = result(page);
            all.common_prefixes.extend(page.common_prefixes);
            all.objects.extend(page.objects);
            if query.after.is_none() {
                return Ok(all);
            }
        }
    }
}

/// Page by page, for callers that keep their place. A prefix need not be whole segments here, and any text can be the delimiter.
#[async_trait]
impl PaginatedListStore for ErasureStore {
    async fn list_paginated(&self, prefix: Option<&str>, options: PaginatedListOptions) -> Result<PaginatedListResult> {
        let place = Path::from(prefix.unwrap_or_default());
        let mut query = self.query(prefix.unwrap_or_default().to_owned());
        query.limit = options.max_keys.unwrap_or(PAGE).clamp(1, PAGE);
        query.delimiter = options.delimiter.map(|delimiter| delimiter.into_owned());
        query.after = match options.page_token {
            None => options.offset.map(ListAfter::Key),
            Some(token) => {
                let unknown = |error| Error::invalid(format!("{token:?} is not a place in a listing")).source(error);
                Some(serde_json::from_str(&token).map_err(unknown).map_err(|error| errors::of(&place, error))?)
            }
        };
        let page = self.engine.list(&query).await.map_err(|error| errors::of(&place, error))?;
        let page_token = match &page.next {
            None => None,
            Some(after) => {
                let unwritten = |error| Error::internal("a place in a listing cannot be written down").source(error);
                Some(serde_json::to_string(after).map_err(unwritten).map_err(|error| errors::of(&place, error))?)
            }
        };
        Ok(PaginatedListResult { result: result(page), page_token })
    }
}
