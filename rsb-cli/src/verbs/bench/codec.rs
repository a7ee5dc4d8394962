//! How fast the codecs are on one core.

use std::time::Duration;

use rsb_core::codec::{CodecError, Codecs, ErasureCodec, Shape};
use rsb_core::{Env, Error};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::Config;
use crate::failure::Failure;
use crate::out::Out;

/// Shapes that people use, besides the config's own.
const SHAPES: [(usize, usize); 3] = [(4, 2), (10, 3), (17, 3)];
/// How long each number is measured for: long enough to be steady, short enough to wait for.
const MEASURE: Duration = Duration::from_millis(250);

/// One line. Rates are of data bytes (k blocks a stripe), in 10^9 a second.
#[derive(Serialize)]
struct Row {
    codec: &'static str,
    data_shards: usize,
    parity_shards: usize,
    block_size: u64,
    encode_gb_s: f64,
    decode_one_lost_gb_s: f64,
    decode_m_lost_gb_s: f64,
    memcpy_gb_s: f64,
    encode_to_memcpy: f64,
}

/// Measures every codec with the config's shape and block size, and with common shapes.
pub async fn run(out: &Out, config: &Config) -> Result<(), Failure> {
    let own = (config.repository.data_shards, config.repository.parity_shards);
    let mut shapes: Vec<(usize, usize)> = std::iter::once(own).chain(SHAPES).collect();
    shapes.sort_unstable();
    shapes.dedup();
    let env = Env::system();
    out.head("codec       k+m    block       encode   1 lost   m lost   memcpy  GB/s; encode/memcpy")?;
    for codec in Codecs::with_builtin().iter() {
        for &(k, m) in &shapes {
            let (codec, env, block) = (codec.clone(), env.clone(), config.repository.block_size);
            let row = env.clone().compute(move || measure(codec.as_ref(), &env, (k, m), block)).await;
            let row = row.map_err(|e| Failure::from(Error::from(e)))?;
            out.say(&row, || {
                format!(
                    "{:<10} {:>3}+{:<3} {:>8} B {:>9.2} {:>8.2} {:>8.2} {:>8.2}  {:>6.3}",
                    row.codec,
                    row.data_shards,
                    row.parity_shards,
                    row.block_size,
                    row.encode_gb_s,
                    row.decode_one_lost_gb_s,
                    row.decode_m_lost_gb_s,
                    row.memcpy_gb_s,
                    row.encode_to_memcpy
                )
            })?;
        }
    }
    Ok(())
}

fn measure(codec: &dyn ErasureCodec, env: &Env, (k, m): (usize, usize), block_size: u64) -> Result<Row, CodecError> {
    let shape = Shape::new(k, m)?;
    let block = usize::try_from(block_size).unwrap_or(64 << 10);
    let mut data = vec![vec![0; block]; k];
    data.iter_mut().for_each(|block| env.fill(block));
    let mut parity = vec![vec![0; block]; m];
    let bytes = (k * block) as u64;

    let sources: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let encode = rate(bytes, || {
        let mut buffers: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        codec.encode(shape, &sources, &mut buffers)
    })?;
    let shards: Vec<&[u8]> = data.iter().chain(&parity).map(Vec::as_slice).collect();
    let decode = |lost: usize| {
        let present: Vec<(usize, &[u8])> = shards.iter().copied().enumerate().skip(lost).take(k).collect();
        let mut rebuilt = vec![vec![0; block]; lost];
        rate(bytes, || {
            let mut wanted: Vec<(usize, &mut [u8])> = rebuilt.iter_mut().map(Vec::as_mut_slice).enumerate().collect();
            codec.restore(shape, &present, &mut wanted)
        })
    };
    let (one_lost, m_lost) = (decode(m.min(1))?, decode(m.min(k))?);
    let mut copy = vec![0; k * block];
    let memcpy = rate(bytes, || {
        for (to, from) in copy.chunks_exact_mut(block).zip(&data) {
            to.copy_from_slice(std::hint::black_box(from));
        }
        std::hint::black_box(&mut copy);
        Ok(())
    })?;
    Ok(Row {
        codec: codec.name(),
        data_shards: k,
        parity_shards: m,
        block_size,
        encode_gb_s: encode,
        decode_one_lost_gb_s: one_lost,
        decode_m_lost_gb_s: m_lost,
        memcpy_gb_s: memcpy,
        encode_to_memcpy: encode / memcpy,
    })
}

/// Repeats some work on so many bytes and gives its rate in 10^9 bytes a second. The first run, which fills caches and
/// makes tables, does not count.
fn rate(bytes: u64, mut work: impl FnMut() -> Result<(), CodecError>) -> Result<f64, CodecError> {
    work()?;
    let began = Instant::now();
    let mut runs = 0_u64;
    while began.elapsed() < MEASURE {
        work()?;
        runs += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok((runs * bytes) as f64 / seconds / 1e9)
}
