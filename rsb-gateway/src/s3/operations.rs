//! The operations that are served, each in the file of its idea. s3s answers NotImplemented for all others, and [`super::access`]
//! does so before that.

use std::sync::Arc;

use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result};

use super::body::Fate;
use super::{attributes, buckets, complete, copy, delete, get, listing, parts, put, uploads, version_listing};
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
                $serve(self.app.engine(), req).await
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
    list_objects(ListObjectsInput) -> ListObjectsOutput = listing::v1;
    list_objects_v2(ListObjectsV2Input) -> ListObjectsV2Output = listing::v2;
    list_object_versions(ListObjectVersionsInput) -> ListObjectVersionsOutput = version_listing::serve;
}
