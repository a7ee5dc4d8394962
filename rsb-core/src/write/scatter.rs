//! Many files to many backends at once: the shards of a segment, the copies of a batch. A failed backend is replaced by a
//! spare that the domain rule allows; once enough are durable, stragglers are left to the ledger.

use std::time::Duration;

use object_store::PutPayload;
use object_store::path::Path;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::backend::{Backend, Role};
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Fault, put};
use crate::health::Op;
use crate::placement::Placer;

/// What is to be written, and when it is enough.
pub(crate) struct Scatter<'a> {
    pub core: &'a Core,
    /// Number of files.
    pub count: usize,
    /// So many must be durable.
    pub ack: usize,
    /// So many may share a domain.
    pub max_per_domain: usize,
    /// Rotates the backends.
    pub seed: u64,
    /// About the length of a file in bytes.
    pub file_len: u64,
    /// What a file is called in an error.
    pub what: &'a str,
}

/// Where one file went.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// The backend where it is, or should be.
    pub backend: String,
    /// It is durable there.
    pub stored: bool,
}

/// Where the files went.
#[derive(Clone, Debug)]
pub(crate) struct Scattered {
    /// By file number.
    pub placed: Vec<Placed>,
    /// Backends where a write of a file was tried and its outcome is not known.
    pub doubtful: Vec<(usize, String)>,
}

impl Scattered {
    pub fn stored(&self) -> usize {
        self.placed.iter().filter(|p| p.stored).count()
    }
    /// Numbers of the files that are not durable.
    pub fn short(&self) -> impl Iterator<Item = usize> + '_ {
        self.placed.iter().enumerate().filter(|(_, p)| !p.stored).map(|(i, _)| i)
    }
    /// Everywhere a file was, or may have been, written.
    pub fn everywhere(&self) -> impl Iterator<Item = (usize, &str)> + '_ {
        let stored = self.placed.iter().enumerate().filter(|(_, p)| p.stored).map(|(i, p)| (i, p.backend.as_str()));
        stored.chain(self.doubtful.iter().map(|(i, b)| (*i, b.as_str())))
    }
}

/// A write that did not reach enough backends, and where it left something.
pub(crate) struct TooFew {
    pub error: Error,
    pub left: Scattered,
}

struct Attempt {
    file: usize,
    backend: Backend,
    result: Result<(), Fault>,
}

struct Run<'a, F> {
    scatter: &'a Scatter<'a>,
    make: F,
    placer: Placer<'a>,
    writes: JoinSet<Attempt>,
    out: Scattered,
    in_flight: Vec<Option<Backend>>,
    /// Of the last write of each file.
    handles: Vec<Option<AbortHandle>>,
    failures: Vec<(String, String)>,
    /// Files that were not begun, as their backends are left alone.
    reserve: Vec<(usize, Backend)>,
    op: Op,
    begun: Instant,
    /// Enough cannot be reached any more: nothing new is begun.
    doomed: bool,
}

impl<'a> Scatter<'a> {
    /// Writes all files. On success at least `ack` of them are durable on distinct backends.
    pub async fn run(&'a self, make: impl Fn(usize) -> (Path, PutPayload)) -> Result<Scattered, Box<TooFew>> {
        let mut run = self.start(make);
        run.launch_all();
        run.collect().await;
        let out = run.finish();
        match out {
            Ok(out) => Ok(out),
            Err((out, failures)) => Err(Box::new(TooFew { error: self.too_few(&out, &failures), left: out })),
        }
    }

