//! A form (`multipart/form-data`) as it streams. multer finds the parts; what is added here bounds what it may hold: it buffers as
//! much as its source has ready, and a preamble or a part's headers without an end for ever.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use multer::{Field, Multipart};
use rsb_core::{Error, ErrorKind};

use crate::body::Upload;

/// Bytes that may stand between two parts' contents: boundary and headers.
const MAX_HEAD_BYTES: u64 = 64 << 10;
/// A form being read.
pub(crate) struct Form {
    parts: Multipart<'static>,
    /// What multer reads; it stops at the closing boundary, and the request may go on.
    body: Arc<Mutex<Upload>>,
    head_bytes_left: Arc<AtomicU64>,
}

impl Form {
    /// A form with the boundary of this `Content-Type`.
    pub(crate) fn new(content_type: Option<&str>, body: Upload) -> Result<Self, Error> {
        let boundary = content_type.and_then(|kind| multer::parse_boundary(kind).ok()).ok_or_else(|| {
            bad("the request is not a form: its Content-Type must be multipart/form-data with a boundary")
        })?;
        let head_bytes_left = Arc::new(AtomicU64::new(MAX_HEAD_BYTES));
        let body = Arc::new(Mutex::new(body));
        let feed = Feed { body: body.clone(), head_bytes_left: head_bytes_left.clone(), pause: false };
        Ok(Self { parts: Multipart::new(feed, boundary), body, head_bytes_left })
    }

    /// The next part. The one before must have been dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Field<'static>>, Error> {
        self.head_bytes_left.store(MAX_HEAD_BYTES, Ordering::Relaxed);
        let part = self.parts.next_field().await.map_err(from_multer);
        self.head_bytes_left.store(u64::MAX, Ordering::Relaxed);
        part
    }

    /// Reads what stands behind the closing boundary, so that a request cut off there fails too.
    pub(crate) async fn end(&mut self) -> Result<(), Error> {
        let mut left = MAX_HEAD_BYTES;
        while let Some(chunk) = poll_fn(|cx| poll_body(&self.body, cx)).await {
            left = left.checked_sub(chunk?.len() as u64).ok_or_else(|| {
                bad(format!("the form has more than {MAX_HEAD_BYTES} bytes behind its closing boundary"))
            })?;
        }
        Ok(())
    }
}

fn poll_body(body: &Mutex<Upload>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
    body.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(cx)
}

/// The text of a field of at most `max` bytes.
pub(crate) async fn text(mut field: Field<'static>, max: usize) -> Result<String, Error> {
    let name = field.name().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(from_multer)? {
        if all.len() + chunk.len() > max {
            return Err(bad(format!("the form's field {name:?} has more than {max} bytes")));
        }
        all.extend_from_slice(&chunk);
    }
    String::from_utf8(all).map_err(|_| bad(format!("the form's field {name:?} is not UTF-8")))
}

pub(crate) fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::BadBody, message)
}

/// An error of the body comes back as it was; the rest is said in our words.
pub(crate) fn from_multer(error: multer::Error) -> Error {
    match error {
        multer::Error::StreamReadFailed(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => bad("the form cannot be read").source(source),
        },
        multer::Error::IncompleteStream
        | multer::Error::IncompleteHeaders
        | multer::Error::IncompleteFieldData { .. } => bad("the form ends early: its closing boundary is missing"),
        other => bad(format!("the form is malformed: {other}")),
    }
}

/// Gives multer one chunk at a time, and between parts only so many bytes.
struct Feed {
    body: Arc<Mutex<Upload>>,
    head_bytes_left: Arc<AtomicU64>,
    pause: bool,
}

impl Stream for Feed {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.pause) {
            // multer polls until there is nothing ready: being told so after each chunk makes it work that off first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let item = std::task::ready!(poll_body(&self.body, cx));
        let Some(Ok(chunk)) = item else {
            return Poll::Ready(item);
        };
        self.pause = true;
        let left = self.head_bytes_left.load(Ordering::Relaxed);
        let Some(left) = left.checked_sub(chunk.len() as u64) else {
            // The chunk that holds a part's headers may hold much of its content too.
            self.head_bytes_left.store(0, Ordering::Relaxed);
            if left == 0 {
                return Poll::Ready(Some(Err(bad(format!(
                    "the form has no part within {MAX_HEAD_BYTES} bytes; is its boundary the one in Content-Type?"
                )))));
            }
            return Poll::Ready(Some(Ok(chunk)));
        };
        self.head_bytes_left.store(left, Ordering::Relaxed);
        Poll::Ready(Some(Ok(chunk)))
    }
}
