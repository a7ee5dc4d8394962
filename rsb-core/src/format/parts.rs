//! What a manifest keeps of an object's sending: the parts that it was put together from, and the checksum that its sender
//! gave for it. Neither is needed to read its bytes.

use std::ops::Range;

use minicbor::{Decode, Encode};

use crate::id::UploadId;

/// Most parts of an object, and the greatest number of one.
pub const MAX_PARTS: u16 = 10_000;

/// The parts of an object that was written by a multipart upload.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parts {
    /// The upload.
    #[n(0)]
    pub upload: UploadId,
    /// Their sizes in order, equal ones together.
    #[n(1)]
    pub sizes: Vec<PartRun>,
    /// Their numbers, ascending; absent where they are 1, 2, 3, ….
    #[n(2)]
    pub numbers: Option<Vec<u16>>,
    /// Their checksums one behind the other, all of the object's algorithm; empty where there are none.
    #[n(3)]
    #[cbor(with = "minicbor::bytes", default)]
    pub checksums: Vec<u8>,
}

/// Parts of equal size that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct PartRun {
    /// How many.
    #[n(0)]
    pub count: u32,
    /// Bytes of each.
    #[n(1)]
    pub len: u64,
}

/// One part of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartView<'a> {
    /// Its number, from 1.
    pub number: u16,
    /// Its bytes in the object.
    pub range: Range<u64>,
    /// Its checksum, of the object's algorithm.
    pub checksum: Option<&'a [u8]>,
}

impl Parts {
    /// The parts of these numbers and sizes, in order. `checksums` has one for each, or none at all.
    pub fn new(upload: UploadId, parts: &[(u16, u64)], checksums: Vec<u8>) -> Self {
        let mut sizes: Vec<PartRun> = Vec::new();
        for (_, len) in parts {
            match sizes.last_mut() {
                Some(run) if run.len == *len => run.count += 1,
                _ => sizes.push(PartRun { count: 1, len: *len }),
            }
        }
        let plain = parts.iter().zip(1..).all(|((number, _), at)| *number == at);
        let numbers = (!plain).then(|| parts.iter().map(|(number, _)| *number).collect());
        Self { upload, sizes, numbers, checksums }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.sizes.iter().map(|run| run.count as usize).sum()
    }

    /// The parts in order.
    pub fn views(&self) -> impl Iterator<Item = PartView<'_>> + '_ {
        let checksum_len = self.checksums.len() / self.count().max(1);
        let lens = self.sizes.iter().flat_map(|run| std::iter::repeat_n(run.len, run.count as usize));
        let mut start = 0;
        lens.enumerate().map(move |(at, len)| {
            let range = start..start + len;
            start = range.end;
            let number = self.numbers.as_ref().and_then(|numbers| numbers.get(at).copied());
            PartView {
                number: number.unwrap_or(at as u16 + 1),
                range,
                checksum: self.checksums.chunks_exact(checksum_len.max(1)).nth(at),
            }
        })
    }

    /// Whether they can be the parts of an object of so many bytes.
    pub(super) fn validate(&self, size: u64) -> Result<(), String> {
        let count: u64 = self.sizes.iter().map(|run| u64::from(run.count)).sum();
        let total =
            self.sizes.iter().try_fold(0u64, |sum, run| sum.checked_add(run.len.checked_mul(run.count.into())?));
        if !(1..=u64::from(MAX_PARTS)).contains(&count) {
            return Err(format!("{count} parts"));
        }
        if total != Some(size) {
            return Err(format!("{total:?} bytes of parts, and {size} of the object"));
        }
        if self.numbers.as_ref().is_some_and(|numbers| numbers.len() as u64 != count) {
            return Err("not a number for each part".into());
        }
        if !(self.checksums.len() as u64).is_multiple_of(count) {
            return Err("not a checksum for each part".into());
        }
        Ok(())
    }
}

/// A checksum that the sender of an object gave, or asked for, and that the object was found to have.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ObjectChecksum {
    /// How it is made.
    #[n(0)]
    pub algorithm: ChecksumAlgorithm,
    /// Its bytes, big-endian.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub value: Vec<u8>,
    /// It is made of the checksums of the parts, and not of the object's bytes.
    #[n(2)]
    #[cbor(default)]
    pub composite: bool,
}

/// The algorithms of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum ChecksumAlgorithm {
    /// CRC-32 of ISO 3309, 4 bytes.
    #[n(0)]
    Crc32,
    /// CRC-32C of Castagnoli, 4 bytes.
    #[n(1)]
    Crc32c,
    /// CRC-64/NVME, 8 bytes.
    #[n(2)]
    Crc64Nvme,
    /// SHA-1, 20 bytes.
    #[n(3)]
    Sha1,
    /// SHA-256, 32 bytes.
    #[n(4)]
    Sha256,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_equal_size_cost_nothing() {
        let sizes: Vec<(u16, u64)> = (1..=MAX_PARTS).map(|n| (n, if n == MAX_PARTS { 7 } else { 5 << 20 })).collect();
        let total = sizes.iter().map(|(_, len)| len).sum();
        let parts = Parts::new(UploadId::MIN, &sizes, Vec::new());
        assert!(minicbor::to_vec(&parts).unwrap().len() < 64);
        parts.validate(total).unwrap();
        assert!(parts.validate(total + 1).is_err());
        assert_eq!(parts.count(), 10_000);
        let last = parts.views().last().unwrap();
        assert_eq!((last.number, last.range, last.checksum), (10_000, total - 7..total, None));
    }

    #[test]
    fn numbers_with_gaps_and_checksums_are_found_again() {
        let parts = Parts::new(UploadId::MIN, &[(3, 10), (7, 10), (9, 4)], b"aabbcc".to_vec());
        let again: Parts = minicbor::decode(&minicbor::to_vec(&parts).unwrap()).unwrap();
        assert_eq!(again, parts);
        again.validate(24).unwrap();
        let views: Vec<_> = again.views().map(|view| (view.number, view.range, view.checksum.unwrap())).collect();
        assert_eq!(views, [(3, 0..10, &b"aa"[..]), (7, 10..20, b"bb"), (9, 20..24, b"cc")]);
        let hostile = Parts { sizes: vec![PartRun { count: u32::MAX, len: u64::MAX }], ..parts };
        assert!(hostile.validate(24).is_err());
    }
}
