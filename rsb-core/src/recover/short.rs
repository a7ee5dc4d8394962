//! Batches that too few backends hold: garbage, shown while it is in doubt, or adopted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures::stream::{self, StreamExt};
use object_store::PutPayload;

use super::batches::Loaded;
use super::{Recovery, is_in_doubt};
use crate::catalog::{Holder, HolderState, LedgerEntry, LedgerReason, kills};
use crate::check::verify_shard;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::files::{Fault, FaultKind, put, size_of};
use crate::format::batch::BatchImage;
use crate::format::manifest::{Body, Manifest, Record};
use crate::format::paths;
use crate::id::DataId;
use crate::read::elsewhere::{named_places, seek};
use crate::read::piece::Piece;
use crate::scheme::Scheme;

/// What a record is taken for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Garbage,
    /// It is shown until it can be told whether it was acknowledged.
    InDoubt,
    Shown,
}

/// What is seen of a batch's shards.
#[derive(Default)]
struct Shards {
    /// Offsets of the versions that have fewer than k good ones.
    bad: BTreeSet<u32>,
    /// Those that are not good of the others.
    lost: Vec<LedgerEntry>,
    /// One has fewer than acknowledge a write.
    thin: bool,
}

/// The shards of one segment.
#[derive(Default)]
pub(super) struct GoodShards {
    good: usize,
    /// The backends of others, which do not answer.
    away: Vec<String>,
    /// Not there, or not whole: which, and where.
    lost: Vec<(usize, String, LedgerReason)>,
}

impl Recovery<'_> {
    /// What becomes of a batch that too few backends hold. Of one that is adopted only what can be read is left in `loaded`.
    pub async fn judge_short(
        &mut self,
        loaded: &mut Loaded,
        shards: &SeenShards,
        copies: usize,
        quorum: usize,
    ) -> Result<Verdict> {
        if loaded.records.is_empty() {
            return Ok(Verdict::Garbage);
        }
        let Shards { bad, lost, thin } = self.without_shards(loaded, shards).await?;
        self.lost_shards = lost;
        let image = if bad.is_empty() { loaded.image(self.core).await.ok() } else { None };
        if let Some(image) = image {
            // With fewer shards than acknowledge a write it would be lost with too few backends, and what it replaced with it.
            // Until a repair has rebuilt them it stays as short as it is, so that every rebuild sees it in doubt.
            if thin {
                return Ok(Verdict::InDoubt);
            }
            if self.adopt {
                complete(self.core, &image, loaded, copies).await;
            }
            let is_complete = loaded.holders.len() >= quorum;
            self.report.adopted += u64::from(is_complete || !self.adopt);
            if is_complete {
                return Ok(Verdict::Shown);
            }
            // It can be read, so it may be what was acknowledged, of which copies were lost.
            return Ok(Verdict::InDoubt);
        }
        if !self.unreachable.is_empty() {
            let may_hold = loaded.holders.len() + loaded.corrupt + self.unreachable.len();
            let is_enough = may_hold >= loaded.least_quorum(self.core);
            return Ok(if is_enough { Verdict::InDoubt } else { Verdict::Garbage });
        }
        // All is seen: what can be read may have been shown before, so it stays; the rest can never be. No further copies can
        // be made of such a batch, so a repair writes what is left of it anew.
        loaded.records.retain(|offset, _| !bad.contains(offset));
        let mut lives = false;
        for record in loaded.records.values() {
            lives |= match &record.record {
                Record::Version(manifest) => !self.is_killed(manifest, loaded).await?,
                Record::Tombstone(_) | Record::Bucket(_) => true,
            };
        }
        self.report.adopted += u64::from(lives);
        Ok(if lives { Verdict::Shown } else { Verdict::Garbage })
    }

    /// What was seen of the versions' shards in it, and of inline ones by their checksums. One that something newer has
    /// replaced, or deleted, has lost its shards for that, and says nothing of its neighbours.
    async fn without_shards(&mut self, loaded: &Loaded, shards: &SeenShards) -> Result<Shards> {
        let mut out = Shards::default();
        for (offset, record) in &loaded.records {
            let Record::Version(manifest) = &record.record else { continue };
            if self.is_killed(manifest, loaded).await? {
                continue;
            }
            let mut seen = Shards::default();
            if !self.is_good(manifest, (record.inline.len(), *offset), shards, &mut seen) {
                out.bad.insert(*offset);
            } else if seen.thin {
                out.thin = true;
                out.lost.extend(seen.lost);
            }
        }
        Ok(out)
    }

    fn is_good(
        &mut self,
        manifest: &Manifest,
        (inline, offset): (usize, u32),
        shards: &SeenShards,
        seen: &mut Shards,
    ) -> bool {
        match &manifest.body {
            Body::None => true,
            Body::Inline(_) => inline >= manifest.copies_needed(),
            Body::Segments(body) => {
                for view in body.views() {
                    // What this process removes is not worth completing: soon it is not there.
                    if self.core.leases.is_removed(view.data_id.0) {
                        return false;
                    }
                    let scheme = view.scheme.scheme;
                    let piece = Piece::of_segment(&view);
                    let needed = self.core.ack_count(scheme.k(), scheme.m());
                    let Some(GoodShards { good, away, lost }) = shards.get(&(offset, piece.data_id)) else {
                        return false;
                    };
                    self.unreachable.extend(away.iter().cloned());
                    if *good < scheme.k() {
                        return false;
                    }
                    seen.thin |= good + away.len() < needed;
                    let noted_ms = self.core.env.now_ms();
                    seen.lost.extend(lost.iter().map(|(index, backend, reason)| LedgerEntry {
                        item: piece.ledger_item(*index),
                        backend: backend.clone(),
                        bucket: manifest.bucket.clone(),
                        key: manifest.key.clone(),
                        reason: *reason,
                        noted_ms,
                    }));
                }
                true
            }
        }
    }

    /// Whether a version is killed by what is known by now, or lies in its own batch.
    async fn is_killed(&self, manifest: &Manifest, loaded: &Loaded) -> Result<bool> {
        let name = (manifest.bucket.clone(), manifest.key.clone());
        let tombstones = self.tombstones.get(&name).into_iter().flatten();
        if loaded.records.values().map(|r| &r.record).chain(tombstones).any(|record| kills(record, manifest)) {
            return Ok(true);
        }
        let (bucket, key) = name;
        // The same version with a higher revision, or that of a later writer, then those that came after it.
        let same = self.catalog.entry(&bucket, &key, Some(manifest.version)).await?;
        let rank = |manifest: &Manifest, batch| (manifest.revision, batch);
        if same.is_some_and(|entry| rank(&entry.manifest, entry.at.batch) > rank(manifest, loaded.id)) {
            return Ok(true);
        }
        let mut after = Some((bucket, key, manifest.version));
        loop {
            let page = self.catalog.versions_after(after, 100).await?;
            for entry in page.iter().filter(|e| e.manifest.bucket == manifest.bucket && e.manifest.key == manifest.key)
            {
                if kills(&Record::Version(entry.manifest.clone()), manifest) {
                    return Ok(true);
                }
            }
            match page.last().map(|entry| &entry.manifest) {
                Some(last) if last.bucket == manifest.bucket && last.key == manifest.key => {
                    after = Some((last.bucket.clone(), last.key.clone(), last.version));
                }
                _ => return Ok(false),
            }
        }
    }
}

