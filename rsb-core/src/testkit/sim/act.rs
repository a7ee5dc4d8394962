//! Carries operations out on the engine, and keeps what their callers are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::history::{Condition, Layout, Op};
use super::model::{Value, name};
use super::world::World;
use crate::catalog::{ListQuery, Precondition};
use crate::format::manifest::{Body, Digest};
use crate::format::paths;
use crate::id::VersionId;
use crate::{
    BodyStream, ByteRange, CheckRequest, CopyRequest, Engine, Error, ErrorKind, Finish, NewUpload, ObjectInfo,
    PartRequest, Progress, PutRequest, Result, Scope, SweepRequest,
};

/// An operation with what was settled about it before the step began.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub delay_ms: u64,
    pub op: Op,
    /// What it writes.
    pub value: Option<Value>,
    /// The condition of a write.
    pub precondition: Precondition,
    /// The version it is about.
    pub version: Option<VersionId>,
}

/// What the caller was told.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It is written, as this version, with this value.
    Written(VersionId, Option<Value>),
    /// Deleted: whether there was something, and the delete marker.
    Deleted(bool, Option<VersionId>),
    /// What was read: the version, its value by its description, where the bytes begin in it, the bytes.
    Read(VersionId, Value, u64, Bytes),
    /// The keys of both buckets.
    Listed(Vec<String>),
    /// Upkeep came to its end.
    Done,
    /// An error.
    Failed(ErrorKind, String),
}

/// What an operation needs.
#[derive(Clone)]
pub(super) struct Actor {
    pub engine: Engine,
    pub world: World,
    pub layout: Arc<Layout>,
    /// Nothing else is going on, so the ledger can be looked at.
    pub alone: bool,
}

fn body(bytes: Bytes) -> BodyStream {
    let half = bytes.len() / 2;
    let chunks: Vec<Result<Bytes>> = vec![Ok(bytes.slice(..half)), Ok(bytes.slice(half..))];
    futures::stream::iter(chunks).boxed()
}

impl Actor {
    /// Does it, and says what the caller is told.
    pub async fn act(&self, planned: &Planned) -> Told {
        tokio::time::sleep(std::time::Duration::from_millis(planned.delay_ms)).await;
        let told = match self.try_act(planned).await {
            Ok(told) => told,
            Err(error) => Told::Failed(error.kind(), error.to_string()),
        };
        self.world.note(&told.short());
        told
    }

    async fn try_act(&self, planned: &Planned) -> Result<Told> {
        let engine = &self.engine;
        let progress = Progress::default();
        match &planned.op {
            Op::Put { key, other_scheme, .. } => self.put(*key, planned, *other_scheme).await,
            Op::Multipart { key, parts, abort } => self.multipart(*key, planned, parts, *abort).await,
            Op::Copy { from, to } => {
                let owned = |key: usize| (name(key).0.to_owned(), name(key).1);
                let request = CopyRequest { from: owned(*from), to: owned(*to), ..CopyRequest::default() };
                let info = engine.copy_object(request).await?;
                self.check_acknowledged(&info).await?;
                Ok(Told::Written(info.version(), value_of(&info)))
            }
            Op::Delete { key } | Op::DeleteVersion { key, .. } => {
                let (bucket, key) = name(*key);
                let done = engine.delete(bucket, &key, planned.version, Precondition::None).await?;
                Ok(Told::Deleted(done.existed, done.delete_marker))
            }
            Op::Get { key, range } => self.get(*key, None, *range).await,
            Op::GetVersion { key, .. } => self.get(*key, planned.version, None).await,
            Op::List => self.list().await,
            Op::Check(depth) => {
                let request = CheckRequest { depth: *depth, ..CheckRequest::default() };
                engine.check(&request, &progress).await.map(|_| Told::Done)
            }
            Op::Repair(depth) => {
                let plan = engine.plan_repair(&Scope::default(), *depth, &progress).await?;
                engine.repair(&plan, &progress).await.map(|_| Told::Done)
            }
            Op::Sweep => engine.sweep(SweepRequest::default(), &progress).await.map(|_| Told::Done),
            Op::Drill => engine.drill(None, &progress).await.map(|_| Told::Done),
            Op::Rebuild => engine.rebuild_catalog(&progress).await.map(|_| Told::Done),
            Op::Move(moving) => self.moving(*moving).await,
            Op::Verify => engine.verify_catalog(&progress).await.map(|_| Told::Done),
        }
    }

