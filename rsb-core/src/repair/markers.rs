//! Markers that were lost, or of which only the beginning is there. A backend without one is not used, as an empty disk has none either; but one that still holds
//! what the catalog says that it holds is the right one, and gets its marker again.

use std::sync::Arc;

use crate::backend::Backend;
use crate::catalog::HolderState;
use crate::core::Core;
use crate::error::Result;
use crate::files::{FaultKind, get_all};
use crate::format::batch::{MAX_RECORD_LEN, read_copy};
use crate::format::marker::Marker;
use crate::format::paths;
use crate::recover::{is_torn, read_marker, write_marker};

/// So many of its files must show that it is the one.
const PROOFS: usize = 3;

/// Writes the markers that are missing on backends that prove to be this repository's. Gives their names.
pub(crate) async fn restore(core: &Arc<Core>) -> Result<Vec<String>> {
    let mut restored = Vec::new();
    for backend in core.backends.iter().filter(|b| !b.is_admitted() && b.is_writable()) {
        let margin = core.record_margin as u16;
        let marker = Marker::new(core.repository, &core.config.name, backend.name(), margin);
        let is_lost = match read_marker(backend).await {
            Ok(found) => found.is_none(),
            Err(fault) => fault.kind == FaultKind::Corrupt && is_torn(backend, &marker).await,
        };
        if !is_lost || !is_proven(core, backend).await? {
            continue;
        }
        write_marker(backend, &marker).await?;
        tracing::warn!(backend = backend.name(), "had lost its marker, and has it again: it holds what it should");
        crate::watch::look_again(core, backend).await;
        restored.push(backend.name().to_owned());
    }
    Ok(restored)
}

/// Whether its newest manifest files are those that the catalog says it has.
async fn is_proven(core: &Core, backend: &Backend) -> Result<bool> {
    let (mut after, mut held) = (None, Vec::new());
    loop {
        let page = core.catalog.batches_after(after, 1000).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        held.extend(page.iter().filter_map(|row| {
            let own = |h: &&crate::catalog::Holder| h.backend == backend.name() && h.state == HolderState::Held;
            row.holders.iter().find(own).map(|holder| (row.id, holder.copy))
        }));
        held.drain(..held.len().saturating_sub(PROOFS));
    }
    for (id, copy) in &held {
        let Ok(bytes) = get_all(backend, &paths::batch(*id), MAX_RECORD_LEN).await else { return Ok(false) };
        match read_copy(&core.checksums, core.repository, *id, &bytes) {
            Ok((header, records)) if header.copy == *copy && records.iter().all(Result::is_ok) => {}
            _ => return Ok(false),
        }
    }
    Ok(!held.is_empty())
}
