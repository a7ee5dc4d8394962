//! The conformance suite of codecs: every rule of [`ErasureCodec`]'s contract, on one codec. A loss is tried in every pattern of
//! small shapes, and at random in shapes up to the largest; a case that fails shrinks to the smallest.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::codec::{CodecError, ErasureCodec, MAX_SHARDS, Shape, self_test};

/// Random cases of each kind.
const CASES: u32 = 256;

/// Holds a codec to the contract.
///
/// ```
/// rsb_core::testkit::codec::run(&rsb_core::codec::Cauchy::new());
/// ```
///
/// # Panics
/// Where a rule is broken.
pub fn run(codec: &dyn ErasureCodec) {
    facts(codec);
    every_loss_of_small_shapes(codec);
    lengths_around_every_border(codec);
    a_stripe_can_be_cut_at_symbols(codec);
    of_more_than_k_the_first_k_are_used(codec);
    no_parity_is_a_valid_shape(codec);
    encode_refuses_wrong_buffers(codec);
    restore_refuses_wrong_arguments(codec);
    update_refuses_wrong_arguments(codec);
    any_k_shards_bring_back_the_rest(codec);
    an_update_makes_what_an_encode_would(codec);
    self_test(codec).unwrap();
}

/// What stands in manifests and config files.
fn facts(codec: &dyn ErasureCodec) {
    let name = codec.name();
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    assert!(!name.is_empty() && name.bytes().all(plain), "{name:?} is not a name for a config file");
    assert!(codec.symbol_len() > 0 && !codec.kernel().is_empty(), "{codec:?}");
    let (shape, len) = (shape(3, 2), 100);
    assert_eq!(stripe(codec, shape, len, 1), stripe(codec, shape, len, 1), "{codec:?} makes other bytes each time");
}

/// `count` shards of `len` bytes that differ by seed and by shard.
pub(crate) fn random_shards(count: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut shards = vec![vec![0; len]; count];
    shards.iter_mut().for_each(|shard| stream.fill(shard));
    shards
}

/// All n shards of a stripe of random data.
pub(crate) fn stripe(codec: &dyn ErasureCodec, shape: Shape, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut shards = random_shards(shape.n(), len, seed); // so the parity buffers begin with rubbish
    let (data, parity) = shards.split_at_mut(shape.k());
    let mut parity = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
    codec.encode(shape, &slices(data), &mut parity).unwrap();
    shards
}

pub(crate) fn slices(shards: &[Vec<u8>]) -> Vec<&[u8]> {
    shards.iter().map(|shard| &shard[..]).collect()
}

/// Restores `wanted` from `present`, both lists of indices into the stripe, into buffers full of rubbish.
pub(crate) fn restore(
    codec: &dyn ErasureCodec,
    shape: Shape,
    shards: &[Vec<u8>],
    present: &[usize],
    wanted: &[usize],
) -> Vec<Vec<u8>> {
    let len = shards[0].len();
    let present = present.iter().map(|&index| (index, &shards[index][..])).collect::<Vec<_>>();
    let mut restored = vec![vec![0xaa; len]; wanted.len()];
    let buffers = restored.iter_mut().map(|shard| &mut shard[..]);
    let mut wanted = wanted.iter().copied().zip(buffers).collect::<Vec<_>>();
    codec.restore(shape, &present, &mut wanted).unwrap();
    restored
}

pub(crate) fn shape(k: usize, m: usize) -> Shape {
    Shape::new(k, m).unwrap()
}

/// Any valid shape, an order of its shards, and how many of the first of them are lost.
fn any_loss() -> impl Strategy<Value = (Shape, Vec<usize>, usize)> {
    let n = prop_oneof![3 => 1..=24usize, 1 => 25..=MAX_SHARDS];
    n.prop_flat_map(|n| (Just(n), 1..=n)).prop_flat_map(|(n, k)| {
        let order = Just((0..n).collect::<Vec<_>>()).prop_shuffle();
        (Just(shape(k, n - k)), order, 0..=n - k)
    })
}

fn random<S: Strategy>(cases: S, holds: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    if let Err(failure) = runner.run(&cases, holds) {
        panic!("{failure}");
    }
}

fn every_loss_of_small_shapes(codec: &dyn ErasureCodec) {
    for n in 1..=8 {
        for k in 1..=n {
            let (shape, len) = (shape(k, n - k), 4 + n % 2);
            let shards = stripe(codec, shape, len, n as u64);
            for lost in (0..1u32 << n).filter(|lost| lost.count_ones() as usize <= shape.m()) {
                let (gone, present): (Vec<_>, Vec<_>) = (0..n).partition(|index| lost >> index & 1 == 1);
                let restored = restore(codec, shape, &shards, &present, &gone);
                let expected = gone.iter().map(|&index| &shards[index]).collect::<Vec<_>>();
                assert_eq!(restored.iter().collect::<Vec<_>>(), expected, "{codec:?} {shape} lost {gone:?}");
            }
        }
    }
}

