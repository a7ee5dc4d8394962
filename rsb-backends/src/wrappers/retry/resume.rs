//! A body that breaks goes on where it broke, if the object is still the same one.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, GetResult, GetResultPayload, ObjectStore, Result};
use tokio::time::Instant;

use super::Retry;
use crate::wrappers::class::classify;

/// A body in the middle of being read.
struct Reading {
    retry: Retry,
    location: Path,
    /// What a request for the rest says, but for its range.
    rest: GetOptions,
    body: BoxStream<'static, Result<Bytes>>,
    next: u64,
    end: u64,
    tries: u32,
}

/// `found`, with a body that resumes. A body without an entity tag cannot: the object may have been replaced.
pub(super) fn resuming(retry: &Retry, location: &Path, options: &GetOptions, found: GetResult) -> GetResult {
    let GetResult { payload, meta, range, attributes, extensions } = found;
    let payload = match (payload, meta.e_tag.clone()) {
        (GetResultPayload::Stream(body), Some(tag)) => {
            let rest = GetOptions {
                if_match: Some(tag),
                version: options.version.clone(),
                extensions: options.extensions.clone(),
                ..GetOptions::default()
            };
            let (next, end) = (range.start, range.end);
            let reading = Reading { retry: retry.clone(), location: location.clone(), rest, body, next, end, tries: 1 };
            GetResultPayload::Stream(stream::try_unfold(reading, Reading::piece).boxed())
        }
        (payload, _) => payload,
    };
    GetResult { payload, meta, range, attributes, extensions }
}

impl Reading {
    async fn piece(mut self) -> Result<Option<(Bytes, Self)>> {
        loop {
            match self.body.next().await {
                None => return Ok(None),
                Some(Ok(piece)) => {
                    self.next += piece.len() as u64;
                    return Ok(Some((piece, self)));
                }
                Some(Err(error)) => self.reopen(error).await?,
            }
        }
    }

    /// Asks for the rest; gives `broken` back where that may not be or does not work.
    async fn reopen(&mut self, broken: Error) -> Result<()> {
        let policy = self.retry.policy.clone();
        if self.next >= self.end || !classify(&broken).is_temporary() {
            return Err(broken);
        }
        // Each break has its own window: it is about waiting in vain, and bytes have come since the last one.
        let began = Instant::now();
        while policy.pause(self.tries, began).await {
            self.tries += 1;
            let options = GetOptions { range: Some(GetRange::Bounded(self.next..self.end)), ..self.rest.clone() };
            match self.retry.inner.get_opts(&self.location, options).await {
                Ok(found) => {
                    self.body = found.into_stream();
                    return Ok(());
                }
                Err(error) if classify(&error).is_temporary() => {}
                Err(_) => break,
            }
        }
        Err(broken)
    }
}
