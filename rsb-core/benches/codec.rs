//! Encode, and restore of one and of m lost shards, in bytes of data (k blocks) a second on one thread.
//!
//! `cargo bench --manifest-path rsb-core/benches/Cargo.toml -- 'cauchy/10[+]3'`

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rsb_core::codec::{Codecs, ErasureCodec, Shape};

const SHAPES: [(usize, usize); 5] = [(4, 2), (10, 3), (17, 3), (29, 3), (64, 16)];
const BLOCKS: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];

/// A stripe of data that is not all alike, and its parity.
fn stripe(codec: &dyn ErasureCodec, shape: Shape, block: usize) -> Vec<Vec<u8>> {
    let byte = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7];
    let mut shards: Vec<Vec<u8>> =
        (0..shape.n()).map(|shard| (0..block).map(|i| byte(shard * block + i)).collect()).collect();
    let (data, parity) = shards.split_at_mut(shape.k());
    encode(codec, shape, data, parity);
    shards
}

fn encode(codec: &dyn ErasureCodec, shape: Shape, data: &[Vec<u8>], parity: &mut [Vec<u8>]) {
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    if let Err(error) = codec.encode(shape, black_box(&data), &mut parity) {
        panic!("{error}");
    }
}

fn restore(codec: &dyn ErasureCodec, shape: Shape, shards: &[Vec<u8>], out: &mut [Vec<u8>]) {
    let present: Vec<(usize, &[u8])> =
        shards.iter().enumerate().skip(out.len()).map(|(index, shard)| (index, shard.as_slice())).collect();
    let mut wanted: Vec<(usize, &mut [u8])> =
        out.iter_mut().enumerate().map(|(index, shard)| (index, shard.as_mut_slice())).collect();
    if let Err(error) = codec.restore(shape, black_box(&present), &mut wanted) {
        panic!("{error}");
    }
}

fn codecs(criterion: &mut Criterion) {
    for codec in Codecs::with_builtin().iter() {
        for (k, m) in SHAPES {
            let Ok(shape) = Shape::new(k, m) else { continue };
            let mut group = criterion.benchmark_group(format!("{}/{shape}", codec.name()));
            for block in BLOCKS {
                let shards = stripe(&**codec, shape, block);
                let mut out = shards[..m].to_vec();
                group.throughput(Throughput::Bytes((k * block) as u64));
                group.bench_function(BenchmarkId::new("encode", block), |bencher| {
                    bencher.iter(|| encode(&**codec, shape, &shards[..k], &mut out));
                });
                for lost in [1, m] {
                    group.bench_function(BenchmarkId::new(format!("restore-{lost}"), block), |bencher| {
                        bencher.iter(|| restore(&**codec, shape, &shards, &mut out[..lost]));
                    });
                }
            }
            group.finish();
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = codecs
}
criterion_main!(benches);
