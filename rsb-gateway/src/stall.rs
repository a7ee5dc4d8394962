//! A connection that neither says its first word nor takes what it asked for is cut: otherwise each holds buffers for
//! as long as it likes. A sender that stops within a body is noticed in `body`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// A stream that fails with `TimedOut` when its first byte, or a write, takes too long.
pub(crate) struct StallGuard<S> {
    stream: S,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    heard: bool,
    writing: bool,
}

impl<S> StallGuard<S> {
    pub(crate) fn new(stream: S, first_byte: Duration, idle: Duration) -> Self {
        Self { stream, idle, timer: Box::pin(sleep(first_byte)), heard: false, writing: false }
    }

    /// Watches the time of a write that is `outcome`.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.writing = false;
            return outcome;
        }
        if !self.writing {
            self.writing = true;
            self.timer.as_mut().reset(Instant::now() + self.idle);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes no bytes")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        if outcome.is_ready() {
            self.heard = true;
        } else if !self.heard && self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side says nothing")));
        }
        outcome
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, outcome)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.watch_write(cx, outcome)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watch_write(cx, outcome)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, outcome)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn silence_at_the_start_ends_the_connection() {
        let (near, _far) = duplex(16);
        let mut guarded = StallGuard::new(near, Duration::from_millis(20), Duration::from_secs(60));
        assert_eq!(guarded.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn silence_later_is_left_to_the_protocol() {
        let (near, mut far) = duplex(16);
        let mut guarded = StallGuard::new(near, Duration::from_millis(20), Duration::from_millis(20));
        far.write_all(b"x").await.unwrap();
        guarded.read_u8().await.unwrap();
        tokio::time::timeout(Duration::from_millis(80), guarded.read_u8()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_reader_that_stops_ends_the_connection() {
        let (near, mut far) = duplex(16);
        let mut guarded = StallGuard::new(near, Duration::from_secs(60), Duration::from_millis(20));
        guarded.write_all(&[0; 16]).await.unwrap();
        far.read_exact(&mut [0; 8]).await.unwrap();
        assert_eq!(guarded.write_all(&[0; 64]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
