//! A sentence for the errors that s3s gives without one.

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_LENGTH;
use s3s::Body;

/// What a code means, and what to do.
fn sentence(code: &str) -> &'static str {
    match code {
        "SignatureDoesNotMatch" => {
            "The request signature we calculated does not match the signature you provided. Check your key and signing method."
        }
        "MalformedXML" => "The XML you provided was not well-formed or did not validate against our published schema.",
        "MissingRequestBodyError" => "Request body is empty.",
        "InvalidBucketName" => {
            "The specified bucket is not valid: names have 3 to 63 lower-case letters, digits, '-' and '.'."
        }
        "KeyTooLongError" => "Your key is too long: keys have at most 1024 bytes.",
        "InvalidURI" => "Couldn't parse the specified URI: its path must be UTF-8, percent-encoded.",
        "MethodNotAllowed" => "The specified method is not allowed against this resource.",
        "IncompleteBody" => "You did not provide the number of bytes specified by the Content-Length HTTP header.",
        "MissingContentLength" => "You must provide the Content-Length HTTP header.",
        "MaxMessageLengthExceeded" => "Your request was too big.",
        "InvalidRequest" | "InvalidArgument" => "A header or parameter of the request cannot be read.",
        "AccessDenied" => "Access Denied",
        "InternalError" => "We encountered an internal error. Please try again.",
        _ => "The request cannot be served as it is.",
    }
}

/// Gives an error without a sentence one.
pub(super) fn complete(response: &mut Response<Body>) {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return;
    }
    let Some(bytes) = response.body().bytes() else { return };
    let Some(text) = completed(&bytes) else { return };
    *response.body_mut() = Body::from(text);
    response.headers_mut().remove(CONTENT_LENGTH);
}

fn completed(bytes: &Bytes) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (before, rest) = text.split_once("<Code>")?;
    let (code, after) = rest.split_once("</Code>")?;
    (!after.contains("<Message>"))
        .then(|| format!("{before}<Code>{code}</Code><Message>{}</Message>{after}", sentence(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_no_sentence_gets_one() {
        let bare = Bytes::from_static(b"<Error><Code>InvalidURI</Code></Error>");
        let said = completed(&bare).unwrap();
        assert!(
            said.starts_with("<Error><Code>InvalidURI</Code><Message>Couldn't parse")
                && said.ends_with("</Message></Error>")
        );
        assert_eq!(completed(&Bytes::from(said)), None);
        assert_eq!(completed(&Bytes::from_static(b"other")), None);
    }
}
