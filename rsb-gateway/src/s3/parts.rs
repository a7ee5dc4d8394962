//! Parts of multipart uploads: UploadPart, UploadPartCopy, ListParts.

use std::ops::Range;

use futures::TryStreamExt;
use http::HeaderMap;
use rsb_core::catalog::{PartRow, UploadRow};
use rsb_core::format::parts::{ChecksumAlgorithm, MAX_PARTS};
use rsb_core::{Engine, ErrorKind, Late, ObjectInfo, PartRequest};
use s3s::dto::*;
use s3s::stream::ByteStream;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};
use sync_wrapper::SyncStream;

use super::body::{Fate, Sized, for_engine};
use super::checksums::{Announced, Verified};
use super::sums::{self, set_sum};
use super::versions::{self, Asked};
use super::{access, buckets, copy, errors, facts, uploads};
use crate::config::Right;
use crate::http::conditions::{self, Verdict};
use crate::http::reply;

/// Most bytes of a part.
const MAX_PART_LEN: u64 = 5 << 30;
/// Parts of a page, at most and unless asked otherwise.
const PAGE: i32 = 1000;

/// A part's number.
fn number(asked: i32) -> S3Result<u16> {
    let number = u16::try_from(asked).ok().filter(|number| (1..=MAX_PARTS).contains(number));
    number.ok_or_else(|| {
        s3_error!(InvalidArgument, "Part number must be an integer between 1 and {MAX_PARTS}, inclusive")
    })
}

pub(super) async fn put(engine: &Engine, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
    let S3Request { input, headers, extensions, trailing_headers, .. } = req;
    let fate = extensions.get::<Fate>().cloned().unwrap_or_default();
    let (upload, number) = (uploads::id(&input.upload_id)?, number(input.part_number)?);
    let row = engine.upload(&input.bucket, &input.key, upload).await.map_err(errors::of)?;
    let body = input.body.map_or_else(Body::empty, Body::from);
    let Some(len) = body.remaining_length().exact().map(|len| len as u64) else {
        return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
    };
    if len > MAX_PART_LEN {
        return Err(s3_error!(EntityTooLarge, "Your proposed upload exceeds the maximum allowed size"));
    }
    let (body, checksum) = held(&row, body, &headers, extensions.get::<Verified>(), trailing_headers, &fate)?;
    let request = PartRequest { bucket: input.bucket, key: input.key, upload, number, len: Some(len), checksum };
    let part = match engine.put_part(request, for_engine(body, &fate)).await {
        Ok(part) => part,
        Err(error) if error.kind() == ErrorKind::BadBody => return Err(fate.error()),
        Err(error) => return Err(errors::of(error)),
    };
    let mut output = UploadPartOutput { e_tag: Some(tag(&part)), ..UploadPartOutput::default() };
    if let Some(checksum) = &part.checksum {
        set_sum!(output, checksum.algorithm, sums::text(&checksum.value));
    }
    Ok(S3Response::new(output))
}

/// The body, held to its digests, and the checksum that it will have: of the upload's algorithm, where it has one.
fn held(
    row: &UploadRow,
    body: Body,
    headers: &HeaderMap,
    verified: Option<&Verified>,
    trailers: Option<s3s::TrailingHeaders>,
    fate: &Fate,
) -> S3Result<(Body, Verified)> {
    // Where the body is not chunked, the door holds it to its digests already.
    let mut announced = Announced::of(headers, trailers.filter(|_| verified.is_none()))?;
    let given = announced.algorithm();
    match (row.checksum, given) {
        (Some(wish), Some(given)) if wish.algorithm != given => Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            sums::name(wish.algorithm).as_str().to_lowercase(),
            sums::name(given).as_str().to_lowercase()
        )),
        (Some(wish), None) => {
            announced = announced.or_make(wish.algorithm);
            let made = announced.verified();
            Ok((announced.hold(body, fate.clone()), made))
        }
        _ => match verified {
            Some(verified) => Ok((body, verified.clone())),
            None => {
                let made = announced.verified();
                Ok((announced.hold(body, fate.clone()), made))
            }
        },
    }
}

/// A part's entity tag.
pub(super) fn tag(part: &PartRow) -> ETag {
    ETag::Strong(part.etag.to_string())
}

pub(super) async fn put_copy(
    engine: &Engine,
    req: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let CopySource::Bucket { bucket, key, version_id } = &req.input.copy_source else {
        return Err(s3_error!(NotImplemented, "access points are not served here"));
    };
    access::require(&req, Right::Read, bucket)?;
    let (upload, number) = (uploads::id(&req.input.upload_id)?, number(req.input.part_number)?);
    let row = engine.upload(&req.input.bucket, &req.input.key, upload).await.map_err(errors::of)?;
    let source = versions::find(engine, bucket, key, Asked::parse(version_id.as_deref())?).await?;
    if conditions::of_read(&copy::of_source(&req.headers), &source.etag(), source.modified_ms()) != Verdict::Proceed {
        return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
    }
    let range = range(req.input.copy_source_range.as_deref(), source.size())?;
    let request = PartRequest {
        bucket: req.input.bucket.clone(),
        key: req.input.key.clone(),
        upload,
        number,
        len: Some(range.end - range.start),
        checksum: Late::default(),
    };
    let part = copied(engine, &row, &source, range, request).await?;
    let mut result = CopyPartResult {
        e_tag: Some(tag(&part)),
        last_modified: Some(facts::time(part.modified_ms)),
        ..CopyPartResult::default()
    };
    if let Some(checksum) = &part.checksum {
        set_sum!(result, checksum.algorithm, sums::text(&checksum.value));
    }
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        copy_source_version_id: versions::name(engine, &source).await?,
        ..UploadPartCopyOutput::default()
    }))
}

