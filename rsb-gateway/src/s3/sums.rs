//! The checksums of S3: their names, how they are made, and how those of parts make that of an object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, checksum_combine};
use rsb_core::format::manifest::Manifest;
use rsb_core::format::parts::{ChecksumAlgorithm, ObjectChecksum};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{self, Checksum, ChecksumType};
use s3s::{S3Result, s3_error};

use ChecksumAlgorithm as Algorithm;

/// The headers (or trailers) of checksums.
pub(super) const HEADERS: [(&str, Algorithm); 5] = [
    ("x-amz-checksum-crc32", Algorithm::Crc32),
    ("x-amz-checksum-crc32c", Algorithm::Crc32c),
    ("x-amz-checksum-crc64nvme", Algorithm::Crc64Nvme),
    ("x-amz-checksum-sha1", Algorithm::Sha1),
    ("x-amz-checksum-sha256", Algorithm::Sha256),
];

/// Sets the field of an S3 type that is for checksums of an algorithm.
macro_rules! set_sum {
    ($of:expr, $algorithm:expr, $text:expr) => {
        match $algorithm {
            ChecksumAlgorithm::Crc32 => $of.checksum_crc32 = Some($text),
            ChecksumAlgorithm::Crc32c => $of.checksum_crc32c = Some($text),
            ChecksumAlgorithm::Crc64Nvme => $of.checksum_crc64nvme = Some($text),
            ChecksumAlgorithm::Sha1 => $of.checksum_sha1 = Some($text),
            ChecksumAlgorithm::Sha256 => $of.checksum_sha256 = Some($text),
        }
    };
}
pub(super) use set_sum;

/// An S3 type with the checksums of another.
macro_rules! with_sums {
    ($of:expr, $sums:expr) => {{
        let (mut out, sums) = ($of, $sums);
        out.checksum_crc32 = sums.checksum_crc32;
        out.checksum_crc32c = sums.checksum_crc32c;
        out.checksum_crc64nvme = sums.checksum_crc64nvme;
        out.checksum_sha1 = sums.checksum_sha1;
        out.checksum_sha256 = sums.checksum_sha256;
        out.checksum_type = sums.checksum_type;
        out
    }};
}
pub(super) use with_sums;

/// The checksums that the fields of an S3 type name.
macro_rules! sums_of {
    ($of:expr) => {
        [
            ($of.checksum_crc32.as_deref(), ChecksumAlgorithm::Crc32),
            ($of.checksum_crc32c.as_deref(), ChecksumAlgorithm::Crc32c),
            ($of.checksum_crc64nvme.as_deref(), ChecksumAlgorithm::Crc64Nvme),
            ($of.checksum_sha1.as_deref(), ChecksumAlgorithm::Sha1),
            ($of.checksum_sha256.as_deref(), ChecksumAlgorithm::Sha256),
        ]
        .into_iter()
        .filter_map(|(text, algorithm)| Some((algorithm, text?)))
    };
}
pub(super) use sums_of;

/// Bytes of a checksum.
pub(super) fn len(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Crc32 | Algorithm::Crc32c => 4,
        Algorithm::Crc64Nvme => 8,
        Algorithm::Sha1 => 20,
        Algorithm::Sha256 => 32,
    }
}

/// The header of a checksum.
pub(super) fn header(algorithm: Algorithm) -> &'static str {
    HEADERS.iter().find(|(_, known)| *known == algorithm).map_or("", |(name, _)| name)
}

/// An algorithm as S3 names it.
pub(super) fn name(algorithm: Algorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(match algorithm {
        Algorithm::Crc32 => dto::ChecksumAlgorithm::CRC32,
        Algorithm::Crc32c => dto::ChecksumAlgorithm::CRC32C,
        Algorithm::Crc64Nvme => dto::ChecksumAlgorithm::CRC64NVME,
        Algorithm::Sha1 => dto::ChecksumAlgorithm::SHA1,
        Algorithm::Sha256 => dto::ChecksumAlgorithm::SHA256,
    })
}

/// The algorithm that S3's name stands for.
pub(super) fn named(asked: &dto::ChecksumAlgorithm) -> S3Result<Algorithm> {
    let found = HEADERS.iter().map(|(_, algorithm)| *algorithm).find(|algorithm| name(*algorithm) == *asked);
    found.ok_or_else(|| {
        s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]")
    })
}

/// What a checksum is of, as S3 says it.
pub(super) fn kind(composite: bool) -> ChecksumType {
    ChecksumType::from_static(if composite { ChecksumType::COMPOSITE } else { ChecksumType::FULL_OBJECT })
}

/// A checksum's bytes as text.
pub(super) fn text(value: &[u8]) -> String {
    STANDARD.encode(value)
}

