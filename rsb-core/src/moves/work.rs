//! What reading, checking and keeping objects takes: counted from the catalog alone.

use std::collections::BTreeSet;

use super::bill::Meter;
use super::copies::keepers;
use super::plan::seconds;
use super::segments::{Versions, holders};
use crate::api::{Depth, Pace, Progress, Scope, WorkPlan, WorkRequest};
use crate::catalog::{BatchRow, Entry};
use crate::check::{Other, others};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::manifest::Body;
use crate::format::shard::HEADER_LEN;
use crate::health::Op;
use crate::read::piece::Piece;
use crate::stripe::CHECKSUM_LEN;

/// Files that a listing shows at once.
const LISTED: u64 = 1000;
/// Blocks of a shard that a sample reads.
const SAMPLED: u64 = 2;

pub(crate) async fn plan_work(core: &Core, request: &WorkRequest, progress: &Progress) -> Result<WorkPlan> {
    let (WorkRequest::Get(scope) | WorkRequest::Check { scope, .. } | WorkRequest::Store(scope)) = request;
    if let Some(bucket) = &scope.bucket
        && core.catalog.bucket(bucket).await?.is_none()
    {
        return Err(Error::not_found(format!("bucket {bucket:?} does not exist")).object(bucket.clone()));
    }
    let meter = Meter::new(core);
    let mut counter = Counter { core, request, meter, plan: WorkPlan::default() };
    counter.count(scope, progress).await?;
    let mut plan = counter.plan;
    plan.bill = counter.meter.bill(core);
    plan.seconds = match request {
        WorkRequest::Store(_) => 0,
        _ => seconds(core, &plan.bill, &Pace::default()),
    };
    Ok(plan)
}

struct Counter<'a> {
    core: &'a Core,
    request: &'a WorkRequest,
    meter: Meter,
    plan: WorkPlan,
}

impl Counter<'_> {
    async fn count(&mut self, scope: &Scope, progress: &Progress) -> Result<()> {
        let (mut versions, mut batches) = (Versions::of(self.core), BTreeSet::new());
        while let Some(page) = versions.next().await? {
            progress.check()?;
            for entry in page.iter().filter(|e| scope.has(&e.manifest.bucket, &e.manifest.key)) {
                self.plan.versions += 1;
                self.plan.object_bytes += entry.manifest.size;
                // What copies share is kept and checked once, and read each time.
                let pieces = match self.request {
                    WorkRequest::Get(_) => Piece::of_entry(entry, None),
                    _ => versions.fresh(entry),
                };
                pieces.iter().for_each(|piece| self.segment(piece));
                if let Some(row) = self.core.catalog.batch(entry.at.batch).await? {
                    self.record(entry, &row);
                    batches.insert(row.id);
                }
            }
        }
        if matches!(self.request, WorkRequest::Check { depth: Depth::Full, .. }) {
            // The records of buckets and deletions.
            for Other(record) in others(self.core, scope, &batches).await? {
                if let Some(row) = self.core.catalog.batch(record.at.batch).await? {
                    self.whole_file(&row);
                }
            }
        }
        if matches!(self.request, WorkRequest::Check { .. }) {
            self.listings().await?;
        }
        Ok(())
    }

    fn segment(&mut self, piece: &Piece) {
        let len = piece.file_len();
        self.plan.stored_bytes += len * piece.scheme.n() as u64;
        match self.request {
            WorkRequest::Get(_) => {
                let bytes = len - HEADER_LEN as u64;
                self.cheapest(piece).into_iter().for_each(|name| self.meter.read(&name, 1, bytes));
            }
            WorkRequest::Store(_) => holders(piece).into_iter().for_each(|name| self.meter.stored(name, len)),
            WorkRequest::Check { depth: Depth::Inventory, .. } => {}
            WorkRequest::Check { depth: Depth::Sample, .. } => {
                let blocks = SAMPLED.min(piece.layout.stripes());
                let each = HEADER_LEN as u64 + CHECKSUM_LEN as u64 + piece.layout.block_len(0);
                holders(piece).into_iter().for_each(|name| self.meter.read(name, 2 * blocks, blocks * each));
            }
            WorkRequest::Check { depth: Depth::Full, .. } => {
                holders(piece).into_iter().for_each(|name| self.meter.read(name, 2, len));
            }
        }
    }

    /// The backends that a read without trouble asks: those of the data shards before others, the cheaper first.
    fn cheapest(&self, piece: &Piece) -> Vec<String> {
        let mut ranked: Vec<(bool, bool, u64, &str)> = Vec::new();
        for (index, at) in piece.shards.iter().enumerate() {
            let Some(backend) = at.as_ref().and_then(|at| self.core.admitted(&at.backend)) else { continue };
            let price = (backend.cost().egress_per_gb * 1e6) as u64;
            ranked.push((backend.health().is_suspect(Op::Read), index >= piece.scheme.k(), price, backend.name()));
        }
        ranked.sort_unstable();
        ranked.into_iter().take(piece.scheme.k()).map(|(.., name)| name.to_owned()).collect()
    }

    fn record(&mut self, entry: &Entry, row: &BatchRow) {
        let names = keepers(row, "");
        let len = u64::from(entry.at.extent.len);
        self.plan.stored_bytes += len * names.len() as u64;
        match (self.request, &entry.manifest.body) {
            (WorkRequest::Get(_), Body::Inline(body)) => {
                let block = entry.at.extent.inline_range();
                let k = body.scheme.k();
                names.into_iter().take(k).for_each(|name| self.meter.read(name, 1, block.end - block.start));
            }
            (WorkRequest::Get(_), _) => {}
            (WorkRequest::Store(_), _) => names.into_iter().for_each(|name| self.meter.stored(name, len)),
            (WorkRequest::Check { depth: Depth::Full, .. }, _) => self.whole_file(row),
            (WorkRequest::Check { .. }, _) => {}
        }
    }

    /// A check in full reads the whole file that a record is in, for each object anew.
    fn whole_file(&mut self, row: &BatchRow) {
        keepers(row, "").into_iter().for_each(|name| self.meter.read(name, 1, row.len_bytes));
    }

    /// A check begins with what each backend lists.
    async fn listings(&mut self) -> Result<()> {
        let mut files: std::collections::BTreeMap<String, u64> = Default::default();
        let mut versions = Versions::of(self.core);
        while let Some(page) = versions.next().await? {
            for piece in versions.fresh_of(&page) {
                holders(&piece).into_iter().for_each(|name| *files.entry(name.to_owned()).or_default() += 1);
            }
        }
        let batches = self.core.catalog.counts().await?.batches;
        for backend in &self.core.backends {
            let shards = files.get(backend.name()).copied().unwrap_or_default();
            self.meter.list(backend.name(), shards / LISTED + batches / LISTED + 2);
        }
        Ok(())
    }
}
