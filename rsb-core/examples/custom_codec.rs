//! An erasure code of your own: here the one of the Go library klauspost/reedsolomon (GF(2^8), Vandermonde's matrix made
//! systematic), in which RSBackup's prototype kept its files. It is held to the suite of codecs, registered, and used by an
//! engine, which loses two backends.
//!
//! `cargo run --release --example custom_codec`

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use rsb_core::catalog::MemoryCatalog;
use rsb_core::codec::{CodecError, CodecId, Codecs, ErasureCodec, Shape};
use rsb_core::format::manifest::BucketSettings;
use rsb_core::{Backend, Engine, EngineConfig, Env, PutRequest, Scheme, Spread};
use rusty_erasure::{Coder, compat};

/// Ids from 32768 up are never given to a built-in codec. It stands in every manifest and shard: never use it for another code.
const VANDERMONDE: CodecId = CodecId(32768);

#[derive(Debug)]
struct Vandermonde;

impl Vandermonde {
    /// A real codec would remember these.
    fn coder(&self, shape: Shape) -> Result<Coder, CodecError> {
        let matrix = compat::reed_solomon_erasure_matrix(shape.k(), shape.m());
        matrix.and_then(rusty_erasure::coder).map_err(|error| self.internal(shape, &error))
    }

    fn internal(&self, shape: Shape, error: &dyn std::fmt::Display) -> CodecError {
        CodecError::Internal { codec: self.id(), shape, reason: error.to_string() }
    }
}

/// The one length that all (index, length) pairs have.
fn one_length(mut lengths: impl Iterator<Item = (usize, usize)>) -> Result<usize, CodecError> {
    let Some((_, expected)) = lengths.next() else { return Ok(0) };
    match lengths.find(|(_, len)| *len != expected) {
        Some((index, len)) => Err(CodecError::LengthMismatch { index, len, expected }),
        None => Ok(expected),
    }
}

fn counted(kind: &'static str, have: usize, need: usize) -> Result<(), CodecError> {
    if have == need { Ok(()) } else { Err(CodecError::ShardCount { kind, have, need }) }
}

fn distinct(shape: Shape, indices: impl Iterator<Item = usize>) -> Result<(), CodecError> {
    let mut seen = vec![false; shape.n()];
    for index in indices {
        let known = seen.get_mut(index).ok_or(CodecError::IndexOutOfRange { index, shape })?;
        if std::mem::replace(known, true) {
            return Err(CodecError::DuplicateIndex { index });
        }
    }
    Ok(())
}

impl ErasureCodec for Vandermonde {
    fn id(&self) -> CodecId {
        VANDERMONDE
    }

