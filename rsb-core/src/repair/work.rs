//! The work of a repair: what is lost is rebuilt from k others, written, read back, and only then called healed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;

use crate::api::RepairReport;
use crate::catalog::{BucketRule, Entry, Holder, HolderState, LedgerItem, Precondition};
use crate::check::verify_shard;
use crate::core::Core;
use crate::env::Flaw;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{get_all, put};
use crate::format::batch::{InlineShards, MAX_RECORD_LEN};
use crate::format::manifest::{Body, Record, SegmentedBody};
use crate::format::paths;
use crate::format::shard::ShardHeader;
use crate::id::{BatchId, DataId};
use crate::moves::before_overwriting;
use crate::placement::two_on_one;
use crate::read::elsewhere::is_there;
use crate::read::hold_entry;
use crate::read::piece::{Piece, ShardAt};
use crate::read::stripes::{StripeReader, WINDOW, restore_blocks};
use crate::recover::{check_readable, is_in_doubt, load_enough};
use crate::stripe::CHECKSUM_LEN;
use crate::write::commit::{Committer, Pending};
use crate::write::compact::move_out;

/// Rebuilds lost shards of a segment, each at the backend it is given. What succeeded stays, whatever becomes of the rest.
pub(crate) async fn repair_shards(
    core: &Arc<Core>,
    committer: &Committer,
    data_id: DataId,
    write: &[(u16, String)],
    report: &mut RepairReport,
) -> Result<()> {
    // No sweep looks for what nothing names while a shard lies at a new place that is not named yet.
    let _together = core.moving.read().await;
    let referrers = core.catalog.referrers(data_id).await?;
    // What was deleted meanwhile needs no repair.
    let Some(entry) = referrers.first() else { return Ok(()) };
    let Some(held) = hold_entry(core, entry).await? else { return Ok(()) };
    let Some(piece) = held.pieces.into_iter().find(|p| p.data_id == data_id) else { return Ok(()) };
    if let Some((index, _)) = write.iter().find(|(index, _)| usize::from(*index) >= piece.shards.len()) {
        let n = piece.shards.len();
        let sentence = format!(
            "segment {data_id} has {n} shards and none with number {index}: the plan is not of it; make a new one"
        );
        return Err(Error::invalid(sentence));
    }
    let shard_len = piece.file_len();
    let _memory = core.write_memory.take(shard_len * write.len() as u64).await?;
    let files = rebuild_shards(core, &piece, write, entry, report).await?;
    let (mut done, mut first_error) = (Vec::new(), None);
    for ((index, name), payload) in write.iter().zip(files) {
        match write_and_read_back(core, &piece, (*index, name), payload, report).await {
            Ok(()) => done.push((*index, name.clone())),
            Err(error) => drop(first_error.get_or_insert(error)),
        }
    }
    // Each version's own view: of two that share the segment one may name the place already.
    let views: Vec<Piece> = Piece::views(&referrers, data_id).map(|(_, view)| view).collect();
    let moved = |(index, name): &(u16, String)| {
        let lies = |view: &Piece| view.shards.get(usize::from(*index)).cloned().flatten();
        views.iter().any(|view| lies(view).is_none_or(|old| old.backend != *name))
    };
    if done.iter().any(moved) && !core.env.has(Flaw::MovesSilently) {
        let mut failed = None;
        for entry in referrers {
            if let Err(error) = revise(core, committer, entry, &piece, &done).await {
                failed.get_or_insert(error);
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }
    report.shards_rebuilt += done.len() as u64;
    let items: Vec<LedgerItem> = done.iter().map(|(index, _)| LedgerItem::Shard { data_id, index: *index }).collect();
    core.catalog.ledger_remove(&items).await?;
    first_error.map_or(Ok(()), Err)
}

async fn write_and_read_back(
    core: &Arc<Core>,
    piece: &Piece,
    (index, name): (u16, &str),
    payload: PutPayload,
    report: &mut RepairReport,
) -> Result<()> {
    let backend = core.admitted(name).ok_or_else(|| away(name))?;
    let index = usize::from(index);
    let path = paths::shard(piece.data_id, index);
    let len = payload.content_length() as u64;
    put(backend, &path, payload).await.map_err(|f| failed("written", name, &f.detail))?;
    report.bytes_written += len;
    let mut there = piece.clone();
    there.shards[index] = Some(ShardAt::of_segment(name, piece.data_id, index));
    let read = verify_shard(core, &there, index, 0..there.layout.stripes()).await;
    report.bytes_read += read.map_err(|f| failed("read back", name, &f.detail))?;
    Ok(())
}

/// The files of lost shards, rebuilt from k others.
async fn rebuild_shards(
    core: &Arc<Core>,
    piece: &Piece,
    write: &[(u16, String)],
    entry: &Entry,
    report: &mut RepairReport,
) -> Result<Vec<PutPayload>> {
    let lost: Vec<usize> = write.iter().map(|(index, _)| usize::from(*index)).collect();
    let mut source = piece.clone();
    for index in &lost {
        source.shards[*index] = None;
    }
    let coder = crate::write::make_coder(core, piece.scheme)?;
    let symbol_len = coder.codec.symbol_len() as u32;
    let header = |index: usize| ShardHeader {
        repository: core.repository,
        data_id: piece.data_id,
        index: index as u16,
        scheme: piece.scheme,
        segment_len: piece.layout.len,
        symbol_len,
    };
    let mut files: Vec<Vec<Bytes>> =
        lost.iter().map(|index| vec![Bytes::copy_from_slice(&header(*index).encode())]).collect();
    let object = (entry.manifest.bucket.clone(), entry.manifest.key.clone());
    let ahead = (WINDOW as u64 + 2) * piece.layout.block_len(0) * (piece.scheme.k() as u64 + 1);
    let _memory = core.read_memory.take(ahead).await?;
    let mut reader = StripeReader::new(core, source, 0..piece.layout.len, object, &[]);
    while let Some((stripe, blocks)) = reader.next_blocks().await? {
        let block_len = piece.layout.block_len(stripe);
        report.bytes_read += (block_len + CHECKSUM_LEN as u64) * piece.scheme.k() as u64;
        let (coder, lost_here, data_id) = (coder.clone(), lost.clone(), piece.data_id);
        let work = move || {
            let rebuilt = restore_blocks(&coder, &blocks, &lost_here, block_len as usize)?;
            Ok::<_, Error>(
                lost_here
                    .iter()
                    .zip(rebuilt)
                    .map(|(index, block)| {
                        let sum = coder.checksums.block(data_id, *index, stripe, &block);
                        (BytesMut::from(&sum[..]).freeze(), block)
                    })
                    .collect::<Vec<_>>(),
            )
        };
        for (file, (sum, block)) in files.iter_mut().zip(core.env.compute(work).await?) {
            file.extend([sum, block]);
        }
    }
    Ok(files.into_iter().map(|chunks| chunks.into_iter().collect()).collect())
}

/// Writes a version's manifest anew, with shards of one segment placed elsewhere.
async fn revise(
    core: &Arc<Core>,
    committer: &Committer,
    entry: Entry,
    piece: &Piece,
    moves: &[(u16, String)],
) -> Result<()> {
    let data_id = piece.data_id;
    let m = &entry.manifest;
    let _revising = core.revising(&m.bucket, &m.key).await;
    // What was deleted meanwhile needs no revision.
    let Some(now) = core.catalog.entry(&m.bucket, &m.key, Some(m.version)).await? else { return Ok(()) };
    let mut manifest = now.manifest;
    let Body::Segments(old) = &manifest.body else { return Ok(()) };
    let mut body = SegmentedBody::default();
    let mut changed = false;
    let (mut k, mut m) = (core.config.scheme.k(), core.config.scheme.m());
    for view in old.views() {
        let mut backends = view.backends.clone();
        if view.data_id == data_id {
            let stays = place(&mut backends, moves);
            for (index, other) in stays {
                // Where it names a place of its own, and the shard lies there, nothing is to be changed.
                if !is_there(core, piece, index, backends[index]).await {
                    return Err(two_on_one(backends[other], other, index));
                }
            }
            changed |= backends != view.backends;
        }
        (k, m) = (view.scheme.scheme.k(), view.scheme.scheme.m());
        body.push(view.data_id, view.len, view.scheme, &backends);
    }
    if !changed {
        return Ok(());
    }
    manifest.body = Body::Segments(body);
    check_readable(core, &manifest).await?;
    manifest.revision += 1;
    let pending = Pending {
        bucket: manifest.bucket.clone(),
        key: manifest.key.clone(),
        precondition: Precondition::None,
        bucket_rule: BucketRule::Any,
        keeps_id: true,
        k,
        m,
        inline: InlineShards::default(),
        make: Box::new(move |_| Record::Version(manifest)),
        ledger: Vec::new(),
        hold: None,
        completes: None,
    };
    committer.commit(pending).await?;
    Ok(())
}

/// Puts shards at their new places, but where two would come to lie on one backend: those it gives, each with the other one.
fn place<'n>(backends: &mut [&'n str], moves: &'n [(u16, String)]) -> Vec<(usize, usize)> {
    let old = backends.to_vec();
    let mut moves: Vec<(usize, &str)> =
        moves.iter().map(|(index, name)| (usize::from(*index), name.as_str())).collect();
    moves.iter().for_each(|(index, name)| backends[*index] = name);
    let mut stays = Vec::new();
    loop {
        let taken = |(index, name): &(usize, &str)| {
            backends.iter().enumerate().position(|(other, holder)| other != *index && holder == name)
        };
        let Some((at, other)) = moves.iter().enumerate().find_map(|(at, one)| Some((at, taken(one)?))) else {
            return stays;
        };
        let (index, _) = moves.remove(at);
        backends[index] = old[index];
        stays.push((index, other));
    }
}

