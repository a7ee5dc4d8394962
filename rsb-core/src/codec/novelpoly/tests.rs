//! The bytes of `novelpoly`, against the crate that defines them.

use proptest::prelude::*;
use reed_solomon_novelpoly::f2e16::{Additive, BASE, GENERATOR};
use reed_solomon_novelpoly::{CodeParams, ReedSolomon, WrappedShard};

use super::super::MAX_SHARDS;
use super::super::tests::{every_kernel, random_shards, restore, shape, stripe};
use super::*;

/// The crate's own codec for a shape: k' data positions and m more. m must not be 0.
fn oracle(shape: Shape) -> (ReedSolomon, usize) {
    let crate_k = shape.k().next_power_of_two();
    let params = CodeParams::derive_parameters(crate_k + shape.m(), crate_k).unwrap();
    assert_eq!(params.k(), crate_k);
    (params.make_encoder(), crate_k)
}

/// Parity as the crate computes it, with zeros in the positions k..k'. The length of the shards must be even, and not 0.
fn oracle_parity(shape: Shape, data: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (crate_codec, crate_k) = oracle(shape);
    let mut payload = Vec::new();
    for symbol in 0..data[0].len() / 2 {
        for position in 0..crate_k {
            let bytes = data.get(position).map_or([0, 0], |shard| [shard[2 * symbol], shard[2 * symbol + 1]]);
            payload.extend(bytes);
        }
    }
    let shards = crate_codec.encode::<WrappedShard>(&payload).unwrap();
    shards.into_iter().skip(crate_k).map(WrappedShard::into_inner).collect()
}

fn assert_as_the_crate(shape: Shape, len: usize, seed: u64) {
    let expected = oracle_parity(shape, &random_shards(shape.k(), len, seed));
    for codec in every_kernel() {
        let shards = stripe(&codec, shape, len, seed);
        let (data, parity) = shards.split_at(shape.k());
        assert_eq!(data, random_shards(shape.k(), len, seed), "{shape}");
        assert_eq!(parity, expected, "{shape} by {}", codec.kernel());
    }
}

/// The data, as the crate decodes them from k of our shards and the zeros of the positions k..k'.
fn oracle_data(shape: Shape, shards: &[Vec<u8>], present: &[usize]) -> Vec<Vec<u8>> {
    let (k, len) = (shape.k(), shards[0].len());
    let (crate_codec, crate_k) = oracle(shape);
    let mut received = vec![None; crate_k + shape.m()];
    received[k..crate_k].fill(Some(WrappedShard::new(vec![0; len])));
    for &index in present {
        let position = if index < k { index } else { crate_k + index - k };
        received[position] = Some(WrappedShard::new(shards[index].clone()));
    }
    let payload = crate_codec.reconstruct(received).unwrap();
    let of_shard = |index| payload.chunks(2 * crate_k).flat_map(move |word| [word[2 * index], word[2 * index + 1]]);
    (0..k).map(|index| of_shard(index).collect()).collect()
}

/// What the crate decodes from the shards `present`, and what it encodes of that, is what every kernel restores.
fn assert_restores_as_the_crate(shape: Shape, present: &[usize], len: usize, seed: u64) {
    let shards = stripe(&NovelPoly::new(), shape, len, seed);
    let mut expected = oracle_data(shape, &shards, present);
    let parity = oracle_parity(shape, &expected);
    expected.extend(parity);
    let all = (0..shape.n()).collect::<Vec<_>>();
    for codec in every_kernel() {
        let found = restore(&codec, shape, &shards, present, &all);
        assert_eq!(found, expected, "{shape} from {present:?} by {}", codec.kernel());
    }
}

#[test]
fn parity_is_the_crate_s() {
    for n in 2..=20 {
        for k in 1..n {
            assert_as_the_crate(shape(k, n - k), 278, n as u64); // one vector of each kernel, and an end
        }
    }
}

