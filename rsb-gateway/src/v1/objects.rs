//! `/v1/b/BUCKET/o/KEY`: an object.

use std::collections::BTreeMap;

use http::header::HeaderName;
use http::{Method, StatusCode};
use rsb_core::id::VersionId;
use rsb_core::{Engine, ObjectInfo};
use serde::Serialize;
use warp::reply::Response;

use super::put;
use crate::call::Call;
use crate::config::Right;
use crate::http::dates::rfc3339;
use crate::http::{conditions, reply};
use crate::names;
use crate::problem::Problem;
use crate::query::Query;

/// The header that names a version.
pub(crate) const VERSION: HeaderName = HeaderName::from_static("x-rsb-version");
/// What the names of the user's metadata begin with.
pub(crate) const META_PREFIX: &str = "x-rsb-meta-";

/// An object as JSON.
#[derive(Serialize)]
pub(crate) struct ObjectView {
    bucket: String,
    key: String,
    size: u64,
    etag: String,
    version: String,
    modified: String,
    data_shards: Option<u16>,
    parity_shards: Option<u16>,
    codec: Option<String>,
    content_type: Option<String>,
    metadata: BTreeMap<String, String>,
    /// Shards and manifest copies that could not be written and stand in the ledger.
    short: usize,
}

impl ObjectView {
    pub(crate) fn of(info: &ObjectInfo) -> Self {
        let scheme = info.scheme();
        Self {
            bucket: info.manifest.bucket.clone(),
            key: info.manifest.key.clone(),
            size: info.size(),
            etag: info.etag(),
            version: info.version().to_string(),
            modified: rfc3339(info.modified_ms()),
            data_shards: scheme.map(|s| s.data_shards),
            parity_shards: scheme.map(|s| s.parity_shards),
            codec: scheme.map(|s| s.codec_id().to_string()),
            content_type: info.content_type().map(str::to_owned),
            metadata: info.manifest.metadata.clone(),
            short: info.short,
        }
    }
}

/// What a DELETE did.
#[derive(Serialize)]
struct DeletedView {
    /// The delete marker's id, in a keep-all bucket.
    delete_marker: Option<String>,
    short: usize,
}

pub(crate) async fn serve(mut call: Call, bucket: String, key: String) -> Result<Response, Problem> {
    let bucket = names::decode_present("bucket's name", &bucket)?;
    let method = call.method().clone();
    match method {
        Method::GET | Method::HEAD => {
            let engine = call.allow(Right::Read, Some(&bucket))?;
            get(&call, engine, &bucket, &key_of(&key)?).await
        }
        Method::PUT => {
            call.allow(Right::Write, Some(&bucket))?;
            let key = key_of(&key)?;
            put::serve(&mut call, &bucket, &key).await
        }
        Method::DELETE => {
            let engine = call.allow(Right::Delete, Some(&bucket))?;
            delete(&call, engine, &bucket, &key_of(&key)?).await
        }
        other => Err(Problem::method(&other, "GET, HEAD, PUT, DELETE")),
    }
}

fn key_of(raw: &str) -> Result<String, Problem> {
    names::decode_present("key", raw)
}

fn version_of(query: &Query) -> Result<Option<VersionId>, Problem> {
    query.value("version", "a version's id (a UUID)")
}

async fn get(call: &Call, engine: &Engine, bucket: &str, key: &str) -> Result<Response, Problem> {
    let version = version_of(&call.query(&["version"])?)?;
    let (info, mut response) = reply::current(engine, (call.method(), &call.headers), (bucket, key), version).await?;
    if response.status() != StatusCode::NOT_MODIFIED {
        add_facts(&mut response, &info);
    }
    reply::set(response.headers_mut(), VERSION, info.version().to_string());
    Ok(response)
}

/// The system and user metadata the object was written with.
fn add_facts(response: &mut Response, info: &ObjectInfo) {
    let headers = response.headers_mut();
    for (name, value) in &info.manifest.attributes {
        // The content type is set already, and is another one for several ranges.
        if let Some(name) = put::kept_attribute(name).filter(|name| !headers.contains_key(name)) {
            reply::set(headers, name, value);
        }
    }
    for (name, value) in &info.manifest.metadata {
        if let Ok(name) = HeaderName::try_from(format!("{META_PREFIX}{name}")) {
            reply::set(headers, name, value);
        }
    }
}

async fn delete(call: &Call, engine: &Engine, bucket: &str, key: &str) -> Result<Response, Problem> {
    let version = version_of(&call.query(&["version"])?)?;
    let condition = conditions::of_write(&call.headers)?;
    if condition == rsb_core::catalog::Precondition::Absent {
        return Err(Problem::invalid("If-None-Match: * makes no sense on a delete: it asks for nothing to be there"));
    }
    let deleted = engine.delete(bucket, key, version, condition).await?;
    if !deleted.existed {
        let what = version.map_or("object".to_owned(), |version| format!("version {version}"));
        return Err(Problem::not_found(format!("there is no {what} {bucket}/{key} to delete"))
            .object(format!("{bucket}/{key}")));
    }
    let view = DeletedView { delete_marker: deleted.delete_marker.map(|id| id.to_string()), short: deleted.short };
    Ok(super::json(StatusCode::OK, &view))
}