fn lengths_around_every_border(codec: &dyn ErasureCodec) {
    for len in [0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 65, 4095, 4096, 4097, 4098, 8192, 12_289] {
        for (k, m) in [(1, 1), (3, 2), (2, 5), (6, 9)] {
            let shape = shape(k, m);
            let shards = stripe(codec, shape, len, 7);
            let last = (m..k + m).collect::<Vec<_>>();
            let all = (0..k + m).collect::<Vec<_>>();
            assert_eq!(restore(codec, shape, &shards, &last, &all), shards, "{codec:?} {shape} of {len}");
        }
    }
}

/// Each byte position is coded by itself, up to whole symbols: a stripe cut anywhere gives the pieces of its parity.
fn a_stripe_can_be_cut_at_symbols(codec: &dyn ErasureCodec) {
    let symbol = codec.symbol_len();
    let (shape, len, cut) = (shape(5, 3), 9000usize.next_multiple_of(symbol), 4090usize.next_multiple_of(symbol));
    let whole = stripe(codec, shape, len, 3);
    for range in [0..cut, cut..len] {
        let data = whole[..5].iter().map(|shard| &shard[range.clone()]).collect::<Vec<_>>();
        let mut parity = vec![vec![0; range.len()]; 3];
        codec.encode(shape, &data, &mut parity.iter_mut().map(|p| &mut p[..]).collect::<Vec<_>>()).unwrap();
        for (piece, whole) in parity.iter().zip(&whole[5..]) {
            assert_eq!(piece, &whole[range.clone()]);
        }
    }
}

fn of_more_than_k_the_first_k_are_used(codec: &dyn ErasureCodec) {
    let shape = shape(3, 3);
    let mut shards = stripe(codec, shape, 64, 1);
    let good = shards.clone();
    shards[1].fill(0); // named fourth: wrong, and without effect but on its own copy
    let restored = restore(codec, shape, &shards, &[5, 0, 3, 1], &[4, 2, 1]);
    assert_eq!(restored, [good[4].clone(), good[2].clone(), vec![0; 64]], "{codec:?}");
}

fn no_parity_is_a_valid_shape(codec: &dyn ErasureCodec) {
    let shape = shape(4, 0);
    let shards = stripe(codec, shape, 10, 1);
    assert_eq!(shards, random_shards(4, 10, 1));
    assert_eq!(restore(codec, shape, &shards, &[3, 1, 2, 0], &[2]), [shards[2].clone()]);
}

/// Calls encode with shards of the given lengths and tells the error; parity buffers must stay as they were.
fn encode_error(codec: &dyn ErasureCodec, shape: Shape, data: &[usize], parity: &[usize]) -> CodecError {
    let data = data.iter().map(|&len| vec![1; len]).collect::<Vec<_>>();
    let mut parity = parity.iter().map(|&len| vec![0xaa; len]).collect::<Vec<_>>();
    let mut buffers = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
    let error = codec.encode(shape, &slices(&data), &mut buffers).unwrap_err();
    assert!(parity.iter().flatten().all(|&byte| byte == 0xaa), "a failed call wrote");
    error
}

fn encode_refuses_wrong_buffers(codec: &dyn ErasureCodec) {
    let shape = shape(3, 2);
    let error = |data: &[usize], parity: &[usize]| encode_error(codec, shape, data, parity);
    let count = |kind, have, need| CodecError::ShardCount { kind, have, need };
    assert_eq!(error(&[8; 2], &[8; 2]), count("data", 2, 3));
    assert_eq!(error(&[8; 4], &[8; 2]), count("data", 4, 3));
    assert_eq!(error(&[8; 3], &[8; 1]), count("parity", 1, 2));
    assert_eq!(error(&[8; 3], &[8; 3]), count("parity", 3, 2));
    let length = |index, len| CodecError::LengthMismatch { index, len, expected: 8 };
    assert_eq!(error(&[8, 8, 6], &[8; 2]), length(2, 6));
    assert_eq!(error(&[8; 3], &[8, 10]), length(4, 10));
    assert_eq!(error(&[8, 8, 0], &[8; 2]), length(2, 0));
}

/// Calls restore with (index, length) pairs and tells the error; buffers must stay as they were.
fn restore_error(
    codec: &dyn ErasureCodec,
    shape: Shape,
    present: &[(usize, usize)],
    wanted: &[(usize, usize)],
) -> CodecError {
    let bytes = [1; 64];
    let present = present.iter().map(|&(index, len)| (index, &bytes[..len])).collect::<Vec<_>>();
    let mut buffers = wanted.iter().map(|&(_, len)| vec![0xaa; len]).collect::<Vec<_>>();
    let pairs = wanted.iter().zip(&mut buffers).map(|(&(index, _), buffer)| (index, &mut buffer[..]));
    let error = codec.restore(shape, &present, &mut pairs.collect::<Vec<_>>()).unwrap_err();
    assert!(buffers.iter().flatten().all(|&byte| byte == 0xaa), "a failed call wrote");
    error
}

