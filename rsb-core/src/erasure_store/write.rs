//! Writes, deletes, copies and renames.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{PutMode, PutOptions, PutPayload, PutResult, Result, UpdateVersion};
use tokio::time::Instant;

use super::{ErasureStore, errors, facts};
use crate::api::{BodyStream, CopyRequest, ObjectInfo, PutRequest};
use crate::catalog::Precondition;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::id::VersionId;

/// How long a write waits for another one of its key, whose end decides whether its condition holds.
const WAIT_FOR_OTHERS: Duration = Duration::from_secs(30);
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(100);

/// Deletes at once: what arrives together shares its records' batches.
const DELETES: usize = 64;

/// A payload as a body.
pub(super) fn body(payload: &PutPayload) -> BodyStream {
    let parts: Vec<crate::Result<Bytes>> = payload.iter().cloned().map(Ok).collect();
    stream::iter(parts).boxed()
}

impl ErasureStore {
    pub(super) async fn write(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let create = options.mode == PutMode::Create;
        let precondition = match options.mode {
            PutMode::Overwrite => Precondition::None,
            PutMode::Create => Precondition::Absent,
            PutMode::Update(version) => {
                self.update_of(location, version).await.map_err(|error| errors::of(location, error))?
            }
        };
        let described = facts::describe(&options.attributes);
        let request = PutRequest {
            bucket: self.bucket.clone(),
            key: location.as_ref().to_owned(),
            len: Some(payload.content_length() as u64),
            precondition,
            attributes: described.attributes,
            metadata: described.metadata,
            tags: facts::tags(&options.tags),
            ..PutRequest::default()
        };
        match after_others(&self.engine, || self.engine.put(request.clone(), body(&payload))).await {
            Ok(info) => Ok(facts::written(info)),
            Err(error) if create => Err(errors::of_create(location, error)),
            Err(error) => Err(errors::of(location, error)),
        }
    }

    /// The condition that the newest version is still the one that was seen. A version's id says more than a tag, which
    /// another version with the same bytes may have too.
    async fn update_of(&self, location: &Path, seen: UpdateVersion) -> crate::Result<Precondition> {
        let name = format!("{}/{location}", self.bucket);
        let fails = |why: &str| {
            Error::new(ErrorKind::PreconditionFailed, format!("{name} is not updated: {why}")).object(name.clone())
        };
        let tag = seen.e_tag.map(|tag| tag.trim_matches('"').to_owned());
        match (tag, seen.version) {
            (None, None) => Err(Error::invalid(format!(
                "an update of {name} must say which version it saw: its entity tag or its version"
            ))
            .object(name)),
            (Some(tag), None) => Ok(Precondition::EtagIn(vec![tag])),
            (tag, Some(version)) => {
                let id: VersionId = version.parse().map_err(|_| fails("what was seen is no version's id"))?;
                if let Some(tag) = tag {
                    let newest = self.engine.version(&self.bucket, location.as_ref(), None).await?;
                    if newest.is_none_or(|info| info.version() != id || info.etag() != tag) {
                        return Err(fails("another version has come since"));
                    }
                }
                Ok(Precondition::VersionIs(id))
            }
        }
    }

    pub(super) fn delete_all(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let deleted = store.engine.delete(&store.bucket, location.as_ref(), None, Precondition::None);
                deleted.await.map_err(|error| errors::of(&location, error))?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(DELETES).boxed()
    }

    /// Copies the newest version. Gives the version that was copied.
    pub(super) async fn duplicate(&self, from: &Path, to: &Path, create: bool) -> Result<ObjectInfo> {
        loop {
            let source = self.engine.head(&self.bucket, from.as_ref(), None);
            let source = source.await.map_err(|error| errors::of(from, error))?;
            let request = CopyRequest {
                from: (self.bucket.clone(), from.as_ref().to_owned()),
                version: Some(source.version()),
                to: (self.bucket.clone(), to.as_ref().to_owned()),
                precondition: if create { Precondition::Absent } else { Precondition::None },
                ..CopyRequest::default()
            };
            match after_others(&self.engine, || self.engine.copy_object(request.clone())).await {
                Ok(_) => return Ok(source),
                // The version was replaced meanwhile: then its successor is to be copied, or nothing is there any more.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.engine.bucket(&self.bucket).await.map_err(|error| errors::of(to, error))?;
                }
                Err(error) if create => return Err(errors::of_create(to, error)),
                Err(error) => return Err(errors::of(to, error)),
            }
        }
    }

    pub(super) async fn rename(&self, from: &Path, to: &Path, create: bool) -> Result<()> {
        if from == to && !create {
            // A copy onto itself and then a delete would leave nothing.
            let there = self.engine.head(&self.bucket, from.as_ref(), None);
            return there.await.map(drop).map_err(|error| errors::of(from, error));
        }
        let copied = self.duplicate(from, to, create).await?;
        let same = Precondition::VersionIs(copied.version());
        let delete = || self.engine.delete(&self.bucket, from.as_ref(), None, same.clone());
        match after_others(&self.engine, delete).await {
            // Another write of the source came after the rename.
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => Ok(()),
            done => done.map(drop).map_err(|error| errors::of(from, error)),
        }
    }
}

/// Does something until no other write of the key is in the way. Pauses are drawn, so that of many who wait one comes through.
pub(super) async fn after_others<T, F>(engine: &Engine, attempt: impl Fn() -> F) -> crate::Result<T>
where
    F: Future<Output = crate::Result<T>>,
{
    let begun = Instant::now();
    let mut pause = FIRST_LOOK;
    loop {
        match attempt().await {
            Err(error) if error.kind() == ErrorKind::Conflict && begun.elapsed() < WAIT_FOR_OTHERS => {
                let most_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                tokio::time::sleep(Duration::from_micros(engine.core.env.random_below(most_us))).await;
                pause = (pause * 2).min(LAST_LOOK);
            }
            done => return done,
        }
    }
}
