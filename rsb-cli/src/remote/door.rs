//! The gateway as a [`Door`].

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, IF_NONE_MATCH};
use rsb_core::catalog::LedgerEntry;
use rsb_core::durability::{Assumptions, Durability};
use rsb_core::format::manifest::Versions;
use rsb_core::{
    CheckReport, CheckRequest, Depth, DrillReport, DrillRequest, Move, MovePlan, MoveRecord, MoveReport, MoveTask,
    Progress, RebuildReport, RepairPlan, RepairReport, Scope, Status, SweepReport, SweepRequest, VerifyReport,
    WorkPlan, WorkRequest,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Client;
use super::address::encoded;
use crate::door::{Bucket, Deleted, Door, Download, Facts, Page, Upload};
use crate::failure::Failure;
use crate::name::Name;

/// Objects, or lines, of a page.
const PAGE: usize = 1000;

/// `/v1/b/BUCKET/o`
#[derive(Deserialize)]
struct Listing {
    objects: Vec<Facts>,
    next: Option<String>,
}

/// `/v1/b`
#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

/// `/v1/ledger`
#[derive(Deserialize)]
struct Ledger {
    entries: Vec<LedgerEntry>,
    next: Option<String>,
}

/// `/v1/moves`
#[derive(Deserialize)]
struct Moves {
    moves: Vec<MoveRecord>,
}

/// `/v1/backends/NAME`
#[derive(Deserialize)]
struct Added {
    marker_written: bool,
}

/// Where a plan is asked for.
fn plan_path(verb: &str, scope: &Scope, depth: Depth) -> String {
    let mut path = format!("/v1/plan?verb={verb}&depth={}&prefix={}", depth_word(depth), encoded(&scope.prefix));
    if let Some(bucket) = &scope.bucket {
        path += &format!("&bucket={}", encoded(bucket));
    }
    path
}

/// Where a move is started, and with what.
fn move_json(order: &Move, dry_run: bool) -> (&'static str, Value) {
    let path = match &order.task {
        MoveTask::Drain { .. } => "/v1/drain",
        MoveTask::Rebalance => "/v1/rebalance",
        MoveTask::Rescheme { .. } => "/v1/rescheme",
    };
    let mut request = serde_json::to_value(order).unwrap_or_default();
    if let Some(fields) = request.as_object_mut() {
        fields.remove("verb");
        fields.insert("dry_run".into(), dry_run.into());
    }
    (path, request)
}

fn bucket_path(name: &str) -> String {
    format!("/v1/b/{}", encoded(name))
}

fn scope_json(scope: &Scope, depth: Depth) -> Value {
    json!({ "bucket": scope.bucket, "prefix": scope.prefix, "depth": depth })
}

fn depth_word(depth: Depth) -> &'static str {
    match depth {
        Depth::Inventory => "inventory",
        Depth::Sample => "sample",
        Depth::Full => "full",
    }
}

impl Client {
    async fn page(&self, of: &Name, after: Option<&str>, limit: usize) -> Result<Page<Facts>, Failure> {
        let mut path = format!("{}/o?limit={limit}&prefix={}", bucket_path(&of.bucket), encoded(&of.key));
        if let Some(after) = after {
            path += &format!("&after={}", encoded(after));
        }
        let mut listing: Listing = self.get_json(&path).await?;
        listing.objects.iter_mut().for_each(|facts| facts.bucket.clone_from(&of.bucket));
        Ok(Page { items: listing.objects, next: listing.next })
    }
}

#[async_trait]
impl Door for Client {
    async fn put(&self, upload: Upload) -> Result<Facts, Failure> {
        self.upload(upload).await
    }

    async fn get(&self, object: &Name) -> Result<Download, Failure> {
        self.download(object).await
    }

    async fn stat(&self, object: &Name) -> Result<Facts, Failure> {
        // A listing has every fact, with milliseconds and metadata of any characters, which headers have not. Of all keys
        // that begin with this one, it is the first.
        let page = self.page(object, None, 1).await?;
        let found = page.items.into_iter().find(|facts| facts.key == object.key);
        found.ok_or_else(|| {
            let name = object.to_string();
            Failure::of_kind("not-found", format!("{name} does not exist"), Some(name), Vec::new())
        })
    }

    async fn list(&self, of: &Name, after: Option<String>) -> Result<Page<Facts>, Failure> {
        self.page(of, after.as_deref(), PAGE).await
    }

    async fn delete(&self, object: &Name) -> Result<Deleted, Failure> {
        self.json(self.request(Method::DELETE, &self.object_path(object))).await
    }

