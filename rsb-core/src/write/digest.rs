//! Digests of a body as it passes: MD5 for the entity tag, and the prototype's SHA-256 of k contiguous runs.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use sha2::Sha256;

use crate::api::ObjectInfo;
use crate::core::Core;
use crate::env::{Computation, Env};
use crate::error::{Error, Result};
use crate::format::manifest::Digest;
use crate::read::stripes::StripeReader;
use crate::{read, write};

/// MD5 of a body, hashed beside the encoding.
pub(crate) struct BodyMd5 {
    env: Env,
    state: Option<Md5>,
    running: Option<Computation<Md5>>,
    waiting: VecDeque<Bytes>,
}

impl BodyMd5 {
    pub fn new(env: Env) -> Self {
        Self { env, state: Some(Md5::new()), running: None, waiting: VecDeque::new() }
    }

    /// Takes the next bytes; they are hashed while the caller goes on.
    pub async fn push(&mut self, bytes: Bytes) {
        const PIECE: usize = 512 << 10;
        self.waiting.push_back(bytes);
        if self.waiting.iter().map(Bytes::len).sum::<usize>() < PIECE {
            return;
        }
        self.flush().await;
    }

    async fn flush(&mut self) {
        if let Some(running) = self.running.take() {
            self.state = Some(running.wait().await);
        }
        let pieces = std::mem::take(&mut self.waiting);
        let mut state = self.state.take().unwrap_or_default();
        self.running = Some(self.env.start_compute(move || {
            for piece in pieces {
                state.update(&piece);
            }
            state
        }));
    }

    pub async fn finish(mut self) -> [u8; 16] {
        self.flush().await;
        let state = match self.running.take() {
            Some(running) => running.wait().await,
            None => Md5::new(),
        };
        state.finalize().into()
    }
}

/// The prototype's digests: SHA-256 of each of the k contiguous runs of `ceil(size / k)` bytes, the last ones padded with
/// zeros; and of each parity shard's blocks.
pub(crate) struct RunDigests {
    run_len: u64,
    position: u64,
    runs: Vec<Sha256>,
    parity: Vec<Sha256>,
}

impl RunDigests {
    pub fn new(size: u64, k: usize, m: usize) -> Self {
        Self {
            run_len: size.div_ceil(k as u64),
            position: 0,
            runs: vec![Sha256::new(); k],
            parity: vec![Sha256::new(); m],
        }
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.run_len > 0 {
            let run = (self.position / self.run_len) as usize;
            let room = self.run_len - self.position % self.run_len;
            let take = (bytes.len() as u64).min(room) as usize;
            if let Some(hasher) = self.runs.get_mut(run) {
                hasher.update(&bytes[..take]);
            }
            self.position += take as u64;
            bytes = &bytes[take..];
        }
    }

    /// Takes the next block of a parity shard.
    pub fn push_parity(&mut self, shard: usize, block: &[u8]) {
        if let Some(hasher) = self.parity.get_mut(shard) {
            hasher.update(block);
        }
    }

    /// The digests, data runs first.
    pub fn finish(mut self) -> Vec<Digest> {
        let zeros = [0u8; 4096];
        let mut rest = self.run_len * self.runs.len() as u64 - self.position.min(self.run_len * self.runs.len() as u64);
        while rest > 0 {
            let take = rest.min(zeros.len() as u64) as usize;
            self.push(&zeros[..take]);
            rest -= take as u64;
        }
        self.runs.into_iter().chain(self.parity).map(|hasher| Digest(hasher.finalize().into())).collect()
    }
}

/// The digests of a stored object, made by reading it: its parity is encoded anew, and is the same.
pub(crate) async fn by_reading(core: &Arc<Core>, info: &ObjectInfo) -> Result<Vec<Digest>> {
    let m = &info.manifest;
    let held = read::hold(core, &m.bucket, &m.key, Some(m.version)).await?;
    let Some(scheme) = m.scheme() else { return Ok(Vec::new()) };
    let mut digests = RunDigests::new(m.size, scheme.k(), scheme.m());
    let pieces = held.pieces.clone();
    for piece in pieces {
        let coder = write::make_coder(core, piece.scheme)?;
        let object = (m.bucket.clone(), m.key.clone());
        let mut reader = StripeReader::new(core, piece.clone(), 0..piece.layout.len, object, &[]);
        let mut stripe = 0;
        while let Some(blocks) = reader.next_data().await? {
            let block_len = piece.layout.block_len(stripe) as usize;
            let (coder, data_id) = (coder.clone(), piece.data_id);
            let hash = move || {
                let data: Bytes = blocks.concat().into();
                digests.push(&data);
                let encoded = coder.encode(data_id, stripe, data, block_len)?;
                let parity = encoded.blocks().iter().skip(coder.shape.k());
                parity.enumerate().for_each(|(shard, block)| digests.push_parity(shard, block));
                Ok::<_, Error>(digests)
            };
            digests = core.env.compute(hash).await?;
            stripe += 1;
        }
    }
    drop(held.lease);
    Ok(digests.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn md5_of_pieces_is_md5_of_the_whole() {
        let mut md5 = BodyMd5::new(Env::system());
        for _ in 0..40 {
            md5.push(Bytes::from(vec![7u8; 60_000])).await;
        }
        let expected: [u8; 16] = Md5::digest(vec![7u8; 40 * 60_000]).into();
        assert_eq!(md5.finish().await, expected);
        assert_eq!(hex::encode(BodyMd5::new(Env::system()).finish().await), "d41d8cd98f00b204e9800998ecf8427e");
    }

    #[test]
    fn runs_are_contiguous_and_the_last_ones_padded() {
        let body: Vec<u8> = (0..11u8).collect();
        let mut digests = RunDigests::new(11, 4, 0);
        digests.push(&body[..5]);
        digests.push(&body[5..]);
        let runs: [&[u8]; 4] = [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8], &[9, 10, 0]];
        let expected: Vec<Digest> = runs.iter().map(|run| Digest(Sha256::digest(run).into())).collect();
        assert_eq!(digests.finish(), expected);
        let empty: [u8; 32] = Sha256::digest([]).into();
        assert_eq!(RunDigests::new(0, 2, 1).finish(), vec![Digest(empty); 3]);
    }
}