/// Rebuilds lost copies of a batch, each at the backend it is given.
pub(crate) async fn repair_copies(
    core: &Arc<Core>,
    committer: &Committer,
    batch: BatchId,
    write: &[(u16, String)],
    report: &mut RepairReport,
) -> Result<()> {
    let whole = core.hold_whole().await?;
    // Nobody removes the batch meanwhile, and nobody else changes who holds it.
    let Some(_lease) = core.leases.take([batch.0]) else { return Ok(()) };
    let changing = core.changing_batch(batch).await;
    let Some(row) = core.catalog.batch(batch).await? else { return Ok(()) };
    check_live_readable(core, batch).await?;
    let backends: Vec<String> =
        row.holders.iter().filter(|h| h.state == HolderState::Held).map(|h| h.backend.clone()).collect();
    // A copy that is to be written anew is no source.
    let sources = backends.into_iter().filter(|name| !write.iter().any(|(_, target)| target == name)).collect();
    let (loaded, read) = load_enough(core, &row, sources).await;
    report.bytes_read += row.len_bytes * read;
    let image = match loaded.image_of_known(core).await {
        Ok(image) => image,
        // A record that lies in it and is dead has lost its shards, or one that was passed over has never had enough copies, so
        // no more can be made: what lives is written anew.
        Err(error) if error.kind() == ErrorKind::Unreadable => {
            let rows = core.catalog.records_of(batch).await?;
            // Whoever waits for a commit holds neither.
            drop((whole, changing));
            return if move_out(core, committer, &row, &rows).await? { Ok(()) } else { Err(error) };
        }
        Err(error) => return Err(error),
    };
    let mut holders: BTreeMap<(String, u16), Holder> =
        row.holders.into_iter().map(|h| ((h.backend.clone(), h.copy), h)).collect();
    let mut first_error = None;
    for (copy, name) in write {
        let holds: Vec<Holder> = holders.values().filter(|h| h.copy != *copy).cloned().collect();
        before_overwriting(core, &holds, name).await?;
        let payload = image.copy(&core.checksums, *copy);
        // What succeeds stays, whatever becomes of the rest.
        if let Err(error) = write_copy(core, batch, name, payload, report).await {
            first_error.get_or_insert(error);
            continue;
        }
        for holder in holders.values_mut().filter(|h| h.copy == *copy) {
            holder.state = HolderState::Doubtful;
        }
        holders.retain(|(backend, _), _| backend != name);
        let holder = Holder { backend: name.clone(), copy: *copy, state: HolderState::Held };
        holders.insert((name.clone(), *copy), holder);
        core.catalog.set_holders(batch, holders.values().cloned().collect()).await?;
        core.catalog.ledger_remove(&[LedgerItem::Copy { batch, copy: *copy }]).await?;
        report.copies_rebuilt += 1;
    }
    first_error.map_or(Ok(()), Err)
}

