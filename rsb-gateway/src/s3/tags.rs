//! Tags of objects and of buckets: GetObjectTagging and its kin, and the header that brings tags with an object.

use std::collections::BTreeMap;

use http::HeaderMap;
use rsb_core::Engine;
use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput, DeleteObjectTaggingOutput,
    GetBucketTaggingInput, GetBucketTaggingOutput, GetObjectTaggingInput, GetObjectTaggingOutput,
    PutBucketTaggingInput, PutBucketTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag, TagSet,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::errors;
use super::versions::{self, Asked};
use crate::names;

/// Tags of an object, at most.
const MAX_OF_OBJECT: usize = 10;
/// Tags of a bucket, at most.
const MAX_OF_BUCKET: usize = 50;
/// Characters of a tag's key.
const MAX_KEY: usize = 128;
/// Characters of a tag's value.
const MAX_VALUE: usize = 256;
/// What a bucket's tags are kept as: JSON, key to value.
const SETTING: &str = "s3-tagging";

pub(super) type Tags = BTreeMap<String, String>;

/// The tags that `x-amz-tagging` brings: `key=value&…`, as in a URL's query.
pub(super) fn of_header(headers: &HeaderMap) -> S3Result<Tags> {
    let Some(value) = headers.get("x-amz-tagging") else { return Ok(Tags::new()) };
    let malformed = || {
        s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        )
    };
    let text = value.to_str().map_err(|_| malformed())?;
    let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| names::decode("x-amz-tagging", &text.replace('+', " ")).map_err(|_| malformed());
        Ok((decode(key)?, decode(value)?))
    });
    checked(pairs.collect::<S3Result<Vec<_>>>()?, MAX_OF_OBJECT)
}

/// The tags of a document.
fn of_document(tags: TagSet, most: usize) -> S3Result<Tags> {
    let pairs = tags.into_iter().map(|tag| match (tag.key, tag.value) {
        (Some(key), Some(value)) => Ok((key, value)),
        _ => Err(s3_error!(MalformedXML, "a tag has a key and a value")),
    });
    checked(pairs.collect::<S3Result<Vec<_>>>()?, most)
}

/// S3's limits on tags.
fn checked(pairs: Vec<(String, String)>, most: usize) -> S3Result<Tags> {
    if pairs.len() > most {
        return Err(errors::custom("BadRequest", format!("Tags cannot be greater than {most}")));
    }
    let allowed = |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c));
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if !(1..=MAX_KEY).contains(&key.chars().count()) || !allowed(&key) {
            return Err(s3_error!(InvalidTag, "The TagKey you have provided is invalid"));
        }
        if value.chars().count() > MAX_VALUE || !allowed(&value) {
            return Err(s3_error!(InvalidTag, "The TagValue you have provided is invalid"));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(s3_error!(InvalidTag, "System tags cannot be added/updated by requester"));
        }
        if tags.insert(key, value).is_some() {
            return Err(s3_error!(InvalidTag, "Cannot provide multiple Tags with the same key"));
        }
    }
    Ok(tags)
}

/// Tags as a document has them.
fn set(tags: &Tags) -> TagSet {
    tags.iter().map(|(key, value)| Tag { key: Some(key.clone()), value: Some(value.clone()) }).collect()
}

pub(super) async fn get(
    engine: &Engine,
    req: S3Request<GetObjectTaggingInput>,
) -> S3Result<S3Response<GetObjectTaggingOutput>> {
    let input = req.input;
    let asked = Asked::parse(input.version_id.as_deref())?;
    let info = versions::find(engine, &input.bucket, &input.key, asked).await?;
    let version_id = versions::name(engine, &info).await?;
    Ok(S3Response::new(GetObjectTaggingOutput { tag_set: set(&info.manifest.tags), version_id }))
}

