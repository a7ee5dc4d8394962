//! Writing: body → segments → stripes → shards on backends → a record in a batch → the catalog → the reply.
//!
//! Order to read: [`encode`] (bytes to shards), [`scatter`] (shards to backends), this file (one upload), [`commit`]
//! (records to batches), [`mod@revise`], [`cleanup`] (what is left behind), [`digest`], [`multipart`] (an object in parts).

pub(crate) mod cleanup;
pub(crate) mod commit;
pub(crate) mod compact;
pub(crate) mod digest;
pub(crate) mod encode;
pub(crate) mod multipart;
pub(crate) mod revise;
pub(crate) mod scatter;
pub(crate) mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use self::commit::{Committer, Pending};
use self::digest::RunDigests;
use self::encode::Coder;
use self::upload::Upload;
use crate::api::{BodyStream, EtagMode, ObjectInfo, PutRequest};
use crate::catalog::{BucketRule, Reserved};
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::format::batch::InlineShards;
use crate::format::manifest::{Body, Digest, Etag, InlineBody, Manifest, Record, Versions};
use crate::id::DataId;
use crate::names;
use crate::placement;
use crate::scheme::Scheme;
use crate::stripe::Layout;

/// Writes one object.
pub(crate) async fn put(
    core: &Arc<Core>,
    committer: &Committer,
    request: PutRequest,
    body: BodyStream,
) -> Result<ObjectInfo> {
    core.check_writable()?;
    check_request(&request)?;
    let coder = coder(core, &request)?;
    check_target(core, &request).await?;
    let mut body = Counted { stream: body, expected: request.len, seen: 0 };
    let (head, ended) = body.head(core.config.inline_limit).await?;
    if ended {
        return put_inline(core, committer, request, coder, head).await;
    }
    let mut upload = Upload::new(core, coder, &request);
    upload.take(head).await?;
    while let Some(bytes) = body.next().await? {
        upload.take(bytes).await?;
    }
    upload.finish(committer, request, body.seen).await
}

fn check_request(request: &PutRequest) -> Result<()> {
    names::check_bucket(&request.bucket)?;
    names::check_key(&request.key)?;
    let said = [&request.attributes, &request.metadata, &request.tags];
    names::check_metadata(&request.bucket, &request.key, said)
}

/// What is needed to encode with the scheme of the request: the repository's, or its own.
fn coder(core: &Core, request: &PutRequest) -> Result<Coder> {
    let scheme = scheme(core, request.data_shards, request.parity_shards)
        .map_err(|e| Error::invalid(e.message()).object(format!("{}/{}", request.bucket, request.key)))?;
    make_coder(core, scheme)
}

/// The repository's scheme, or one with another k and m, which must be provable.
pub(crate) fn scheme(core: &Core, k: Option<usize>, m: Option<usize>) -> Result<Scheme> {
    let default = core.config.scheme;
    let (k, m) = (k.unwrap_or(default.k()), m.unwrap_or(default.m()));
    let scheme = Scheme::new(k, m, default.codec_id(), default.block_size)?;
    if scheme != default {
        placement::prove(&core.backends, &core.config.spread, k, m)?;
    }
    Ok(scheme)
}

/// Checks what a write asks for, apart from whether its bucket exists. Gives its scheme.
pub(crate) fn check(core: &Core, request: &PutRequest) -> Result<Scheme> {
    check_request(request)?;
    Ok(coder(core, request)?.scheme)
}

/// What is needed to encode with a scheme.
pub(crate) fn make_coder(core: &Core, scheme: Scheme) -> Result<Coder> {
    let codec = core.codecs.get(scheme.codec_id())?.clone();
    Ok(Coder { scheme, shape: scheme.shape()?, codec, checksums: core.checksums.clone() })
}

/// Refuses before the body is read what the reservation would refuse after it.
async fn check_target(core: &Core, request: &PutRequest) -> Result<()> {
    let name = || format!("{}/{}", request.bucket, request.key);
    let bucket = core.catalog.bucket(&request.bucket).await?;
    core.check_catalog_whole()?;
    let Some(bucket) = bucket else {
        return Err(Error::not_found(format!("bucket {:?} does not exist; create it first", request.bucket))
            .object(request.bucket.clone()));
    };
    request.lock.check_new(&bucket, core.env.now_ms())?;
    if !request.precondition.is_none() {
        let entry = core.catalog.entry(&request.bucket, &request.key, None).await?;
        core.check_catalog_whole()?;
        if !request.precondition.holds(entry.as_ref().map(|e| &e.manifest)) {
            return Err(Error::new(
                ErrorKind::PreconditionFailed,
                format!("the condition on {} does not hold; nothing was written", name()),
            )
            .object(name()));
        }
    }
    Ok(())
}

/// A body that is held to its length.
struct Counted {
    stream: BodyStream,
    expected: Option<u64>,
    seen: u64,
}

