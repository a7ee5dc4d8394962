//! CORS: which web pages of other sites may use a bucket, kept with the bucket, asked by browsers with OPTIONS before a
//! request, and said in the headers of every reply to a page.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use rsb_core::Engine;
use s3s::dto::{
    CORSConfiguration, CORSRule, DeleteBucketCorsInput, DeleteBucketCorsOutput, GetBucketCorsInput,
    GetBucketCorsOutput, PutBucketCorsInput, PutBucketCorsOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::errors;
use crate::http::reply::set;

/// The bucket's setting that holds its rules, as JSON of a list of [`Rule`].
const SETTING: &str = "s3-cors";
/// Rules of a bucket, and the characters of a rule's id, as S3 has them.
const MAX_RULES: usize = 100;
const MAX_ID: usize = 255;
/// Bytes that the rules of a bucket take.
const MAX_BYTES: usize = 64 << 10;
const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// What pages of some origins may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// Each with at most one `*`.
    origins: Vec<String>,
    methods: Vec<String>,
    /// Headers of requests, each with at most one `*`.
    headers: Vec<String>,
    /// Headers of replies that a page may see.
    exposed: Vec<String>,
    /// How long a browser may remember the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age_s: Option<i32>,
}

impl Rule {
    fn of(rule: CORSRule) -> S3Result<Self> {
        let out = Self {
            id: rule.id,
            origins: rule.allowed_origins,
            methods: rule.allowed_methods,
            headers: rule.allowed_headers.unwrap_or_default(),
            exposed: rule.expose_headers.unwrap_or_default(),
            max_age_s: rule.max_age_seconds,
        };
        if out.origins.is_empty() || out.methods.is_empty() || out.id.as_ref().is_some_and(|id| id.len() > MAX_ID) {
            return Err(s3_error!(
                MalformedXML,
                "a CORS rule has an origin and a method, and an id of at most 255 bytes"
            ));
        }
        if let Some(method) = out.methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(s3_error!(
                InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            ));
        }
        if let Some(origin) = out.origins.iter().find(|origin| origin.matches('*').count() > 1) {
            return Err(s3_error!(InvalidRequest, "AllowedOrigin \"{origin}\" can not have more than one wildcard."));
        }
        if let Some(name) = out.headers.iter().find(|name| name.matches('*').count() > 1) {
            return Err(s3_error!(InvalidRequest, "AllowedHeader \"{name}\" can not have more than one wildcard."));
        }
        if let Some(name) =
            out.exposed.iter().find(|name| HeaderName::from_bytes(name.as_bytes()).is_err() || name.contains('*'))
        {
            return Err(s3_error!(
                InvalidRequest,
                "ExposeHeader \"{name}\" is no header's name, or contains a wildcard."
            ));
        }
        if out.max_age_s.is_some_and(|seconds| seconds < 0) {
            return Err(s3_error!(MalformedXML, "MaxAgeSeconds is not negative"));
        }
        Ok(out)
    }

    fn into_dto(self) -> CORSRule {
        let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
        CORSRule {
            allowed_headers: some(self.headers),
            allowed_methods: self.methods,
            allowed_origins: self.origins,
            expose_headers: some(self.exposed),
            id: self.id,
            max_age_seconds: self.max_age_s,
        }
    }

    /// The rule's own word for the origin, where it speaks of it.
    fn origin(&self, origin: &str) -> Option<&str> {
        self.origins.iter().map(String::as_str).find(|pattern| matches(pattern, origin))
    }

    fn is_for(&self, origin: &str, method: &str, headers: &[&str]) -> bool {
        let allowed = |name: &&str| self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), name));
        self.origin(origin).is_some() && self.methods.iter().any(|one| one == method) && headers.iter().all(allowed)
    }

    /// What a reply to the origin says.
    fn describe(&self, origin: &str, out: &mut HeaderMap) {
        if self.origin(origin) == Some("*") {
            set(out, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        } else {
            set(out, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(out, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
        }
        set(out, ACCESS_CONTROL_ALLOW_METHODS, self.methods.join(", "));
        if !self.exposed.is_empty() {
            set(out, ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.join(", "));
        }
        if let Some(seconds) = self.max_age_s {
            set(out, ACCESS_CONTROL_MAX_AGE, seconds.to_string());
        }
        // The reply depends on who asks: a cache must not give it to a page of another site.
        let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
        out.append(VARY, HeaderValue::from_static(vary));
    }
}

/// Whether a text matches a pattern with at most one `*`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end),
    }
}