/// So many bytes of shards are read by one pass over the backends, the newest first: what was under way when a process died, and
/// no whole repository of which too much was lost.
const READ_BYTES: u64 = 256 << 20;
/// So many segments of a batch are looked at at once.
const SEGMENTS_AT_ONCE: usize = 2;

/// What is seen of the segments of a batch's versions, by the offset of their record.
pub(super) type SeenShards = BTreeMap<(u32, DataId), GoodShards>;

/// Looks at shards before it is judged what they belong to: many at once, the judgements come one after another.
pub(super) struct Scout {
    may_read: AtomicU64,
}

impl Scout {
    pub fn new() -> Self {
        Self { may_read: AtomicU64::new(READ_BYTES) }
    }

    pub async fn look(&self, core: &Core, loaded: &Loaded) -> SeenShards {
        let mut segments = Vec::new();
        for (offset, record) in &loaded.records {
            if let Record::Version(Manifest { body: Body::Segments(body), .. }) = &record.record {
                segments.extend(body.views().map(|view| (*offset, Piece::of_segment(&view))));
            }
        }
        let seen = stream::iter(segments).map(|(offset, piece)| async move {
            // What is adopted replaces what may be all there is, so it is read.
            let len = piece.file_len() * piece.scheme.n() as u64;
            let read = self.may_read.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(len));
            let look = if read.is_ok() { Look::Blocks } else { Look::Sizes };
            ((offset, piece.data_id), good_shards(core, &piece, look).await)
        });
        seen.buffer_unordered(SEGMENTS_AT_ONCE).collect().await
    }
}

/// So many shards are looked at at once.
const SHARDS_AT_ONCE: usize = 32;

/// How closely shards are looked at.
#[derive(Clone, Copy)]
enum Look {
    Sizes,
    /// They are read, and verified.
    Blocks,
}

