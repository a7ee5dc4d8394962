//! The codecs beside other people's, in one run: GB/s of data (k blocks a stripe) and second of one thread's processor
//! time, the best of many short runs that take turns, so that a machine that does other work too disturbs little and all alike.
//!
//! `cargo bench --manifest-path rsb-core/benches/Cargo.toml --bench compare -- [k m block [spread]]`: 10 3 65536 0
//! unless said. `spread`: bytes between the blocks of a stripe. The engine has none; with blocks of a power of two that
//! makes all blocks share a few sets of the caches, and all codecs suffer, each in its way.
//!
//! hot: one stripe again and again. cold: stripes one after another, 256 MiB of them with what is made of them.

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Duration;

use reed_solomon_novelpoly::{CodeParams, WrappedShard};
use rsb_core::codec::{Cauchy, ErasureCodec, Kernel, NovelPoly, Shape};
use rustix::time::{ClockId, clock_gettime};

const COLD_BYTES: usize = 256 << 20;
const ROUNDS: usize = 80;
/// At least so many, of what takes long.
const FEW_ROUNDS: u32 = 4;
/// How long one short run takes at least: less than the turn the system gives a thread.
const RUN: Duration = Duration::from_micros(800);
/// All rounds of one work together, where that is more than [`FEW_ROUNDS`].
const ALL_RUNS: Duration = Duration::from_millis(600);

/// What is measured: its name, how many bytes of data it works on, and the work.
struct Work<'a> {
    name: String,
    bytes: usize,
    run: Box<dyn FnMut() + 'a>,
}

fn work<'a>(name: impl ToString, bytes: usize, run: impl FnMut() + 'a) -> Work<'a> {
    Work { name: name.to_string(), bytes, run: Box::new(run) }
}

/// Processor time of this thread.
fn spent() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Processor time of so many runs.
fn time(work: &mut Work<'_>, times: u32) -> Duration {
    let began = spent();
    (0..times).for_each(|_| (work.run)());
    spent() - began
}

/// Runs everything in turns and prints the best rate of each, and its ratio to the first.
fn measure(title: &str, mut works: Vec<Work<'_>>) {
    println!("\n{title:<44}     GB/s   x first");
    let mut plans = Vec::new();
    for work in &mut works {
        time(work, 1);
        let once = time(work, 1).max(Duration::from_nanos(50));
        let times = (RUN.as_nanos() / once.as_nanos()).max(1) as u32;
        let rounds = (ALL_RUNS.as_nanos() / (once * times).as_nanos()) as u32;
        plans.push((times, rounds.max(FEW_ROUNDS) as usize, Duration::MAX));
    }
    for round in 0..ROUNDS {
        for (work, (times, rounds, best)) in works.iter_mut().zip(&mut plans) {
            if round < *rounds {
                *best = (*best).min(time(work, *times) / *times);
            }
        }
    }
    let rates: Vec<f64> =
        works.iter().zip(&plans).map(|(work, (.., best))| work.bytes as f64 / best.as_nanos() as f64).collect();
    for (work, rate) in works.iter().zip(&rates) {
        println!("{:<44} {rate:>8.3} {:>9.3}", work.name, rate / rates[0]);
    }
}

/// Bytes that are not all alike.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()[7]).collect()
}

/// Where the blocks of a stripe lie.
#[derive(Clone, Copy)]
struct Geometry {
    shape: Shape,
    block: usize,
    spread: usize,
}

impl Geometry {
    fn stride(self) -> usize {
        self.block + self.spread
    }
    fn blocks(self, stripe: &[u8]) -> Vec<&[u8]> {
        stripe.chunks_exact(self.stride()).map(|block| &block[..self.block]).collect()
    }
    fn buffers(self, stripe: &mut [u8]) -> Vec<&mut [u8]> {
        stripe.chunks_exact_mut(self.stride()).map(|block| &mut block[..self.block]).collect()
    }

    fn encode(self, codec: &dyn ErasureCodec, data: &[u8], parity: &mut [u8]) {
        let (k, m) = (self.shape.k() * self.stride(), self.shape.m() * self.stride());
        for (data, parity) in data.chunks_exact(k).zip(parity.chunks_exact_mut(m)) {
            codec.encode(self.shape, &self.blocks(data), &mut self.buffers(parity)).expect("valid arguments");
        }
    }

