//! Where the shards of a file lie, and how a piece of one is read.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::Description;

/// A described file of the prototype's.
#[derive(Clone, Debug)]
pub struct Parts {
    root: PathBuf,
    name: String,
    description: Description,
}

impl Parts {
    /// The file `name` in the folder.
    pub fn new(root: &Path, name: &str, description: Description) -> Self {
        Self { root: root.to_owned(), name: name.to_owned(), description }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its `.md` says.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// When it was last written, in milliseconds since the Unix epoch; where it is there.
    pub fn modified_ms(&self) -> Option<u64> {
        let modified = self.path(0).metadata().and_then(|meta| meta.modified()).ok()?;
        modified.duration_since(UNIX_EPOCH).ok()?.as_millis().try_into().ok()
    }

    /// Bytes that are read to verify every shard once.
    pub fn stored_bytes(&self) -> u64 {
        let parity = self.description.shard_bytes().saturating_mul(self.description.parity_shards() as u64);
        self.description.size().saturating_add(parity)
    }

    fn path(&self, shard: usize) -> PathBuf {
        match shard.checked_sub(self.description.data_shards()) {
            None => self.root.join(&self.name),
            Some(parity) => self.root.join(format!("{}.parity.{}", self.name, parity + 1)),
        }
    }

    /// Opens the file in which a shard lies, to read it.
    pub(super) fn open(&self, shard: usize) -> io::Result<File> {
        let file = File::open(self.path(shard))?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("it is not a regular file")),
        }
    }

    /// Reads a piece of a shard from the file in which it lies; what is padding is zeros.
    pub(super) fn read(&self, file: &File, shard: usize, at: u64, piece: &mut [u8]) -> io::Result<()> {
        let (from, have) = if shard < self.description.data_shards() {
            let run = self.description.run(shard);
            let from = run.end.min(run.start.saturating_add(at));
            (from, (run.end - from).min(piece.len() as u64) as usize)
        } else {
            (at, piece.len())
        };
        let (bytes, padding) = piece.split_at_mut(have);
        padding.fill(0);
        file.read_exact_at(bytes, from)
    }
}
