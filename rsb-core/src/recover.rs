//! From the backends to the catalog: markers, batches, the catch-up at start, the rebuild, and the comparison of both.
//!
//! A record that enough backends show is taken as it is. One held by too few is adopted only after its copies were
//! completed and k good shards were seen, so that what was once visible stays visible; else it is garbage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::{ObjectStore, PutPayload};

use crate::api::{Progress, RebuildReport, VerifyReport};
use crate::backend::Backend;
use crate::catalog::{BatchRow, Catalog, Commit, Holder, HolderState, Located, LocatedRecord, MemoryCatalog};
use crate::core::{Core, Fault, FaultKind, error_sentence, get_all, put, size_of};
use crate::engine::EngineConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::format::batch::{BatchImage, Extent, InlineShards, MAX_RECORD_LEN, read_copy};
use crate::format::manifest::{Body, Record};
use crate::format::marker::Marker;
use crate::format::{paths, shard};
use crate::id::{BatchId, RepositoryId};
use crate::read::piece::Piece;
use crate::read::stripes::restore_blocks;
use crate::write;

/// The catalog's named value that holds the repository's id.
pub(crate) const REPOSITORY_ID: &str = "repository_id";
/// How long a marker is waited for.
const MARKER_TIMEOUT: Duration = Duration::from_secs(10);

/// A backend's marker; `None` where there is none.
pub(crate) async fn read_marker(backend: &Backend) -> Result<Option<Marker>, Fault> {
    let path = paths::marker();
    let read = get_all(backend, &path, 64 << 10);
    match tokio::time::timeout(MARKER_TIMEOUT, read).await {
        Err(_) => Err(Fault::unreachable("it did not answer in time")),
        Ok(Err(fault)) if fault.kind == FaultKind::Missing => Ok(None),
        Ok(Err(fault)) => Err(fault),
        Ok(Ok(bytes)) => Marker::decode(&bytes).map(Some).map_err(|e| Fault::corrupt(e.to_string())),
    }
}

/// The markers of all backends, in their order.
pub(crate) async fn read_markers(backends: &[Backend]) -> Vec<Result<Option<Marker>, Fault>> {
    let all = backends.to_vec();
    stream::iter(all)
        .map(|backend| async move { read_marker(&backend).await })
        .buffered(backends.len().max(1))
        .collect()
        .await
}

pub(crate) fn wrong_marker(backend: &Backend, found: &Marker, id: RepositoryId) -> Option<Error> {
    let sentence = if found.repository_id != id {
        format!(
            "backend {:?} belongs to repository {:?} ({}), not to this one ({id}); nothing was written; point it at another bucket or folder",
            backend.name(),
            found.repository,
            found.repository_id,
        )
    } else if found.backend != backend.name() {
        format!(
            "backend {:?} is marked as backend {:?} of this repository; two names point at the same place, or a backend was renamed; nothing was written",
            backend.name(),
            found.backend,
        )
    } else {
        return None;
    };
    Some(Error::config(sentence).backends([backend.name()]))
}

/// See [`crate::Engine::init_markers`].
pub(crate) async fn init_markers(config: &EngineConfig, backends: &[Backend], env: &Env) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (backend, marker) in backends.iter().zip(read_markers(backends).await) {
        let marker = marker.map_err(|fault| {
            Error::unavailable(format!("the marker of backend {:?} cannot be read: {}", backend.name(), fault.detail))
                .backends([backend.name()])
        })?;
        found.push((backend, marker));
    }
    let known = found.iter().find_map(|(_, m)| m.as_ref());
    let id = known.map_or_else(|| RepositoryId(env.new_id()), |m| m.repository_id);
    let margin = known.map_or(config.scheme.parity_shards, |m| m.record_margin);
    for (backend, marker) in &found {
        if let Some(error) = marker.as_ref().and_then(|m| wrong_marker(backend, m, id)) {
            return Err(error);
        }
    }
    let mut created = Vec::new();
    for (backend, _) in found.iter().filter(|(_, m)| m.is_none()) {
        write_marker(backend, &Marker::new(id, &config.name, backend.name(), margin)).await?;
        created.push(backend.name().to_owned());
    }
    Ok(created)
}

pub(crate) async fn write_marker(backend: &Backend, marker: &Marker) -> Result<()> {
    put(backend, &paths::marker(), PutPayload::from(marker.encode())).await.map_err(|fault| {
        Error::unavailable(format!("the marker of backend {:?} cannot be written: {}", backend.name(), fault.detail))
            .backends([backend.name()])
    })
}