pub(super) async fn put(
    engine: &Engine,
    req: S3Request<PutObjectTaggingInput>,
) -> S3Result<S3Response<PutObjectTaggingOutput>> {
    let input = req.input;
    let tags = of_document(input.tagging.tag_set, MAX_OF_OBJECT)?;
    let version_id = change(engine, &input.bucket, &input.key, input.version_id.as_deref(), tags).await?;
    Ok(S3Response::new(PutObjectTaggingOutput { version_id }))
}

pub(super) async fn delete(
    engine: &Engine,
    req: S3Request<DeleteObjectTaggingInput>,
) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
    let input = req.input;
    let version_id = change(engine, &input.bucket, &input.key, input.version_id.as_deref(), Tags::new()).await?;
    Ok(S3Response::new(DeleteObjectTaggingOutput { version_id }))
}

/// Gives a version other tags, and its name.
async fn change(
    engine: &Engine,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    tags: Tags,
) -> S3Result<Option<String>> {
    let found = versions::find(engine, bucket, key, Asked::parse(version)?).await?;
    let info = engine.set_tags(bucket, key, Some(found.version()), tags).await.map_err(errors::of)?;
    versions::name(engine, &info).await
}

pub(super) async fn get_of_bucket(
    engine: &Engine,
    req: S3Request<GetBucketTaggingInput>,
) -> S3Result<S3Response<GetBucketTaggingOutput>> {
    let bucket = engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    let Some(text) = bucket.settings.extra.get(SETTING) else {
        return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
    };
    let tags: Tags = errors::kept(&bucket.name, SETTING, text)?;
    Ok(S3Response::new(GetBucketTaggingOutput { tag_set: set(&tags) }))
}

pub(super) async fn put_of_bucket(
    engine: &Engine,
    req: S3Request<PutBucketTaggingInput>,
) -> S3Result<S3Response<PutBucketTaggingOutput>> {
    let tags = of_document(req.input.tagging.tag_set, MAX_OF_BUCKET)?;
    let text = serde_json::json!(tags).to_string();
    engine.update_bucket_extra(&req.input.bucket, SETTING, Some(text)).await.map_err(errors::of)?;
    Ok(S3Response::new(PutBucketTaggingOutput::default()))
}

pub(super) async fn delete_of_bucket(
    engine: &Engine,
    req: S3Request<DeleteBucketTaggingInput>,
) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
    engine.update_bucket_extra(&req.input.bucket, SETTING, None).await.map_err(errors::of)?;
    Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> Result<Vec<(String, String)>, String> {
        let headers = HeaderMap::from_iter([("x-amz-tagging".parse().unwrap(), value.parse().unwrap())]);
        let tags = of_header(&headers).map_err(|error| error.code().as_str().to_owned())?;
        Ok(tags.into_iter().collect())
    }

    #[test]
    fn the_header_is_a_query() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(header("a=b&c=&d"), Ok(vec![pair("a", "b"), pair("c", ""), pair("d", "")]));
        assert_eq!(header("a+b=%C3%A9%2F%3D"), Ok(vec![pair("a b", "é/=")]));
        assert_eq!(header(""), Ok(vec![]));
        assert_eq!(header("a=%ff"), Err("InvalidArgument".into()));
        assert_eq!(of_header(&HeaderMap::new()).unwrap(), Tags::new());
    }

    /// "Tag restrictions" in the S3 user guide, object-tagging.
    #[test]
    fn s3s_limits_on_tags() {
        let many = |count: usize| (0..count).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join("&");
        assert_eq!(header(&many(10)).unwrap().len(), 10);
        assert_eq!(header(&many(11)), Err("BadRequest".into()));
        assert!(header(&format!("{}={}", "k".repeat(128), "v".repeat(256))).is_ok());
        for bad in ["a=1&a=2", "=v", "aws:x=v", "a=%3C", "%2A=v"] {
            assert_eq!(header(bad), Err("InvalidTag".into()), "{bad}");
        }
        assert_eq!(header(&format!("{}=v", "k".repeat(129))), Err("InvalidTag".into()));
        assert_eq!(header(&format!("k={}", "v".repeat(257))), Err("InvalidTag".into()));
    }
}
