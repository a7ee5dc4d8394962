//! Markers: what says that a backend is this repository's, and which of its backends.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use object_store::PutPayload;

use crate::backend::Backend;
use crate::core::Core;
use crate::engine::EngineConfig;
use crate::env::Env;
use crate::error::{Error, Result};
use crate::files::{Fault, FaultKind, get_all, put};
use crate::format::marker::Marker;
use crate::format::paths;
use crate::health::{ErrorClass, Op};
use crate::id::RepositoryId;

/// How long a marker is waited for.
const MARKER_TIMEOUT: Duration = Duration::from_secs(10);

/// A backend's marker; `None` where there is none.
pub(crate) async fn read_marker(backend: &Backend) -> Result<Option<Marker>, Fault> {
    let path = paths::marker();
    let read = get_all(backend, &path, 64 << 10);
    match tokio::time::timeout(MARKER_TIMEOUT, read).await {
        Err(_) => {
            let sentence = "it did not answer in time";
            backend.health().failed(Op::Read, ErrorClass::Timeout, sentence);
            Err(Fault::unreachable(sentence))
        }
        Ok(Err(fault)) if fault.kind == FaultKind::Missing => Ok(None),
        Ok(Err(fault)) => Err(fault),
        Ok(Ok(bytes)) => Marker::decode(&bytes).map(Some).map_err(|e| Fault::corrupt(e.to_string())),
    }
}

/// The markers of all backends, in their order.
pub(crate) async fn read_markers(backends: &[Backend]) -> Vec<Result<Option<Marker>, Fault>> {
    let all = backends.to_vec();
    stream::iter(all)
        .map(|backend| async move { read_marker(&backend).await })
        .buffered(backends.len().max(1))
        .collect()
        .await
}

pub(crate) fn wrong_marker(backend: &Backend, found: &Marker, id: RepositoryId) -> Option<Error> {
    let sentence = if found.repository_id != id {
        format!(
            "backend {:?} belongs to repository {:?} ({}), not to this one ({id}); nothing was written; point it at another bucket or folder",
            backend.name(),
            found.repository,
            found.repository_id,
        )
    } else if found.backend != backend.name() {
        format!(
            "backend {:?} is marked as backend {:?} of this repository; two names point at the same place, or a backend was renamed; nothing was written",
            backend.name(),
            found.backend,
        )
    } else {
        return None;
    };
    Some(Error::config(sentence).backends([backend.name()]))
}

/// See [`crate::Engine::init_markers`].
pub(crate) async fn init_markers(config: &EngineConfig, backends: &[Backend], env: &Env) -> Result<Vec<String>> {
    let found = read_markers(backends).await;
    let known = found.iter().find_map(|m| m.as_ref().ok()?.as_ref());
    let id = known.map_or_else(|| RepositoryId(env.new_id()), |m| m.repository_id);
    let margin = known.map_or(config.scheme.parity_shards, |m| m.record_margin);
    // All are looked at before one is written.
    let mut wanted = Vec::new();
    for (backend, found) in backends.iter().zip(&found) {
        let marker = Marker::new(id, &config.name, backend.name(), margin);
        wanted.extend(wants(backend, found, &marker).await?.then_some((backend, marker)));
    }
    let mut created = Vec::new();
    for (backend, marker) in wanted {
        write_marker(backend, &marker).await?;
        created.push(backend.name().to_owned());
    }
    Ok(created)
}

/// See [`crate::Engine::add_backend`].
pub(crate) async fn add_marker(core: &Core, name: &str) -> Result<bool> {
    core.check_writable()?;
    let marker = Marker::new(core.repository, &core.config.name, name, core.record_margin as u16);
    let backend = named(&core.backends, name)?;
    let written = mark(backend, &marker).await?;
    backend.admit();
    Ok(written)
}

/// See [`crate::Engine::init_marker`].
pub(crate) async fn init_marker(config: &EngineConfig, backends: &[Backend], name: &str) -> Result<bool> {
    let backend = named(backends, name)?;
    let others: Vec<Backend> = backends.iter().filter(|b| b.name() != name).cloned().collect();
    // One that is away says nothing; those that answer are of one repository, or none is touched.
    let known: Vec<(usize, Marker)> =
        read_markers(&others).await.into_iter().enumerate().filter_map(|(i, m)| Some((i, m.ok()??))).collect();
    let Some((_, first)) = known.first() else {
        let sentence =
            "no other backend shows a marker of the repository: bring one back, or set it up with `rsb config init`";
        return Err(Error::unavailable(sentence));
    };
    if let Some(error) = known.iter().find_map(|(i, marker)| wrong_marker(&others[*i], marker, first.repository_id)) {
        return Err(error);
    }
    let margin = known.iter().map(|(_, marker)| marker.record_margin).min().unwrap_or_default();
    mark(backend, &Marker::new(first.repository_id, &config.name, name, margin)).await
}

