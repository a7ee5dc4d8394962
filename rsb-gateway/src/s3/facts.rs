//! What is said of an object beside its bytes: system and user metadata, in requests and in replies.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::DateTime;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use rsb_core::{Described, ObjectInfo};
use s3s::dto::{ETag, Metadata, Timestamp, TimestampFormat};
use s3s::{S3Result, s3_error};

use super::lock;
use crate::classes::{Classes, STANDARD, ShardCounts};
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
    if let Some(class) = class_of(headers) {
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

/// The tags that a request gives the object it writes.
pub(super) fn tags_of(headers: &HeaderMap) -> S3Result<BTreeMap<String, String>> {
    super::tags::of_header(headers)
}

/// Refuses a storage class that is not served. It is looked at once, for all operations.
pub(super) fn check_class(headers: &HeaderMap, classes: &Classes) -> S3Result<()> {
    match headers.get(STORAGE_CLASS) {
        Some(class) if !class.to_str().is_ok_and(|class| classes.has(class)) => {
            Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid"))
        }
        _ => Ok(()),
    }
}

/// The storage class asked for, where it is another than the standard.
pub(super) fn class_of(headers: &HeaderMap) -> Option<String> {
    let class = headers.get(STORAGE_CLASS)?.to_str().ok()?;
    (class != STANDARD).then(|| class.to_owned())
}

/// How the gateway codes objects with these attributes: by their storage class; `None` where that does not say.
pub(super) fn shard_counts(extensions: &Extensions, attributes: &BTreeMap<String, String>) -> Option<ShardCounts> {
    extensions.get::<Arc<Classes>>()?.scheme(class_in(attributes))
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

/// The storage class of an object with these attributes.
pub(super) fn class_in(attributes: &BTreeMap<String, String>) -> &str {
    attributes.get(STORAGE_CLASS).map_or(STANDARD, String::as_str)
}

/// A content encoding without the one that only says how the body travelled.
fn without_chunks(text: &str) -> String {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.eq_ignore_ascii_case("aws-chunked")).collect::<Vec<_>>().join(",")
}

/// The kept headers of a reply, with what the request wants in their place.
pub(super) fn headers<'a>(
    info: &ObjectInfo,
    overrides: impl IntoIterator<Item = (HeaderName, Option<&'a str>)>,
) -> S3Result<HeaderMap> {
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
    if !info.manifest.tags.is_empty() {
        set(&mut out, HeaderName::from_static("x-amz-tagging-count"), info.manifest.tags.len().to_string());
    }
    lock::say(info, &mut out);
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

/// A time of s3s's in milliseconds since the Unix epoch; 0 before it.
pub(super) fn ms(time: &Timestamp) -> u64 {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::DateTime, &mut text).ok().and(String::from_utf8(text).ok());
    let parsed = written.and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    parsed.and_then(|time| u64::try_from(time.timestamp_millis()).ok()).unwrap_or_default()
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
    fn times_go_both_ways() {
        for ms_of in [0, 1_606_217_663_042, 253_402_300_799_999] {
            assert_eq!(ms(&time(ms_of)), ms_of);
        }
        assert_eq!(ms(&Timestamp::parse(TimestampFormat::DateTime, "1969-01-01T00:00:00Z").unwrap()), 0);
    }

    #[test]
    fn the_standard_class_is_not_kept_and_an_unknown_one_refused() {
        let asked =
            |class: &str| HeaderMap::from_iter([(HeaderName::from_static(STORAGE_CLASS), class.parse().unwrap())]);
        assert_eq!(class_of(&asked("STANDARD")), None);
        assert_eq!(class_of(&asked("STANDARD_IA")), Some("STANDARD_IA".into()));
        let classes = Classes::default();
        assert!(check_class(&HeaderMap::new(), &classes).is_ok() && check_class(&asked("STANDARD"), &classes).is_ok());
        let refused = check_class(&asked("GLACIER"), &classes).unwrap_err();
        assert_eq!(refused.code().as_str(), "InvalidStorageClass");
    }
}
