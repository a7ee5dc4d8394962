//! A store that misbehaves when it is told to: one backend's failures, and the death of the whole process.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What a gate refuses. An operation on a path that begins with the prefix fails without an effect.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// Everything: the backend cannot be reached.
    pub all: bool,
    /// Writes below this prefix.
    pub puts: Option<&'static str>,
    /// Deletes below this prefix.
    pub deletes: Option<&'static str>,
    /// Listings.
    pub lists: bool,
    /// Reads (and looks at the size) below this prefix.
    pub gets: Option<&'static str>,
    /// Writes below this prefix are acknowledged and lost.
    pub loses: Option<&'static str>,
    /// Reads and writes below this prefix are not refused, but take so long.
    pub delay: Option<(&'static str, Duration)>,
    /// Nothing is refused by it, but nothing is answered at once.
    pub waits: bool,
}

/// What was asked of a gate.
#[derive(Debug, Default)]
pub struct Asked {
    /// Writes, reads and deletes.
    pub requests: AtomicU64,
    /// Bytes of the bodies that were read.
    pub bytes_read: AtomicU64,
    /// Reads with a [`Mark`] in their extensions.
    pub marked: AtomicU64,
}

/// An extension that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Mark;

/// Counts the changes of all gates of a world. When it has burnt down, the process is dead: nothing has an effect any more.
#[derive(Clone, Debug)]
pub struct Fuse(Arc<AtomicI64>);

impl Default for Fuse {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MAX)))
    }
}

impl Fuse {
    /// Lets so many more changes happen.
    pub fn light(&self, changes: i64) {
        self.0.store(changes, Ordering::SeqCst);
    }
    /// As if it had never been lit.
    pub fn put_out(&self) {
        self.light(i64::MAX);
    }
    /// Whether the process died.
    pub fn is_burnt(&self) -> bool {
        self.0.load(Ordering::SeqCst) <= 0
    }
    /// One change wants to happen; whether it does.
    fn burn(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) > 0
    }
}

/// One backend's store.
#[derive(Clone, Debug)]
pub struct Gate {
    inner: Arc<InMemory>,
    refusals: Arc<Mutex<Refusals>>,
    asked: Arc<Asked>,
    fuse: Fuse,
}

impl Gate {
    pub fn new(inner: Arc<InMemory>, fuse: Fuse) -> Self {
        Self { inner, refusals: Arc::default(), asked: Arc::default(), fuse }
    }

    /// Refuses this from now on, and nothing else.
    pub fn refuse(&self, refusals: Refusals) {
        *self.refusals.lock().unwrap() = refusals;
    }

    /// What was asked of it so far.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    async fn take_time(&self, path: &Path) {
        self.asked.requests.fetch_add(1, Ordering::SeqCst);
        let delay = self.refusals.lock().unwrap().delay;
        if let Some((_, delay)) = delay.filter(|(prefix, _)| path.as_ref().starts_with(prefix)) {
            tokio::time::sleep(delay).await;
        }
        self.wait().await;
    }

    /// Somebody else's turn comes before an answer, where it was told so.
    async fn wait(&self) {
        let waits = self.refusals.lock().unwrap().waits;
        if waits {
            tokio::task::yield_now().await;
        }
    }

    fn refused(&self) -> Error {
        Error::Generic { store: "gate", source: "it cannot be reached".into() }
    }

    fn check(&self, refuses: impl Fn(&Refusals) -> bool) -> Result<()> {
        let refusals = self.refusals.lock().unwrap();
        if refusals.all || refuses(&refusals) || self.fuse.is_burnt() { Err(self.refused()) } else { Ok(()) }
    }

    fn change(&self, refuses: impl Fn(&Refusals) -> bool) -> Result<()> {
        self.check(refuses)?;
        if self.fuse.burn() { Ok(()) } else { Err(self.refused()) }
    }
}

fn below(prefix: Option<&str>, path: &Path) -> bool {
    prefix.is_some_and(|prefix| path.as_ref().starts_with(prefix))
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Gate {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.take_time(path).await;
        self.change(|r| below(r.puts, path))?;
        self.wait().await;
        if below(self.refusals.lock().unwrap().loses, path) {
            return Ok(PutResult { e_tag: None, version: None, extensions: Default::default() });
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.change(|r| below(r.puts, path))?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.take_time(path).await;
        self.check(|r| below(r.gets, path))?;
        let head = options.head;
        self.asked.marked.fetch_add(u64::from(options.extensions.get::<Mark>().is_some()), Ordering::SeqCst);
        let result = self.inner.get_opts(path, options).await?;
        if !head {
            self.asked.bytes_read.fetch_add(result.range.end - result.range.start, Ordering::SeqCst);
        }
        Ok(result)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let gate = self.clone();
        let one = move |path: Result<Path>| {
            let gate = gate.clone();
            async move {
                let path = path?;
                gate.asked.requests.fetch_add(1, Ordering::SeqCst);
                gate.change(|r| below(r.deletes, &path))?;
                let done = gate.inner.delete_stream(futures::stream::iter([Ok(path.clone())]).boxed()).next().await;
                done.unwrap_or(Ok(path))
            }
        };
        paths.then(one).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check(|r| r.lists) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check(|r| r.lists)?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.change(|r| below(r.puts, to))?;
        self.inner.copy_opts(from, to, options).await
    }
}
