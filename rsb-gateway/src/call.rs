//! One request, as handlers see it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::{HeaderMap, Method, Request};
use rsb_core::Engine;
use serde::de::DeserializeOwned;
use warp::Filter;
use warp::filters::BoxedFilter;

use crate::app::App;
use crate::auth::Caller;
use crate::body::{BoxError, Upload};
use crate::config::Right;
use crate::problem::Problem;
use crate::query::Query;

/// The header that carries a request's id, both ways.
pub(crate) const REQUEST_ID: &str = "x-request-id";
/// A request's URI may have this many bytes: a key has at most 1024, each perhaps percent-encoded.
const MAX_URI_BYTES: usize = 16 << 10;
/// A JSON body may have this many bytes.
const MAX_JSON_BYTES: usize = 64 << 10;

/// What is known of a request before it is routed.
#[derive(Clone, Debug)]
pub(crate) struct Meta {
    /// Names the request in logs, errors and the reply.
    pub(crate) request_id: Arc<str>,
    /// Who asks.
    pub(crate) peer: SocketAddr,
    pub(crate) method: Method,
    pub(crate) path: Arc<str>,
}

impl Meta {
    /// Takes the client's own request id where it is a plain word, so that its logs and ours can be matched.
    pub(crate) fn of<B>(app: &App, request: &Request<B>, peer: SocketAddr) -> Self {
        let plain = |id: &&str| {
            (1..=64).contains(&id.len())
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        let given = request.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok()).filter(plain);
        let request_id = given.map_or_else(|| app.env.new_id().to_string().into(), Arc::from);
        Self { request_id, peer, method: request.method().clone(), path: request.uri().path().into() }
    }
}

/// A request.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) meta: Meta,
    pub(crate) headers: HeaderMap,
    raw_query: String,
    body: Upload,
}

impl Call {
    pub(crate) fn method(&self) -> &Method {
        &self.meta.method
    }

    /// Whether the path ends with a slash, which warp's filters do not tell apart.
    pub(crate) fn ends_with_slash(&self) -> bool {
        self.meta.path.ends_with('/')
    }

    /// Who asks on the native API; an error where credentials are needed or wrong.
    pub(crate) fn caller(&self) -> Result<Caller, Problem> {
        self.check_uri()?;
        self.app.guard.caller(&self.headers)
    }

    /// The engine, for one who has this right on this bucket (on everything, when `None`).
    pub(crate) fn allow(&self, right: Right, bucket: Option<&str>) -> Result<&Engine, Problem> {
        self.caller()?.check(right, bucket)?;
        Ok(self.app.engine())
    }

    /// The engine, for one who has this right on the prototype's bucket.
    pub(crate) fn allow_prototype(&self, right: Right) -> Result<&Engine, Problem> {
        self.check_uri()?;
        self.app.guard.prototype_caller(&self.headers)?.check(right, Some(&self.app.prototype_bucket))?;
        Ok(self.app.engine())
    }

    fn check_uri(&self) -> Result<(), Problem> {
        let len = self.meta.path.len() + self.raw_query.len();
        if len > MAX_URI_BYTES {
            return Err(Problem::new(
                http::StatusCode::URI_TOO_LONG,
                "uri-too-long",
                format!("the request's path and query have {len} bytes; {MAX_URI_BYTES} are served"),
            ));
        }
        Ok(())
    }

    /// The query's parameters, of which only `known` may be there.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query, Problem> {
        Query::parse(&self.raw_query, known)
    }

    /// A header as text; an error where it is not.
    pub(crate) fn header(&self, name: &str) -> Result<Option<&str>, Problem> {
        self.headers
            .get(name)
            .map(|value| value.to_str().map_err(|_| Problem::invalid(format!("the header {name} is not plain text"))))
            .transpose()
    }

    /// Takes the body as a stream. Nothing of it is asked from the sender before the stream is polled.
    pub(crate) fn take_body(&mut self) -> Upload {
        std::mem::replace(&mut self.body, Upload::empty())
    }

    /// The body as JSON, whatever its content type says; the type's default when it is empty.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Problem> {
        let body = self.take_body().collect(MAX_JSON_BYTES).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        serde_json::from_slice(&body)
            .map_err(|e| Problem::invalid(format!("the body is not the JSON expected here: {e}")))
    }
}

/// Everything of the request, body included; stands behind the path's filters.
pub(crate) fn call(app: Arc<App>) -> BoxedFilter<(Call,)> {
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::ext::get::<Meta>()
        .and(query)
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .map(move |meta: Meta, raw_query, headers: HeaderMap, body| {
            let body = Upload::new(&headers, plain_bytes(body), app.limits);
            Call { app: app.clone(), meta, headers, raw_query, body }
        })
        .boxed()
}

fn plain_bytes<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>> + Send + 'static,
) -> BoxStream<'static, Result<Bytes, BoxError>> {
    // Taking all of a `Bytes` out of itself copies nothing.
    body.map(|item| item.map(|mut chunk| chunk.copy_to_bytes(chunk.remaining())).map_err(BoxError::from)).boxed()
}