    async fn put(&self, key: usize, planned: &Planned, other_scheme: bool) -> Result<Told> {
        let Some(value) = planned.value else { return Ok(Told::Done) };
        let (bucket, key) = name(key);
        let other = self.layout.others.first().filter(|_| other_scheme);
        let request = PutRequest {
            bucket: bucket.into(),
            key,
            len: value.number.is_multiple_of(2).then_some(u64::from(value.len)),
            precondition: planned.precondition.clone(),
            data_shards: other.map(|(k, _)| *k),
            parity_shards: other.map(|(_, m)| *m),
            metadata: described(value),
            ..PutRequest::default()
        };
        let info = self.engine.put(request, body(value.bytes())).await?;
        self.check_acknowledged(&info).await?;
        Ok(Told::Written(info.version(), value_of(&info)))
    }

    async fn multipart(&self, key: usize, planned: &Planned, parts: &[u32], abort: bool) -> Result<Told> {
        let Some(value) = planned.value else { return Ok(Told::Done) };
        let (bucket, key) = name(key);
        let metadata = described(value);
        let new = NewUpload { bucket: bucket.into(), key: key.clone(), metadata, ..NewUpload::default() };
        let upload = self.engine.create_upload(new).await?.id;
        let mut bytes = value.bytes();
        for (at, len) in parts.iter().enumerate() {
            let part = bytes.split_to(*len as usize);
            let request = PartRequest {
                bucket: bucket.into(),
                key: key.clone(),
                upload,
                number: at as u16 + 1,
                len: None,
                checksum: Default::default(),
            };
            if at == 0 && value.number.is_multiple_of(3) {
                // It is sent again, as a client does that heard nothing.
                self.engine.put_part(request.clone(), body(Bytes::from_static(b"something else"))).await?;
            }
            self.engine.put_part(request, body(part)).await?;
        }
        if abort {
            self.engine.abort_upload(bucket, &key, upload).await?;
            return Ok(Told::Done);
        }
        let finish = Finish {
            numbers: (1..=parts.len() as u16).collect(),
            list: Digest([7; 32]),
            precondition: Precondition::None,
            checksum: None,
        };
        let info = self.engine.completing(bucket, &key, upload).await?.finish(finish).await?;
        self.check_acknowledged(&info).await?;
        Ok(Told::Written(info.version(), value_of(&info)))
    }

    /// Reads the newest, or a version.
    pub async fn get(&self, key: usize, version: Option<VersionId>, range: Option<(u64, u64)>) -> Result<Told> {
        let (bucket, key) = name(key);
        let range = match range {
            None => None,
            Some((from, to)) => {
                let size = self.engine.head(bucket, &key, version).await?.size();
                Some(ByteRange::Bounded { start: size * from / 1000, end: size * to / 1000 + 1 })
            }
        };
        let found = self.engine.get(bucket, &key, version, range).await?;
        let chunks: Vec<Bytes> = found.stream.try_collect().await?;
        let value = value_of(&found.info).ok_or_else(|| broken(format!("{} is nobody's", found.info.name())))?;
        Ok(Told::Read(found.info.version(), value, found.range.start, chunks.concat().into()))
    }

    async fn list(&self) -> Result<Told> {
        let mut keys = Vec::new();
        for bucket in ["last", "all"] {
            let query = ListQuery { bucket: bucket.into(), limit: 1000, ..ListQuery::default() };
            keys.extend(self.engine.list(&query).await?.objects.into_iter().map(|o| o.info.manifest.key.clone()));
        }
        Ok(Told::Listed(keys))
    }

