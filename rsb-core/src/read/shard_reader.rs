//! Reads the stripes of one shard with one ranged request, and verifies each block before it lets it out.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use object_store::{Extensions, ObjectStore};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::piece::{Piece, ShardAt};
use crate::backend::{Backend, ReadStep};
use crate::files::{Fault, fault_of, ranged, size_of};
use crate::format::checksum::Checksums;
use crate::health::{ErrorClass, Op};
use crate::id::DataId;
use crate::stripe::{CHECKSUM_LEN, Layout};

/// What a reader has to say: a verified block of a stripe, or why there are no more.
pub(crate) struct Heard {
    pub index: usize,
    pub stripe: u64,
    pub block: Result<Bytes, Fault>,
}

/// A reader at work; dropping it ends one that is a task of its own.
#[derive(Debug)]
pub(crate) struct ShardReader {
    /// Stripes it may be ahead of the one that is being put together.
    window: Arc<Semaphore>,
    /// The stripes it was asked for.
    pub stripes: Range<u64>,
    _task: Option<AbortOnDropHandle<()>>,
}

impl ShardReader {
    /// Starts to read the blocks of `stripes` of shard `index`, at most `window` of them ahead. Many are read by a task of
    /// their own; a single one is left to the caller, who drives the future that comes along: little is read sooner than
    /// a task is begun.
    #[allow(clippy::too_many_arguments, reason = "what, where from, how far, how fast, where to, with what")]
    pub fn start(
        piece: &Piece,
        index: usize,
        at: &ShardAt,
        backend: Backend,
        checksums: Checksums,
        stripes: Range<u64>,
        window: usize,
        out: mpsc::UnboundedSender<Heard>,
        extensions: Extensions,
    ) -> (Self, Option<BoxFuture<'static, ()>>) {
        let semaphore = Arc::new(Semaphore::new(window));
        let work = Work {
            backend,
            at: at.clone(),
            layout: piece.layout,
            data_id: piece.data_id,
            index,
            checksums,
            stripes: stripes.clone(),
            window: semaphore.clone(),
            out,
            extensions,
        };
        let single = stripes.end - stripes.start == 1;
        let read = async move {
            let mut next = work.stripes.start;
            if let Err(fault) = work.run(&mut next).await {
                let _ = work.out.send(Heard { index: work.index, stripe: next, block: Err(fault) });
            }
        };
        let (task, driven) = match single {
            true => (None, Some(read.boxed())),
            false => (Some(AbortOnDropHandle::new(tokio::spawn(read))), None),
        };
        (Self { window: semaphore, stripes, _task: task }, driven)
    }

    /// One of its blocks was used, or is not wanted any more.
    pub fn release_one(&self) {
        self.window.add_permits(1);
    }
}

struct Work {
    backend: Backend,
    at: ShardAt,
    layout: Layout,
    data_id: DataId,
    index: usize,
    checksums: Checksums,
    stripes: Range<u64>,
    window: Arc<Semaphore>,
    out: mpsc::UnboundedSender<Heard>,
    extensions: Extensions,
}

impl Work {
    async fn run(&self, next: &mut u64) -> Result<(), Fault> {
        let layout = &self.layout;
        let range = self.at.base + layout.frame_offset(self.stripes.start)
            ..self.at.base + layout.frame_offset(self.stripes.end);
        let mut options = ranged(range.clone());
        options.extensions = self.extensions.clone();
        options.extensions.insert(ReadStep(layout.block_len(self.stripes.start) as usize + CHECKSUM_LEN));
        let start = Instant::now();
        let result = match self.backend.store().get_opts(&self.at.path, options).await {
            Ok(result) => result,
            Err(error) => return Err(self.fault_of(error).await),
        };
        self.backend.health().succeeded(Op::Read, Some(start.elapsed()));
        if result.range != range {
            return Err(Fault::corrupt(format!(
                "it ends at byte {}, and byte {} was asked for",
                result.range.end, range.end
            )));
        }
        let mut stream = result.into_stream();
        let mut rest = Bytes::new();
        while *next < self.stripes.end {
            let frame = layout.block_len(*next) as usize + CHECKSUM_LEN;
            let frame = match take(&mut stream, &mut rest, frame).await {
                Ok(frame) => frame,
                Err(None) => return Err(Fault::corrupt("it ended too early")),
                Err(Some(error)) => return Err(self.fault_of(error).await),
            };
            let (sum, block) = frame.split_at(CHECKSUM_LEN);
            if self.checksums.block(self.data_id, self.index, *next, block) != sum {
                return Err(Fault::corrupt(format!("its block of stripe {next} does not match its checksum")));
            }
            let Ok(permit) = self.window.acquire().await else { return Ok(()) };
            permit.forget();
            let block = frame.slice(CHECKSUM_LEN..);
            if self.out.send(Heard { index: self.index, stripe: *next, block: Ok(block) }).is_err() {
                return Ok(());
            }
            *next += 1;
        }
        Ok(())
    }

    /// A range beyond the end of a truncated file is an error of its own kind with each store: where the error does not say
    /// that the backend is out of reach, the file's size tells.
    async fn fault_of(&self, error: object_store::Error) -> Fault {
        use ErrorClass::{Other, Precondition, Truncated, Unsupported};
        let told = matches!(self.backend.class_of(&error), Other | Precondition | Truncated | Unsupported);
        if told && let Ok(size) = size_of(&self.backend, &self.at.path).await {
            let expected = self.at.base + self.layout.frame_offset(self.layout.stripes());
            if size < expected {
                return Fault::corrupt(format!("it has {size} bytes, fewer than the {expected} that it should have"));
            }
        }
        fault_of(&self.backend, Op::Read, &error)
    }
}

/// The next `len` bytes of a stream; an error without a cause is its end. `rest` is what came along and was not used yet.
async fn take(
    stream: &mut futures::stream::BoxStream<'static, object_store::Result<Bytes>>,
    rest: &mut Bytes,
    len: usize,
) -> Result<Bytes, Option<object_store::Error>> {
    if rest.len() >= len {
        return Ok(rest.split_to(len));
    }
    // Only what lies across two pieces is copied.
    let mut whole = BytesMut::new();
    loop {
        let take = rest.len().min(len - whole.len());
        whole.extend_from_slice(&rest.split_to(take));
        if whole.len() == len {
            return Ok(whole.freeze());
        }
        match stream.next().await {
            Some(Ok(bytes)) if whole.is_empty() && bytes.len() >= len => {
                *rest = bytes;
                return Ok(rest.split_to(len));
            }
            Some(Ok(bytes)) => {
                whole.reserve(len - whole.len());
                *rest = bytes;
            }
            Some(Err(error)) => return Err(Some(error)),
            None => return Err(None),
        }
    }
}
