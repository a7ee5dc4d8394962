//! The bytes of a file, in order and in bounded memory. Each run is verified before its last bytes are given, so that a reader
//! who gets all of them has the file as it was stored. A run that is not whole is rebuilt, piece by piece, from k shards that
//! are.

use std::fs::File;
use std::io;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use rsb_core::{BodyStream, Error, ErrorKind, Late};
use rusty_erasure::{Coder, DecodePlan, compat};
use sha2::{Digest as _, Sha256};

use super::description::Digest;
use super::{Parts, Survey};

/// Most bytes of one piece of all shards that are read for it, and of one piece of a run that is whole.
const PIECES: usize = 4 << 20;
/// The same of one shard.
const PIECE: usize = 1 << 20;
/// Least bytes of a piece: smaller ones only cost calls.
const LEAST_PIECE: usize = 16 << 10;

/// Why a file cannot be had any more: a sentence's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmendable(pub String);

/// The bytes of one file.
pub struct Mend {
    parts: Parts,
    survey: Survey,
    data: Option<File>,
    rebuilding: Option<Rebuilding>,
    run: usize,
    at: u64,
    hash: Sha256,
    /// Set when a rebuilt run turns out not to be what it was.
    beyond: Late<Unmendable>,
}

/// What runs are rebuilt with.
struct Rebuilding {
    coder: Coder,
    /// k shards that are whole, and where they lie.
    from: Vec<(usize, File)>,
    /// For which run, and how.
    plan: Option<(usize, DecodePlan)>,
    buffer: Vec<u8>,
}

impl Mend {
    /// The bytes of a surveyed file; `beyond` is set where it turns out on the way that they cannot be had.
    ///
    /// # Errors
    /// Too little of the file is whole.
    pub fn new(parts: Parts, survey: Survey, beyond: Late<Unmendable>) -> Result<Self, Unmendable> {
        let description = parts.description();
        let broken = (0..description.data_shards()).filter(|run| !description.run(*run).is_empty());
        let rebuilding = match broken.filter(|run| !survey.is_whole(*run)).count() {
            0 => None,
            broken => Some(Rebuilding::of(&parts, &survey, broken)?),
        };
        let data = parts.open(0).ok();
        Ok(Self { parts, survey, data, rebuilding, run: 0, at: 0, hash: Sha256::new(), beyond })
    }

    /// Whether parts of the data are rebuilt.
    pub fn heals(&self) -> bool {
        self.rebuilding.is_some()
    }

    /// The bytes as a body.
    pub fn into_body(self) -> BodyStream {
        let pieces = stream::try_unfold(self, |mut mend| async move {
            let read = tokio::task::spawn_blocking(move || mend.next().map(|piece| piece.map(|piece| (piece, mend))));
            let ended = |error| Error::new(ErrorKind::BadBody, format!("reading the file was ended: {error}"));
            read.await.map_err(ended)?
        });
        pieces.boxed()
    }

    /// The next bytes.
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let description = self.parts.description();
        let run = loop {
            if self.run == description.data_shards() {
                return Ok(None);
            }
            let run = description.run(self.run);
            if !run.is_empty() {
                break run;
            }
            self.run += 1;
        };
        let left = run.end - run.start - self.at;
        let most =
            self.rebuilding.as_ref().map_or(PIECE, |_| (PIECES / description.data_shards()).clamp(LEAST_PIECE, PIECE));
        let mut piece = vec![0; left.min(most as u64) as usize];
        self.fill(&mut piece).map_err(|error| {
            let name = self.parts.name();
            Error::new(ErrorKind::BadBody, format!("{name} cannot be read any more: {error}; try again"))
        })?;
        self.hash.update(&piece);
        self.at += piece.len() as u64;
        if piece.len() as u64 == left {
            self.end_run()?;
        }
        Ok(Some(piece.into()))
    }

    fn fill(&mut self, piece: &mut [u8]) -> io::Result<()> {
        if !self.survey.is_whole(self.run) {
            let missing = || io::Error::other("too little of it is whole");
            return self.rebuilding.as_mut().ok_or_else(missing)?.fill(&self.parts, self.run, self.at, piece);
        }
        let data = self.data.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.parts.read(data, self.run, self.at, piece)
    }

    /// Verifies the run that was just read.
    fn end_run(&mut self) -> Result<(), Error> {
        let padding = self.parts.description().shard_bytes() - self.at;
        let mut hash = std::mem::take(&mut self.hash);
        (0..padding).for_each(|_| hash.update([0]));
        let digest: Digest = hash.finalize().into();
        let (run, name) = (self.run, self.parts.name());
        (self.run, self.at) = (run + 1, 0);
        if digest == *self.parts.description().digest(run) {
            return Ok(());
        }
        if self.survey.is_whole(run) {
            return Err(Error::new(ErrorKind::BadBody, format!("{name} has changed while it was read; try again")));
        }
        // Where k shards that have their digests give what lies in the file, it is the digest in the .md that is wrong.
        if self.survey.lies_there(run, &digest) {
            return Ok(());
        }
        let why = format!("what its parity gives for data run {} does not have the digest in the .md", run + 1);
        self.beyond.set(Unmendable(why.clone()));
        Err(Error::new(ErrorKind::BadBody, format!("{name} is beyond repair: {why}")))
    }
}

impl Rebuilding {
    fn of(parts: &Parts, survey: &Survey, broken: usize) -> Result<Self, Unmendable> {
        let (k, m) = (parts.description().data_shards(), parts.description().parity_shards());
        let whole = survey.whole().count();
        let from: Vec<(usize, File)> =
            survey.whole().filter_map(|shard| Some((shard, parts.open(shard).ok()?))).take(k).collect();
        if from.len() < k {
            return Err(Unmendable(format!(
                "of its {} shards {whole} are whole, and {k} are needed for the {broken} of its data that are not",
                k + m
            )));
        }
        let matrix = compat::reed_solomon_erasure_matrix(k, m);
        let coder = matrix.and_then(rusty_erasure::coder);
        let coder = coder.map_err(|error| Unmendable(format!("there is no code of {k}+{m} shards: {error}")))?;
        Ok(Self { coder, from, plan: None, buffer: Vec::new() })
    }

    fn fill(&mut self, parts: &Parts, run: usize, at: u64, piece: &mut [u8]) -> io::Result<()> {
        let shards = parts.description().shards();
        let plan = match self.plan.take() {
            Some((of, plan)) if of == run => plan,
            _ => {
                let present: Vec<bool> =
                    (0..shards).map(|shard| self.from.iter().any(|(from, _)| *from == shard)).collect();
                self.coder.decode_plan(&present, &[run]).map_err(|error| io::Error::other(error.to_string()))?
            }
        };
        self.buffer.resize(piece.len() * self.from.len(), 0);
        let mut sources = vec![None; shards];
        for ((shard, file), source) in self.from.iter().zip(self.buffer.chunks_exact_mut(piece.len())) {
            parts.read(file, *shard, at, source)?;
            sources[*shard] = Some(&*source);
        }
        let done = self.coder.recover_with(&plan, &sources, &mut [piece]);
        self.plan = Some((run, plan));
        done.map_err(|error| io::Error::other(error.to_string()))
    }
}
