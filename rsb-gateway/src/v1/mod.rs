//! The native API, `/v1`. docs/api.md and `openapi.json` describe it; a test holds the routes to the document.

pub(crate) mod admin;
pub(crate) mod buckets;
pub(crate) mod jobs;
pub(crate) mod listing;
pub(crate) mod moves;
pub(crate) mod objects;
pub(crate) mod put;
pub(crate) mod token;
pub(crate) mod views;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use warp::reply::{Reply, Response};

/// The API's description.
pub(crate) const OPENAPI: &str = include_str!("openapi.json");

/// A JSON reply.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    warp::reply::with_status(warp::reply::json(value), status).into_response()
}

/// A 204.
pub(crate) fn no_content() -> Response {
    let mut reply = StatusCode::NO_CONTENT.into_response();
    *reply.body_mut() = bytes::Bytes::new().into();
    reply.headers_mut().remove(CONTENT_TYPE);
    reply
}
