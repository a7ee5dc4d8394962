//! The door to the backends themselves: an engine in this process.

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use rsb_core::catalog::{LedgerEntry, LedgerItem, ListAfter, ListQuery, Precondition};
use rsb_core::durability::{Assumptions, Durability};
use rsb_core::format::manifest::{BucketRecord, BucketSettings, Versions};
use rsb_core::{
    CheckReport, CheckRequest, Depth, DrillReport, DrillRequest, Engine, Move, MovePlan, MoveRecord, MoveReport,
    ObjectInfo, Progress, PutRequest, RebuildReport, RepairPlan, RepairReport, Scope, Status, SweepReport,
    SweepRequest, VerifyReport, WorkPlan, WorkRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Bucket, Deleted, Door, Download, Facts, Only, Page, Upload};
use crate::failure::{FAILED, Failure};
use crate::human::rfc3339;
use crate::name::Name;

/// Items of a page.
const PAGE: usize = 1000;

/// An engine in this process.
pub struct Direct(Engine);

impl Direct {
    /// The door to an opened repository.
    pub fn new(engine: Engine) -> Self {
        Self(engine)
    }

    /// Not found where the scope's bucket is not there: the engine would find no objects and call that good.
    async fn must_exist(&self, scope: &Scope) -> Result<(), Failure> {
        match &scope.bucket {
            Some(bucket) => Ok(self.0.bucket(bucket).await.map(drop)?),
            None => Ok(()),
        }
    }
}

fn facts(info: &ObjectInfo) -> Facts {
    let scheme = info.scheme();
    Facts {
        bucket: info.manifest.bucket.clone(),
        key: info.manifest.key.clone(),
        size: info.size(),
        etag: info.etag(),
        version: info.version().to_string(),
        modified: rfc3339(info.modified_ms()),
        data_shards: scheme.map(|s| s.data_shards),
        parity_shards: scheme.map(|s| s.parity_shards),
        codec: scheme.map(|s| s.codec_id().to_string()),
        content_type: info.content_type().map(str::to_owned),
        metadata: info.manifest.metadata.clone(),
        short: info.short,
    }
}

fn bucket_of(record: BucketRecord) -> Bucket {
    Bucket { name: record.name, created: rfc3339(record.created_ms), versions: record.settings.versions }
}

/// A position as the text that a [`Page`] carries.
fn cursor<T: Serialize>(position: &T) -> Result<String, Failure> {
    serde_json::to_string(position).map_err(|e| Failure::new(FAILED, format!("a list cannot go on: {e}")))
}

fn position<T: DeserializeOwned>(cursor: Option<String>) -> Result<Option<T>, Failure> {
    let read = |text: String| serde_json::from_str(&text);
    cursor.map(read).transpose().map_err(|e| Failure::new(FAILED, format!("a list cannot go on: {e}")))
}

#[async_trait]
impl Door for Direct {
    async fn put(&self, upload: Upload) -> Result<Facts, Failure> {
        let request = PutRequest {
            bucket: upload.object.bucket,
            key: upload.object.key,
            len: upload.len,
            data_shards: upload.data_shards,
            parity_shards: upload.parity_shards,
            metadata: upload.metadata,
            precondition: match upload.only {
                Only::Any => Precondition::None,
                Only::New => Precondition::Absent,
                Only::Instead(etag) => Precondition::EtagIn(vec![etag]),
            },
            ..PutRequest::default()
        };
        Ok(facts(&self.0.put(request, upload.body).await?))
    }

    async fn get(&self, object: &Name) -> Result<Download, Failure> {
        let found = self.0.get(&object.bucket, &object.key, None, None).await?;
        Ok(Download { size: found.info.size(), body: found.stream.map_err(Failure::from).boxed() })
    }

    async fn stat(&self, object: &Name) -> Result<Facts, Failure> {
        Ok(facts(&self.0.head(&object.bucket, &object.key, None).await?))
    }

    async fn list(&self, of: &Name, after: Option<String>) -> Result<Page<Facts>, Failure> {
        let query = ListQuery {
            bucket: of.bucket.clone(),
            prefix: of.key.clone(),
            after: position::<ListAfter>(after)?,
            limit: PAGE,
            ..ListQuery::default()
        };
        let listing = self.0.list(&query).await?;
        let items = listing.objects.iter().map(|object| facts(&object.info)).collect();
        Ok(Page { items, next: listing.next.as_ref().map(cursor).transpose()? })
    }