    async fn copy(&self, from: &Name, to: &Name) -> Result<Facts, Failure> {
        let source = format!("{}/{}", encoded(&from.bucket), super::address::encoded_key(&from.key));
        self.json(self.request(Method::PUT, &self.object_path(to)).header("x-rsb-copy-source", source)).await
    }

    async fn buckets(&self) -> Result<Vec<Bucket>, Failure> {
        Ok(self.get_json::<Buckets>("/v1/b").await?.buckets)
    }

    async fn make_bucket(&self, name: &str, versions: Versions) -> Result<Bucket, Failure> {
        let request = self.request(Method::PUT, &bucket_path(name)).header(IF_NONE_MATCH, "*");
        let settings = json!({ "versions": versions }).to_string();
        self.json(request.header(CONTENT_TYPE, "application/json").body(settings)).await
    }

    async fn delete_bucket(&self, name: &str) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, &bucket_path(name))).await.map(drop)
    }

    async fn check(&self, request: &CheckRequest, progress: &Progress) -> Result<CheckReport, Failure> {
        self.job("/v1/check", &scope_json(&request.scope, request.depth), progress).await
    }

    async fn plan_repair(&self, scope: &Scope, depth: Depth, _: &Progress) -> Result<RepairPlan, Failure> {
        // Not as a job, which would ask for the right to write.
        self.get_json(&plan_path("repair", scope, depth)).await
    }

    async fn repair(&self, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairReport, Failure> {
        self.job("/v1/repair", &scope_json(scope, depth), progress).await
    }

    async fn drill(&self, request: &DrillRequest, progress: &Progress) -> Result<DrillReport, Failure> {
        self.job("/v1/drill", &json!(request), progress).await
    }

    async fn sweep(&self, request: SweepRequest, progress: &Progress) -> Result<SweepReport, Failure> {
        self.job("/v1/sweep", &json!({ "dry_run": request.dry_run }), progress).await
    }

    async fn rebuild_catalog(&self, progress: &Progress) -> Result<RebuildReport, Failure> {
        self.job("/v1/catalog/rebuild", &json!({}), progress).await
    }

    async fn verify_catalog(&self, progress: &Progress) -> Result<VerifyReport, Failure> {
        self.job("/v1/catalog/verify", &json!({}), progress).await
    }

    async fn status(&self) -> Result<Status, Failure> {
        self.get_json("/v1/status").await
    }

    async fn ledger(&self, after: Option<String>) -> Result<Page<LedgerEntry>, Failure> {
        let mut path = format!("/v1/ledger?limit={PAGE}");
        if let Some(after) = after {
            path += &format!("&after={}", encoded(&after));
        }
        let page: Ledger = self.get_json(&path).await?;
        Ok(Page { items: page.entries, next: page.next })
    }

    async fn plan_move(&self, order: &Move, progress: &Progress) -> Result<MovePlan, Failure> {
        let (path, request) = move_json(order, true);
        self.job(path, &request, progress).await
    }

    async fn run_move(&self, order: &Move, progress: &Progress) -> Result<MoveReport, Failure> {
        let (path, request) = move_json(order, false);
        self.job(path, &request, progress).await
    }

    async fn moves(&self) -> Result<Vec<MoveRecord>, Failure> {
        Ok(self.get_json::<Moves>("/v1/moves").await?.moves)
    }

    async fn cancel_move(&self, id: &str) -> Result<MoveRecord, Failure> {
        self.json(self.request(Method::DELETE, &format!("/v1/moves/{}", encoded(id)))).await
    }

    async fn pause_move(&self, id: &str, paused: bool) -> Result<MoveRecord, Failure> {
        let word = if paused { "pause" } else { "resume" };
        self.json(self.request(Method::POST, &format!("/v1/moves/{}/{word}", encoded(id)))).await
    }

    async fn add_backend(&self, name: &str) -> Result<bool, Failure> {
        let path = format!("/v1/backends/{}", encoded(name));
        Ok(self.json::<Added>(self.request(Method::POST, &path)).await?.marker_written)
    }

    async fn plan_work(&self, request: &WorkRequest) -> Result<WorkPlan, Failure> {
        let (verb, scope, depth) = match request {
            WorkRequest::Get(scope) => ("get", scope, Depth::default()),
            WorkRequest::Store(scope) => ("store", scope, Depth::default()),
            WorkRequest::Check { scope, depth } => ("check", scope, *depth),
        };
        self.get_json(&plan_path(verb, scope, depth)).await
    }

    async fn durability(&self, assumptions: &Assumptions) -> Result<Durability, Failure> {
        self.job("/v1/durability", &json!(assumptions), &Progress::default()).await
    }

    async fn close(&self) -> Result<(), Failure> {
        Ok(())
    }
}
