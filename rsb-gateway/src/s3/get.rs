//! GetObject and HeadObject.

use std::ops::Range;

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES,
    LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, StatusCode};
use rsb_core::format::parts::{ChecksumAlgorithm, MAX_PARTS};
use rsb_core::{BodyStream, Engine, ErrorKind, ObjectInfo};
use s3s::dto::{
    Checksum, ChecksumMode, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, StreamingBlob,
    Timestamp, TimestampFormat,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sync_wrapper::SyncStream;

use super::body::Sized;
use super::sums::{self, set_sum, with_sums};
use super::versions::{self, Asked};
use super::{errors, facts, lenient};
use crate::http::conditions::{self, Verdict};
use crate::http::dates::http_date;
use crate::http::ranges::{self, Wanted};
use crate::http::reply::{self, set};

/// A [`Wish`] out of the input of either: s3s has a type for each, with fields of the same names.
macro_rules! wish {
    ($input:expr) => {{
        let input = $input;
        Wish {
            bucket: &input.bucket,
            key: &input.key,
            version: input.version_id.as_deref(),
            part: input.part_number,
            checksums: input.checksum_mode.as_ref(),
            expires: input.response_expires.as_ref(),
            overrides: [
                (CONTENT_TYPE, input.response_content_type.as_deref()),
                (CONTENT_LANGUAGE, input.response_content_language.as_deref()),
                (CONTENT_DISPOSITION, input.response_content_disposition.as_deref()),
                (CONTENT_ENCODING, input.response_content_encoding.as_deref()),
                (CACHE_CONTROL, input.response_cache_control.as_deref()),
            ],
        }
    }};
}

/// The output of either out of a [`Shown`], with the fields that only one has.
macro_rules! output {
    ($type:ident, $shown:expr $(, $field:ident: $value:expr)*) => {{
        let shown: &Shown = $shown;
        with_sums!(
            $type {
                $($field: $value,)*
                accept_ranges: Some("bytes".into()),
                content_length: i64::try_from(shown.len()).ok(),
                content_range: shown.part.as_ref().map(|part| reply::content_range(part, shown.info.size())),
                e_tag: Some(facts::etag(&shown.info)),
                last_modified: Some(facts::modified(&shown.info)),
                metadata: facts::user(&shown.info),
                version_id: shown.version.clone(),
                parts_count: shown.parts_count,
                ..$type::default()
            },
            shown.sums.clone()
        )
    }};
}

pub(super) async fn get(engine: &Engine, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
    loop {
        if let Some(response) = newest(engine, &req).await? {
            return Ok(response);
        }
    }
}

/// The response; `None` when the newest version was replaced after it was looked up, and there is a newer one or none.
async fn newest(engine: &Engine, req: &S3Request<GetObjectInput>) -> S3Result<Option<S3Response<GetObjectOutput>>> {
    let shown = Shown::of(engine, wish!(&req.input), lenient::as_sent(&req.headers, &req.extensions)).await?;
    let replaceable = req.input.version_id.as_deref().is_none_or(|id| id == versions::NULL);
    let len = shown.len();
    let body = match reply::read(engine, &shown.info, shown.range()).await {
        Err(error) if replaceable && error.kind() == ErrorKind::NotFound => return Ok(None),
        body => body.map_err(errors::of)?,
    };
    let output = output!(GetObjectOutput, &shown, body: Some(blob(body, len)));
    Ok(Some(response(output, shown)))
}

pub(super) async fn head(engine: &Engine, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
    let shown = Shown::of(engine, wish!(&req.input), lenient::as_sent(&req.headers, &req.extensions)).await?;
    Ok(response(output!(HeadObjectOutput, &shown), shown))
}

/// What both ask.
struct Wish<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    part: Option<i32>,
    checksums: Option<&'a ChecksumMode>,
    expires: Option<&'a Timestamp>,
    overrides: [(HeaderName, Option<&'a str>); 5],
}

/// What both show.
struct Shown {
    info: ObjectInfo,
    /// The bytes that are shown, where they are not all.
    part: Option<Range<u64>>,
    sums: Checksum,
    headers: HeaderMap,
    version: Option<String>,
    parts_count: Option<i32>,
}

impl Shown {
    async fn of(engine: &Engine, wish: Wish<'_>, asked: &HeaderMap) -> S3Result<Self> {
        let info = found(engine, wish.bucket, wish.key, wish.version, asked).await?;
        let part = match wish.part {
            Some(number) => numbered(&info, number, asked.contains_key(RANGE))?,
            None => part(&info, asked)?,
        };
        let sums = checksums(&info, wish.checksums, wish.part, part.is_some());
        let expires = expires(wish.expires);
        let overrides = wish.overrides.into_iter().chain([(EXPIRES, expires.as_deref())]);
        let headers = facts::headers(&info, overrides)?;
        let version = versions::name(engine, &info).await?;
        let parts_count = parts_count(&info, wish.part);
        Ok(Self { info, part, sums, headers, version, parts_count })
    }

    fn range(&self) -> Range<u64> {
        self.part.clone().unwrap_or(0..self.info.size())
    }

    fn len(&self) -> u64 {
        let range = self.range();
        range.end - range.start
    }
}

fn response<T>(output: T, shown: Shown) -> S3Response<T> {
    let mut response = S3Response::with_headers(output, shown.headers);
    response.status = shown.part.map(|_| StatusCode::PARTIAL_CONTENT);
    response
}

/// The bytes of a part of an object; an object that was not sent in parts is its own first. `None` where it has none.
fn numbered(info: &ObjectInfo, number: i32, with_range: bool) -> S3Result<Option<Range<u64>>> {
    if with_range {
        return Err(s3_error!(InvalidRequest, "Cannot specify both Range header and partNumber query parameter"));
    }
    if !(1..=i32::from(MAX_PARTS)).contains(&number) {
        return Err(s3_error!(InvalidArgument, "Part number must be an integer between 1 and {MAX_PARTS}, inclusive"));
    }
    let range = match &info.manifest.parts {
        Some(parts) => parts.views().find(|part| i32::from(part.number) == number).map(|part| part.range),
        None => (number == 1).then(|| 0..info.size()),
    };
    match range {
        Some(range) => Ok(Some(range).filter(|range| !range.is_empty())),
        None => {
            let message = "The requested partnumber is not satisfiable";
            let mut error = S3Error::with_message(S3ErrorCode::Custom("InvalidPartNumber".into()), message);
            error.set_status_code(StatusCode::RANGE_NOT_SATISFIABLE);
            Err(error)
        }
    }
}

/// The checksum of what is sent, where it is asked for and kept: of the object, or of the one part.
fn checksums(info: &ObjectInfo, mode: Option<&ChecksumMode>, number: Option<i32>, is_part: bool) -> Checksum {
    let none = Checksum::default();
    if mode.is_none_or(|mode| mode.as_str() != ChecksumMode::ENABLED) {
        return none;
    }
    let (Some(number), Some(parts)) = (number, &info.manifest.parts) else {
        // A range has none of its own.
        return if is_part && number.is_none() { none } else { sums::kept(&info.manifest).unwrap_or(none) };
    };
    let value = parts.views().find(|part| i32::from(part.number) == number).and_then(|part| part.checksum);
    let Some((kept, value)) = info.manifest.checksum.as_ref().zip(value) else { return none };
    let mut out = Checksum { checksum_type: Some(sums::kind(kept.composite)), ..none };
    set_sum!(out, kept.algorithm, sums::text(value));
    out
}

/// How many parts an object was sent in, where one of them was asked for.
fn parts_count(info: &ObjectInfo, asked: Option<i32>) -> Option<i32> {
    let parts = info.manifest.parts.as_ref().filter(|_| asked.is_some())?;
    i32::try_from(parts.count()).ok()
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
