//! The watch over the backends: one that was away is used as soon as it shows its marker, and one that fails is asked
//! whether it still has it. So a disk that comes back needs no restart, and one that comes back empty, or as another's, is
//! neither read nor written.

use std::sync::Arc;

use futures::stream::{self, StreamExt};

use crate::api::Progress;
use crate::backend::Backend;
use crate::core::Core;
use crate::health::{ErrorClass, Op};
use crate::recover::{catch_up, judge_certainty, read_marker, wrong_marker};

/// The well ones are asked too, in one round of so many: every five minutes, which costs a request each.
const WELL_ONES_EACH: u64 = 30;

/// Watches until the repository is closed or let go of.
pub(crate) fn start(core: &Arc<Core>) {
    let (weak, closing, every) = (Arc::downgrade(core), core.closing.clone(), core.config.watch_every);
    core.tasks.spawn(async move {
        for round in 1u64.. {
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let Some(core) = weak.upgrade() else { return };
            if round.is_multiple_of(WELL_ONES_EACH) {
                look_at_all(&core).await;
            } else {
                look_at_the_ill(&core).await;
            }
        }
    });
}

/// Asks for the markers of backends that are away or have failed since their last success.
async fn look_at_the_ill(core: &Arc<Core>) {
    let ill = core.backends.iter().filter(|b| !b.is_admitted() || b.health().is_ill());
    look(core, ill.cloned().collect()).await;
}

/// Asks all backends for their markers.
pub(crate) async fn look_at_all(core: &Arc<Core>) {
    look(core, core.backends.clone()).await;
}

async fn look(core: &Arc<Core>, backends: Vec<Backend>) {
    let count = backends.len().max(1);
    let looks = stream::iter(backends).map(|backend| async move { look_at(core, &backend).await });
    let came_back: Vec<bool> = looks.buffer_unordered(count).collect().await;
    if came_back.contains(&true) && core.is_uncertain() && core.closed_reason().is_none() {
        // What it holds may be what was missing to be sure of the history.
        match catch_up(core, core.catalog.as_ref(), None, true, &Progress::default()).await {
            Ok(report) => judge_certainty(core, &report),
            Err(error) => tracing::error!(%error, "the catalog could not catch up with a backend that came back"),
        }
    }
}

/// Admits or expels a backend by its marker. Whether it came back.
async fn look_at(core: &Core, backend: &Backend) -> bool {
    let (name, was_admitted) = (backend.name(), backend.is_admitted());
    match read_marker(backend).await {
        // It does not answer: what is known of it stays.
        Err(_) => return false,
        Ok(Some(found)) => match wrong_marker(backend, &found, core.repository) {
            None if was_admitted => {
                backend.health().recovered();
                return false;
            }
            None => {
                tracing::warn!(backend = name, "is back");
                backend.admit();
                return true;
            }
            Some(error) => tracing::error!(backend = name, "is not used any more: {error}"),
        },
        Ok(None) if was_admitted => tracing::error!(
            backend = name,
            "has lost its marker, so it is not used any more: it is empty, or not mounted; `rsb config init` writes one"
        ),
        Ok(None) => {}
    }
    backend.expel();
    backend.health().failed(Op::Read, ErrorClass::Other, "it does not show this repository's marker");
    false
}
