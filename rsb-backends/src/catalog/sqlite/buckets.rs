//! The buckets that were looked up, kept in memory: every request asks for its bucket, and buckets hardly ever change. Only
//! for the one process that writes the catalog, which sees every change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rsb_core::format::manifest::BucketRecord;

/// Buckets kept at most; beyond, all are forgotten.
const MOST: usize = 4096;

/// Buckets by name. What is looked up while a change is under way is not kept.
#[derive(Debug, Default)]
pub(super) struct Buckets(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    buckets: HashMap<String, BucketRecord>,
    /// Counts the changes.
    changes: u64,
}

impl Buckets {
    fn lock(&self) -> MutexGuard<'_, Known> {
        // Valid at every step.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bucket, or, where it is not known, the number of changes up to now, which [`Buckets::keep`] wants.
    pub(super) fn get(&self, name: &str) -> Result<BucketRecord, u64> {
        let known = self.lock();
        known.buckets.get(name).cloned().ok_or(known.changes)
    }

    /// Keeps a bucket that was looked up when there had been so many changes.
    pub(super) fn keep(&self, bucket: &BucketRecord, changes: u64) {
        let mut known = self.lock();
        if known.changes != changes {
            return;
        }
        if known.buckets.len() >= MOST {
            known.buckets.clear();
        }
        known.buckets.insert(bucket.name.clone(), bucket.clone());
    }

    /// A bucket changes: to be called before and after.
    pub(super) fn forget(&self) {
        let mut known = self.lock();
        known.buckets.clear();
        known.changes += 1;
    }
}

#[cfg(test)]
mod tests {
    use rsb_core::format::manifest::BucketSettings;
    use rsb_core::id::VersionId;

    use super::*;

    #[test]
    fn what_was_read_beside_a_change_is_not_kept() {
        let bucket = BucketRecord {
            name: "b".into(),
            version: VersionId::MIN,
            revision: 0,
            created_ms: 0,
            deleted: false,
            settings: BucketSettings::default(),
        };
        let buckets = Buckets::default();
        let changes = buckets.get("b").unwrap_err();
        buckets.forget();
        buckets.keep(&bucket, changes);
        let changes = buckets.get("b").unwrap_err();
        buckets.keep(&bucket, changes);
        assert_eq!(buckets.get("b"), Ok(bucket));
        buckets.forget();
        assert!(buckets.get("b").is_err());
    }
}
