//! Failures on demand, for tests: by operation and path, deterministic, switched at run time through a handle.
//!
//! ```
//! # use std::sync::Arc;
//! # use object_store::{ObjectStoreExt, memory::InMemory, path::Path};
//! # use rsb_backends::wrappers::{Action, Failure, Fault, Op, Rule};
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (store, faults) = Fault::around(Arc::new(InMemory::new()));
//! faults.add(Rule::new(Action::FailBefore(Failure::Server)).on([Op::Put]).below("s").times(1));
//! assert!(store.put(&Path::from("s/x"), "1".into()).await.is_err());
//! assert!(store.put(&Path::from("s/x"), "1".into()).await.is_ok());
//! # });
//! ```

mod body;
mod script;

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart,
};

pub use self::script::{Action, Failure, FaultHandle, Rule, RuleId};
use super::op::Op;

/// Fails as its script says.
#[derive(Clone, Debug)]
pub struct Fault {
    inner: Arc<dyn ObjectStore>,
    script: FaultHandle,
}

impl Fault {
    /// A store that fails on demand around `inner`, and the handle that says when. Without rules it only forwards.
    pub fn around(inner: Arc<dyn ObjectStore>) -> (Arc<dyn ObjectStore>, FaultHandle) {
        let script = FaultHandle::default();
        (Arc::new(Self { inner, script: script.clone() }), script)
    }

    /// Runs an operation under the rule that fits it.
    async fn run<T>(&self, op: Op, path: &Path, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let action = self.script.enter(op, path).await?;
        let done = operation.await?;
        after(action, path)?;
        Ok(done)
    }

    /// The items of `begin`, after the rule for a listing let it through.
    fn listing<T: Send + 'static>(
        &self,
        prefix: Option<&Path>,
        begin: impl FnOnce(&dyn ObjectStore) -> BoxStream<'static, Result<T>> + Send + 'static,
    ) -> BoxStream<'static, Result<T>> {
        let (this, path) = (self.clone(), prefix.cloned().unwrap_or_default());
        let begun = async move {
            let action = this.script.enter(Op::List, &path).await?;
            let items = begin(this.inner.as_ref());
            let last = stream::iter(after(action, &path).err().map(Err));
            Ok::<_, object_store::Error>(items.chain(last))
        };
        stream::once(begun).try_flatten().boxed()
    }
}

/// What is left to do of an action once the operation had its effect.
fn after(action: Option<Action>, path: &Path) -> Result<()> {
    match action {
        Some(Action::FailAfter(failure)) => Err(failure.error(path)),
        _ => Ok(()),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.inner)
    }
}

#[async_trait::async_trait]
#[deny(clippy::missing_trait_methods)]
impl ObjectStore for Fault {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let action = self.script.enter(Op::Put, location).await?;
        let payload = body::stored(payload, action);
        let done = self.inner.put_opts(location, payload, opts).await?;
        after(action, location)?;
        Ok(done)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begin = self.inner.put_multipart_opts(location, opts);
        let inner = self.run(Op::PutMultipart, location, begin).await?;
        Ok(Box::new(FaultyUpload { inner, script: self.script.clone(), path: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let action = self.script.enter(Op::of_get(&options), location).await?;
        let found = self.inner.get_opts(location, options).await?;
        after(action, location)?;
        Ok(match action {
            Some(action) => body::given(found, action, location),
            None => found,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.run(Op::GetRanges, location, self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        locations
            .then(move |location| {
                let this = this.clone();
                async move {
                    let location = location?;
                    let one = stream::iter([Ok(location.clone())]).boxed();
                    let delete = async { this.inner.delete_stream(one).try_collect::<Vec<_>>().await };
                    this.run(Op::Delete, &location, delete).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let below = prefix.cloned();
        self.listing(prefix, move |inner| inner.list(below.as_ref()))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        let (below, offset) = (prefix.cloned(), offset.clone());
        self.listing(prefix, move |inner| inner.list_with_offset(below.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let path = prefix.cloned().unwrap_or_default();
        self.run(Op::ListWithDelimiter, &path, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.run(Op::Copy, to, self.inner.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        self.run(Op::Rename, to, self.inner.rename_opts(from, to, options)).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    script: FaultHandle,
    path: Path,
}

#[async_trait::async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        // The rule is chosen now, since the part takes its number now; what the rule does happens when it is sent.
        let (script, path) = (self.script.clone(), self.path.clone());
        let action = script.choose(Op::PutPart, &path);
        let part = self.inner.put_part(body::stored(data, action));
        Box::pin(async move {
            FaultHandle::begin(action, &path).await?;
            part.await?;
            after(action, &path)
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let action = self.script.enter(Op::CompleteMultipart, &self.path).await?;
        let done = self.inner.complete().await?;
        after(action, &self.path)?;
        Ok(done)
    }

    async fn abort(&mut self) -> Result<()> {
        let action = self.script.enter(Op::AbortMultipart, &self.path).await?;
        self.inner.abort().await?;
        after(action, &self.path)
    }
}

#[cfg(test)]
mod tests;
