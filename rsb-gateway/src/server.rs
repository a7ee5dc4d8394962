//! Connections: accepting, TLS, HTTP/1.1 and HTTP/2, and an orderly end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, ready};
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rsb_core::Engine;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::call::Meta;
use crate::config::{GatewayConfig, Limits};
use crate::routes::Routes;
use crate::stall::StallGuard;
use crate::{GatewayError, lifecycle, metrics, prototype, routes, s3, tls, v1};

/// Bytes of a request's head that are taken; a longer one is answered with 431.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Bytes that a connection over HTTP/1.1 holds of what comes in and of what goes out: a few blocks, so that many of them go to
/// the system at once.
const CONNECTION_BUFFER: usize = 256 << 10;
/// A TLS handshake must be done within this time.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A gateway that listens and does not serve yet.
pub struct Gateway {
    listener: TcpListener,
    address: SocketAddr,
    s3: Option<(TcpListener, SocketAddr)>,
    tls: Option<(TlsAcceptor, String)>,
    app: Arc<App>,
}

/// Checks the configuration and listens on its address. Connections made from now on wait until [`Gateway::run`].
pub async fn bind(engine: Engine, config: GatewayConfig) -> Result<Gateway, GatewayError> {
    config.validate()?;
    let app = Arc::new(App::new(engine, config.clone())?);
    let addresses: Vec<SocketAddr> = [config.listen].into_iter().chain(config.s3_listen).collect();
    let tls = config.tls.as_ref().map(|tls| tls::acceptor(tls, &addresses)).transpose()?;
    let (listener, address) = listen(config.listen).await?;
    let s3 = match config.s3_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    Ok(Gateway { listener, address, s3, tls, app })
}

/// Listens; gives the address with the port that was taken where 0 was asked for.
async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), GatewayError> {
    let failed = |source| GatewayError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// [`bind`] and [`Gateway::run`] in one. The engine is left open: close it afterwards.
pub async fn serve(
    engine: Engine,
    config: GatewayConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), GatewayError> {
    bind(engine, config).await?.run(shutdown).await;
    Ok(())
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Gateway {
    /// The address it listens on, with the port that was taken where the configuration says 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, as a person types it on this machine: `http://127.0.0.1:44987`.
    pub fn url(&self) -> String {
        self.url_of(self.address)
    }

    /// The base URL of its S3 door, where that is served.
    pub fn s3_url(&self) -> Option<String> {
        self.s3.as_ref().map(|(_, address)| self.url_of(*address))
    }

    fn url_of(&self, mut address: SocketAddr) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { [0, 0, 0, 0, 0, 0, 0, 1].into() });
        }
        format!("{scheme}://{address}")
    }

    /// The certificate chain it shows (PEM), which clients of a self-signed one must be told to trust; `None` without TLS.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.tls.as_ref().map(|(_, pem)| pem.as_str())
    }

    /// Serves until `shutdown` is ready: then accepts nothing more, lets requests in flight finish within
    /// [`Limits::shutdown_grace`], cuts what is left, and returns. The engine is left open: close it afterwards.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let limits = self.app.limits;
        let seats = Arc::new(Semaphore::new(limits.max_connections));
        let connections = Connections::new(&self, &limits);
        let s3 = s3::Door::new(self.app.clone());
        let s3_listener = self.s3.map(|(listener, _)| listener);
        let graceful = GracefulShutdown::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(prototype::sweep_left_uploads(self.app.clone()));
        tasks.spawn(lifecycle::follow(self.app.clone()));
        tasks.spawn(v1::moves::resume(self.app.clone()));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                (stream, peer, seat, to_s3) = accept(&self.listener, s3_listener.as_ref(), &seats) => {
                    let door = if to_s3 { Speaks::S3(s3.clone()) } else { Speaks::Http };
                    tasks.spawn(connections.clone().serve(stream, peer, door, graceful.watcher(), seat));
                }
                Some(_) = tasks.join_next() => {}
            }
        }
        drop((self.listener, s3_listener));
        tracing::info!(connections = graceful.count(), "stopping: requests in flight may finish");
        self.app.stopping.cancel();
        self.app.jobs.cancel_all();
        let ended = async {
            graceful.shutdown().await;
            self.app.jobs.ended().await;
        };
        if timeout(limits.shutdown_grace, ended).await.is_err() {
            tracing::warn!("requests or jobs did not finish in time and are cut");
        }
        tasks.shutdown().await;
        self.app.jobs.abort_all().await;
    }
}

