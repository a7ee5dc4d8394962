//! From a body's bytes to shards: stripes are encoded and hashed as soon as they are full, while they are in cache.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;

use crate::codec::{ErasureCodec, Shape};
use crate::env::{Computation, Env};
use crate::error::Result;
use crate::format::checksum::Checksums;
use crate::format::shard::ShardHeader;
use crate::id::{DataId, RepositoryId};
use crate::scheme::Scheme;
use crate::stripe::{CHECKSUM_LEN, Layout};

/// What is needed to encode with one scheme.
#[derive(Clone, Debug)]
pub(crate) struct Coder {
    pub scheme: Scheme,
    pub shape: Shape,
    pub codec: Arc<dyn ErasureCodec>,
    pub checksums: Checksums,
}

/// One encoded stripe: a checksum and a block for each shard.
#[derive(Debug)]
pub(crate) struct EncodedStripe {
    sums: Bytes,
    blocks: Vec<Bytes>,
}

impl EncodedStripe {
    pub fn blocks(&self) -> &[Bytes] {
        &self.blocks
    }
    fn sum(&self, shard: usize) -> Bytes {
        self.sums.slice(shard * CHECKSUM_LEN..(shard + 1) * CHECKSUM_LEN)
    }
}

impl Coder {
    /// Encodes one stripe. `data` holds the stripe's bytes without padding; the blocks get `block_len` bytes each.
    pub fn encode(&self, data_id: DataId, stripe: u64, data: Bytes, block_len: usize) -> Result<EncodedStripe> {
        let (k, m) = (self.shape.k(), self.shape.m());
        let data = if data.len() == k * block_len {
            data
        } else {
            let mut padded = BytesMut::with_capacity(k * block_len);
            padded.extend_from_slice(&data);
            padded.resize(k * block_len, 0);
            padded.freeze()
        };
        let mut parity = BytesMut::zeroed(m * block_len);
        if block_len > 0 {
            let sources: Vec<&[u8]> = data.chunks_exact(block_len).collect();
            let mut outputs: Vec<&mut [u8]> = parity.chunks_exact_mut(block_len).collect();
            self.codec.encode(self.shape, &sources, &mut outputs)?;
        }
        let parity = parity.freeze();
        let mut blocks: Vec<Bytes> = Vec::with_capacity(k + m);
        blocks.extend((0..k).map(|i| data.slice(i * block_len..(i + 1) * block_len)));
        blocks.extend((0..m).map(|i| parity.slice(i * block_len..(i + 1) * block_len)));
        let mut sums = BytesMut::with_capacity((k + m) * CHECKSUM_LEN);
        for (shard, block) in blocks.iter().enumerate() {
            sums.extend_from_slice(&self.checksums.block(data_id, shard, stripe, block));
        }
        Ok(EncodedStripe { sums: sums.freeze(), blocks })
    }
}

/// Builds the shards of one segment as its bytes arrive.
pub(crate) struct SegmentEncoder {
    env: Env,
    coder: Coder,
    repository: RepositoryId,
    data_id: DataId,
    symbol_len: usize,
    len: u64,
    filling: BytesMut,
    running: Option<Computation<Result<EncodedStripe>>>,
    done: Vec<EncodedStripe>,
}

/// A segment that is ready to be written: for each shard, its file.
pub(crate) struct EncodedSegment {
    pub data_id: DataId,
    pub len: u64,
    stripes: Vec<EncodedStripe>,
    header: ShardHeader,
}

impl SegmentEncoder {
    pub fn new(env: Env, coder: Coder, repository: RepositoryId, data_id: DataId) -> Self {
        let symbol_len = coder.codec.symbol_len();
        Self {
            env,
            coder,
            repository,
            data_id,
            symbol_len,
            len: 0,
            filling: BytesMut::new(),
            running: None,
            done: Vec::new(),
        }
    }

    fn stripe_len(&self) -> usize {
        self.coder.scheme.k() * self.coder.scheme.block_size as usize
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Takes the next bytes of the segment.
    pub async fn push(&mut self, mut bytes: Bytes) -> Result<()> {
        let stripe_len = self.stripe_len();
        self.len += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.filling.is_empty() && bytes.len() >= stripe_len {
                // A whole stripe in one piece is not copied at all.
                let stripe = bytes.split_to(stripe_len);
                self.start(stripe).await?;
                continue;
            }
            if self.filling.capacity() == 0 {
                self.filling.reserve(stripe_len);
            }
            let take = bytes.len().min(stripe_len - self.filling.len());
            self.filling.extend_from_slice(&bytes.split_to(take));
            if self.filling.len() == stripe_len {
                let stripe = std::mem::take(&mut self.filling).freeze();
                self.start(stripe).await?;
            }
        }
        Ok(())
    }

    /// One stripe is encoded while the next fills.
    async fn start(&mut self, stripe: Bytes) -> Result<()> {
        self.wait().await?;
        let number = self.done.len() as u64;
        let block_len = self.coder.scheme.block_size as usize;
        self.start_encode(stripe, number, block_len);
        Ok(())
    }

    fn start_encode(&mut self, stripe: Bytes, number: u64, block_len: usize) {
        let (coder, data_id) = (self.coder.clone(), self.data_id);
        self.running = Some(self.env.start_compute(move || coder.encode(data_id, number, stripe, block_len)));
    }

    async fn wait(&mut self) -> Result<()> {
        if let Some(running) = self.running.take() {
            self.done.push(running.wait().await?);
        }
        Ok(())
    }

    /// The segment is complete.
    pub async fn finish(mut self) -> Result<EncodedSegment> {
        self.wait().await?;
        if !self.filling.is_empty() {
            let layout = Layout::new(&self.coder.scheme, self.symbol_len, self.len);
            let last = layout.stripes() - 1;
            let stripe = std::mem::take(&mut self.filling).freeze();
            self.start_encode(stripe, last, layout.block_len(last) as usize);
            self.wait().await?;
        }
        Ok(EncodedSegment {
            data_id: self.data_id,
            len: self.len,
            stripes: self.done,
            header: ShardHeader {
                repository: self.repository,
                data_id: self.data_id,
                index: 0,
                scheme: self.coder.scheme,
                segment_len: self.len,
                symbol_len: self.symbol_len as u32,
            },
        })
    }
}

impl EncodedSegment {
    /// The bytes of one shard's file; the blocks are shared, not copied.
    pub fn payload(&self, shard: usize) -> PutPayload {
        let header = ShardHeader { index: shard as u16, ..self.header.clone() };
        std::iter::once(Bytes::copy_from_slice(&header.encode()))
            .chain(self.stripes.iter().flat_map(|stripe| [stripe.sum(shard), stripe.blocks[shard].clone()]))
            .collect()
    }

    /// The parity blocks of the segment, shard by shard within each stripe.
    pub fn parity(&self) -> impl Iterator<Item = (usize, &Bytes)> + '_ {
        let k = self.header.scheme.k();
        self.stripes.iter().flat_map(move |stripe| stripe.blocks()[k..].iter().enumerate())
    }
}
