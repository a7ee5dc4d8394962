//! The steps of a history.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::act::{Actor, Planned, needs};
use super::history::{Condition, Damage, End, LAST_KEYS, Op, Step};
use super::judge::{Broken, Strictness};
use super::model::name;
use super::run::Sim;
use super::world::Fault;
use crate::Engine;
use crate::catalog::Precondition;
use crate::id::VersionId;

impl Sim {
    /// Does one step. How the process ends, where it does.
    pub(super) async fn step(&mut self, engine: &mut Engine, at: usize, step: &Step) -> Result<Option<End>, Broken> {
        match step {
            Step::Ops(ops) => return self.ops(engine, at, ops).await,
            Step::Fault { which, fault } => self.fall_ill(*which, *fault),
            Step::Mend { which } => self.mend(*which),
            Step::Damage { which, damage } => self.damage(*which, *damage),
            Step::Remember { which } => {
                if let Some(disk) = self.ill(*which) {
                    let mut state = self.world.lock();
                    state.disks[disk].old = Some(state.disks[disk].files.clone());
                }
            }
            Step::Jump { ms } => {
                self.is_deleted_forgotten = true;
                self.world.lock().jump(*ms);
            }
            Step::Pass { ms } => tokio::time::sleep(Duration::from_millis(*ms)).await,
            Step::Fuse { calls, end } => {
                self.fuse = *end;
                self.world.crash_after(*calls);
            }
            Step::Restart { end } => {
                if *end == End::Closed {
                    let closed = engine.close().await;
                    closed.map_err(|e| format!("closing: {e}"))?;
                }
                return Ok(Some(*end));
            }
            Step::Tend { next } => {
                self.world.no_crash();
                self.tend(engine).await?;
                self.illness = next.clone();
            }
        }
        Ok(None)
    }

    fn ill(&self, which: usize) -> Option<usize> {
        let ill = &self.illness.ill;
        (!ill.is_empty()).then(|| ill[which % ill.len()])
    }

    fn fall_ill(&mut self, which: usize, fault: Fault) {
        let anywhere = self.illness.storm && Fault::HONEST.contains(&fault);
        let disk = if anywhere { Some(which % self.layout.backends) } else { self.ill(which) };
        if let Some(disk) = disk {
            self.is_spotless &= Fault::HONEST.contains(&fault);
            self.world.lock().disks[disk].fault = Some(fault);
        }
    }

    fn mend(&mut self, which: usize) {
        let mut state = self.world.lock();
        let with: Vec<usize> = (0..state.disks.len()).filter(|disk| state.disks[*disk].fault.is_some()).collect();
        if let Some(disk) = (!with.is_empty()).then(|| with[which % with.len()]) {
            state.disks[disk].fault = None;
            // Until the watch has seen it, it is not used.
            self.calm_from = Some(Instant::now() + Duration::from_secs(60));
        }
    }

    fn damage(&mut self, which: usize, damage: Damage) {
        let Some(disk) = self.ill(which) else { return };
        self.damaged.insert(disk);
        self.is_spotless = false;
        super::tend::damage(&mut self.world.lock(), disk, damage);
    }

    /// A sweep drops tombstones. With k ≤ m, or where a copy has its shards from what lives, a backend that comes back as it
    /// was before, or shows that, may bring back what was deleted, and so much is not promised: docs/reliability.md.
    pub fn forget_what_was(&mut self) {
        self.has_swept = true;
        if self.may_come_back() {
            self.world.lock().disks.iter_mut().for_each(|disk| disk.old = None);
        }
        // As long as the clock goes on and the process lives, tombstones outlast what a stale backend shows, or what it shows
        // is known to be deleted.
        if self.is_deleted_forgotten {
            self.forget_what_was_deleted();
        }
    }

    pub fn forget_what_was_deleted(&self) {
        if self.may_come_back() {
            self.world.lock().disks.iter_mut().for_each(|disk| disk.deleted.clear());
        }
    }

    /// Whether one backend may have enough of something deleted to bring it back once its tombstone is dropped.
    fn may_come_back(&self) -> bool {
        let schemes = || self.layout.others.iter().chain([&self.layout.scheme]);
        self.has_copied || schemes().any(|(k, m)| k <= m)
    }

    async fn ops(&mut self, engine: &Engine, at: usize, ops: &[(u64, Op)]) -> Result<Option<End>, Broken> {
        let mut plan = Vec::new();
        for (delay_ms, op) in ops {
            plan.push(self.plan(engine, *delay_ms, op).await);
        }
        self.has_copied |= ops.iter().any(|(_, op)| matches!(op, Op::Copy { .. }));
        if ops.iter().any(|(_, op)| matches!(op, Op::Rebuild | Op::Sweep)) {
            self.look_at_history();
        }
        if ops.iter().any(|(_, op)| matches!(op, Op::Sweep)) {
            self.forget_what_was();
        }
        let before = self.strictness(engine).await?;
        let alone = plan.len() == 1;
        *crate::core::lock(&self.underway) = plan.iter().map(|planned| (planned.clone(), None)).collect();
        let actor = Actor { engine: engine.clone(), world: self.world.clone(), layout: self.layout.clone(), alone };
        join_all(plan.iter().enumerate().map(|(i, planned)| {
            let (actor, underway) = (&actor, self.underway.clone());
            async move {
                let told = actor.act(planned).await;
                crate::core::lock(&underway)[i].1 = Some(told);
            }
        }))
        .await;
        let tales = std::mem::take(&mut *crate::core::lock(&self.underway));
        let after = self.strictness(engine).await?;
        // While the catalog is made anew the history is not all there yet.
        let rebuilds = ops.iter().any(|(_, op)| matches!(op, Op::Rebuild)) && ops.len() > 1;
        let history = before.history && after.history && !rebuilds;
        let strict = Strictness { reads: before.reads && after.reads && !rebuilds, history };
        self.model.settle(at, &tales, strict)?;
        self.world.no_crash();
        self.read_all(engine, "after the step").await?;
        self.nothing_is_lost(engine).await?;
        Ok(None)
    }

    async fn plan(&mut self, engine: &Engine, delay_ms: u64, op: &Op) -> Planned {
        let (writes, condition) = needs(op);
        let value = writes.map(|(_, len)| self.model.new_value(len));
        let precondition = match (condition, writes) {
            (Condition::Absent, _) => Precondition::Absent,
            (Condition::Unchanged, Some((key, _))) => {
                let (bucket, key) = name(key);
                let head = engine.head(bucket, &key, None).await;
                head.map_or(Precondition::None, |info| Precondition::VersionIs(info.version()))
            }
            _ => Precondition::None,
        };
        let version = match op {
            Op::DeleteVersion { key, pick } | Op::GetVersion { key, pick } => {
                let known: Vec<VersionId> = self.model.all[key - LAST_KEYS].versions.keys().copied().collect();
                (!known.is_empty()).then(|| known[pick % known.len()])
            }
            _ => None,
        };
        Planned { delay_ms, op: op.clone(), value, precondition, version }
    }
}
