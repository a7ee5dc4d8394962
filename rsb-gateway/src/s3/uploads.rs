//! Multipart uploads: begin, abort, list.

use rsb_core::catalog::{ChecksumWish, UploadRow};
use rsb_core::format::parts::ChecksumAlgorithm;
use rsb_core::id::UploadId;
use rsb_core::{Engine, NewUpload, UploadAfter, UploadQuery};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::listing::{Names, max_keys};
use super::{buckets, errors, facts, lock, sums};

/// The upload that a request names.
pub(super) fn id(text: &str) -> S3Result<UploadId> {
    text.parse().map_err(|_| {
        s3_error!(
            NoSuchUpload,
            "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
        )
    })
}

pub(super) async fn create(
    engine: &Engine,
    req: S3Request<CreateMultipartUploadInput>,
) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
    let described = facts::of_request(&req.headers, req.input.metadata)?;
    let counts = facts::shard_counts(&req.extensions, &described.attributes);
    let lock = lock::of_request(engine, &req.input.bucket, &req.headers).await?;
    let checksum = wish(req.input.checksum_algorithm.as_ref(), req.input.checksum_type.as_ref())?;
    let new = NewUpload {
        bucket: req.input.bucket,
        key: req.input.key,
        attributes: described.attributes,
        metadata: described.metadata,
        checksum,
        data_shards: counts.map(|counts| counts.data_shards),
        parity_shards: counts.map(|counts| counts.parity_shards),
        tags: facts::tags_of(&req.headers)?,
        lock,
    };
    let upload = engine.create_upload(new).await.map_err(errors::of)?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        checksum_algorithm: checksum.map(|wish| sums::name(wish.algorithm)),
        checksum_type: checksum.map(|wish| sums::kind(wish.composite)),
        bucket: Some(upload.bucket),
        key: Some(upload.key),
        upload_id: Some(upload.id.to_string()),
        ..CreateMultipartUploadOutput::default()
    }))
}

/// The checksum that the object is to have. Only a CRC can be of the whole object, and CRC64NVME can be of nothing else.
fn wish(asked: Option<&s3s::dto::ChecksumAlgorithm>, kind: Option<&ChecksumType>) -> S3Result<Option<ChecksumWish>> {
    let Some(asked) = asked else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )),
        };
    };
    let algorithm = sums::named(asked)?;
    let composite = match kind.map(ChecksumType::as_str) {
        None => algorithm != ChecksumAlgorithm::Crc64Nvme,
        Some(ChecksumType::COMPOSITE) => true,
        Some(ChecksumType::FULL_OBJECT) => false,
        Some(_) => return Err(s3_error!(InvalidRequest, "Value for x-amz-checksum-type header is invalid.")),
    };
    let is_sha = matches!(algorithm, ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256);
    let cannot_be = if composite { algorithm == ChecksumAlgorithm::Crc64Nvme } else { is_sha };
    if cannot_be {
        let (kind, name) = (sums::kind(composite), asked.as_str().to_lowercase());
        return Err(s3_error!(
            InvalidRequest,
            "The {} checksum type cannot be used with the {name} checksum algorithm.",
            kind.as_str()
        ));
    }
    Ok(Some(ChecksumWish { algorithm, composite }))
}

pub(super) async fn abort(
    engine: &Engine,
    req: S3Request<AbortMultipartUploadInput>,
) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
    let input = req.input;
    if input.if_match_initiated_time.is_some() {
        return Err(s3_error!(NotImplemented, "conditions on the time of an upload are not served here"));
    }
    engine.abort_upload(&input.bucket, &input.key, id(&input.upload_id)?).await.map_err(errors::of)?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

