//! What a `.md` file says.

use std::ops::Range;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// Most shards that the prototype's field has room for.
const MOST_SHARDS: usize = 256;

/// The JSON, as the prototype wrote it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    size: u64,
    hashes: Vec<String>,
    data_shards: usize,
    parity_shards: usize,
}

/// What is known of a file. Invariant: 1 ≤ k, k + m ≤ 256, and a digest for each shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    size: u64,
    data_shards: usize,
    digests: Vec<Digest>,
    fingerprint: String,
}

impl Description {
    /// Reads a `.md` file's bytes.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let raw: Raw =
            serde_json::from_slice(bytes).map_err(|error| format!("it is not what it should be: {error}"))?;
        let shards = raw.data_shards.checked_add(raw.parity_shards).filter(|n| *n <= MOST_SHARDS);
        let Some(shards) = shards.filter(|_| raw.data_shards > 0) else {
            return Err(format!("it says {}+{} shards, which no such code has", raw.data_shards, raw.parity_shards));
        };
        if raw.hashes.len() != shards {
            return Err(format!("it has {} digests for {shards} shards", raw.hashes.len()));
        }
        let mut digests = vec![Digest::default(); shards];
        for (digest, text) in digests.iter_mut().zip(&raw.hashes) {
            hex::decode_to_slice(text, digest).map_err(|_| format!("{text:?} in it is no SHA-256"))?;
        }
        let fingerprint = hex::encode(Sha256::digest(bytes));
        Ok(Self { size: raw.size, data_shards: raw.data_shards, digests, fingerprint })
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// k: runs of the file.
    pub fn data_shards(&self) -> usize {
        self.data_shards
    }

    /// m: parity files.
    pub fn parity_shards(&self) -> usize {
        self.shards() - self.data_shards
    }

    /// k + m; the runs are numbered 0..k, the parity files k..n.
    pub fn shards(&self) -> usize {
        self.digests.len()
    }

    /// Bytes of a run with its padding, and of a parity file.
    pub fn shard_bytes(&self) -> u64 {
        self.size.div_ceil(self.data_shards as u64)
    }

    /// Which bytes of the file are in a run: fewer than [`shard_bytes`](Self::shard_bytes) where it is padded.
    pub fn run(&self, shard: usize) -> Range<u64> {
        let border = |shard: usize| self.shard_bytes().saturating_mul(shard as u64).min(self.size);
        border(shard)..border(shard + 1)
    }

    /// The digest of a shard, padding included.
    pub fn digest(&self, shard: usize) -> &Digest {
        &self.digests[shard]
    }

    /// SHA-256 of the `.md` file itself, in hex: another one when the file is another, as it holds the digests of all of it.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