/// The next connection, once there is a seat for it, and whether it came to the S3 door.
async fn accept(
    http: &TcpListener,
    s3: Option<&TcpListener>,
    seats: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, OwnedSemaphorePermit, bool) {
    loop {
        // One seat for whichever comes first: a quiet door must not keep one from a busy door.
        let Ok(seat) = seats.clone().acquire_owned().await else {
            // The semaphore is never closed.
            return std::future::pending().await;
        };
        let to_s3 = async {
            match s3 {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        let (accepted, is_s3) = tokio::select! {
            accepted = http.accept() => (accepted, false),
            accepted = to_s3 => (accepted, true),
        };
        match accepted {
            Ok((stream, peer)) => return (stream, peer, seat, is_s3),
            Err(error) => {
                // Out of file descriptors, or the other side is gone already: going on at once would spin.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// What is spoken on a connection, by the port it came to.
#[derive(Clone)]
enum Speaks {
    /// `/v1`, the prototype's protocol, health, metrics, the page.
    Http,
    /// S3.
    S3(s3::Door),
}

/// Whether a request's head is longer than anybody has reason to make it.
fn is_head_too_long<B>(request: &Request<B>) -> bool {
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
    target + headers.sum::<usize>() > MAX_HEAD_BYTES
}

/// The reply to such a request. Nothing behind it is read.
fn too_long<B: From<Bytes>>() -> Response<B> {
    let mut response = Response::new(B::from(Bytes::new()));
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// How each connection is served. Cheap to clone.
#[derive(Clone)]
struct Connections {
    app: Arc<App>,
    routes: Routes,
    tls: Option<TlsAcceptor>,
    limits: Limits,
    http1: Builder<TokioExecutor>,
    http2: Builder<TokioExecutor>,
}

impl Connections {
    fn new(gateway: &Gateway, limits: &Limits) -> Self {
        let mut http1 = Builder::new(TokioExecutor::new()).http1_only();
        http1
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(CONNECTION_BUFFER);
        let mut http2 = Builder::new(TokioExecutor::new()).http2_only();
        http2
            .http2()
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .max_concurrent_streams(64)
            .keep_alive_interval(limits.idle_timeout)
            .keep_alive_timeout(limits.header_timeout);
        Self {
            app: gateway.app.clone(),
            routes: routes::all(gateway.app.clone()),
            tls: gateway.tls.as_ref().map(|(acceptor, _)| acceptor.clone()),
            limits: *limits,
            http1,
            http2,
        }
    }

    async fn serve(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        door: Speaks,
        watcher: Watcher,
        seat: OwnedSemaphorePermit,
    ) {
        // Replies are written in few large pieces, so waiting for more to send with them gains nothing.
        let _ = stream.set_nodelay(true);
        let stream = StallGuard::new(stream, self.limits.header_timeout, self.limits.idle_timeout);
        match self.tls.clone() {
            None => self.speak(stream, false, peer, door, watcher).await,
            Some(acceptor) => match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    self.speak(stream, http2, peer, door, watcher).await;
                }
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            },
        }
        drop(seat);
    }

    async fn speak<S>(&self, stream: S, http2: bool, peer: SocketAddr, door: Speaks, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let builder = if http2 { &self.http2 } else { &self.http1 };
        let (stream, app) = (TokioIo::new(stream), self.app.clone());
        let ended = match door {
            Speaks::Http => {
                let service = TowerToHyperService::new(warp::service(self.routes.clone()));
                let answer = service_fn(move |mut request: Request<Incoming>| {
                    let meta = Meta::of(&app, &request, peer);
                    request.extensions_mut().insert(meta.clone());
                    let (door, long) = (metrics::door(&meta.path), is_head_too_long(&request));
                    let reply =
                        if long { Either::Left(ready(Ok(too_long()))) } else { Either::Right(service.call(request)) };
                    async move { Ok::<_, Infallible>(metrics::observed(meta, door, reply).await) }
                });
                watcher.watch(builder.serve_connection(stream, answer).into_owned()).await
            }
            Speaks::S3(door) => {
                let answer = service_fn(move |request: Request<Incoming>| {
                    let meta = Meta::of(&app, &request, peer);
                    let reply = match is_head_too_long(&request) {
                        true => Either::Left(ready(Ok(too_long()))),
                        false => Either::Right(door.clone().answer(request, meta.request_id.clone())),
                    };
                    async move { Ok::<_, Infallible>(metrics::observed(meta, "s3", reply).await) }
                });
                watcher.watch(builder.serve_connection(stream, answer).into_owned()).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
    }
}
