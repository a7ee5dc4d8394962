//! What is said of an object beside its bytes: system and user metadata, in requests and in replies.

use std::collections::BTreeMap;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};
use rsb_core::{Described, ObjectInfo};
use s3s::dto::{ETag, Metadata, Timestamp};
use s3s::{S3Result, s3_error};

use crate::http::reply::set;
use crate::v1::put::KEPT;

/// The names and values of the user's metadata have at most this many bytes, as S3 has it.
const MAX_USER_BYTES: usize = 2 << 10;
/// The kept headers have at most this many bytes together.
const MAX_SYSTEM_BYTES: usize = 8 << 10;
/// What an object without a type is sent as.
const DEFAULT_TYPE: &str = "binary/octet-stream";
/// The attribute that a storage class is kept as.
const STORAGE_CLASS: &str = "x-amz-storage-class";
/// The classes that may be asked for: those whose objects can be read at once, as all here can.
const CLASSES: [&str; 5] = ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"];
const STANDARD: &str = "STANDARD";

/// What a request says of the object it writes.
pub(super) fn of_request(headers: &HeaderMap, user: Option<Metadata>) -> S3Result<Described> {
    let mut out = Described::default();
    for name in KEPT {
        let Some(value) = headers.get(&name) else { continue };
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| s3_error!(InvalidRequest, "the header {name} is not UTF-8"))?;
        let text = if name == CONTENT_ENCODING { without_chunks(text) } else { text.to_owned() };
        if !text.is_empty() {
            out.attributes.insert(name.as_str().to_owned(), text);
        }
    }
    if let Some(class) = class_of(headers)? {
        out.attributes.insert(STORAGE_CLASS.to_owned(), class);
    }
    if out.attributes.values().map(String::len).sum::<usize>() > MAX_SYSTEM_BYTES {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    out.metadata = user.unwrap_or_default().into_iter().collect();
    let bytes: usize = out.metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_USER_BYTES {
        return Err(s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size"));
    }
    Ok(out)
}

/// The storage class asked for, where it is another than the standard.
pub(super) fn class_of(headers: &HeaderMap) -> S3Result<Option<String>> {
    let Some(class) = headers.get(STORAGE_CLASS) else { return Ok(None) };
    match CLASSES.iter().find(|known| known.as_bytes() == class.as_bytes()) {
        Some(&STANDARD) => Ok(None),
        Some(known) => Ok(Some((*known).to_owned())),
        None => Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid")),
    }
}

/// Gives kept attributes another storage class.
pub(super) fn set_class(attributes: &mut BTreeMap<String, String>, class: Option<String>) {
    match class {
        Some(class) => attributes.insert(STORAGE_CLASS.to_owned(), class),
        None => attributes.remove(STORAGE_CLASS),
    };
}

/// The storage class of an object.
pub(super) fn class(info: &ObjectInfo) -> &str {
    class_in(&info.manifest.attributes)
}

/// The storage class among kept attributes.
pub(super) fn class_in(attributes: &BTreeMap<String, String>) -> &str {
    attributes.get(STORAGE_CLASS).map_or(STANDARD, String::as_str)
}

/// A content encoding without the one that only says how the body travelled.
fn without_chunks(text: &str) -> String {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.eq_ignore_ascii_case("aws-chunked")).collect::<Vec<_>>().join(",")
}

/// The kept headers of a reply, with what the request wants in their place.
pub(super) fn headers(info: &ObjectInfo, overrides: [(HeaderName, Option<&str>); 6]) -> S3Result<HeaderMap> {
    let mut out = HeaderMap::new();
    set(&mut out, CONTENT_TYPE, DEFAULT_TYPE);
    let attributes = &info.manifest.attributes;
    for name in KEPT {
        if let Some(value) = attributes.get(name.as_str()) {
            set(&mut out, name, value);
        }
    }
    if class(info) != STANDARD {
        set(&mut out, HeaderName::from_static(STORAGE_CLASS), class(info));
    }
    for (name, value) in overrides {
        let Some(value) = value else { continue };
        let value = HeaderValue::from_str(value)
            .map_err(|_| s3_error!(InvalidArgument, "the response header {name} cannot be {value:?}"))?;
        out.insert(name, value);
    }
    // What people store is theirs, and may be a web page: it must not be taken for another type than it says.
    out.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(out)
}

/// The user's metadata, in a reply.
pub(super) fn user(info: &ObjectInfo) -> Option<Metadata> {
    let metadata = &info.manifest.metadata;
    (!metadata.is_empty()).then(|| metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The entity tag.
pub(super) fn etag(info: &ObjectInfo) -> ETag {
    ETag::Strong(info.etag())
}

/// The time of the write.
pub(super) fn modified(info: &ObjectInfo) -> Timestamp {
    time(info.modified_ms())
}

/// A time in s3s's form.
pub(super) fn time(ms: u64) -> Timestamp {
    (std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_body_travelled_is_not_kept() {
        for (given, kept) in [("aws-chunked", ""), ("gzip,aws-chunked", "gzip"), ("gzip, br", "gzip,br")] {
            assert_eq!(without_chunks(given), kept);
        }
    }

    #[test]
    fn classes_are_checked_and_the_standard_one_is_not_kept() {
        let asked = |class: &str| {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(STORAGE_CLASS), class.parse().unwrap())]);
            class_of(&headers).map_err(|error| error.code().as_str().to_owned())
        };
        assert_eq!(asked("STANDARD"), Ok(None));
        assert_eq!(asked("STANDARD_IA"), Ok(Some("STANDARD_IA".into())));
        assert_eq!(asked("GLACIER"), Err("InvalidStorageClass".into()));
    }
}