    /// Restores the first `lost` shards from the k behind them. Any bytes will do, as the work is the same.
    fn restore(self, codec: &dyn ErasureCodec, lost: usize, present: &[u8], out: &mut [u8]) {
        let (k, out_len) = (self.shape.k() * self.stride(), lost * self.stride());
        for (present, out) in present.chunks_exact(k).zip(out.chunks_exact_mut(out_len)) {
            let present: Vec<_> = self.blocks(present).into_iter().enumerate().map(|(i, b)| (i + lost, b)).collect();
            let mut wanted: Vec<_> = self.buffers(out).into_iter().enumerate().collect();
            codec.restore(self.shape, &present, &mut wanted).expect("valid arguments");
        }
    }
}

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let (k, m, block) = if let [k, m, block, ..] = numbers[..] { (k, m, block) } else { (10, 3, 64 << 10) };
    let spread = numbers.get(3).copied().unwrap_or(0);
    let shape = Shape::new(k, m).expect("a valid shape");
    let geometry = Geometry { shape, block, spread };
    let stripe = k * geometry.stride();
    let cauchy: Box<dyn ErasureCodec> = Box::new(Cauchy::new());
    let mut codecs = vec![cauchy];
    codecs.extend(Kernel::available().filter_map(NovelPoly::with_kernel).map(|codec| Box::new(codec) as _));
    println!("{shape}, blocks of {block} bytes, {spread} bytes between them");
    let data = bytes(stripe * (COLD_BYTES / (shape.n() * geometry.stride())).max(1));
    // One for all: of each work its own would be gigabytes.
    let out = RefCell::new(vec![1; data.len() / k * m.max(k)]);
    let out = &out;
    for (heat, data) in [("hot", &data[..stripe]), ("cold", &data[..])] {
        let stripes = data.len() / stripe;
        let size = stripes * k * block;
        let mut encodes = Vec::new();
        let mut restores = Vec::new();
        let lost = m.min(k);
        for codec in &codecs {
            let name = format!("{} {}", codec.name(), codec.kernel());
            encodes.push(work(&name, size, move || geometry.encode(&**codec, data, &mut out.borrow_mut())));
            restores.push(work(&name, size, move || geometry.restore(&**codec, lost, data, &mut out.borrow_mut())));
        }
        encodes.push(work("memcpy", size, move || {
            black_box(&mut out.borrow_mut()[..data.len()]).copy_from_slice(black_box(data));
        }));
        if heat == "hot" {
            others_encode(geometry, data, &mut encodes);
            others_restore(geometry, data, lost, &mut restores);
        }
        measure(&format!("{heat}, encode"), encodes);
        measure(&format!("{heat}, restore {lost}"), restores);
    }
    hashes(geometry, &data);
    updates(geometry, &codecs, &data);
}

/// The crate of the code itself, reed-solomon-simd and reed-solomon-erasure. The crate interleaves what it takes, so its
/// time includes that. To make the bytes of `novelpoly` it must encode k' data shards, k' being the next power of two; of
/// itself it makes of k+m another shape of powers of two, with fewer data shards.
fn others_encode<'a>(geometry: Geometry, data: &'a [u8], works: &mut Vec<Work<'a>>) {
    let (k, m, block) = (geometry.shape.k(), geometry.shape.m(), geometry.block);
    let size = k * block;
    let crate_k = k.next_power_of_two();
    let params = CodeParams::derive_parameters(crate_k + m, crate_k).expect("a valid shape");
    let codec = params.make_encoder();
    let payload = bytes(crate_k * block);
    works.push(work("reed-solomon-novelpoly, these bytes", size, move || {
        black_box(codec.encode::<WrappedShard>(black_box(&payload)).expect("valid arguments"));
    }));
    let params = CodeParams::derive_parameters(k + m, k).expect("a valid shape");
    let codec = params.make_encoder();
    works.push(work(
        format!("reed-solomon-novelpoly, its {}+{}", params.k(), params.n() - params.k()),
        size,
        move || {
            let payload: Vec<u8> = geometry.blocks(data).concat();
            black_box(codec.encode::<WrappedShard>(black_box(&payload)).expect("valid arguments"));
        },
    ));
    let mut simd = reed_solomon_simd::ReedSolomonEncoder::new(k, m, block).expect("a valid shape");
    works.push(work("reed-solomon-simd", size, move || {
        for block in geometry.blocks(data) {
            simd.add_original_shard(block).expect("valid arguments");
        }
        black_box(simd.encode().expect("all were added").recovery_iter().count());
    }));
    let codec = reed_solomon_erasure::galois_8::ReedSolomon::new(k, m).expect("a valid shape");
    let mut parity = vec![vec![0; block]; m];
    works.push(work("reed-solomon-erasure", size, move || {
        codec.encode_sep(&geometry.blocks(data), &mut parity).expect("valid arguments");
    }));
}