/// Admits the backends whose markers are right. Gives the repository's id and record margin.
pub(crate) async fn admit(config: &EngineConfig, backends: &[Backend]) -> Result<(RepositoryId, usize)> {
    let markers = read_markers(backends).await;
    let known: Vec<&Marker> = markers.iter().filter_map(|m| m.as_ref().ok().and_then(Option::as_ref)).collect();
    let Some(first) = known.first() else {
        if markers.iter().all(|m| matches!(m, Ok(None))) {
            return Err(Error::config(format!(
                "no backend of repository {:?} has a marker: it was never set up; run `rsb config init`",
                config.name
            )));
        }
        let why: Vec<String> = backends
            .iter()
            .zip(&markers)
            .filter_map(|(b, m)| m.as_ref().err().map(|f| format!("{}: {}", b.name(), f.detail)))
            .collect();
        return Err(Error::unavailable(format!("no backend can be reached ({})", why.join("; "))));
    };
    let id = first.repository_id;
    let margin = known.iter().map(|m| usize::from(m.record_margin)).min().unwrap_or_default();
    for (backend, marker) in backends.iter().zip(&markers) {
        match marker {
            Ok(Some(found)) => match wrong_marker(backend, found, id) {
                Some(error) => return Err(error),
                None => backend.admit(),
            },
            Ok(None) => {
                backend.health().failed("it has no marker");
                tracing::error!(
                    backend = backend.name(),
                    "has no marker, so it is not used: it is empty, or not this repository's; `rsb config init` writes one"
                );
            }
            Err(fault) => {
                backend.health().failed(&fault.detail);
                tracing::error!(backend = backend.name(), "is not used until it shows its marker: {}", fault.detail);
            }
        }
    }
    Ok((id, margin))
}

/// A listing of one folder on every backend.
pub(crate) struct Listed<T> {
    /// (backend, what was listed).
    pub files: Vec<(String, Vec<T>)>,
    /// Backends that could not be listed.
    pub unreachable: Vec<String>,
}

/// Lists a folder on every backend.
pub(crate) async fn list_all<T: Send>(
    core: &Core,
    folder: object_store::path::Path,
    after: Option<object_store::path::Path>,
    parse: impl Fn(object_store::ObjectMeta) -> Option<T> + Send + Sync,
) -> Listed<T> {
    let (folder, after, parse) = (&folder, &after, &parse);
    let listings = stream::iter(core.backends.clone()).map(|backend| async move {
        if !backend.is_admitted() {
            return (backend.name().to_owned(), Err("its marker was not found".to_owned()));
        }
        let listing = match after {
            Some(after) => backend.store().list_with_offset(Some(folder), after),
            None => backend.store().list(Some(folder)),
        };
        let found = listing.try_filter_map(|meta| async move { Ok(parse(meta)) }).try_collect::<Vec<T>>().await;
        let found = match found {
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            other => other.map_err(|e| error_sentence(&e)),
        };
        (backend.name().to_owned(), found)
    });
    let mut out = Listed { files: Vec::new(), unreachable: Vec::new() };
    let listings: Vec<_> = listings.buffered(core.backends.len().max(1)).collect().await;
    for (name, found) in listings {
        match found {
            Ok(found) => out.files.push((name, found)),
            Err(error) => {
                tracing::warn!(backend = name, "cannot be listed: {error}");
                out.unreachable.push(name);
            }
        }
    }
    out
}

/// A batch put together from its copies.
pub(crate) struct Loaded {
    pub id: BatchId,
    pub len_bytes: u64,
    /// Copies that verify.
    pub holders: Vec<Holder>,
    /// Backends that list a copy, and did not answer when it was read: nothing can be said of those.
    pub unreachable: Vec<String>,
    /// By offset: the record, its body, and the inline blocks by copy.
    pub records: BTreeMap<u32, LoadedRecord>,
}

pub(crate) struct LoadedRecord {
    pub extent: Extent,
    pub record: Record,
    pub body: Bytes,
    pub inline: BTreeMap<u16, Bytes>,
}

