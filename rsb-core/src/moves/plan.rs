//! What a move would take: counted from the catalog alone, without asking a backend for more than its health.

use super::balance::Scales;
use super::bill::Meter;
use super::copies::{batches_on, keepers, missing_without, wish as copy_wish};
use super::parts::open_parts;
use super::segments::{Versions, holders, on, wish};
use super::{EXAMPLES, PARALLEL, drain, recode};
use crate::api::{Bill, Move, MovePlan, MoveTask, Pace, Progress};
use crate::catalog::{BatchRow, Entry};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::health::Op;
use crate::read::piece::Piece;
use crate::stripe::Layout;

/// Bytes in a second that a plan counts with where no bound is set.
const ASSUMED_RATE: u64 = 100_000_000;
/// Seconds that an answer takes where a backend has not been heard yet.
const ASSUMED_ANSWER: f64 = 0.02;

/// Refuses what could not come to its end.
pub(crate) async fn check(core: &Core, order: &Move) -> Result<()> {
    match &order.task {
        MoveTask::Drain { backend, to, .. } => drain::check(core, backend, to.as_deref()),
        MoveTask::Rebalance => Ok(()),
        MoveTask::Rescheme { scope, data_shards, parity_shards } => {
            if let Some(bucket) = &scope.bucket
                && core.catalog.bucket(bucket).await?.is_none()
            {
                return Err(Error::not_found(format!("bucket {bucket:?} does not exist")).object(bucket.clone()));
            }
            recode::wanted(core, *data_shards, *parity_shards).map(|_| ())
        }
    }
}

pub(crate) async fn plan(core: &Core, order: &Move, progress: &Progress) -> Result<MovePlan> {
    check(core, order).await?;
    let mut planner = Planner { core, meter: Meter::new(core), plan: MovePlan::default() };
    match &order.task {
        MoveTask::Drain { backend, to, .. } => planner.drain(backend, to.as_deref(), progress).await?,
        MoveTask::Rebalance => planner.rebalance(progress).await?,
        MoveTask::Rescheme { scope, data_shards, parity_shards } => {
            let scheme = recode::wanted(core, *data_shards, *parity_shards)?;
            planner.rescheme(scope, &scheme, progress).await?;
        }
    }
    let mut plan = planner.plan;
    plan.bill = planner.meter.bill(core);
    plan.seconds = seconds(core, &plan.bill, &order.pace);
    Ok(plan)
}

/// How long work may take.
pub(crate) fn seconds(core: &Core, bill: &Bill, pace: &Pace) -> u64 {
    let bytes =
        (bill.read_bytes + bill.written_bytes) as f64 / pace.bytes_per_second.unwrap_or(ASSUMED_RATE).max(1) as f64;
    let answer = |name: &String| {
        let known = core.backend(name).map(|b| b.health().latency().as_secs_f64()).unwrap_or_default();
        if known > 0.0 { known } else { ASSUMED_ANSWER }
    };
    let answers: f64 =
        bill.backends.iter().map(|(name, usage)| answer(name) * (usage.reads + usage.writes) as f64).sum();
    bytes.max(answers / pace.parallel.unwrap_or(PARALLEL).max(1) as f64).ceil() as u64
}

struct Planner<'a> {
    core: &'a Core,
    meter: Meter,
    plan: MovePlan,
}

