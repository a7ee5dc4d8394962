//! A request's body on its way through s3s, and why it ended. s3s gives its own errors of a body no public type, so what
//! goes wrong is noted here, where it is noticed first.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::HeaderMap;
use rsb_core::{BodyStream, Error, ErrorKind};
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, S3Error, S3ErrorCode, StdError, s3_error};

use super::errors;
use crate::body::{Upload, is_timeout};

/// Says how a body is secured: its SHA-256, or one of a few words.
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// What became of a request's body. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub(super) struct Fate(Arc<Inner>);

#[derive(Default)]
struct Inner {
    payload: OnceLock<Payload>,
    /// Its length as told.
    len: OnceLock<u64>,
    /// The first thing that went wrong, where we noticed it ourselves.
    wrong: Mutex<Option<(S3ErrorCode, String)>>,
    /// An operation has taken the request over, and answers for its errors itself.
    taken: AtomicBool,
}

/// How a body is secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    /// Not at all.
    Plain,
    /// By its SHA-256 in the head.
    Digest,
    /// In chunks without signatures.
    Chunks,
    /// In chunks that are signed.
    SignedChunks,
}

impl Fate {
    pub(super) fn set_payload(&self, headers: &HeaderMap) {
        let value = headers.get(CONTENT_SHA256).map_or(&b""[..], |value| value.as_bytes());
        let payload = match value {
            b"" | b"UNSIGNED-PAYLOAD" => Payload::Plain,
            b"STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Payload::Chunks,
            other if other.starts_with(b"STREAMING-") => Payload::SignedChunks,
            _ => Payload::Digest,
        };
        // Set once, by the door.
        let _ = self.0.payload.set(payload);
    }

    pub(super) fn set_len(&self, len: Option<u64>) {
        if let Some(len) = len {
            // Set once, by the door.
            let _ = self.0.len.set(len);
        }
    }

    fn payload(&self) -> Payload {
        self.0.payload.get().copied().unwrap_or(Payload::Plain)
    }

    /// The body comes in aws-chunked form.
    pub(super) fn is_chunked(&self) -> bool {
        matches!(self.payload(), Payload::Chunks | Payload::SignedChunks)
    }

    /// Notes what went wrong; the first counts.
    pub(super) fn note(&self, code: S3ErrorCode, message: impl Into<String>) {
        let mut wrong = self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        wrong.get_or_insert_with(|| (code, message.into()));
    }

    /// What an error of the body as it arrives is in S3's words; `code` where it is not a sender that stopped.
    pub(super) fn of_body(&self, error: &Error, code: S3ErrorCode) -> S3Error {
        if is_timeout(error) {
            let message =
                "Your socket connection to the server was not read from or written to within the timeout period.";
            return S3Error::with_message(S3ErrorCode::RequestTimeout, format!("{message} {}", error.message()));
        }
        S3Error::with_message(code, format!("{}; nothing was written", error.message()))
    }

    /// An operation takes the request over.
    pub(super) fn take(&self) {
        self.0.taken.store(true, Ordering::Relaxed);
    }

    /// Why the body could not be taken in: by what was noted, else by how it was secured, as then s3s refused it.
    pub(super) fn error(&self) -> S3Error {
        if let Some((code, message)) = self.noted() {
            return S3Error::with_message(code, message);
        }
        match self.payload() {
            Payload::Digest => errors::custom(
                "XAmzContentSHA256Mismatch",
                "the body that arrived does not have the x-amz-content-sha256 it was signed with; nothing was written",
            ),
            Payload::SignedChunks => s3_error!(
                SignatureDoesNotMatch,
                "a chunk of the body is malformed, or its signature does not match; nothing was written"
            ),
            Payload::Chunks | Payload::Plain => {
                s3_error!(IncompleteBody, "the body is malformed or ended early; nothing was written")
            }
        }
    }

    fn noted(&self) -> Option<(S3ErrorCode, String)> {
        self.0.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The error of a body that s3s wanted whole before it called an operation, and did not get.
    pub(super) fn unread_body(&self, max_bytes: u64) -> Option<S3Error> {
        if self.0.len.get().is_some_and(|len| *len > max_bytes) && !self.0.taken.load(Ordering::Relaxed) {
            return Some(s3_error!(
                MaxMessageLengthExceeded,
                "Your request was too big: {max_bytes} bytes are taken here"
            ));
        }
        let secured = self.payload() != Payload::Plain;
        (!self.0.taken.load(Ordering::Relaxed) && (secured || self.noted().is_some())).then(|| self.error())
    }
}

/// A body as it arrives.
pub(super) struct Received {
    upload: Upload,
    left: Option<u64>,
    fate: Fate,
}

impl Received {
    pub(super) fn new(upload: Upload, fate: Fate) -> Self {
        Self { left: upload.len(), upload, fate }
    }

    pub(super) fn into_body(self) -> Body {
        let stream: DynByteStream = Box::pin(self);
        stream.into()
    }
}

impl Stream for Received {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match ready!(self.upload.poll_next_unpin(cx)) {
            Some(Ok(chunk)) => {
                self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
                Poll::Ready(Some(Ok(chunk)))
            }
            Some(Err(error)) => {
                let said = self.fate.of_body(&error, S3ErrorCode::IncompleteBody);
                self.fate.note(said.code().clone(), said.message().unwrap_or_default());
                Poll::Ready(Some(Err(Box::new(error))))
            }
            None => Poll::Ready(None),
        }
    }
}

impl ByteStream for Received {
    fn remaining_length(&self) -> RemainingLength {
        length(self.left)
    }
}

/// A body or reply with its length where that is known.
pub(super) struct Sized<S> {
    stream: S,
    left: Option<u64>,
}

impl<S> Sized<S> {
    pub(super) fn new(stream: S, left: Option<u64>) -> Self {
        Self { stream, left }
    }
}

impl<S, E> Stream for Sized<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = ready!(self.stream.poll_next_unpin(cx));
        if let Some(Ok(chunk)) = &item {
            self.left = self.left.map(|left| left.saturating_sub(chunk.len() as u64));
        }
        Poll::Ready(item.map(|item| item.map_err(Into::into)))
    }
}

impl<S, E> ByteStream for Sized<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    fn remaining_length(&self) -> RemainingLength {
        length(self.left)
    }
}

fn length(left: Option<u64>) -> RemainingLength {
    left.and_then(|left| usize::try_from(left).ok()).map_or_else(RemainingLength::unknown, RemainingLength::new_exact)
}

/// A body as the engine takes it: whatever error it ends with undoes the write.
pub(super) fn for_engine(
    body: impl Stream<Item = Result<Bytes, StdError>> + Send + 'static,
    fate: &Fate,
) -> BodyStream {
    let fate = fate.clone();
    body.map(move |item| {
        item.map_err(|source| {
            let said = fate.error();
            Error::new(ErrorKind::BadBody, said.message().unwrap_or("the body cannot be read")).source(source)
        })
    })
    .boxed()
}
