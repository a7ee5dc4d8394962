//! Replies with an object's facts and bytes: whole, one range, several ranges, not modified.

use std::ops::Range;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rsb_core::id::VersionId;
use rsb_core::{BodyStream, Engine, ObjectInfo};
use sync_wrapper::SyncStream;
use warp::reply::{Reply, Response};

use super::conditions::{self, Verdict};
use super::dates::http_date;
use super::ranges::{self, Wanted};
use crate::problem::Problem;

/// A header's value; what cannot stand in a header is left out by the caller.
fn value(text: impl AsRef<str>) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_ref().as_bytes()).ok()
}

/// Sets a header where its value can stand in one.
pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, text: impl AsRef<str>) {
    if let Some(value) = value(text) {
        headers.insert(name, value);
    }
}

/// Answers a GET or HEAD of an object, with the facts of the version that it sends.
pub(crate) async fn current(
    engine: &Engine,
    (method, asked): (&Method, &HeaderMap),
    (bucket, key): (&str, &str),
    version: Option<VersionId>,
) -> Result<(ObjectInfo, Response), Problem> {
    loop {
        let info = engine.head(bucket, key, version).await?;
        match object(engine, method, asked, &info).await {
            // Replaced after it was looked up: there is a newer one, or none.
            Err(problem) if version.is_none() && problem.status() == StatusCode::NOT_FOUND => {}
            reply => return Ok((info, reply?)),
        }
    }
}

/// Answers a GET or HEAD of an object whose facts are known, with conditions and ranges.
async fn object(engine: &Engine, method: &Method, asked: &HeaderMap, info: &ObjectInfo) -> Result<Response, Problem> {
    let (etag, modified_ms, size) = (info.etag(), info.modified_ms(), info.size());
    match conditions::of_read(asked, &etag, modified_ms) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(bodiless(StatusCode::NOT_MODIFIED, info)),
        Verdict::Failed => {
            return Err(Problem::precondition("the object is not what If-Match or If-Unmodified-Since asks for")
                .object(info.name()));
        }
    }
    let range = asked.get(RANGE).and_then(|v| v.to_str().ok());
    let range = range.filter(|_| method == Method::GET && conditions::range_applies(asked, &etag, modified_ms));
    match ranges::wanted(range, size) {
        Wanted::Nothing => Err(Problem::range(size).object(info.name())),
        Wanted::Whole => {
            let mut reply = bodiless(StatusCode::OK, info);
            if method == Method::GET {
                reply = with_body(reply, read(engine, info, 0..size).await?);
            }
            set(reply.headers_mut(), CONTENT_LENGTH, size.to_string());
            Ok(reply)
        }
        Wanted::Parts(parts) => match <[Range<u64>; 1]>::try_from(parts) {
            Ok([part]) => one_part(engine, info, part).await,
            Err(parts) => several_parts(engine, info, parts).await,
        },
    }
}

async fn one_part(engine: &Engine, info: &ObjectInfo, part: Range<u64>) -> Result<Response, Problem> {
    let body = read(engine, info, part.clone()).await?;
    let mut reply = with_body(bodiless(StatusCode::PARTIAL_CONTENT, info), body);
    let headers = reply.headers_mut();
    set(headers, CONTENT_LENGTH, (part.end - part.start).to_string());
    set(headers, CONTENT_RANGE, content_range(&part, info.size()));
    Ok(reply)
}

/// `multipart/byteranges`. The boundary is the version's id, so the same request gets the same bytes.
async fn several_parts(engine: &Engine, info: &ObjectInfo, parts: Vec<Range<u64>>) -> Result<Response, Problem> {
    let boundary = format!("rsb-{}", info.version());
    let kind = content_type(info).to_owned();
    let mut len = 0;
    let mut pieces: Vec<(String, Range<u64>)> = Vec::with_capacity(parts.len());
    for (number, part) in parts.into_iter().enumerate() {
        let lead = if number == 0 { "" } else { "\r\n" };
        let range = content_range(&part, info.size());
        let head = format!("{lead}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {range}\r\n\r\n");
        len += head.len() as u64 + (part.end - part.start);
        pieces.push((head, part));
    }
    let tail = format!("\r\n--{boundary}--\r\n");
    len += tail.len() as u64;

    // All are opened now, so that the object stays until the reply ends, though it be replaced meanwhile. Of the first the first
    // bytes are waited for, so that an object that cannot be read is an error and not a reply that breaks off.
    let mut streams: Vec<BodyStream> = Vec::with_capacity(pieces.len());
    for (head, part) in pieces {
        let bytes =
            if streams.is_empty() { read(engine, info, part).await? } else { engine.read(info, part).await?.stream };
        streams.push(stream::iter([Ok(Bytes::from(head))]).chain(bytes).boxed());
    }
    let body = stream::iter(streams).flatten().chain(stream::iter([Ok(Bytes::from(tail))])).boxed();
    let mut reply = with_body(bodiless(StatusCode::PARTIAL_CONTENT, info), body);
    set(reply.headers_mut(), CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"));
    set(reply.headers_mut(), CONTENT_LENGTH, len.to_string());
    Ok(reply)
}

/// Opens a read and waits for its first bytes: what cannot be read at all becomes an error before the reply begins.
pub(crate) async fn read(engine: &Engine, info: &ObjectInfo, range: Range<u64>) -> rsb_core::Result<BodyStream> {
    if range.is_empty() {
        return Ok(stream::empty().boxed());
    }
    let mut body = engine.read(info, range).await?.stream;
    match body.next().await {
        Some(first) => Ok(stream::iter([Ok(first?)]).chain(body).boxed()),
        None => Ok(stream::empty().boxed()),
    }
}

pub(crate) fn content_range(part: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", part.start, part.end - 1)
}

fn content_type(info: &ObjectInfo) -> &str {
    info.content_type().unwrap_or("application/octet-stream")
}

/// A reply with the facts that every reply about an object's bytes has.
fn bodiless(status: StatusCode, info: &ObjectInfo) -> Response {
    let mut reply = status.into_response();
    *reply.body_mut() = Bytes::new().into();
    let headers = reply.headers_mut();
    headers.clear();
    set(headers, ETAG, format!("\"{}\"", info.etag()));
    set(headers, LAST_MODIFIED, http_date(info.modified_ms()));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status != StatusCode::NOT_MODIFIED {
        set(headers, CONTENT_TYPE, content_type(info));
    }
    // What people store is theirs, and may be a web page: shown from here it must not act with the reader's credentials.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("content-security-policy", HeaderValue::from_static("sandbox; default-src 'none'"));
    reply
}

/// The reply with these bytes. The stream need not be `Sync`, which warp asks for.
pub(crate) fn with_body(reply: Response, body: BodyStream) -> Response {
    let (parts, _) = reply.into_parts();
    let logged = body.inspect_err(|error| tracing::error!(?error, "a reply broke off"));
    Response::from_parts(parts, warp::reply::stream(SyncStream::new(logged)).into_response().into_body())
}
