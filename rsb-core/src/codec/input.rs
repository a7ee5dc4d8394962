//! The checks both codecs make before they touch a buffer, and the form they work on afterwards.

use super::few::Few;
use super::memo::{Pattern, ShardSet};
use super::{CodecError, Shape};

/// Checks the arguments of an `encode` and returns the length of every shard, bytes.
pub(super) fn encode_len(shape: Shape, data: &[&[u8]], parity: &[&mut [u8]]) -> Result<usize, CodecError> {
    for (kind, have, need) in [("data", data.len(), shape.k()), ("parity", parity.len(), shape.m())] {
        if have != need {
            return Err(CodecError::ShardCount { kind, have, need });
        }
    }
    let lens = data.iter().map(|shard| shard.len()).chain(parity.iter().map(|shard| shard.len()));
    one_len(lens.enumerate())
}

/// Checks the arguments of an `update` and returns the length of every shard, bytes.
pub(super) fn update_len(
    shape: Shape,
    index: usize,
    old: &[u8],
    new: &[u8],
    parity: &[&mut [u8]],
) -> Result<usize, CodecError> {
    if index >= shape.k() {
        return Err(CodecError::IndexOutOfRange { index, shape });
    }
    if parity.len() != shape.m() {
        return Err(CodecError::ShardCount { kind: "parity", have: parity.len(), need: shape.m() });
    }
    let parity = parity.iter().enumerate().map(|(row, shard)| (shape.k() + row, shard.len()));
    one_len([(index, old.len()), (index, new.len())].into_iter().chain(parity))
}

/// Bytes of an update worked on at once: whole symbols, and little enough for the stack.
const PIECE: usize = 4096;

/// Calls `add` with the difference of `old` and `new` and the parity buffers, piece by piece. N is at least m.
pub(super) fn each_change<const N: usize>(
    old: &[u8],
    new: &[u8],
    parity: &mut [&mut [u8]],
    mut add: impl FnMut(&[u8], &mut [&mut [u8]]) -> Result<(), CodecError>,
) -> Result<(), CodecError> {
    let mut change = [0; PIECE];
    for (piece, (old, new)) in old.chunks(PIECE).zip(new.chunks(PIECE)).enumerate() {
        let change = &mut change[..old.len()];
        for ((change, old), new) in change.iter_mut().zip(old).zip(new) {
            *change = old ^ new;
        }
        let range = piece * PIECE..piece * PIECE + old.len();
        let mut parity = parity.iter_mut().map(|shard| &mut shard[range.clone()]).collect::<Few<_, N>>();
        add(change, &mut parity)?;
    }
    Ok(())
}

/// A checked `restore`: what is left to compute once the shards that are present have been copied.
pub(super) struct Restore<'a, 'w, const N: usize> {
    /// Length of every shard, bytes.
    pub len: usize,
    /// Which shards to compute, none of them among those they are computed from, which are k.
    pub pattern: Pattern,
    /// The bytes of `pattern.from`.
    pub sources: Few<&'a [u8], N>,
    /// The buffers of `pattern.to`.
    pub outputs: Few<&'w mut [u8], N>,
}

/// Checks the arguments of a `restore`, copies the wanted shards that are present, and sorts the rest: sorted, because
/// the order a caller names shards in would otherwise make needless variants of one and the same matrix.
pub(super) fn restore<'a, 'w, const N: usize>(
    shape: Shape,
    present: &[(usize, &'a [u8])],
    wanted: &'w mut [(usize, &mut [u8])],
) -> Result<Restore<'a, 'w, N>, CodecError> {
    let (have, need) = (present.len(), shape.k());
    distinct(shape, present.iter().map(|(index, _)| *index))?;
    distinct(shape, wanted.iter().map(|(index, _)| *index))?;
    if have < need {
        return Err(CodecError::TooFewShards { have, need });
    }
    let lens = present.iter().map(|(index, bytes)| (*index, bytes.len()));
    let len = one_len(lens.chain(wanted.iter().map(|(index, buffer)| (*index, buffer.len()))))?;

    let mut targets = wanted
        .iter_mut()
        .filter_map(|(index, buffer)| match present.iter().find(|(other, _)| other == index) {
            Some((_, bytes)) => {
                buffer.copy_from_slice(bytes);
                None
            }
            None => Some((*index, &mut **buffer)),
        })
        .collect::<Few<_, N>>();
    targets.sort_unstable_by_key(|(index, _)| *index);
    let mut chosen = present.iter().take(need).copied().collect::<Few<_, N>>();
    chosen.sort_unstable_by_key(|(index, _)| *index);
    let from = chosen.iter().map(|(index, _)| *index).collect();
    let to = targets.iter().map(|(index, _)| *index).collect();
    let sources = chosen.iter().map(|(_, bytes)| *bytes).collect();
    let outputs = targets.iter_mut().map(|(_, buffer)| std::mem::take(buffer)).collect();
    Ok(Restore { len, pattern: Pattern { shape, from, to }, sources, outputs })
}

/// The one length all (index, length) pairs have; 0 when there are none.
fn one_len(mut lens: impl Iterator<Item = (usize, usize)>) -> Result<usize, CodecError> {
    let Some((_, expected)) = lens.next() else { return Ok(0) };
    match lens.find(|(_, len)| *len != expected) {
        Some((index, len)) => Err(CodecError::LengthMismatch { index, len, expected }),
        None => Ok(expected),
    }
}

/// Every index exists in the shape, and none stands twice. So there are no more than n.
fn distinct(shape: Shape, indices: impl Iterator<Item = usize>) -> Result<(), CodecError> {
    let mut seen = ShardSet::default();
    for index in indices {
        if index >= shape.n() {
            return Err(CodecError::IndexOutOfRange { index, shape });
        }
        if !seen.insert(index) {
            return Err(CodecError::DuplicateIndex { index });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_arguments_makes_no_other_matrix() {
        let shape = Shape::new(3, 3).unwrap();
        let (a, b, c, extra) = ([1], [2], [3], [4]);
        let (mut x, mut y, mut z) = ([0], [0], [0]);
        let present: [(usize, &[u8]); 4] = [(5, &a), (0, &b), (3, &c), (1, &extra)];
        let mut wanted: [(usize, &mut [u8]); 3] = [(4, &mut x), (1, &mut y), (2, &mut z)];
        let todo = restore::<8>(shape, &present, &mut wanted).unwrap();
        assert_eq!(todo.pattern.from.iter().collect::<Vec<_>>(), [0, 3, 5]);
        assert_eq!(todo.pattern.to.iter().collect::<Vec<_>>(), [2, 4]);
        assert_eq!((&todo.sources[..], todo.outputs.len(), todo.len), (&[&b[..], &c, &a][..], 2, 1));
        assert_eq!(y, extra);
    }
}