/// Reads all copies of a batch.
pub(crate) async fn load_batch(core: &Core, id: BatchId, backends: &[String]) -> Loaded {
    let path = paths::batch(id);
    let path = &path;
    let copies = stream::iter(backends.to_vec()).map(|name| async move {
        let read = match core.admitted(&name) {
            Some(backend) => get_all(backend, path, MAX_RECORD_LEN).await,
            None => Err(Fault::unreachable("it is not admitted")),
        };
        (name, read)
    });
    let copies: Vec<_> = copies.buffered(16).collect().await;
    let mut out = Loaded { id, len_bytes: 0, holders: Vec::new(), unreachable: Vec::new(), records: BTreeMap::new() };
    for (name, read) in copies {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(fault) => {
                out.unreachable.extend((fault.kind == FaultKind::Unreachable).then_some(name));
                continue;
            }
        };
        let Ok((header, records)) = read_copy(&core.checksums, core.repository, id, &bytes) else { continue };
        if records.iter().any(|r| !matches!(r, Ok(r) if r.inline.is_ok())) {
            tracing::warn!(backend = name, batch = %id, "a manifest copy does not verify");
        }
        let whole = records.iter().all(|r| matches!(r, Ok(r) if r.inline.is_ok()));
        if whole {
            out.len_bytes = bytes.len() as u64;
            out.holders.push(Holder { backend: name, copy: header.copy, state: HolderState::Held });
        }
        for read in records.into_iter().flatten() {
            let slot = out.records.entry(read.extent.offset).or_insert_with(|| LoadedRecord {
                extent: read.extent,
                record: read.record,
                body: read.body,
                inline: BTreeMap::new(),
            });
            if let Ok(Some(block)) = read.inline {
                slot.inline.insert(header.copy, block);
            }
        }
    }
    out
}

impl Loaded {
    /// The greatest (k, m) of its records.
    fn scheme(&self, core: &Core) -> (usize, usize) {
        let default = core.config.scheme;
        let schemes = self.records.values().filter_map(|r| match &r.record {
            Record::Version(m) => m.scheme().map(|s| (s.k(), s.m())),
            _ => None,
        });
        schemes.max_by_key(|(k, m)| (k + m, *m)).unwrap_or((default.k(), default.m()))
    }

    /// The fewest copies that may have acknowledged it, under whatever ack margin it was written. A tombstone or a bucket
    /// does not say for which scheme it was written, so of those only the repository's margin is known.
    fn least_quorum(&self, core: &Core) -> usize {
        let schemes = self.records.values().filter_map(|r| match &r.record {
            Record::Version(manifest) => manifest.scheme(),
            _ => None,
        });
        schemes.map(|s| s.k().max(s.m() + 1)).max().unwrap_or_default().max(core.record_margin + 1)
    }

    /// The whole batch, inline shards rebuilt: any copy can be made from it.
    pub async fn image(&self, core: &Core) -> Result<BatchImage> {
        let mut records = Vec::new();
        for loaded in self.records.values() {
            records.push((loaded.body.to_vec(), self.inline_of(core, loaded)?));
        }
        let image =
            BatchImage::from_bodies(core.repository, self.id, records).map_err(|e| Error::internal(e.to_string()))?;
        let same = image.extents().eq(self.records.values().map(|r| r.extent));
        if !same || image.len_bytes() != self.len_bytes {
            return Err(Error::internal(format!("batch {} has records that no copy shows whole", self.id)));
        }
        Ok(image)
    }

    /// The inline shards of one of its records, the missing ones rebuilt; none where it has none.
    pub fn inline_of(&self, core: &Core, loaded: &LoadedRecord) -> Result<InlineShards> {
        let Record::Version(manifest) = &loaded.record else { return Ok(InlineShards::default()) };
        let Body::Inline(body) = &manifest.body else { return Ok(InlineShards::default()) };
        let n = body.scheme.n();
        let mut blocks: Vec<Option<Bytes>> = (0..n).map(|i| loaded.inline.get(&(i as u16)).cloned()).collect();
        if loaded.inline.len() < body.scheme.k() {
            return Err(Error::new(
                crate::error::ErrorKind::Unreadable,
                format!(
                    "{}/{} has {} of the {} shards it needs",
                    manifest.bucket,
                    manifest.key,
                    loaded.inline.len(),
                    body.scheme.k()
                ),
            ));
        }
        let missing: Vec<usize> = (0..n).filter(|i| blocks[*i].is_none()).collect();
        let block_len = loaded.inline.values().next().map_or(0, Bytes::len);
        if !missing.is_empty() {
            let coder = write::make_coder(core, body.scheme)?;
            let rebuilt = restore_blocks(&coder, &blocks, &missing, block_len)?;
            for (index, block) in missing.iter().zip(rebuilt) {
                blocks[*index] = Some(block);
            }
        }
        Ok(InlineShards { data_id: Some(body.data_id), blocks: blocks.into_iter().flatten().collect() })
    }

