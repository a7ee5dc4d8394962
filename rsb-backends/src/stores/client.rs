//! What all network stores share: the HTTP client's limits, no retries of its own (one layer retries, see
//! [`crate::wrappers`]), and server errors as typed causes.

use std::net::IpAddr;
use std::time::Duration;

use futures::StreamExt;
use http::{StatusCode, Uri};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use object_store::{BackoffConfig, ClientConfigKey, ClientOptions, RetryConfig};

use super::error::one_line;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for one request with its body. A backstop only: the timeout wrapper watches progress, much closer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
/// An idle connection is closed before servers and firewalls in between forget it.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// Bytes of a server's error text that are kept.
const ERROR_TEXT_BYTES: usize = 4 << 10;

/// The client's settings before the user's options.
pub(crate) fn client_options() -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
        .with_pool_idle_timeout(POOL_IDLE)
}

/// object_store's own retries, off.
pub(crate) fn no_retry() -> RetryConfig {
    RetryConfig { backoff: BackoffConfig::default(), max_retries: 0, retry_timeout: Duration::ZERO }
}

/// An answer of a server that is a failure, as a typed cause: object_store keeps the status to itself.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the server answers {status}: {text}")]
pub struct ServerStatus {
    /// The HTTP status.
    pub status: StatusCode,
    /// The beginning of what the server says, on one line.
    pub text: String,
}

impl ServerStatus {
    /// The server asks for fewer requests.
    pub fn is_throttling(&self) -> bool {
        matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
    }

    /// The same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self.status {
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED | StatusCode::INSUFFICIENT_STORAGE => {
                false
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => true,
            status => status.is_server_error(),
        }
    }
}

/// Which answers become a [`ServerStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// Those a later attempt may cure (408, 429, 5xx); object_store turns the rest into its own error kinds, but for
    /// refusals of a whole container (401, 403).
    Temporary,
    /// Every failure: for probing, where the exact answer matters.
    All,
}

impl Typed {
    fn includes(self, status: StatusCode) -> bool {
        let temporary =
            status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
        temporary || self == Self::All && (status.is_client_error() || status.is_redirection())
    }
}

/// Makes HTTP clients whose failures carry a [`ServerStatus`].
#[derive(Debug)]
pub(crate) struct Connector {
    typed: Typed,
    bucket: Option<Bucket>,
}

impl Connector {
    pub(crate) fn new(typed: Typed) -> Self {
        Self { typed, bucket: None }
    }

    /// Writes `bucket` plainly in paths. object_store's Google client writes `%2D` for a hyphen when it lists, which means
    /// the same (RFC 3986, 6.2.2.2), but which servers that stand in for Google do not read. Not for signed requests.
    pub(crate) fn with_plain_bucket(mut self, bucket: &str) -> Self {
        let encode = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", u32::from(c)) };
        let encoded = bucket.chars().map(encode).collect();
        self.bucket = Some(Bucket { encoded, plain: bucket.to_owned() });
        self
    }
}

/// A bucket's name, which is ASCII, in its two spellings.
#[derive(Clone, Debug)]
struct Bucket {
    encoded: String,
    plain: String,
}

impl Bucket {
    /// `uri` with the plain spelling.
    fn plainly(&self, uri: &Uri) -> Option<Uri> {
        let rest = uri.path_and_query()?.as_str().strip_prefix('/')?.strip_prefix(self.encoded.as_str())?;
        if !rest.is_empty() && !rest.starts_with(['/', '?']) {
            return None;
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = format!("/{}{rest}", self.plain).parse().ok();
        Uri::from_parts(parts).ok()
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        let own_proxy = options.get_config_value(&ClientConfigKey::ProxyUrl).is_some();
        let direct = match own_proxy || !environment_has_a_proxy() {
            true => None,
            false => Some(ReqwestConnector::default().connect(&without_proxy(options))?),
        };
        Ok(HttpClient::new(Service { inner, direct, typed: self.typed, bucket: self.bucket.clone() }))
    }
}

/// One of the variables is set that name a proxy for the whole environment.
fn environment_has_a_proxy() -> bool {
    ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"].iter().any(|name| {
        std::env::var_os(name).or_else(|| std::env::var_os(name.to_ascii_lowercase())).is_some_and(|v| !v.is_empty())
    })
}

/// `options` for requests to this machine: a proxy that is named keeps the environment's out, and is not used itself.
fn without_proxy(options: &ClientOptions) -> ClientOptions {
    options.clone().with_proxy_url("http://127.0.0.1").with_proxy_excludes("localhost,127.0.0.0/8,::1")
}

