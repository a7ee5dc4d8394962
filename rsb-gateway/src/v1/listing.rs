//! `/v1/b/BUCKET/o`: the objects of a bucket.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use rsb_core::ListedObject;
use rsb_core::catalog::ListQuery;
use serde::Serialize;
use warp::reply::Response;

use super::token;
use crate::call::Call;
use crate::config::Right;
use crate::http::dates::rfc3339;
use crate::names;
use crate::problem::Problem;

/// Objects of a page unless asked otherwise, and at most.
const DEFAULT_LIMIT: usize = 1_000;
const MAX_LIMIT: usize = 10_000;

/// A page.
#[derive(Serialize)]
struct Page {
    bucket: String,
    prefix: String,
    objects: Vec<Listed>,
    prefixes: Vec<String>,
    /// Pass it as `after` to go on; null on the last page.
    next: Option<String>,
}

#[derive(Serialize)]
struct Listed {
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
    is_latest: bool,
    delete_marker: bool,
}

impl From<ListedObject> for Listed {
    fn from(listed: ListedObject) -> Self {
        let info = &listed.info;
        let scheme = info.scheme();
        Self {
            key: info.manifest.key.clone(),
            size: info.size(),
            etag: info.etag(),
            version: info.version().to_string(),
            modified: rfc3339(info.modified_ms()),
            data_shards: scheme.map(|s| s.data_shards),
            parity_shards: scheme.map(|s| s.parity_shards),
            codec: scheme.map(|s| s.codec_id().to_string()),
            metadata: info.manifest.metadata.clone(),
            content_type: info.content_type().map(str::to_owned),
            is_latest: listed.is_latest,
            delete_marker: info.manifest.delete_marker,
        }
    }
}

pub(crate) async fn serve(call: Call, raw: String) -> Result<Response, Problem> {
    let bucket = names::decode_present("bucket's name", &raw)?;
    if call.ends_with_slash() {
        return Err(Problem::invalid("the key is empty; without the last slash this lists the bucket"));
    }
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    let engine = call.allow(Right::Read, Some(&bucket))?;
    let query = call.query(&["prefix", "delimiter", "after", "limit", "versions"])?;
    let asked = ListQuery {
        bucket: bucket.clone(),
        prefix: query.text("prefix").unwrap_or_default().to_owned(),
        delimiter: query.text("delimiter").filter(|d| !d.is_empty()).map(str::to_owned),
        after: query.text("after").filter(|a| !a.is_empty()).map(token::list_after).transpose()?,
        limit: query.limit(DEFAULT_LIMIT, MAX_LIMIT)?,
        versions: query.flag("versions")?,
    };
    let listing = engine.list(&asked).await?;
    let page = Page {
        bucket,
        prefix: asked.prefix,
        objects: listing.objects.into_iter().map(Listed::from).collect(),
        prefixes: listing.prefixes,
        next: listing.next.as_ref().map(token::of),
    };
    Ok(super::json(StatusCode::OK, &page))
}
