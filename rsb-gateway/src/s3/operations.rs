//! The operations that are served, each in the file of its idea. s3s answers NotImplemented for all others, and [`super::access`]
//! does so before that.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::body::Fate;
use super::{
    access, acl, attributes, buckets, complete, copy, cors, delete, errors, get, lifecycle, listing, lock, parts,
    policy, put, tags, unset, uploads, version_listing,
};
use crate::app::App;

/// Serves S3's operations.
pub(super) struct Operations {
    app: Arc<App>,
}

impl Operations {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

/// Each operation of S3's, and the function that serves it.
macro_rules! operations {
    ($($name:ident($input:ident) -> $output:ident = $serve:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(async fn $name(&self, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
                if let Some(fate) = req.extensions.get::<Fate>() {
                    fate.take();
                }
                let public = access::public(&req.extensions);
                match $serve(self.app.engine(), req).await {
                    Ok(response) => Ok(response),
                    Err(error) => {
                        errors::log_missing(self.app.engine(), &error).await;
                        Err(access::hide(public, error))
                    }
                }
            })*
        }
    };
}

operations! {
    list_buckets(ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket(CreateBucketInput) -> CreateBucketOutput = buckets::create;
    delete_bucket(DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    head_bucket(HeadBucketInput) -> HeadBucketOutput = buckets::head;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput = buckets::location;
    get_bucket_versioning(GetBucketVersioningInput) -> GetBucketVersioningOutput = buckets::versioning;
    put_bucket_versioning(PutBucketVersioningInput) -> PutBucketVersioningOutput = buckets::set_versioning;
    get_bucket_policy(GetBucketPolicyInput) -> GetBucketPolicyOutput = policy::get;
    get_bucket_policy_status(GetBucketPolicyStatusInput) -> GetBucketPolicyStatusOutput = policy::status;
    put_bucket_policy(PutBucketPolicyInput) -> PutBucketPolicyOutput = policy::put;
    delete_bucket_policy(DeleteBucketPolicyInput) -> DeleteBucketPolicyOutput = policy::delete;
    get_bucket_cors(GetBucketCorsInput) -> GetBucketCorsOutput = cors::get;
    put_bucket_cors(PutBucketCorsInput) -> PutBucketCorsOutput = cors::put;
    delete_bucket_cors(DeleteBucketCorsInput) -> DeleteBucketCorsOutput = cors::delete;
    put_object(PutObjectInput) -> PutObjectOutput = put::serve;
    get_object(GetObjectInput) -> GetObjectOutput = get::get;
    head_object(HeadObjectInput) -> HeadObjectOutput = get::head;
    copy_object(CopyObjectInput) -> CopyObjectOutput = copy::serve;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput = delete::one;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput = delete::many;
    get_object_attributes(GetObjectAttributesInput) -> GetObjectAttributesOutput = attributes::serve;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput = uploads::create;
    upload_part(UploadPartInput) -> UploadPartOutput = parts::put;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput = parts::put_copy;
    list_parts(ListPartsInput) -> ListPartsOutput = parts::list;
    list_multipart_uploads(ListMultipartUploadsInput) -> ListMultipartUploadsOutput = uploads::list;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput = complete::serve;
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput = uploads::abort;
    get_object_tagging(GetObjectTaggingInput) -> GetObjectTaggingOutput = tags::get;
    put_object_tagging(PutObjectTaggingInput) -> PutObjectTaggingOutput = tags::put;
    delete_object_tagging(DeleteObjectTaggingInput) -> DeleteObjectTaggingOutput = tags::delete;
    get_bucket_tagging(GetBucketTaggingInput) -> GetBucketTaggingOutput = tags::get_of_bucket;
    put_bucket_tagging(PutBucketTaggingInput) -> PutBucketTaggingOutput = tags::put_of_bucket;
    delete_bucket_tagging(DeleteBucketTaggingInput) -> DeleteBucketTaggingOutput = tags::delete_of_bucket;
    get_object_lock_configuration(GetObjectLockConfigurationInput) -> GetObjectLockConfigurationOutput = lock::get_of_bucket;
    put_object_lock_configuration(PutObjectLockConfigurationInput) -> PutObjectLockConfigurationOutput = lock::put_of_bucket;
    get_object_retention(GetObjectRetentionInput) -> GetObjectRetentionOutput = lock::get_retention;
    put_object_retention(PutObjectRetentionInput) -> PutObjectRetentionOutput = lock::put_retention;
    get_object_legal_hold(GetObjectLegalHoldInput) -> GetObjectLegalHoldOutput = lock::get_legal_hold;
    put_object_legal_hold(PutObjectLegalHoldInput) -> PutObjectLegalHoldOutput = lock::put_legal_hold;
    get_bucket_lifecycle_configuration(GetBucketLifecycleConfigurationInput) -> GetBucketLifecycleConfigurationOutput = lifecycle::get;
    put_bucket_lifecycle_configuration(PutBucketLifecycleConfigurationInput) -> PutBucketLifecycleConfigurationOutput = lifecycle::put;
    delete_bucket_lifecycle(DeleteBucketLifecycleInput) -> DeleteBucketLifecycleOutput = lifecycle::delete;
    get_bucket_acl(GetBucketAclInput) -> GetBucketAclOutput = acl::get_of_bucket;
    put_bucket_acl(PutBucketAclInput) -> PutBucketAclOutput = acl::put_of_bucket;
    get_object_acl(GetObjectAclInput) -> GetObjectAclOutput = acl::get;
    put_object_acl(PutObjectAclInput) -> PutObjectAclOutput = acl::put;
    get_bucket_encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = unset::encryption;
    get_bucket_website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput = unset::website;
    get_bucket_replication(GetBucketReplicationInput) -> GetBucketReplicationOutput = unset::replication;
    get_public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = unset::public_access_block;
    get_bucket_ownership_controls(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = unset::ownership;
    get_bucket_notification_configuration(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput = unset::notification;
    get_bucket_logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = unset::logging;
    get_bucket_accelerate_configuration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput = unset::acceleration;
    get_bucket_request_payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput = unset::payment;
    list_bucket_analytics_configurations(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput = unset::analytics;
    list_bucket_inventory_configurations(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput = unset::inventories;
    list_bucket_metrics_configurations(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput = unset::metrics;
    list_bucket_intelligent_tiering_configurations(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput = unset::tierings;
    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = version_listing::serve;
}
