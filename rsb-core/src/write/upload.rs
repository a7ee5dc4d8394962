//! One upload in segments: each goes to its backends while the next one fills.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::commit::{Committer, Pending};
use super::digest::{BodyMd5, RunDigests};
use super::encode::{Coder, EncodedSegment, SegmentEncoder};
use super::scatter::{Scatter, Scattered, TooFew};
use super::{Description, cleanup, info_of};
use crate::api::{EtagMode, ObjectInfo, PutRequest};
use crate::catalog::{BucketRule, LedgerEntry, LedgerItem, LedgerReason, PartRow};
use crate::core::{Arriving, Core};
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::InlineShards;
use crate::format::manifest::{Body, Etag, Record, SegmentScheme, SegmentedBody};
use crate::format::paths;
use crate::id::DataId;
use crate::scheme::Scheme;
use crate::stripe::{CHECKSUM_LEN, Layout};

/// A segment that is on its backends.
pub(crate) struct WrittenSegment {
    pub data_id: DataId,
    pub len: u64,
    pub scattered: Scattered,
}

pub(crate) type SegmentResult = Result<WrittenSegment, Box<TooFew>>;

/// An object that is being written in segments. Dropping it undoes it.
pub(super) struct Upload {
    core: Arc<Core>,
    coder: Coder,
    name: (String, String),
    segment: Option<(SegmentEncoder, OwnedSemaphorePermit)>,
    /// The segment before, on its way to the backends while this one fills.
    writing: Option<oneshot::Receiver<SegmentResult>>,
    written: Vec<WrittenSegment>,
    expected_len: Option<u64>,
    taken: u64,
    first: DataId,
    hold: Option<Arriving>,
    md5: Option<BodyMd5>,
    digests: Option<RunDigests>,
    armed: bool,
}

impl Upload {
    pub(super) fn new(core: &Arc<Core>, coder: Coder, request: &PutRequest) -> Self {
        let first = DataId(core.env.new_id());
        let digests = request.len.filter(|_| request.run_digests);
        Self {
            hold: Some(core.arriving(first)),
            core: core.clone(),
            name: (request.bucket.clone(), request.key.clone()),
            segment: None,
            writing: None,
            written: Vec::new(),
            expected_len: request.len,
            taken: 0,
            first,
            md5: (core.config.etag == EtagMode::Md5).then(|| BodyMd5::new(core.env.clone())),
            digests: digests.map(|len| RunDigests::new(len, coder.scheme.k(), coder.scheme.m())),
            coder,
            armed: true,
        }
    }

    /// What protects its shards from the sweep until something names them.
    pub(super) fn take_hold(&mut self) -> Option<Arriving> {
        self.hold.take()
    }

    /// Takes the next bytes of the body.
    pub(super) async fn take(&mut self, mut bytes: Bytes) -> Result<()> {
        if let Some(md5) = &mut self.md5 {
            md5.push(bytes.clone()).await;
        }
        if let Some(digests) = &mut self.digests {
            digests.push(&bytes);
        }
        while !bytes.is_empty() {
            let segment_size = self.core.config.segment_size;
            let (segment, _) = self.open_segment().await?;
            let room = segment_size - segment.len();
            let piece = bytes.split_to((bytes.len() as u64).min(room) as usize);
            let full = piece.len() as u64 == room;
            let len = piece.len() as u64;
            segment.push(piece).await?;
            self.taken += len;
            if full {
                self.close_segment().await?;
            }
        }
        Ok(())
    }

    async fn open_segment(&mut self) -> Result<&mut (SegmentEncoder, OwnedSemaphorePermit)> {
        if self.segment.is_none() {
            let expected = self.expected_len.map_or(u64::MAX, |len| len.saturating_sub(self.taken));
            let len = expected.min(self.core.config.segment_size).max(1);
            let permit = self.core.write_memory.take(self.buffer_len(len)).await?;
            let data_id = if self.taken == 0 { self.first } else { DataId(self.core.env.new_id()) };
            let encoder = SegmentEncoder::new(self.core.env.clone(), self.coder.clone(), self.core.repository, data_id);
            return Ok(self.segment.insert((encoder, permit)));
        }
        self.segment.as_mut().ok_or_else(|| Error::internal("no segment is open"))
    }