#[test]
fn parity_is_the_crate_s_at_the_largest_shapes() {
    for (k, m) in [(1, 255), (127, 129), (128, 128), (129, 127), (255, 1), (200, 56)] {
        assert_as_the_crate(shape(k, m), 4, 5);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn parity_is_the_crate_s_at_random((n, k) in (21..=MAX_SHARDS).prop_flat_map(|n| (Just(n), 1..n)), seed: u64) {
        assert_as_the_crate(shape(k, n - k), 6, seed);
    }

    #[test]
    fn restores_as_the_crate_at_random(
        (k, order) in (2..=MAX_SHARDS).prop_flat_map(|n| (1..n, Just((0..n).collect::<Vec<_>>()).prop_shuffle())),
        seed: u64,
    ) {
        assert_restores_as_the_crate(shape(k, order.len() - k), &order[..k], 6, seed);
    }
}

/// For every shape: data lost only (the first, the last), parity lost only, and both.
#[test]
fn restores_as_the_crate() {
    for n in 2..=20 {
        for k in 1..n {
            let (shape, m) = (shape(k, n - k), n - k);
            let lost = m.min(k);
            let from = |first: usize| (0..n).cycle().skip(first).take(k).collect::<Vec<_>>();
            let middle = (0..n).filter(|index| !(k - lost..k).contains(index)).take(k).collect::<Vec<_>>();
            for present in [from(0), from(lost), from(m), from(m / 2 + 1), middle] {
                assert_restores_as_the_crate(shape, &present, 22, n as u64);
            }
        }
    }
}

/// Position i of a codeword is the polynomial's value at the field element i: Lagrange's formula gives the crate's matrix.
#[test]
fn lagrange_gives_the_crate_s_generator() {
    let large = [(100, 28), (64, 64), (65, 3), (128, 128), (129, 100), (255, 1), (1, 255)];
    for (k, m) in (2..24).flat_map(|n| (1..n).map(move |k| (k, n - k))).chain(large) {
        let shape = shape(k, m);
        assert_eq!(rows::generator(shape).unwrap(), rows::lagrange(&Pattern::encode(shape)), "{shape}");
    }
}

/// The field as docs/reference_decoder.py has it: the bits of a number choose elements of the Cantor basis; these are
/// polynomials modulo x^16 + x^5 + x^3 + x^2 + 1.
#[test]
fn the_field_is_what_the_documents_say() {
    assert_eq!(GENERATOR, 0x2d);
    let polynomial = |number: u16| (0..16).filter(|bit| number >> bit & 1 == 1).fold(0, |sum, bit| sum ^ BASE[bit]);
    let product = |a: u16, b: u16| {
        let mut product = (0..16).filter(|bit| b >> bit & 1 == 1).fold(0u32, |sum, bit| sum ^ u32::from(a) << bit);
        for bit in (16..32).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x1_002d << (bit - 16);
            }
        }
        product as u16
    };
    for pair in random_shards(300, 4, 11) {
        let (a, b) = (u16::from_be_bytes([pair[0], pair[1]]), u16::from_be_bytes([pair[2], pair[3]]));
        if a != 0 && b != 0 {
            let theirs = Additive(a).mul(Additive(b).to_multiplier());
            assert_eq!(polynomial(theirs.0), product(polynomial(a), polynomial(b)));
        }
    }
}

#[test]
fn a_last_odd_byte_is_cauchy_s() {
    let shape = shape(5, 3);
    for len in [1, 7, 4097] {
        let shards = stripe(&NovelPoly::new(), shape, len, 9);
        let even = shards.iter().map(|shard| shard[..len - 1].to_vec()).collect::<Vec<_>>();
        if len > 1 {
            assert_eq!(even[5..], oracle_parity(shape, &even[..5]));
        }
        let last = shards.iter().map(|shard| &shard[len - 1..]).collect::<Vec<_>>();
        let mut parity = [[0], [0], [0]];
        let mut buffers = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
        Cauchy::new().encode(shape, &last[..5], &mut buffers).unwrap();
        assert!(parity.iter().eq(&last[5..]));
    }
}
