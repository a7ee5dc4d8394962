//! Deletions.

use crate::api::*;
use crate::catalog::{BucketRule, Precondition, Reserved};
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::{Body, Etag, Manifest, Record, Tombstone, Versions};
use crate::id::VersionId;
use crate::names;
use crate::object_lock::{BucketLock, ObjectLock};

use super::Engine;

impl Engine {
    /// Deletes an object, or one version of it. In a keep-all bucket a delete without a version writes a delete marker.
    /// `Locked` where the version is.
    pub async fn delete(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        precondition: Precondition,
    ) -> Result<Deleted> {
        self.delete_bypassing(bucket, key, version, precondition, false).await
    }

    /// The same, and with `bypass_governance` a retention in governance mode does not count: the caller has seen to the
    /// right to do that.
    pub async fn delete_bypassing(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        precondition: Precondition,
        bypass_governance: bool,
    ) -> Result<Deleted> {
        self.core.check_writable()?;
        names::check_key(key)?;
        let settings = self.bucket(bucket).await?.settings;
        // A lock that is being set is waited for, so that it is not set on what is gone.
        let has_lock = BucketLock::of(&settings)?.is_some();
        let _revising = if has_lock { Some(self.core.revising(bucket, key).await) } else { None };
        let entry = self.core.catalog.entry(bucket, key, version).await?;
        self.core.check_catalog_whole()?;
        if !precondition.holds(entry.as_ref().map(|e| &e.manifest)) {
            let name = format!("{bucket}/{key}");
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the condition on {name} does not hold; nothing was deleted"),
            )
            .object(name));
        }
        if version.is_none() && settings.versions != Versions::KeepLast {
            return self.write_delete_marker(bucket, key, precondition, settings.versions).await;
        }
        let Some(entry) = entry else { return Ok(Deleted::default()) };
        ObjectLock::of(&entry.manifest).check_delete(&entry.manifest, self.core.env.now_ms(), bypass_governance)?;
        let target = version.map(|_| (entry.manifest.version, entry.manifest.null_version));
        let (name, of) = (bucket.to_owned(), key.to_owned());
        let make = move |reserved: &Reserved| {
            Record::Tombstone(Tombstone {
                bucket: name,
                key: of,
                version: reserved.version,
                revision: 0,
                target: target.map(|(id, _)| id),
                null_version: target.is_some_and(|(_, null)| null),
            })
        };
        let (b, k) = (bucket.to_owned(), key.to_owned());
        let scheme = entry.manifest.scheme();
        let done = self.commit_plain(b, k, precondition, BucketRule::Exists, scheme, Box::new(make)).await?;
        Ok(Deleted { existed: true, was_marker: entry.manifest.delete_marker, delete_marker: None, short: done.short })
    }

    async fn write_delete_marker(
        &self,
        bucket: &str,
        key: &str,
        precondition: Precondition,
        versions: Versions,
    ) -> Result<Deleted> {
        let existed = self.core.catalog.entry(bucket, key, None).await?.is_some_and(|e| !e.manifest.delete_marker);
        let (name, of, modified_ms) = (bucket.to_owned(), key.to_owned(), self.core.env.now_ms());
        let make = move |reserved: &Reserved| {
            Record::Version(Manifest {
                bucket: name,
                key: of,
                version: reserved.version,
                revision: 0,
                modified_ms,
                size: 0,
                etag: Etag::Fast([0; 16]),
                attributes: Default::default(),
                metadata: Default::default(),
                tags: Default::default(),
                delete_marker: true,
                null_version: versions == Versions::Suspended,
                body: Body::None,
                run_digests: None,
                extra: Default::default(),
                parts: None,
                checksum: None,
            })
        };
        let (b, k) = (bucket.to_owned(), key.to_owned());
        let done = self.commit_plain(b, k, precondition, BucketRule::Exists, None, Box::new(make)).await?;
        Ok(Deleted { existed, was_marker: false, delete_marker: Some(done.record.version()), short: done.short })
    }
}
