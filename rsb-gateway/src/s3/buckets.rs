//! Buckets: make, delete, look, list, versioning.

use rsb_core::catalog::ListQuery;
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::object_lock::BucketLock;
use rsb_core::{Engine, ErrorKind};
use s3s::dto::{
    Bucket, BucketLocationConstraint, BucketVersioningStatus, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, Owner,
    PutBucketVersioningInput, PutBucketVersioningOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{access, errors, facts, lock};
use crate::config::Right;

/// The region that the gateway is in where its config names none.
pub(super) const REGION: &str = "us-east-1";
/// Buckets of a page unless asked otherwise, and at most.
const MAX_BUCKETS: usize = 10_000;

/// The region that the gateway is in, as far as S3 asks for one.
#[derive(Clone)]
pub(super) struct Region(pub(super) String);

fn region<T>(req: &S3Request<T>) -> String {
    req.extensions.get::<Region>().map_or_else(|| REGION.to_owned(), |region| region.0.clone())
}

/// To whom everything belongs: the repository itself.
pub(super) fn owner(engine: &Engine) -> Owner {
    Owner { id: Some(engine.repository_id().to_string()), display_name: Some(engine.config().name.clone()) }
}

pub(super) async fn create(
    engine: &Engine,
    req: S3Request<CreateBucketInput>,
) -> S3Result<S3Response<CreateBucketOutput>> {
    let region = region(&req);
    let input = req.input;
    let place = input.create_bucket_configuration.unwrap_or_default();
    if place.bucket.is_some() || place.location.is_some() {
        return Err(s3_error!(NotImplemented, "directory buckets are not served here"));
    }
    if place.location_constraint.is_some_and(|asked| !["", &region].contains(&asked.as_str())) {
        return Err(s3_error!(InvalidLocationConstraint, "this gateway is in the region {region} only"));
    }
    let mut settings = BucketSettings::default();
    if input.object_lock_enabled_for_bucket == Some(true) {
        BucketLock::default().set(&mut settings);
    }
    engine.create_bucket(&input.bucket, settings).await.map_err(errors::of)?;
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{}", input.bucket)) }))
}

pub(super) async fn delete(
    engine: &Engine,
    req: S3Request<DeleteBucketInput>,
) -> S3Result<S3Response<DeleteBucketOutput>> {
    let bucket = req.input.bucket;
    match engine.delete_bucket(&bucket).await {
        Ok(()) => Ok(S3Response::new(DeleteBucketOutput::default())),
        Err(error) if error.kind() == ErrorKind::Conflict => {
            let query = ListQuery { bucket: bucket.clone(), limit: 1, versions: true, ..ListQuery::default() };
            let is_empty = engine.list(&query).await.map_err(errors::of)?.objects.is_empty();
            if is_empty {
                // A write to it is in flight.
                return Err(errors::of(error));
            }
            Err(s3_error!(BucketNotEmpty, "bucket {bucket:?} holds objects, or versions or delete markers of them"))
        }
        Err(error) => Err(errors::of(error)),
    }
}

pub(super) async fn head(engine: &Engine, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
    engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    Ok(S3Response::new(HeadBucketOutput { bucket_region: Some(region(&req)), ..HeadBucketOutput::default() }))
}

pub(super) async fn location(
    engine: &Engine,
    req: S3Request<GetBucketLocationInput>,
) -> S3Result<S3Response<GetBucketLocationOutput>> {
    engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    // S3 names every region here but its first, which stands for an empty answer.
    let region = Some(region(&req)).filter(|region| region != REGION).unwrap_or_default();
    let location_constraint = Some(BucketLocationConstraint::from(region));
    Ok(S3Response::new(GetBucketLocationOutput { location_constraint }))
}

/// The buckets that the caller may read.
pub(super) async fn list(engine: &Engine, req: S3Request<ListBucketsInput>) -> S3Result<S3Response<ListBucketsOutput>> {
    let limit = match req.input.max_buckets.map(usize::try_from) {
        None => MAX_BUCKETS,
        Some(Ok(limit)) if (1..=MAX_BUCKETS).contains(&limit) => limit,
        Some(_) => return Err(s3_error!(InvalidArgument, "max-buckets is not between 1 and {MAX_BUCKETS}")),
    };
    let prefix = req.input.prefix.clone().unwrap_or_default();
    let after = req.input.continuation_token.clone().unwrap_or_default();
    let here = region(&req);
    let elsewhere = req.input.bucket_region.as_ref().is_some_and(|asked| *asked != here);
    let mut all = engine.buckets().await.map_err(errors::of)?;
    all.retain(|b| {
        !elsewhere && b.name.starts_with(&prefix) && b.name > after && access::may(&req, Right::Read, &b.name)
    });
    let more = all.len() > limit;
    all.truncate(limit);
    // The token is the last name of the page: that is no secret to who reads the page.
    let continuation_token = all.last().filter(|_| more).map(|last| last.name.clone());
    let buckets = all.into_iter().map(|bucket| Bucket {
        name: Some(bucket.name),
        creation_date: Some(facts::time(bucket.created_ms)),
        bucket_region: None,
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(buckets.collect()),
        continuation_token,
        owner: Some(owner(engine)),
        prefix: req.input.prefix,
    }))
}

pub(super) async fn versioning(
    engine: &Engine,
    req: S3Request<GetBucketVersioningInput>,
) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let bucket = engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    let status = match bucket.settings.versions {
        // A bucket that never had versioning says nothing.
        Versions::KeepLast => None,
        Versions::KeepAll => Some(BucketVersioningStatus::ENABLED),
        Versions::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    let status = status.map(BucketVersioningStatus::from_static);
    Ok(S3Response::new(GetBucketVersioningOutput { status, mfa_delete: None }))
}

pub(super) async fn set_versioning(
    engine: &Engine,
    req: S3Request<PutBucketVersioningInput>,
) -> S3Result<S3Response<PutBucketVersioningOutput>> {
    let wanted = req.input.versioning_configuration;
    if wanted.mfa_delete.is_some_and(|mfa| mfa.as_str() != "Disabled") {
        return Err(s3_error!(NotImplemented, "MFA delete is not served here"));
    }
    let versions = match wanted.status.as_ref().map(BucketVersioningStatus::as_str) {
        Some(BucketVersioningStatus::ENABLED) => Versions::KeepAll,
        Some(BucketVersioningStatus::SUSPENDED) => Versions::Suspended,
        _ => return Err(s3_error!(MalformedXML, "the status of versioning is Enabled or Suspended")),
    };
    if versions != Versions::KeepAll && lock::of_bucket(engine, &req.input.bucket).await?.is_some() {
        return Err(s3_error!(
            InvalidBucketState,
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        ));
    }
    let change = |settings: &mut BucketSettings| {
        settings.versions = versions;
        Ok(())
    };
    engine.update_bucket(&req.input.bucket, change).await.map_err(errors::of)?;
    Ok(S3Response::new(PutBucketVersioningOutput::default()))
}
