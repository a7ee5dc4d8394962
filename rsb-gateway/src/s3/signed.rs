//! What a request says of its own signature, held to S3's rules and refused with S3's codes before the signature itself is
//! computed (s3s does that, in constant time). Also headers that a presigned URL carries in its query.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, HeaderValue, Request, Uri};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3Result, s3_error};

use super::errors;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// A presigned URL is good for at most a week, in seconds.
const MAX_EXPIRES: i64 = 7 * 24 * 3600;
/// Clocks may differ by this much.
const MAX_SKEW_MS: i64 = 15 * 60 * 1000;
/// What a presigned URL says of its signature, in lower case; other parameters that begin with `x-amz-` are headers that a
/// client has moved into the query.
const OF_SIGNATURE: [&str; 8] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signedheaders",
    "x-amz-signature",
    "x-amz-security-token",
    "x-amz-content-sha256",
];
/// The headers that may come with a signed request without being signed: it is the body that they secure.
const UNSIGNED: [&str; 1] = ["x-amz-content-sha256"];
const SHAPE: &str = "expecting \"<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request\"";

/// What signatures must be made for.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// The region; any when absent.
    pub(super) region: Option<&'a str>,
    /// The time, in ms since 1970.
    pub(super) now_ms: u64,
}

/// Where the signature stands; its errors have codes of their own.
#[derive(Clone, Copy)]
enum Place {
    Head,
    Query,
}

impl Place {
    fn error(self, message: impl Into<Cow<'static, str>>) -> S3Error {
        match self {
            Self::Head => errors::custom("AuthorizationHeaderMalformed", message),
            Self::Query => errors::custom("AuthorizationQueryParametersError", message),
        }
    }
}

/// Refuses a request whose signature is malformed, or made for something else. One without a signature passes.
pub(super) fn check<B>(request: &Request<B>, rules: Rules<'_>) -> S3Result<()> {
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    if authorization.is_some_and(|value| value.starts_with(b"AWS ")) {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    }
    let in_query = ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature"];
    let presigned = in_query.iter().any(|name| parameter(request, name).is_some());
    match (authorization, presigned) {
        (None, false) => Ok(()),
        (Some(_), true) => Err(s3_error!(
            InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified"
        )),
        (Some(value), false) => check_head(request, value, rules),
        (None, true) => check_query(request, rules),
    }
}

fn check_head<B>(request: &Request<B>, value: &[u8], rules: Rules<'_>) -> S3Result<()> {
    let place = Place::Head;
    let text = std::str::from_utf8(value).map_err(|_| place.error("The authorization header is not plain text."))?;
    let Some(rest) = text.strip_prefix(ALGORITHM) else {
        return Err(s3_error!(InvalidArgument, "Unsupported Authorization Type"));
    };
    let part = |name: &str| rest.split([',', ' ']).find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (Some(credential), Some(signed), Some(signature)) =
        (part("Credential"), part("SignedHeaders"), part("Signature"))
    else {
        return Err(place.error(
            "The authorization header is malformed; it needs Credential, SignedHeaders and Signature, separated by commas.",
        ));
    };
    let date = request.headers().get("x-amz-date").and_then(|value| value.to_str().ok());
    if date.and_then(time_ms).is_none() {
        return Err(s3_error!(AccessDenied, "AWS authentication requires a valid x-amz-date header"));
    }
    check_scope(place, credential, date.unwrap_or_default(), rules)?;
    check_digest(request.headers())?;
    check_hex(signature)?;
    check_headers(request.headers(), signed)
}

