//! Objects get another k and m: each segment is read, coded anew under a data id of its own, and named by the next revision of
//! every version in the scope that points at it. One segment at a time is in memory. What it was before is removed as after
//! any newer revision.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use super::segments::{Versions, holders};
use super::{Mover, REVISIONS};
use crate::api::Scope;
use crate::catalog::{Entry, LedgerEntry, LedgerItem, LedgerReason};
use crate::core::Core;
use crate::error::{ErrorKind, Result};
use crate::format::manifest::{Body, InlineBody, Manifest, SegmentScheme, SegmentedBody};
use crate::format::shard::HEADER_LEN;
use crate::id::{DataId, VersionId};
use crate::read::piece::Piece;
use crate::read::{hold, stream_pieces};
use crate::scheme::Scheme;
use crate::stripe::{CHECKSUM_LEN, Layout};
use crate::write::encode::{Coder, SegmentEncoder};
use crate::write::revise::revise;
use crate::write::upload::write_segment;
use crate::write::{make_coder, scheme};

/// Segments of an object that are coded anew before its manifest is revised.
const SEGMENTS: usize = 64;

/// A segment that was coded anew.
struct Recoded {
    data_id: DataId,
    len: u64,
    scheme: SegmentScheme,
    backends: Vec<String>,
}

/// Whether a scheme is another than is asked for. Codec and block size alone are no reason.
fn differs(now: &Scheme, wanted: &Scheme) -> bool {
    (now.k(), now.m()) != (wanted.k(), wanted.m())
}

/// The segments of a version that are coded otherwise than asked for, or the whole of a small object.
pub(super) fn to_recode(entry: &Entry, wanted: &Scheme) -> Vec<Piece> {
    match &entry.manifest.body {
        Body::None => Vec::new(),
        Body::Inline(_) => Vec::new(),
        Body::Segments(_) => {
            Piece::of_entry(entry, None).into_iter().filter(|piece| differs(&piece.scheme, wanted)).collect()
        }
    }
}

/// Whether it is a small object that is coded otherwise than asked for.
pub(super) fn inline_differs(entry: &Entry, wanted: &Scheme) -> bool {
    matches!(&entry.manifest.body, Body::Inline(body) if differs(&body.scheme, wanted))
}

/// The scheme that is asked for, which the backends must be able to hold.
pub(super) fn wanted(core: &Core, k: usize, m: usize) -> Result<Scheme> {
    scheme(core, Some(k), Some(m))
}

pub(super) async fn run(mover: &Mover<'_>, scope: &Scope, k: usize, m: usize) -> Result<()> {
    let core = mover.core;
    let coder = make_coder(core, wanted(core, k, m)?)?;
    mover.note(|report| (report.failures, report.failed) = (0, Vec::new()));
    let mut versions = Versions::of(core);
    while let Some(page) = versions.next().await? {
        let page: Vec<Entry> = page.into_iter().filter(|e| scope.has(&e.manifest.bucket, &e.manifest.key)).collect();
        let small = page.iter().filter(|entry| inline_differs(entry, &coder.scheme));
        let small: Vec<_> = small.map(|entry| mover.recode_inline(entry, &coder)).collect();
        let mut small = stream::iter(small).buffer_unordered(REVISIONS);
        while let Some(done) = small.next().await {
            done?;
        }
        for entry in &page {
            mover.recode_version(entry, scope, &coder).await?;
        }
    }
    Ok(())
}