    fn start<F: Fn(usize) -> (Path, PutPayload)>(&'a self, make: F) -> Run<'a, F> {
        let op = Op::write(self.file_len);
        let placer = Placer::new(&self.core.backends, &self.core.config.spread, self.max_per_domain, self.seed);
        Run {
            scatter: self,
            make,
            placer,
            writes: JoinSet::new(),
            out: Scattered { placed: Vec::with_capacity(self.count), doubtful: Vec::new() },
            in_flight: vec![None; self.count],
            handles: vec![None; self.count],
            failures: Vec::new(),
            reserve: Vec::new(),
            op,
            begun: Instant::now(),
            doomed: false,
        }
    }

    fn too_few(&self, out: &Scattered, failures: &[(String, String)]) -> Error {
        let why: Vec<String> = failures.iter().map(|(name, detail)| format!("{name}: {detail}")).collect();
        let why = if why.is_empty() { "the others are not reachable".to_owned() } else { why.join("; ") };
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "only {} of the {} backends that must hold a {} could be written to, so the write was undone; bring backends back and retry ({why})",
                out.stored(),
                self.ack,
                self.what,
            ),
        )
        .backends(failures.iter().map(|(name, _)| name.clone()))
    }
}

impl<F: Fn(usize) -> (Path, PutPayload)> Run<'_, F> {
    fn launch_all(&mut self) {
        let mut homeless = Vec::new();
        for file in 0..self.scatter.count {
            self.out.placed.push(Placed { backend: String::new(), stored: false });
            // An ill one that is due gets its trial; spares stand in where an active one fails or is known to be ill.
            let op = self.op;
            let active = |b: &Backend| b.role() == Role::Active && b.is_admitted();
            let well = |b: &Backend| b.is_admitted() && !b.health().is_suspect(op);
            let placer = &mut self.placer;
            let choice = placer
                .next(|b| active(b) && well(b))
                .or_else(|| placer.next(|b| active(b) && b.health().takes_trial(op)))
                .or_else(|| placer.next(well))
                .or_else(|| placer.next(|b| active(b) && b.health().admits(op)));
            match choice {
                Some(backend) => self.launch(file, backend.clone()),
                None => homeless.push(file),
            }
        }
        self.put_down(homeless);
    }

    /// What has no backend now is put down for one that is left alone, or is away: the ledger brings it there. It is tried
    /// all the same where the write would be refused without it.
    fn put_down(&mut self, homeless: Vec<usize>) {
        let mut missing = self.scatter.ack.saturating_sub(self.scatter.count - homeless.len());
        for file in homeless {
            let alone = self.placer.next(|b| b.role() == Role::Active && b.is_admitted()).cloned();
            if let Some(backend) = alone {
                if missing > 0 {
                    missing -= 1;
                    self.launch(file, backend);
                } else {
                    self.out.placed[file].backend = backend.name().to_owned();
                    self.reserve.push((file, backend));
                }
            } else if let Some(away) = self.placer.next(|b| b.role() == Role::Active) {
                self.out.placed[file].backend = away.name().to_owned();
                self.failures.push((away.name().to_owned(), "it is not reachable".into()));
            }
        }
    }

    fn launch(&mut self, file: usize, backend: Backend) {
        let (path, payload) = (self.make)(file);
        self.out.placed[file].backend = backend.name().to_owned();
        self.in_flight[file] = Some(backend.clone());
        self.handles[file] = Some(self.writes.spawn(async move {
            let result = put(&backend, &path, payload).await;
            Attempt { file, backend, result }
        }));
    }

    async fn collect(&mut self) {
        let mut enough_since: Option<Instant> = None;
        while !self.writes.is_empty() {
            let possible = self.out.stored() + self.in_flight.iter().flatten().count() + self.reserve.len();
            if !self.doomed && possible < self.scatter.ack {
                self.doomed = true;
                enough_since = Some(Instant::now());
            }
            if enough_since.is_none() && self.out.stored() >= self.scatter.ack {
                enough_since = Some(Instant::now());
            }
            // A write that is under way may land after it was given up; where all is undone, what is waited for is not left.
            let deadline = enough_since.map(|since| match self.doomed {
                true => since + self.scatter.core.config.straggler_limit,
                false => since + self.patience(since - self.begun),
            });
            let joined = match deadline {
                None => self.writes.join_next().await,
                Some(deadline) => match tokio::time::timeout_at(deadline, self.writes.join_next()).await {
                    Ok(joined) => joined,
                    Err(_) => break,
                },
            };
            if let Some(Ok(attempt)) = joined {
                self.settle(attempt);
            }
        }
        self.give_up_on_stragglers();
    }

    /// How long the rest is waited for once enough are durable, which took `elapsed`: what is usual for the slowest of those
    /// that are well.
    fn patience(&self, elapsed: Duration) -> Duration {
        let health = self.in_flight.iter().flatten().map(Backend::health);
        let well = health.filter(|h| !h.is_suspect(self.op));
        match well.map(|h| h.limit(self.op)).max() {
            // Only ill ones are left: a sign of life of theirs is hardly waited for.
            None => elapsed / 4 + Duration::from_millis(2),
            Some(limit) => limit + elapsed / 2,
        }
    }

    fn settle(&mut self, attempt: Attempt) {
        let Attempt { file, backend, result } = attempt;
        self.in_flight[file] = None;
        match result {
            Ok(()) => self.out.placed[file].stored = true,
            Err(fault) => {
                tracing::warn!(backend = backend.name(), error = %fault.detail, "a {} could not be written", self.scatter.what);
                self.failures.push((backend.name().to_owned(), fault.detail));
                self.out.doubtful.push((file, backend.name().to_owned()));
                self.placer.release(backend.name());
                if self.doomed {
                    return;
                }
                let enough = self.out.stored() + self.in_flight.iter().flatten().count() >= self.scatter.ack;
                let healthy = self.placer.next(|b| b.is_admitted() && !b.health().is_suspect(self.op));
                // One that failed before may work again: better tried than the write refused.
                let other = healthy.or_else(|| if enough { None } else { self.placer.next(Backend::is_admitted) });
                if let Some(other) = other.cloned() {
                    self.launch(file, other);
                } else if !enough && let Some((file, backend)) = self.reserve.pop() {
                    self.launch(file, backend);
                }
            }
        }
    }

    fn give_up_on_stragglers(&mut self) {
        let (enough, waited) = (self.out.stored() >= self.scatter.ack, self.begun.elapsed());
        let mut trials = Vec::new();
        for (file, backend) in self.in_flight.iter_mut().enumerate().filter_map(|(f, b)| b.take().map(|b| (f, b))) {
            if enough && backend.health().is_left_alone(self.op) {
                trials.push((file, backend.clone()));
            } else if enough {
                let detail = "it was too slow, and enough others were durable";
                backend.health().gave_up(self.op, waited, detail);
                tracing::warn!(backend = backend.name(), "a {} was left to the ledger: {detail}", self.scatter.what);
                self.failures.push((backend.name().to_owned(), detail.into()));
            }
            self.out.doubtful.push((file, backend.name().to_owned()));
        }
        self.finish_trials(trials);
    }

    /// Nobody waits for a trial of one that is left alone, but it goes on for as long as its backend may take: or one that is
    /// slower than the others are would never be seen to be well again. The others end.
    fn finish_trials(&mut self, mut trials: Vec<(usize, Backend)>) {
        let mut writes = std::mem::take(&mut self.writes);
        let Some(limit) = trials.iter().map(|(_, backend)| backend.health().limit(self.op)).max() else { return };
        for (file, handle) in self.handles.iter().enumerate() {
            if !trials.iter().any(|(trial, _)| *trial == file) {
                handle.iter().for_each(AbortHandle::abort);
            }
        }
        let op = self.op;
        tokio::spawn(async move {
            let begun = Instant::now();
            while let Ok(Some(ended)) = tokio::time::timeout_at(begun + limit, writes.join_next()).await {
                trials.retain(|(file, _)| !ended.as_ref().is_ok_and(|attempt| attempt.file == *file));
            }
            for (_, backend) in trials {
                backend.health().gave_up(op, begun.elapsed(), "it is still too slow");
            }
        });
    }

    fn finish(self) -> Result<Scattered, (Scattered, Vec<(String, String)>)> {
        let named = self.out.placed.iter().all(|p| !p.backend.is_empty());
        if self.out.stored() >= self.scatter.ack && named { Ok(self.out) } else { Err((self.out, self.failures)) }
    }
}
