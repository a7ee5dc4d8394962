//! Group commit: what arrives while batches are in flight goes in the next one, so that many small writes share one
//! request a backend. A batch is reserved, written to its backends, committed to the catalog, and then answered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use object_store::PutPayload;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::cleanup;
use super::scatter::{Scatter, Scattered, TooFew};
use crate::catalog::{
    BatchRow, BucketRule, Commit, Completed, Holder, HolderState, LedgerEntry, LedgerItem, LedgerReason, Located,
    LocatedRecord, Precondition, Reserve, Reserved,
};
use crate::core::{Arriving, Core, lock};
use crate::env::Flaw;
use crate::error::{Error, Result};
use crate::format::batch::{BatchImage, InlineShards, NewRecord};
use crate::format::manifest::{Body, Digest, Manifest, Record};
use crate::format::paths;
use crate::id::{BatchId, DataId, UploadId, VersionId};

/// Batches written at once. More would make smaller batches, fewer would wait for a slow one.
const IN_FLIGHT: usize = 4;
/// Most records of a batch.
const MAX_RECORDS: usize = 512;
/// Most inline bytes of a batch, for one copy.
const MAX_BYTES: usize = 16 << 20;

/// What makes the record once its id is known.
pub(crate) type MakeRecord = Box<dyn FnOnce(&Reserved) -> Record + Send>;

/// A record that wants to be committed.
pub(crate) struct Pending {
    pub bucket: String,
    pub key: String,
    pub precondition: Precondition,
    pub bucket_rule: BucketRule,
    /// A record that keeps its id (a revision) reserves nothing.
    pub keeps_id: bool,
    /// k and m: how many copies are written, and how many must be durable.
    pub k: usize,
    pub m: usize,
    pub inline: InlineShards,
    pub make: MakeRecord,
    /// Lines that go in the ledger with the commit.
    pub ledger: Vec<LedgerEntry>,
    /// Protects the record's shards from the sweep until it is committed.
    pub hold: Option<Arriving>,
    /// The upload that it completes, and the digest of the list of parts.
    pub completes: Option<(UploadId, Digest)>,
}

/// A record that was not acknowledged.
#[derive(Debug)]
pub(crate) struct CommitError {
    pub error: Error,
    /// It may become visible nevertheless, so what it points at must stay.
    pub may_be_durable: bool,
}

impl From<CommitError> for Error {
    fn from(failed: CommitError) -> Self {
        failed.error
    }
}

/// A committed record.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub record: Record,
    /// Copies of the record that are not durable yet and stand in the ledger.
    pub short: usize,
}

type Reply = oneshot::Sender<Result<Done, CommitError>>;

/// The way to the committer. Dropping all of them ends it.
#[derive(Clone, Debug)]
pub(crate) struct Committer(Arc<Mutex<Option<Sender>>>);

/// The same, but does not keep it going.
pub(crate) struct WeakCommitter(Weak<Mutex<Option<Sender>>>);

impl WeakCommitter {
    pub fn upgrade(&self) -> Option<Committer> {
        self.0.upgrade().map(Committer)
    }
}

type Sender = mpsc::Sender<(Pending, Reply)>;

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("bucket", &self.bucket).field("key", &self.key).finish_non_exhaustive()
    }
}

impl Committer {
    /// Starts the committer of a repository.
    pub fn start(core: Arc<Core>) -> Self {
        let (send, receive) = mpsc::channel(1024);
        let tracker = core.tasks.clone();
        tracker.spawn(collect(core, receive));
        Self(Arc::new(Mutex::new(Some(send))))
    }

    /// Commits a record. Dropping the future does not undo it: it is there wholly or not at all.
    pub async fn commit(&self, pending: Pending) -> Result<Done, CommitError> {
        let (reply, answer) = oneshot::channel();
        let closed = |may_be_durable| CommitError {
            error: Error::unavailable("the repository is being closed; the write was not acknowledged"),
            may_be_durable,
        };
        let Some(send) = lock(&self.0).clone() else { return Err(closed(false)) };
        send.send((pending, reply)).await.map_err(|_| closed(false))?;
        drop(send);
        answer.await.map_err(|_| closed(true))?
    }

    /// A way for who must not keep the committer going.
    pub fn downgrade(&self) -> WeakCommitter {
        WeakCommitter(Arc::downgrade(&self.0))
    }

    /// Takes no more records; those that wait are still committed.
    pub async fn close(&self) {
        lock(&self.0).take();
    }
}

