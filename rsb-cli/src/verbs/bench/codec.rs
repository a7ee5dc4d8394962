//! How fast the codecs are on one core.

use std::hint::black_box;
use std::time::Duration;

use rsb_core::codec::{CodecError, Codecs, ErasureCodec, Shape};
use rsb_core::{Env, Error};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::Config;
use crate::failure::Failure;
use crate::out::Out;

/// Shapes that people use, besides the config's own.
const SHAPES: [(usize, usize); 5] = [(4, 2), (10, 3), (17, 3), (29, 3), (64, 16)];
/// Block sizes, besides the config's own.
const BLOCKS: [usize; 3] = [4 << 10, 64 << 10, 1 << 20];
/// How long each number is measured for: steady enough to compare, short enough that the table comes in half a minute.
const MEASURE: Duration = Duration::from_millis(60);
/// One turn: shorter than what the system gives a thread in one go.
const TURN: Duration = Duration::from_micros(800);
/// At least so many, of what takes long.
const FEW_TURNS: usize = 4;
/// Bytes that no cache holds: stripes and what is made of them, one after another.
const COLD: usize = 192 << 20;

/// One line. Rates are of data bytes (k blocks a stripe), in 10^9 for a second of processor time: `hot` with one stripe again and again, `cold`
/// with stripes that come from memory and go there.
#[derive(Serialize)]
struct Row {
    codec: &'static str,
    kernel: &'static str,
    data_shards: usize,
    parity_shards: usize,
    block_size: usize,
    encode_gb_s: f64,
    decode_one_lost_gb_s: f64,
    decode_m_lost_gb_s: f64,
    memcpy_gb_s: f64,
    encode_to_memcpy: f64,
    cold_encode_gb_s: f64,
    cold_decode_one_lost_gb_s: f64,
    cold_decode_m_lost_gb_s: f64,
    cold_memcpy_gb_s: f64,
    cold_encode_to_memcpy: f64,
}

/// Measures every codec with the config's shape and block size, and with common ones.
pub async fn run(out: &Out, config: &Config) -> Result<(), Failure> {
    let own = (config.repository.data_shards, config.repository.parity_shards);
    let block = usize::try_from(config.repository.block_size).unwrap_or(BLOCKS[1]);
    let (mut shapes, mut blocks) = (with_own(own, &SHAPES), with_own(block, &BLOCKS));
    if cfg!(debug_assertions) {
        out.note("this build is not optimised: its numbers mean little, so only your own shape is measured");
        (shapes, blocks) = (vec![own], vec![block]);
    }
    let env = Env::system();
    let filling = env.clone();
    let mut bytes = env
        .compute(move || {
            let mut bytes = vec![0; COLD];
            filling.fill(&mut bytes);
            bytes
        })
        .await;
    out.head("GB/s of data, one core           hot: encode  1 lost  m lost  /memcpy    cold: encode  1 lost  m lost  /memcpy")?;
    for codec in Codecs::with_builtin().iter() {
        for &(k, m) in &shapes {
            for &block in &blocks {
                let codec = codec.clone();
                let measured = env.compute(move || {
                    let row = measure(codec.as_ref(), &mut bytes, (k, m), block);
                    (row, bytes)
                });
                let (row, again) = measured.await;
                bytes = again;
                let row = row.map_err(|e| Failure::from(Error::from(e)))?;
                out.say(&row, || line(&row))?;
            }
        }
    }
    Ok(())
}

