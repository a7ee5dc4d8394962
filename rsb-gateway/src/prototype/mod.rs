//! The prototype's protocol, frozen: five endpoints over the objects of one bucket. Read `submit`, `read` (list, check,
//! retrieve), `repair`.

pub(crate) mod read;
pub(crate) mod repair;
pub(crate) mod submit;

use std::sync::Arc;

use http::StatusCode;
use rsb_core::catalog::{ListQuery, Precondition};
use rsb_core::{Engine, ObjectInfo};
use serde::Serialize;
use warp::reply::Response;

use crate::app::App;
use crate::names;
use crate::problem::Problem;

/// Keys of uploads whose name is not known yet. They hold a slash, so the prototype's endpoints do not see them.
pub(crate) const UPLOADS: &str = ".rsb-upload/";
/// An upload found under [`UPLOADS`] is somebody's leavings when it is older than this.
const LEFT_AFTER_MS: u64 = 24 * 3600 * 1000;

/// The name in a path: one percent-decoded segment, not empty, without a slash.
fn name_of(raw: &str) -> Result<String, Problem> {
    let name = names::decode("name", raw)?;
    check_name(&name)?;
    Ok(name)
}

fn check_name(name: &str) -> Result<(), Problem> {
    if name.is_empty() {
        return Err(Problem::invalid("the name is missing"));
    }
    if name.contains('/') {
        return Err(Problem::invalid(format!("the name {name:?} has a slash in it, which no name can have")));
    }
    Ok(())
}

/// `SHA-256` digests as the protocol writes them.
fn hex_all(digests: &[[u8; 32]]) -> Vec<String> {
    digests.iter().map(hex::encode).collect()
}

fn json<T: Serialize>(value: &T) -> Response {
    crate::v1::json(StatusCode::OK, value)
}

/// Removes a temporary object altogether, in a keep-all bucket too.
async fn remove_upload(engine: &Engine, info: &ObjectInfo) {
    let (bucket, key) = (&info.manifest.bucket, &info.manifest.key);
    if let Err(error) = engine.delete(bucket, key, Some(info.version()), Precondition::None).await {
        tracing::warn!(?error, key, "a temporary upload could not be removed; it will be when it is a day old");
    }
}

/// Removes what uploads left behind that a crash cut short.
pub(crate) async fn sweep_left_uploads(app: Arc<App>) {
    let mut query = ListQuery {
        bucket: app.prototype_bucket.clone(),
        prefix: UPLOADS.into(),
        limit: 1_000,
        ..ListQuery::default()
    };
    let limit_ms = app.env.now_ms().saturating_sub(LEFT_AFTER_MS);
    // Without the bucket there is nothing to remove; any other failure is met again by the next start.
    while let Ok(page) = app.engine().list(&query).await {
        for left in page.objects.iter().filter(|o| o.info.modified_ms() < limit_ms) {
            remove_upload(app.engine(), &left.info).await;
        }
        query.after = page.next;
        if query.after.is_none() {
            return;
        }
    }
}
