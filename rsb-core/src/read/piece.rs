//! A piece: the shards of one segment, or the inline shards of one object, seen alike: for each shard, a file and where in
//! it the stripes begin.

use object_store::path::Path;

use crate::catalog::{BatchRow, Entry, HolderState, LedgerItem, Located};
use crate::format::manifest::{Body, InlineBody, Manifest, SegmentView};
use crate::format::{paths, shard};
use crate::id::{BatchId, DataId};
use crate::scheme::Scheme;
use crate::stripe::Layout;

/// Where one shard is.
#[derive(Clone, Debug)]
pub(crate) struct ShardAt {
    /// The backend's name.
    pub backend: String,
    /// The file.
    pub path: Path,
    /// Where stripe 0's checksum begins in the file.
    pub base: u64,
}

impl ShardAt {
    /// Where a segment's shard lies on a backend.
    pub fn of_segment(backend: &str, data_id: DataId, index: usize) -> Self {
        Self { backend: backend.to_owned(), path: paths::shard(data_id, index), base: shard::HEADER_LEN as u64 }
    }
}

/// The shards of a segment, or of an inline object.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub data_id: DataId,
    pub scheme: Scheme,
    pub layout: Layout,
    /// Where the piece begins in the object.
    pub start: u64,
    /// By shard index; `None` where no backend is known to have it.
    pub shards: Vec<Option<ShardAt>>,
    /// The batch whose copies carry the shards, for an inline object.
    pub batch: Option<BatchId>,
}

impl Piece {
    /// A segment.
    pub fn of_segment(view: &SegmentView<'_>) -> Self {
        let scheme = view.scheme.scheme;
        let shards = view
            .backends
            .iter()
            .enumerate()
            .map(|(index, backend)| Some(ShardAt::of_segment(backend, view.data_id, index)));
        Self {
            data_id: view.data_id,
            scheme,
            layout: Layout::new(&scheme, view.scheme.symbol_len as usize, view.len),
            start: view.start,
            shards: shards.collect(),
            batch: None,
        }
    }

    /// An inline object, with the batch its record lies in.
    pub fn of_inline(body: &InlineBody, size: u64, at: Located, batch: &BatchRow) -> Self {
        let mut shards = vec![None; body.scheme.n()];
        for holder in batch.holders.iter().filter(|h| h.state == HolderState::Held) {
            if let Some(slot) = shards.get_mut(usize::from(holder.copy)) {
                *slot = Some(ShardAt {
                    backend: holder.backend.clone(),
                    path: paths::batch(at.batch),
                    base: at.extent.inline_range().start,
                });
            }
        }
        Self {
            data_id: body.data_id,
            scheme: body.scheme,
            layout: Layout::inline(&body.scheme, body.symbol_len as usize, size),
            start: 0,
            shards,
            batch: Some(at.batch),
        }
    }

    /// All pieces of a version, in order. `batch` is needed for an inline object.
    pub fn of_entry(entry: &Entry, batch: Option<&BatchRow>) -> Vec<Self> {
        match (&entry.manifest.body, batch) {
            (Body::Segments(body), _) => body.views().map(|view| Self::of_segment(&view)).collect(),
            (Body::Inline(body), Some(batch)) => {
                vec![Self::of_inline(body, entry.manifest.size, entry.at, batch)]
            }
            (Body::Inline(_), None) | (Body::None, _) => Vec::new(),
        }
    }

    /// A segment as each of these versions has it: of two that share it, one may name a new place already.
    pub fn views(referrers: &[Entry], id: DataId) -> impl Iterator<Item = (&Entry, Self)> {
        referrers.iter().filter_map(move |entry| {
            let mut pieces = Self::of_entry(entry, None).into_iter();
            Some((entry, pieces.find(|piece| piece.data_id == id)?))
        })
    }

    /// Whether a manifest's pieces need the batch row.
    pub fn needs_batch(manifest: &Manifest) -> bool {
        matches!(manifest.body, Body::Inline(_))
    }

    /// How long each shard's file is, of a segment.
    pub fn file_len(&self) -> u64 {
        shard::HEADER_LEN as u64 + self.layout.shard_body_len()
    }

    /// What the ledger calls a shard of it.
    pub fn ledger_item(&self, index: usize) -> LedgerItem {
        match self.batch {
            Some(batch) => LedgerItem::Copy { batch, copy: index as u16 },
            None => LedgerItem::Shard { data_id: self.data_id, index: index as u16 },
        }
    }
}