    /// Promise 1: what is acknowledged now has been acknowledged by enough backends, and what is short is in the ledger.
    async fn check_acknowledged(&self, info: &ObjectInfo) -> Result<()> {
        let core = &self.engine.core;
        let m = &info.manifest;
        let (k, parity) = m.scheme().map_or((1, 0), |s| (s.k(), s.m()));
        let entry = core.catalog.entry(&m.bucket, &m.key, Some(m.version)).await?;
        if let (Body::Segments(body), true) = (&m.body, entry.is_some()) {
            for view in body.views() {
                let acked = |index: usize| {
                    let state = self.world.lock();
                    state.acked.get(&paths::shard(view.data_id, index)).is_some_and(|by| !by.is_empty())
                };
                let durable = (0..view.backends.len()).filter(|index| acked(*index)).count();
                let (k, parity) = (view.scheme.scheme.k(), view.scheme.scheme.m());
                // Not by the engine's own count, which a flaw may change.
                let margin = self.layout.ack_margin.unwrap_or_else(|| parity.saturating_sub(1).max(1)).min(parity);
                if durable < k + margin {
                    return Err(broken(format!("{} was acknowledged with {durable} shards of a segment", info.name())));
                }
            }
        }
        let Some(entry) = entry.filter(|entry| entry.manifest.revision == 0) else { return Ok(()) };
        let copies = self.world.lock().acked.get(&paths::batch(entry.at.batch)).map_or(0, |by| by.len());
        if copies < core.record_quorum(k, parity).1 {
            return Err(broken(format!("{} was acknowledged with {copies} copies of its record", info.name())));
        }
        if self.alone && info.short > 0 {
            let lines = core.catalog.ledger_after(None, 10_000).await?;
            let ids: Vec<_> = m.data_ids().collect();
            let mine = lines.iter().filter(|line| match &line.item {
                crate::catalog::LedgerItem::Shard { data_id, .. } => ids.contains(data_id),
                crate::catalog::LedgerItem::Copy { batch, .. } => *batch == entry.at.batch,
            });
            if mine.count() < info.short {
                return Err(broken(format!(
                    "{} is short of {}, and the ledger does not say so",
                    info.name(),
                    info.short
                )));
            }
        }
        Ok(())
    }
}

/// A promise that is seen broken on the spot.
pub(super) fn broken(what: String) -> Error {
    Error::internal(what)
}

impl Told {
    fn short(&self) -> String {
        match self {
            Self::Written(id, value) => format!("written {id} {value:?}"),
            Self::Deleted(existed, marker) => format!("deleted {existed} {marker:?}"),
            Self::Read(id, value, at, bytes) => format!("read {id}: {} bytes from {at} of {value:?}", bytes.len()),
            Self::Listed(keys) => format!("listed {}", keys.join(" ")),
            Self::Done => "done".into(),
            Self::Failed(kind, message) => format!("told {}: {message}", kind.as_str()),
        }
    }
}

/// What says in an object's description which value it has; a copy keeps it.
fn described(value: Value) -> BTreeMap<String, String> {
    BTreeMap::from([("number".to_owned(), value.number.to_string())])
}

fn value_of(info: &ObjectInfo) -> Option<Value> {
    let number = info.manifest.metadata.get("number")?.parse().ok()?;
    Some(Value { number, len: u32::try_from(info.size()).ok()? })
}

/// Whether an error says that nothing was written.
pub(super) fn says_nothing_happened(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(kind, NotFound | AlreadyExists | PreconditionFailed | Conflict | Invalid | BadBody | Locked | Config)
}

/// What is planned for an operation: its value, its condition, its version.
pub(super) fn needs(op: &Op) -> (Option<(usize, u32)>, Condition) {
    match op {
        Op::Put { key, len, condition, .. } => (Some((*key, *len)), *condition),
        Op::Multipart { key, parts, .. } => (Some((*key, parts.iter().sum())), Condition::None),
        _ => (None, Condition::None),
    }
}
