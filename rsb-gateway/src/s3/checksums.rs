//! Digests of a body that its sender announces: before it in the head, or behind it in a trailer. A body that does not have
//! them is refused before its last bytes are passed on, so nothing of it is kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::HeaderMap;
use rsb_core::Late;
use rsb_core::format::parts::{ChecksumAlgorithm, ObjectChecksum};
use s3s::crypto::{Checksum as _, Md5};
use s3s::stream::{ByteStream, DynByteStream, RemainingLength};
use s3s::{Body, S3ErrorCode, S3Result, StdError, TrailingHeaders, s3_error};

use super::body::Fate;
use super::sums::{self, Hasher};

/// Digests that a sender announces.
#[derive(Default)]
pub(super) struct Announced {
    md5: Option<(Md5, Vec<u8>)>,
    /// The checksum that is made, and what it must be.
    sum: Option<(Hasher, Wanted)>,
    trailers: Option<TrailingHeaders>,
    /// What was found right.
    verified: Verified,
}

/// What a checksum must be.
enum Wanted {
    /// This.
    Value(Vec<u8>),
    /// What the trailer of this name says.
    Trailer(&'static str),
    /// Whatever it is.
    Anything,
}

/// The checksum that was found right, once the body has come to its end.
pub(super) type Verified = Late<ObjectChecksum>;

impl Announced {
    /// From `Content-MD5`, `x-amz-checksum-…` and `x-amz-trailer`.
    pub(super) fn of(headers: &HeaderMap, trailers: Option<TrailingHeaders>) -> S3Result<Self> {
        let mut out = Self { trailers, ..Self::default() };
        if let Some(value) = headers.get("content-md5") {
            let md5 = decode(value.as_bytes(), 16);
            let md5 = md5.ok_or_else(|| s3_error!(InvalidDigest, "Content-MD5 is not 16 bytes in base64"))?;
            out.md5 = Some((Md5::new(), md5));
        }
        for (name, algorithm) in sums::HEADERS {
            let Some(value) = headers.get(name) else { continue };
            let Some(value) = decode(value.as_bytes(), sums::len(algorithm)) else {
                return Err(s3_error!(InvalidRequest, "Value for {name} header is invalid."));
            };
            out.announce(algorithm, Wanted::Value(value))?;
        }
        for name in headers.get_all("x-amz-trailer") {
            let name = name.to_str().unwrap_or_default().trim().to_ascii_lowercase();
            match sums::HEADERS.iter().find(|(known, _)| *known == name) {
                Some((name, algorithm)) if out.trailers.is_some() => out.announce(*algorithm, Wanted::Trailer(name))?,
                _ => {
                    return Err(s3_error!(
                        InvalidRequest,
                        "The value specified in the x-amz-trailer header is not supported"
                    ));
                }
            }
        }
        Ok(out)
    }

    /// From `Content-MD5` alone: the checksums in the head are about something else than the body.
    pub(super) fn of_document(headers: &HeaderMap) -> S3Result<Self> {
        let md5 = headers.get("content-md5").map(|value| (http::header::HeaderName::from_static("content-md5"), value));
        Self::of(&md5.into_iter().map(|(name, value)| (name, value.clone())).collect(), None)
    }

    fn announce(&mut self, algorithm: ChecksumAlgorithm, wanted: Wanted) -> S3Result<()> {
        if self.sum.is_some() {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            ));
        }
        self.sum = Some((Hasher::new(algorithm), wanted));
        Ok(())
    }

    /// Makes a checksum of this algorithm, whatever it is, unless the sender announces one.
    pub(super) fn or_make(mut self, algorithm: ChecksumAlgorithm) -> Self {
        self.sum.get_or_insert_with(|| (Hasher::new(algorithm), Wanted::Anything));
        self
    }

    /// The algorithm of the checksum that is announced.
    pub(super) fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.sum.as_ref().map(|(hasher, _)| hasher.algorithm())
    }

    /// What will have been found right.
    pub(super) fn verified(&self) -> Verified {
        self.verified.clone()
    }

    /// The body, held to what is announced.
    pub(super) fn hold<S>(self, body: S, fate: Fate) -> Body
    where
        S: ByteStream<Item = Result<Bytes, StdError>> + Unpin + Send + Sync + 'static,
        Body: From<S>,
    {
        if self.md5.is_none() && self.sum.is_none() {
            return body.into();
        }
        let stream: DynByteStream = Box::pin(Held { body, announced: self, fate, waiting: None, ended: false });
        stream.into()
    }

    fn update(&mut self, chunk: &[u8]) {
        if let Some((hash, _)) = &mut self.md5 {
            hash.update(chunk);
        }
        if let Some((hash, _)) = &mut self.sum {
            hash.update(chunk);
        }
    }

    /// The error's code and sentence where something does not match.
    fn verify(&mut self) -> Result<(), (S3ErrorCode, String)> {
        if let Some((hash, wanted)) = self.md5.take()
            && hash.finalize().as_slice() != wanted
        {
            let message = "The Content-MD5 you specified did not match what we received.";
            return Err((S3ErrorCode::BadDigest, message.into()));
        }
        let Some((hash, wanted)) = self.sum.take() else { return Ok(()) };
        let (algorithm, value) = (hash.algorithm(), hash.finish());
        let wanted = match wanted {
            Wanted::Anything => value.clone(),
            Wanted::Value(wanted) => wanted,
            Wanted::Trailer(name) => {
                let read = |trailers: &HeaderMap| Some(trailers.get(name)?.as_bytes().to_vec());
                let Some(text) = self.trailers.as_ref().and_then(|trailers| trailers.read(read).flatten()) else {
                    let message = format!("the trailer {name} was announced and did not come");
                    return Err((S3ErrorCode::Custom("MalformedTrailerError".into()), message));
                };
                STANDARD.decode(text).unwrap_or_default()
            }
        };
        if value != wanted {
            let name = sums::header(algorithm);
            let message = format!("The {name} you specified did not match the calculated checksum.");
            return Err((S3ErrorCode::BadDigest, message));
        }
        self.verified.set(ObjectChecksum { algorithm, value, composite: false });
        Ok(())
    }
}

