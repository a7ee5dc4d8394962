//! Who asks, by the key that signed the request, and what the key may do. Also the one list of what is served: an
//! operation that is not in it is refused before its body is looked at.

use std::sync::{Arc, OnceLock};

use http::Extensions;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result, s3_error};

use super::policy::{Action, Policy};
use super::signed_v2::Proven;
use super::{facts, refused, signed};
use crate::app::App;
use crate::auth::Caller;
use crate::config::Right;

/// The gateway's keys, as s3s asks for them.
pub(super) struct Access {
    app: Arc<App>,
}

/// Who was let in: the holder of a key, or everybody by the bucket's policy.
#[derive(Clone)]
pub(super) enum Admitted {
    Key(Caller),
    Public(Public),
}

/// Everybody, let in by the bucket's policy.
#[derive(Clone, Copy)]
pub(super) struct Public {
    /// May list the bucket, and so may know what is not in it.
    lists: bool,
}

/// A request that only asks whether it would be let in; the answer goes here, and the request is not served.
#[derive(Clone, Default)]
pub(super) struct Trial(Arc<OnceLock<Admitted>>);

impl Trial {
    /// Who was let in; `None` when nobody was.
    pub(super) fn admitted(&self) -> Option<Admitted> {
        self.0.get().cloned()
    }
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
        | "GetBucketCors"
        | "GetBucketPolicy"
        | "GetBucketPolicyStatus"
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
        | "PutBucketCors"
        | "DeleteBucketCors"
        | "PutBucketPolicy"
        | "DeleteBucketPolicy"
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
        let admitted = match cx.extensions_mut().get::<Admitted>().cloned() {
            // By a trial before; the signature is not with the request any more.
            Some(admitted) => admitted,
            None => {
                let proven = cx.extensions_mut().get().cloned();
                self.admit(cx, proven).await?
            }
        };
        if let Some(trial) = cx.extensions_mut().get::<Trial>() {
            // Set once: a trial is of one request.
            let _ = trial.0.set(admitted);
            return Err(s3_error!(ServiceUnavailable, "the request was only tried"));
        }
        match admitted {
            Admitted::Key(caller) => {
                cx.extensions_mut().insert(self.app.classes.clone());
                cx.extensions_mut().insert(caller);
            }
            Admitted::Public(public) => {
                cx.extensions_mut().insert(public);
            }
        }
        Ok(())
    }
}

impl Access {
    async fn admit(&self, cx: &S3AccessContext<'_>, proven: Option<Proven>) -> S3Result<Admitted> {
        let operation = cx.s3_op().name();
        let caller = match (proven, cx.credentials()) {
            (Some(Proven(caller)), _) => caller,
            (None, None) => return self.admit_public(cx).await,
            (None, Some(credentials)) => match self.app.guard.key(&credentials.access_key) {
                Some((caller, _)) => caller,
                None => return Err(s3_error!(InvalidAccessKeyId, "there is no key with the id of this request")),
            },
        };
        let Some(need) = need(operation) else {
            return Err(s3_error!(NotImplemented, "{operation} is not served here"));
        };
        if let Need::Right(right) = need {
            check(&caller, right, cx.s3_path().get_bucket_name())?;
        }
        refused::after_signatures(cx.headers(), cx.uri())?;
        facts::check_class(cx.headers(), &self.app.classes)?;
        Ok(Admitted::Key(caller))
    }

    /// Lets in who shows no key, as far as the bucket's policy does.
    async fn admit_public(&self, cx: &S3AccessContext<'_>) -> S3Result<Admitted> {
        let denied = || {
            s3_error!(
                AccessDenied,
                "the request must be signed with a key of this gateway, or read what a bucket's policy opens to everybody"
            )
        };
        let of_version = signed::query(cx.uri()).any(|(name, _)| name == "versionId");
        let (action, bucket, key) = match (cx.s3_op().name(), cx.s3_path()) {
            ("GetObject" | "HeadObject", S3Path::Object { bucket, key }) if of_version => {
                (Action::GetVersion, bucket, &**key)
            }
            ("GetObject" | "HeadObject", S3Path::Object { bucket, key }) => (Action::Get, bucket, &**key),
            ("HeadBucket" | "ListObjects" | "ListObjectsV2", S3Path::Bucket { bucket }) => (Action::List, bucket, ""),
            _ => return Err(denied()),
        };
        let policy = Policy::of(self.app.engine(), bucket).await.ok_or_else(denied)?;
        if !policy.allows(action, key) {
            return Err(denied());
        }
        if signed::query(cx.uri()).any(|(name, _)| name.starts_with("response-")) {
            return Err(s3_error!(
                InvalidRequest,
                "Request specific response headers cannot be used for anonymous GET requests."
            ));
        }
        refused::after_signatures(cx.headers(), cx.uri())?;
        Ok(Admitted::Public(Public { lists: policy.allows(Action::List, "") }))
    }
}

/// The error as the caller may hear it: who may not list a bucket does not learn what is not in it.
pub(super) fn hide(public: Option<Public>, error: S3Error) -> S3Error {
    let tells = matches!(error.code(), S3ErrorCode::NoSuchKey | S3ErrorCode::NoSuchVersion);
    match public {
        Some(Public { lists: false }) if tells => s3_error!(AccessDenied, "Access Denied"),
        _ => error,
    }
}

/// How somebody let in by a bucket's policy was let in.
pub(super) fn public(extensions: &Extensions) -> Option<Public> {
    extensions.get::<Public>().copied()
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
        for operation in ["PutBucketEncryption", "SelectObjectContent", "PutBucketWebsite", ""] {
            assert_eq!(need(operation), None, "{operation}");
        }
        assert_eq!(need("DeleteObjects"), Some(Need::Right(Right::Delete)));
    }
}
