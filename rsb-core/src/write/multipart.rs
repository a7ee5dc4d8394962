//! An object in parts. A part is segments from the start: its shards are durable when it is acknowledged, and completing
//! an upload writes a manifest that points at them, and moves no bytes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use md5::Digest as _;

use super::commit::{Committer, Pending};
use super::upload::Upload;
use super::{Counted, Description, cleanup, info_of, make_coder};
use crate::api::{BodyStream, ExpireUploads, Finish, ObjectInfo, PartRequest, PutRequest};
use crate::catalog::{BucketRule, Completed, LedgerEntry, PartRow, UploadRow, refusal};
use crate::core::{Arriving, Core};
use crate::error::{Error, ErrorKind, Result};
use crate::files::{FaultKind, size_of};
use crate::format::batch::InlineShards;
use crate::format::manifest::{Body, Etag, Manifest, Record, SegmentView, SegmentedBody};
use crate::format::parts::{MAX_PARTS, Parts};
use crate::format::paths;
use crate::id::UploadId;
use crate::object_lock::ObjectLock;
use crate::scheme::Scheme;

/// An upload that is open, of this key.
pub(crate) async fn open(core: &Core, bucket: &str, key: &str, id: UploadId) -> Result<UploadRow> {
    let row = known(core, bucket, key, id).await?;
    if row.completed.is_some() { Err(refusal::no_upload(id)) } else { Ok(row) }
}

/// An upload of this key, open or completed.
pub(crate) async fn known(core: &Core, bucket: &str, key: &str, id: UploadId) -> Result<UploadRow> {
    let found = core.catalog.upload(id).await?;
    found.filter(|row| row.bucket == bucket && row.key == key).ok_or_else(|| refusal::no_upload(id))
}

/// How the parts of an upload are coded.
pub(crate) fn scheme(core: &Core, upload: &UploadRow) -> Result<Scheme> {
    let default = core.config.scheme;
    let (k, m) = (usize::from(upload.data_shards), usize::from(upload.parity_shards));
    Scheme::new(k, m, default.codec_id(), default.block_size)
}

/// Writes one part.
pub(crate) async fn put_part(core: &Arc<Core>, request: PartRequest, body: BodyStream) -> Result<PartRow> {
    core.check_writable()?;
    check_number(request.number)?;
    let row = open(core, &request.bucket, &request.key, request.upload).await?;
    let coder = make_coder(core, scheme(core, &row)?)?;
    let put = PutRequest {
        bucket: request.bucket.clone(),
        key: request.key.clone(),
        len: request.len,
        ..PutRequest::default()
    };
    let mut body = Counted { stream: body, expected: request.len, seen: 0 };
    let mut upload = Upload::new(core, coder, &put);
    while let Some(bytes) = body.next().await? {
        upload.take(bytes).await?;
    }
    let (core, size) = (core.clone(), body.seen);
    let hold = upload.take_hold();
    let keep = move |etag, body, ledger| async move {
        let checksum = request.checksum.get();
        let part = PartRow { number: request.number, size, etag, modified_ms: core.env.now_ms(), body, checksum };
        keep_part(&core, request.upload, part, ledger, hold).await
    };
    upload.finish_part(keep).await
}

pub(crate) fn check_number(number: u16) -> Result<()> {
    if (1..=MAX_PARTS).contains(&number) {
        return Ok(());
    }
    Err(Error::invalid(format!("part number {number} is not from 1 to {MAX_PARTS}")))
}

/// Makes a part known whose shards are durable, and removes what it replaces.
pub(crate) async fn keep_part(
    core: &Arc<Core>,
    id: UploadId,
    part: PartRow,
    ledger: Vec<LedgerEntry>,
    hold: Option<Arriving>,
) -> Result<PartRow> {
    let _changing = core.changing_upload(id).await;
    let replaced = core.catalog.put_part(id, part.clone(), ledger).await?;
    drop(hold);
    discard(core, id, replaced.into_iter().collect());
    Ok(part)
}

/// Removes parts that an upload does not have any more.
fn discard(core: &Arc<Core>, id: UploadId, parts: Vec<PartRow>) {
    // A record that is durable, and that the catalog does not know, may name them: then the sweep decides.
    if !core.is_doubtful_upload(id) {
        cleanup::parts(core, parts);
    }
}

