//! PUT of an object: a stream of bytes, or a copy of another object. What can be refused is refused, here and by the
//! engine, before the first byte of the body is asked for.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_RANGE, CONTENT_TYPE, ETAG, EXPIRES,
};
use http::{HeaderMap, HeaderName, StatusCode};
use md5::{Digest as _, Md5};
use rsb_core::catalog::Precondition;
use rsb_core::{BodyStream, Error, ErrorKind, ObjectInfo, PutRequest};
use sha2::Sha256;
use warp::reply::Response;

use super::objects::{META_PREFIX, ObjectView, VERSION};
use crate::body::Upload;
use crate::call::Call;
use crate::config::Right;
use crate::http::{conditions, reply};
use crate::names;
use crate::problem::Problem;

/// Names the object (`bucket/key`, percent-encoded) that a PUT without a body copies.
const COPY_SOURCE: &str = "x-rsb-copy-source";
/// System headers that are kept with an object and sent with it.
pub(crate) const KEPT: [HeaderName; 6] =
    [CONTENT_TYPE, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, EXPIRES];
/// The names and values of an object's system and user metadata have at most this many bytes: they are sent as headers.
const MAX_META_BYTES: usize = 8 << 10;

/// The header of this name, when it is one that is kept with objects.
pub(crate) fn kept_attribute(name: &str) -> Option<HeaderName> {
    KEPT.into_iter().find(|kept| kept.as_str() == name)
}

pub(crate) async fn serve(call: &mut Call, bucket: &str, key: &str) -> Result<Response, Problem> {
    let precondition = conditions::of_write(&call.headers)?;
    let info = match call.header(COPY_SOURCE)?.map(str::to_owned) {
        Some(source) => copy(call, &source, (bucket, key), precondition).await?,
        None => upload(call, bucket, key, precondition).await?,
    };
    let mut response = super::json(StatusCode::CREATED, &ObjectView::of(&info));
    reply::set(response.headers_mut(), ETAG, format!("\"{}\"", info.etag()));
    reply::set(response.headers_mut(), VERSION, info.version().to_string());
    Ok(response)
}

async fn copy(call: &Call, source: &str, to: (&str, &str), condition: Precondition) -> Result<ObjectInfo, Problem> {
    call.query(&[])?;
    let source = source.strip_prefix('/').unwrap_or(source);
    let Some((bucket, key)) = source.split_once('/') else {
        return Err(Problem::invalid(format!("{COPY_SOURCE} is {source:?}; expected BUCKET/KEY")));
    };
    let bucket = names::decode_present("source bucket's name", bucket)?;
    let key = names::decode_present("source key", key)?;
    let engine = call.allow(Right::Read, Some(&bucket))?;
    Ok(engine.copy((&bucket, &key), to, condition).await?)
}

async fn upload(call: &mut Call, bucket: &str, key: &str, condition: Precondition) -> Result<ObjectInfo, Problem> {
    let query = call.query(&["data_shards", "parity_shards"])?;
    let number = "a number of shards";
    let mut request = PutRequest {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        precondition: condition,
        data_shards: query.value("data_shards", number)?,
        parity_shards: query.value("parity_shards", number)?,
        ..PutRequest::default()
    };
    if call.headers.contains_key(CONTENT_RANGE) {
        return Err(Problem::invalid("Content-Range on a PUT is not served: an object is written whole"));
    }
    (request.attributes, request.metadata) = metadata(&call.headers)?;
    let wanted = Announced::of(&call.headers)?;
    let body = call.take_body();
    request.len = body.len();
    let engine = call.allow(Right::Write, Some(bucket))?;
    Ok(engine.put(request, verified(body, wanted)).await?)
}

type Texts = BTreeMap<String, String>;

/// System and user metadata from a request's headers.
fn metadata(headers: &HeaderMap) -> Result<(Texts, Texts), Problem> {
    let (mut attributes, mut metadata) = (Texts::new(), Texts::new());
    let mut bytes = 0;
    for (name, value) in headers {
        let (into, short) = match name.as_str().strip_prefix(META_PREFIX) {
            Some("") => return Err(Problem::invalid(format!("a header {META_PREFIX} without a name behind it"))),
            Some(short) => (&mut metadata, short),
            None if KEPT.contains(name) => (&mut attributes, name.as_str()),
            None => continue,
        };
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Problem::invalid(format!("the header {name} is not UTF-8")))?;
        bytes += short.len() + text.len();
        if into.insert(short.to_owned(), text.to_owned()).is_some() {
            return Err(Problem::invalid(format!("the header {name} is given twice")));
        }
    }
    if bytes > MAX_META_BYTES {
        return Err(Problem::invalid(format!(
            "the object's metadata has {bytes} bytes; at most {MAX_META_BYTES} are kept"
        )));
    }
    Ok((attributes, metadata))
}

