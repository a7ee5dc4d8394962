//! What all backends list, for checks of many objects.

use std::collections::{BTreeSet, HashMap};

use super::checker::out_of_reach;
use crate::core::Core;
use crate::files::{Fault, FaultKind};
use crate::format::paths;
use crate::id::{BatchId, DataId};
use crate::read::elsewhere::Known;
use crate::read::piece::{Piece, ShardAt};
use crate::recover::list_all;

/// What the listings of all backends show: presence and size.
pub(super) struct Inventory {
    /// Those that were listed.
    backends: BTreeSet<String>,
    pub shards: HashMap<(String, DataId, usize), u64>,
    pub batches: HashMap<(String, BatchId), u64>,
    pub unreachable: BTreeSet<String>,
}

impl Inventory {
    /// Lists everything.
    pub async fn list(core: &Core) -> Self {
        let shards = list_all(core, paths::shards(), None, |meta| {
            paths::parse_shard(&meta.location).map(|(id, index)| (id, index, meta.size))
        })
        .await;
        let batches = list_all(core, paths::manifests(), None, |meta| {
            paths::parse_batch(&meta.location).map(|id| (id, meta.size))
        })
        .await;
        let mut out = Self {
            backends: shards.files.iter().map(|(name, _)| name.clone()).collect(),
            shards: HashMap::new(),
            batches: HashMap::new(),
            unreachable: shards.unreachable.into_iter().chain(batches.unreachable).collect(),
        };
        for (backend, files) in shards.files {
            out.shards.extend(files.into_iter().map(|(id, index, size)| ((backend.clone(), id, index), size)));
        }
        for (backend, files) in batches.files {
            out.batches.extend(files.into_iter().map(|(id, size)| ((backend.clone(), id), size)));
        }
        out
    }

    /// Where shards of a segment are listed, as long as they should be, but where it is known what is there: one place for each.
    pub fn elsewhere(&self, piece: &Piece, lost: &[usize], known: &Known) -> Vec<(usize, ShardAt)> {
        let is_there = |index: usize, name: &str| {
            let size = self.shards.get(&(name.to_owned(), piece.data_id, index));
            size == Some(&piece.file_len()) && !known.contains(&(index, name.to_owned()))
        };
        let place_of = |index: &usize| {
            let name = self.backends.iter().find(|name| is_there(*index, name))?;
            Some((*index, ShardAt::of_segment(name, piece.data_id, *index)))
        };
        lost.iter().filter_map(place_of).collect()
    }
}

pub(super) fn listed(inventory: &Inventory, backend: &str, size: Option<u64>) -> Result<u64, Fault> {
    if inventory.unreachable.contains(backend) {
        return Err(out_of_reach());
    }
    size.ok_or_else(|| Fault { kind: FaultKind::Missing, detail: "it is not there".into() })
}