/// Listings and deletes of many objects, whose refusals object_store does not tell from other failures.
fn asks_a_container(request: &HttpRequest) -> bool {
    let is = |part: &str| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        matches!((key, value), ("list-type", _) | ("comp", "list" | "batch") | ("delete", ""))
    };
    request.method().as_str() == "PROPFIND" || request.uri().query().unwrap_or_default().split('&').any(is)
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    /// For servers of this machine, which no proxy of the environment reaches; `None` where there is no such proxy.
    direct: Option<HttpClient>,
    typed: Typed,
    bucket: Option<Bucket>,
}

#[async_trait::async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(plain) = self.bucket.as_ref().and_then(|bucket| bucket.plainly(request.uri())) {
            *request.uri_mut() = plain;
        }
        let client = self.direct.as_ref().filter(|_| is_loopback(request.uri())).unwrap_or(&self.inner);
        let container = asks_a_container(&request);
        let response = client.execute(request).await?;
        let status = response.status();
        let refused = container && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !refused && !self.typed.includes(status) {
            return Ok(response);
        }
        let text = one_line(&error_text(response.into_body()).await);
        let answer = ServerStatus { status, text };
        // The kind tells the retry policy of multipart uploads, which sees nothing else, what is worth another try.
        let kind = if answer.is_temporary() { HttpErrorKind::Interrupted } else { HttpErrorKind::Unknown };
        Err(HttpError::new(kind, answer))
    }
}

/// The beginning of an error's text; what cannot be read of it is left out, since the status says enough.
pub(crate) async fn error_text(body: HttpResponseBody) -> String {
    let mut kept = Vec::new();
    let mut chunks = body.bytes_stream();
    while let Some(Ok(chunk)) = chunks.next().await {
        kept.extend_from_slice(&chunk[..chunk.len().min(ERROR_TEXT_BYTES - kept.len())]);
        if kept.len() == ERROR_TEXT_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::client::HttpRequestBody;

    #[test]
    fn requests_to_a_container_are_told_from_those_to_objects() {
        let asks = |method: &str, uri: &str| {
            let request = http::Request::builder().method(method).uri(uri);
            asks_a_container(&request.body(HttpRequestBody::empty()).unwrap())
        };
        for (method, uri) in [
            ("GET", "http://h/box?list-type=2&prefix=a"),
            ("GET", "http://h/acc/box?restype=container&comp=list"),
            ("POST", "http://h/acc/box?restype=container&comp=batch"),
            ("POST", "http://h/box?delete"),
            ("POST", "http://h/box?delete="),
            ("PROPFIND", "http://h/box/"),
        ] {
            assert!(asks(method, uri), "{method} {uri}");
        }
        for (method, uri) in [
            ("GET", "http://h/box/list-type=2"),
            ("PUT", "http://h/box/x?partNumber=1&uploadId=list-type"),
            ("PUT", "http://h/acc/box/x?comp=blocklist"),
            ("DELETE", "http://h/box/x"),
        ] {
            assert!(!asks(method, uri), "{method} {uri}");
        }
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        let loopback = |uri: &str| is_loopback(&uri.parse().unwrap());
        for uri in ["http://127.0.0.1:9000/x", "http://127.3.0.1/", "https://LocalHost:1/", "http://[::1]:9/x"] {
            assert!(loopback(uri), "{uri}");
        }
        for uri in ["http://10.0.0.1/", "https://localhost.example.org/", "http://[::2]/", "/x"] {
            assert!(!loopback(uri), "{uri}");
        }
    }

    #[test]
    fn a_buckets_name_is_written_plainly_and_nothing_else_is_touched() {
        let bucket = Connector::new(Typed::All).with_plain_bucket("my-box.eu").bucket.unwrap();
        let plain = |uri: &str| bucket.plainly(&uri.parse().unwrap()).map(|uri| uri.to_string());
        assert_eq!(plain("http://h:1/my%2Dbox%2Eeu?list=2&x=%2D").unwrap(), "http://h:1/my-box.eu?list=2&x=%2D");
        assert_eq!(plain("https://h/my%2Dbox%2Eeu/a%2Db").unwrap(), "https://h/my-box.eu/a%2Db");
        assert_eq!(plain("https://h/my-box.eu/a"), None);
        assert_eq!(plain("https://h/my%2Dbox%2Eeu2/a"), None);
    }
}