pub(super) async fn list(
    engine: &Engine,
    req: S3Request<ListMultipartUploadsInput>,
) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
    let input = req.input;
    let (names, max_uploads) = (Names::of(input.encoding_type.as_ref())?, max_keys(input.max_uploads)?);
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let key_marker = input.key_marker.clone().filter(|marker| !marker.is_empty());
    // Without a key a marker of an upload says nothing, as in S3.
    let upload_marker = input.upload_id_marker.clone().filter(|id| !id.is_empty() && key_marker.is_some());
    let query = UploadQuery {
        bucket: input.bucket.clone(),
        after: after(key_marker.as_deref(), upload_marker.as_deref(), &prefix, delimiter.as_deref())?,
        prefix,
        delimiter: delimiter.clone(),
        limit: usize::try_from(max_uploads).unwrap_or_default(),
    };
    let listing = engine.list_uploads(&query).await.map_err(errors::of)?;
    let (next_key_marker, next_upload_id_marker) = match listing.next.clone() {
        None => (None, None),
        Some(UploadAfter::Key(name) | UploadAfter::Prefix(name)) => (Some(names.show(&name)), None),
        Some(UploadAfter::Upload(key, id)) => (Some(names.show(&key)), Some(id.to_string())),
    };
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        is_truncated: Some(listing.next.is_some()),
        key_marker: Some(key_marker.map(|key| names.show(&key)).unwrap_or_default()),
        upload_id_marker: Some(upload_marker.unwrap_or_default()),
        next_key_marker,
        next_upload_id_marker,
        max_uploads: Some(max_uploads),
        prefix: Some(names.show(&query.prefix)),
        delimiter: delimiter.map(|delimiter| names.show(&delimiter)),
        encoding_type: input.encoding_type,
        uploads: Some(listing.uploads.iter().map(|row| upload(engine, row, names)).collect()),
        common_prefixes: names.prefixes(listing.prefixes),
        request_charged: None,
    }))
}

/// Where a page begins.
fn after(
    key: Option<&str>,
    upload: Option<&str>,
    prefix: &str,
    delimiter: Option<&str>,
) -> S3Result<Option<UploadAfter>> {
    let Some(key) = key else { return Ok(None) };
    if let Some(text) = upload {
        let id = text.parse().map_err(|_| s3_error!(InvalidArgument, "Invalid uploadId marker"))?;
        return Ok(Some(UploadAfter::Upload(key.to_owned(), id)));
    }
    let rest = key.strip_prefix(prefix).zip(delimiter);
    let is_prefix = rest.is_some_and(|(rest, d)| rest.find(d).is_some_and(|at| at + d.len() == rest.len()));
    Ok(Some(if is_prefix { UploadAfter::Prefix(key.to_owned()) } else { UploadAfter::Key(key.to_owned()) }))
}

fn upload(engine: &Engine, row: &UploadRow, names: Names) -> MultipartUpload {
    MultipartUpload {
        key: Some(names.show(&row.key)),
        upload_id: Some(row.id.to_string()),
        initiated: Some(facts::time(row.created_ms)),
        initiator: Some(initiator(engine)),
        owner: Some(buckets::owner(engine)),
        storage_class: Some(StorageClass::from(facts::class_in(&row.attributes).to_owned())),
        checksum_algorithm: row.checksum.map(|wish| sums::name(wish.algorithm)),
        checksum_type: row.checksum.map(|wish| sums::kind(wish.composite)),
    }
}

/// Who begins uploads: the repository itself.
pub(super) fn initiator(engine: &Engine) -> Initiator {
    let owner = buckets::owner(engine);
    Initiator { id: owner.id, display_name: owner.display_name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_uploads_are_of_the_kinds_that_s3_has() {
        for (algorithm, kind, expected) in [
            (None, None, "none"),
            (None, Some("COMPOSITE"), "InvalidRequest"),
            (Some("CRC32"), None, "COMPOSITE"),
            (Some("CRC32"), Some("FULL_OBJECT"), "FULL_OBJECT"),
            (Some("CRC64NVME"), None, "FULL_OBJECT"),
            (Some("CRC64NVME"), Some("COMPOSITE"), "InvalidRequest"),
            (Some("SHA256"), None, "COMPOSITE"),
            (Some("SHA256"), Some("FULL_OBJECT"), "InvalidRequest"),
            (Some("MD4"), None, "InvalidRequest"),
            (Some("SHA1"), Some("HALF"), "InvalidRequest"),
        ] {
            let asked = algorithm.map(s3s::dto::ChecksumAlgorithm::from_static);
            let got = wish(asked.as_ref(), kind.map(ChecksumType::from_static).as_ref());
            let got = got.map_err(|error| error.code().as_str().to_owned());
            let got = got.map(|wish| wish.map_or("none".into(), |wish| sums::kind(wish.composite).as_str().to_owned()));
            assert_eq!(got.unwrap_or_else(|code| code), expected, "{algorithm:?} {kind:?}");
        }
    }
}
