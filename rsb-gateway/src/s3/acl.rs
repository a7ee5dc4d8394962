//! Access control lists. There is one, of every bucket and object: everything belongs to the repository. Who may do what is
//! said by the rights of keys and by bucket policies, so any other list is refused.

use rsb_core::Engine;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Grantee,
    Owner, Permission, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput, PutObjectAclOutput, Type,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::versions::{self, Asked};
use super::{buckets, errors};

/// The one list.
fn grants(owner: &Owner) -> Vec<Grant> {
    let grantee = Grantee {
        display_name: owner.display_name.clone(),
        email_address: None,
        id: owner.id.clone(),
        type_: Type::from_static(Type::CANONICAL_USER),
        uri: None,
    };
    vec![Grant { grantee: Some(grantee), permission: Some(Permission::from_static(Permission::FULL_CONTROL)) }]
}

/// Refuses any list but the one. A canned list in a header was looked at before: it says the same.
fn check(engine: &Engine, canned: bool, policy: Option<AccessControlPolicy>) -> S3Result<()> {
    let owner = buckets::owner(engine);
    let full = |grant: &Grant| grant.permission.as_ref().is_some_and(|p| p.as_str() == Permission::FULL_CONTROL);
    let own = |grant: &Grant| grant.grantee.as_ref().is_some_and(|grantee| grantee.id == owner.id);
    match policy {
        None if canned => Ok(()),
        None => Err(s3_error!(MissingSecurityHeader, "Your request was missing a required header: x-amz-acl")),
        Some(policy) => match policy.grants.unwrap_or_default().as_slice() {
            [grant] if full(grant) && own(grant) => Ok(()),
            _ => Err(s3_error!(
                NotImplemented,
                "the only access control list here is that of the owner, with FULL_CONTROL; use bucket policies"
            )),
        },
    }
}

pub(super) async fn get_of_bucket(
    engine: &Engine,
    req: S3Request<GetBucketAclInput>,
) -> S3Result<S3Response<GetBucketAclOutput>> {
    engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    let owner = buckets::owner(engine);
    Ok(S3Response::new(GetBucketAclOutput { grants: Some(grants(&owner)), owner: Some(owner) }))
}

pub(super) async fn put_of_bucket(
    engine: &Engine,
    req: S3Request<PutBucketAclInput>,
) -> S3Result<S3Response<PutBucketAclOutput>> {
    engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    check(engine, req.input.acl.is_some(), req.input.access_control_policy)?;
    Ok(S3Response::new(PutBucketAclOutput::default()))
}

pub(super) async fn get(
    engine: &Engine,
    req: S3Request<GetObjectAclInput>,
) -> S3Result<S3Response<GetObjectAclOutput>> {
    let input = req.input;
    versions::find(engine, &input.bucket, &input.key, Asked::parse(input.version_id.as_deref())?).await?;
    let owner = buckets::owner(engine);
    Ok(S3Response::new(GetObjectAclOutput { grants: Some(grants(&owner)), owner: Some(owner), request_charged: None }))
}

pub(super) async fn put(
    engine: &Engine,
    req: S3Request<PutObjectAclInput>,
) -> S3Result<S3Response<PutObjectAclOutput>> {
    let input = req.input;
    versions::find(engine, &input.bucket, &input.key, Asked::parse(input.version_id.as_deref())?).await?;
    check(engine, input.acl.is_some(), input.access_control_policy)?;
    Ok(S3Response::new(PutObjectAclOutput::default()))
}
