//! The few ways in which the engine talks to a backend: files are written and read whole, measured, and deleted; whatever
//! comes of it is told to the backend's health.

use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStoreExt, PutPayload};
use tokio::time::Instant;

use crate::backend::Backend;
use crate::core::Core;
use crate::error::Result;
use crate::health::Op;

/// What went wrong with a backend, as far as the engine cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The backend answers, and the file is not there.
    Missing,
    /// The file is there, and is not what it should be.
    Corrupt,
    /// The backend does not answer, refuses, or is not in the config: nothing can be said of the file.
    Unreachable,
}

/// A failed operation on a backend.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub kind: FaultKind,
    pub detail: String,
}

impl Fault {
    pub fn corrupt(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Corrupt, detail: detail.into() }
    }
    pub fn unreachable(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Unreachable, detail: detail.into() }
    }
}

/// Sorts an error of a store, and tells the backend's health.
pub(crate) fn fault_of(backend: &Backend, op: Op, error: &object_store::Error) -> Fault {
    match error {
        object_store::Error::NotFound { .. } => {
            backend.health().succeeded(op, None);
            Fault { kind: FaultKind::Missing, detail: "it is not there".into() }
        }
        other => {
            let detail = error_sentence(other);
            backend.health().failed(op, backend.class_of(other), &detail);
            Fault::unreachable(detail)
        }
    }
}

/// An error with its causes in one line.
pub(crate) fn error_sentence(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        source = cause.source();
    }
    out
}

/// Writes one file, whole.
pub(crate) async fn put(backend: &Backend, path: &Path, payload: PutPayload) -> Result<(), Fault> {
    let (start, op) = (Instant::now(), Op::write(payload.content_length() as u64));
    match backend.store().put(path, payload).await {
        Ok(_) => {
            backend.health().succeeded(op, Some(start.elapsed()));
            Ok(())
        }
        Err(error) => {
            let detail = error_sentence(&error);
            backend.health().failed(op, backend.class_of(&error), &detail);
            Err(Fault::unreachable(detail))
        }
    }
}

/// Reads a whole file, at most `limit` bytes of it.
pub(crate) async fn get_all(backend: &Backend, path: &Path, limit: u64) -> Result<bytes::Bytes, Fault> {
    let start = Instant::now();
    let result = backend.store().get(path).await.map_err(|e| fault_of(backend, Op::Read, &e))?;
    backend.health().succeeded(Op::Read, Some(start.elapsed()));
    if result.meta.size > limit {
        return Err(Fault::corrupt(format!(
            "it has {} bytes, more than the {limit} that were expected",
            result.meta.size
        )));
    }
    result.bytes().await.map_err(|e| fault_of(backend, Op::Read, &e))
}

/// The size of a file.
pub(crate) async fn size_of(backend: &Backend, path: &Path) -> Result<u64, Fault> {
    let meta = backend.store().head(path).await.map_err(|e| fault_of(backend, Op::Read, &e))?;
    backend.health().succeeded(Op::Read, None);
    Ok(meta.size)
}

/// Options for a ranged read. `get_opts` and not `get_ranges`, which panics on objects shorter than a range.
pub(crate) fn ranged(range: std::ops::Range<u64>) -> GetOptions {
    GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() }
}

/// Deletes one file; one that is not there counts as deleted.
pub(crate) async fn delete(backend: &Backend, path: &Path) -> Result<(), Fault> {
    match backend.store().delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => {
            backend.health().succeeded(Op::SmallWrite, None);
            Ok(())
        }
        Err(error) => {
            let detail = error_sentence(&error);
            backend.health().failed(Op::SmallWrite, backend.class_of(&error), &detail);
            Err(Fault::unreachable(detail))
        }
    }
}

/// Who is asked to delete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Every backend: a sweep, a move.
    All,
    /// None that is left alone, as each would be waited for: what is done beside writes. The sweep finds what stays.
    TheWell,
}

/// Deletes files on many backends at once, as far as they can be reached; what is left is garbage for the sweep.
pub(crate) async fn delete_files(
    core: &Core,
    files: impl IntoIterator<Item = (String, Path)>,
    ask: Ask,
) -> Vec<(String, Path)> {
    use futures::stream::{self, StreamExt};
    let results = stream::iter(files).map(|(name, path)| async move {
        let done = match core.admitted(&name) {
            Some(backend) if ask == Ask::TheWell && backend.health().is_left_alone(Op::SmallWrite) => false,
            Some(backend) if backend.role() != crate::backend::Role::ReadOnly => delete(backend, &path).await.is_ok(),
            _ => false,
        };
        (!done).then_some((name, path))
    });
    results.buffer_unordered(32).filter_map(|left| async move { left }).collect().await
}