    async fn delete(&self, object: &Name) -> Result<Deleted, Failure> {
        self.0.head(&object.bucket, &object.key, None).await?;
        let deleted = self.0.delete(&object.bucket, &object.key, None, Precondition::None).await?;
        Ok(Deleted { delete_marker: deleted.delete_marker.map(|id| id.to_string()), short: deleted.short })
    }

    async fn copy(&self, from: &Name, to: &Name) -> Result<Facts, Failure> {
        let (source, target) = ((from.bucket.as_str(), from.key.as_str()), (to.bucket.as_str(), to.key.as_str()));
        Ok(facts(&self.0.copy(source, target, Precondition::None).await?))
    }

    async fn buckets(&self) -> Result<Vec<Bucket>, Failure> {
        Ok(self.0.buckets().await?.into_iter().map(bucket_of).collect())
    }

    async fn make_bucket(&self, name: &str, versions: Versions) -> Result<Bucket, Failure> {
        let settings = BucketSettings { versions, ..BucketSettings::default() };
        Ok(bucket_of(self.0.create_bucket(name, settings).await?))
    }

    async fn delete_bucket(&self, name: &str) -> Result<(), Failure> {
        Ok(self.0.delete_bucket(name).await?)
    }

    async fn check(&self, request: &CheckRequest, progress: &Progress) -> Result<CheckReport, Failure> {
        self.must_exist(&request.scope).await?;
        Ok(self.0.check(request, progress).await?)
    }

    async fn plan_repair(&self, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairPlan, Failure> {
        self.must_exist(scope).await?;
        Ok(self.0.plan_repair(scope, depth, progress).await?)
    }

    async fn repair(&self, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairReport, Failure> {
        let plan = self.plan_repair(scope, depth, progress).await?;
        Ok(self.0.repair(&plan, progress).await?)
    }

    async fn drill(&self, request: &DrillRequest, progress: &Progress) -> Result<DrillReport, Failure> {
        Ok(self.0.drill_as(request, progress).await?)
    }

    async fn sweep(&self, request: SweepRequest, progress: &Progress) -> Result<SweepReport, Failure> {
        Ok(self.0.sweep(request, progress).await?)
    }

    async fn rebuild_catalog(&self, progress: &Progress) -> Result<RebuildReport, Failure> {
        Ok(self.0.rebuild_catalog(progress).await?)
    }

    async fn verify_catalog(&self, progress: &Progress) -> Result<VerifyReport, Failure> {
        Ok(self.0.verify_catalog(progress).await?)
    }

    async fn status(&self) -> Result<Status, Failure> {
        Ok(self.0.status().await?)
    }

    async fn ledger(&self, after: Option<String>) -> Result<Page<LedgerEntry>, Failure> {
        let after = position::<LedgerItem>(after)?;
        let items = self.0.ledger(after.as_ref(), PAGE).await?;
        let next = items.last().filter(|_| items.len() == PAGE).map(|last| cursor(&last.item)).transpose()?;
        Ok(Page { items, next })
    }

    async fn plan_move(&self, order: &Move, progress: &Progress) -> Result<MovePlan, Failure> {
        Ok(self.0.plan_move(order, progress).await?)
    }

    async fn run_move(&self, order: &Move, progress: &Progress) -> Result<MoveReport, Failure> {
        Ok(self.0.run_move(order, progress).await?)
    }

    async fn moves(&self) -> Result<Vec<MoveRecord>, Failure> {
        Ok(self.0.moves().await?)
    }

    async fn cancel_move(&self, id: &str) -> Result<MoveRecord, Failure> {
        Ok(self.0.cancel_move(id).await?)
    }

    async fn pause_move(&self, id: &str, paused: bool) -> Result<MoveRecord, Failure> {
        Ok(self.0.pause_move(id, paused).await?)
    }

    async fn add_backend(&self, name: &str) -> Result<bool, Failure> {
        Ok(self.0.add_backend(name).await?)
    }

    async fn plan_work(&self, request: &WorkRequest) -> Result<WorkPlan, Failure> {
        Ok(self.0.plan_work(request, &Progress::default()).await?)
    }

    async fn durability(&self, assumptions: &Assumptions) -> Result<Durability, Failure> {
        Ok(self.0.durability(assumptions).await?)
    }

    async fn close(&self) -> Result<(), Failure> {
        Ok(self.0.close().await?)
    }
}
