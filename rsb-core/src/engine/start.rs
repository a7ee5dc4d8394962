//! A repository is opened: its catalog is brought up to date with the backends.

use std::sync::Arc;

use super::CLEAN;
use crate::api::Progress;
use crate::core::Core;
use crate::env::Flaw;
use crate::error::Result;
use crate::id::{BatchId, VersionId};
use crate::recover::{self, IDS_FROM, PARTIAL, REPOSITORY_ID};

/// How much older than the greatest committed batch one that was in flight beside it may be.
const CATCH_UP_MARGIN_MS: u64 = 10 * 60 * 1000;

/// Brings the catalog up to date, unless it was closed with nothing in flight.
pub(super) async fn start_up(core: &Arc<Core>) -> Result<()> {
    let catalog = &core.catalog;
    if let Some(ms) = catalog.value(IDS_FROM).await?.and_then(|ms| ms.parse().ok()) {
        core.env.observe_ms(ms);
    }
    catalog.set_value(REPOSITORY_ID, Some(core.repository.to_string())).await?;
    let clean = catalog.value(CLEAN).await?.is_some();
    catalog.set_value(CLEAN, None).await?;
    keep_first_id(core).await?;
    // A power cut that took this back would make the next start believe that nothing happened in between.
    if !core.env.has(Flaw::OpensUnsynced) {
        catalog.sync().await?;
    }
    if clean {
        recover::expect_late_as_before(core).await?;
        return Ok(());
    }
    core.doubt_uploads_so_far();
    // A batch is named before it is written and committed after, so those still open at the last stop lie from the low-water
    // mark on. Others that were in flight beside it may be a little older.
    let mut from = catalog.low_water().await?.map(|id| BatchId(crate::env::id_before(id.0, CATCH_UP_MARGIN_MS)));
    if catalog.value(PARTIAL).await?.is_some() {
        from = None;
    }
    // What too few backends show is taken in newest first, so where it is broken off the low-water mark says nothing.
    catalog.set_value(PARTIAL, Some("yes".into())).await?;
    let report = recover::catch_up(core, from, true, &Progress::default()).await?;
    let open: Vec<VersionId> = catalog.open_intents().await?.into_iter().map(|intent| intent.version).collect();
    catalog.release(&open).await?;
    catalog.set_value(PARTIAL, None).await?;
    core.env.outlive_earlier();
    keep_first_id(core).await?;
    recover::expect_late(core).await?;
    catalog.sync().await?;
    recover::judge_certainty(core, &report);
    Ok(())
}

/// Keeps where the ids of this process begin: what it writes may be known to nobody when the next one begins, and the clock
/// may say anything then.
async fn keep_first_id(core: &Core) -> Result<()> {
    core.catalog.set_value(IDS_FROM, Some(core.env.next_id_ms().to_string())).await
}
