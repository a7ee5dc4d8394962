//! ListObjects (version 1) and ListObjectsV2.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rsb_core::catalog::{ListAfter, ListQuery};
use rsb_core::{Engine, ListedObject, Listing};
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, Object,
    ObjectStorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{buckets, errors, facts};
use crate::v1::token;

/// Items of a page, at most and unless asked otherwise.
const MAX_KEYS: i32 = 1000;
/// What stands as it is in an encoded name.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// How names are written in the answer.
#[derive(Clone, Copy)]
pub(super) struct Names {
    encoded: bool,
}

impl Names {
    pub(super) fn of(asked: Option<&EncodingType>) -> S3Result<Self> {
        match asked.map(EncodingType::as_str) {
            None => Ok(Self { encoded: false }),
            Some(EncodingType::URL) => Ok(Self { encoded: true }),
            Some(other) => Err(s3_error!(InvalidArgument, "Invalid Encoding Method specified in Request: {other:?}")),
        }
    }

    pub(super) fn show(self, name: &str) -> String {
        if self.encoded { utf8_percent_encode(name, PLAIN).to_string() } else { name.to_owned() }
    }

    pub(super) fn prefixes(self, prefixes: Vec<String>) -> Option<Vec<CommonPrefix>> {
        let shown = prefixes.iter().map(|prefix| CommonPrefix { prefix: Some(self.show(prefix)) });
        Some(shown.collect())
    }
}

/// How many items are asked for: 0 to 1000, and more is as good as 1000.
pub(super) fn max_keys(asked: Option<i32>) -> S3Result<i32> {
    match asked.unwrap_or(MAX_KEYS) {
        number if number < 0 => Err(s3_error!(InvalidArgument, "max-keys is {number}, and cannot be negative")),
        number => Ok(number.min(MAX_KEYS)),
    }
}

/// A page. One of no items is empty and the last: there is nothing to go on from.
pub(super) async fn page(engine: &Engine, query: &ListQuery) -> S3Result<Listing> {
    if query.limit == 0 {
        engine.bucket(&query.bucket).await.map_err(errors::of)?;
        return Ok(Listing::default());
    }
    engine.list(query).await.map_err(errors::of)
}

/// Where a listing goes on after a marker: behind the whole common prefix where the marker is one, as the markers of pages
/// that end with one are.
pub(super) fn behind(marker: Option<&str>, prefix: &str, delimiter: Option<&str>) -> Option<ListAfter> {
    let marker = marker.filter(|marker| !marker.is_empty())?.to_owned();
    let is_prefix = delimiter.filter(|d| !d.is_empty()).is_some_and(|delimiter| {
        let rest = marker.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.find(delimiter).is_some_and(|at| at + delimiter.len() == rest.len()))
    });
    Some(if is_prefix { ListAfter::Prefix(marker) } else { ListAfter::Key(marker) })
}

pub(super) async fn v1(engine: &Engine, req: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
    let input = req.input;
    let (names, max_keys) = (Names::of(input.encoding_type.as_ref())?, max_keys(input.max_keys)?);
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let query = ListQuery {
        bucket: input.bucket.clone(),
        after: behind(input.marker.as_deref(), &prefix, delimiter.as_deref()),
        prefix,
        delimiter: delimiter.clone(),
        limit: usize::try_from(max_keys).unwrap_or_default(),
        versions: false,
    };
    let listing = page(engine, &query).await?;
    // S3 names the next marker only with a delimiter: without one it is the last key of the page.
    let next_marker = listing.next.as_ref().filter(|_| delimiter.is_some()).map(|next| match next {
        ListAfter::Key(name) | ListAfter::Prefix(name) | ListAfter::Version(name, _) => names.show(name),
    });
    let owner = buckets::owner(engine);
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(names.show(&query.prefix)),
        marker: Some(names.show(input.marker.as_deref().unwrap_or_default())),
        max_keys: Some(max_keys),
        is_truncated: Some(listing.next.is_some()),
        next_marker,
        delimiter: delimiter.map(|delimiter| names.show(&delimiter)),
        encoding_type: input.encoding_type,
        contents: Some(
            listing.objects.iter().map(|o| Object { owner: Some(owner.clone()), ..object(o, names) }).collect(),
        ),
        common_prefixes: names.prefixes(listing.prefixes),
        request_charged: None,
    }))
}

