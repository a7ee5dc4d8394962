//! Shards of segments: which lie on a backend, and how some of them are moved and described anew together.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::stream::{self, StreamExt};

use super::target::Wish;
use super::{CHUNK, CHUNK_BYTES, Mover, REVISIONS};
use crate::api::ObjectInfo;
use crate::backend::Backend;
use crate::catalog::{Entry, LedgerItem};
use crate::core::Core;
use crate::error::{ErrorKind, Result};
use crate::files::{Ask, delete_files};
use crate::format::manifest::{Body, Manifest, SegmentedBody};
use crate::format::paths;
use crate::id::{DataId, VersionId};
use crate::lease::Lease;
use crate::placement::two_on_one;
use crate::read::hold_entry;
use crate::read::piece::Piece;
use crate::recover::unneeded;
use crate::write::revise::revise;

/// A shard that is to be moved.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub data_id: DataId,
    pub index: usize,
    pub from: String,
    /// Where it should go.
    pub to: Option<String>,
    /// It goes there or nowhere.
    pub only: bool,
    pub len_bytes: u64,
}

/// A shard that lies at its new place, and is not named there yet.
struct Change {
    data_id: DataId,
    index: usize,
    from: String,
    to: String,
    /// Nobody deletes the segment meanwhile.
    _lease: Lease,
}

/// Goes through all live versions, a page at a time.
pub(super) struct Versions<'a> {
    core: &'a Core,
    after: Option<(String, String, VersionId)>,
    /// Segments seen: copies share them.
    seen: HashSet<DataId>,
}

impl<'a> Versions<'a> {
    pub fn of(core: &'a Core) -> Self {
        Self { core, after: None, seen: HashSet::new() }
    }

    /// The next page; `None` behind the last one.
    pub async fn next(&mut self) -> Result<Option<Vec<Entry>>> {
        let page = self.core.catalog.versions_after(self.after.clone(), 500).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
        Ok(Some(page))
    }

    /// The segments of a page that were not met before.
    pub fn fresh_of(&mut self, page: &[Entry]) -> Vec<Piece> {
        page.iter().flat_map(|entry| self.fresh(entry)).collect()
    }

    /// The segments of a version that were not met before.
    pub fn fresh(&mut self, entry: &Entry) -> Vec<Piece> {
        if !matches!(entry.manifest.body, Body::Segments(_)) {
            return Vec::new();
        }
        Piece::of_entry(entry, None).into_iter().filter(|piece| self.seen.insert(piece.data_id)).collect()
    }
}

/// The shards of a piece that lie on a backend.
pub(super) fn on<'p>(piece: &'p Piece, backend: &'p str) -> impl Iterator<Item = usize> + 'p {
    let lies = move |at: &Option<crate::read::piece::ShardAt>| at.as_ref().is_some_and(|at| at.backend == backend);
    piece.shards.iter().enumerate().filter(move |(_, at)| lies(at)).map(|(index, _)| index)
}

/// The names of the backends of a piece's shards.
pub(super) fn holders(piece: &Piece) -> Vec<&str> {
    piece.shards.iter().flatten().map(|at| at.backend.as_str()).collect()
}

/// What is asked of a new place for a shard of a piece.
pub(super) fn wish<'p>(
    core: &Core,
    piece: &Piece,
    holders: &'p [&'p str],
    from: &'p str,
    prefer: Option<&'p str>,
) -> Wish<'p> {
    Wish {
        holders,
        from,
        prefer,
        max_per_domain: core.max_per_domain(piece.scheme.m()),
        seed: piece.data_id.0.as_u64_pair().1,
    }
}

