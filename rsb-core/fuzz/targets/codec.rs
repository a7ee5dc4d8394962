//! `novelpoly` against the crate that defines it: what it encodes and restores, with every kernel.
#![no_main]

use reed_solomon_novelpoly::{CodeParams, WrappedShard};
use rsb_core::codec::{ErasureCodec, Kernel, NovelPoly, Shape};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [k, m, symbols, seed, data @ ..] = bytes else { return };
    let (k, m) = (1 + usize::from(k % 40), 1 + usize::from(m % 24));
    let (len, seed) = (2 * (1 + usize::from(*symbols)), usize::from(*seed));
    let shape = Shape::new(k, m).expect("at most 64 shards");
    let byte = |at: usize| data.get(at % data.len().max(1)).copied().unwrap_or(0).wrapping_add((at / 251) as u8);
    let data: Vec<Vec<u8>> = (0..k).map(|shard| (0..len).map(|at| byte(shard * len + at)).collect()).collect();
    let expected = by_the_crate(&data, m);
    let sources: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let order: Vec<usize> = (0..k + m).map(|at| (at * step(k + m, seed) + seed) % (k + m)).collect();
    let (present, lost) = order.split_at(k);
    for codec in Kernel::available().filter_map(NovelPoly::with_kernel) {
        let mut parity = vec![vec![0xaa; len]; m];
        let mut buffers: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        codec.encode(shape, &sources, &mut buffers).expect("valid arguments");
        assert_eq!(parity, expected, "{shape} by {}", codec.kernel());
        let shard = |index: usize| if index < k { &data[index] } else { &expected[index - k] };
        let have: Vec<(usize, &[u8])> = present.iter().map(|&index| (index, shard(index).as_slice())).collect();
        let mut restored = vec![vec![0xaa; len]; lost.len()];
        let buffers = restored.iter_mut().map(Vec::as_mut_slice);
        let mut wanted: Vec<(usize, &mut [u8])> = lost.iter().copied().zip(buffers).collect();
        codec.restore(shape, &have, &mut wanted).expect("k shards");
        for (index, restored) in lost.iter().zip(&restored) {
            assert_eq!(restored, shard(*index), "{shape} shard {index} from {present:?} by {}", codec.kernel());
        }
    }
});

/// Parity of the crate's own code, zeros in the data positions behind k.
fn by_the_crate(data: &[Vec<u8>], m: usize) -> Vec<Vec<u8>> {
    let crate_k = data.len().next_power_of_two();
    let codec = CodeParams::derive_parameters(crate_k + m, crate_k).expect("a valid shape").make_encoder();
    let symbol = |position: usize, at: usize| data.get(position).map_or([0; 2], |shard| [shard[at], shard[at + 1]]);
    let payload: Vec<u8> = (0..data[0].len())
        .step_by(2)
        .flat_map(|at| (0..crate_k).flat_map(move |position| symbol(position, at)))
        .collect();
    let shards = codec.encode::<WrappedShard>(&payload).expect("a valid payload");
    shards.into_iter().skip(crate_k).take(m).map(WrappedShard::into_inner).collect()
}

/// A step that visits all n shards.
fn step(n: usize, seed: usize) -> usize {
    let divides = |a: usize| (2..=a).any(|d| a % d == 0 && n % d == 0);
    (seed..).find(|&step| step > 0 && !divides(step)).unwrap_or(1)
}
