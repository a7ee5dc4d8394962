//! `/`: a page for people, self-contained, that polls `/v1`.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use http::{HeaderValue, Method};
use warp::reply::{Reply, Response};

use crate::call::Call;
use crate::problem::Problem;

const PAGE: &str = include_str!("page.html");

/// Nothing from elsewhere runs on the page, and nothing shows it in a frame.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page. Where credentials are needed it asks for them first, so that the browser has them for what the page asks.
pub(crate) async fn serve(call: Call) -> Result<Response, Problem> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method(call.method(), "GET, HEAD"));
    }
    call.caller()?;
    let mut response = PAGE.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}