impl Mover<'_> {
    /// Moves all shards of live versions away from a backend. Gives how many were found there, and how many were moved.
    pub(super) async fn move_segments(&self, from: &str, to: Option<&str>) -> Result<(u64, u64)> {
        let (mut found, mut moved) = (0, 0);
        let mut versions = Versions::of(self.core);
        let mut chunk = Vec::new();
        while let Some(page) = versions.next().await? {
            for piece in versions.fresh_of(&page) {
                for index in on(&piece, from) {
                    found += 1;
                    chunk.push(Job {
                        data_id: piece.data_id,
                        index,
                        from: from.to_owned(),
                        to: to.map(str::to_owned),
                        only: false,
                        len_bytes: piece.file_len(),
                    });
                }
                moved += self.move_full(&mut chunk).await?;
            }
        }
        moved += self.move_chunk(chunk).await?;
        Ok((found, moved))
    }

    /// Moves a chunk when it is full.
    pub(super) async fn move_full(&self, chunk: &mut Vec<Job>) -> Result<u64> {
        let bytes: u64 = chunk.iter().map(|job| job.len_bytes).sum();
        match chunk.len() >= CHUNK || bytes >= CHUNK_BYTES {
            true => self.move_chunk(std::mem::take(chunk)).await,
            false => Ok(0),
        }
    }

    /// Moves shards, and describes anew every version that points at them. Gives how many were moved.
    pub(super) async fn move_chunk(&self, jobs: Vec<Job>) -> Result<u64> {
        if jobs.is_empty() {
            return Ok(0);
        }
        self.progress.ready().await?;
        let _together = self.core.moving.read().await;
        let work: Vec<_> = jobs.into_iter().map(|job| self.move_shard(job)).collect();
        let mut work = stream::iter(work).buffer_unordered(self.parallel);
        let (mut changes, mut cancelled) = (Vec::new(), None);
        while let Some(done) = work.next().await {
            match done {
                Ok(change) => changes.extend(change),
                Err(error) if error.kind() == ErrorKind::Cancelled => cancelled = Some(error),
                Err(error) => self.failed(error.to_string()),
            }
        }
        // What was brought before the end was asked for is named all the same.
        let left = self.describe(&changes).await?;
        let moved = changes.iter().filter(|change| !left.contains(&change.data_id)).count() as u64;
        cancelled.map_or(Ok(moved), Err)
    }

    async fn move_shard(&self, job: Job) -> Result<Option<Change>> {
        self.progress.check()?;
        let core = self.core;
        // What was deleted or moved since it was found is passed over.
        let referrers = core.catalog.referrers(job.data_id).await?;
        let views = Piece::views(&referrers, job.data_id).collect::<Vec<_>>();
        let names_it = |(_, piece): &&(&Entry, Piece)| on(piece, &job.from).any(|index| index == job.index);
        let Some((entry, piece)) = views.iter().find(names_it) else { return Ok(None) };
        let object = (entry.manifest.bucket.clone(), entry.manifest.key.clone());
        let Some(held) = hold_entry(core, entry).await? else { return Ok(None) };
        let names: BTreeSet<&str> = views.iter().flat_map(|(_, piece)| holders(piece)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let to = match elsewhere(core, &views, &job, piece) {
            Some(to) => Some(to),
            None => {
                let to = wish(core, piece, &names, &job.from, job.to.as_deref()).target(core);
                let stays = job.only && to.is_none_or(|to| job.to.as_deref() != Some(to.name()));
                if stays {
                    return Ok(None);
                }
                to
            }
        };
        let Some(to) = to else {
            self.failed(format!(
                "{}/{}: no backend that answers may take its shard {} from {:?}; add one, or bring one back",
                object.0, object.1, job.index, job.from
            ));
            return Ok(None);
        };
        self.bring(piece, job.index, to, &object).await.map_err(|e| match e.kind() {
            ErrorKind::Cancelled => e,
            kind => crate::Error::new(kind, format!("{}/{}: {}", object.0, object.1, e.message())),
        })?;
        let to = to.name().to_owned();
        Ok(Some(Change { data_id: job.data_id, index: job.index, from: job.from, to, _lease: held.lease }))
    }

    /// Names the new places in the next revision of every version that points at them. Gives the segments of which that
    /// failed for a version: they have not moved.
    async fn describe(&self, changes: &[Change]) -> Result<BTreeSet<DataId>> {
        let mut versions: BTreeMap<(String, String, VersionId), BTreeSet<DataId>> = BTreeMap::new();
        for change in changes {
            for entry in self.core.catalog.referrers(change.data_id).await? {
                let m = entry.manifest;
                versions.entry((m.bucket, m.key, m.version)).or_default().insert(change.data_id);
            }
        }
        let by_id = by_segment(changes);
        let revisions: Vec<_> = versions
            .into_iter()
            .map(|(version, ids)| {
                let described = self.describe_one(version, &by_id);
                async move { (ids, described.await) }
            })
            .collect();
        let mut revisions = stream::iter(revisions).buffer_unordered(REVISIONS);
        let mut left = BTreeSet::new();
        while let Some((ids, (bucket, key, done))) = revisions.next().await {
            match done {
                Ok(_) => self.note(|report| report.versions += 1),
                // What was deleted meanwhile needs no description.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    left.extend(ids);
                    self.failed(format!("{bucket}/{key}: {}", error.message()));
                }
            }
        }
        self.forget_unnamed(changes).await?;
        Ok(left)
    }

    async fn describe_one(
        &self,
        (bucket, key, version): (String, String, VersionId),
        changes: &BySegment<'_>,
    ) -> (String, String, Result<ObjectInfo>) {
        let change = |manifest: &mut Manifest| place_anew(manifest, changes);
        let done = revise(self.core, self.committer, (&bucket, &key), Some(version), change).await;
        (bucket, key, done)
    }

    /// What nothing needs any more goes at once; of the rest the ledger knows nothing bad.
    async fn forget_unnamed(&self, changes: &[Change]) -> Result<()> {
        let catalog = &self.core.catalog;
        let _whole = self.core.hold_whole().await?;
        let ids: Vec<DataId> = changes.iter().map(|c| c.data_id).collect();
        let gone: HashSet<DataId> = unneeded(self.core, &ids).await?.into_iter().collect();
        let unnamed = changes.iter().filter(|c| gone.contains(&c.data_id));
        let files: Vec<_> = unnamed.map(|c| (c.to.clone(), paths::shard(c.data_id, c.index))).collect();
        delete_files(self.core, files, Ask::All).await;
        let items = changes.iter().map(|c| LedgerItem::Shard { data_id: c.data_id, index: c.index as u16 });
        catalog.ledger_remove(&items.collect::<Vec<_>>()).await
    }
}

