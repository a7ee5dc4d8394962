//! All kernels against the portable one, and the portable one against one multiplication a symbol.

use proptest::prelude::*;

use super::super::super::tests::{random_shards, slices};
use super::*;

/// A random matrix with a zero in it, row by row.
fn matrix(sources: usize, outputs: usize, seed: u64) -> Vec<Additive> {
    let symbols = random_shards(sources * outputs, 2, seed);
    let mut matrix = symbols.iter().map(|bytes| Additive(u16::from_be_bytes([bytes[0], bytes[1]]))).collect::<Vec<_>>();
    matrix[sources * outputs / 2] = Additive(0);
    matrix
}

/// Applies a matrix to the `len` bytes that stand at `offset` in each source, into as many at `offset` in buffers that
/// begin and end with rubbish; gives the whole buffers.
fn applied(rows: &Rows, sources: &[Vec<u8>], offset: usize, len: usize, add: bool) -> Vec<Vec<u8>> {
    let mut outputs = random_shards(rows.outputs, offset + len + 128, 77);
    let sources = sources.iter().map(|shard| &shard[offset..offset + len]).collect::<Vec<_>>();
    let mut buffers = outputs.iter_mut().map(|shard| &mut shard[offset..offset + len]).collect::<Vec<_>>();
    rows.apply(&sources, &mut buffers, add);
    outputs
}

#[test]
fn the_portable_kernel_multiplies() {
    for (sources, outputs, len) in [(1, 1, 2), (2, 3, 4094), (3, 4, 4096), (4, 5, 4098), (5, 9, 8200), (7, 12, 30)] {
        let data = random_shards(sources, len, 1);
        let matrix = matrix(sources, outputs, 2);
        let mut found = vec![vec![0xaa; len]; outputs];
        let mut buffers = found.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
        Rows::new(Kernel::Portable, sources, &matrix).apply(&slices(&data), &mut buffers, false);
        for (row, found) in matrix.chunks(sources).zip(&found) {
            let expected = (0..len / 2).flat_map(|at| {
                let sum = row.iter().zip(&data).fold(Additive(0), |sum, (&constant, shard)| {
                    let symbol = Additive(u16::from_be_bytes([shard[2 * at], shard[2 * at + 1]]));
                    let zero = constant == Additive(0);
                    sum ^ if zero { constant } else { symbol.mul(constant.to_multiplier()) }
                });
                sum.0.to_be_bytes()
            });
            assert!(expected.eq(found.iter().copied()), "{sources} sources, {outputs} outputs, {len} bytes");
        }
    }
}

/// Every kernel gives what the portable one gives, before, within and behind the outputs.
fn assert_all_agree((sources, outputs): (usize, usize), offset: usize, len: usize, add: bool, seed: u64) {
    let data = random_shards(sources, offset + len, seed);
    let matrix = matrix(sources, outputs, seed);
    let expected = applied(&Rows::new(Kernel::Portable, sources, &matrix), &data, offset, len, add);
    for kernel in Kernel::available() {
        let found = applied(&Rows::new(kernel, sources, &matrix), &data, offset, len, add);
        let case = format!("{kernel}: {sources} by {outputs}, {len} bytes at {offset}, add: {add}, seed {seed}");
        assert!(found == expected, "{case}");
    }
}

/// Every length up to the largest step of a kernel and beyond, which has all kinds of ends.
#[test]
fn all_kernels_agree_at_every_length() {
    for len in 0..600 {
        assert_all_agree((3, 1 + len % 4), len % 64, len, len % 3 == 0, len as u64);
    }
}

/// More outputs than one group: shards are walked in runs.
#[test]
fn all_kernels_agree_on_long_shards() {
    for outputs in [1, 4, 5, 9] {
        for len in [24_576, 24_578, 65_536 + 70] {
            assert_all_agree((2, outputs), 1, len, false, 3);
            assert_all_agree((3, outputs), 0, len, true, 4);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn all_kernels_agree(
        (sources, outputs) in prop_oneof![4 => (1..20usize, 1..20usize), 1 => (1..256usize, 1..80usize)],
        offset in 0..64usize,
        len in 0..1200usize,
        add: bool,
        seed: u64,
    ) {
        assert_all_agree((sources, outputs), offset, len, add, seed);
    }
}

#[test]
fn groups_are_few_and_even() {
    for outputs in 0..=256 {
        let groups = groups(outputs).collect::<Vec<_>>();
        assert_eq!(groups.len(), outputs.div_ceil(GROUP));
        assert!(groups.iter().all(|group| (1..=GROUP).contains(&group.len())), "{groups:?}");
        assert!(groups.iter().cloned().flatten().eq(0..outputs), "{groups:?}");
    }
}

#[test]
fn kernels_have_distinct_names() {
    let names = Kernel::ALL.map(Kernel::name);
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    assert_eq!(Kernel::available().last(), Some(Kernel::Portable));
    // The best, or the one the environment asks for: tests are run with each.
    let wanted = std::env::var(KERNEL_VARIABLE).ok();
    let best = Kernel::available().next();
    let expected = Kernel::available().find(|kernel| Some(kernel.name()) == wanted.as_deref()).or(best);
    assert_eq!(Some(Kernel::chosen()), expected);
}
