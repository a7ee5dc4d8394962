//! What is read while nothing else is going on, held against the model.

use std::time::Duration;

use tokio::time::Instant;

use super::act::{Actor, Told};
use super::history::KEYS;
use super::judge::{Broken, Strictness};
use super::run::Sim;
use crate::catalog::Catalog;
use crate::{Engine, ErrorKind};

impl Sim {
    /// What may be asked of reads now.
    pub async fn strictness(&self, engine: &Engine) -> Result<Strictness, Broken> {
        // A write passes over a backend of which the breaker has not seen yet that it is well: what is short by that, and not
        // healed, survives the loss of fewer than m.
        let others_short = self.is_short_elsewhere().await?;
        let state = self.world.lock();
        let others_ill =
            (0..state.disks.len()).any(|disk| state.disks[disk].fault.is_some() && !self.illness.ill.contains(&disk));
        let calm = !others_ill && !others_short && self.calm_from.is_none_or(|from| Instant::now() >= from);
        Ok(Strictness { reads: calm, history: !engine.core.is_uncertain() && !self.shaky })
    }

    /// Whether something is noted to be missing on a backend that is not ill.
    async fn is_short_elsewhere(&self) -> Result<bool, Broken> {
        let Some(catalog) = &self.catalog else { return Ok(false) };
        let lines = catalog.ledger_after(None, 10_000).await.map_err(|e| format!("the catalog: {e}"))?;
        let ill: Vec<String> = self.illness.ill.iter().map(|disk| format!("b{disk}")).collect();
        Ok(lines.iter().any(|line| !ill.contains(&line.backend)))
    }

    /// Reads the newest of every key, while nothing is going on, and holds it against the model.
    pub async fn read_all(&mut self, engine: &Engine, when: &str) -> Result<(), Broken> {
        self.read_each(engine, when, false).await
    }

    /// The same; what is not sure yet must be readable too: it is there wholly, or not at all.
    pub async fn read_all_strictly(&mut self, engine: &Engine, when: &str) -> Result<(), Broken> {
        self.read_each(engine, when, true).await
    }

    async fn read_each(&mut self, engine: &Engine, when: &str, open_too: bool) -> Result<(), Broken> {
        let layout = self.layout.clone();
        let actor = Actor { engine: engine.clone(), world: self.world.clone(), layout, alone: true };
        for key in 0..KEYS {
            let before = self.strictness(engine).await?;
            let mut told = actor.get(key, None, None).await;
            // It is made anew as what was in doubt can be told now: that ends.
            while engine.core.check_catalog_whole().is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
                told = actor.get(key, None, None).await;
            }
            let told = told.unwrap_or_else(|error| Told::Failed(error.kind(), error.to_string()));
            let after = self.strictness(engine).await?;
            let strict = Strictness {
                reads: before.reads && after.reads && (open_too || !self.model.is_open(key)),
                history: before.history && after.history,
            };
            if let Told::Failed(ErrorKind::Internal, message) = &told {
                return Err(format!("{when}: {message}"));
            }
            let judged = self.model.judge_read(key, &self.model.newest(key), &told, strict);
            judged.map_err(|broken| format!("{when}: {broken}"))?;
            // What is in doubt is shown, and may be unreadable, or not there, until it is told.
            let told_for_good = strict.history && !self.is_undecided().await?;
            match told {
                Told::Read(_, value, ..) if told_for_good => self.model.seen(key, Some(value)),
                Told::Failed(ErrorKind::NotFound, _) if told_for_good => self.model.seen(key, None),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the catalog shows what is in doubt.
    async fn is_undecided(&self) -> Result<bool, Broken> {
        let Some(catalog) = &self.catalog else { return Ok(false) };
        let value = catalog.value(crate::recover::UNDECIDED).await.map_err(|e| format!("the catalog: {e}"))?;
        Ok(value.is_some())
    }
}