type BySegment<'a> = BTreeMap<DataId, Vec<&'a Change>>;

fn by_segment(changes: &[Change]) -> BySegment<'_> {
    let mut out = BySegment::new();
    for change in changes {
        out.entry(change.data_id).or_default().push(change);
    }
    out
}

/// Where another version that shares the segment has the shard by now: one was copied, or could not be described, while it
/// was moved.
fn elsewhere<'c>(core: &'c Core, views: &[(&Entry, Piece)], job: &Job, piece: &Piece) -> Option<&'c Backend> {
    let own = holders(piece);
    let places = views.iter().filter_map(|(_, other)| other.shards.get(job.index)?.as_ref());
    let mut others = places.map(|at| at.backend.as_str()).filter(|name| !own.contains(name));
    others.find_map(|name| core.admitted(name).filter(|b| b.is_writable()))
}

/// Puts the new places in a manifest, where it still has the old ones. An error where one of them has another shard of the
/// segment by now: then what was moved has not moved for this version.
fn place_anew(manifest: &mut Manifest, changes: &BySegment<'_>) -> Result<()> {
    let Body::Segments(old) = &manifest.body else { return Ok(()) };
    let mut body = SegmentedBody::default();
    let mut changed = false;
    for view in old.views() {
        let mut backends = view.backends.clone();
        for change in changes.get(&view.data_id).into_iter().flatten() {
            if backends.get(change.index).is_some_and(|name| *name == change.from) {
                if let Some(index) = backends.iter().position(|name| *name == change.to) {
                    return Err(two_on_one(&change.to, index, change.index));
                }
                backends[change.index] = &change.to;
                changed = true;
            }
        }
        body.push(view.data_id, view.len, view.scheme, &backends);
    }
    if changed {
        manifest.body = Body::Segments(body);
    }
    Ok(())
}
