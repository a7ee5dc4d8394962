//! Describing a version anew: the next revision of its manifest, with the same bytes.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;

use super::commit::{Committer, Pending};
use super::{info_of, make_coder};
use crate::api::ObjectInfo;
use crate::catalog::{BucketRule, Precondition};
use crate::core::Core;
use crate::error::Result;
use crate::format::batch::InlineShards;
use crate::format::manifest::{Body, Manifest, Record};
use crate::id::VersionId;
use crate::read::{self, Held};
use crate::recover::check_decided;
use crate::stripe::Layout;

/// Changes what a version (the newest when `version` is absent) says of itself beside its bytes, starting from what it says
/// now: of changes made at once none is lost. Nothing is written where nothing changes. `NotFound` where there is no such
/// version, or it is a delete marker.
pub(crate) async fn revise(
    core: &Arc<Core>,
    committer: &Committer,
    (bucket, key): (&str, &str),
    version: Option<VersionId>,
    change: impl FnOnce(&mut Manifest) -> Result<()>,
) -> Result<ObjectInfo> {
    core.check_writable()?;
    let _revising = core.revising(bucket, key).await;
    let held = read::hold(core, bucket, key, version).await?;
    let mut manifest = held.entry.manifest.clone();
    change(&mut manifest)?;
    if manifest == held.entry.manifest {
        return Ok(ObjectInfo { manifest: Arc::new(manifest), short: 0 });
    }
    check_decided(core, &manifest).await?;
    manifest.revision += 1;
    let inline = inline_shards(core, &held, &manifest.body).await?;
    let scheme = manifest.scheme().unwrap_or(core.config.scheme);
    let pending = Pending {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        precondition: Precondition::None,
        bucket_rule: BucketRule::Any,
        keeps_id: true,
        k: scheme.k(),
        m: scheme.m(),
        inline,
        make: Box::new(move |_| Record::Version(manifest)),
        ledger: Vec::new(),
        hold: None,
        completes: None,
    };
    let done = committer.commit(pending).await?;
    // The lease on the segments is held until the new revision names them too.
    drop(held.lease);
    info_of(done, 0)
}

/// The shards that a small object's record carries, made from its bytes: the same ones where it has the same data id.
async fn inline_shards(core: &Arc<Core>, held: &Held, body: &Body) -> Result<InlineShards> {
    let m = &held.entry.manifest;
    let Body::Inline(body) = body.clone() else { return Ok(InlineShards::default()) };
    let object = (m.bucket.clone(), m.key.clone());
    let stream = read::stream_pieces(core, held.pieces.clone(), 0..m.size, object, None, Vec::new());
    let bytes: Bytes = stream.try_collect::<Vec<Bytes>>().await?.concat().into();
    let coder = make_coder(core, body.scheme)?;
    let block_len = Layout::inline(&body.scheme, body.symbol_len as usize, m.size).block_len(0);
    let encode = move || coder.encode(body.data_id, 0, bytes, block_len as usize);
    let blocks = core.env.compute(encode).await?.blocks().to_vec();
    Ok(InlineShards { data_id: Some(body.data_id), blocks })
}