    fn located(&self) -> Vec<LocatedRecord> {
        let at = |r: &LoadedRecord| Located { batch: self.id, extent: r.extent };
        self.records.values().map(|r| LocatedRecord { record: r.record.clone(), at: at(r) }).collect()
    }
}

struct Recovery<'a> {
    core: &'a Arc<Core>,
    catalog: &'a dyn Catalog,
    /// Complete the copies of what too few backends hold.
    adopt: bool,
    /// Backends that could not be listed, or did not answer when something of a batch was looked at.
    unreachable: BTreeSet<String>,
    report: RebuildReport,
}

/// Brings a catalog up to date with the backends: reads the batches it does not know, from `from` on.
pub(crate) async fn catch_up(
    core: &Arc<Core>,
    catalog: &dyn Catalog,
    from: Option<BatchId>,
    adopt: bool,
    progress: &Progress,
) -> Result<RebuildReport> {
    let after = from.map(paths::batch);
    let listed = list_all(core, paths::manifests(), after, |meta| paths::parse_batch(&meta.location)).await;
    let mut batches: BTreeMap<BatchId, Vec<String>> = BTreeMap::new();
    for (backend, ids) in &listed.files {
        for id in ids {
            batches.entry(*id).or_default().push(backend.clone());
        }
    }
    progress.set_total(batches.len() as u64, 0);
    let unreachable = listed.unreachable.into_iter().collect();
    let mut recovery = Recovery { core, catalog, adopt, unreachable, report: RebuildReport::default() };
    for (id, backends) in batches {
        progress.check()?;
        if catalog.batch(id).await?.is_none() {
            recovery.take(id, &backends).await?;
        }
        progress.add(1, 0);
    }
    let mut report = recovery.report;
    report.certain = recovery.unreachable.len() <= core.record_margin;
    report.unreachable = recovery.unreachable.into_iter().collect();
    report.versions = catalog.counts().await?.versions;
    report.buckets = catalog.buckets().await?.len() as u64;
    Ok(report)
}

impl Recovery<'_> {
    async fn take(&mut self, id: BatchId, backends: &[String]) -> Result<()> {
        let mut loaded = load_batch(self.core, id, backends).await;
        self.report.batches += 1;
        self.report.records += loaded.records.len() as u64;
        self.unreachable.extend(loaded.unreachable.iter().cloned());
        for record in loaded.records.values() {
            // Garbage now, it may be adopted when more backends are back: what is written until then must be newer.
            self.core.env.observe_id(record.record.version().0);
        }
        let (k, m) = loaded.scheme(self.core);
        let (copies, quorum) = self.core.record_quorum(k, m);
        if loaded.holders.len() < quorum && !self.adopt_short(&mut loaded, copies, quorum).await? {
            // Until it is swept it is known as nobody's: a dead batch would be deleted at once.
            self.report.garbage += 1;
            tracing::warn!(batch = %id, copies = loaded.holders.len(), "a batch that was never acknowledged is garbage");
            return Ok(());
        }
        let row = BatchRow { id, len_bytes: loaded.len_bytes, copies: copies as u16, holders: loaded.holders.clone() };
        let commit = Commit { batch: row, records: loaded.located(), ledger: Vec::new() };
        self.catalog.commit(commit).await?;
        Ok(())
    }

    /// Whether a batch held by too few backends becomes visible all the same.
    async fn adopt_short(&mut self, loaded: &mut Loaded, copies: usize, quorum: usize) -> Result<bool> {
        if loaded.records.is_empty() {
            return Ok(false);
        }
        let good = self.has_good_shards(loaded).await;
        // Where shards are missing and no backend is, it was undone, or it is lost.
        let perhaps_acknowledged = loaded.holders.len() + self.unreachable.len() >= loaded.least_quorum(self.core)
            && (good || !self.unreachable.is_empty());
        if good && let Ok(image) = loaded.image(self.core).await {
            if self.adopt {
                complete(self.core, &image, loaded, copies).await;
            }
            if loaded.holders.len() >= quorum || !self.adopt {
                self.report.adopted += 1;
                return Ok(true);
            }
        }
        Ok(perhaps_acknowledged)
    }

    /// Whether every version in it has k good shards: seen by their sizes, inline ones by their checksums.
    async fn has_good_shards(&mut self, loaded: &Loaded) -> bool {
        for record in loaded.records.values() {
            let Record::Version(manifest) = &record.record else { continue };
            match &manifest.body {
                Body::None => {}
                Body::Inline(body) => {
                    if record.inline.len() < body.scheme.k() {
                        return false;
                    }
                }
                Body::Segments(body) => {
                    for view in body.views() {
                        if self.good_shards(&Piece::of_segment(&view)).await < view.scheme.scheme.k() {
                            return false;
                        }
                    }
                }
            }
        }
        true
    }

    async fn good_shards(&mut self, piece: &Piece) -> usize {
        let core = self.core;
        let expected = shard::HEADER_LEN as u64 + piece.layout.shard_body_len();
        let shards = stream::iter(piece.shards.iter().flatten().cloned()).map(|at| async move {
            let size = match core.admitted(&at.backend) {
                Some(backend) => size_of(backend, &at.path).await,
                None => Err(Fault { kind: FaultKind::Missing, detail: String::new() }),
            };
            (at.backend, size)
        });
        let mut good = 0;
        for (backend, size) in shards.buffer_unordered(32).collect::<Vec<_>>().await {
            match size {
                Ok(size) => good += usize::from(size == expected),
                Err(fault) if fault.kind == FaultKind::Unreachable => {
                    self.unreachable.insert(backend);
                }
                Err(_) => {}
            }
        }
        good
    }
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