/// Digests of the body that the sender announced.
#[derive(Default)]
struct Announced {
    md5: Option<(Md5, Vec<u8>)>,
    sha256: Option<(Sha256, Vec<u8>)>,
}

impl Announced {
    /// From `Content-MD5`, `Digest: sha-256=…`, `Content-Digest: sha-256=:…:`.
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut announced = Self::default();
        let text = |name: &str| -> Result<Option<&str>, Problem> {
            let value = headers.get(name).map(|value| value.to_str());
            value.transpose().map_err(|_| Problem::invalid(format!("the header {name} is not plain text")))
        };
        if let Some(value) = text("content-md5")? {
            announced.md5 = Some((Md5::new(), decode(value, 16, "Content-MD5")?));
        }
        for name in ["digest", "content-digest", "repr-digest"] {
            for item in text(name)?.unwrap_or_default().split(',') {
                let Some((algorithm, value)) = item.trim().split_once('=') else { continue };
                let value = value.trim_matches(':');
                match algorithm.to_ascii_lowercase().as_str() {
                    "sha-256" => announced.sha256 = Some((Sha256::new(), decode(value, 32, name)?)),
                    "md5" => announced.md5 = Some((Md5::new(), decode(value, 16, name)?)),
                    // Others may be ignored, says RFC 9530.
                    _ => {}
                }
            }
        }
        Ok(announced)
    }

    fn is_empty(&self) -> bool {
        self.md5.is_none() && self.sha256.is_none()
    }

    fn update(&mut self, chunk: &[u8]) {
        if let Some((hash, _)) = &mut self.md5 {
            hash.update(chunk);
        }
        if let Some((hash, _)) = &mut self.sha256 {
            hash.update(chunk);
        }
    }

    fn verify(&mut self) -> Result<(), Error> {
        let md5 = self.md5.take().is_none_or(|(hash, wanted)| hash.finalize().as_slice() == wanted);
        let sha256 = self.sha256.take().is_none_or(|(hash, wanted)| hash.finalize().as_slice() == wanted);
        if md5 && sha256 {
            return Ok(());
        }
        let kind = if md5 { "SHA-256" } else { "MD5" };
        let message =
            format!("the body that arrived does not have the {kind} digest announced with it; nothing was written");
        Err(Error::new(ErrorKind::BadBody, message))
    }
}

fn decode(value: &str, len: usize, name: &str) -> Result<Vec<u8>, Problem> {
    STANDARD
        .decode(value.trim())
        .ok()
        .filter(|bytes| bytes.len() == len)
        .ok_or_else(|| Problem::invalid(format!("{name} is {value:?}; expected {len} bytes in base64")))
}

fn verified(body: Upload, announced: Announced) -> BodyStream {
    if announced.is_empty() {
        return body.boxed();
    }
    Verified { body, announced, held: None, ended: false }.boxed()
}

/// A body that is held to its announced digests. The last chunk is given only after it has been verified, so that a
/// reader who knows the length, and stops there, has seen the verdict.
struct Verified {
    body: Upload,
    announced: Announced,
    held: Option<Bytes>,
    ended: bool,
}

impl Stream for Verified {
    type Item = rsb_core::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            match std::task::ready!(self.body.poll_next_unpin(cx)) {
                Some(Ok(chunk)) => {
                    self.announced.update(&chunk);
                    if let Some(earlier) = self.held.replace(chunk) {
                        return Poll::Ready(Some(Ok(earlier)));
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    self.ended = true;
                    let verdict = self.announced.verify();
                    let last = self.held.take();
                    return Poll::Ready(match (verdict, last) {
                        (Err(error), _) => Some(Err(error)),
                        (Ok(()), last) => last.map(Ok),
                    });
                }
            }
        }
    }
}
