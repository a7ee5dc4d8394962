//! A few more tries, of what may be repeated, out of a budget.
//!
//! Repeated are reads, listings, deletes, and writes that overwrite (the same bytes land at the same place). What must
//! not run twice (create-only and conditional writes, moves) is repeated only when the first try surely had no effect.
//! Finishing an upload is not repeated: the engine writes the shard anew.
//!
//! The budget: each retry takes a token, each success gives a part of one back. While a backend is out, the tokens are
//! soon gone and its load does not multiply.

mod budget;
mod delete;
mod resume;
mod upload;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result,
};
use rsb_core::Env;
use tokio::time::Instant;

use self::budget::Budget;
use super::class::{ErrorClass, classify};

/// Paths of one delete request.
pub(super) const DELETE_CHUNK: usize = 250;

/// Tries and pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryOptions {
    /// Most tries of one operation, the first one included.
    pub attempts: u32,
    /// The first pause; each further one is up to twice as long. A random part of it is waited, at least half.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// No try begins later than this after the first one.
    pub window: Duration,
    /// Retries that a backend may take in a row without any success.
    pub budget: u32,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            attempts: 3,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            window: Duration::from_secs(3),
            budget: 20,
        }
    }
}

/// What may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Running it twice is as good as once.
    Freely,
    /// Only when the failed try surely had no effect.
    IfNoEffect,
}

impl Repeat {
    fn allows(self, class: ErrorClass) -> bool {
        match self {
            Self::Freely => class.is_temporary(),
            Self::IfNoEffect => class.had_no_effect(),
        }
    }
}

/// Repeats what failed.
#[derive(Clone, Debug)]
pub struct Retry {
    inner: Arc<dyn ObjectStore>,
    policy: Arc<Policy>,
}

/// What all operations of a backend share.
#[derive(Debug)]
struct Policy {
    options: RetryOptions,
    budget: Budget,
    env: Env,
}

impl Retry {
    /// Repeats what fails at `inner`.
    pub fn new(inner: Arc<dyn ObjectStore>, options: RetryOptions, env: Env) -> Self {
        Self { inner, policy: Arc::new(Policy { options, budget: Budget::new(options.budget), env }) }
    }
}

impl Policy {
    /// Runs `attempt` until it succeeds, may not be repeated, or enough was tried.
    async fn run<T, F>(&self, repeat: Repeat, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let began = Instant::now();
        let mut tries = 1;
        loop {
            let error = match attempt().await {
                Ok(value) => {
                    self.budget.success();
                    return Ok(value);
                }
                Err(error) => error,
            };
            if !repeat.allows(classify(&error)) || !self.pause(tries, began).await {
                return Err(error);
            }
            tracing::debug!(tries, "a backend's operation is tried again: {error}");
            tries += 1;
        }
    }

    /// Waits before the next try; `false` when there may be none.
    async fn pause(&self, tries: u32, began: Instant) -> bool {
        let full = self.options.first_pause.saturating_mul(1 << (tries - 1).min(16)).min(self.options.longest_pause);
        let half_us = u64::try_from(full.as_micros()).unwrap_or(u64::MAX) / 2;
        let pause = Duration::from_micros(half_us + self.env.random_below(half_us + 1));
        if tries >= self.options.attempts || began.elapsed() + pause > self.options.window || !self.budget.take() {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry({})", self.inner)
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Retry {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let repeat = if opts.mode == PutMode::Overwrite { Repeat::Freely } else { Repeat::IfNoEffect };
        self.policy.run(repeat, || self.inner.put_opts(location, payload.clone(), opts.clone())).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        // Parts are numbered by the upload itself, so only it can repeat one: it is told when.
        let opts = opts.with_retry_policy(Arc::new(upload::Parts(self.policy.clone())));
        self.policy.run(Repeat::IfNoEffect, || self.inner.put_multipart_opts(location, opts.clone())).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let found = self.policy.run(Repeat::Freely, || self.inner.get_opts(location, options.clone())).await?;
        Ok(if options.head { found } else { resume::resuming(self, location, &options, found) })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.policy.run(Repeat::Freely, || self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .ready_chunks(DELETE_CHUNK)
            .then(move |chunk| delete::chunk(this.clone(), chunk))
            .flat_map(stream::iter)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (self.inner.clone(), prefix.cloned());
        self.restarting(move || inner.list(prefix.as_ref()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix, offset) = (self.inner.clone(), prefix.cloned(), offset.clone());
        self.restarting(move || inner.list_with_offset(prefix.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.policy.run(Repeat::Freely, || self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let repeat = if options.mode == CopyMode::Overwrite { Repeat::Freely } else { Repeat::IfNoEffect };
        self.policy.run(repeat, || self.inner.copy_opts(from, to, options.clone())).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.policy.run(Repeat::IfNoEffect, || self.inner.rename_opts(from, to, options.clone())).await
    }
}

impl Retry {
    /// A listing that is begun anew while it has given nothing yet. Later it cannot be: stores list in different orders.
    fn restarting<T: Send + 'static>(
        &self,
        begin: impl Fn() -> BoxStream<'static, Result<T>> + Send + Sync + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let policy = self.policy.clone();
        let opened = async move {
            let attempt = || -> BoxFuture<'static, Result<_>> {
                // An empty one is asked again after its end, below.
                let mut listing = begin().fuse();
                async move {
                    let first = listing.next().await.transpose()?;
                    Ok((first, listing))
                }
                .boxed()
            };
            let (first, rest) = policy.run(Repeat::Freely, attempt).await?;
            Ok::<_, object_store::Error>(stream::iter(first.map(Ok)).chain(rest))
        };
        stream::once(opened).try_flatten().boxed()
    }
}

#[cfg(test)]
mod tests;