impl Planner<'_> {
    fn stuck(&mut self, what: String) {
        self.plan.stuck += 1;
        if self.plan.stuck_examples.len() < EXAMPLES {
            self.plan.stuck_examples.push(what);
        }
    }

    async fn drain(&mut self, from: &str, to: Option<&str>, progress: &Progress) -> Result<()> {
        let core = self.core;
        for (upload, part) in open_parts(core).await? {
            for piece in part.body.views().map(|view| Piece::of_segment(&view)) {
                self.shards_of(&piece, from, to, || format!("a part of {}/{}", upload.bucket, upload.key));
            }
        }
        let mut versions = Versions::of(core);
        while let Some(page) = versions.next().await? {
            progress.check()?;
            for entry in &page {
                let before = self.plan.shards;
                for piece in versions.fresh(entry) {
                    self.shards_of(&piece, from, to, || format!("{}/{}", entry.manifest.bucket, entry.manifest.key));
                }
                self.plan.versions += u64::from(self.plan.shards > before);
            }
        }
        for row in batches_on(core, from).await? {
            if core.catalog.is_live(row.id).await? {
                self.copies_of(&row, from, to);
            }
        }
        Ok(())
    }

    fn shards_of(&mut self, piece: &Piece, from: &str, to: Option<&str>, what: impl Fn() -> String) {
        let core = self.core;
        let names = holders(piece);
        for index in on(piece, from) {
            let wish = wish(core, piece, &names, from, to);
            match wish.target(core) {
                Some(target) => {
                    let name = target.name().to_owned();
                    self.shard(piece, from, &name);
                }
                None if wish.has_room(core) => {
                    self.stuck(format!("{}: shard {index} waits for a backend that may take it and is away", what()))
                }
                None => self.stuck(format!("{}: no backend may take shard {index}, by the domain rule", what())),
            }
        }
    }

    fn shard(&mut self, piece: &Piece, from: &str, to: &str) {
        let len = piece.file_len();
        self.plan.shards += 1;
        match self.core.admitted(from).filter(|b| !b.health().is_suspect(Op::Read)) {
            Some(backend) => self.meter.read(backend.name(), 1, len),
            None => {
                self.plan.rebuilt += 1;
                let others =
                    holders(piece).into_iter().filter(|name| *name != from && self.core.admitted(name).is_some());
                others.take(piece.scheme.k()).for_each(|name| self.meter.read(name, 1, len));
            }
        }
        self.meter.write(to, len);
        self.meter.read(to, 2, len);
        self.meter.freed(from, len, piece.data_id.unix_ms());
    }

    fn copies_of(&mut self, row: &BatchRow, from: &str, to: Option<&str>) {
        let core = self.core;
        let names = keepers(row, from);
        for copy in missing_without(row, from) {
            let wish = copy_wish(core, row, &names, from, to, core.config.scheme.m());
            match wish.target(core).map(|b| b.name().to_owned()) {
                Some(target) => self.copy(row, from, &target),
                None => self.stuck(format!("manifest copy {copy} of batch {} has nowhere to go", row.id)),
            }
        }
    }

    fn copy(&mut self, row: &BatchRow, from: &str, to: &str) {
        self.plan.copies += 1;
        match self.core.admitted(from).filter(|b| !b.health().is_suspect(Op::Read)) {
            Some(backend) => self.meter.read(backend.name(), 1, row.len_bytes),
            None => {
                self.plan.rebuilt += 1;
                keepers(row, from).into_iter().for_each(|name| self.meter.read(name, 1, row.len_bytes));
            }
        }
        self.meter.write(to, row.len_bytes);
        self.meter.read(to, 1, row.len_bytes);
        self.meter.freed(from, row.len_bytes, row.id.unix_ms());
    }

    async fn rebalance(&mut self, progress: &Progress) -> Result<()> {
        let core = self.core;
        let mut scales = Scales::weigh(core).await?;
        let mut versions = Versions::of(core);
        while let Some(page) = versions.next().await? {
            progress.check()?;
            for piece in versions.fresh_of(&page) {
                if let Some(job) = scales.tip_segment(core, &piece) {
                    self.plan.versions += 1;
                    self.shard(&piece, &job.from, &job.to.unwrap_or_default());
                }
            }
        }
        let mut after = None;
        loop {
            let page = core.catalog.batches_after(after, 1000).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for row in page {
                if core.catalog.is_live(row.id).await?
                    && let Some((from, to)) = scales.tip_batch(core, &row)
                {
                    self.copy(&row, &from, &to);
                }
            }
        }
    }

    async fn rescheme(&mut self, scope: &crate::Scope, scheme: &crate::Scheme, progress: &Progress) -> Result<()> {
        let core = self.core;
        let codec = core.codecs.get(scheme.codec_id())?.symbol_len();
        let places: Vec<String> =
            core.backends.iter().filter(|b| b.role() == crate::Role::Active).map(|b| b.name().to_owned()).collect();
        let mut versions = Versions::of(core);
        let mut turn = 0;
        while let Some(page) = versions.next().await? {
            progress.check()?;
            for entry in page.iter().filter(|e| scope.has(&e.manifest.bucket, &e.manifest.key)) {
                let fresh: std::collections::HashSet<_> = versions.fresh(entry).iter().map(|p| p.data_id).collect();
                let pieces = recode::to_recode(entry, scheme);
                let small = recode::inline_differs(entry, scheme);
                self.plan.versions += u64::from(small || !pieces.is_empty());
                if small {
                    self.small(entry, scheme, &places, turn).await?;
                }
                for piece in pieces.iter().filter(|piece| fresh.contains(&piece.data_id)) {
                    let new = Layout::new(scheme, codec, piece.layout.len);
                    let len = crate::format::shard::HEADER_LEN as u64 + new.shard_body_len();
                    self.plan.shards += scheme.n() as u64;
                    holders(piece)
                        .into_iter()
                        .take(piece.scheme.k())
                        .for_each(|b| self.meter.read(b, 1, piece.file_len()));
                    holders(piece)
                        .into_iter()
                        .for_each(|b| self.meter.freed(b, piece.file_len(), piece.data_id.unix_ms()));
                    (0..scheme.n()).for_each(|i| self.meter.write(&places[(turn + i) % places.len()], len));
                    turn += 1;
                }
            }
        }
        Ok(())
    }

    async fn small(&mut self, entry: &Entry, scheme: &crate::Scheme, places: &[String], turn: usize) -> Result<()> {
        let Some(row) = self.core.catalog.batch(entry.at.batch).await? else { return Ok(()) };
        let len = u64::from(entry.at.extent.len);
        let names = keepers(&row, "");
        names.iter().for_each(|name| self.meter.read(name, 1, len));
        names.iter().for_each(|name| self.meter.freed(name, len, row.id.unix_ms()));
        let new = entry.manifest.size.div_ceil(scheme.k() as u64) + u64::from(entry.at.extent.body_len) + 80;
        self.plan.copies += scheme.n() as u64;
        (0..scheme.n()).for_each(|i| self.meter.write(&places[(turn + i) % places.len()], new));
        Ok(())
    }
}