fn restore_refuses_wrong_arguments(codec: &dyn ErasureCodec) {
    let shape = shape(3, 2);
    let good = [(0, 8), (2, 8), (4, 8)];
    let error = |present: &[_], wanted: &[_]| restore_error(codec, shape, present, wanted);
    let few = CodecError::TooFewShards { have: 2, need: 3 };
    assert_eq!(error(&good[..2], &[(1, 8)]), few);
    assert_eq!(error(&good[..2], &[(0, 8)]), few); // even where a copy would do
    assert_eq!(error(&[], &[]), CodecError::TooFewShards { have: 0, need: 3 });
    let twice = CodecError::DuplicateIndex { index: 2 };
    assert_eq!(error(&[(0, 8), (2, 8), (2, 8)], &[(1, 8)]), twice);
    assert_eq!(error(&[(0, 8), (2, 8), (4, 8), (2, 8)], &[(1, 8)]), twice);
    assert_eq!(error(&good, &[(1, 8), (1, 8)]), CodecError::DuplicateIndex { index: 1 });
    let beyond = |index| CodecError::IndexOutOfRange { index, shape };
    assert_eq!(error(&[(0, 8), (2, 8), (5, 8)], &[(1, 8)]), beyond(5));
    assert_eq!(error(&good, &[(5, 8)]), beyond(5));
    assert_eq!(error(&good, &[(usize::MAX, 8)]), beyond(usize::MAX));
    let length = |index, len| CodecError::LengthMismatch { index, len, expected: 8 };
    assert_eq!(error(&[(0, 8), (2, 6), (4, 8)], &[(1, 8)]), length(2, 6));
    assert_eq!(error(&good, &[(0, 8), (1, 7)]), length(1, 7));
}

fn update_refuses_wrong_arguments(codec: &dyn ErasureCodec) {
    let shape = shape(3, 2);
    let error = |index, old: usize, new: usize, parity: &[usize]| {
        let mut parity = parity.iter().map(|&len| vec![0xaa; len]).collect::<Vec<_>>();
        let mut buffers = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
        let error = codec.update(shape, index, &vec![1; old], &vec![2; new], &mut buffers).unwrap_err();
        assert!(parity.iter().flatten().all(|&byte| byte == 0xaa), "a failed call wrote");
        error
    };
    assert_eq!(error(3, 8, 8, &[8, 8]), CodecError::IndexOutOfRange { index: 3, shape });
    assert_eq!(error(0, 8, 8, &[8]), CodecError::ShardCount { kind: "parity", have: 1, need: 2 });
    let length = |index, len| CodecError::LengthMismatch { index, len, expected: 8 };
    assert_eq!(error(2, 8, 6, &[8, 8]), length(2, 6));
    assert_eq!(error(2, 8, 8, &[8, 7]), length(4, 7));
}

fn any_k_shards_bring_back_the_rest(codec: &dyn ErasureCodec) {
    random((any_loss(), 0..80usize, any::<u64>()), |((shape, order, lost), len, seed)| {
        let (gone, present) = order.split_at(lost);
        let shards = stripe(codec, shape, len, seed);
        // One of the present is wanted too, so that the copy is tested with the computed ones.
        let wanted = gone.iter().chain(present.last()).copied().collect::<Vec<_>>();
        let restored = restore(codec, shape, &shards, present, &wanted);
        for (index, shard) in wanted.iter().zip(&restored) {
            prop_assert_eq!(shard, &shards[*index], "{:?} {} shard {}", codec, shape, index);
        }
        Ok(())
    });
}

fn an_update_makes_what_an_encode_would(codec: &dyn ErasureCodec) {
    random((any_loss(), 0..9000usize, any::<u64>()), |((shape, order, _), len, seed)| {
        let index = order.iter().copied().find(|&index| index < shape.k()).unwrap();
        let len = if shape.n() > 24 { len % 80 } else { len };
        let mut shards = stripe(codec, shape, len, seed);
        let new = random_shards(1, len, !seed).remove(0);
        let old = std::mem::replace(&mut shards[index], new.clone());
        let (data, parity) = shards.split_at_mut(shape.k());
        let mut buffers = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
        codec.update(shape, index, &old, &new, &mut buffers).unwrap();
        let mut expected = vec![vec![0xaa; len]; shape.m()];
        let mut buffers = expected.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
        codec.encode(shape, &slices(data), &mut buffers).unwrap();
        prop_assert_eq!(parity, expected, "{:?} {} shard {} of {}", codec, shape, index, len);
        Ok(())
    });
}
