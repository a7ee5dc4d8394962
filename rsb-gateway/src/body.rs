//! A request's body: asked for only when read, watched for a sender that stops, and taken to its end when it is refused,
//! so that the sender gets to read why.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};
use rsb_core::{Error, ErrorKind};
use sync_wrapper::SyncStream;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::config::Limits;
use crate::problem::Problem;

/// A refused body is taken and thrown away for at most this long.
const DRAIN_TIME: Duration = Duration::from_secs(20);

/// `Sync`, so that handlers may hold on to a request while they wait.
type Source = SyncStream<BoxStream<'static, Result<Bytes, BoxError>>>;

/// Why a body broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body that arrives. Dropped before its end it drains itself in the background, within bounds: a connection closed
/// with bytes unread would take the reply with it.
pub(crate) struct Upload {
    source: Option<Source>,
    len: Option<u64>,
    idle: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that may still be drained; 0 where it would be wrong or in vain.
    drain_bytes: u64,
    /// The sender waits for leave to send (`Expect: 100-continue`), which the first poll gives.
    expects_leave: bool,
}

impl Upload {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self { source: None, len: None, idle: Duration::ZERO, timer: None, drain_bytes: 0, expects_leave: false }
    }

    pub(crate) fn new(
        headers: &HeaderMap,
        source: BoxStream<'static, Result<Bytes, BoxError>>,
        limits: Limits,
    ) -> Self {
        let len = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
        let present = len.unwrap_or(0) > 0 || headers.contains_key(TRANSFER_ENCODING);
        // One that would not end within the bound is cut at once.
        let fits = len.is_none_or(|len| len <= limits.drain_bytes);
        Self {
            source: Some(SyncStream::new(source)),
            len,
            idle: limits.idle_timeout,
            timer: None,
            drain_bytes: if present && fits { limits.drain_bytes } else { 0 },
            expects_leave: headers.contains_key(EXPECT),
        }
    }

    /// Its length, where the sender said so.
    pub(crate) fn len(&self) -> Option<u64> {
        self.len
    }

    /// The whole body, when it has at most `limit` bytes.
    pub(crate) async fn collect(mut self, limit: usize) -> Result<Bytes, Problem> {
        let mut all = BytesMut::new();
        while let Some(chunk) = self.next().await {
            let chunk = chunk?;
            if all.len() + chunk.len() > limit {
                return Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body-too-large",
                    format!("the body has more than the {limit} bytes that are taken here"),
                ));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    fn stop(&mut self) {
        self.source = None;
        self.timer = None;
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // The clock runs only while we wait: time that the reader of this stream takes is not the sender's.
        let idle = self.idle;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(idle)));
        timer.as_mut().poll(cx)
    }
}

impl Stream for Upload {
    type Item = rsb_core::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(source) = self.source.as_mut() else {
            return Poll::Ready(None);
        };
        let item = source.poll_next_unpin(cx);
        self.expects_leave = false;
        match item {
            Poll::Ready(Some(Ok(chunk))) => {
                self.timer = None;
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.stop();
                let message = "the body ended early: the sender closed the connection or sent less than it announced";
                Poll::Ready(Some(Err(Error::new(ErrorKind::BadBody, message).source(error))))
            }
            Poll::Ready(None) => {
                self.stop();
                Poll::Ready(None)
            }
            Poll::Pending => {
                if self.poll_idle(cx).is_pending() {
                    return Poll::Pending;
                }
                self.stop();
                let message = format!("the sender sent nothing of the body for {} s", self.idle.as_secs());
                let source = io::Error::from(io::ErrorKind::TimedOut);
                Poll::Ready(Some(Err(Error::new(ErrorKind::BadBody, message).source(source))))
            }
        }
    }
}

/// Whether a body broke off because its sender stopped.
pub(crate) fn is_timeout(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    source.is_some_and(|source| source.kind() == io::ErrorKind::TimedOut)
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut source) = self.source.take() else { return };
        // Draining would tell the one who asked first to send all of it.
        if self.drain_bytes == 0 || self.expects_leave {
            return;
        }
        let (mut left, idle) = (self.drain_bytes, self.idle);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let deadline = Instant::now() + DRAIN_TIME;
                while let Ok(Some(Ok(chunk))) = timeout(idle, source.next()).await {
                    left = left.saturating_sub(chunk.len() as u64);
                    if left == 0 || Instant::now() >= deadline {
                        break;
                    }
                }
            });
        }
    }
}