async fn collect(core: Arc<Core>, mut receive: mpsc::Receiver<(Pending, Reply)>) {
    let slots = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(first) => first,
            None => match receive.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        // Conditions and copies of one batch are judged alike, so one batch holds records of one scheme.
        let scheme = (first.0.k, first.0.m);
        let mut bytes = 0;
        let mut batch = vec![first];
        while batch.len() < MAX_RECORDS && bytes < MAX_BYTES {
            match receive.try_recv() {
                Ok(item) if (item.0.k, item.0.m) == scheme => {
                    bytes += item.0.inline.blocks.first().map_or(0, bytes::Bytes::len) + 512;
                    batch.push(item);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let core = core.clone();
        let tracker = core.tasks.clone();
        tracker.spawn(async move {
            flush(&core, scheme, batch).await;
            drop(slot);
        });
    }
}

/// A failure that left nothing behind.
fn undone(error: Error) -> CommitError {
    CommitError { error, may_be_durable: false }
}

struct Member {
    reply: Reply,
    hold: Option<Arriving>,
    new: NewRecord,
    ledger: Vec<LedgerEntry>,
    reserved: bool,
    completes: Option<(UploadId, Digest)>,
}

impl Member {
    /// What is remembered of the upload that it completes.
    fn completed(&self) -> Option<(UploadId, Completed)> {
        let (id, list) = self.completes?;
        let Record::Version(manifest) = &self.new.record else { return None };
        let manifest = Manifest { body: Body::None, parts: None, ..manifest.clone() };
        Some((id, Completed { list, manifest }))
    }
}

async fn flush(core: &Arc<Core>, (k, m): (usize, usize), batch: Vec<(Pending, Reply)>) {
    // A condition is not judged by half a catalog.
    let _whole = core.whole.read().await;
    let id = BatchId(core.env.new_id());
    let _flying = core.flying(id);
    // A drain waits for the batches that may still have chosen its backend.
    let _arriving = core.arriving(DataId(id.0));
    let members = match reserve(core, id, batch).await {
        Some(members) if !members.is_empty() => members,
        _ => return,
    };
    let ids: Vec<VersionId> = members.iter().filter(|m| m.reserved).map(|m| m.new.record.version()).collect();
    let records: Vec<NewRecord> = members.iter().map(|m| m.new.clone()).collect();
    let result = write_batch(core, id, k, m, &records).await;
    match result {
        Ok((image, written)) => finish(core, id, &image, written, members).await,
        Err(failed) => {
            forget(core, id, &failed.left, &ids).await;
            let backends = failed.error.about_backends().to_vec();
            for member in members {
                let error = Error::new(failed.error.kind(), failed.error.message()).backends(backends.clone());
                let _ = member.reply.send(Err(undone(error)));
            }
        }
    }
}

/// Gives each record its id. What is refused is answered here.
async fn reserve(core: &Arc<Core>, id: BatchId, batch: Vec<(Pending, Reply)>) -> Option<Vec<Member>> {
    let wishes: Vec<Reserve> = batch
        .iter()
        .filter(|(pending, _)| !pending.keeps_id)
        .map(|(pending, _)| Reserve {
            bucket: pending.bucket.clone(),
            key: pending.key.clone(),
            proposed: VersionId(core.env.new_id()),
            batch: id,
            precondition: match core.env.has(Flaw::IgnoresCondition) {
                true => Precondition::None,
                false => pending.precondition.clone(),
            },
            bucket_rule: pending.bucket_rule,
            now_ms: core.env.now_ms(),
        })
        .collect();
    let granted = if wishes.is_empty() { Ok(Vec::new()) } else { core.catalog.reserve(wishes).await };
    let mut granted = match granted {
        Ok(granted) => granted.into_iter(),
        Err(error) => {
            for (_, reply) in batch {
                let _ = reply.send(Err(undone(Error::new(error.kind(), error.message()))));
            }
            return None;
        }
    };
    let mut members = Vec::with_capacity(batch.len());
    for (pending, reply) in batch {
        let grant = if pending.keeps_id {
            Ok(Reserved { version: VersionId::MIN, bucket: None })
        } else {
            granted.next().unwrap_or_else(|| Err(Error::internal("the catalog answered too few reservations")))
        };
        match grant {
            Ok(reserved) => {
                core.env.observe_id(reserved.version.0);
                let new = NewRecord { record: (pending.make)(&reserved), inline: pending.inline };
                let (ledger, hold, reserved) = (pending.ledger, pending.hold, !pending.keeps_id);
                members.push(Member { reply, hold, new, ledger, reserved, completes: pending.completes });
            }
            Err(error) => {
                let _ = reply.send(Err(undone(error)));
            }
        }
    }
    Some(members)
}

/// Writes the copies of a batch.
async fn write_batch(
    core: &Core,
    id: BatchId,
    k: usize,
    m: usize,
    records: &[NewRecord],
) -> Result<(BatchImage, Scattered), Box<TooFew>> {
    let nowhere = || Scattered { placed: Vec::new(), doubtful: Vec::new() };
    let image = BatchImage::new(core.repository, id, records)
        .map_err(|e| Box::new(TooFew { error: Error::internal(e.to_string()).source(e), left: nowhere() }))?;
    let (copies, quorum) = core.record_quorum(k, m);
    let seed = id.0.as_u64_pair().1;
    let max_per_domain = core.max_per_domain(m.max(core.record_margin));
    let (file_len, what) = (image.len_bytes(), "manifest copy");
    let scatter = Scatter { core, count: copies, ack: quorum, max_per_domain, seed, file_len, what };
    let path = paths::batch(id);
    let written =
        scatter.run(|copy| (path.clone(), PutPayload::from_bytes(image.copy(&core.checksums, copy as u16)))).await?;
    Ok((image, written))
}

/// The batch as the catalog knows it.
pub(crate) fn batch_row(id: BatchId, image: &BatchImage, written: &Scattered) -> BatchRow {
    let held = written.placed.iter().enumerate().filter(|(_, p)| p.stored).map(|(copy, placed)| Holder {
        backend: placed.backend.clone(),
        copy: copy as u16,
        state: HolderState::Held,
    });
    let doubtful = written.doubtful.iter().map(|(copy, backend)| Holder {
        backend: backend.clone(),
        copy: *copy as u16,
        state: HolderState::Doubtful,
    });
    BatchRow {
        id,
        len_bytes: image.len_bytes(),
        copies: written.placed.len() as u16,
        holders: held.chain(doubtful).collect(),
    }
}

async fn finish(core: &Arc<Core>, id: BatchId, image: &BatchImage, written: Scattered, members: Vec<Member>) {
    let first = members.first().map(|m| (m.new.record.bucket().to_owned(), m.new.record.key().to_owned()));
    let (bucket, key) = first.unwrap_or_default();
    let now = core.env.now_ms();
    let short: Vec<LedgerEntry> = written
        .short()
        .map(|copy| LedgerEntry {
            item: LedgerItem::Copy { batch: id, copy: copy as u16 },
            backend: written.placed[copy].backend.clone(),
            bucket: bucket.clone(),
            key: key.clone(),
            reason: LedgerReason::NotWritten,
            noted_ms: now,
        })
        .collect();
    let short_count = short.len();
    let ledger = short.into_iter().chain(members.iter().flat_map(|m| m.ledger.iter().cloned())).collect();
    let ledger = if core.env.has(Flaw::ForgetsLedger) { Vec::new() } else { ledger };
    let records = image
        .extents()
        .zip(&members)
        .map(|(extent, m)| LocatedRecord { record: m.new.record.clone(), at: Located { batch: id, extent } })
        .collect();
    let completes = members.iter().filter_map(Member::completed).collect();
    let commit = Commit { batch: batch_row(id, image, &written), records, ledger, completes };
    let outcome = core.catalog.commit(commit).await;
    let failure = outcome.as_ref().err().map(|e| (e.kind(), e.message().to_owned()));
    for member in members {
        let answer = match &failure {
            // The copies are durable, so the next catch-up adopts them: it is not undone, and not acknowledged either.
            Some((kind, message)) => {
                Err(CommitError { error: Error::new(*kind, message.clone()), may_be_durable: true })
            }
            None => Ok(Done { record: member.new.record, short: short_count }),
        };
        drop(member.hold);
        let _ = member.reply.send(answer);
    }
    match outcome {
        Ok(committed) => cleanup::superseded(core, committed.superseded),
        Err(error) => {
            tracing::error!(batch = %id, %error, "a batch is durable, but could not be committed to the catalog")
        }
    }
}

/// Undoes a batch that reached too few backends. What cannot be deleted now is remembered as a dead batch.
async fn forget(core: &Arc<Core>, id: BatchId, left: &Scattered, versions: &[VersionId]) {
    // A listing that is late must not bring it back.
    core.leases.remove([id.0]);
    let files: BTreeMap<String, _> =
        left.everywhere().map(|(_, backend)| (backend.to_owned(), paths::batch(id))).collect();
    let remaining = crate::files::delete_files(core, files, crate::files::Ask::TheWell).await;
    if !remaining.is_empty() {
        let holders = remaining
            .into_iter()
            .map(|(backend, _)| Holder { backend, copy: 0, state: HolderState::Doubtful })
            .collect();
        let row = BatchRow { id, len_bytes: 0, copies: 0, holders };
        let commit = Commit { batch: row, records: Vec::new(), ledger: Vec::new(), completes: Vec::new() };
        if let Err(error) = core.catalog.commit(commit).await {
            tracing::warn!(batch = %id, %error, "an undone batch could not be remembered; the sweep finds it");
        }
    }
    if let Err(error) = core.catalog.release(versions).await {
        tracing::warn!(batch = %id, %error, "the intents of an undone batch could not be closed");
    }
}
