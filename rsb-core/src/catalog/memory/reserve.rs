//! Wishes and intents.

use super::super::*;
use super::state::State;
use crate::error::Result;

impl State {
    pub fn reserve(&mut self, wish: Reserve) -> Result<Reserved> {
        let bucket = self.bucket(&wish.bucket).cloned();
        self.check_bucket(&wish, bucket.is_some())?;
        self.check_key(&wish)?;
        let version = self.give_version(&wish);
        self.greatest = self.greatest.max(Some(version));
        let intent = Intent {
            version,
            conditional: wish.is_conditional(),
            batch: wish.batch,
            bucket: wish.bucket,
            key: wish.key,
            created_ms: wish.now_ms,
        };
        self.intents.insert(version, intent);
        Ok(Reserved { version, bucket })
    }

    fn check_bucket(&self, wish: &Reserve, exists: bool) -> Result<()> {
        let name = &wish.bucket;
        let mut open = self.intents.values().filter(|intent| intent.bucket == *name);
        // New settings of the bucket keep nobody from writing in it.
        let in_way = |intent: &Intent| intent.key.is_empty() && (intent.conditional || wish.key.is_empty());
        if open.clone().any(in_way) {
            return Err(refusal::bucket_changing(name));
        }
        match wish.bucket_rule {
            BucketRule::Any => Ok(()),
            BucketRule::Absent if exists => Err(refusal::bucket_exists(name)),
            BucketRule::Absent => Ok(()),
            BucketRule::Exists | BucketRule::Empty if !exists => Err(refusal::no_bucket(name)),
            BucketRule::Exists => Ok(()),
            BucketRule::Empty => {
                let mut keys = self.names.get(name).into_iter().flatten();
                if open.next().is_some() || keys.any(|(_, key)| !key.versions.is_empty()) {
                    return Err(refusal::bucket_not_empty(name));
                }
                Ok(())
            }
        }
    }

    fn check_key(&self, wish: &Reserve) -> Result<()> {
        if wish.precondition.is_none() {
            return Ok(());
        }
        if self.intents.values().any(|intent| intent.bucket == wish.bucket && intent.key == wish.key) {
            return Err(refusal::key_changing(&wish.bucket, &wish.key));
        }
        let latest = self.entry(&wish.bucket, &wish.key, None);
        if !wish.precondition.holds(latest.as_ref().map(|entry| &entry.manifest)) {
            return Err(refusal::condition(&wish.bucket, &wish.key));
        }
        Ok(())
    }

    /// The proposed id where it is greater than every id of the key that was ever reserved or committed, else one that
    /// is. Ids whose key may be forgotten count for every key.
    fn give_version(&mut self, wish: &Reserve) -> VersionId {
        let rows = self.key(&wish.bucket, &wish.key).map(|key| key.rows.iter()).into_iter().flatten();
        let committed = rows.filter_map(|id| Some(self.row(*id)?.record.version())).max();
        let same_key = self.intents.values().filter(|i| i.bucket == wish.bucket && i.key == wish.key);
        let of_key = committed.max(same_key.map(|intent| intent.version).max());
        let mut version = wish.proposed;
        if Some(version) <= of_key.max(self.floor) {
            version = of_key.max(self.floor).unwrap_or(version).after();
        }
        while self.intents.contains_key(&version) {
            version = version.after();
        }
        if of_key < self.floor && version != wish.proposed {
            // Another key that is below the floor must not be given the same id.
            self.floor = Some(version);
        }
        version
    }

    pub fn release(&mut self, versions: &[VersionId]) {
        for version in versions {
            if self.intents.remove(version).is_some() {
                self.floor = self.floor.max(Some(*version));
            }
        }
    }
}
