//! What a request must not be or ask for. A header that would silently be without effect is answered NotImplemented:
//! whoever asks for encryption must not believe to have got it.

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method, Request, Uri};
use s3s::{S3Result, s3_error};

use super::errors;

/// Beginnings of headers that ask for what is not there yet.
const NOT_SERVED: [&str; 8] = [
    "x-amz-server-side-encryption",
    "x-amz-copy-source-server-side-encryption",
    "x-amz-website-redirect-location",
    "x-amz-write-offset-bytes",
    "x-amz-grant-",
    "x-amz-mfa",
    "x-amz-if-match-",
    "x-amz-rename-source",
];
/// Headers that are served when they have one of these values, which say what is so anyway.
const ONLY: [(&str, &[&str]); 2] = [
    ("x-amz-acl", &["private", "bucket-owner-full-control", "bucket-owner-read"]),
    ("x-amz-object-ownership", &["BucketOwnerEnforced"]),
];
/// Parameters of a presigned URL, in lower case, that may begin with `x-amz-`. Others are headers that a client has moved
/// into the query, and they are not read there.
const IN_QUERY: [&str; 10] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-content-sha256",
    "x-amz-user-agent",
    "x-amz-checksum-mode",
    "x-amz-security-token",
];
/// The headers that may come with a signed request without being signed: it is the body that they secure, or they are
/// known to be added on the way.
const UNSIGNED: [&str; 1] = ["x-amz-content-sha256"];

/// What is refused before signatures are looked at, because s3s would serve it.
pub(super) fn before_signatures<B>(request: &Request<B>) -> S3Result<()> {
    let headers = request.headers();
    let authorization = headers.get(AUTHORIZATION).map_or(&b""[..], |value| value.as_bytes());
    let old = authorization.starts_with(b"AWS ") || query(request.uri()).any(|(name, _)| name == "Signature");
    if old {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if request.method() == Method::POST && kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data") {
        return Err(s3_error!(NotImplemented, "uploads by forms are not served here"));
    }
    signed_headers(request)
}

/// Holds a signed request to what S3 asks: `host` and every `x-amz-` header are signed, so that nobody on the way can add one.
fn signed_headers<B>(request: &Request<B>) -> S3Result<()> {
    let headers = request.headers();
    let authorization = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_head =
        authorization.and_then(|text| text.split([',', ' ']).find_map(|part| part.strip_prefix("SignedHeaders=")));
    let in_query = query(request.uri()).find(|(name, _)| *name == "X-Amz-SignedHeaders").map(|(_, value)| value);
    let Some(signed) = in_head.or(in_query) else { return Ok(()) };
    let signed = signed.replace("%3B", ";").replace("%3b", ";");
    let is_signed = |name: &str| signed.split(';').any(|one| one.eq_ignore_ascii_case(name));
    let must = |name: &HeaderName| name.as_str().starts_with("x-amz-") && !UNSIGNED.contains(&name.as_str());
    let missing = headers.keys().filter(|name| must(name)).map(HeaderName::as_str).find(|name| !is_signed(name));
    match missing.or_else(|| (!is_signed("host")).then_some("host")) {
        Some(name) => {
            Err(s3_error!(AccessDenied, "There were headers present in the request which were not signed: {name}"))
        }
        None => Ok(()),
    }
}

/// What is refused of a request whose signature is right.
pub(super) fn after_signatures(headers: &HeaderMap, uri: &Uri) -> S3Result<()> {
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        if name == "x-amz-security-token" {
            return Err(errors::custom("InvalidToken", "the keys of this gateway have no session tokens"));
        }
        if name.ends_with("-bucket-owner") {
            return Err(s3_error!(
                AccessDenied,
                "the buckets of this gateway belong to no account, so not to {value:?}"
            ));
        }
        let only = ONLY.iter().find(|(only, _)| *only == name);
        let unheard = only.is_some_and(|(_, values)| !values.iter().any(|known| value.as_bytes() == known.as_bytes()));
        if unheard || NOT_SERVED.iter().any(|beginning| name.starts_with(beginning)) {
            return Err(s3_error!(NotImplemented, "{name}: {value:?} is not served here"));
        }
    }
    for (name, _) in query(uri) {
        let name = name.to_ascii_lowercase();
        if name == "x-amz-security-token" {
            return Err(errors::custom("InvalidToken", "the keys of this gateway have no session tokens"));
        }
        if name.starts_with("x-amz-") && !IN_QUERY.contains(&name.as_str()) {
            return Err(s3_error!(NotImplemented, "{name} in the query is not served here; send it as a header"));
        }
    }
    Ok(())
}

/// The parameters of a query as they stand.
fn query(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let parts = uri.query().unwrap_or_default().split('&');
    parts.map(|part| part.split_once('=').unwrap_or((part, "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = headers.iter().fold(Request::builder().uri(uri), |b, (name, value)| b.header(*name, *value));
        request.body(()).unwrap()
    }

    fn code(result: S3Result<()>) -> String {
        result.map_or_else(|error| error.code().as_str().to_owned(), |()| "fine".to_owned())
    }

    #[test]
    fn every_header_of_s3_must_be_signed() {
        let v4 = "AWS4-HMAC-SHA256 Credential=k/20201124/r/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=0";
        let dated = ("x-amz-date", "20201124T000000Z");
        for (uri, headers, expected) in [
            ("/", &[("authorization", v4), dated][..], "fine"),
            ("/", &[("authorization", v4), dated, ("x-amz-content-sha256", "x")], "fine"),
            ("/", &[("authorization", v4), dated, ("x-amz-meta-a", "b")], "AccessDenied"),
            ("/?X-Amz-SignedHeaders=host", &[], "fine"),
            ("/?X-Amz-SignedHeaders=host", &[("x-amz-acl", "private")], "AccessDenied"),
            ("/?X-Amz-SignedHeaders=host%3Bx-amz-acl", &[("x-amz-acl", "private")], "fine"),
            ("/?X-Amz-SignedHeaders=x-amz-acl", &[("x-amz-acl", "private")], "AccessDenied"),
            ("/", &[("authorization", "AWS key:signature")], "InvalidRequest"),
            ("/?AWSAccessKeyId=k&Signature=s&Expires=1", &[], "InvalidRequest"),
        ] {
            assert_eq!(code(before_signatures(&request(uri, headers))), expected, "{uri} {headers:?}");
        }
    }

    #[test]
    fn what_would_be_without_effect_is_refused() {
        for (uri, name, value, expected) in [
            ("/", "x-amz-acl", "private", "fine"),
            ("/", "x-amz-acl", "public-read", "NotImplemented"),
            ("/", "x-amz-server-side-encryption", "AES256", "NotImplemented"),
            ("/", "x-amz-security-token", "t", "InvalidToken"),
            ("/", "x-amz-expected-bucket-owner", "123456789012", "AccessDenied"),
            ("/", "x-amz-source-expected-bucket-owner", "123456789012", "AccessDenied"),
            ("/", "x-amz-meta-x", "y", "fine"),
            ("/?X-Amz-Expires=5&x-id=GetObject", "range", "bytes=0-1", "fine"),
            ("/?x-amz-acl=public-read", "range", "bytes=0-1", "NotImplemented"),
        ] {
            let request = request(uri, &[(name, value)]);
            assert_eq!(code(after_signatures(request.headers(), request.uri())), expected, "{uri} {name}: {value}");
        }
    }
}
