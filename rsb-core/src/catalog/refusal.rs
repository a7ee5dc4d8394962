//! The sentences with which a catalog refuses, so that every engine says the same.

use super::Located;
use crate::error::{Error, ErrorKind};
use crate::id::{BatchId, UploadId};

/// There is no such bucket.
pub fn no_bucket(bucket: &str) -> Error {
    Error::not_found(format!("bucket {bucket} does not exist; create it first")).object(bucket)
}

/// The bucket that should be made exists.
pub fn bucket_exists(bucket: &str) -> Error {
    Error::new(ErrorKind::AlreadyExists, format!("bucket {bucket} exists already")).object(bucket)
}

/// The bucket that should be deleted is in use.
pub fn bucket_not_empty(bucket: &str) -> Error {
    Error::conflict(format!(
        "bucket {bucket} is not empty: it holds versions or delete markers, or a write to it is in progress; delete them first"
    ))
    .object(bucket)
}

/// A record about the bucket itself is being written.
pub fn bucket_changing(bucket: &str) -> Error {
    Error::conflict(format!("bucket {bucket} is being made, changed or deleted; try again")).object(bucket)
}

/// A write with a condition meets another write of its key.
pub fn key_changing(bucket: &str, key: &str) -> Error {
    Error::conflict(format!(
        "another write of {bucket}/{key} is in progress, so the condition cannot be judged; try again"
    ))
    .object(format!("{bucket}/{key}"))
}

/// The condition of a write does not hold.
pub fn condition(bucket: &str, key: &str) -> Error {
    let message = format!("the condition of this write does not hold for {bucket}/{key} as it is now; read it again");
    Error::new(ErrorKind::PreconditionFailed, message).object(format!("{bucket}/{key}"))
}

/// The upload was never begun, or is at its end.
pub fn no_upload(id: UploadId) -> Error {
    Error::not_found(format!("there is no open upload {id}; it may have been completed or aborted")).object(UPLOAD)
}

/// What an error about an upload is about: no bucket or object has such a name.
pub const UPLOAD: &str = "?uploadId";

/// The batch is not in the catalog.
pub fn no_batch(id: BatchId) -> Error {
    Error::not_found(format!("the catalog knows no batch {id}"))
}

/// A batch that should be forgotten is in use.
pub fn batch_live(id: BatchId) -> Error {
    Error::conflict(format!("batch {id} still holds a live record, so it cannot be forgotten"))
}

/// The record is not in the catalog.
pub fn no_record(at: &Located) -> Error {
    Error::not_found(format!("the catalog knows no record at byte {} of batch {}", at.extent.offset, at.batch))
}

/// A record that should be dropped is one that says that something exists.
pub fn not_droppable(at: &Located) -> Error {
    let (offset, batch) = (at.extent.offset, at.batch);
    Error::conflict(format!(
        "the record at byte {offset} of batch {batch} is neither a tombstone nor the end of a bucket, so it cannot be dropped"
    ))
}
