//! DeleteObject and DeleteObjects.

use futures::{StreamExt, stream};
use rsb_core::Engine;
use rsb_core::catalog::Precondition;
use rsb_core::format::manifest::Versions;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, Error,
    ObjectIdentifier,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::put::condition;
use super::versions::{Asked, NULL};
use super::{errors, lock};

/// Keys of one request, as S3 has it.
const MAX_KEYS: usize = 1000;
/// Keys deleted at once; their records go to the backends in common batches.
const AT_ONCE: usize = 64;

/// What a delete did.
struct Done {
    /// The version that was asked for, by name.
    version: Option<String>,
    /// The delete marker that was written, by name.
    marker: Option<String>,
    /// The version that was deleted was a delete marker.
    was_marker: bool,
}

pub(super) async fn one(
    engine: &Engine,
    req: S3Request<DeleteObjectInput>,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let bypass = lock::bypass(&req, req.input.bypass_governance_retention, &req.input.bucket)?;
    let input = req.input;
    let precondition = condition(input.if_match, None)?;
    let asked = Asked::parse(input.version_id.as_deref())?;
    let done = delete(engine, (&input.bucket, &input.key), asked, precondition, bypass).await?;
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: (done.was_marker || done.marker.is_some()).then_some(true),
        version_id: done.version.or(done.marker),
        request_charged: None,
    }))
}

async fn delete(
    engine: &Engine,
    (bucket, key): (&str, &str),
    asked: Asked,
    condition: Precondition,
    bypass: bool,
) -> S3Result<Done> {
    let version = match asked.resolve(engine, bucket, key).await? {
        None => None,
        Some(Some(id)) => Some(id),
        // A version that is not there is deleted already.
        Some(None) => return Ok(Done { version: Some(NULL.to_owned()), marker: None, was_marker: false }),
    };
    let deleted = engine.delete_bypassing(bucket, key, version, condition, bypass).await.map_err(errors::of)?;
    let marker = match deleted.delete_marker {
        Some(_) if engine.bucket(bucket).await.map_err(errors::of)?.settings.versions == Versions::Suspended => {
            Some(NULL.to_owned())
        }
        marker => marker.map(|id| id.to_string()),
    };
    let version = match asked {
        Asked::Newest => None,
        Asked::Null => Some(NULL.to_owned()),
        Asked::Id(id) => Some(id.to_string()),
    };
    Ok(Done { version, marker, was_marker: deleted.was_marker })
}

pub(super) async fn many(
    engine: &Engine,
    req: S3Request<DeleteObjectsInput>,
) -> S3Result<S3Response<DeleteObjectsOutput>> {
    let bypass = lock::bypass(&req, req.input.bypass_governance_retention, &req.input.bucket)?;
    let input = req.input;
    let (bucket, quiet) = (input.bucket.as_str(), input.delete.quiet.unwrap_or(false));
    if !(1..=MAX_KEYS).contains(&input.delete.objects.len()) {
        return Err(s3_error!(MalformedXML, "a DeleteObjects request names 1 to {MAX_KEYS} objects"));
    }
    engine.bucket(bucket).await.map_err(errors::of)?;
    let outcomes =
        stream::iter(input.delete.objects).map(|object| named(engine, bucket, object, bypass)).buffered(AT_ONCE);
    let outcomes: Vec<Result<DeletedObject, Error>> = outcomes.collect().await;
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(done) if !quiet => deleted.push(done),
            Ok(_) => {}
            Err(error) => failed.push(error),
        }
    }
    Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), errors: Some(failed), request_charged: None }))
}

/// Deletes one object of a list; its failure is not that of the others.
async fn named(engine: &Engine, bucket: &str, object: ObjectIdentifier, bypass: bool) -> Result<DeletedObject, Error> {
    let outcome = async {
        if object.last_modified_time.is_some() || object.size.is_some() {
            return Err(s3_error!(NotImplemented, "conditions on size and time are not served here"));
        }
        let tag = object.e_tag.map(|tag| Precondition::EtagIn(tag.into_strong().into_iter().collect()));
        let asked = Asked::parse(object.version_id.as_deref())?;
        delete(engine, (bucket, &object.key), asked, tag.unwrap_or_default(), bypass).await
    };
    match outcome.await {
        Ok(done) => Ok(DeletedObject {
            key: Some(object.key),
            delete_marker: (done.was_marker || done.marker.is_some()).then_some(true),
            delete_marker_version_id: if done.was_marker { done.version.clone() } else { done.marker },
            version_id: done.version,
        }),
        Err(error) => Err(Error {
            code: Some(error.code().as_str().to_owned()),
            message: error.message().map(str::to_owned),
            key: Some(object.key),
            version_id: object.version_id,
        }),
    }
}
