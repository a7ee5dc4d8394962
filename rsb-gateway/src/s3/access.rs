//! Who asks, by the key that signed the request, and what the key may do. Also the one list of what is served: an
//! operation that is not in it is refused before its body is looked at.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use super::{facts, refused};
use crate::app::App;
use crate::auth::Caller;
use crate::config::Right;

/// The gateway's keys, as s3s asks for them.
pub(super) struct Access {
    app: Arc<App>,
}

/// What an operation asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Any key.
    Key,
    /// This right on the bucket in the path.
    Right(Right),
}

/// What is asked of whoever wants this operation; `None` for one that is not served.
fn need(operation: &str) -> Option<Need> {
    Some(match operation {
        "ListBuckets" => Need::Key,
        "HeadBucket"
        | "GetBucketLocation"
        | "GetBucketVersioning"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListObjectVersions"
        | "ListMultipartUploads"
        | "GetObject"
        | "HeadObject"
        | "GetObjectAttributes"
        | "GetObjectTagging"
        | "GetBucketTagging"
        | "GetBucketLifecycleConfiguration"
        | "GetObjectLockConfiguration"
        | "GetObjectRetention"
        | "GetBucketAcl"
        | "GetObjectAcl"
        | "GetBucketEncryption"
        | "GetBucketWebsite"
        | "GetBucketReplication"
        | "GetPublicAccessBlock"
        | "GetBucketOwnershipControls"
        | "GetBucketNotificationConfiguration"
        | "GetBucketLogging"
        | "GetBucketAccelerateConfiguration"
        | "GetBucketRequestPayment"
        | "ListBucketAnalyticsConfigurations"
        | "ListBucketInventoryConfigurations"
        | "ListBucketMetricsConfigurations"
        | "ListBucketIntelligentTieringConfigurations"
        | "GetObjectLegalHold" => Need::Right(Right::Read),
        // A copy also needs the right to read its source: `copy` and `parts` see to it.
        // Bypassing a retention and ending a legal hold want `admin`: `lock` sees to it.
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "ListParts"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "PutObjectTagging"
        | "PutObjectAcl"
        | "DeleteObjectTagging"
        | "PutObjectRetention"
        | "PutObjectLegalHold" => Need::Right(Right::Write),
        "DeleteObject" | "DeleteObjects" => Need::Right(Right::Delete),
        "CreateBucket"
        | "DeleteBucket"
        | "PutBucketVersioning"
        | "PutBucketTagging"
        | "PutBucketAcl"
        | "DeleteBucketTagging"
        | "PutBucketLifecycleConfiguration"
        | "DeleteBucketLifecycle"
        | "PutObjectLockConfiguration" => Need::Right(Right::Admin),
        _ => return None,
    })
}

impl Access {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

#[async_trait::async_trait]
impl S3Auth for Access {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        match self.app.guard.key(id) {
            Some((_, secret)) => Ok(SecretKey::from(secret.expose())),
            None => Err(s3_error!(InvalidAccessKeyId, "there is no key with the id of this request")),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let id = match cx.credentials() {
            Some(credentials) => credentials.access_key.clone(),
            None => return Err(s3_error!(AccessDenied, "the request must be signed with a key of this gateway")),
        };
        let Some((caller, _)) = self.app.guard.key(&id) else {
            return Err(s3_error!(InvalidAccessKeyId, "there is no key with the id of this request"));
        };
        let operation = cx.s3_op().name();
        let Some(need) = need(operation) else {
            return Err(s3_error!(NotImplemented, "{operation} is not served here"));
        };
        if let Need::Right(right) = need {
            let bucket = match cx.s3_path() {
                S3Path::Root => None,
                S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => Some(&**bucket),
            };
            check(&caller, right, bucket)?;
        }
        refused::after_signatures(cx.headers(), cx.uri())?;
        facts::check_class(cx.headers(), &self.app.classes)?;
        cx.extensions_mut().insert(self.app.classes.clone());
        cx.extensions_mut().insert(caller);
        Ok(())
    }
}

/// An error where the caller may not do this in this bucket.
fn check(caller: &Caller, right: Right, bucket: Option<&str>) -> S3Result<()> {
    if caller.may(right, bucket) {
        return Ok(());
    }
    let place = bucket.unwrap_or("all buckets");
    Err(s3_error!(AccessDenied, "this key does not have the right {:?} on {place:?}", right.as_str()))
}

/// Whether the one who sent the request has the right on the bucket.
pub(super) fn may<T>(request: &S3Request<T>, right: Right, bucket: &str) -> bool {
    request.extensions.get::<Caller>().is_some_and(|caller| caller.may(right, Some(bucket)))
}

/// An error where the one who sent the request does not have the right on the bucket.
pub(super) fn require<T>(request: &S3Request<T>, right: Right, bucket: &str) -> S3Result<()> {
    match request.extensions.get::<Caller>() {
        Some(caller) => check(caller, right, Some(bucket)),
        None => Err(s3_error!(AccessDenied)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_not_served() {
        for operation in ["PutBucketEncryption", "SelectObjectContent", "GetBucketPolicy", ""] {
            assert_eq!(need(operation), None, "{operation}");
        }
        assert_eq!(need("DeleteObjects"), Some(Need::Right(Right::Delete)));
    }
}
