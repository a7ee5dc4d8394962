//! `GET /list_data`, `/check_data/NAME`, `/retrieve_data/NAME`.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use rsb_core::catalog::{ListAfter, ListQuery};
use rsb_core::{CheckRequest, Depth, Engine, ErrorKind, ObjectHealth, ObjectInfo, Progress, Scope};
use serde::Serialize;
use warp::reply::{Reply, Response};

use super::{hex_all, json, name_of};
use crate::call::Call;
use crate::config::Right;
use crate::http::dates::lmod;
use crate::http::reply;
use crate::problem::Problem;

/// Names are looked up this many at a time.
const PAGE: usize = 1_000;

/// What a check is told.
#[derive(Serialize)]
struct Checked {
    name: String,
    lmod: String,
    health: bool,
    hashes: Vec<String>,
}

/// `GET /list_data`, streamed page by page: there may be millions of names.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    let engine = call.allow_prototype(Right::Read)?.clone();
    let bucket = call.app.prototype_bucket.clone();
    let first = page(&engine, &bucket, None).await;
    let (names, after) = match first {
        Ok(page) => page,
        // The bucket is made at the first upload: before it there are no files.
        Err(error) if error.kind() == ErrorKind::NotFound => (Vec::new(), None),
        Err(error) => return Err(error.into()),
    };
    let opening = format!("{{\"files\":[{}", joined(&names));
    let rest = stream::try_unfold((engine, bucket, after), move |(engine, bucket, after)| async move {
        let Some(after) = after else { return Ok(None) };
        let (names, next) = page(&engine, &bucket, Some(after)).await?;
        let text = if names.is_empty() { String::new() } else { format!(",{}", joined(&names)) };
        Ok::<_, rsb_core::Error>(Some((Bytes::from(text), (engine, bucket, next))))
    });
    let body = stream::iter([Ok(Bytes::from(opening))]).chain(rest).chain(stream::iter([Ok(Bytes::from("]}"))]));
    let mut response = reply::with_body(StatusCode::OK.into_response(), body.boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

type Page = (Vec<String>, Option<ListAfter>);

/// Names without a slash: an object with one, put through another door, cannot be asked for here. Never empty when there
/// is a further page, so that the commas between pages are right.
async fn page(engine: &Engine, bucket: &str, mut after: Option<ListAfter>) -> rsb_core::Result<Page> {
    loop {
        let delimiter = Some("/".to_owned());
        let query = ListQuery { bucket: bucket.to_owned(), delimiter, after, limit: PAGE, ..ListQuery::default() };
        let listing = engine.list(&query).await?;
        let names: Vec<String> = listing.objects.into_iter().map(|o| o.info.manifest.key.clone()).collect();
        if !names.is_empty() || listing.next.is_none() {
            return Ok((names, listing.next));
        }
        after = listing.next;
    }
}

fn joined(names: &[String]) -> String {
    // A string always has a JSON form.
    names.iter().map(|name| serde_json::to_string(name).unwrap_or_default()).collect::<Vec<_>>().join(",")
}

/// `GET /check_data/NAME`: every byte of every shard is read.
pub(crate) async fn check(call: Call, raw: String) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    let engine = call.allow_prototype(Right::Read)?;
    let name = name_of(&raw)?;
    let info = engine.head(&call.app.prototype_bucket, &name, None).await?;
    let health = health(engine, &info, Depth::Full).await?.is_none();
    let hashes = match engine.run_digests(&info).await {
        Ok(digests) => hex_all(&digests),
        // Nothing can be computed from what is lost; those of the data may be on record.
        Err(error) if matches!(error.kind(), ErrorKind::Unreadable | ErrorKind::Unavailable) => {
            info.manifest.run_digests.iter().flatten().map(|digest| hex::encode(digest.0)).collect()
        }
        Err(error) => return Err(error.into()),
    };
    Ok(json(&Checked { name, lmod: lmod(info.modified_ms()), health, hashes }))
}

/// What is wrong with one object; `None` when nothing is.
pub(super) async fn health(engine: &Engine, info: &ObjectInfo, depth: Depth) -> rsb_core::Result<Option<ObjectHealth>> {
    let request = CheckRequest { scope: scope_of(info), depth };
    let report = engine.check(&request, &Progress::default()).await?;
    let (key, version) = (&info.manifest.key, info.version());
    Ok(report.damaged.into_iter().find(|health| health.key == *key && health.version == version))
}

/// The scope that holds an object, and those whose keys begin with its.
pub(super) fn scope_of(info: &ObjectInfo) -> Scope {
    Scope::object(&info.manifest.bucket, &info.manifest.key)
}

/// `GET` and `HEAD /retrieve_data/NAME`.
pub(crate) async fn retrieve(call: Call, raw: String) -> Result<Response, Problem> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method(call.method(), "GET, HEAD"));
    }
    let engine = call.allow_prototype(Right::Read)?;
    let name = name_of(&raw)?;
    Ok(reply::current(engine, (call.method(), &call.headers), (&call.app.prototype_bucket, &name), None).await?.1)
}
