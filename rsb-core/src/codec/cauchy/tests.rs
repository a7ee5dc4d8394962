//! The bytes of `cauchy`, against an implementation that shares nothing with the one under test.

use proptest::prelude::*;

use super::super::MAX_SHARDS;
use super::super::tests::{shape, stripe};
use super::*;

/// Schoolbook product in GF(2^8) modulo 0x11d.
fn mul(a: u8, b: u8) -> u8 {
    let mut product = 0u16;
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= u16::from(a) << bit;
        }
    }
    for bit in (8..16).rev() {
        if product >> bit & 1 == 1 {
            product ^= 0x11d << (bit - 8);
        }
    }
    product as u8
}

/// The inverse, by search.
fn inverse(a: u8) -> u8 {
    (1..=255).find(|&b| mul(a, b) == 1).unwrap()
}

/// Parity shard `row` of these data shards.
fn parity(data: &[Vec<u8>], row: usize) -> Vec<u8> {
    let mut sum = vec![0; data[0].len()];
    for (column, shard) in data.iter().enumerate() {
        let constant = inverse((row ^ column) as u8);
        sum.iter_mut().zip(shard).for_each(|(sum, &byte)| *sum ^= mul(constant, byte));
    }
    sum
}

fn assert_as_defined(shape: Shape, len: usize, seed: u64) {
    let shards = stripe(&Cauchy::new(), shape, len, seed);
    for row in shape.k()..shape.n() {
        assert_eq!(shards[row], parity(&shards[..shape.k()], row), "{shape}, shard {row}");
    }
}

#[test]
fn parity_is_the_cauchy_matrix_times_the_data() {
    for n in 2..=20 {
        for k in 1..n {
            assert_as_defined(shape(k, n - k), 70, n as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn in_large_shapes_too((n, k) in (21..=MAX_SHARDS).prop_flat_map(|n| (Just(n), 1..n)), seed: u64) {
        assert_as_defined(shape(k, n - k), 3, seed);
    }
}

/// A value anybody can check by hand: with 1+1 the constant is 1 / (1 xor 0) = 1, with 1+2 also 1 / 2 = 0x8e.
#[test]
fn known_bytes() {
    let mut parity = [[0], [0]];
    let [first, second] = &mut parity;
    Cauchy::new().encode(shape(1, 2), &[&[1]], &mut [first, second]).unwrap();
    assert_eq!(parity, [[0x01], [0x8e]]);
}

#[test]
fn the_matrix_is_the_library_s_where_it_has_one() {
    for (k, m) in [(1, 1), (10, 3), (29, 3), (100, 155), (254, 1)] {
        assert_eq!(matrix(shape(k, m)), Matrix::cauchy(k, m));
    }
    assert!(Matrix::cauchy(128, 128).is_err());
    assert_eq!(matrix(shape(128, 128)).unwrap().rows(), 256);
}
