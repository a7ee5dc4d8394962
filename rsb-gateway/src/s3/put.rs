//! PutObject.

use rsb_core::catalog::Precondition;
use rsb_core::format::parts::ChecksumAlgorithm;
use rsb_core::{Engine, ErrorKind, PutRequest};
use s3s::dto::{ETagCondition, IfMatch, IfNoneMatch, PutObjectInput, PutObjectOutput};
use s3s::stream::ByteStream;
use s3s::{Body, S3Error, S3Request, S3Response, S3Result, s3_error};

use super::body::{Fate, for_engine};
use super::checksums::{Announced, Verified};
use super::form::FromForm;
use super::sums::{self, set_sum};
use super::{errors, facts, lock, versions};

pub(super) async fn serve(engine: &Engine, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
    let S3Request { input, headers, extensions, trailing_headers, .. } = req;
    let fate = extensions.get::<Fate>().cloned().unwrap_or_default();
    let described = facts::of_request(&headers, input.metadata)?;
    let precondition = condition(input.if_match, input.if_none_match)?;
    let body = input.body.map_or_else(Body::empty, Body::from);
    let len = body.remaining_length().exact().map(|len| len as u64);
    if len.is_none() && extensions.get::<FromForm>().is_none() {
        return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
    }
    // Where the body is not chunked, the door holds it to its digests already.
    let (body, checksum) = match extensions.get::<Verified>() {
        Some(verified) => (body, verified.clone()),
        None => {
            let announced = Announced::of(&headers, trailing_headers)?;
            let verified = announced.verified();
            (announced.hold(body, fate.clone()), verified)
        }
    };
    let counts = facts::shard_counts(&extensions, &described.attributes);
    let request = PutRequest {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        len,
        precondition: precondition.clone(),
        data_shards: counts.map(|counts| counts.data_shards),
        parity_shards: counts.map(|counts| counts.parity_shards),
        attributes: described.attributes,
        metadata: described.metadata,
        checksum,
        tags: facts::tags_of(&headers)?,
        lock: lock::of_request(engine, &input.bucket, &headers).await?,
        ..PutRequest::default()
    };
    let info = match engine.put(request, for_engine(body, &fate)).await {
        Ok(info) => info,
        Err(error) if error.kind() == ErrorKind::BadBody => return Err(fate.error()),
        Err(error) => return Err(refused(engine, &input.bucket, &input.key, &precondition, error).await?),
    };
    let mut output = PutObjectOutput {
        e_tag: Some(facts::etag(&info)),
        version_id: versions::name(engine, &info).await?,
        ..PutObjectOutput::default()
    };
    if let Some(checksum) = &info.manifest.checksum {
        set_sum!(output, checksum.algorithm, sums::text(&checksum.value));
        output.checksum_type = Some(sums::kind(false));
    }
    Ok(S3Response::new(output))
}

/// The condition of a write: `If-None-Match: *` or `If-Match`, as far as S3 knows them.
pub(super) fn condition(if_match: Option<IfMatch>, if_none_match: Option<IfNoneMatch>) -> S3Result<Precondition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Precondition::None),
        (None, Some(ETagCondition::Any)) => Ok(Precondition::Absent),
        (Some(ETagCondition::Any), None) => Ok(Precondition::Present),
        // Only strong comparison is allowed here, so a weak tag matches nothing.
        (Some(ETagCondition::ETag(tag)), None) => Ok(Precondition::EtagIn(tag.into_strong().into_iter().collect())),
        (None, Some(ETagCondition::ETag(_))) => {
            Err(s3_error!(NotImplemented, "If-None-Match on a write takes only \"*\""))
        }
        (Some(_), Some(_)) => Err(s3_error!(NotImplemented, "If-Match and If-None-Match together can never both hold")),
    }
}

/// The error of a write that the engine refused. `If-Match` on a key that is not there is a 404 in S3.
pub(super) async fn refused(
    engine: &Engine,
    bucket: &str,
    key: &str,
    precondition: &Precondition,
    error: rsb_core::Error,
) -> S3Result<S3Error> {
    let on_tag = matches!(precondition, Precondition::EtagIn(_) | Precondition::Present);
    if error.kind() == ErrorKind::PreconditionFailed && on_tag {
        let found = engine.version(bucket, key, None).await.map_err(errors::of)?;
        if found.is_none_or(|info| info.manifest.delete_marker) {
            return Ok(s3_error!(NoSuchKey, "{bucket}/{key} does not exist, so it does not match If-Match"));
        }
    }
    Ok(errors::of(error))
}
