//! Versions as the catalog has them, delete markers included.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::api::ObjectInfo;
use crate::catalog::{ListAfter, ListItem, ListQuery};
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::id::VersionId;
use crate::names;
use crate::write::revise::revise;

/// Versions of a key looked at in one go while its `null` version is searched.
const PAGE: usize = 100;

impl Engine {
    /// Gives a version (the newest when `version` is absent) other tags. `NotFound` where there is none, or it is a delete
    /// marker.
    pub async fn set_tags(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        tags: BTreeMap<String, String>,
    ) -> Result<ObjectInfo> {
        let change = |manifest: &mut Manifest| {
            manifest.tags = tags;
            names::check_metadata(bucket, key, [&manifest.attributes, &manifest.metadata, &manifest.tags])
        };
        revise(&self.core, &self.committer, (bucket, key), version, change).await
    }

    /// A version of a key, or its newest when `version` is absent: also a delete marker, which [`Engine::head`] does not
    /// find. `NotFound` where the bucket does not exist, `None` where only the version does not.
    pub async fn version(&self, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Option<ObjectInfo>> {
        names::check_key(key)?;
        names::check_bucket(bucket)?;
        let entry = self.core.catalog.entry(bucket, key, version).await?;
        if entry.is_none() {
            self.bucket(bucket).await?;
        }
        Ok(entry.map(|entry| ObjectInfo { manifest: Arc::new(entry.manifest), short: 0 }))
    }

    /// The id of a key's `null` version: the one that was written, or marked deleted, while versioning was off or
    /// suspended. A key has at most one. It is searched from the newest version on.
    pub async fn null_version(&self, bucket: &str, key: &str) -> Result<Option<VersionId>> {
        let Some(newest) = self.version(bucket, key, None).await? else { return Ok(None) };
        if newest.manifest.null_version {
            return Ok(Some(newest.version()));
        }
        let mut query = ListQuery {
            bucket: bucket.to_owned(),
            prefix: key.to_owned(),
            after: Some(ListAfter::Version(key.to_owned(), newest.version())),
            limit: PAGE,
            versions: true,
            ..ListQuery::default()
        };
        loop {
            let page = self.core.catalog.list(&query).await?;
            for item in page.items {
                let ListItem::Entry { entry, .. } = item else { continue };
                if entry.manifest.key != key {
                    return Ok(None);
                }
                if entry.manifest.null_version {
                    return Ok(Some(entry.manifest.version));
                }
            }
            if page.next.is_none() {
                return Ok(None);
            }
            query.after = page.next;
        }
    }
}