/// `len` bytes in base64.
fn decode(value: &[u8], len: usize) -> Option<Vec<u8>> {
    STANDARD.decode(value).ok().filter(|bytes| bytes.len() == len)
}

/// A body that is held to its digests. Its last chunk is given only after it has been verified, so that a reader who knows
/// the length, and stops there, has seen the verdict.
struct Held<S> {
    body: S,
    announced: Announced,
    fate: Fate,
    waiting: Option<Bytes>,
    ended: bool,
}

impl<S: Stream<Item = Result<Bytes, StdError>> + Unpin> Stream for Held<S> {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            match std::task::ready!(self.body.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => {
                    self.announced.update(&chunk);
                    if let Some(earlier) = self.waiting.replace(chunk) {
                        return Poll::Ready(Some(Ok(earlier)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    return Poll::Ready(match self.announced.verify() {
                        Ok(()) => self.waiting.take().map(Ok),
                        Err((code, message)) => {
                            self.fate.note(code, message.clone());
                            Some(Err(message.into()))
                        }
                    });
                }
            }
        }
    }
}

impl<S: ByteStream<Item = Result<Bytes, StdError>> + Unpin> ByteStream for Held<S> {
    fn remaining_length(&self) -> RemainingLength {
        let waiting = self.waiting.as_ref().map_or(0, Bytes::len);
        match self.body.remaining_length().exact().and_then(|left| left.checked_add(waiting)) {
            Some(left) => RemainingLength::new_exact(left),
            None => RemainingLength::unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;

    async fn read(headers: &[(&'static str, &str)]) -> Result<Vec<u8>, String> {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let announced = Announced::of(&map, None).map_err(|error| error.code().as_str().to_owned())?;
        let fate = Fate::default();
        let body = announced.hold(Body::from(b"hello".to_vec()), fate.clone());
        let chunks: Result<Vec<Bytes>, _> = body.try_collect().await;
        chunks.map(|chunks| chunks.concat()).map_err(|_| fate.error().code().as_str().to_owned())
    }

    #[tokio::test]
    async fn a_body_is_held_to_what_is_announced() {
        for (name, value, expected) in [
            ("content-md5", "XUFAKrxLKna5cZ2REBfFkg==", "fine"),
            ("content-md5", "XUFAKrxLKna5cZ2REBfFkA==", "BadDigest"),
            ("content-md5", "XUFA", "InvalidDigest"),
            ("x-amz-checksum-crc32", "NhCmhg==", "fine"),
            ("x-amz-checksum-crc32", "NhCmhQ==", "BadDigest"),
            ("x-amz-checksum-crc32", "NhCm", "InvalidRequest"),
            ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=", "fine"),
            ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "fine"),
            ("x-amz-checksum-sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCA=", "BadDigest"),
            ("x-amz-trailer", "x-amz-checksum-crc32", "InvalidRequest"),
        ] {
            let got = read(&[(name, value)]).await;
            let got = got.map(|body| assert_eq!(body, b"hello")).map_or_else(|code| code, |()| "fine".to_owned());
            assert_eq!(got, expected, "{name}: {value}");
        }
        let both = [("x-amz-checksum-crc32", "NhCmhg=="), ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=")];
        assert_eq!(read(&both).await, Err("InvalidRequest".to_owned()));
    }
}