    /// Bytes of all shards of a segment of `len` bytes.
    fn buffer_len(&self, len: u64) -> u64 {
        let layout = Layout::new(&self.coder.scheme, self.coder.codec.symbol_len(), len);
        layout.stripes() * (layout.block_len(0) + CHECKSUM_LEN as u64) * self.coder.scheme.n() as u64
    }

    /// Sends the open segment on its way; the one before must have arrived.
    async fn close_segment(&mut self) -> Result<()> {
        self.await_segment().await?;
        let Some((encoder, permit)) = self.segment.take() else { return Ok(()) };
        let mut segment = encoder.finish().await?;
        if let Some(mut digests) = self.digests.take() {
            let hash = move || {
                segment.parity().for_each(|(shard, block)| digests.push_parity(shard, block));
                (segment, digests)
            };
            let (back, hashed) = self.core.env.compute(hash).await;
            (segment, self.digests) = (back, Some(hashed));
        }
        let (send, receive) = oneshot::channel();
        let core = self.core.clone();
        let scheme = self.coder.scheme;
        // One placement for the whole object keeps its manifest small.
        let seed = self.first.0.as_u64_pair().1;
        self.core.tasks.spawn(async move {
            let result = write_segment(&core, scheme, segment, seed).await;
            drop(permit);
            if let Err(unwanted) = send.send(result) {
                undo(&core, &unwanted);
            }
        });
        self.writing = Some(receive);
        Ok(())
    }

