//! GetObject and HeadObject.

use std::ops::Range;

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, StatusCode};
use rsb_core::{BodyStream, Engine, ErrorKind, ObjectInfo};
use s3s::dto::{
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob, Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sync_wrapper::SyncStream;

use super::body::Sized;
use super::versions::{self, Asked};
use super::{errors, facts, lenient};
use crate::http::conditions::{self, Verdict};
use crate::http::dates::http_date;
use crate::http::ranges::{self, Wanted};
use crate::http::reply::{self, set};

pub(super) async fn get(engine: &Engine, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    loop {
        if let Some(response) = newest(engine, &req).await? {
            return Ok(response);
        }
    }
}

/// The response; `None` when the newest version was replaced after it was looked up, and there is a newer one or none.
async fn newest(engine: &Engine, req: &S3Request<GetObjectInput>) -> S3Result<Option<S3Response<GetObjectOutput>>> {
    let input = req.input.clone();
    refuse_part(input.part_number)?;
    let asked = lenient::as_sent(&req.headers, &req.extensions);
    let info = found(engine, &input.bucket, &input.key, input.version_id.as_deref(), asked).await?;
    let part = part(&info, asked)?;
    let wanted = part.clone().unwrap_or(0..info.size());
    let expires = expires(input.response_expires.as_ref());
    let headers = facts::headers(
        &info,
        [
            (CONTENT_TYPE, input.response_content_type.as_deref()),
            (CONTENT_LANGUAGE, input.response_content_language.as_deref()),
            (CONTENT_DISPOSITION, input.response_content_disposition.as_deref()),
            (CONTENT_ENCODING, input.response_content_encoding.as_deref()),
            (CACHE_CONTROL, input.response_cache_control.as_deref()),
            (EXPIRES, expires.as_deref()),
        ],
    )?;
    let len = wanted.end - wanted.start;
    let replaceable = input.version_id.as_deref().is_none_or(|id| id == versions::NULL);
    let body = match reply::read(engine, &info, wanted).await {
        Err(error) if replaceable && error.kind() == ErrorKind::NotFound => return Ok(None),
        body => body.map_err(errors::of)?,
    };
    let output = GetObjectOutput {
        body: Some(blob(body, len)),
        accept_ranges: Some("bytes".into()),
        content_length: i64::try_from(len).ok(),
        content_range: part.as_ref().map(|part| reply::content_range(part, info.size())),
        e_tag: Some(facts::etag(&info)),
        last_modified: Some(facts::modified(&info)),
        metadata: facts::user(&info),
        version_id: versions::name(engine, &info).await?,
        ..GetObjectOutput::default()
    };
    Ok(Some(response(output, part.is_some(), headers)))
}

pub(super) async fn head(engine: &Engine, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let input = req.input;
    refuse_part(input.part_number)?;
    let asked = lenient::as_sent(&req.headers, &req.extensions);
    let info = found(engine, &input.bucket, &input.key, input.version_id.as_deref(), asked).await?;
    let part = part(&info, asked)?;
    let expires = expires(input.response_expires.as_ref());
    let headers = facts::headers(
        &info,
        [
            (CONTENT_TYPE, input.response_content_type.as_deref()),
            (CONTENT_LANGUAGE, input.response_content_language.as_deref()),
            (CONTENT_DISPOSITION, input.response_content_disposition.as_deref()),
            (CONTENT_ENCODING, input.response_content_encoding.as_deref()),
            (CACHE_CONTROL, input.response_cache_control.as_deref()),
            (EXPIRES, expires.as_deref()),
        ],
    )?;
    let len = part.as_ref().map_or(info.size(), |part| part.end - part.start);
    let output = HeadObjectOutput {
        accept_ranges: Some("bytes".into()),
        content_length: i64::try_from(len).ok(),
        content_range: part.as_ref().map(|part| reply::content_range(part, info.size())),
        e_tag: Some(facts::etag(&info)),
        last_modified: Some(facts::modified(&info)),
        metadata: facts::user(&info),
        version_id: versions::name(engine, &info).await?,
        ..HeadObjectOutput::default()
    };
    Ok(response(output, part.is_some(), headers))
}

fn response<T>(output: T, is_part: bool, headers: HeaderMap) -> S3Response<T> {
    let mut response = S3Response::with_headers(output, headers);
    response.status = is_part.then_some(StatusCode::PARTIAL_CONTENT);
    response
}

fn refuse_part(number: Option<i32>) -> S3Result<()> {
    match number {
        Some(_) => Err(s3_error!(NotImplemented, "reading by part numbers is not served here")),
        None => Ok(()),
    }
}

/// The object that a request means, when its conditions let it be read.
async fn found(
    engine: &Engine,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    headers: &HeaderMap,
) -> S3Result<ObjectInfo> {
    let info = versions::find(engine, bucket, key, Asked::parse(version)?).await?;
    let code = match conditions::of_read(headers, &info.etag(), info.modified_ms()) {
        Verdict::Proceed => return Ok(info),
        Verdict::NotModified => S3ErrorCode::NotModified,
        Verdict::Failed => S3ErrorCode::PreconditionFailed,
    };
    let mut error = S3Error::with_message(code, "At least one of the pre-conditions you specified did not hold");
    let mut headers = HeaderMap::new();
    set(&mut headers, ETAG, format!("\"{}\"", info.etag()));
    set(&mut headers, LAST_MODIFIED, http_date(info.modified_ms()));
    error.set_headers(headers);
    Err(error)
}

/// The bytes asked for; `None` for all, and so for a header that cannot be read, or names several runs.
fn part(info: &ObjectInfo, headers: &HeaderMap) -> S3Result<Option<Range<u64>>> {
    if !conditions::range_applies(headers, &info.etag(), info.modified_ms()) {
        return Ok(None);
    }
    let header = headers.get(RANGE).and_then(|value| value.to_str().ok());
    match ranges::wanted(header, info.size()) {
        Wanted::Whole => Ok(None),
        Wanted::Parts(mut parts) => Ok(parts.pop().filter(|_| parts.is_empty())),
        Wanted::Nothing => {
            let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
            let mut headers = HeaderMap::new();
            set(&mut headers, CONTENT_RANGE, format!("bytes */{}", info.size()));
            error.set_headers(headers);
            Err(error)
        }
    }
}

/// The date as a header has it.
fn expires(date: Option<&Timestamp>) -> Option<String> {
    let mut text = Vec::new();
    date?.format(TimestampFormat::HttpDate, &mut text).ok()?;
    String::from_utf8(text).ok()
}

fn blob(body: BodyStream, len: u64) -> StreamingBlob {
    use futures::TryStreamExt;
    let logged = body.inspect_err(|error| tracing::error!(?error, "a reply broke off"));
    StreamingBlob::new(Sized::new(SyncStream::new(logged), Some(len)))
}
