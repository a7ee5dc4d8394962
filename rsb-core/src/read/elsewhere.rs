//! Shards that lie where the version that is looked at does not name them. A copy of an object names its source's places; when its
//! process dies, and its record lands after shards of the source were moved, they are the old ones.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt};

use super::piece::{Piece, ShardAt};
use crate::core::Core;
use crate::files::{FaultKind, size_of};
use crate::format::paths;

/// So many files are asked for at once.
const AT_ONCE: usize = 32;

/// Whether it can be that a shard lies elsewhere: it is not where it is named. One whose backend is away may well be there.
pub(crate) fn may_be(core: &Core, backend: &str, kind: FaultKind) -> bool {
    kind == FaultKind::Missing || core.backend(backend).is_none()
}

/// Whether a shard of a segment lies on a backend, as long as it should be.
pub(crate) async fn is_there(core: &Core, piece: &Piece, index: usize, name: &str) -> bool {
    let Some(backend) = core.admitted(name) else { return false };
    size_of(backend, &paths::shard(piece.data_id, index)).await.is_ok_and(|size| size == piece.file_len())
}

/// Asks every backend that answers for these shards of a segment, but where it is known already what is there. Gives one place
/// for each that is found as long as it should be; whether its bytes are right is told by its checksums, as anywhere.
pub(crate) async fn seek(core: &Core, piece: &Piece, lost: &[usize], known: &Known) -> Vec<(usize, ShardAt)> {
    if piece.batch.is_some() {
        // A small object's shards are copies of its batch, whose holders the catalog knows.
        return Vec::new();
    }
    let len = piece.file_len();
    let mut asked = Vec::new();
    for backend in core.backends.iter().filter(|backend| backend.is_admitted()) {
        let unknown = lost.iter().filter(|index| !known.contains(&(**index, backend.name().to_owned())));
        asked.extend(unknown.map(|index| {
            let (index, backend) = (*index, backend.clone());
            let at = ShardAt::of_segment(backend.name(), piece.data_id, index);
            async move { (index, size_of(&backend, &at.path).await.is_ok_and(|size| size == len), at) }
        }));
    }
    let looks: Vec<_> = stream::iter(asked).buffered(AT_ONCE).collect().await;
    let found = looks.into_iter().filter(|(_, is_there, _)| *is_there).map(|(index, _, at)| (index, at));
    let mut found: Vec<(usize, ShardAt)> = found.collect();
    found.sort_by_key(|(index, _)| *index);
    found.dedup_by_key(|(index, _)| *index);
    found
}

/// Shards and backends of which it is known what is there.
pub(crate) type Known = BTreeSet<(usize, String)>;

/// Where a piece names its shards.
pub(crate) fn named_places(piece: &Piece) -> Known {
    piece.shards.iter().enumerate().filter_map(|(index, at)| Some((index, at.as_ref()?.backend.clone()))).collect()
}
