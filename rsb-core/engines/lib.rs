//! What the tests of real engines share: a plain store and an erasure-coded one beside each other, both counting what is read.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::*;
use rsb_core::ErasureStore;

/// A store in memory that counts the bytes that are read from it, and can be out of reach.
#[derive(Debug, Default)]
pub struct Counting {
    inner: InMemory,
    read: AtomicU64,
    away: AtomicBool,
}

impl Counting {
    fn there(&self) -> Result<()> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Error::Generic { store: "Counting", source: "it cannot be reached".into() }),
            false => Ok(()),
        }
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counting")
    }
}

#[async_trait]
impl ObjectStore for Counting {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.there()?;
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.there()?;
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.there()?;
        let head = options.head;
        let found = self.inner.get_opts(path, options).await?;
        if !head {
            self.read.fetch_add(found.range.end - found.range.start, Ordering::SeqCst);
        }
        Ok(found)
    }

    /// Exactly the ranges, as the cheapest store there is would send them.
    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.there()?;
        let found = self.inner.get_ranges(path, ranges).await?;
        self.read.fetch_add(found.iter().map(|bytes| bytes.len() as u64).sum(), Ordering::SeqCst);
        Ok(found)
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.there()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.there()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// Any two of eight backends may be lost, also while objects of six shards are written.
const K: usize = 4;
const M: usize = 2;

/// Blocks of 4 KiB: tables are read in many small ranges.
const BLOCK_SIZE: u32 = 4 << 10;

/// One store of bytes that an engine works on, with what counts behind it.
pub struct Side {
    /// What the engine is given.
    pub store: Arc<dyn ObjectStore>,
    backends: Vec<Arc<Counting>>,
}

impl Side {
    /// A store like any other.
    pub fn plain() -> Self {
        let counting = Arc::new(Counting::default());
        Self { store: counting.clone(), backends: vec![counting] }
    }

    /// A store made of stores.
    pub async fn erasure() -> Self {
        let backends: Vec<Arc<Counting>> = (0..K + 2 * M).map(|_| Arc::default()).collect();
        let mut builder = ErasureStore::builder().scheme(K, M).block_size(BLOCK_SIZE).create_if_missing(true);
        for (i, backend) in backends.iter().enumerate() {
            builder = builder.backend(format!("b{i}"), backend.clone(), [("provider", format!("p{i}"))]);
        }
        let store = builder.build().await.expect("a new repository in memory");
        Self { store: Arc::new(store), backends }
    }

    /// Bytes read since the last call.
    pub fn read(&self) -> u64 {
        self.backends.iter().map(|backend| backend.read.swap(0, Ordering::SeqCst)).sum()
    }

    /// From now on as many backends as may be lost are out of reach.
    pub fn lose(&self) {
        assert!(self.backends.len() > M);
        self.backends[1..=M].iter().for_each(|backend| backend.away.store(true, Ordering::SeqCst));
    }
}

/// Both sides.
pub async fn sides() -> [Side; 2] {
    [Side::plain(), Side::erasure().await]
}

/// The erasure-coded side may read a quarter more than the plain one.
pub fn assert_frugal(what: &str, plain: u64, erasure: u64) {
    let times = erasure as f64 / plain.max(1) as f64;
    println!("{what}: plain {plain} bytes, erasure {erasure} bytes, {times:.3} ×");
    assert!(plain > 0 && times <= 1.25, "{what} reads {times:.3} × the bytes");
}
