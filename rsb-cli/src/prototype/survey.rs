//! Which shards of a file are whole.

use std::fs::File;
use std::io::{self, ErrorKind};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Parts;
use super::description::Digest;

/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// What it is wrong with: `data`, `data run 3 of 10`, `parity 1 of 3`.
    pub part: String,
    /// What is wrong: a sentence's end.
    pub why: String,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// By shard: it has its digest.
    whole: Vec<bool>,
    /// By shard: the digest it has, where it could be read.
    found: Vec<Option<Digest>>,
    /// All that is wrong.
    pub damage: Vec<Damage>,
}

impl Survey {
    /// Reads every shard and compares it with its digest. `read` is told of bytes as they are read.
    pub fn of(parts: &Parts, read: &dyn Fn(u64)) -> Self {
        let shards = parts.description().shards();
        let mut survey = Self { whole: vec![false; shards], found: vec![None; shards], damage: Vec::new() };
        survey.look_at_data(parts, read);
        for shard in parts.description().data_shards()..shards {
            survey.look_at_parity(parts, shard, read);
        }
        survey
    }

    /// Whether a shard has its digest.
    pub fn is_whole(&self, shard: usize) -> bool {
        self.whole[shard]
    }

    /// Shards that have their digests, in order.
    pub fn whole(&self) -> impl Iterator<Item = usize> + '_ {
        self.whole.iter().enumerate().filter(|(_, whole)| **whole).map(|(shard, _)| shard)
    }

    /// Whether the bytes of a shard as they lie there have this digest.
    pub fn lies_there(&self, shard: usize, digest: &Digest) -> bool {
        self.found[shard].as_ref() == Some(digest)
    }

    fn look_at_data(&mut self, parts: &Parts, read: &dyn Fn(u64)) {
        let description = parts.description();
        let file = parts.open(0).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (len, file) = match file {
            Ok(found) => found,
            Err(error) => return self.note("data".into(), why(&error)),
        };
        if len != description.size() {
            self.note("data".into(), format!("it has {len} bytes and not {}", description.size()));
        }
        for shard in 0..description.data_shards() {
            // A run that is cut off is part of what was said of the file.
            if description.run(shard).end <= len {
                let part = format!("data run {} of {}", shard + 1, description.data_shards());
                self.compare(parts, &file, shard, part, read);
            }
        }
    }

    fn look_at_parity(&mut self, parts: &Parts, shard: usize, read: &dyn Fn(u64)) {
        let (k, m) = (parts.description().data_shards(), parts.description().parity_shards());
        let part = format!("parity {} of {m}", shard - k + 1);
        let file = parts.open(shard).and_then(|file| Ok((file.metadata()?.len(), file)));
        match file {
            Err(error) => self.note(part, why(&error)),
            Ok((len, _)) if len != parts.description().shard_bytes() => {
                self.note(part, format!("it has {len} bytes and not {}", parts.description().shard_bytes()));
            }
            Ok((_, file)) => self.compare(parts, &file, shard, part, read),
        }
    }

    fn compare(&mut self, parts: &Parts, file: &File, shard: usize, part: String, read: &dyn Fn(u64)) {
        match digest(parts, file, shard, read) {
            Err(error) => self.note(part, why(&error)),
            Ok(found) => {
                self.found[shard] = Some(found);
                self.whole[shard] = found == *parts.description().digest(shard);
                if !self.whole[shard] {
                    self.note(part, "it does not have the digest in the .md".into());
                }
            }
        }
    }

    fn note(&mut self, part: String, why: String) {
        self.damage.push(Damage { part, why });
    }
}

/// The digest of a shard as it lies there.
fn digest(parts: &Parts, file: &File, shard: usize, read: &dyn Fn(u64)) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < parts.description().shard_bytes() {
        let piece = (parts.description().shard_bytes() - at).min(PIECE as u64) as usize;
        parts.read(file, shard, at, &mut buffer[..piece])?;
        hash.update(&buffer[..piece]);
        at += piece as u64;
        read(piece as u64);
    }
    Ok(hash.finalize().into())
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "it is missing".into(),
        _ => format!("it cannot be read: {error}"),
    }
}
