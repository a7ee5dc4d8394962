//! Moves: drain and replace a backend, rebalance, rescheme.

use super::{Engine, EngineConfig};
use crate::api::{Move, MovePlan, MoveRecord, MoveReport, Progress, WorkPlan, WorkRequest};
use crate::backend::Backend;
use crate::error::Result;
use crate::{moves, recover};

impl Engine {
    /// Refuses what [`Engine::plan_move`] refuses, without counting.
    pub async fn check_move(&self, order: &Move) -> Result<()> {
        moves::check(&self.core, order).await
    }

    /// What a move would take, by the catalog. Refuses what could not come to its end: an unknown backend (`NotFound`), too
    /// few others for new objects (`Config`), a scheme that cannot be (`Invalid`, `Config`).
    pub async fn plan_move(&self, order: &Move, progress: &Progress) -> Result<MovePlan> {
        moves::plan(&self.core, order, progress).await
    }

    /// What reading, checking or keeping objects would take, by the catalog. `NotFound` where the bucket does not exist.
    pub async fn plan_work(&self, request: &WorkRequest, progress: &Progress) -> Result<WorkPlan> {
        moves::plan_work(&self.core, request, progress).await
    }

    /// Carries a move out; one that was begun before and not cancelled goes on. What is left to do is read from the
    /// manifests, so it may be dropped or killed at any moment and begun again. `Conflict` while another move runs.
    ///
    /// From the start of a drain on nothing new is written to its backend, after a restart too, until it is cancelled. What
    /// could not be moved is in the report; a cancelled `progress` ends it with `Cancelled` and leaves it to be gone on with.
    pub async fn run_move(&self, order: &Move, progress: &Progress) -> Result<MoveReport> {
        moves::run(&self.core, &self.committer, order, progress).await
    }

    /// The moves that were begun, and drains that are done while the config still has their backends; oldest first.
    pub async fn moves(&self) -> Result<Vec<MoveRecord>> {
        moves::list(&self.core).await
    }

    /// Writes the marker on one backend that has none, as the others' markers have it; whether it had none. `NotFound`,
    /// `Unavailable` where it, or every other one, does not answer, `Config` where it is another's.
    pub async fn init_marker(config: &EngineConfig, backends: &[Backend], name: &str) -> Result<bool> {
        recover::init_marker(config, backends, name).await
    }

    /// Writes the marker on a backend of the config that has none, and uses it from then on; whether it had none.
    /// `NotFound`; `Unavailable` where it does not answer; `Config` where it is another's.
    pub async fn add_backend(&self, name: &str) -> Result<bool> {
        recover::add_marker(&self.core, name).await
    }

    /// Gives a move up: what it moved stays where it is, and a backend that it drained takes new writes again. End the one
    /// that runs first, by its progress. `NotFound`.
    pub async fn cancel_move(&self, id: &str) -> Result<MoveRecord> {
        self.core.check_writable()?;
        moves::cancel(&self.core, id).await
    }

    /// Remembers that a move waits, or goes on: what a later start of it keeps to. The one that runs is told by its progress.
    pub async fn pause_move(&self, id: &str, paused: bool) -> Result<MoveRecord> {
        self.core.check_writable()?;
        moves::pause(&self.core, id, paused).await
    }
}