    fn name(&self) -> &'static str {
        "vandermonde"
    }

    fn symbol_len(&self) -> usize {
        1
    }

    fn kernel(&self) -> &'static str {
        rusty_erasure::best_kernels().name
    }

    fn encode(&self, shape: Shape, data: &[&[u8]], parity: &mut [&mut [u8]]) -> Result<(), CodecError> {
        counted("data", data.len(), shape.k())?;
        counted("parity", parity.len(), shape.m())?;
        let lengths = data.iter().map(|shard| shard.len()).chain(parity.iter().map(|shard| shard.len()));
        if one_length(lengths.enumerate())? == 0 || shape.m() == 0 {
            return Ok(());
        }
        self.coder(shape)?.encode(data, parity).map_err(|error| self.internal(shape, &error))
    }

    fn restore(
        &self,
        shape: Shape,
        present: &[(usize, &[u8])],
        wanted: &mut [(usize, &mut [u8])],
    ) -> Result<(), CodecError> {
        distinct(shape, present.iter().map(|(index, _)| *index))?;
        distinct(shape, wanted.iter().map(|(index, _)| *index))?;
        if present.len() < shape.k() {
            return Err(CodecError::TooFewShards { have: present.len(), need: shape.k() });
        }
        let lengths = present.iter().map(|(index, shard)| (*index, shard.len()));
        let len = one_length(lengths.chain(wanted.iter().map(|(index, buffer)| (*index, buffer.len()))))?;
        let mut shards = vec![None; shape.n()];
        present.iter().take(shape.k()).for_each(|(index, shard)| shards[*index] = Some(*shard));
        let (mut missing, mut buffers) = (Vec::new(), Vec::new());
        for (index, buffer) in wanted {
            match present.iter().find(|(other, _)| other == index) {
                Some((_, shard)) => buffer.copy_from_slice(shard),
                None => {
                    missing.push(*index);
                    buffers.push(&mut **buffer);
                }
            }
        }
        if len == 0 || missing.is_empty() {
            return Ok(());
        }
        self.coder(shape)?.recover(&shards, &missing, &mut buffers).map_err(|error| self.internal(shape, &error))
    }

    fn update(
        &self,
        shape: Shape,
        index: usize,
        old: &[u8],
        new: &[u8],
        parity: &mut [&mut [u8]],
    ) -> Result<(), CodecError> {
        if index >= shape.k() {
            return Err(CodecError::IndexOutOfRange { index, shape });
        }
        counted("parity", parity.len(), shape.m())?;
        let lengths = parity.iter().enumerate().map(|(row, shard)| (shape.k() + row, shard.len()));
        if one_length([(index, old.len()), (index, new.len())].into_iter().chain(lengths))? == 0 || shape.m() == 0 {
            return Ok(());
        }
        let change: Vec<u8> = old.iter().zip(new).map(|(old, new)| old ^ new).collect();
        self.coder(shape)?.update(index, &change, parity).map_err(|error| self.internal(shape, &error))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // 1. The suite that every codec is held to. It panics where a rule is broken.
    rsb_core::testkit::codec::run(&Vandermonde);
    println!("the codec \"vandermonde\" passes the suite of codecs");

    // 2. An engine that writes with it. Whoever opens the repository registers it too, or cannot read what it coded.
    let mut codecs = Codecs::with_builtin();
    codecs.register(Arc::new(Vandermonde));
    let stores: Vec<Arc<InMemory>> = (0..6).map(|_| Arc::new(InMemory::new())).collect();
    let backends = |without: usize| -> Vec<Backend> {
        let empty = |i: usize| if i < without { Arc::new(InMemory::new()) } else { stores[i].clone() };
        (0..6).map(|i| Backend::new(format!("store-{i}"), empty(i))).collect()
    };
    let mut config = EngineConfig::new("example", Scheme::new(4, 2, VANDERMONDE, 64 << 10)?);
    config.spread = Spread::None;
    let env = Env::system();
    Engine::init_markers(&config, &backends(0), &env).await?;
    let open = |without| {
        let catalog = Arc::new(MemoryCatalog::default());
        Engine::open(config.clone(), backends(without), catalog, codecs.clone(), env.clone())
    };
    let engine = open(0).await?;
    engine.create_bucket("photos", BucketSettings::default()).await?;
    let data = Bytes::from((0..3_000_000u32).map(|i| (i % 251) as u8).collect::<Vec<u8>>());
    let put = PutRequest { bucket: "photos".into(), key: "cat.jpg".into(), ..PutRequest::default() };
    let body = data.clone();
    let info = engine.put(put, stream::once(async { Ok(body) }).boxed()).await?;
    println!("written with {}", info.scheme().map(|scheme| scheme.codec_id().to_string()).unwrap_or_default());
    engine.close().await?;

    // 3. Without two of the stores, and without the catalog, another engine reads it.
    let engine = open(2).await?;
    let found = engine.get("photos", "cat.jpg", None, None).await?;
    let pieces: Vec<Bytes> = found.stream.try_collect().await?;
    assert!(pieces.concat() == data, "the object is another one");
    println!("read as it was written, with two of six stores lost");
    engine.close().await?;
    Ok(())
}
