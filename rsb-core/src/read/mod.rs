//! Reading: verified blocks of the best k shards, in order, within the memory bound.
//!
//! Order to read: [`piece`] (what is where), [`rank`] (which shards first), [`shard_reader`] (one shard), [`stripes`] (first k of n),
//! [`elsewhere`] (shards that are not where they are named), this file (an object), [`ranges`] (several ranges of one).

pub(crate) mod elsewhere;
pub(crate) mod piece;
pub(crate) mod ranges;
mod rank;
pub(crate) mod shard_reader;
pub(crate) mod stripes;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use object_store::Extensions;
use tokio::sync::OwnedSemaphorePermit;
use uuid::Uuid;

use self::piece::Piece;
use self::stripes::{StripeReader, WINDOW};
use crate::api::{BodyStream, ByteRange, GetObject, ObjectInfo};
use crate::catalog::{BatchRow, Entry, Located};
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::Manifest;
use crate::id::VersionId;
use crate::lease::Lease;
use crate::names;

/// Looks a version up: the newest when `version` is absent. A delete marker is not found.
pub(crate) async fn lookup(core: &Core, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Entry> {
    names::check_bucket(bucket)?;
    names::check_key(key)?;
    let found = core.catalog.entry(bucket, key, version).await?;
    core.check_catalog_whole()?;
    match found {
        Some(entry) if !entry.manifest.delete_marker => Ok(entry),
        _ => Err(not_found(core, bucket, key, version).await?),
    }
}

async fn not_found(core: &Core, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Error> {
    let has_bucket = core.catalog.bucket(bucket).await?.is_some();
    core.check_catalog_whole()?;
    if !has_bucket {
        return Ok(Error::not_found(format!("bucket {bucket:?} does not exist")).object(bucket));
    }
    let name = format!("{bucket}/{key}");
    let what = version.map_or(String::new(), |v| format!("version {v} of "));
    Ok(Error::not_found(format!("{what}{name} does not exist")).object(name))
}

/// A version that is protected from deletion while it is read.
pub(crate) struct Held {
    pub entry: Entry,
    pub pieces: Vec<Piece>,
    pub lease: Lease,
}

/// Looks a version up and takes leases on what it points at.
pub(crate) async fn hold(core: &Core, bucket: &str, key: &str, version: Option<VersionId>) -> Result<Held> {
    names::check_bucket(bucket)?;
    names::check_key(key)?;
    let mut refused = Refused::default();
    loop {
        let looking_up = core.looking_up.read().await;
        // The batch may be looked up before the lease: copies of it come, but go only all together, which the lease refuses.
        let found = core.catalog.entry_and_batch(bucket, key, version).await?;
        core.check_catalog_whole()?;
        let Some((entry, batch)) = found.filter(|(entry, _)| !entry.manifest.delete_marker) else {
            return Err(not_found(core, bucket, key, version).await?);
        };
        if let Some((pieces, lease)) = lease_on(core, &entry, batch.as_ref()) {
            let held = Held { entry, pieces, lease };
            check_known(&held)?;
            return Ok(held);
        }
        drop(looking_up);
        // It is being deleted: by now the catalog knows a newer state.
        refused.look_again(core, &entry).await?;
    }
}

/// A version that leases were refused for, and is looked up again.
#[derive(Default)]
struct Refused {
    /// Its record, if files that it names had been deleted by then.
    deleted: Option<Located>,
}

impl Refused {
    /// An error when the catalog shows the same record after its files were deleted: it had named them before they were
    /// found to be unnamed, so it came late, and is only shown because some backends are not seen.
    async fn look_again(&mut self, core: &Core, entry: &Entry) -> Result<()> {
        if self.deleted == Some(entry.at) {
            let name = format!("{}/{}", entry.manifest.bucket, entry.manifest.key);
            let sentence = format!(
                "{name} cannot be read: its record appeared when the shards that it names had been deleted; once all backends are back a sweep, or a repair, removes it"
            );
            return Err(Error::new(ErrorKind::Unreadable, sentence).object(name));
        }
        self.deleted = ids_of(entry).any(|id| core.leases.is_removed(id)).then_some(entry.at);
        tokio::task::yield_now().await;
        Ok(())
    }
}

/// Refuses a small object of which fewer copies are known than its bytes need: a few bytes might be read from fewer, and of one
/// that was never acknowledged nothing would be left once all backends are back.
fn check_known(held: &Held) -> Result<()> {
    let manifest = &held.entry.manifest;
    if !Piece::needs_batch(manifest) {
        return Ok(());
    }
    let needed = manifest.copies_needed();
    let known = held.pieces.iter().flat_map(|piece| &piece.shards).flatten().count();
    if known >= needed {
        return Ok(());
    }
    let name = format!("{}/{}", manifest.bucket, manifest.key);
    let sentence = format!(
        "{name} cannot be read: {known} copies of its record are known, and {needed} are needed; bring backends back"
    );
    Err(Error::new(ErrorKind::Unreadable, sentence).object(name))
}

/// Takes leases on what an entry points at; `None` when it was deleted, or described anew.
pub(crate) async fn hold_entry(core: &Core, entry: &Entry) -> Result<Option<Held>> {
    let m = &entry.manifest;
    let mut refused = Refused::default();
    loop {
        let batch = match Piece::needs_batch(m) {
            true => core.catalog.batch(entry.at.batch).await?,
            false => None,
        };
        if let Some((pieces, lease)) = lease_on(core, entry, batch.as_ref()) {
            return Ok(Some(Held { entry: entry.clone(), pieces, lease }));
        }
        // Whoever deletes a neighbour in its batch, or one that it shares segments with, refuses leases while he looks at it.
        let now = core.catalog.entry(&m.bucket, &m.key, Some(m.version)).await?;
        core.check_catalog_whole()?;
        if now.is_none_or(|now| now.at != entry.at) {
            return Ok(None);
        }
        refused.look_again(core, entry).await?;
    }
}

/// What a lease is needed on: the segments that it points at, and its batch.
pub(crate) fn ids_of(entry: &Entry) -> impl Iterator<Item = Uuid> {
    entry.manifest.data_ids().map(|id| id.0).chain([entry.at.batch.0])
}

fn lease_on(core: &Core, entry: &Entry, batch: Option<&BatchRow>) -> Option<(Vec<Piece>, Lease)> {
    let lease = core.leases.take(ids_of(entry))?;
    if Piece::needs_batch(&entry.manifest) && batch.is_none() {
        return None;
    }
    Some((Piece::of_entry(entry, batch), lease))
}

/// Opens an object for reading.
pub(crate) async fn get(
    core: &Arc<Core>,
    bucket: &str,
    key: &str,
    version: Option<VersionId>,
    range: Option<ByteRange>,
) -> Result<GetObject> {
    let held = hold(core, bucket, key, version).await?;
    let size = held.entry.manifest.size;
    let range = match range {
        None => 0..size,
        Some(range) => range.resolve(size).ok_or_else(|| no_bytes(&held.entry.manifest))?,
    };
    Ok(open(core, held, range))
}

/// A range has no bytes of this object.
pub(crate) fn no_bytes(object: &Manifest) -> Error {
    let name = format!("{}/{}", object.bucket, object.key);
    let sentence = format!("the range lies outside {name}, which has {} bytes", object.size);
    Error::new(ErrorKind::RangeNotSatisfiable, sentence).object(name)
}

/// The stream of a held version's bytes.
pub(crate) fn open(core: &Arc<Core>, held: Held, range: Range<u64>) -> GetObject {
    open_passing(core, held, range, Extensions::new())
}

/// The same; the backends are given `extensions` with each request.
pub(crate) fn open_passing(core: &Arc<Core>, held: Held, range: Range<u64>, extensions: Extensions) -> GetObject {
    let manifest = Arc::new(held.entry.manifest);
    let object = (manifest.bucket.clone(), manifest.key.clone());
    let info = ObjectInfo { manifest, short: 0 };
    let asking = Asking { object, avoid: Vec::new(), extensions };
    let stream = stream(core, held.pieces, range.clone(), Some(held.lease), asking);
    GetObject { info, range, stream }
}

/// How shards are asked for.
#[derive(Clone)]
pub(crate) struct Asking {
    /// The object's bucket and key.
    pub object: (String, String),
    /// Backends that are not asked.
    pub avoid: Vec<String>,
    /// What the backends are given with each request.
    pub extensions: Extensions,
}

struct State {
    core: Arc<Core>,
    pieces: VecDeque<Piece>,
    range: Range<u64>,
    asking: Asking,
    current: Option<(StripeReader, OwnedSemaphorePermit)>,
    ready: VecDeque<Bytes>,
    _lease: Option<Lease>,
}

/// The bytes `range` of the object made of `pieces`, in order.
pub(crate) fn stream_pieces(
    core: &Arc<Core>,
    pieces: Vec<Piece>,
    range: Range<u64>,
    object: (String, String),
    lease: Option<Lease>,
    avoid: Vec<String>,
) -> BodyStream {
    stream(core, pieces, range, lease, Asking { object, avoid, extensions: Extensions::new() })
}

/// The same, asked for like this.
fn stream(core: &Arc<Core>, pieces: Vec<Piece>, range: Range<u64>, lease: Option<Lease>, asking: Asking) -> BodyStream {
    let pieces = pieces.into_iter().filter(|p| p.start < range.end && p.start + p.layout.len > range.start).collect();
    let core = core.clone();
    let state = State { core, pieces, range, asking, current: None, ready: VecDeque::new(), _lease: lease };
    stream::try_unfold(state, |mut state| async move { Ok(state.next().await?.map(|bytes| (bytes, state))) }).boxed()
}

impl State {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                if bytes.is_empty() {
                    continue;
                }
                return Ok(Some(bytes));
            }
            if self.current.is_none() {
                let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
                self.current = Some(self.open_piece(piece).await?);
            }
            let Some((reader, _)) = &mut self.current else { continue };
            match reader.next_data().await? {
                Some(blocks) => self.ready.extend(together(blocks)),
                None => self.current = None,
            }
        }
    }

    async fn open_piece(&mut self, piece: Piece) -> Result<(StripeReader, OwnedSemaphorePermit)> {
        let wanted =
            self.range.start.max(piece.start) - piece.start..(self.range.end - piece.start).min(piece.layout.len);
        // k readers of WINDOW blocks each, a block in transit for each, and the stripe that is put together.
        let stripes = piece.layout.stripes_of(&wanted);
        let ahead = (stripes.end - stripes.start).min(WINDOW as u64 + 2);
        let bytes = ahead * piece.layout.block_len(stripes.start) * (piece.scheme.k() as u64 + 1);
        let permit = self.core.read_memory.take(bytes).await?;
        let Asking { object, avoid, extensions } = &self.asking;
        let reader = StripeReader::new(&self.core, piece, wanted, object.clone(), avoid);
        Ok((reader.passing(extensions.clone()), permit))
    }
}

/// Blocks up to this length together go out as one.
const TOGETHER: usize = 64 << 10;

/// A small stripe in one piece: each piece costs every layer above a turn.
fn together(blocks: Vec<Bytes>) -> Vec<Bytes> {
    let len: usize = blocks.iter().map(Bytes::len).sum();
    if blocks.len() < 2 || len > TOGETHER { blocks } else { vec![Bytes::from(blocks.concat())] }
}
