//! What S3 lets one configure of a bucket and is not served here: asked for it, the answer is that it is not configured, in
//! the form S3 has for that. Setting it is refused.

use rsb_core::Engine;
use s3s::dto::*;
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::errors;

/// Functions that look whether the bucket is there and give one answer.
macro_rules! answers {
    ($($name:ident($input:ty) -> $output:ty = $answer:expr;)*) => {
        $(pub(super) async fn $name(engine: &Engine, req: S3Request<$input>) -> S3Result<S3Response<$output>> {
            engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
            $answer.map(S3Response::new)
        })*
    };
}

answers! {
    encryption(GetBucketEncryptionInput) -> GetBucketEncryptionOutput = Err(not_found(
        S3ErrorCode::ServerSideEncryptionConfigurationNotFoundError,
        "The server side encryption configuration was not found",
    ));
    website(GetBucketWebsiteInput) -> GetBucketWebsiteOutput =
        Err(s3_error!(NoSuchWebsiteConfiguration, "The specified bucket does not have a website configuration"));
    replication(GetBucketReplicationInput) -> GetBucketReplicationOutput =
        Err(s3_error!(ReplicationConfigurationNotFoundError, "The replication configuration was not found"));
    public_access_block(GetPublicAccessBlockInput) -> GetPublicAccessBlockOutput = Err(not_found(
        S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into()),
        "The public access block configuration was not found",
    ));
    ownership(GetBucketOwnershipControlsInput) -> GetBucketOwnershipControlsOutput = Ok(owner_enforced());
    notification(GetBucketNotificationConfigurationInput) -> GetBucketNotificationConfigurationOutput =
        Ok(GetBucketNotificationConfigurationOutput::default());
    logging(GetBucketLoggingInput) -> GetBucketLoggingOutput = Ok(GetBucketLoggingOutput::default());
    acceleration(GetBucketAccelerateConfigurationInput) -> GetBucketAccelerateConfigurationOutput =
        Ok(GetBucketAccelerateConfigurationOutput::default());
    payment(GetBucketRequestPaymentInput) -> GetBucketRequestPaymentOutput =
        Ok(GetBucketRequestPaymentOutput { payer: Some(Payer::from_static(Payer::BUCKET_OWNER)) });
    analytics(ListBucketAnalyticsConfigurationsInput) -> ListBucketAnalyticsConfigurationsOutput =
        Ok(ListBucketAnalyticsConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    inventories(ListBucketInventoryConfigurationsInput) -> ListBucketInventoryConfigurationsOutput =
        Ok(ListBucketInventoryConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    metrics(ListBucketMetricsConfigurationsInput) -> ListBucketMetricsConfigurationsOutput =
        Ok(ListBucketMetricsConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
    tierings(ListBucketIntelligentTieringConfigurationsInput) -> ListBucketIntelligentTieringConfigurationsOutput =
        Ok(ListBucketIntelligentTieringConfigurationsOutput { is_truncated: Some(false), ..Default::default() });
}

/// 404, which s3s does not have for every such code.
fn not_found(code: S3ErrorCode, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(code, message);
    error.set_status_code(http::StatusCode::NOT_FOUND);
    error
}

/// Access control lists change nothing here, which is what S3 calls so.
fn owner_enforced() -> GetBucketOwnershipControlsOutput {
    let object_ownership = ObjectOwnership::from_static(ObjectOwnership::BUCKET_OWNER_ENFORCED);
    let rules = vec![OwnershipControlsRule { object_ownership }];
    GetBucketOwnershipControlsOutput { ownership_controls: Some(OwnershipControls { rules }) }
}
