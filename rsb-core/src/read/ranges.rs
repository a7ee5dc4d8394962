//! Several ranges of one object at once: no block is read twice, and none that no range touches.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::{Extensions, collect_bytes};

use super::piece::Piece;
use super::{Asking, Held};
use crate::core::Core;
use crate::error::Result;

/// Runs of blocks that are read at once.
const PARALLEL: usize = 10;

/// The bytes of each range, in the order of the ranges, which have bytes and lie within the object.
pub(crate) async fn read(
    core: &Arc<Core>,
    held: &Held,
    ranges: &[Range<u64>],
    extensions: &Extensions,
) -> Result<Vec<Bytes>> {
    let runs = merge(&held.pieces, ranges);
    let manifest = &held.entry.manifest;
    let object = (manifest.bucket.clone(), manifest.key.clone());
    let asking = Asking { object, avoid: Vec::new(), extensions: extensions.clone() };
    let reads: Vec<_> = runs
        .iter()
        .map(|run| {
            let pieces = held.pieces.iter().filter(|p| p.start < run.end && p.start + p.layout.len > run.start);
            let bytes = super::stream(core, pieces.cloned().collect(), run.clone(), None, asking.clone());
            collect_bytes(bytes, Some(run.end - run.start))
        })
        .collect();
    let read: Vec<Bytes> = stream::iter(reads).buffered(PARALLEL).try_collect().await?;
    Ok(ranges
        .iter()
        .map(|range| {
            let at = runs.partition_point(|run| run.start <= range.start).saturating_sub(1);
            let from = runs.get(at).map_or(0, |run| run.start);
            read.get(at)
                .map(|run| run.slice((range.start - from) as usize..(range.end - from) as usize))
                .unwrap_or_default()
        })
        .collect())
}

/// The ranges in order, those put together between which no whole block lies.
fn merge(pieces: &[Piece], ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in sorted {
        match runs.last_mut() {
            Some(run)
                if range.start <= run.end
                    || block_around(pieces, range.start).start <= block_around(pieces, run.end - 1).end =>
            {
                run.end = run.end.max(range.end);
            }
            _ => runs.push(range),
        }
    }
    runs
}

/// The bytes of the object that lie in one block with this one.
fn block_around(pieces: &[Piece], at: u64) -> Range<u64> {
    let index = pieces.partition_point(|piece| piece.start <= at).saturating_sub(1);
    let Some(piece) = pieces.get(index) else { return at..at + 1 };
    let within = at - piece.start;
    let stripe = within / piece.layout.stripe_len();
    let begin = stripe * piece.layout.stripe_len();
    let block = piece.layout.block_len(stripe).max(1);
    let start = begin + (within - begin) / block * block;
    piece.start + start..piece.start + (start + block).min(piece.layout.len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::CodecId;
    use crate::id::DataId;
    use crate::scheme::Scheme;
    use crate::stripe::Layout;

    /// Two segments, of 3 and 2 stripes of 4 blocks of 1024 bytes; the first one's last stripe is short.
    fn pieces() -> Vec<Piece> {
        let scheme = Scheme::new(4, 2, CodecId::CAUCHY, 1024).unwrap();
        let piece = |start, len| Piece {
            data_id: DataId::MIN,
            scheme,
            layout: Layout::new(&scheme, 1, len),
            start,
            shards: vec![None; 6],
            batch: None,
        };
        vec![piece(0, 9_000), piece(9_000, 8_192)]
    }

    #[test]
    fn a_block_is_found_around_any_byte_also_in_short_stripes_and_later_segments() {
        let pieces = pieces();
        for (at, block) in
            [(0, 0..1024), (1023, 0..1024), (5_000, 4096..5120), (8_192, 8_192..8_394), (8_999, 8_798..9_000)]
        {
            assert_eq!(block_around(&pieces, at), block, "{at}");
        }
        assert_eq!(block_around(&pieces, 9_000), 9_000..10_024);
        assert_eq!(block_around(&pieces, 17_191), 16_168..17_192);
    }

    #[test]
    fn ranges_are_put_together_where_no_whole_block_lies_between_them() {
        let pieces = pieces();
        // In one block, in neighbouring ones, with a block between, across segments.
        let ranges = [5_000..5_001, 10..20, 15..30, 1_100..1_200, 8_999..9_000, 9_500..9_600, 3_072..3_073];
        assert_eq!(merge(&pieces, &ranges), [10..1_200, 3_072..5_001, 8_999..9_600]);
        assert_eq!(merge(&pieces, &[0..10, 2_048..2_049]), [0..10, 2_048..2_049]);
        assert_eq!(merge(&pieces, &[]), []);
    }
}