/// Empties the catalog and rebuilds it from the backends alone.
pub(crate) async fn rebuild(core: &Arc<Core>, progress: &Progress) -> Result<RebuildReport> {
    let before = core.closed_reason();
    core.set_read_only(Some("the catalog is being rebuilt".into()));
    let result = async {
        core.catalog.clear().await?;
        core.catalog.set_value(REPOSITORY_ID, Some(core.repository.to_string())).await?;
        catch_up(core, core.catalog.as_ref(), None, !core.config.read_only, progress).await
    };
    let result = result.await;
    core.set_read_only(before);
    let report = result?;
    judge_certainty(core, &report);
    Ok(report)
}

/// Serves read-only while more backends are missing than a sure history allows.
pub(crate) fn judge_certainty(core: &Core, report: &RebuildReport) {
    if report.certain || core.config.accept_uncertain_history {
        core.set_uncertain(None);
        if !report.certain {
            tracing::error!(unreachable = ?report.unreachable, "the history is uncertain, and was accepted so");
        }
        return;
    }
    core.set_uncertain(Some(format!(
        "{} backends cannot be reached ({}), more than the {} that may be missing for the history to be sure; bring them back, or accept an uncertain history",
        report.unreachable.len(),
        report.unreachable.join(", "),
        core.record_margin,
    )));
}

/// Compares the catalog with what a rebuild would make of the backends; changes nothing.
pub(crate) async fn verify(core: &Arc<Core>, progress: &Progress) -> Result<VerifyReport> {
    let fresh = MemoryCatalog::default();
    let rebuilt = catch_up(core, &fresh, None, false, progress).await?;
    let (ours, theirs) = (all_versions(core.catalog.as_ref()).await?, all_versions(&fresh).await?);
    let mut differences = Vec::new();
    for (name, ours) in &ours {
        match theirs.get(name) {
            None => differences.push(format!("{}/{} version {} is not on the backends", name.0, name.1, name.2)),
            Some(theirs) if theirs != ours => {
                differences
                    .push(format!("{}/{} version {} is described otherwise on the backends", name.0, name.1, name.2));
            }
            Some(_) => {}
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        differences.push(format!("{}/{} version {} is not in the catalog", name.0, name.1, name.2));
    }
    Ok(VerifyReport { versions: ours.len() as u64, differences, unreachable: rebuilt.unreachable })
}

type VersionName = (String, String, crate::id::VersionId);

async fn all_versions(catalog: &dyn Catalog) -> Result<BTreeMap<VersionName, crate::format::manifest::Manifest>> {
    let mut out = BTreeMap::new();
    let mut after = None;
    loop {
        let page = catalog.versions_after(after.clone(), 1000).await?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
        for entry in page {
            let m = entry.manifest;
            out.insert((m.bucket.clone(), m.key.clone(), m.version), m);
        }
    }
}