fn named<'b>(backends: &'b [Backend], name: &str) -> Result<&'b Backend> {
    let unknown = || Error::not_found(format!("the config has no backend {name:?}; write it there first"));
    backends.iter().find(|b| b.name() == name).ok_or_else(unknown)
}

/// Writes a marker where there is none; whether there was none. An error where there is another's.
async fn mark(backend: &Backend, marker: &Marker) -> Result<bool> {
    let found = read_marker(backend).await;
    if !wants(backend, &found, marker).await? {
        return Ok(false);
    }
    write_marker(backend, marker).await.map(|()| true)
}

/// Whether a backend that shows this is to be given the marker: it has none, or only the beginning of it, as a write that
/// was broken off leaves it. An error where it has another's, or none can tell.
async fn wants(backend: &Backend, found: &Result<Option<Marker>, Fault>, marker: &Marker) -> Result<bool> {
    match found {
        Ok(None) => Ok(true),
        Ok(Some(found)) => wrong_marker(backend, found, marker.repository_id).map_or(Ok(false), Err),
        Err(fault) if fault.kind == FaultKind::Corrupt && is_torn(backend, marker).await => Ok(true),
        Err(fault) => {
            let name = backend.name();
            let sentence = format!("the marker of backend {name:?} cannot be read: {}", fault.detail);
            Err(Error::unavailable(sentence).backends([name]))
        }
    }
}

/// Whether what a backend has for a marker is the beginning of this one.
pub(crate) async fn is_torn(backend: &Backend, marker: &Marker) -> bool {
    let whole = marker.encode();
    let read = get_all(backend, &paths::marker(), whole.len() as u64).await;
    read.is_ok_and(|part| part.len() < whole.len() && whole.starts_with(&part))
}

pub(crate) async fn write_marker(backend: &Backend, marker: &Marker) -> Result<()> {
    put(backend, &paths::marker(), PutPayload::from(marker.encode())).await.map_err(|fault| {
        Error::unavailable(format!("the marker of backend {:?} cannot be written: {}", backend.name(), fault.detail))
            .backends([backend.name()])
    })
}

/// Admits the backends whose markers are right. Gives the repository's id and record margin. `is_known` says that the catalog
/// knows which repository it is of.
pub(crate) async fn admit(
    config: &EngineConfig,
    backends: &[Backend],
    is_known: bool,
) -> Result<(RepositoryId, usize)> {
    let markers = read_markers(backends).await;
    let known: Vec<&Marker> = markers.iter().filter_map(|m| m.as_ref().ok().and_then(Option::as_ref)).collect();
    let Some(first) = known.first() else {
        if markers.iter().all(|m| matches!(m, Ok(None))) {
            return Err(Error::config(format!(
                "no backend of repository {:?} has a marker: it was never set up; run `rsb config init`",
                config.name
            )));
        }
        let why: Vec<String> = backends
            .iter()
            .zip(&markers)
            .filter_map(|(b, m)| m.as_ref().err().map(|f| format!("{}: {}", b.name(), f.detail)))
            .collect();
        return Err(Error::unavailable(format!("no backend can be reached ({})", why.join("; "))));
    };
    let id = first.repository_id;
    // The config's name may have been changed. But where others do not answer, these few may be another repository's.
    let other = backends.iter().zip(&markers).find_map(|(backend, found)| {
        let found = found.as_ref().ok()?.as_ref()?;
        (found.repository != config.name).then_some((backend.name(), &found.repository))
    });
    if let Some((name, repository)) = other.filter(|_| !is_known && markers.iter().any(Result::is_err)) {
        return Err(Error::config(format!(
            "backend {name:?} belongs to repository {repository:?}, the config is of {:?}, and not every backend answers, so it cannot be told which is meant; nothing was written; bring the others back, or point it at another bucket or folder",
            config.name
        ))
        .backends([name]));
    }
    let margin = known.iter().map(|m| usize::from(m.record_margin)).min().unwrap_or_default();
    for (backend, marker) in backends.iter().zip(&markers) {
        match marker {
            Ok(Some(found)) => match wrong_marker(backend, found, id) {
                Some(error) => return Err(error),
                None => backend.admit(),
            },
            Ok(None) => {
                backend.health().failed(Op::Read, ErrorClass::Other, "it has no marker");
                tracing::error!(
                    backend = backend.name(),
                    "has no marker, so it is not used: it is empty, or not this repository's; `rsb config init` writes one"
                );
            }
            Err(fault) => {
                if fault.kind == FaultKind::Corrupt {
                    backend.health().failed(Op::Read, ErrorClass::Other, &fault.detail);
                }
                tracing::error!(backend = backend.name(), "is not used until it shows its marker: {}", fault.detail);
            }
        }
    }
    Ok((id, margin))
}
