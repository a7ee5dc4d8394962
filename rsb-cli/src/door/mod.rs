//! The one seam between the verbs and what they work on: the backends themselves, or a gateway in front of them. A verb is
//! written once, for a [`Door`], and so has the same output and exit codes either way.

mod direct;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rsb_core::catalog::LedgerEntry;
use rsb_core::durability::{Assumptions, Durability};
use rsb_core::format::manifest::Versions;
use rsb_core::{
    BodyStream, CheckReport, CheckRequest, Depth, DrillReport, DrillRequest, Move, MovePlan, MoveRecord, MoveReport,
    Progress, RebuildReport, RepairPlan, RepairReport, Scope, Status, SweepReport, SweepRequest, VerifyReport,
    WorkPlan, WorkRequest,
};
use serde::{Deserialize, Serialize};

pub use self::direct::Direct;
use crate::failure::Failure;
use crate::name::Name;

/// What the verbs ask for. Every failure is a [`Failure`] whose exit code does not depend on which door it came through.
#[async_trait]
pub trait Door: Send + Sync {
    /// Writes an object. An error in the body undoes the write.
    async fn put(&self, upload: Upload) -> Result<Facts, Failure>;
    /// Opens an object for reading.
    async fn get(&self, object: &Name) -> Result<Download, Failure>;
    /// The facts of an object.
    async fn stat(&self, object: &Name) -> Result<Facts, Failure>;
    /// A page of a bucket's objects whose keys begin with `of.key`.
    async fn list(&self, of: &Name, after: Option<String>) -> Result<Page<Facts>, Failure>;
    /// Deletes an object; not found when there is none.
    async fn delete(&self, object: &Name) -> Result<Deleted, Failure>;
    /// Copies an object.
    async fn copy(&self, from: &Name, to: &Name) -> Result<Facts, Failure>;

    /// All buckets, by name.
    async fn buckets(&self) -> Result<Vec<Bucket>, Failure>;
    /// Makes a bucket that is not there yet.
    async fn make_bucket(&self, name: &str, versions: Versions) -> Result<Bucket, Failure>;
    /// Deletes an empty bucket.
    async fn delete_bucket(&self, name: &str) -> Result<(), Failure>;

    /// Looks at what is stored; not found when the scope's bucket is not there.
    async fn check(&self, request: &CheckRequest, progress: &Progress) -> Result<CheckReport, Failure>;
    /// What a repair would do.
    async fn plan_repair(&self, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairPlan, Failure>;
    /// Repairs.
    async fn repair(&self, scope: &Scope, depth: Depth, progress: &Progress) -> Result<RepairReport, Failure>;
    /// Masks domains, or the one given.
    async fn drill(&self, request: &DrillRequest, progress: &Progress) -> Result<DrillReport, Failure>;
    /// Removes garbage.
    async fn sweep(&self, request: SweepRequest, progress: &Progress) -> Result<SweepReport, Failure>;
    /// Makes the catalog anew.
    async fn rebuild_catalog(&self, progress: &Progress) -> Result<RebuildReport, Failure>;
    /// Compares the catalog with the backends.
    async fn verify_catalog(&self, progress: &Progress) -> Result<VerifyReport, Failure>;
    /// The repository and its backends as they are.
    async fn status(&self) -> Result<Status, Failure>;
    /// A page of the ledger.
    async fn ledger(&self, after: Option<String>) -> Result<Page<LedgerEntry>, Failure>;

    /// What a move would take.
    async fn plan_move(&self, order: &Move, progress: &Progress) -> Result<MovePlan, Failure>;
    /// Carries a move out, or goes on with it.
    async fn run_move(&self, order: &Move, progress: &Progress) -> Result<MoveReport, Failure>;
    /// The moves that go on.
    async fn moves(&self) -> Result<Vec<MoveRecord>, Failure>;
    /// Gives a move up.
    async fn cancel_move(&self, id: &str) -> Result<MoveRecord, Failure>;
    /// Lets a move wait, or go on.
    async fn pause_move(&self, id: &str, paused: bool) -> Result<MoveRecord, Failure>;
    /// Writes the marker of a new backend; whether it had none.
    async fn add_backend(&self, name: &str) -> Result<bool, Failure>;

    /// What reading, checking or keeping objects would take.
    async fn plan_work(&self, request: &WorkRequest) -> Result<WorkPlan, Failure>;
    /// How likely a loss is.
    async fn durability(&self, assumptions: &Assumptions) -> Result<Durability, Failure>;

    /// Ends the work. Nothing is asked afterwards.
    async fn close(&self) -> Result<(), Failure>;
}

/// An object to be written.
pub struct Upload {
    /// Where it goes.
    pub object: Name,
    /// Its length, where it is known.
    pub len: Option<u64>,
    /// k for this object, else the repository's.
    pub data_shards: Option<usize>,
    /// m for this object, else the repository's.
    pub parity_shards: Option<usize>,
    /// The user's metadata.
    pub metadata: BTreeMap<String, String>,
    /// What must be there for it to be written.
    pub only: Only,
    /// Its bytes.
    pub body: BodyStream,
}

/// What must be there for an object to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// Anything.
    #[default]
    Any,
    /// No object of that name.
    New,
    /// The object with this entity tag.
    Instead(String),
}

/// An object being read.
pub struct Download {
    /// Bytes in all.
    pub size: u64,
    /// The bytes, each verified where they were read from the backends. After an error it ends.
    pub body: BoxStream<'static, Result<Bytes, Failure>>,
}

/// What is known of an object: what `stat` and `ls` print with `--json`, and the gateway's own view of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The bucket.
    #[serde(default)]
    pub bucket: String,
    /// The key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// The entity tag, without quotes.
    pub etag: String,
    /// The version's id.
    pub version: String,
    /// The time of the write, RFC 3339.
    pub modified: String,
    /// k; absent for an object without bytes of its own.
    pub data_shards: Option<u16>,
    /// m.
    pub parity_shards: Option<u16>,
    /// The codec's name.
    #[serde(default)]
    pub codec: Option<String>,
    /// The `content-type` it was written with.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The user's metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// After a write: shards and manifest copies that are short and stand in the ledger.
    #[serde(default)]
    pub short: usize,
}

impl Facts {
    /// `bucket/key`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Which versions of its objects are kept.
    pub versions: Versions,
}

/// What a delete did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The delete marker's id, in a keep-all bucket.
    pub delete_marker: Option<String>,
    /// Manifest copies of the tombstone that are short.
    pub short: usize,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Pass it as `after` to go on; absent on the last page.
    pub next: Option<String>,
}
