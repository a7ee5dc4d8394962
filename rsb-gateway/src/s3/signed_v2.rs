//! Presigned URLs of signature version 2, which the aws cli and boto3 make for a custom endpoint unless they are told otherwise.
//! Verified here: s3s compares such signatures in a time that tells of them, and lets parameters pass that they do not cover.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html>

use std::collections::BTreeMap;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Uri};
use s3s::{S3Result, s3_error};

use super::errors;
use super::signed::{decoded, query};
use crate::auth::Caller;
use crate::config::Secret;

/// What makes up the signature, and is taken from the query.
const OF_SIGNATURE: [&str; 3] = ["AWSAccessKeyId", "Expires", "Signature"];
/// Parameters that the signature covers.
const COVERED: [&str; 27] = [
    "acl",
    "cors",
    "delete",
    "lifecycle",
    "location",
    "logging",
    "notification",
    "object-lock",
    "partNumber",
    "policy",
    "replication",
    "requestPayment",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "tagging",
    "torrent",
    "uploadId",
    "uploads",
    "versionId",
    "versioning",
    "versions",
    "website",
];
/// Parameters that it does not cover, and that only choose what of a listing is shown.
const OPEN: [&str; 16] = [
    "continuation-token",
    "delimiter",
    "encoding-type",
    "fetch-owner",
    "key-marker",
    "list-type",
    "marker",
    "max-keys",
    "max-parts",
    "max-uploads",
    "part-number-marker",
    "prefix",
    "start-after",
    "upload-id-marker",
    "version-id-marker",
    "x-id",
];

/// Who was shown to have made a request, by a signature that s3s does not see.
#[derive(Clone)]
pub(super) struct Proven(pub(super) Caller);

/// Verifies a presigned URL of version 2 and takes the signature from it; who made it is then an extension of the request.
/// Any other request passes as it is. `key` finds a key by its id; `bucket` is the one that the name of the host gives, if it does.
pub(super) fn check<B>(
    request: &mut Request<B>,
    now_ms: u64,
    key: impl FnOnce(&str) -> Option<(Caller, Secret)>,
    bucket: Option<&str>,
) -> S3Result<()> {
    let has = |wanted: &str| query(request.uri()).any(|(name, _)| name == wanted);
    if !has("Signature") {
        return Ok(());
    }
    if request.headers().contains_key(AUTHORIZATION) || has("X-Amz-Signature") || has("X-Amz-Credential") {
        return Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
        ));
    }
    let parameters = parameters(request.uri())?;
    let [id, expires, signature] = OF_SIGNATURE.map(|name| parameters.get(name).filter(|value| !value.is_empty()));
    let (Some(id), Some(expires), Some(signature)) = (id, expires, signature) else {
        return Err(s3_error!(
            AccessDenied,
            "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters"
        ));
    };
    let until: u64 = expires
        .parse()
        .map_err(|_| s3_error!(AccessDenied, "Invalid date (should be seconds since epoch): {expires}"))?;
    if now_ms / 1000 > until {
        return Err(s3_error!(AccessDenied, "Request has expired"));
    }
    hoist(&parameters, request.headers_mut())?;
    let Some((caller, secret)) = key(id) else {
        return Err(s3_error!(InvalidAccessKeyId, "there is no key with the id of this request"));
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes());
    // A plus sign that was not escaped reads as a space.
    let signature = signature.replace(' ', "+");
    let is_signed = |path: &str| {
        let made = hmac::sign(&key, text(request, &parameters, expires, path).as_bytes());
        constant_time::verify_slices_are_equal(STANDARD.encode(made).as_bytes(), signature.as_bytes()).is_ok()
    };
    let path = bucket.map_or_else(String::new, |bucket| format!("/{bucket}")) + request.uri().path();
    // boto3 signs a bucket with a slash behind it and asks for it without.
    let is_bucket = path.matches('/').count() == 1 && path.len() > 1;
    let verified = is_signed(&path) || is_bucket && is_signed(&format!("{path}/"));
    if !verified {
        return Err(s3_error!(SignatureDoesNotMatch));
    }
    strip(request)?;
    request.extensions_mut().insert(Proven(caller));
    Ok(())
}

/// The parameters of a query, decoded. One that the signature does not cover must not change what is done.
fn parameters(uri: &Uri) -> S3Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for (name, value) in query(uri).filter(|(name, _)| !name.is_empty()) {
        let known = [&OF_SIGNATURE[..], &COVERED, &OPEN].iter().any(|names| names.contains(&name.as_str()));
        if !known && !is_header(&name) {
            return Err(s3_error!(
                AccessDenied,
                "a URL presigned by version 2 does not cover the parameter {name:?}; presign with AWS4-HMAC-SHA256"
            ));
        }
        if found.insert(name.clone(), decoded(value)).is_some() {
            return Err(s3_error!(InvalidArgument, "the parameter {name} is there twice"));
        }
    }
    Ok(found)
}

/// Whether a parameter is a header that the client has moved into the query.
fn is_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("x-amz-") || name == "content-type" || name == "content-md5"
}

/// Gives the request the headers that its query carries: they are signed as headers, and mean the same.
fn hoist(parameters: &BTreeMap<String, String>, headers: &mut HeaderMap) -> S3Result<()> {
    for (name, value) in parameters.iter().filter(|(name, _)| is_header(name)) {
        let wrong = || s3_error!(InvalidArgument, "the parameter {name} of the query cannot be read as a header");
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
        if headers.get(&key).is_some_and(|there| there != value) {
            return Err(s3_error!(InvalidArgument, "{name} says one thing in the query and another as a header"));
        }
        headers.insert(key, value);
    }
    if headers.contains_key("x-amz-security-token") {
        return Err(errors::custom("InvalidToken", "the keys of this gateway have no session tokens"));
    }
    Ok(())
}

/// What is signed. `path` is the one of the request, with the bucket that its host names before it.
fn text<B>(request: &Request<B>, parameters: &BTreeMap<String, String>, expires: &str, path: &str) -> String {
    let headers = request.headers();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut text =
        format!("{}\n{}\n{}\n{expires}\n", request.method(), header("content-md5"), header(CONTENT_TYPE.as_str()));
    let mut names: Vec<&HeaderName> = headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).collect();
    names.sort_by_key(|name| name.as_str());
    for name in names {
        let values: Vec<&str> =
            headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default().trim()).collect();
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    text.push_str(path);
    // Sorted by name, as the map is.
    let covered = parameters.iter().filter(|(name, _)| COVERED.contains(&name.as_str()));
    for (at, (name, value)) in covered.enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(name);
        if !value.is_empty() {
            text.push_str(&format!("={value}"));
        }
    }
    text
}

/// Takes what was of the signature, and what has become a header, from the query.
fn strip<B>(request: &mut Request<B>) -> S3Result<()> {
    let uri = request.uri();
    let parts = uri.query().unwrap_or_default().split('&').zip(query(uri).map(|(name, _)| name));
    let kept = parts.filter(|(_, name)| !OF_SIGNATURE.contains(&name.as_str()) && !is_header(name));
    let kept: Vec<&str> = kept.map(|(part, _)| part).collect();
    let path_and_query = format!("{}?{}", uri.path(), kept.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path_and_query.trim_end_matches('?').parse().ok();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| s3_error!(error, InvalidURI))?;
    Ok(())
}

#[cfg(test)]
mod tests;
