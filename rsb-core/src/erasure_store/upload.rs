//! Objects that are written in parts: each part is durable when it is written, and completing moves no bytes.

use async_trait::async_trait;
use futures::FutureExt;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{MultipartId, MultipartUpload, PutMultipartOptions, PutPayload, PutResult, Result, UploadPart};
use sha2::{Digest as _, Sha256};

use super::write::{after_others, body};
use super::{ErasureStore, errors, facts};
use crate::api::{Finish, NewUpload, ObjectInfo, PartRequest, PutRequest};
use crate::catalog::Precondition;
use crate::error::Error;
use crate::format::manifest::Digest;
use crate::format::parts::MAX_PARTS;
use crate::id::UploadId;

/// An upload in progress. One that is neither completed nor aborted expires
/// ([`EngineConfig::multipart_expiry`](crate::EngineConfig)); its parts are seen by nobody.
#[derive(Debug)]
pub(super) struct Upload {
    store: ErasureStore,
    location: Path,
    id: UploadId,
    /// Parts that were begun.
    parts: u16,
}

impl ErasureStore {
    pub(super) async fn begin(&self, location: &Path, options: PutMultipartOptions) -> Result<Upload> {
        let described = facts::describe(&options.attributes);
        let new = NewUpload {
            bucket: self.bucket.clone(),
            key: location.as_ref().to_owned(),
            attributes: described.attributes,
            metadata: described.metadata,
            tags: facts::tags(&options.tags),
            ..NewUpload::default()
        };
        let row = self.engine.create_upload(new).await.map_err(|error| errors::of(location, error))?;
        Ok(Upload { store: self.clone(), location: location.clone(), id: row.id, parts: 0 })
    }

    async fn part(&self, location: &Path, upload: UploadId, number: u16, data: PutPayload) -> crate::Result<()> {
        let request = PartRequest {
            bucket: self.bucket.clone(),
            key: location.as_ref().to_owned(),
            upload,
            number,
            len: Some(data.content_length() as u64),
            checksum: Default::default(),
        };
        self.engine.put_part(request, body(&data)).await.map(drop)
    }

    async fn finish(&self, location: &Path, id: UploadId, numbers: Vec<u16>) -> crate::Result<ObjectInfo> {
        let (bucket, key) = (self.bucket.as_str(), location.as_ref());
        if numbers.is_empty() {
            return self.finish_empty(location, id).await;
        }
        let mut list = Sha256::new();
        numbers.iter().for_each(|number| list.update(number.to_be_bytes()));
        let list = Digest(list.finalize().into());
        let complete = || async {
            let finish = Finish { numbers: numbers.clone(), list, precondition: Precondition::None, checksum: None };
            self.engine.completing(bucket, key, id).await?.finish(finish).await
        };
        after_others(&self.engine, complete).await
    }

    /// An upload without parts becomes an empty object.
    async fn finish_empty(&self, location: &Path, id: UploadId) -> crate::Result<ObjectInfo> {
        let (bucket, key) = (self.bucket.as_str(), location.as_ref());
        let row = self.engine.upload(bucket, key, id).await?;
        let request = PutRequest {
            bucket: row.bucket,
            key: row.key,
            len: Some(0),
            attributes: row.attributes,
            metadata: row.metadata,
            tags: row.tags,
            ..PutRequest::default()
        };
        let info = self.engine.put(request, body(&PutPayload::new())).await?;
        self.engine.abort_upload(bucket, key, id).await?;
        Ok(info)
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts = self.parts.saturating_add(1);
        let (store, location, id, number) = (self.store.clone(), self.location.clone(), self.id, self.parts);
        async move { store.part(&location, id, number, data).await.map_err(|error| errors::of(&location, error)) }
            .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let numbers = (1..=self.parts).collect();
        let done = self.store.finish(&self.location, self.id, numbers).await;
        done.map(facts::written).map_err(|error| errors::of(&self.location, error))
    }

    async fn abort(&mut self) -> Result<()> {
        let store = &self.store;
        let aborted = store.engine.abort_upload(&store.bucket, self.location.as_ref(), self.id);
        aborted.await.map_err(|error| errors::of(&self.location, error))
    }
}

/// An upload's id as callers hold it.
fn id_of(location: &Path, id: &MultipartId) -> Result<UploadId> {
    let unknown = |_| Error::not_found(format!("{id:?} is not the id of an upload of {location}"));
    id.parse().map_err(unknown).map_err(|error| errors::of(location, error))
}

/// A part's number; its index begins at 0.
fn number_of(index: usize) -> crate::Result<u16> {
    let number = u16::try_from(index).ok().and_then(|index| index.checked_add(1)).filter(|number| *number <= MAX_PARTS);
    number.ok_or_else(|| Error::invalid(format!("part {index} is too many: an object has at most {MAX_PARTS}")))
}

/// The same uploads for callers that keep their ids: they go on after a restart, as long as the catalog is not lost.
#[async_trait]
impl MultipartStore for ErasureStore {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.create_multipart_opts(path, PutMultipartOptions::default()).await
    }

    async fn create_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<MultipartId> {
        Ok(self.begin(path, options).await?.id.to_string())
    }

    async fn put_part(&self, path: &Path, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        let upload = id_of(path, id)?;
        let put = async {
            let number = number_of(index)?;
            self.part(path, upload, number, data).await?;
            Ok(PartId { content_id: number.to_string() })
        };
        put.await.map_err(|error| errors::of(path, error))
    }

    async fn complete_multipart(&self, path: &Path, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let upload = id_of(path, id)?;
        let finish = async {
            let number = |part: &PartId| {
                let unknown = |_| Error::invalid(format!("{:?} is not the id of a part of {path}", part.content_id));
                part.content_id.parse().map_err(unknown)
            };
            let numbers = parts.iter().map(number).collect::<crate::Result<Vec<u16>>>()?;
            if !numbers.is_sorted_by(|a, b| a < b) {
                return Err(Error::invalid(format!("the parts of {path} are not in order, or one is named twice")));
            }
            self.finish(path, upload, numbers).await
        };
        finish.await.map(facts::written).map_err(|error| errors::of(path, error))
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        let upload = id_of(path, id)?;
        let aborted = self.engine.abort_upload(&self.bucket, path.as_ref(), upload).await;
        aborted.map_err(|error| errors::of(path, error))
    }
}