/// What is seen of a segment's shards.
async fn good_shards(core: &Core, piece: &Piece, look: Look) -> GoodShards {
    let expected = piece.file_len();
    let wrong_size = || Fault::corrupt("it is not as long as it should be");
    let places = piece.shards.iter().enumerate().filter_map(|(index, at)| Some((index, at.clone()?)));
    let places: Vec<_> = places.collect();
    let shards = stream::iter(places).map(|(index, at)| async move {
        let seen = match (core.admitted(&at.backend), look) {
            (Some(backend), Look::Sizes) => {
                let size = size_of(backend, &at.path).await;
                size.and_then(|size| if size == expected { Ok(()) } else { Err(wrong_size()) })
            }
            (Some(_), Look::Blocks) => verify_shard(core, piece, index, 0..piece.layout.stripes()).await.map(drop),
            (None, _) if core.backend(&at.backend).is_some() => Err(Fault::unreachable("its backend is away")),
            (None, _) => Err(Fault { kind: FaultKind::Missing, detail: String::new() }),
        };
        (index, at.backend, seen)
    });
    let mut seen = GoodShards::default();
    for (index, backend, found) in shards.buffer_unordered(SHARDS_AT_ONCE).collect::<Vec<_>>().await {
        match found.map_err(|fault| fault.kind) {
            Ok(()) => seen.good += 1,
            Err(FaultKind::Unreachable) => seen.away.push(backend),
            Err(FaultKind::Missing) => seen.lost.push((index, backend, LedgerReason::Missing)),
            Err(FaultKind::Corrupt) => seen.lost.push((index, backend, LedgerReason::Corrupt)),
        }
    }
    if seen.good < piece.scheme.k() {
        seen.good += good_elsewhere(core, piece, &seen.lost, look).await;
    }
    seen
}

/// How many of the shards that are not where they are named are good on other backends, where a read finds them too.
async fn good_elsewhere(core: &Core, piece: &Piece, lost: &[(usize, String, LedgerReason)], look: Look) -> usize {
    if !lost.iter().any(|(.., reason)| *reason == LedgerReason::Missing) {
        return 0;
    }
    let lost: Vec<usize> = lost.iter().map(|(index, ..)| *index).collect();
    let found = seek(core, piece, &lost, &named_places(piece)).await;
    let (mut there, found) = (piece.clone(), found.into_iter());
    let indices: Vec<usize> = found.map(|(index, at)| (there.shards[index] = Some(at), index).1).collect();
    let Look::Blocks = look else { return indices.len() };
    let there = &there;
    let reads = stream::iter(indices)
        .map(|index| async move { verify_shard(core, there, index, 0..there.layout.stripes()).await.is_ok() });
    reads.buffer_unordered(SHARDS_AT_ONCE).filter(|good| std::future::ready(*good)).count().await
}

/// Refuses to name segments once more, or anew, of which it cannot be told whether they were ever acknowledged: with that
/// they would be, and what they seem to have replaced would go.
pub(crate) async fn check_decided(core: &Core, manifest: &Manifest) -> Result<()> {
    check_seen(core, manifest, |scheme| core.ack_count(scheme.k(), scheme.m())).await
}

/// The same for a repair, which goes from one segment to the next: each must be readable.
pub(crate) async fn check_readable(core: &Core, manifest: &Manifest) -> Result<()> {
    check_seen(core, manifest, Scheme::k).await
}

async fn check_seen(core: &Core, manifest: &Manifest, needed: impl Fn(&Scheme) -> usize) -> Result<()> {
    let Body::Segments(body) = &manifest.body else { return Ok(()) };
    if !is_in_doubt(core).await? {
        return Ok(());
    }
    for view in body.views() {
        let seen = good_shards(core, &Piece::of_segment(&view), Look::Sizes).await.good;
        let needed = needed(&view.scheme.scheme);
        if seen < needed {
            let name = format!("{}/{}", manifest.bucket, manifest.key);
            let sentence = format!(
                "{name} is in doubt: of the {needed} shards that it takes {seen} are seen, so it is neither copied nor changed; bring backends back, or repair"
            );
            return Err(Error::unavailable(sentence).object(name));
        }
    }
    Ok(())
}

/// Writes the copies of a batch that are missing, each to a backend that has none.
async fn complete(core: &Core, image: &BatchImage, loaded: &mut Loaded, copies: usize) {
    let have: BTreeSet<u16> = loaded.holders.iter().map(|h| h.copy).collect();
    for copy in (0..copies as u16).filter(|c| !have.contains(c)) {
        let taken: BTreeSet<String> = loaded.holders.iter().map(|h| h.backend.clone()).collect();
        let free = core.backends.iter().filter(|b| b.is_admitted() && b.is_writable() && !taken.contains(b.name()));
        for backend in free {
            let payload = PutPayload::from_bytes(image.copy(&core.checksums, copy));
            if put(backend, &paths::batch(image.batch()), payload).await.is_ok() {
                let holder = Holder { backend: backend.name().to_owned(), copy, state: HolderState::Held };
                loaded.holders.push(holder);
                break;
            }
        }
    }
}
