//! The checksum of everything stored: BLAKE3 keyed by the repository and bound to the place of what it covers, so that a
//! stale, swapped or misdirected block is as detectable as a flipped bit.

use crate::id::{BatchId, DataId, RepositoryId};
use crate::stripe::CHECKSUM_LEN;

/// A 32-byte keyed BLAKE3 hash.
pub type Checksum = [u8; CHECKSUM_LEN];

/// The key context of BLAKE3's `derive_key`; part of the format.
const KEY_CONTEXT: &str = "RSBackup 1 checksum key";

/// Chunks of BLAKE3 that the widest processors take at once.
const LEAD: usize = 16 << 10;

/// Makes and verifies the checksums of one repository.
#[derive(Clone)]
pub struct Checksums {
    key: [u8; 32],
}

impl std::fmt::Debug for Checksums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checksums")
    }
}

impl Checksums {
    /// The checksums of a repository: the key is derived from its id.
    pub fn new(repository: RepositoryId) -> Self {
        Self { key: blake3::derive_key(KEY_CONTEXT, repository.0.as_bytes()) }
    }

    /// The checksum of one block: over `"B"`, data id (16), shard index (u16), stripe (u32), all little-endian, then the block.
    pub fn block(&self, data: DataId, shard: usize, stripe: u64, block: &[u8]) -> Checksum {
        let mut place = [0u8; 23];
        place[0] = b'B';
        place[1..17].copy_from_slice(data.0.as_bytes());
        place[17..19].copy_from_slice(&(shard as u16).to_le_bytes());
        place[19..23].copy_from_slice(&(stripe as u32).to_le_bytes());
        self.hash(&place, block)
    }

    /// The checksum of one record: over `"R"`, batch id (16), offset (u32), then the frame's first 16 bytes and the body.
    pub fn record(&self, batch: BatchId, offset: u32, frame: &[u8], body: &[u8]) -> Checksum {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(b"R").update(batch.0.as_bytes()).update(&offset.to_le_bytes()).update(frame).update(body);
        *hasher.finalize().as_bytes()
    }

    /// Over `place`, which is short, and `bytes`. BLAKE3 is fast over many of its chunks (1 KiB) at once, beginning with the
    /// first; handed the place alone it would take up the chunks one, two, four and eight at a time. So the place and as
    /// many bytes as make [`LEAD`] are laid together first.
    fn hash(&self, place: &[u8], bytes: &[u8]) -> Checksum {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        match bytes.split_at_checked(LEAD - place.len()) {
            Some((first, rest)) => {
                let mut lead = [0; LEAD];
                let (head, tail) = lead.split_at_mut(place.len());
                head.copy_from_slice(place);
                tail.copy_from_slice(first);
                hasher.update(&lead).update(rest);
            }
            None => {
                hasher.update(place).update(bytes);
            }
        }
        *hasher.finalize().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_block_of_any_length_has_the_checksum_of_its_place_and_bytes() {
        let sums = Checksums::new(RepositoryId(Uuid::from_u128(7)));
        let data = DataId(Uuid::from_u128(9));
        let bytes: Vec<u8> = (0..70_000u32).map(|i| (i % 251) as u8).collect();
        for len in [0, 1, 1000, 1001, 1002, LEAD - 24, LEAD - 23, LEAD - 22, LEAD, 3 * LEAD + 5, 65_536, 70_000] {
            let mut whole = vec![b'B'];
            whole.extend_from_slice(data.0.as_bytes());
            whole.extend_from_slice(&3u16.to_le_bytes());
            whole.extend_from_slice(&5u32.to_le_bytes());
            whole.extend_from_slice(&bytes[..len]);
            assert_eq!(
                sums.block(data, 3, 5, &bytes[..len]),
                *blake3::keyed_hash(&sums.key, &whole).as_bytes(),
                "{len}"
            );
        }
    }
}
