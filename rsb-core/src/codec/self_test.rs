//! Holds a codec to the bytes its id stands for.
//!
//! The input is the same for ever: for a shape k+m it is the BLAKE3 output stream (counter mode, as BLAKE3's paper has it
//! in section 2.6) of the message "rsb codec self-test", k, m, both as little-endian u16; data shard 0 is the stream's first
//! [`LEN`] bytes, data shard 1 the next, and so on. Pinned is the BLAKE3 hash of the parity shards, one after another.

use super::{CodecError, CodecId, ErasureCodec, Shape};

/// Bytes of each shard: no multiple of a SIMD width, so that the ends are tested too.
const LEN: usize = 4222;

/// (k, m, hash with `novelpoly`, hash with `cauchy`).
const GOLDEN: [(usize, usize, &str, &str); 7] = [
    (
        1,
        0,
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
    ),
    (
        1,
        3,
        "6dacd2d6b2fae50a80e51bc81d0f2fafa673deb2364e7bb536dd1ed1cb2c9296",
        "8da052b449ed12013a87dbb2e3dd1648c934cc67619ba1387969b6c591f4a81d",
    ),
    (
        2,
        1,
        "edc66c62c6c7beb352c0bd8cfd497343ae3464698d8d9268fe4f99d5de229c2e",
        "cb01ccc17efa091e1948d01976b1109359f4064920a2fde6b84475dbdc3fc4a3",
    ),
    (
        4,
        2,
        "71c6dd16299f36fdcc15e45fa65cd69b5d1137d3794d0ca89a7f42840b1f5017",
        "6b528eb293ebe10b2b0309edde4a88333e84a649574f0037984f8b2078a72c76",
    ),
    (
        10,
        3,
        "88e9cf1114e728b3c678522a0b3aae9e05e5aeea13343c45c7544df35d61a795",
        "033be17a55916417c01a41788350a46594abd768fc77b41d4ff72d0d0e656c5d",
    ),
    (
        17,
        3,
        "64f2caccb6aab59c0ecc336d6cb3b376414ff9f3ae42528aab7564a9818ffd4d",
        "6d4394e104256db00f7eb7d7dc9994f46500214ff9a68753199fb984fc4e4c29",
    ),
    (
        29,
        3,
        "9886019019faef1dfb97f324fb87b2e2f1b85049c10feba754d2b7156558cb2e",
        "5aa460604a3fdf18c2abbf6c384892cba4df41f3a84419d61ce54f7f7b980c87",
    ),
];

/// Encodes and restores fixed input in a few shapes, and compares the parity with hashes pinned for the codec's id. A codec
/// whose id has none pinned is only held to restoring what it encoded. Takes a few milliseconds.
///
/// # Errors
/// [`CodecError::SelfTest`] on a difference: refuse to start; or the codec's own error.
pub fn self_test(codec: &dyn ErasureCodec) -> Result<(), CodecError> {
    for (k, m, novelpoly, cauchy) in GOLDEN {
        let pinned = match codec.id() {
            CodecId::NOVELPOLY => Some(novelpoly),
            CodecId::CAUCHY => Some(cauchy),
            _ => None,
        };
        check(codec, Shape::new(k, m)?, pinned)?;
    }
    Ok(())
}

fn check(codec: &dyn ErasureCodec, shape: Shape, pinned: Option<&str>) -> Result<(), CodecError> {
    let compare = |what, expected: &str, found: blake3::Hash| {
        if found.to_hex().as_str() == expected {
            return Ok(());
        }
        let (expected, found) = (expected.to_owned(), found.to_string());
        Err(CodecError::SelfTest { codec: codec.id(), shape, what, expected, found })
    };
    let k = shape.k();
    let mut shards = vec![vec![0; LEN]; shape.n()];
    let (data, parity) = shards.split_at_mut(k);
    fill(shape, data);
    let data = data.iter().map(|shard| &shard[..]).collect::<Vec<_>>();
    let mut buffers = parity.iter_mut().map(|shard| &mut shard[..]).collect::<Vec<_>>();
    codec.encode(shape, &data, &mut buffers)?;
    if let Some(pinned) = pinned {
        compare("parity shards", pinned, hash(parity))?;
    }

    // The last k shards: as many data shards are lost as there can be.
    let present = shards.iter().enumerate().skip(shape.m()).map(|(index, shard)| (index, &shard[..]));
    let present = present.collect::<Vec<_>>();
    let mut restored = vec![vec![0xaa; LEN]; shape.n()];
    let mut wanted = restored.iter_mut().map(|shard| &mut shard[..]).enumerate().collect::<Vec<_>>();
    codec.restore(shape, &present, &mut wanted)?;
    compare("restored shards", hash(&shards).to_hex().as_str(), hash(&restored))
}

/// Fills the data shards with the fixed input of their shape.
fn fill(shape: Shape, data: &mut [Vec<u8>]) {
    let mut seed = blake3::Hasher::new();
    seed.update(b"rsb codec self-test");
    for count in [shape.k, shape.m] {
        seed.update(&count.to_le_bytes());
    }
    let mut stream = seed.finalize_xof();
    for shard in data {
        stream.fill(shard);
    }
}

fn hash(shards: &[Vec<u8>]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for shard in shards {
        hasher.update(shard);
    }
    hasher.finalize()
}
