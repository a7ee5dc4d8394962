//! What every codec must do, run by each built-in one; what a single codec's bytes are stands in its own tests.

use proptest::prelude::*;

use super::*;

/// `count` shards of `len` bytes that differ by seed and by shard.
pub(super) fn random_shards(count: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut shards = vec![vec![0; len]; count];
    shards.iter_mut().for_each(|shard| stream.fill(shard));
    shards
}

/// All n shards of a stripe of random data.
pub(super) fn stripe(codec: &dyn ErasureCodec, shape: Shape, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut shards = random_shards(shape.n(), len, seed); // so the parity buffers begin with rubbish
    let (data, parity) = shards.split_at_mut(shape.k());
    let mut parity = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
    codec.encode(shape, &slices(data), &mut parity).unwrap();
    shards
}

pub(super) fn slices(shards: &[Vec<u8>]) -> Vec<&[u8]> {
    shards.iter().map(|shard| &shard[..]).collect()
}

/// Restores `wanted` from `present`, both lists of indices into the stripe, into buffers full of rubbish.
pub(super) fn restore(
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

pub(super) fn shape(k: usize, m: usize) -> Shape {
    Shape::new(k, m).unwrap()
}

/// `novelpoly` with each kernel this processor can run.
pub(super) fn every_kernel() -> impl Iterator<Item = NovelPoly> {
    Kernel::available().map(|kernel| NovelPoly::with_kernel(kernel).unwrap())
}

/// Both codecs, `novelpoly` with every kernel this processor can run.
fn both() -> Vec<Arc<dyn ErasureCodec>> {
    let novelpoly = every_kernel().map(|codec| Arc::new(codec) as Arc<dyn ErasureCodec>);
    novelpoly.chain([Arc::new(Cauchy::new()) as Arc<dyn ErasureCodec>]).collect()
}

/// Any valid shape, an order of its shards, and how many of the first of them are lost.
fn any_loss() -> impl Strategy<Value = (Shape, Vec<usize>, usize)> {
    let n = prop_oneof![3 => 1..=24usize, 1 => 25..=MAX_SHARDS];
    n.prop_flat_map(|n| (Just(n), 1..=n)).prop_flat_map(|(n, k)| {
        let order = Just((0..n).collect::<Vec<_>>()).prop_shuffle();
        (Just(shape(k, n - k)), order, 0..=n - k)
    })
}

#[test]
fn every_loss_pattern_of_small_shapes() {
    for codec in both() {
        for n in 1..=8 {
            for k in 1..=n {
                let (shape, len) = (shape(k, n - k), 4 + n % 2);
                let shards = stripe(&*codec, shape, len, n as u64);
                for lost in (0..1u32 << n).filter(|lost| lost.count_ones() as usize <= shape.m()) {
                    let (gone, present): (Vec<_>, Vec<_>) = (0..n).partition(|index| lost >> index & 1 == 1);
                    let restored = restore(&*codec, shape, &shards, &present, &gone);
                    let expected = gone.iter().map(|&index| &shards[index]).collect::<Vec<_>>();
                    assert_eq!(restored.iter().collect::<Vec<_>>(), expected, "{codec:?} {shape} lost {gone:?}");
                }
            }
        }
    }
}

#[test]
fn lengths_around_every_border() {
    for codec in both() {
        for len in [0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 65, 4095, 4096, 4097, 4098, 8192, 12_289] {
            for (k, m) in [(1, 1), (3, 2), (2, 5), (6, 9)] {
                let shape = shape(k, m);
                let shards = stripe(&*codec, shape, len, 7);
                let last = (m..k + m).collect::<Vec<_>>();
                let all = (0..k + m).collect::<Vec<_>>();
                assert_eq!(restore(&*codec, shape, &shards, &last, &all), shards, "{codec:?} {shape} of {len}");
            }
        }
    }
}

/// Each byte position is coded by itself, up to whole symbols: a stripe cut anywhere gives the pieces of its parity.
#[test]
fn a_stripe_can_be_cut_at_symbols() {
    for codec in both() {
        let (shape, len, cut) = (shape(5, 3), 9000, 4090);
        let whole = stripe(&*codec, shape, len, 3);
        for range in [0..cut, cut..len] {
            let data = whole[..5].iter().map(|shard| &shard[range.clone()]).collect::<Vec<_>>();
            let mut parity = vec![vec![0; range.len()]; 3];
            codec.encode(shape, &data, &mut parity.iter_mut().map(|p| &mut p[..]).collect::<Vec<_>>()).unwrap();
            for (piece, whole) in parity.iter().zip(&whole[5..]) {
                assert_eq!(piece, &whole[range.clone()]);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_k_shards_bring_back_the_rest((shape, order, lost) in any_loss(), len in 0..80usize, seed: u64) {
        let (gone, present) = order.split_at(lost);
        for codec in both() {
            let shards = stripe(&*codec, shape, len, seed);
            // One of the present is wanted too, so that the copy is tested with the computed ones.
            let wanted = gone.iter().chain(present.last()).copied().collect::<Vec<_>>();
            let restored = restore(&*codec, shape, &shards, present, &wanted);
            for (index, shard) in wanted.iter().zip(&restored) {
                prop_assert_eq!(shard, &shards[*index], "{:?} {} shard {}", codec, shape, index);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn an_update_makes_what_an_encode_would((shape, order, _) in any_loss(), len in 0..9000usize, seed: u64) {
        let index = order.iter().copied().find(|&index| index < shape.k()).unwrap();
        let len = if shape.n() > 24 { len % 80 } else { len };
        for codec in both() {
            let mut shards = stripe(&*codec, shape, len, seed);
            let new = random_shards(1, len, !seed).remove(0);
            let old = std::mem::replace(&mut shards[index], new.clone());
            let (data, parity) = shards.split_at_mut(shape.k());
            let mut buffers = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
            codec.update(shape, index, &old, &new, &mut buffers).unwrap();
            let mut expected = vec![vec![0xaa; len]; shape.m()];
            let mut buffers = expected.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
            codec.encode(shape, &slices(data), &mut buffers).unwrap();
            prop_assert_eq!(parity, expected, "{:?} {} shard {} of {}", codec, shape, index, len);
        }
    }
}

#[test]
fn update_refuses_wrong_arguments() {
    let shape = shape(3, 2);
    for codec in both() {
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
}

#[test]
fn of_more_than_k_the_first_k_are_used() {
    for codec in both() {
        let shape = shape(3, 3);
        let mut shards = stripe(&*codec, shape, 64, 1);
        let good = shards.clone();
        shards[1].fill(0); // named fourth: wrong, and without effect but on its own copy
        let restored = restore(&*codec, shape, &shards, &[5, 0, 3, 1], &[4, 2, 1]);
        assert_eq!(restored, [good[4].clone(), good[2].clone(), vec![0; 64]], "{codec:?}");
    }
}

#[test]
fn no_parity_is_a_valid_shape() {
    for codec in both() {
        let shape = shape(4, 0);
        let shards = stripe(&*codec, shape, 10, 1);
        assert_eq!(shards, random_shards(4, 10, 1));
        assert_eq!(restore(&*codec, shape, &shards, &[3, 1, 2, 0], &[2]), [shards[2].clone()]);
    }
}

#[test]
fn shapes_have_bounds() {
    for (k, m) in [(0, 0), (0, 3), (257, 0), (256, 1), (1, 256), (usize::MAX, 1), (1, usize::MAX), (65_537, 0)] {
        assert_eq!(Shape::new(k, m), Err(CodecError::BadShape { k, m }));
    }
    for (k, m) in [(1, 0), (256, 0), (1, 255), (128, 128), (255, 1)] {
        let shape = Shape::new(k, m).unwrap();
        assert_eq!((shape.k(), shape.m(), shape.n()), (k, m, k + m));
        assert_eq!(shape.to_string(), format!("{k}+{m}"));
    }
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

#[test]
fn encode_refuses_wrong_buffers() {
    let shape = shape(3, 2);
    for codec in both() {
        let error = |data: &[usize], parity: &[usize]| encode_error(&*codec, shape, data, parity);
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

#[test]
fn restore_refuses_wrong_arguments() {
    let shape = shape(3, 2);
    let good = [(0, 8), (2, 8), (4, 8)];
    for codec in both() {
        let error = |present: &[_], wanted: &[_]| restore_error(&*codec, shape, present, wanted);
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
}

#[test]
fn errors_are_sentences() {
    let error = CodecError::IndexOutOfRange { index: 5, shape: shape(3, 2) };
    assert_eq!(error.to_string(), "shard 5 does not exist: the shape 3+2 numbers its shards from 0 to 4");
    assert_eq!(CodecError::Unknown(CodecId(9)).to_string(), "codec-9 (codec id 9) is not known to this build");
}

#[test]
fn the_registry_knows_ids_and_names() {
    assert_eq!(CodecId::NOVELPOLY, CodecId(1)); // as they stand in stored manifests
    assert_eq!(CodecId::CAUCHY, CodecId(2));
    let codecs = Codecs::with_builtin();
    for (id, name, symbol_len) in [(CodecId::NOVELPOLY, "novelpoly", 2), (CodecId::CAUCHY, "cauchy", 1)] {
        for found in [codec(id), codec_named(name), codecs.get(id).ok(), codecs.named(name)] {
            let found = found.unwrap();
            assert_eq!((found.id(), found.name(), found.symbol_len()), (id, name, symbol_len));
        }
        assert_eq!(id.to_string(), name);
    }
    assert!(codec(CodecId(0)).is_none());
    assert!(codec_named("Cauchy").is_none());
    assert_eq!(codecs.get(CodecId(7)).unwrap_err(), CodecError::Unknown(CodecId(7)));
    assert_eq!(Codecs::default().get(CodecId::CAUCHY).unwrap_err(), CodecError::Unknown(CodecId::CAUCHY));
}

/// Cauchy's bytes under another id, and with one bit of the parity or of a restored shard flipped.
#[derive(Debug)]
struct Altered {
    id: CodecId,
    flip_parity: u8,
    flip_restored: u8,
}

impl ErasureCodec for Altered {
    fn id(&self) -> CodecId {
        self.id
    }
    fn name(&self) -> &'static str {
        "altered"
    }
    fn symbol_len(&self) -> usize {
        1
    }
    fn kernel(&self) -> &'static str {
        "none"
    }
    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        Cauchy::new().encode(shape, data, parity)?;
        parity.last_mut().and_then(|shard| shard.last_mut()).into_iter().for_each(|byte| *byte ^= self.flip_parity);
        Ok(())
    }
    fn restore(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError> {
        Cauchy::new().restore(shape, present, wanted)?;
        wanted[0].1[0] ^= self.flip_restored;
        Ok(())
    }
    fn update(
        &self,
        shape: Shape,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        Cauchy::new().update(shape, index, old, new, parity)
    }
}

#[test]
fn the_self_test_passes_for_the_built_in_codecs() {
    for codec in both() {
        self_test(&*codec).unwrap();
    }
}

#[test]
fn the_self_test_finds_one_wrong_bit() {
    let failure = |id, flip_parity, flip_restored| {
        let result = self_test(&Altered { id, flip_parity, flip_restored });
        result.err().map(|error| match error {
            CodecError::SelfTest { codec, shape, what, expected, found } if expected != found => {
                (codec, shape.to_string(), what)
            }
            other => panic!("{other}"),
        })
    };
    let (cauchy, new) = (CodecId::CAUCHY, CodecId(900));
    assert_eq!(failure(cauchy, 0, 0), None);
    assert_eq!(failure(cauchy, 1, 0), Some((cauchy, "1+3".to_owned(), "parity shards")));
    assert_eq!(failure(cauchy, 0, 1), Some((cauchy, "1+0".to_owned(), "restored shards")));
    assert_eq!(failure(CodecId::NOVELPOLY, 0, 0).map(|(_, shape, _)| shape), Some("1+3".to_owned()));
    // Nothing pinned: other parity is another code, if it restores.
    assert_eq!(failure(new, 0, 0), None);
    assert_eq!(failure(new, 1, 0).map(|(_, _, what)| what), Some("restored shards"));
    assert_eq!(failure(new, 0, 1).map(|(_, _, what)| what), Some("restored shards"));
}

#[test]
fn a_codec_can_take_the_place_of_another() {
    let mut codecs = Codecs::with_builtin();
    let altered = |id| Arc::new(Altered { id, flip_parity: 0, flip_restored: 0 });
    assert!(codecs.register(altered(CodecId(900))).is_none());
    assert_eq!(codecs.register(altered(CodecId::CAUCHY)).unwrap().name(), "cauchy");
    assert_eq!(codecs.get(CodecId::CAUCHY).unwrap().name(), "altered");
    assert_eq!(codecs.iter().map(|codec| codec.id().0).collect::<Vec<_>>(), [1, 2, 900]);
}