/// Makes an object of an upload's parts. The caller holds the upload ([`Core::changing_upload`]) and gives all its parts.
pub(crate) async fn complete(
    core: &Arc<Core>,
    committer: &Committer,
    upload: UploadRow,
    parts: Vec<PartRow>,
    finish: Finish,
) -> Result<ObjectInfo> {
    core.check_writable()?;
    let id = upload.id;
    let wanted: BTreeSet<u16> = finish.numbers.iter().copied().collect();
    let (parts, left_out): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| wanted.contains(&part.number));
    if parts.is_empty() || parts.len() != finish.numbers.len() {
        return Err(Error::invalid("the list names a part that was not written, or none, or one twice"));
    }
    if let Some(done) = committed_before(core, &upload, &finish).await? {
        cleanup::parts(core, left_out);
        return Ok(done);
    }
    if core.is_upload_unsure(upload.created_ms) {
        see_parts(core, &parts).await?;
    }
    let manifest = describe(core, upload.clone(), &parts, &finish)?;
    let scheme = scheme(core, &upload)?;
    let pending = Pending {
        bucket: upload.bucket,
        key: upload.key,
        precondition: finish.precondition,
        bucket_rule: BucketRule::Exists,
        keeps_id: false,
        k: scheme.k(),
        m: scheme.m(),
        inline: InlineShards::default(),
        make: Box::new(manifest),
        ledger: Vec::new(),
        hold: None,
        completes: Some((id, finish.list)),
    };
    match committer.commit(pending).await {
        Ok(done) => {
            cleanup::parts(core, left_out);
            info_of(done, 0)
        }
        Err(failed) => {
            if failed.may_be_durable {
                core.doubt_upload(id);
            }
            Err(failed.into())
        }
    }
}

/// Segments whose shards are looked for at once.
const LOOKS: usize = 8;