fn others_restore<'a>(geometry: Geometry, data: &'a [u8], lost: usize, works: &mut Vec<Work<'a>>) {
    let (k, m, block) = (geometry.shape.k(), geometry.shape.m(), geometry.block);
    let size = k * block;
    let crate_k = k.next_power_of_two();
    let params = CodeParams::derive_parameters(crate_k + m, crate_k).expect("a valid shape");
    let codec = params.make_encoder();
    let shards = codec.encode::<WrappedShard>(&bytes(crate_k * block)).expect("valid arguments");
    let mut received: Vec<Option<WrappedShard>> = shards.into_iter().map(Some).collect();
    received[..lost].fill(None);
    works.push(work("reed-solomon-novelpoly, these bytes", size, move || {
        black_box(codec.reconstruct(black_box(received.clone())).expect("enough shards"));
    }));
    let parity = reed_solomon_simd::encode(k, m, geometry.blocks(data)).expect("valid arguments");
    let mut simd = reed_solomon_simd::ReedSolomonDecoder::new(k, m, block).expect("a valid shape");
    works.push(work("reed-solomon-simd", size, move || {
        for (index, block) in geometry.blocks(data).into_iter().enumerate().skip(lost) {
            simd.add_original_shard(index, block).expect("valid arguments");
        }
        for (index, block) in parity.iter().take(lost).enumerate() {
            simd.add_recovery_shard(index, block).expect("valid arguments");
        }
        black_box(simd.decode().expect("enough shards").restored_original_iter().count());
    }));
    let codec = reed_solomon_erasure::galois_8::ReedSolomon::new(k, m).expect("a valid shape");
    let mut shards: Vec<(Vec<u8>, bool)> = geometry.blocks(data).into_iter().map(|b| (b.to_vec(), true)).collect();
    shards.extend((0..m).map(|_| (vec![0; block], true)));
    works.push(work("reed-solomon-erasure", size, move || {
        shards[..lost].iter_mut().for_each(|shard| shard.1 = false);
        codec.reconstruct(&mut shards).expect("enough shards");
    }));
}

/// Encode and BLAKE3 of all blocks: first the one and then the other over whole blocks, as the engine has it, or piece by
/// piece, so that each piece is hashed while it is in the first-level cache.
fn hashes(geometry: Geometry, data: &[u8]) {
    let codec = NovelPoly::new();
    let Geometry { shape, block, .. } = geometry;
    let stripe = &data[..shape.k() * geometry.stride()];
    let mut works = Vec::new();
    for piece in [block, 16 << 10, 4 << 10, 2 << 10].into_iter().filter(|piece| *piece <= block) {
        let mut parity = vec![0; shape.m() * geometry.stride()];
        let codec = &codec;
        works.push(work(format!("in pieces of {piece} bytes"), shape.k() * block, move || {
            let mut hashers = vec![blake3::Hasher::new(); shape.n()];
            let blocks = geometry.blocks(stripe);
            for at in (0..block).step_by(piece) {
                let range = at..block.min(at + piece);
                let data: Vec<&[u8]> = blocks.iter().map(|block| &block[range.clone()]).collect();
                let mut buffers = geometry.buffers(&mut parity);
                let mut parity: Vec<&mut [u8]> = buffers.iter_mut().map(|block| &mut block[range.clone()]).collect();
                codec.encode(shape, &data, &mut parity).expect("valid arguments");
                let pieces = data.into_iter().chain(parity.iter().map(|piece| &**piece));
                hashers.iter_mut().zip(pieces).for_each(|(hasher, piece)| {
                    hasher.update(piece);
                });
            }
            black_box(hashers.iter().map(blake3::Hasher::finalize).collect::<Vec<_>>());
        }));
    }
    measure("hot, encode and BLAKE3 of all blocks", works);
}

/// Parity brought up to date for one changed block: GB/s of that block.
fn updates(geometry: Geometry, codecs: &[Box<dyn ErasureCodec>], data: &[u8]) {
    let Geometry { shape, block, .. } = geometry;
    let (old, new) = (&data[..block], bytes(block + 1).split_off(1));
    let new = &new;
    let works = codecs.iter().map(|codec| {
        let mut parity = vec![0; shape.m() * geometry.stride()];
        work(format!("{} {}", codec.name(), codec.kernel()), block, move || {
            codec.update(shape, 0, old, new, &mut geometry.buffers(&mut parity)).expect("valid arguments");
        })
    });
    measure("hot, update of one block", works.collect());
}
