//! Buckets: make, change, delete, look.

use super::Engine;
use crate::api::ExpireUploads;
use crate::catalog::{BucketRule, Precondition, Reserved};
use crate::error::{Error, Result};
use crate::format::manifest::{BucketRecord, BucketSettings, Record, Versions};
use crate::{names, object_lock};

impl Engine {
    /// A bucket; `NotFound` where there is none.
    pub async fn bucket(&self, name: &str) -> Result<BucketRecord> {
        names::check_bucket(name)?;
        let found = self.core.catalog.bucket(name).await?;
        self.core.check_catalog_whole()?;
        found.ok_or_else(|| Error::not_found(format!("bucket {name:?} does not exist")).object(name))
    }

    /// All buckets, by name.
    pub async fn buckets(&self) -> Result<Vec<BucketRecord>> {
        let found = self.core.catalog.buckets().await?;
        self.core.check_catalog_whole()?;
        Ok(found)
    }

    /// Makes a bucket.
    pub async fn create_bucket(&self, name: &str, settings: BucketSettings) -> Result<BucketRecord> {
        names::check_bucket(name)?;
        check_settings(name, &settings)?;
        object_lock::check_settings(name, &BucketSettings::default(), &settings)?;
        let created_ms = self.core.env.now_ms();
        self.write_bucket(name, BucketRule::Absent, created_ms, settings, false).await
    }

    /// Gives a bucket other settings; see [`Engine::update_bucket`].
    pub async fn set_bucket(&self, name: &str, settings: BucketSettings) -> Result<BucketRecord> {
        self.update_bucket(name, |now| {
            *now = settings;
            Ok(())
        })
        .await
    }

    /// Changes a bucket's settings, starting from what they are now: of changes made at once none is lost. Nothing is
    /// written where nothing changes. Keep-all cannot go back to keep-last (`Invalid`), only to suspended.
    pub async fn update_bucket(
        &self,
        name: &str,
        change: impl FnOnce(&mut BucketSettings) -> Result<()>,
    ) -> Result<BucketRecord> {
        let _revising = self.core.revising(name, "").await;
        let old = self.bucket(name).await?;
        let mut settings = old.settings.clone();
        change(&mut settings)?;
        if old.settings == settings {
            return Ok(old);
        }
        check_settings(name, &settings)?;
        check_change(name, &old.settings, &settings)?;
        object_lock::check_settings(name, &old.settings, &settings)?;
        self.write_bucket(name, BucketRule::Exists, old.created_ms, settings, false).await
    }

    /// Sets, or with `None` removes, one of a bucket's further settings; see [`Engine::update_bucket`]. `Invalid` where it
    /// is too long (see [`names::MAX_SETTING_LEN`]).
    pub async fn update_bucket_extra(&self, name: &str, key: &str, value: Option<String>) -> Result<BucketRecord> {
        self.update_bucket(name, |settings| {
            match value {
                Some(value) => settings.extra.insert(key.to_owned(), value),
                None => settings.extra.remove(key),
            };
            Ok(())
        })
        .await
    }

    /// Deletes an empty bucket.
    pub async fn delete_bucket(&self, name: &str) -> Result<()> {
        let _revising = self.core.revising(name, "").await;
        let old = self.bucket(name).await?;
        self.write_bucket(name, BucketRule::Empty, old.created_ms, old.settings, true).await?;
        let uploads = ExpireUploads { bucket: Some(name.to_owned()), prefix: String::new(), before_ms: u64::MAX };
        if let Err(error) = self.expire_uploads(&uploads).await {
            tracing::warn!(bucket = name, %error, "the uploads to a deleted bucket could not be aborted; they expire");
        }
        Ok(())
    }

    async fn write_bucket(
        &self,
        name: &str,
        bucket_rule: BucketRule,
        created_ms: u64,
        settings: BucketSettings,
        deleted: bool,
    ) -> Result<BucketRecord> {
        let name = name.to_owned();
        let bucket = name.clone();
        let make = move |reserved: &Reserved| {
            Record::Bucket(BucketRecord { name, version: reserved.version, revision: 0, created_ms, deleted, settings })
        };
        match self
            .commit_plain(bucket, String::new(), Precondition::None, bucket_rule, None, Box::new(make))
            .await?
            .record
        {
            Record::Bucket(record) => Ok(record),
            _ => Err(Error::internal("a bucket's record came back as another kind")),
        }
    }
}

/// Settings are read with every request to the bucket, so they must stay small.
fn check_settings(name: &str, settings: &BucketSettings) -> Result<()> {
    let max = names::MAX_SETTING_LEN;
    let long = settings.extra.iter().find(|(key, value)| key.len() + value.len() > max);
    match long {
        Some((key, value)) => Err(Error::invalid(format!(
            "the setting {:?} of bucket {name:?} has {} bytes, and {max} are allowed",
            key.chars().take(80).collect::<String>(),
            value.len()
        ))
        .object(name)),
        None => Ok(()),
    }
}

fn check_change(name: &str, old: &BucketSettings, new: &BucketSettings) -> Result<()> {
    if old.versions != Versions::KeepLast && new.versions == Versions::KeepLast {
        return Err(Error::invalid(format!("bucket {name:?} keeps versions, which cannot be undone, only suspended"))
            .object(name));
    }
    Ok(())
}