/// Refuses a batch with a live record in doubt whose shards are not seen. With the copies that it lacks it would pass for
/// acknowledged, and what it seems to have replaced would go for what cannot be read.
pub(super) async fn check_live_readable(core: &Core, batch: BatchId) -> Result<()> {
    if !is_in_doubt(core).await? {
        return Ok(());
    }
    for row in core.catalog.records_of(batch).await?.into_iter().filter(|row| row.live) {
        let entry = core.catalog.entry(&row.bucket, &row.key, Some(row.version)).await?;
        if let Some(entry) = entry.filter(|entry| entry.at.batch == batch) {
            check_readable(core, &entry.manifest).await?;
        }
    }
    Ok(())
}

/// Writes a copy of a batch, and reads it back.
async fn write_copy(core: &Core, batch: BatchId, name: &str, bytes: Bytes, report: &mut RepairReport) -> Result<()> {
    let backend = core.admitted(name).ok_or_else(|| away(name))?;
    let path = paths::batch(batch);
    let payload = PutPayload::from_bytes(bytes.clone());
    put(backend, &path, payload).await.map_err(|f| failed("written", name, &f.detail))?;
    report.bytes_written += bytes.len() as u64;
    let back = get_all(backend, &path, MAX_RECORD_LEN).await.map_err(|f| failed("read back", name, &f.detail))?;
    report.bytes_read += back.len() as u64;
    if back != bytes {
        return Err(failed("read back", name, "it is not what was written"));
    }
    Ok(())
}

fn away(name: &str) -> Error {
    Error::unavailable(format!("backend {name:?} cannot be reached; repair again when it is back")).backends([name])
}

fn failed(what: &str, name: &str, detail: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("what was rebuilt could not be {what} on backend {name:?}: {detail}"))
        .backends([name])
}
