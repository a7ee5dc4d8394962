//! What a request must not be or ask for. A header that would silently be without effect is answered NotImplemented:
//! whoever asks for encryption must not believe to have got it.

use http::{HeaderMap, Uri};
use s3s::{S3Result, s3_error};

use super::errors;
use super::signed::{is_of_signature, query};

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
/// Parameters that begin with `x-amz-` and are without effect anyway.
const HARMLESS: [&str; 2] = ["x-amz-checksum-mode", "x-amz-user-agent"];

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
    // Of a presigned URL they are headers, and were looked at as such.
    let presigned = query(uri).any(|(name, _)| name == "X-Amz-Signature");
    for (name, _) in query(uri) {
        let name = name.to_ascii_lowercase();
        if name == "x-amz-security-token" {
            return Err(errors::custom("InvalidToken", "the keys of this gateway have no session tokens"));
        }
        let served = presigned || is_of_signature(&name) || HARMLESS.contains(&name.as_str());
        if name.starts_with("x-amz-") && !served {
            return Err(s3_error!(
                NotImplemented,
                "{name} in the query of a request that is not presigned is not served here; send it as a header"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = headers.iter().fold(Request::builder().uri(uri), |b, (name, value)| b.header(*name, *value));
        request.body(()).unwrap()
    }

    fn code(result: S3Result<()>) -> String {
        result.map_or_else(|error| error.code().as_str().to_owned(), |()| "fine".to_owned())
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
            ("/?X-Amz-Signature=0&x-amz-meta-a=b", "x-amz-meta-a", "b", "fine"),
            ("/?x-amz-acl=public-read", "range", "bytes=0-1", "NotImplemented"),
        ] {
            let request = request(uri, &[(name, value)]);
            assert_eq!(code(after_signatures(request.headers(), request.uri())), expected, "{uri} {name}: {value}");
        }
    }
}
