//! The engine itself loses nothing: as long as no backend has lied or lost anything, and no process has died, what the
//! catalog names is there, or in the ledger. A shard that goes unnoticed is read around, and would not be missed for long.

use std::collections::BTreeSet;

use super::judge::Broken;
use super::run::Sim;
use crate::Engine;
use crate::catalog::{Catalog, HolderState, LedgerItem};
use crate::format::manifest::Body;
use crate::format::paths;

impl Sim {
    /// Holds the catalog against the disks.
    pub(super) async fn nothing_is_lost(&self, engine: &Engine) -> Result<(), Broken> {
        // While the catalog is made anew nothing is known.
        if !self.is_spotless || engine.core.check_catalog_whole().is_err() {
            return Ok(());
        }
        let missing = self.missing(engine.core.catalog.as_ref()).await.map_err(|e| format!("the catalog: {e}"))?;
        match missing.first() {
            Some(missing) => Err(format!("nobody took it away, and it is gone, and not in the ledger: {missing}")),
            None => Ok(()),
        }
    }

    async fn missing(&self, catalog: &dyn Catalog) -> crate::Result<Vec<String>> {
        let short: BTreeSet<LedgerItem> =
            catalog.ledger_after(None, 10_000).await?.into_iter().map(|line| line.item).collect();
        let versions = catalog.versions_after(None, 10_000).await?;
        let mut batches = Vec::new();
        for row in catalog.batches_after(None, 10_000).await? {
            // A dead one may be on its way out.
            if catalog.is_live(row.id).await? {
                batches.push(row);
            }
        }
        let state = self.world.lock();
        let is_there = |backend: &str, path: &object_store::path::Path| {
            let disk = backend.strip_prefix('b').and_then(|number| number.parse::<usize>().ok());
            disk.and_then(|disk| state.disks.get(disk)).is_some_and(|disk| disk.files.contains_key(path))
        };
        let mut missing = Vec::new();
        for entry in &versions {
            let Body::Segments(body) = &entry.manifest.body else { continue };
            for view in body.views() {
                for (index, backend) in view.backends.iter().enumerate() {
                    let path = paths::shard(view.data_id, index);
                    let line = LedgerItem::Shard { data_id: view.data_id, index: index as u16 };
                    if !is_there(backend, &path) && !short.contains(&line) {
                        missing.push(format!("{path} of {} on {backend}", entry.manifest.key));
                    }
                }
            }
        }
        for row in &batches {
            for holder in row.holders.iter().filter(|h| h.state == HolderState::Held) {
                let line = LedgerItem::Copy { batch: row.id, copy: holder.copy };
                if !is_there(&holder.backend, &paths::batch(row.id)) && !short.contains(&line) {
                    missing.push(format!("copy {} of batch {} on {}", holder.copy, row.id, holder.backend));
                }
            }
        }
        Ok(missing)
    }
}
