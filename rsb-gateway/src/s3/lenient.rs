//! Headers of a read that S3 passes over, or reads in more forms than s3s does: a `Range` that cannot be read or names
//! several ranges stands for the whole, conditions take lists of entity tags, dates that are none count for nothing. s3s would
//! refuse the request. So its signature is verified first with the headers as they are, and then it is served without them.

use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use s3s::dto::{ETagCondition, Range, Timestamp, TimestampFormat};

/// The headers of a request as they were sent.
#[derive(Clone)]
pub(super) struct AsSent(HeaderMap);

/// The headers of a read that s3s would not take.
pub(super) fn odd<B>(request: &Request<B>) -> Vec<HeaderName> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Vec::new();
    }
    let is_tag = |value: &HeaderValue| ETagCondition::parse_http_header(value.as_bytes()).is_ok();
    let is_date = |text: &str| Timestamp::parse(TimestampFormat::HttpDate, text).is_ok();
    let fits = |name: &HeaderName, value: &HeaderValue| match value.to_str() {
        Err(_) => false,
        Ok(text) if *name == RANGE => Range::parse(text).is_ok(),
        Ok(text) if *name == IF_MODIFIED_SINCE || *name == IF_UNMODIFIED_SINCE => is_date(text),
        Ok(_) => is_tag(value),
    };
    let names = [RANGE, IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    let is_odd = |name: &HeaderName| {
        let values: Vec<_> = request.headers().get_all(name).iter().collect();
        values.len() > 1 || values.iter().any(|value| !fits(name, value))
    };
    names.into_iter().filter(is_odd).collect()
}

/// Takes headers out of a request; [`as_sent`] still shows them.
pub(super) fn strip<B>(request: &mut Request<B>, odd: &[HeaderName]) {
    let sent = AsSent(request.headers().clone());
    request.extensions_mut().insert(sent);
    for name in odd {
        request.headers_mut().remove(name);
    }
}

/// The headers as they were sent.
pub(super) fn as_sent<'a>(headers: &'a HeaderMap, extensions: &'a http::Extensions) -> &'a HeaderMap {
    extensions.get::<AsSent>().map_or(headers, |sent| &sent.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_s3s_would_not_take() {
        for (name, value, expected) in [
            ("range", "bytes=0-1", false),
            ("range", "bytes=-5", false),
            ("range", "bytes=0-1,3-4", true),
            ("range", "rows=1", true),
            ("if-match", "\"a\"", false),
            ("if-match", "*", false),
            ("if-modified-since", "Tue, 24 Nov 2020 00:00:00 GMT", false),
            ("if-modified-since", "yesterday", true),
            ("x-odd", "yesterday", false),
        ] {
            let request = |method| Request::builder().method(method).header(name, value).body(()).unwrap();
            assert_eq!(!odd(&request("GET")).is_empty(), expected, "{name}: {value}");
            assert!(odd(&request("PUT")).is_empty());
        }
    }
}
