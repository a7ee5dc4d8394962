//! A backend of the simulation: a durable map of immutable files, and whatever is wrong with it at the moment.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use super::world::{Disk, Fault, File, STALE_MS, World};

/// After so long a client gives a request up.
const TIMEOUT_MS: u64 = 30_000;

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Get,
    Put,
    Delete,
    List,
}

/// What becomes of a call.
struct Fate {
    before_ms: u64,
    after_ms: u64,
    /// It has no effect.
    fails_before: Option<Error>,
    /// It has its effect, and the caller does not hear of it.
    fails_after: bool,
}

/// One backend's store, as the engine sees it.
#[derive(Clone)]
pub(super) struct SimStore {
    world: World,
    disk: usize,
}

/// A write on its way: when its caller goes away, it may land all the same.
struct Underway {
    world: World,
    disk: usize,
    write: Option<(Path, Bytes)>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some((path, bytes)) = self.write.take() {
            self.world.lock().abandon(self.disk, path, bytes);
        }
    }
}

fn failed(what: &'static str) -> Error {
    Error::Generic { store: "sim", source: what.into() }
}

fn missing(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "it is not there".into() }
}

impl SimStore {
    pub fn new(world: World, disk: usize) -> Self {
        Self { world, disk }
    }

    /// Counts the call and draws its fate; `None` when the process dies at it.
    fn begin(&self, call: Call, path: &str) -> Option<Fate> {
        let mut state = self.world.lock();
        state.note(&format!("{call:?} {path} on {}", self.disk));
        if state.count() {
            return None;
        }
        let fault = state.disks[self.disk].fault;
        let rng = &mut state.rng;
        let mut fate = Fate { before_ms: rng.below(4), after_ms: rng.below(4), fails_before: None, fails_after: false };
        let write = matches!(call, Call::Put | Call::Delete);
        match fault {
            Some(Fault::Away) => fate.fails_before = Some(failed("connection refused")),
            Some(Fault::Denied) => {
                let source = "access denied".into();
                fate.fails_before = Some(Error::PermissionDenied { path: path.to_owned(), source });
            }
            Some(Fault::Full) if call == Call::Put => fate.fails_before = Some(failed("no space left")),
            Some(Fault::Stuck) => {
                fate.before_ms = rng.below(TIMEOUT_MS);
                fate.after_ms = TIMEOUT_MS - fate.before_ms;
                fate.fails_after = true;
                if rng.chance(50) {
                    fate.fails_before = Some(failed("no answer in time"));
                    fate.before_ms = TIMEOUT_MS;
                }
            }
            Some(Fault::Slow) => {
                fate.before_ms = rng.below(6_000);
                fate.after_ms = rng.below(2_000);
            }
            Some(Fault::Flaky) => match rng.below(6) {
                0 | 1 => fate.fails_before = Some(failed("connection reset")),
                2 => fate.fails_after = true,
                3 if write => fate.before_ms = rng.below(5_000),
                _ => {}
            },
            _ => {}
        }
        Some(fate)
    }

    /// Carries a call out as its fate has it.
    async fn call<T>(
        &self,
        kind: Call,
        path: &str,
        write: Option<(Path, Bytes)>,
        effect: impl FnOnce(&mut Disk, &Moment) -> Result<T>,
    ) -> Result<T> {
        let Some(fate) = self.begin(kind, path) else { return std::future::pending().await };
        let mut underway = Underway { world: self.world.clone(), disk: self.disk, write };
        tokio::time::sleep(Duration::from_millis(fate.before_ms)).await;
        let result = {
            let mut state = self.world.lock();
            state.land();
            underway.write = None;
            let moment = Moment { now_ms: state.true_ms(), chance: state.rng.next() };
            match fate.fails_before {
                Some(error) => Err(error),
                None => effect(&mut state.disks[self.disk], &moment),
            }
        };
        tokio::time::sleep(Duration::from_millis(fate.after_ms)).await;
        let result = if fate.fails_after { result.and(Err(failed("the connection broke"))) } else { result };
        self.world.note(match &result {
            Ok(_) => "done",
            Err(Error::NotFound { .. }) => "missing",
            Err(_) => "failed",
        });
        result
    }