/// An object's checksum as text: one of parts says how many they are.
pub(super) fn text_of(checksum: &ObjectChecksum, parts: usize) -> String {
    if checksum.composite { format!("{}-{parts}", text(&checksum.value)) } else { text(&checksum.value) }
}

/// The checksum that is kept with an object, in S3's form.
pub(super) fn kept(manifest: &Manifest) -> Option<Checksum> {
    let checksum = manifest.checksum.as_ref()?;
    let parts = manifest.parts.as_ref().map_or(0, |parts| parts.count());
    let mut out = Checksum { checksum_type: Some(kind(checksum.composite)), ..Checksum::default() };
    set_sum!(out, checksum.algorithm, text_of(checksum, parts));
    Some(out)
}

/// Makes a checksum of one algorithm.
pub(super) enum Hasher {
    Crc32(Crc32),
    Crc32c(Crc32c),
    Crc64Nvme(Crc64Nvme),
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(Crc32::new()),
            Algorithm::Crc32c => Self::Crc32c(Crc32c::new()),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(Crc64Nvme::new()),
            Algorithm::Sha1 => Self::Sha1(Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        match self {
            Self::Crc32(_) => Algorithm::Crc32,
            Self::Crc32c(_) => Algorithm::Crc32c,
            Self::Crc64Nvme(_) => Algorithm::Crc64Nvme,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hash) => hash.update(bytes),
            Self::Crc32c(hash) => hash.update(bytes),
            Self::Crc64Nvme(hash) => hash.update(bytes),
            Self::Sha1(hash) => hash.update(bytes),
            Self::Sha256(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc32(hash) => hash.finalize().to_vec(),
            Self::Crc32c(hash) => hash.finalize().to_vec(),
            Self::Crc64Nvme(hash) => hash.finalize().to_vec(),
            Self::Sha1(hash) => hash.finalize().as_ref().to_vec(),
            Self::Sha256(hash) => hash.finalize().as_ref().to_vec(),
        }
    }
}

/// The checksum of an object from the (checksum, bytes) of its parts: of the checksums (`composite`), or of all bytes, which
/// only a CRC lets be told. `None` where it cannot be.
pub(super) fn of_parts(algorithm: Algorithm, composite: bool, parts: &[(&[u8], u64)]) -> Option<ObjectChecksum> {
    let value = if composite {
        let mut hash = Hasher::new(algorithm);
        parts.iter().for_each(|(value, _)| hash.update(value));
        hash.finish()
    } else {
        let crc = match algorithm {
            Algorithm::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
            Algorithm::Crc32c => CrcAlgorithm::Crc32Iscsi,
            Algorithm::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
            Algorithm::Sha1 | Algorithm::Sha256 => return None,
        };
        let number = |value: &[u8]| value.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        let mut parts = parts.iter().map(|(value, len)| (number(value), *len)).filter(|(_, len)| *len > 0);
        // Without bytes it is that of nothing.
        let first = parts.next().map_or(0, |(value, _)| value);
        let whole = parts.fold(first, |sum, (value, len)| checksum_combine(crc, sum, value, len));
        whole.to_be_bytes()[8 - len(algorithm)..].to_vec()
    };
    Some(ObjectChecksum { algorithm, value, composite })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: Algorithm, bytes: &[u8]) -> Vec<u8> {
        let mut hash = Hasher::new(algorithm);
        hash.update(bytes);
        hash.finish()
    }

    #[test]
    fn crcs_of_parts_make_that_of_the_whole() {
        let pieces: [&[u8]; 5] = [b"", b"hello, ", b"", &[7; 70_000], b"world"];
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let sums: Vec<Vec<u8>> = pieces.iter().map(|piece| sum(algorithm, piece)).collect();
            let parts: Vec<(&[u8], u64)> =
                sums.iter().zip(pieces).map(|(s, p)| (s.as_slice(), p.len() as u64)).collect();
            let whole = of_parts(algorithm, false, &parts).unwrap();
            assert_eq!(whole.value, sum(algorithm, &pieces.concat()), "{algorithm:?}");
            assert_eq!(of_parts(algorithm, false, &[]).unwrap().value, sum(algorithm, b""));
        }
        assert_eq!(of_parts(Algorithm::Sha1, false, &[]), None);
    }

    #[test]
    fn a_composite_is_the_checksum_of_the_checksums() {
        for (_, algorithm) in HEADERS {
            let (a, b) = (sum(algorithm, b"a"), sum(algorithm, b"b"));
            let whole = of_parts(algorithm, true, &[(&a, 1), (&b, 1)]).unwrap();
            assert_eq!(whole.value, sum(algorithm, &[a, b].concat()));
            assert_eq!(whole.value.len(), len(algorithm));
            assert_eq!(named(&name(algorithm)).unwrap(), algorithm);
            assert!(text_of(&whole, 2).ends_with("-2"));
        }
    }
}
