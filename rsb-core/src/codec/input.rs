//! The checks both codecs make before they touch a buffer, and the form they work on afterwards.

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

/// A checked `restore`: what is left to compute once the shards that are present have been copied.
pub(super) struct Restore<'a, 'w> {
    /// Length of every shard, bytes.
    pub len: usize,
    /// Exactly k shard indices, ascending.
    pub from: Vec<u16>,
    /// Their bytes, in the order of `from`.
    pub sources: Vec<&'a [u8]>,
    /// The indices to compute, ascending, none of them in `from`.
    pub to: Vec<u16>,
    /// Their buffers, in the order of `to`.
    pub outputs: Vec<&'w mut [u8]>,
}

/// Checks the arguments of a `restore`, copies the wanted shards that are present, and sorts the rest: sorted, because
/// the order a caller names shards in would otherwise make needless variants of one and the same matrix.
pub(super) fn restore<'a, 'w>(
    shape: Shape,
    present: &[(usize, &'a [u8])],
    wanted: &'w mut [(usize, &mut [u8])],
) -> Result<Restore<'a, 'w>, CodecError> {
    let (have, need) = (present.len(), shape.k());
    distinct(shape, present.iter().map(|(index, _)| *index))?;
    distinct(shape, wanted.iter().map(|(index, _)| *index))?;
    if have < need {
        return Err(CodecError::TooFewShards { have, need });
    }
    let lens = present.iter().map(|(index, bytes)| (*index, bytes.len()));
    let len = one_len(lens.chain(wanted.iter().map(|(index, buffer)| (*index, buffer.len()))))?;

    let mut targets = Vec::with_capacity(wanted.len());
    for (index, buffer) in wanted.iter_mut() {
        match present.iter().find(|(other, _)| other == index) {
            Some((_, bytes)) => buffer.copy_from_slice(bytes),
            None => targets.push((*index, &mut **buffer)),
        }
    }
    targets.sort_unstable_by_key(|(index, _)| *index);
    let mut chosen = present.iter().take(need).copied().collect::<Vec<_>>();
    chosen.sort_unstable_by_key(|(index, _)| *index);
    let (to, outputs) = targets.into_iter().map(|(index, buffer)| (index as u16, buffer)).unzip();
    let (from, sources) = chosen.into_iter().map(|(index, bytes)| (index as u16, bytes)).unzip();
    Ok(Restore { len, from, sources, to, outputs })
}

/// The one length all (index, length) pairs have; 0 when there are none.
fn one_len(mut lens: impl Iterator<Item = (usize, usize)>) -> Result<usize, CodecError> {
    let Some((_, expected)) = lens.next() else { return Ok(0) };
    match lens.find(|(_, len)| *len != expected) {
        Some((index, len)) => Err(CodecError::LengthMismatch { index, len, expected }),
        None => Ok(expected),
    }
}

/// Every index exists in the shape, and none stands twice. So each fits in a u16, and an array of n marks.
fn distinct(shape: Shape, indices: impl Iterator<Item = usize>) -> Result<(), CodecError> {
    let mut seen = [false; super::MAX_SHARDS];
    for index in indices {
        match seen.get_mut(index) {
            Some(mark) if index < shape.n() => {
                if std::mem::replace(mark, true) {
                    return Err(CodecError::DuplicateIndex { index });
                }
            }
            _ => return Err(CodecError::IndexOutOfRange { index, shape }),
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
        let todo = restore(shape, &present, &mut wanted).unwrap();
        assert_eq!((todo.from, todo.to), (vec![0, 3, 5], vec![2, 4]));
        assert_eq!((todo.sources, todo.outputs.len(), todo.len), (vec![&b[..], &c, &a], 2, 1));
        assert_eq!(y, extra);
    }
}