/// The usual ones and the config's own, each once, ascending.
fn with_own<T: Copy + Ord>(own: T, usual: &[T]) -> Vec<T> {
    let mut all: Vec<T> = usual.iter().copied().chain([own]).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn line(row: &Row) -> String {
    format!(
        "{:<9} {:<16} {:>3}+{:<3} {:>7} {:>7.2} {:>7.2} {:>7.2} {:>8.3} {:>15.2} {:>7.2} {:>7.2} {:>8.3}",
        row.codec,
        row.kernel,
        row.data_shards,
        row.parity_shards,
        row.block_size,
        row.encode_gb_s,
        row.decode_one_lost_gb_s,
        row.decode_m_lost_gb_s,
        row.encode_to_memcpy,
        row.cold_encode_gb_s,
        row.cold_decode_one_lost_gb_s,
        row.cold_decode_m_lost_gb_s,
        row.cold_encode_to_memcpy
    )
}

/// Measures in `bytes`, which are the data and then what is made of them.
fn measure(
    codec: &dyn ErasureCodec,
    bytes: &mut Vec<u8>,
    (k, m): (usize, usize),
    block: usize,
) -> Result<Row, CodecError> {
    let shape = Shape::new(k, m)?;
    // As much again as the data, at least: memcpy needs it.
    let (stripe, made) = (k * block, k.max(m) * block);
    let stripes = (bytes.len() / (stripe + made).max(1)).max(1);
    if bytes.len() < stripe + made {
        bytes.resize(stripe + made, 1);
    }
    let (data, out) = bytes.split_at_mut(stripes * stripe);
    let hot = Rates::measure(codec, shape, block, &data[..stripe], out)?;
    let cold = Rates::measure(codec, shape, block, data, out)?;
    Ok(Row {
        codec: codec.name(),
        kernel: codec.kernel(),
        data_shards: k,
        parity_shards: m,
        block_size: block,
        encode_gb_s: hot.encode,
        decode_one_lost_gb_s: hot.one_lost,
        decode_m_lost_gb_s: hot.m_lost,
        memcpy_gb_s: hot.memcpy,
        encode_to_memcpy: hot.encode / hot.memcpy,
        cold_encode_gb_s: cold.encode,
        cold_decode_one_lost_gb_s: cold.one_lost,
        cold_decode_m_lost_gb_s: cold.m_lost,
        cold_memcpy_gb_s: cold.memcpy,
        cold_encode_to_memcpy: cold.encode / cold.memcpy,
    })
}

/// GB/s of one codec, shape and block size over the stripes of some data.
struct Rates {
    encode: f64,
    one_lost: f64,
    m_lost: f64,
    memcpy: f64,
}

/// What is done to a stripe.
#[derive(Clone, Copy)]
enum Work {
    Encode,
    /// So many of the first shards, from the k behind them.
    Restore(usize),
    Copy,
}

impl Rates {
    /// `data`: whole stripes; `out`: room for as many, of k or of m blocks. All kinds of work take turns, and of each the
    /// best turn counts: so other work of the machine disturbs little, and all alike.
    fn measure(
        codec: &dyn ErasureCodec,
        shape: Shape,
        block: usize,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<Rates, CodecError> {
        let works =
            [Work::Encode, Work::Restore(shape.m().min(1)), Work::Restore(shape.m().min(shape.k())), Work::Copy];
        let mut walks = works.map(|work| Walk { codec, shape, block, work, stripe: 0 });
        // The first stripe fills caches and makes tables, and does not count.
        walks.iter_mut().try_for_each(|walk| walk.step(data, out).map(|_| ()))?;
        let mut best = [0.0_f64; 4];
        let (began, mut turns) = (Instant::now(), 0);
        while turns < FEW_TURNS || began.elapsed() < MEASURE * 4 {
            for (walk, best) in walks.iter_mut().zip(&mut best) {
                *best = best.max(walk.turn(data, out)?);
            }
            turns += 1;
        }
        let [encode, one_lost, m_lost, memcpy] = best;
        Ok(Rates { encode, one_lost, m_lost, memcpy })
    }
}

/// Works through the stripes again and again.
struct Walk<'a> {
    codec: &'a dyn ErasureCodec,
    shape: Shape,
    block: usize,
    work: Work,
    stripe: usize,
}

impl Walk<'_> {
    /// The rate of some stripes, in 10^9 bytes of data for a second of this thread's processor time.
    fn turn(&mut self, data: &[u8], out: &mut [u8]) -> Result<f64, CodecError> {
        let (began, mut bytes) = (processor_time(), 0);
        loop {
            bytes += self.step(data, out)?;
            let spent = processor_time().saturating_sub(began);
            if spent >= TURN {
                return Ok(bytes as f64 / spent.as_secs_f64() / 1e9);
            }
        }
    }

    /// Does the next stripe; gives its bytes.
    fn step(&mut self, data: &[u8], out: &mut [u8]) -> Result<usize, CodecError> {
        let (k, block) = (self.shape.k(), self.block);
        let stripe = k * block;
        let made = match self.work {
            Work::Encode => self.shape.m() * block,
            Work::Restore(lost) => lost * block,
            Work::Copy => stripe,
        };
        let at = self.stripe % (data.len() / stripe.max(1)).max(1);
        self.stripe += 1;
        let data = black_box(&data[at * stripe..(at + 1) * stripe]);
        let out = black_box(&mut out[at * made..(at + 1) * made]);
        match self.work {
            Work::Encode => {
                let sources: Vec<&[u8]> = data.chunks_exact(block).collect();
                let mut buffers: Vec<&mut [u8]> = out.chunks_exact_mut(block).collect();
                self.codec.encode(self.shape, &sources, &mut buffers)?;
            }
            // Any bytes do for the k shards behind those that are lost, as the work is the same.
            Work::Restore(lost) => {
                let blocks = data.chunks_exact(block).enumerate();
                let present: Vec<(usize, &[u8])> = blocks.map(|(index, block)| (index + lost, block)).collect();
                let mut wanted: Vec<(usize, &mut [u8])> = out.chunks_exact_mut(block).enumerate().collect();
                self.codec.restore(self.shape, &present, &mut wanted)?;
            }
            Work::Copy => out.copy_from_slice(data),
        }
        Ok(stripe)
    }
}

/// What this thread has had of the processor: on a busy machine less than what a clock on the wall shows.
#[cfg(target_os = "linux")]
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Elsewhere the clock on the wall.
#[cfg(not(target_os = "linux"))]
fn processor_time() -> Duration {
    static BEGAN: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    BEGAN.elapsed()
}