/// The rules of a bucket; none where there is no such bucket, or it has none.
async fn rules(engine: &Engine, bucket: &str) -> Vec<Rule> {
    let Ok(record) = engine.bucket(bucket).await else { return Vec::new() };
    record.settings.extra.get(SETTING).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Adds to a reply what the page that asked may do with it. `method` is the request's.
pub(super) async fn describe(
    engine: &Engine,
    bucket: &str,
    origin: &HeaderValue,
    method: &Method,
    out: &mut HeaderMap,
) {
    let Ok(origin) = origin.to_str() else { return };
    let rules = rules(engine, bucket).await;
    if let Some(rule) = rules.iter().find(|rule| rule.is_for(origin, method.as_str(), &[])) {
        rule.describe(origin, out);
    }
}

/// The answer to a browser that asks (OPTIONS) whether a page may send a request. It is asked without a signature.
pub(super) async fn preflight(engine: &Engine, bucket: &str, headers: &HeaderMap) -> S3Result<HeaderMap> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else {
        return Err(errors::custom("BadRequest", "Insufficient information. Origin request header needed."));
    };
    let method = text(ACCESS_CONTROL_REQUEST_METHOD).unwrap_or("null");
    if !METHODS.contains(&method) {
        return Err(errors::custom("BadRequest", format!("Invalid Access-Control-Request-Method: {method}")));
    }
    let wanted = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default().to_ascii_lowercase();
    let wanted: Vec<&str> = wanted.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let rules = rules(engine, bucket).await;
    if rules.is_empty() {
        return Err(forbidden("CORSResponse: CORS is not enabled for this bucket."));
    }
    let Some(rule) = rules.iter().find(|rule| rule.is_for(origin, method, &wanted)) else {
        return Err(forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, request method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
        ));
    };
    let mut out = HeaderMap::new();
    rule.describe(origin, &mut out);
    if !wanted.is_empty() {
        set(&mut out, ACCESS_CONTROL_ALLOW_HEADERS, wanted.join(", "));
    }
    Ok(out)
}

fn forbidden(message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom("AccessForbidden".into()), message);
    error.set_status_code(StatusCode::FORBIDDEN);
    error
}

pub(super) async fn put(
    engine: &Engine,
    req: S3Request<PutBucketCorsInput>,
) -> S3Result<S3Response<PutBucketCorsOutput>> {
    let CORSConfiguration { cors_rules } = req.input.cors_configuration;
    if cors_rules.is_empty() || cors_rules.len() > MAX_RULES {
        return Err(s3_error!(
            MalformedXML,
            "a CORS configuration has 1 to {MAX_RULES} rules, and not {}",
            cors_rules.len()
        ));
    }
    let rules = cors_rules.into_iter().map(Rule::of).collect::<S3Result<Vec<_>>>()?;
    let text = serde_json::to_string(&rules).map_err(|error| s3_error!(error, InternalError))?;
    if text.len() > MAX_BYTES {
        return Err(s3_error!(MalformedXML, "the CORS configuration is larger than 64 KiB"));
    }
    engine.update_bucket_extra(&req.input.bucket, SETTING, Some(text)).await.map_err(errors::of)?;
    Ok(S3Response::new(PutBucketCorsOutput::default()))
}

pub(super) async fn get(
    engine: &Engine,
    req: S3Request<GetBucketCorsInput>,
) -> S3Result<S3Response<GetBucketCorsOutput>> {
    engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    let rules = rules(engine, &req.input.bucket).await;
    if rules.is_empty() {
        return Err(s3_error!(NoSuchCORSConfiguration, "The CORS configuration does not exist"));
    }
    let cors_rules = Some(rules.into_iter().map(Rule::into_dto).collect());
    Ok(S3Response::new(GetBucketCorsOutput { cors_rules }))
}

pub(super) async fn delete(
    engine: &Engine,
    req: S3Request<DeleteBucketCorsInput>,
) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
    engine.update_bucket_extra(&req.input.bucket, SETTING, None).await.map_err(errors::of)?;
    Ok(S3Response::with_status(DeleteBucketCorsOutput::default(), StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, expected) in [
            ("*", "http://a", true),
            ("http://a", "http://a", true),
            ("http://a", "http://a.b", false),
            ("http://*.a", "http://b.a", true),
            ("http://*.a", "http://a", false),
            ("http://a*a", "http://a", false),
            ("x-amz-*", "x-amz-meta-a", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_is_for_its_origins_methods_and_headers() {
        let rule = Rule {
            origins: vec!["https://*.example.org".into()],
            methods: vec!["GET".into(), "PUT".into()],
            headers: vec!["Content-*".into()],
            ..Rule::default()
        };
        assert!(rule.is_for("https://a.example.org", "PUT", &["content-type"]));
        assert!(!rule.is_for("https://example.org", "PUT", &[]));
        assert!(!rule.is_for("https://a.example.org", "POST", &[]));
        assert!(!rule.is_for("https://a.example.org", "PUT", &["content-type", "x-amz-date"]));
        let mut out = HeaderMap::new();
        rule.describe("https://a.example.org", &mut out);
        assert_eq!(out[ACCESS_CONTROL_ALLOW_ORIGIN], "https://a.example.org");
        assert_eq!(out[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
    }
}
