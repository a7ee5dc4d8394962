//! Moving house in a history: drains, rebalances, reschemes, and moves that are given up.

use super::act::{Actor, Told, broken};
use super::history::Layout;
use super::rng::Rng;
use crate::catalog::HolderState;
use crate::format::manifest::Body;
use crate::{Engine, MoveTask, Progress, Result, Scope};

/// A move of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moving {
    /// A backend is drained, and takes no new writes from then on.
    Drain(usize),
    /// What is stored is evened out.
    Rebalance,
    /// Objects get another scheme: one of those that the layout has.
    Rescheme(usize),
    /// All moves are given up: drained backends take writes again.
    Cancel,
}

impl Moving {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0..4 => Self::Drain(rng.index(64)),
            4..6 => Self::Rebalance,
            6..8 => Self::Rescheme(rng.index(64)),
            _ => Self::Cancel,
        }
    }

    fn task(self, layout: &Layout) -> Option<MoveTask> {
        match self {
            Self::Drain(which) => {
                let backend = format!("b{}", which % layout.backends);
                Some(MoveTask::Drain { backend, to: None, lost: false })
            }
            Self::Rebalance => Some(MoveTask::Rebalance),
            Self::Rescheme(which) => {
                let schemes: Vec<(usize, usize)> =
                    std::iter::once(layout.scheme).chain(layout.others.clone()).collect();
                let (data_shards, parity_shards) = schemes[which % schemes.len()];
                Some(MoveTask::Rescheme { scope: Scope::default(), data_shards, parity_shards })
            }
            Self::Cancel => None,
        }
    }
}

impl Actor {
    /// Carries a move out. A proof that a backend holds nothing live is held against the catalog.
    pub(super) async fn moving(&self, moving: Moving) -> Result<Told> {
        let Some(task) = moving.task(&self.layout) else {
            for record in self.engine.moves().await? {
                self.engine.cancel_move(&record.id).await?;
            }
            return Ok(Told::Done);
        };
        let report = self.engine.run_move(&task.into(), &Progress::default()).await?;
        if let Some(proof) = report.proof.filter(|proof| proof.holds_nothing_live && self.alone)
            && let Some(live) = live_on(&self.engine, &proof.backend).await?
        {
            return Err(broken(format!("{} is said to hold nothing live, and holds {live}", proof.backend)));
        }
        Ok(Told::Done)
    }
}

/// Something live that the catalog has on a backend.
async fn live_on(engine: &Engine, backend: &str) -> Result<Option<String>> {
    let catalog = &engine.core.catalog;
    for entry in catalog.versions_after(None, 10_000).await? {
        let Body::Segments(body) = &entry.manifest.body else { continue };
        if let Some(view) = body.views().find(|view| view.backends.contains(&backend)) {
            return Ok(Some(format!("a shard of segment {}", view.data_id)));
        }
    }
    for row in catalog.batches_after(None, 10_000).await? {
        let counts = row.holders.iter().any(|h| h.backend == backend && h.state == HolderState::Held);
        if counts && catalog.is_live(row.id).await? {
            return Ok(Some(format!("a copy of batch {}", row.id)));
        }
    }
    Ok(None)
}