/// Looks whether the parts' shards are there. Their rows are no proof after a power cut: it may have taken back that they
/// were removed. `Invalid` where fewer can be there than a part is acknowledged with.
async fn see_parts<'p>(core: &Core, parts: &'p [PartRow]) -> Result<()> {
    let numbered = |part: &'p PartRow| part.body.views().map(|segment| (part.number, segment)).collect::<Vec<_>>();
    let segments: Vec<(u16, SegmentView<'p>)> = parts.iter().flat_map(numbered).collect();
    for some in segments.chunks(LOOKS) {
        let there = join_all(some.iter().map(|(_, segment)| is_segment_there(core, segment))).await;
        if let Some(((number, _), _)) = some.iter().zip(there).find(|(_, there)| !there) {
            return Err(Error::invalid(format!(
                "part {number} is not on the backends any more: it was removed before the catalog was set back by an unclean stop; send it again"
            )));
        }
    }
    Ok(())
}

/// Whether as many shards of a segment can be there as it is acknowledged with.
async fn is_segment_there(core: &Core, segment: &SegmentView<'_>) -> bool {
    let looks = segment.backends.iter().enumerate().map(|(index, name)| async move {
        let Some(backend) = core.admitted(name) else { return true };
        let seen = size_of(backend, &paths::shard(segment.data_id, index)).await;
        // Whoever does not answer may have it.
        !matches!(seen, Err(fault) if fault.kind == FaultKind::Missing)
    });
    let there = join_all(looks).await.into_iter().filter(|there| *there).count();
    let scheme = segment.scheme.scheme;
    there >= core.ack_count(scheme.k(), scheme.m())
}

/// The object, where the record was adopted after a crash and only the upload's end is not known.
async fn committed_before(core: &Core, upload: &UploadRow, finish: &Finish) -> Result<Option<ObjectInfo>> {
    let Some(entry) = core.catalog.entry(&upload.bucket, &upload.key, None).await? else { return Ok(None) };
    let made_by = entry.manifest.parts.as_ref().map(|parts| parts.upload);
    if made_by != Some(upload.id) {
        return Ok(None);
    }
    let manifest = Manifest { body: Body::None, parts: None, ..entry.manifest.clone() };
    core.catalog.forget_upload(upload.id).await?;
    let completed = Some(Completed { list: finish.list, manifest });
    core.catalog.begin_upload(UploadRow { completed, ..upload.clone() }).await?;
    Ok(Some(ObjectInfo { manifest: Arc::new(entry.manifest), short: 0 }))
}

/// What makes the record of the object.
fn describe(
    core: &Core,
    upload: UploadRow,
    parts: &[PartRow],
    finish: &Finish,
) -> Result<impl FnOnce(&crate::catalog::Reserved) -> Record + Send + use<>> {
    let mut body = SegmentedBody::default();
    let mut tags = md5::Md5::new();
    let mut checksums = Vec::new();
    for part in parts {
        for view in part.body.views() {
            body.push(view.data_id, view.len, view.scheme, &view.backends);
        }
        let (Etag::Md5(tag) | Etag::Fast(tag) | Etag::Multipart(tag, _)) = &part.etag;
        tags.update(tag);
        checksums.extend(part.checksum.iter().flat_map(|sum| sum.value.iter().copied()));
    }
    let sizes: Vec<(u16, u64)> = parts.iter().map(|part| (part.number, part.size)).collect();
    let size = sizes
        .iter()
        .try_fold(0u64, |sum, (_, len)| sum.checked_add(*len))
        .ok_or_else(|| Error::invalid("the parts have more bytes together than an object can have"))?;
    let with_checksums = finish.checksum.is_some() && parts.iter().all(|part| part.checksum.is_some());
    let parts = Parts::new(upload.id, &sizes, if with_checksums { checksums } else { Vec::new() });
    let etag = Etag::Multipart(tags.finalize().into(), sizes.len() as u32);
    let checksum = finish.checksum.clone();
    let request = PutRequest {
        bucket: upload.bucket,
        key: upload.key,
        attributes: upload.attributes,
        metadata: upload.metadata,
        tags: upload.tags,
        lock: ObjectLock::read(&upload.extra),
        ..PutRequest::default()
    };
    let description = Description { request, now_ms: core.env.now_ms(), size, etag, run_digests: None };
    Ok(move |reserved: &crate::catalog::Reserved| {
        let manifest = description.manifest(reserved, Body::Segments(body));
        Record::Version(Manifest { parts: Some(parts), checksum, ..manifest })
    })
}

/// Forgets an upload, and removes its parts.
pub(crate) async fn abort(core: &Arc<Core>, id: UploadId) -> Result<()> {
    let _changing = core.changing_upload(id).await;
    let parts = core.catalog.forget_upload(id).await?;
    discard(core, id, parts);
    Ok(())
}

/// Aborts open uploads, and forgets completed ones, that are over. Gives how many there were.
pub(crate) async fn expire_those(core: &Arc<Core>, which: &ExpireUploads, dry_run: bool) -> Result<u64> {
    end_those(core, which, true, dry_run).await
}

/// The same, but leaves completed ones.
pub(crate) async fn abort_those(core: &Arc<Core>, which: &ExpireUploads, dry_run: bool) -> Result<u64> {
    end_those(core, which, false, dry_run).await
}

async fn end_those(core: &Arc<Core>, which: &ExpireUploads, completed: bool, dry_run: bool) -> Result<u64> {
    let mut expired = 0;
    let mut after = None;
    loop {
        let page = core.catalog.uploads_after(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(expired) };
        after = Some(last.id);
        for row in page.into_iter().filter(|row| completed || row.completed.is_none()) {
            let of_bucket = which.bucket.as_ref().is_none_or(|bucket| *bucket == row.bucket);
            let since_ms = row.completed.as_ref().map_or(row.created_ms, |done| done.manifest.modified_ms);
            if of_bucket && row.key.starts_with(&which.prefix) && since_ms < which.before_ms {
                expired += 1;
                if !dry_run {
                    tracing::info!(object = %format!("{}/{}", row.bucket, row.key), upload = %row.id,
                        completed = row.completed.is_some(), "a multipart upload expired");
                    abort(core, row.id).await?;
                }
            }
        }
    }
}

/// Expires what the config lets expire.
pub(crate) async fn expire(core: &Arc<Core>, dry_run: bool) -> Result<u64> {
    let age = core.config.multipart_expiry;
    if age.is_zero() {
        return Ok(0);
    }
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    let before_ms = core.env.now_ms().saturating_sub(age_ms);
    expire_those(core, &ExpireUploads { bucket: None, prefix: String::new(), before_ms }, dry_run).await
}

/// How often it is looked for expired uploads.
const EXPIRE_EVERY: Duration = Duration::from_secs(3600);

/// Expires uploads until the repository is closed or let go of.
pub(crate) fn start_expiry(core: &Arc<Core>) {
    let (weak, closing) = (Arc::downgrade(core), core.closing.clone());
    core.tasks.spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = tokio::time::sleep(EXPIRE_EVERY) => {}
            }
            let Some(core) = weak.upgrade() else { return };
            if core.read_only_reason().is_some() {
                continue;
            }
            match expire(&core, false).await {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ReadOnly => {}
                Err(error) => {
                    tracing::warn!(%error, "expired multipart uploads could not be aborted; the next hour again")
                }
            }
        }
    });
}