pub(super) async fn v2(
    engine: &Engine,
    req: S3Request<ListObjectsV2Input>,
) -> S3Result<S3Response<ListObjectsV2Output>> {
    let input = req.input;
    let (names, max_keys) = (Names::of(input.encoding_type.as_ref())?, max_keys(input.max_keys)?);
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let after = match input.continuation_token.as_deref() {
        // A token says more than where the whole listing was to start.
        Some(text) => Some(position(text)?),
        None => input.start_after.clone().filter(|key| !key.is_empty()).map(ListAfter::Key),
    };
    let query = ListQuery {
        bucket: input.bucket.clone(),
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: delimiter.clone(),
        after,
        limit: usize::try_from(max_keys).unwrap_or_default(),
        versions: false,
    };
    let listing = page(engine, &query).await?;
    let owner = input.fetch_owner.unwrap_or(false).then(|| buckets::owner(engine));
    let count = listing.objects.len() + listing.prefixes.len();
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(names.show(&query.prefix)),
        max_keys: Some(max_keys),
        key_count: i32::try_from(count).ok(),
        continuation_token: input.continuation_token,
        is_truncated: Some(listing.next.is_some()),
        next_continuation_token: listing.next.as_ref().map(token::of),
        delimiter: delimiter.map(|delimiter| names.show(&delimiter)),
        encoding_type: input.encoding_type,
        start_after: input.start_after.map(|key| names.show(&key)),
        contents: Some(listing.objects.iter().map(|o| Object { owner: owner.clone(), ..object(o, names) }).collect()),
        common_prefixes: names.prefixes(listing.prefixes),
        request_charged: None,
    }))
}

/// The position that a continuation token stands for.
fn position(text: &str) -> S3Result<ListAfter> {
    let position = token::read(text).ok().flatten();
    position.ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

fn object(listed: &ListedObject, names: Names) -> Object {
    let info = &listed.info;
    Object {
        key: Some(names.show(&info.manifest.key)),
        e_tag: Some(facts::etag(info)),
        size: i64::try_from(info.size()).ok(),
        last_modified: Some(facts::modified(info)),
        storage_class: Some(ObjectStorageClass::from(facts::class(info).to_owned())),
        ..Object::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_is_a_common_prefix_is_passed_whole() {
        for (marker, prefix, delimiter, expected) in [
            ("a/", "", Some("/"), Some(ListAfter::Prefix("a/".into()))),
            ("a/b", "", Some("/"), Some(ListAfter::Key("a/b".into()))),
            ("a/b/", "", Some("/"), Some(ListAfter::Key("a/b/".into()))),
            ("a/b/", "a/", Some("/"), Some(ListAfter::Prefix("a/b/".into()))),
            ("a/", "a/", Some("/"), Some(ListAfter::Key("a/".into()))),
            ("a/", "", None, Some(ListAfter::Key("a/".into()))),
            ("a--", "", Some("--"), Some(ListAfter::Prefix("a--".into()))),
            ("", "", Some("/"), None),
        ] {
            assert_eq!(behind(Some(marker), prefix, delimiter), expected, "{marker} {prefix} {delimiter:?}");
        }
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!(Names { encoded: true }.show("a b/ü+%"), "a%20b/%C3%BC%2B%25");
        assert_eq!(Names { encoded: false }.show("a b"), "a b");
        assert_eq!(max_keys(None).unwrap(), 1000);
        assert_eq!(max_keys(Some(5000)).unwrap(), 1000);
        assert_eq!(max_keys(Some(0)).unwrap(), 0);
        assert!(max_keys(Some(-1)).is_err());
    }
}
