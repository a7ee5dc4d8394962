//! An object's bytes, both ways, as a stream.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE};
use reqwest::{Body, Method, Response};
use rsb_core::BodyStream;

use super::Client;
use super::address::{encoded, encoded_key};
use crate::door::{Download, Facts, Only, Upload};
use crate::failure::Failure;
use crate::name::Name;

impl Client {
    pub(super) fn object_path(&self, object: &Name) -> String {
        format!("/v1/b/{}/o/{}", encoded(&object.bucket), encoded_key(&object.key))
    }

    pub(super) async fn upload(&self, upload: Upload) -> Result<Facts, Failure> {
        let shards = [("data_shards", upload.data_shards), ("parity_shards", upload.parity_shards)];
        let query: Vec<String> =
            shards.iter().filter_map(|(name, count)| count.map(|count| format!("{name}={count}"))).collect();
        let separator = if query.is_empty() { "" } else { "?" };
        let path = format!("{}{separator}{}", self.object_path(&upload.object), query.join("&"));
        let (body, own) = watched(upload.body);
        let mut request = self.request(Method::PUT, &path).header(CONTENT_TYPE, "application/octet-stream").body(body);
        if let Some(len) = upload.len {
            request = request.header(CONTENT_LENGTH, len);
        }
        for (name, value) in &upload.metadata {
            request = request.header(format!("x-rsb-meta-{name}"), value);
        }
        request = match &upload.only {
            Only::Any => request,
            Only::New => request.header(IF_NONE_MATCH, "*"),
            Only::Instead(etag) => request.header(IF_MATCH, format!("\"{etag}\"")),
        };
        let broken = match request.send().await {
            Ok(response) => return self.read_json(response).await,
            Err(error) => self.broken(&error),
        };
        // When it was the file that could not be read, the broken connection is only what followed from it.
        let failed_here = own.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failed_here {
            Some(failure) => Err(failure),
            None => Err(self.why_refused(&path).await.unwrap_or(broken)),
        }
    }

    /// A gateway that refuses a long body answers before it has come, and whoever still sends may only see the connection
    /// break. So the same is asked once more without a body, under a condition that never holds: nothing is written, and
    /// any other refusal than that condition's is the first one's.
    async fn why_refused(&self, path: &str) -> Option<Failure> {
        let request = self.request(Method::PUT, path).header(CONTENT_TYPE, "application/octet-stream");
        let request = request.header(CONTENT_LENGTH, 0).header(IF_MATCH, "\"only asking\"");
        let response = request.send().await.ok()?;
        if response.status().is_success() || response.status() == reqwest::StatusCode::PRECONDITION_FAILED {
            return None;
        }
        Some(self.refused(response).await)
    }

    pub(super) async fn download(&self, object: &Name) -> Result<Download, Failure> {
        let path = self.object_path(object);
        let response = self.send(self.request(Method::GET, &path)).await?;
        let size = length(&response).ok_or_else(|| self.not_understood("it does not say the object's size"))?;
        let etag = response.headers().get(ETAG).cloned();
        let reader = Reader { client: self.clone(), path, etag, size, at: 0, came: 0, body: body_of(response) };
        let body = stream::try_unfold(reader, |mut reader| async move {
            let piece = reader.next().await?;
            Ok(piece.map(|piece| (piece, reader)))
        });
        Ok(Download { size, body: body.boxed() })
    }
}

fn length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn body_of(response: Response) -> BoxStream<'static, reqwest::Result<Bytes>> {
    response.bytes_stream().boxed()
}

/// The failure of a body that is being sent, where there was one.
type Own = Arc<Mutex<Option<Failure>>>;

/// A body to send, and the place where its own failure will be found.
fn watched(body: BodyStream) -> (Body, Own) {
    let own = Own::default();
    let noted = own.clone();
    let body = body.map_err(move |error| {
        let sentence = error.to_string();
        *noted.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.into());
        std::io::Error::other(sentence)
    });
    (Body::wrap_stream(body), own)
}

/// An object being read, which goes on where a connection broke off.
struct Reader {
    client: Client,
    path: String,
    etag: Option<HeaderValue>,
    size: u64,
    /// Bytes given so far.
    at: u64,
    /// Bytes given since the last connection was made: without any, another one would not help.
    came: u64,
    body: BoxStream<'static, reqwest::Result<Bytes>>,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if self.at >= self.size {
                return Ok(None);
            }
            match self.body.next().await {
                Some(Ok(piece)) => {
                    self.at += piece.len() as u64;
                    self.came += piece.len() as u64;
                    return Ok(Some(piece));
                }
                Some(Err(error)) => {
                    let broken = self.client.broken(&error);
                    self.go_on(broken).await?;
                }
                None => {
                    let short = self.client.not_understood("the object ended too early");
                    self.go_on(short).await?;
                }
            }
        }
    }

    /// Asks for the rest. A gateway that found the object unreadable half-way can only break off; asked for the rest, it
    /// says why.
    async fn go_on(&mut self, broken: Failure) -> Result<(), Failure> {
        let Some(etag) = self.etag.clone().filter(|_| self.came > 0) else { return Err(broken) };
        self.came = 0;
        let range = format!("bytes={}-", self.at);
        let request = self.client.request(Method::GET, &self.path).header(RANGE, range).header(IF_MATCH, etag);
        let response = self.client.send(request).await?;
        if response.status() != reqwest::StatusCode::PARTIAL_CONTENT {
            return Err(broken);
        }
        self.body = body_of(response);
        Ok(())
    }
}