    async fn await_segment(&mut self) -> Result<()> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let result = writing.await.map_err(|_| Error::internal("the writer of a segment ended without a word"))?;
        match result {
            Ok(written) => {
                self.written.push(written);
                Ok(())
            }
            Err(failed) => Err(failed.error.object(format!("{}/{}", self.name.0, self.name.1))),
        }
    }

    /// Waits until all segments are durable. Gives the entity tag, where the bytes are, and what is short.
    async fn close(&mut self) -> Result<(Etag, SegmentedBody, Vec<LedgerEntry>)> {
        self.close_segment().await?;
        self.await_segment().await?;
        let etag = match self.md5.take() {
            Some(md5) => Etag::Md5(md5.finish().await),
            None => EtagMode::fast(self.first),
        };
        let (body, ledger) = self.describe();
        Ok((etag, body, ledger))
    }

    /// Ends it as a part, which `keep` makes known. Where that refuses it (`NotFound`), it is undone.
    pub(super) async fn finish_part<F>(
        mut self,
        keep: impl FnOnce(Etag, SegmentedBody, Vec<LedgerEntry>) -> F,
    ) -> Result<PartRow>
    where
        F: Future<Output = Result<PartRow>> + Send + 'static,
    {
        let (etag, body, ledger) = self.close().await?;
        let keep = keep(etag, body, ledger);
        let tasks = self.core.tasks.clone();
        // A sender that goes away now ends nothing: whether the part is known is decided by the catalog.
        let work = tasks.spawn(async move {
            let mut upload = self;
            upload.armed = false;
            let kept = keep.await;
            upload.armed = kept.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
            drop(upload);
            kept
        });
        work.await.map_err(|error| Error::internal("the keeper of a part ended without a word").source(error))?
    }

    pub(super) async fn finish(mut self, committer: &Committer, request: PutRequest, size: u64) -> Result<ObjectInfo> {
        let (etag, body, ledger) = self.close().await?;
        let short = ledger.len();
        let precondition = request.precondition.clone();
        let (bucket, key) = (request.bucket.clone(), request.key.clone());
        let run_digests = self.digests.take().map(RunDigests::finish);
        let description = Description { request, now_ms: self.core.env.now_ms(), size, etag, run_digests };
        let pending = Pending {
            bucket,
            key,
            precondition,
            bucket_rule: BucketRule::Exists,
            keeps_id: false,
            k: self.coder.scheme.k(),
            m: self.coder.scheme.m(),
            inline: InlineShards::default(),
            make: Box::new(move |reserved| Record::Version(description.manifest(reserved, Body::Segments(body)))),
            ledger,
            hold: self.hold.take(),
            completes: None,
        };
        // From here on the record may become visible even if nobody waits for it, so its shards must stay.
        self.armed = false;
        match committer.commit(pending).await {
            Ok(done) => info_of(done, short),
            Err(failed) => {
                self.armed = !failed.may_be_durable;
                Err(failed.into())
            }
        }
    }

    /// The manifest's body, and what is short of it.
    fn describe(&self) -> (SegmentedBody, Vec<LedgerEntry>) {
        let mut body = SegmentedBody::default();
        let mut ledger = Vec::new();
        let scheme = SegmentScheme { scheme: self.coder.scheme, symbol_len: self.coder.codec.symbol_len() as u32 };
        for segment in &self.written {
            let backends: Vec<&str> = segment.scattered.placed.iter().map(|p| p.backend.as_str()).collect();
            body.push(segment.data_id, segment.len, scheme, &backends);
            ledger.extend(segment.scattered.short().map(|index| LedgerEntry {
                item: LedgerItem::Shard { data_id: segment.data_id, index: index as u16 },
                backend: backends[index].to_owned(),
                bucket: self.name.0.clone(),
                key: self.name.1.clone(),
                reason: LedgerReason::NotWritten,
                noted_ms: self.core.env.now_ms(),
            }));
        }
        (body, ledger)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.armed {
            // One that has arrived and was not looked at yet; one still on its way undoes itself when nobody waits.
            if let Some(mut writing) = self.writing.take() {
                writing.close();
                if let Ok(result) = writing.try_recv() {
                    undo(&self.core, &result);
                }
            }
            for segment in &self.written {
                undo(&self.core, &Ok(WrittenSegment { scattered: segment.scattered.clone(), ..*segment }));
            }
        }
    }
}

/// Writes all shards of a segment; undone where too few are durable.
pub(crate) async fn write_segment(core: &Core, scheme: Scheme, segment: EncodedSegment, seed: u64) -> SegmentResult {
    let scatter = Scatter {
        core,
        count: scheme.n(),
        ack: core.ack_count(scheme.k(), scheme.m()),
        max_per_domain: core.max_per_domain(scheme.m()),
        seed,
        file_len: segment.len / scheme.k() as u64,
        what: "shard",
    };
    let data_id = segment.data_id;
    let result = scatter.run(|shard| (paths::shard(data_id, shard), segment.payload(shard))).await;
    match result {
        Ok(scattered) => Ok(WrittenSegment { data_id, len: segment.len, scattered }),
        Err(failed) => {
            undo_files_of(core, data_id, &failed.left).await;
            Err(failed)
        }
    }
}

async fn undo_files_of(core: &Core, data_id: DataId, left: &Scattered) {
    let files: Vec<(String, Path)> =
        left.everywhere().map(|(shard, backend)| (backend.to_owned(), paths::shard(data_id, shard))).collect();
    crate::files::delete_files(core, files, crate::files::Ask::TheWell).await;
}

/// Deletes in the background what a segment left on the backends.
fn undo(core: &Arc<Core>, result: &SegmentResult) {
    if let Ok(segment) = result {
        let files = segment
            .scattered
            .everywhere()
            .map(|(shard, backend)| (backend.to_owned(), paths::shard(segment.data_id, shard)))
            .collect();
        cleanup::undo_segments(core, files);
    }
}