/// Whole segments are pointed at; other bytes, and those that a checksum is to be made of, are read and written.
async fn copied(
    engine: &Engine,
    row: &UploadRow,
    source: &ObjectInfo,
    range: Range<u64>,
    mut request: PartRequest,
) -> S3Result<PartRow> {
    if row.checksum.is_none()
        && let Some(part) = engine.link_part(source, range.clone(), &request).await.map_err(errors::of)?
    {
        return Ok(part);
    }
    let len = range.end - range.start;
    let fate = Fate::default();
    let stream = reply::read(engine, source, range).await.map_err(errors::of)?;
    let stream = Sized::new(SyncStream::new(stream.map_err(s3s::StdError::from)), Some(len));
    let blob = Body::from(StreamingBlob::new(stream));
    let body = match row.checksum {
        None => blob,
        Some(wish) => {
            let announced = Announced::default().or_make(wish.algorithm);
            request.checksum = announced.verified();
            announced.hold(blob, fate.clone())
        }
    };
    engine.put_part(request, for_engine(body, &fate)).await.map_err(errors::of)
}

/// The bytes that are copied: `bytes=first-last`, both of the object, or all.
fn range(asked: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(text) = asked else { return Ok(0..size) };
    let malformed = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy"
        )
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|text| text.split_once('-')).ok_or_else(malformed)?;
    let offset = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (first, last) = offset(first).zip(offset(last)).filter(|(first, last)| first <= last).ok_or_else(malformed)?;
    if last >= size {
        return Err(s3_error!(InvalidRange, "Range specified is not valid for source object of size: {size}"));
    }
    Ok(first..last + 1)
}

pub(super) async fn list(engine: &Engine, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
    let input = req.input;
    let upload = uploads::id(&input.upload_id)?;
    let row = engine.upload(&input.bucket, &input.key, upload).await.map_err(errors::of)?;
    let max_parts = match input.max_parts.unwrap_or(PAGE) {
        number if number < 0 => {
            return Err(s3_error!(InvalidArgument, "Argument max-parts must be an integer between 0 and 2147483647"));
        }
        number => number.min(PAGE),
    };
    let marker = input.part_number_marker.unwrap_or_default();
    let after = u16::try_from(marker).or(if marker < 0 { Err(()) } else { Ok(u16::MAX) });
    let after = after.map_err(|()| {
        s3_error!(InvalidArgument, "Argument part-number-marker must be an integer between 0 and 2147483647")
    })?;
    let limit = usize::try_from(max_parts).unwrap_or_default();
    let mut parts = engine.parts(upload, after, limit + 1).await.map_err(errors::of)?;
    let is_truncated = parts.len() > limit && limit > 0;
    parts.truncate(limit);
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        owner: Some(buckets::owner(engine)),
        initiator: Some(uploads::initiator(engine)),
        storage_class: Some(StorageClass::from(facts::class_in(&row.attributes).to_owned())),
        checksum_algorithm: row.checksum.map(|wish| sums::name(wish.algorithm)),
        checksum_type: row.checksum.map(|wish| sums::kind(wish.composite)),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(parts.last().map_or(0, |part| part.number.into())),
        max_parts: Some(max_parts),
        is_truncated: Some(is_truncated),
        parts: Some(parts.iter().map(listed).collect()),
        ..ListPartsOutput::default()
    }))
}

fn listed(part: &PartRow) -> Part {
    let mut out = Part {
        part_number: Some(part.number.into()),
        size: i64::try_from(part.size).ok(),
        e_tag: Some(tag(part)),
        last_modified: Some(facts::time(part.modified_ms)),
        ..Part::default()
    };
    if let Some(checksum) = &part.checksum {
        set_sum!(out, checksum.algorithm, sums::text(&checksum.value));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_ranges_are_whole_and_within_the_source() {
        for (text, expected) in [
            ("bytes=0-9", Ok(0..10)),
            ("bytes=3-3", Ok(3..4)),
            ("bytes=0-10", Err("InvalidRange")),
            ("bytes=4-3", Err("InvalidArgument")),
            ("bytes=4-", Err("InvalidArgument")),
            ("bytes=-4", Err("InvalidArgument")),
            ("bytes=+1-4", Err("InvalidArgument")),
            ("0-4", Err("InvalidArgument")),
        ] {
            let got = range(Some(text), 10).map_err(|error| error.code().as_str().to_owned());
            assert_eq!(got, expected.map_err(str::to_owned), "{text}");
        }
        assert_eq!(range(None, 10).unwrap(), 0..10);
        assert!(number(0).is_err() && number(10_001).is_err() && number(10_000).is_ok());
    }
}