    async fn get(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let name = path.to_string();
        let at = path.clone();
        let file = self.call(Call::Get, &name, None, move |disk, moment| disk.read(&at, moment)).await?;
        let size = file.bytes.len() as u64;
        let range = match &options.range {
            None => 0..size,
            Some(range) => range.as_range(size).map_err(|e| Error::Generic { store: "sim", source: Box::new(e) })?,
        };
        let body = file.bytes.slice(range.start as usize..range.end as usize);
        let broken = {
            let mut state = self.world.lock();
            let flaky = state.disks[self.disk].fault == Some(Fault::Flaky);
            flaky && state.rng.chance(10)
        };
        let half = body.slice(..body.len() / 2);
        let rest = if broken { Err(failed("the connection broke")) } else { Ok(body.slice(body.len() / 2..)) };
        let chunks = if options.head { Vec::new() } else { vec![Ok(half), rest] };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::iter(chunks).boxed()),
            meta: meta(path, &file),
            range,
            attributes: Attributes::default(),
            extensions: Default::default(),
        })
    }

    async fn write(&self, path: &Path, bytes: Bytes, mode: PutMode) -> Result<PutResult> {
        let (name, at, copy) = (path.to_string(), path.clone(), bytes.clone());
        let effect = move |disk: &mut Disk, moment: &Moment| {
            if mode == PutMode::Create && disk.files.contains_key(&at) {
                return Err(Error::AlreadyExists { path: at.to_string(), source: "it exists".into() });
            }
            disk.write(at, copy, moment);
            Ok(())
        };
        self.call(Call::Put, &name, Some((path.clone(), bytes)), effect).await?;
        self.world.lock().acked.entry(path.clone()).or_default().insert(self.disk);
        Ok(PutResult { e_tag: None, version: None, extensions: Default::default() })
    }

    async fn remove(&self, path: Path) -> Result<Path> {
        let (name, at) = (path.to_string(), path.clone());
        self.call(Call::Delete, &name, None, move |disk, moment| disk.delete(&at, moment)).await?;
        Ok(path)
    }

    async fn listing(&self, prefix: Option<Path>) -> Result<Vec<ObjectMeta>> {
        let name = prefix.as_ref().map(Path::to_string).unwrap_or_default();
        self.call(Call::List, &name, None, move |disk, moment| Ok(disk.list(prefix.as_ref(), moment))).await
    }
}

/// When a call has its effect, and chance for it.
struct Moment {
    now_ms: u64,
    chance: u64,
}

impl Disk {
    fn lags(&self, listing: bool) -> bool {
        self.fault == Some(Fault::Stale) || (listing && self.fault == Some(Fault::LateListing))
    }

    fn read(&self, path: &Path, moment: &Moment) -> Result<File> {
        if self.fault == Some(Fault::Misdirected) && moment.chance.is_multiple_of(3) && !self.files.is_empty() {
            let at = (moment.chance >> 8) as usize % self.files.len();
            return self.files.values().nth(at).cloned().ok_or_else(|| missing(path));
        }
        let seen = self.files.get(path).filter(|file| !self.lags(false) || !file.is_fresh(moment));
        let ghost = self.deleted.get(path).filter(|(_, at)| self.lags(false) && moment.now_ms < at + STALE_MS);
        seen.or(ghost.map(|(file, _)| file)).cloned().ok_or_else(|| missing(path))
    }

    fn write(&mut self, path: Path, bytes: Bytes, moment: &Moment) {
        let torn = self.fault == Some(Fault::Torn) && moment.chance.is_multiple_of(2);
        let len = if torn { (moment.chance >> 8) as usize % (bytes.len() + 1) } else { bytes.len() };
        self.deleted.remove(&path);
        self.files.insert(path, File { bytes: bytes.slice(..len), modified_ms: moment.now_ms });
    }

    fn delete(&mut self, path: &Path, moment: &Moment) -> Result<()> {
        let file = self.files.remove(path).ok_or_else(|| missing(path))?;
        self.deleted.insert(path.clone(), (file, moment.now_ms));
        Ok(())
    }

    fn list(&self, prefix: Option<&Path>, moment: &Moment) -> Vec<ObjectMeta> {
        let lags = self.lags(true);
        let files = self.files.iter().filter(|(_, file)| !lags || !file.is_fresh(moment));
        let ghosts = self.deleted.iter().filter(|(_, (_, at))| lags && moment.now_ms < at + STALE_MS);
        let all = files.chain(ghosts.map(|(path, (file, _))| (path, file)));
        let below = |path: &Path| prefix.is_none_or(|prefix| path.prefix_matches(prefix) && path != prefix);
        all.filter(|(path, _)| below(path)).map(|(path, file)| meta(path, file)).collect()
    }
}

impl File {
    fn is_fresh(&self, moment: &Moment) -> bool {
        moment.now_ms < self.modified_ms + STALE_MS
    }
}

fn meta(path: &Path, file: &File) -> ObjectMeta {
    let ms = i64::try_from(file.modified_ms).unwrap_or(i64::MAX);
    ObjectMeta {
        location: path.clone(),
        last_modified: chrono::DateTime::from_timestamp_millis(ms).unwrap_or_default(),
        size: file.bytes.len() as u64,
        e_tag: None,
        version: None,
    }
}

impl fmt::Display for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim({})", self.disk)
    }
}

impl fmt::Debug for SimStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for SimStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write(path, payload.into(), options.mode).await
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(failed("the engine writes whole files"))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.get(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        paths
            .then(move |path| {
                let store = store.clone();
                async move { store.remove(path?).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move { store.listing(prefix).await })
            .flat_map(|listed| match listed {
                Ok(files) => stream::iter(files.into_iter().map(Ok).collect::<Vec<_>>()),
                Err(error) => stream::iter(vec![Err(error)]),
            })
            .boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(failed("the engine lists whole folders"))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        let file = self.get(from, GetOptions::default()).await?.bytes().await?;
        self.write(to, file, PutMode::Overwrite).await.map(|_| ())
    }
}