impl Mover<'_> {
    async fn recode_inline(&self, entry: &Entry, coder: &Coder) -> Result<()> {
        self.progress.ready().await?;
        let (m, core) = (&entry.manifest, self.core);
        self.throttle.take(2 * m.size, self.progress).await?;
        let change = |manifest: &mut Manifest| {
            if matches!(&manifest.body, Body::Inline(body) if differs(&body.scheme, &coder.scheme)) {
                let symbol_len = coder.codec.symbol_len() as u32;
                let data_id = DataId(core.env.new_id());
                manifest.body = Body::Inline(InlineBody { scheme: coder.scheme, data_id, symbol_len });
                manifest.run_digests = None;
            }
            Ok(())
        };
        match revise(core, self.committer, (&m.bucket, &m.key), Some(m.version), change).await {
            Ok(_) => {
                self.note(|report| {
                    report.versions += 1;
                    report.copies += coder.scheme.n() as u64;
                });
                self.progress.add(coder.scheme.n() as u64, 2 * m.size);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => self.failed(format!("{}/{}: {}", m.bucket, m.key, error.message())),
        }
        Ok(())
    }

    async fn recode_version(&self, entry: &Entry, scope: &Scope, coder: &Coder) -> Result<()> {
        let m = &entry.manifest;
        // The reference decoder puts segments in the order of their ids. So ids are given in order, from the first to the
        // last, and the last are coded first: at every moment the old ids before them are smaller.
        let ids: Vec<(DataId, DataId)> = to_recode(entry, &coder.scheme)
            .into_iter()
            .map(|piece| (piece.data_id, DataId(self.core.env.new_id())))
            .collect();
        let _arriving = ids.first().map(|(_, id)| self.core.arriving(*id));
        for chunk in ids.rchunks(SEGMENTS) {
            match self.recode_chunk(entry, chunk, scope, coder).await {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => {
                    self.failed(format!("{}/{}: {}", m.bucket, m.key, error.message()));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Codes segments anew that the version still has: each with the id that it gets. `NotFound` where it was deleted.
    async fn recode_chunk(
        &self,
        entry: &Entry,
        chunk: &[(DataId, DataId)],
        scope: &Scope,
        coder: &Coder,
    ) -> Result<()> {
        let core = self.core;
        let _together = core.moving.read().await;
        let object = (entry.manifest.bucket.clone(), entry.manifest.key.clone());
        // As it is now: each chunk describes it anew, and others may.
        let held = hold(core, &object.0, &object.1, Some(entry.manifest.version)).await?;
        // Between one version and the next that is to name it, what was coded anew may be named by nobody: the one was deleted.
        let new = core.leases.take(chunk.iter().map(|(_, id)| id.0));
        // What a copy shares with it may have been coded anew since the page was read.
        let jobs = chunk.iter().filter_map(|(old, id)| {
            let piece = held.pieces.iter().find(|piece| piece.data_id == *old)?;
            Some(self.recode_segment(piece, *id, &object, coder))
        });
        let recoded = stream::iter(jobs.collect::<Vec<_>>()).buffer_unordered(self.parallel);
        let recoded: BTreeMap<DataId, Recoded> = recoded.try_collect().await?;
        let mut versions: BTreeMap<(String, String, VersionId), ()> = BTreeMap::new();
        for id in recoded.keys() {
            let referrers = core.catalog.referrers(*id).await?.into_iter().map(|entry| entry.manifest);
            let inside = referrers.filter(|m| scope.has(&m.bucket, &m.key));
            versions.extend(inside.map(|m| ((m.bucket, m.key, m.version), ())));
        }
        for (bucket, key, version) in versions.into_keys() {
            let change = |manifest: &mut Manifest| {
                name_recoded(manifest, &recoded);
                Ok(())
            };
            match revise(core, self.committer, (&bucket, &key), Some(version), change).await {
                Ok(_) => self.note(|report| report.versions += 1),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.failed(format!("{bucket}/{key}: {}", error.message())),
            }
        }
        drop((held, new));
        Ok(())
    }

    /// Codes one segment anew. Gives its old id, and what it is now.
    async fn recode_segment(
        &self,
        piece: &Piece,
        data_id: DataId,
        object: &(String, String),
        coder: &Coder,
    ) -> Result<(DataId, Recoded)> {
        self.progress.ready().await?;
        let core = self.core;
        let len = piece.layout.len;
        let layout = Layout::new(&coder.scheme, coder.codec.symbol_len(), len);
        let buffer = layout.stripes() * (layout.block_len(0) + CHECKSUM_LEN as u64) * coder.scheme.n() as u64;
        self.throttle.take(len + buffer, self.progress).await?;
        let range = piece.start..piece.start + len;
        let mut stream = stream_pieces(core, vec![piece.clone()], range, object.clone(), None, Vec::new());
        // Memory of reads before that of writes, as a copy takes them, so that neither waits for the other.
        let mut next: Option<Bytes> = stream.try_next().await?;
        let memory = core.write_memory.take(buffer).await?;
        let mut encoder = SegmentEncoder::new(core.env.clone(), coder.clone(), core.repository, data_id);
        while let Some(bytes) = next {
            encoder.push(bytes).await?;
            next = stream.try_next().await?;
        }
        piece.shards.iter().flatten().take(piece.scheme.k()).for_each(|at| {
            self.meter.read(&at.backend, 1, piece.file_len());
        });
        let segment = encoder.finish().await?;
        let written = write_segment(core, coder.scheme, segment, data_id.0.as_u64_pair().1).await;
        drop(memory);
        let scattered = written.map_err(|failed| failed.error)?.scattered;
        let backends: Vec<String> = scattered.placed.iter().map(|placed| placed.backend.clone()).collect();
        let short = scattered.short().map(|index| LedgerEntry {
            item: LedgerItem::Shard { data_id, index: index as u16 },
            backend: backends[index].clone(),
            bucket: object.0.clone(),
            key: object.1.clone(),
            reason: LedgerReason::NotWritten,
            noted_ms: core.env.now_ms(),
        });
        let short: Vec<LedgerEntry> = short.collect();
        if !short.is_empty() {
            core.catalog.ledger_add(short).await?;
        }
        let (new, old) = (HEADER_LEN as u64 + layout.shard_body_len(), piece.file_len());
        backends.iter().for_each(|name| self.meter.write(name, new));
        holders(piece).into_iter().for_each(|name| self.meter.freed(name, old, piece.data_id.unix_ms()));
        self.note(|report| report.shards += backends.len() as u64);
        self.progress.add(backends.len() as u64, len + buffer);
        let scheme = SegmentScheme { scheme: coder.scheme, symbol_len: coder.codec.symbol_len() as u32 };
        Ok((piece.data_id, Recoded { data_id, len, scheme, backends }))
    }
}

/// Puts the segments that were coded anew in a manifest in place of what they were before.
fn name_recoded(manifest: &mut Manifest, recoded: &BTreeMap<DataId, Recoded>) {
    let Body::Segments(old) = &manifest.body else { return };
    if !old.segments.iter().any(|segment| recoded.contains_key(&segment.data_id)) {
        return;
    }
    let mut body = SegmentedBody::default();
    for view in old.views() {
        match recoded.get(&view.data_id) {
            Some(new) => {
                let backends: Vec<&str> = new.backends.iter().map(String::as_str).collect();
                body.push(new.data_id, new.len, new.scheme, &backends);
            }
            None => body.push(view.data_id, view.len, view.scheme, &view.backends),
        }
    }
    manifest.body = Body::Segments(body);
    // They are those of the runs of another k.
    manifest.run_digests = None;
}
