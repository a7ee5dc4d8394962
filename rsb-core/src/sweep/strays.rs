//! Where the shards of segments are named, and which of those that lie elsewhere are needed there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::catalog::{LedgerEntry, LedgerItem, LedgerReason};
use crate::core::Core;
use crate::error::Result;
use crate::format::manifest::{Body, SegmentView};
use crate::id::DataId;
use crate::read::piece::Piece;

/// The places of each segment's shards, as each that names it has them: two that share it may name different ones for a moment.
#[derive(Default)]
pub(super) struct Named(HashMap<DataId, Places>);

struct Places {
    /// How long each shard's file is.
    file_len: u64,
    /// By shard index, the backend.
    views: Vec<Vec<String>>,
}

/// Shards that are needed where they lie, though nothing names them there; for each, a backend that should have it and has not.
pub(super) type Needed = BTreeMap<(DataId, usize), String>;

impl Named {
    /// What every live version, and every part of an open upload, names.
    pub async fn in_catalog(core: &Core) -> Result<Self> {
        // Parts before versions: one that is completed meanwhile has been seen as a part.
        let mut named = Self::by_parts(core).await?;
        let mut after = None;
        loop {
            let page = core.catalog.versions_after(after.clone(), 1000).await?;
            let Some(last) = page.last() else { return Ok(named) };
            after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
            for entry in &page {
                let Body::Segments(body) = &entry.manifest.body else { continue };
                body.views().for_each(|view| named.add(&view));
            }
        }
    }

    async fn by_parts(core: &Core) -> Result<Self> {
        let mut named = Self::default();
        let mut after = None;
        loop {
            let page = core.catalog.uploads_after(after, 1000).await?;
            let Some(last) = page.last() else { return Ok(named) };
            after = Some(last.id);
            for upload in page {
                for part in core.catalog.parts(upload.id, 0, usize::MAX).await? {
                    part.body.views().for_each(|view| named.add(&view));
                }
            }
        }
    }

    fn add(&mut self, view: &SegmentView<'_>) {
        let file_len = || Piece::of_segment(view).file_len();
        let places = self.0.entry(view.data_id).or_insert_with(|| Places { file_len: file_len(), views: Vec::new() });
        if !places.views.iter().any(|known| known.iter().eq(view.backends.iter())) {
            places.views.push(view.backends.iter().map(|b| (*b).to_owned()).collect());
        }
    }

    pub fn contains(&self, id: DataId) -> bool {
        self.0.contains_key(&id)
    }

    /// The backends that something names for a shard.
    fn places_of(&self, id: DataId, index: usize) -> impl Iterator<Item = &str> {
        let views = self.0.get(&id).into_iter().flat_map(|places| &places.views);
        views.filter_map(move |view| view.get(index).map(String::as_str))
    }

    /// Whether something names a shard on this backend.
    pub fn names(&self, id: DataId, index: usize, backend: &str) -> bool {
        self.places_of(id, index).any(|name| name == backend)
    }

    /// Of shards that lie where nothing names them, with the length of the file, those that are not listed everywhere where they
    /// are named: they may be the last ones.
    pub fn needed<'l>(
        &self,
        strays: impl Iterator<Item = (DataId, usize, u64)>,
        listed: impl Iterator<Item = (DataId, usize, u64, &'l str)>,
    ) -> Needed {
        let is_whole = |id: DataId, len: u64| self.0.get(&id).is_some_and(|places| places.file_len == len);
        let strays: BTreeSet<(DataId, usize)> =
            strays.filter(|(id, _, len)| is_whole(*id, *len)).map(|(id, index, _)| (id, index)).collect();
        if strays.is_empty() {
            return Needed::new();
        }
        let there: HashSet<(DataId, usize, &str)> = listed
            .filter(|(id, index, len, _)| strays.contains(&(*id, *index)) && is_whole(*id, *len))
            .map(|(id, index, _, backend)| (id, index, backend))
            .collect();
        let lacking = |(id, index): &(DataId, usize)| {
            self.places_of(*id, *index).find(|name| !there.contains(&(*id, *index, *name))).map(str::to_owned)
        };
        strays.into_iter().filter_map(|shard| Some((shard, lacking(&shard)?))).collect()
    }
}

/// Notes in the ledger that these are not where they should be: a repair puts them there, and then the strays may go.
pub(super) async fn note(core: &Core, needed: &Needed) -> Result<()> {
    let mut lines = Vec::new();
    for ((data_id, index), backend) in needed {
        for entry in core.catalog.referrers(*data_id).await?.into_iter().take(1) {
            lines.push(LedgerEntry {
                item: LedgerItem::Shard { data_id: *data_id, index: *index as u16 },
                backend: backend.clone(),
                bucket: entry.manifest.bucket,
                key: entry.manifest.key,
                reason: LedgerReason::Missing,
                noted_ms: core.env.now_ms(),
            });
        }
    }
    if lines.is_empty() { Ok(()) } else { core.catalog.ledger_add(lines).await }
}
