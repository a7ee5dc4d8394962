//! Locks of versions: retention and legal hold. See [`crate::object_lock`].

use super::Engine;
use crate::api::ObjectInfo;
use crate::error::Result;
use crate::format::manifest::Manifest;
use crate::id::VersionId;
use crate::object_lock::{self, BucketLock, ObjectLock, Retention};
use crate::write::revise::revise;

impl Engine {
    /// Gives a version (the newest when `version` is absent) another retention, or none. `Locked` where its own forbids
    /// that: it may be made longer, and governance may be bypassed (the caller has seen to the right). `Invalid` where the
    /// bucket has no object lock or the time is past.
    pub async fn set_retention(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        retention: Option<Retention>,
        bypass_governance: bool,
    ) -> Result<ObjectInfo> {
        let now_ms = self.core.env.now_ms();
        self.relock(bucket, key, version, |manifest, lock| {
            lock.check_retention(manifest, retention, now_ms, bypass_governance)?;
            Ok(ObjectLock { retention, ..lock })
        })
        .await
    }

    /// Puts a version (the newest when `version` is absent) under a legal hold, or ends it.
    pub async fn set_legal_hold(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        legal_hold: bool,
    ) -> Result<ObjectInfo> {
        self.relock(bucket, key, version, |_, lock| Ok(ObjectLock { legal_hold, ..lock })).await
    }

    async fn relock(
        &self,
        bucket: &str,
        key: &str,
        version: Option<VersionId>,
        change: impl FnOnce(&Manifest, ObjectLock) -> Result<ObjectLock>,
    ) -> Result<ObjectInfo> {
        if BucketLock::of(&self.bucket(bucket).await?.settings)?.is_none() {
            return Err(object_lock::no_lock(bucket));
        }
        let change = |manifest: &mut Manifest| {
            let lock = change(manifest, ObjectLock::of(manifest))?;
            lock.write(&mut manifest.extra);
            Ok(())
        };
        revise(&self.core, &self.committer, (bucket, key), version, change).await
    }
}