impl Counted {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let bad = |message: String| Err(Error::new(ErrorKind::BadBody, message));
        match (self.stream.next().await, self.expected) {
            (Some(Err(error)), _) => Err(error),
            (Some(Ok(bytes)), expected) => {
                self.seen += bytes.len() as u64;
                match expected {
                    Some(len) if self.seen > len => {
                        bad(format!("the body is longer than the {len} bytes that were announced; nothing was written"))
                    }
                    _ => Ok(Some(bytes)),
                }
            }
            (None, Some(len)) if self.seen < len => bad(format!(
                "the body ended after {} of the {len} bytes that were announced; nothing was written",
                self.seen
            )),
            (None, _) => Ok(None),
        }
    }

    /// The first bytes: the whole body, when it is not longer than `limit`, or somewhat more than `limit`.
    async fn head(&mut self, limit: u64) -> Result<(Bytes, bool)> {
        let mut head = BytesMut::new();
        loop {
            match self.next().await? {
                None => return Ok((head.freeze(), true)),
                Some(bytes) if head.is_empty() && bytes.len() as u64 > limit => return Ok((bytes, false)),
                Some(bytes) => head.extend_from_slice(&bytes),
            }
            if head.len() as u64 > limit {
                return Ok((head.freeze(), false));
            }
        }
    }
}

/// What a record's maker needs besides the body.
struct Description {
    request: PutRequest,
    now_ms: u64,
    size: u64,
    etag: Etag,
    run_digests: Option<Vec<Digest>>,
}

impl Description {
    fn manifest(self, reserved: &Reserved, body: Body) -> Manifest {
        let keep_all = reserved.bucket.as_ref().is_some_and(|b| b.settings.versions == Versions::KeepAll);
        let mut extra = BTreeMap::new();
        self.request.lock.of_new(reserved.bucket.as_ref(), self.now_ms).write(&mut extra);
        Manifest {
            bucket: self.request.bucket,
            key: self.request.key,
            version: reserved.version,
            revision: 0,
            modified_ms: self.now_ms,
            size: self.size,
            etag: self.etag,
            attributes: self.request.attributes,
            metadata: self.request.metadata,
            tags: self.request.tags,
            delete_marker: false,
            null_version: !keep_all,
            body,
            run_digests: self.run_digests,
            extra,
            parts: None,
            checksum: self.request.checksum.get(),
        }
    }
}

/// Up to so many bytes are coded where the request is served: that is sooner done than handed to another thread.
const IN_PLACE: u64 = 16 << 10;

async fn put_inline(
    core: &Arc<Core>,
    committer: &Committer,
    request: PutRequest,
    coder: Coder,
    bytes: Bytes,
) -> Result<ObjectInfo> {
    let data_id = DataId(core.env.new_id());
    let (k, m) = (coder.scheme.k(), coder.scheme.m());
    let body = InlineBody { scheme: coder.scheme, data_id, symbol_len: coder.codec.symbol_len() as u32 };
    let size = bytes.len() as u64;
    let block_len = Layout::inline(&coder.scheme, coder.codec.symbol_len(), size).block_len(0);
    let (mode, with_digests) = (core.config.etag, request.run_digests);
    let encode = move || {
        let encoded = coder.encode(data_id, 0, bytes.clone(), block_len as usize)?;
        let etag = match mode {
            EtagMode::Md5 => Etag::Md5(<md5::Md5 as md5::Digest>::digest(&bytes).into()),
            EtagMode::Fast => EtagMode::fast(data_id),
        };
        let digests = with_digests.then(|| {
            let mut digests = RunDigests::new(size, k, m);
            digests.push(&bytes);
            encoded.blocks()[k..].iter().enumerate().for_each(|(i, block)| digests.push_parity(i, block));
            digests.finish()
        });
        Ok::<_, Error>((encoded.blocks().to_vec(), etag, digests))
    };
    let (blocks, etag, run_digests) = if size <= IN_PLACE { encode()? } else { core.env.compute(encode).await? };
    let precondition = request.precondition.clone();
    let (bucket, key) = (request.bucket.clone(), request.key.clone());
    let description = Description { request, now_ms: core.env.now_ms(), size, etag, run_digests };
    let pending = Pending {
        bucket,
        key,
        precondition,
        bucket_rule: BucketRule::Exists,
        keeps_id: false,
        k,
        m,
        inline: InlineShards { data_id: Some(data_id), blocks },
        make: Box::new(move |reserved| Record::Version(description.manifest(reserved, Body::Inline(body)))),
        ledger: Vec::new(),
        hold: None,
        completes: None,
    };
    info_of(committer.commit(pending).await?, 0)
}

/// The reply of a committed version.
pub(crate) fn info_of(done: commit::Done, shards_short: usize) -> Result<ObjectInfo> {
    match done.record {
        Record::Version(manifest) => Ok(ObjectInfo { manifest: Arc::new(manifest), short: done.short + shards_short }),
        _ => Err(Error::internal("a version's record came back as another kind")),
    }
}

/// Keeps an object's digests in its manifest: a new revision of it.
pub(crate) async fn keep_digests(
    core: &Arc<Core>,
    committer: &Committer,
    info: &ObjectInfo,
    digests: Vec<Digest>,
) -> Result<()> {
    let m = &info.manifest;
    // A small object's record carries its shards, so it is not written anew for this: its digests cost one small read.
    let Body::Segments(_) = m.body else { return Ok(()) };
    let keep = |manifest: &mut Manifest| {
        manifest.run_digests = Some(digests);
        Ok(())
    };
    match revise::revise(core, committer, (&m.bucket, &m.key), Some(m.version), keep).await {
        // What was deleted meanwhile needs no digests.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map(|_| ()),
    }
}
