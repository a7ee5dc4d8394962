//! Which version is meant, and how S3 names one. A version's name is the engine's id, or `null` for the one that was written
//! while versioning was off or suspended.

use http::header::{ALLOW, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue};
use rsb_core::format::manifest::Versions;
use rsb_core::id::VersionId;
use rsb_core::{Engine, ObjectInfo};
use s3s::{S3Error, S3Result, s3_error};

use super::errors;
use crate::http::dates::http_date;
use crate::http::reply::set;

/// The name of the version that has no id of its own.
pub(super) const NULL: &str = "null";
const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
const VERSION: HeaderName = HeaderName::from_static("x-amz-version-id");

/// A version as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The newest.
    Newest,
    /// The `null` one.
    Null,
    /// The one with this id.
    Id(VersionId),
}

impl Asked {
    /// An empty name is the same as none.
    pub(super) fn parse(name: Option<&str>) -> S3Result<Self> {
        match name.unwrap_or_default() {
            "" => Ok(Self::Newest),
            NULL => Ok(Self::Null),
            id => id.parse().map(Self::Id).map_err(|_| s3_error!(InvalidArgument, "Invalid version id specified")),
        }
    }

    /// Its id for the engine: `None` for the newest, `Some(None)` where there is no such version.
    pub(super) async fn resolve(self, engine: &Engine, bucket: &str, key: &str) -> S3Result<Option<Option<VersionId>>> {
        match self {
            Self::Newest => Ok(None),
            Self::Id(id) => Ok(Some(Some(id))),
            Self::Null => engine.null_version(bucket, key).await.map(Some).map_err(errors::of),
        }
    }
}

/// An object, as S3 finds it: a key whose newest version is a delete marker is not there, and a delete marker asked for by
/// its id cannot be read.
pub(super) async fn find(engine: &Engine, bucket: &str, key: &str, asked: Asked) -> S3Result<ObjectInfo> {
    let found = match asked.resolve(engine, bucket, key).await? {
        None => engine.version(bucket, key, None).await.map_err(errors::of)?,
        Some(Some(id)) => engine.version(bucket, key, Some(id)).await.map_err(errors::of)?,
        Some(None) => None,
    };
    match found {
        Some(info) if !info.manifest.delete_marker => Ok(info),
        Some(marker) => Err(is_marker(engine, &marker, asked).await?),
        None if asked == Asked::Newest => Err(s3_error!(NoSuchKey, "{bucket}/{key} does not exist")),
        None => Err(s3_error!(NoSuchVersion, "this version of {bucket}/{key} does not exist")),
    }
}

async fn is_marker(engine: &Engine, marker: &ObjectInfo, asked: Asked) -> S3Result<S3Error> {
    let mut headers = HeaderMap::new();
    headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    if let Some(name) = name(engine, marker).await? {
        set(&mut headers, VERSION, name);
    }
    let mut error = if asked == Asked::Newest {
        s3_error!(NoSuchKey, "{} was deleted", marker.name())
    } else {
        set(&mut headers, LAST_MODIFIED, http_date(marker.modified_ms()));
        headers.insert(ALLOW, HeaderValue::from_static("DELETE"));
        s3_error!(MethodNotAllowed, "this version of {} is a delete marker", marker.name())
    };
    error.set_headers(headers);
    Ok(error)
}

/// A version's name in replies about it; none in a bucket that never had versioning.
pub(super) async fn name(engine: &Engine, info: &ObjectInfo) -> S3Result<Option<String>> {
    if !info.manifest.null_version {
        return Ok(Some(info.version().to_string()));
    }
    let bucket = engine.bucket(&info.manifest.bucket).await.map_err(errors::of)?;
    Ok((bucket.settings.versions != Versions::KeepLast).then(|| NULL.to_owned()))
}

/// A version's name in listings, which always have one.
pub(super) fn listed(info: &ObjectInfo) -> String {
    if info.manifest.null_version { NULL.to_owned() } else { info.version().to_string() }
}