fn check_query<B>(request: &Request<B>, rules: Rules<'_>) -> S3Result<()> {
    let place = Place::Query;
    let one = |name| parameter(request, name).filter(|_| query(request.uri()).filter(|(n, _)| n == name).count() == 1);
    let (Some(algorithm), Some(credential), Some(date), Some(expires), Some(signed), Some(signature)) = (
        one("X-Amz-Algorithm"),
        one("X-Amz-Credential"),
        one("X-Amz-Date"),
        one("X-Amz-Expires"),
        one("X-Amz-SignedHeaders"),
        one("X-Amz-Signature"),
    ) else {
        return Err(place.error(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each once.",
        ));
    };
    if algorithm != ALGORITHM {
        return Err(place.error("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    let Some(made_ms) = time_ms(&date) else {
        return Err(place.error("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""));
    };
    match expires.parse::<i64>() {
        Err(_) => return Err(place.error("X-Amz-Expires should be a number")),
        Ok(seconds) if seconds < 0 => return Err(place.error("X-Amz-Expires must be non-negative")),
        Ok(seconds) if seconds > MAX_EXPIRES => {
            return Err(place.error(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds",
            ));
        }
        Ok(_) => {}
    }
    if made_ms.saturating_sub(i64::try_from(rules.now_ms).unwrap_or(i64::MAX)) > MAX_SKEW_MS {
        return Err(s3_error!(AccessDenied, "Request is not valid yet"));
    }
    check_scope(place, &credential, &date, rules)?;
    check_hex(&signature)?;
    check_headers(request.headers(), &signed)
}

/// What a signature is for.
pub(super) struct Scope<'a> {
    /// The key's id.
    pub(super) id: &'a str,
    /// `YYYYMMDD`
    pub(super) day: &'a str,
    pub(super) region: &'a str,
}

/// Refuses a form whose signature is malformed, or made for something else.
pub(super) fn check_form<'a>(
    algorithm: &str,
    credential: &'a str,
    date: &str,
    rules: Rules<'_>,
) -> S3Result<Scope<'a>> {
    if algorithm != ALGORITHM {
        return Err(Place::Query.error("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    if time_ms(date).is_none() {
        return Err(Place::Query.error("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""));
    }
    check_scope(Place::Query, credential, date, rules)
}

/// Reads what a signature is for, and holds it to the rules.
fn check_scope<'a>(place: Place, credential: &'a str, date: &str, rules: Rules<'_>) -> S3Result<Scope<'a>> {
    // An id may have slashes itself, so it is read from the end.
    let mut parts = credential.rsplitn(5, '/');
    let (Some("aws4_request"), Some(service), Some(region), Some(day), Some(id)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(place.error(format!("The credential is malformed; {SHAPE}.")));
    };
    let digits = day.len() == 8 && day.bytes().all(|byte| byte.is_ascii_digit());
    if id.is_empty() || region.is_empty() || !digits {
        return Err(place.error(format!("The credential is malformed; {SHAPE}.")));
    }
    if !date.starts_with(day) {
        return Err(place.error(format!("Invalid credential date {day:?}: it is not the date of the request.")));
    }
    if service != "s3" {
        return Err(
            place.error(format!("The credential's service {service:?} is wrong; this endpoint belongs to \"s3\"."))
        );
    }
    match rules.region {
        Some(expected) if expected != region => {
            let mut error = place.error(format!("The region {region:?} is wrong; expecting {expected:?}."));
            // Clients that follow a bucket to its region read it here.
            error.set_headers(HeaderMap::from_iter(
                HeaderValue::from_str(expected)
                    .ok()
                    .map(|value| (HeaderName::from_static("x-amz-bucket-region"), value)),
            ));
            Err(error)
        }
        _ => Ok(Scope { id, day, region }),
    }
}

/// How the body is secured: nothing else is known, and S3 asks for it.
fn check_digest(headers: &HeaderMap) -> S3Result<()> {
    let Some(value) = headers.get("x-amz-content-sha256") else {
        return Err(s3_error!(InvalidRequest, "Missing required header for this request: x-amz-content-sha256"));
    };
    let text = value.to_str().unwrap_or_default();
    let is_word = text == "UNSIGNED-PAYLOAD" || text.starts_with("STREAMING-");
    if is_word || is_sha256(text) {
        return Ok(());
    }
    Err(s3_error!(
        InvalidArgument,
        "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value."
    ))
}

fn check_hex(signature: &str) -> S3Result<()> {
    if is_sha256(signature) {
        return Ok(());
    }
    Err(s3_error!(SignatureDoesNotMatch, "The signature is not 64 hexadecimal digits in lower case"))
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Holds a signed request to what S3 asks: `host` and every `x-amz-` header are signed, so that nobody on the way can add one.
fn check_headers(headers: &HeaderMap, signed: &str) -> S3Result<()> {
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

/// Gives a presigned request the headers that its query carries: they are signed as part of the query, and mean the same.
pub(super) fn hoist<B>(request: &mut Request<B>) -> S3Result<()> {
    if parameter(request, "X-Amz-Signature").is_none() {
        return Ok(());
    }
    let mut moved = Vec::new();
    for (name, value) in query(request.uri()) {
        let name = name.to_ascii_lowercase();
        if !name.starts_with("x-amz-") || OF_SIGNATURE.contains(&name.as_str()) {
            continue;
        }
        let wrong = || s3_error!(InvalidArgument, "the parameter {name} of the query cannot be read as a header");
        let value = HeaderValue::from_bytes(decoded(value).as_bytes()).map_err(|_| wrong())?;
        moved.push((HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?, value));
    }
    for (name, value) in moved {
        if request.headers().contains_key(&name) {
            return Err(s3_error!(InvalidArgument, "{name} is there twice, or in the query and as a header too"));
        }
        request.headers_mut().insert(name, value);
    }
    Ok(())
}

/// Whether a query's parameter says something of the signature.
pub(super) fn is_of_signature(name: &str) -> bool {
    OF_SIGNATURE.contains(&name)
}

/// `20201124T000000Z` in ms since 1970.
fn time_ms(text: &str) -> Option<i64> {
    let time = chrono::NaiveDateTime::parse_from_str(text, "%Y%m%dT%H%M%SZ").ok()?;
    (text.len() == 16).then(|| time.and_utc().timestamp_millis())
}

/// A parameter of a request's query, decoded.
fn parameter<B>(request: &Request<B>, name: &str) -> Option<String> {
    query(request.uri()).find(|(known, _)| known == name).map(|(_, value)| decoded(value))
}

pub(super) fn decoded(value: &str) -> String {
    percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The parameters of a query: their names decoded, as s3s decodes them, their values as they stand.
pub(super) fn query(uri: &Uri) -> impl Iterator<Item = (String, &str)> {
    let parts = uri.query().unwrap_or_default().split('&');
    parts.map(|part| part.split_once('=').unwrap_or((part, ""))).map(|(name, value)| (decoded(name), value))
}

#[cfg(test)]
mod tests;
