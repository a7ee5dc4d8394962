//! Parts of multipart uploads in progress: they stand in the catalog alone, and their shards move like any other. A part
//! that shares a segment with an object names the place that the object has.

use super::Mover;
use super::segments::{holders, on, wish};
use crate::catalog::{PartRow, UploadRow};
use crate::core::Core;
use crate::error::{ErrorKind, Result};
use crate::format::manifest::SegmentedBody;
use crate::id::UploadId;
use crate::read::piece::Piece;

/// All parts of open uploads.
pub(super) async fn open_parts(core: &Core) -> Result<Vec<(UploadRow, PartRow)>> {
    let mut out = Vec::new();
    let mut after: Option<UploadId> = None;
    loop {
        let page = core.catalog.uploads_after(after, 1000).await?;
        let Some(last) = page.last() else { return Ok(out) };
        after = Some(last.id);
        for upload in page.into_iter().filter(|upload| upload.completed.is_none()) {
            let parts = core.catalog.parts(upload.id, 0, usize::MAX).await?;
            out.extend(parts.into_iter().map(|part| (upload.clone(), part)));
        }
    }
}

/// Shards of a part that lie on a backend.
pub(super) fn count_on(part: &PartRow, backend: &str) -> u64 {
    part.body.views().map(|view| view.backends.iter().filter(|name| **name == backend).count() as u64).sum()
}

impl Mover<'_> {
    /// Moves the shards of all parts away from a backend. Gives how many were found there, and how many were moved.
    pub(super) async fn move_parts(&self, from: &str, to: Option<&str>) -> Result<(u64, u64)> {
        let (mut found, mut moved) = (0, 0);
        for (upload, part) in open_parts(self.core).await? {
            let count = count_on(&part, from);
            if count == 0 {
                continue;
            }
            found += count;
            match self.move_part(&upload, part, from, to).await {
                Ok(true) => moved += count,
                Ok(false) => {}
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    self.failed(format!("a part of the upload {}/{}: {}", upload.bucket, upload.key, error.message()));
                }
            }
        }
        Ok((found, moved))
    }

    async fn move_part(&self, upload: &UploadRow, part: PartRow, from: &str, to: Option<&str>) -> Result<bool> {
        self.progress.ready().await?;
        let core = self.core;
        let _together = core.moving.read().await;
        let Some(_lease) = core.leases.take(part.data_ids().map(|id| id.0)) else { return Ok(false) };
        let object = (upload.bucket.clone(), upload.key.clone());
        let mut body = SegmentedBody::default();
        for view in part.body.views() {
            let piece = Piece::of_segment(&view);
            let names = holders(&piece);
            let mut backends: Vec<String> = view.backends.iter().map(|name| (*name).to_owned()).collect();
            for index in on(&piece, from) {
                backends[index] = match self.shared_place(&piece, index, from).await? {
                    Some(place) => place,
                    None => {
                        let Some(target) = wish(core, &piece, &names, from, to).target(core) else {
                            let name = format!("{}/{}", upload.bucket, upload.key);
                            self.failed(format!("a part of the upload {name} has nowhere to go from {from:?}"));
                            return Ok(false);
                        };
                        self.bring(&piece, index, target, &object).await?;
                        target.name().to_owned()
                    }
                };
            }
            let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
            body.push(view.data_id, view.len, view.scheme, &backends);
        }
        // Between looking at the part and changing it, nobody completes the upload or sends the part again.
        let _changing = core.changing_upload(upload.id).await;
        let now = core.catalog.parts(upload.id, part.number.saturating_sub(1), 1).await?.into_iter().next();
        if now.as_ref() != Some(&part) {
            return Ok(false);
        }
        core.catalog.put_part(upload.id, PartRow { body, ..part }, Vec::new()).await?;
        Ok(true)
    }

    /// Where an object that shares the segment has the shard by now.
    async fn shared_place(&self, piece: &Piece, index: usize, from: &str) -> Result<Option<String>> {
        let referrers = self.core.catalog.referrers(piece.data_id).await?;
        let mut places = Piece::views(&referrers, piece.data_id)
            .filter_map(|(_, mut other)| other.shards.get_mut(index).and_then(Option::take));
        Ok(places.find(|at| at.backend != from).map(|at| at.backend))
    }
}
