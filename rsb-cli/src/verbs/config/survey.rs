//! Looks at every backend of a config, and writes nothing: can it be built, reached, does it take the credentials, and
//! whose marker does it have. All that is wrong is told at once.

use futures::{StreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_backends::stores::{self, StoreErrorKind};
use rsb_backends::wrappers::{ErrorClass, classify, wrap};
use rsb_core::Role;
use rsb_core::format::marker::Marker;
use rsb_core::format::paths;
use rsb_core::id::RepositoryId;

use crate::assemble;
use crate::config::{Backend, Config};
use crate::failure::{FAILED, Failure, REFUSED, USAGE};

/// Looked at at once.
const AT_ONCE: usize = 32;
/// No marker is longer.
const MARKER_LIMIT: u64 = 64 << 10;

/// A backend as it was found.
enum Seen {
    /// It answers; its marker, where it has one.
    There(Option<Marker>),
    /// Its folder, bucket or container is not there: a sentence.
    Missing(String),
    /// It cannot be used: an exit code and a sentence.
    Wrong(u8, String),
}

/// What was found on all backends.
pub struct Survey<'a> {
    seen: Vec<(&'a Backend, Seen)>,
}

impl<'a> Survey<'a> {
    /// Looks at every backend.
    pub async fn of(config: &'a Config) -> Self {
        let look = |backend: &'a Backend| async move { (backend, look(config, backend).await) };
        Self { seen: stream::iter(&config.backends).map(look).buffered(AT_ONCE).collect().await }
    }

    /// Whether no backend has been set up at all.
    pub fn is_untouched(&self) -> bool {
        self.seen.iter().all(|(_, seen)| matches!(seen, Seen::Missing(_) | Seen::There(None)))
    }

    /// The backends whose folder, bucket or container is to be made.
    pub fn missing(&self) -> impl Iterator<Item = &'a Backend> {
        self.seen.iter().filter(|(_, seen)| matches!(seen, Seen::Missing(_))).map(|(backend, _)| *backend)
    }

    /// An error that names everything that keeps the repository from being used.
    pub fn must_be_good(&self, also: Option<String>) -> Result<(), Failure> {
        let mut problems: Vec<(u8, String)> = also.into_iter().map(|sentence| (USAGE, sentence)).collect();
        problems.extend(self.troubles());
        for (backend, seen) in &self.seen {
            match seen {
                Seen::Missing(sentence) => problems.push((USAGE, sentence.clone())),
                Seen::There(None) => problems.push((
                    USAGE,
                    format!(
                        "backend {:?} has no marker: it is empty, or not this repository's; `rsb config init` writes one",
                        backend.name
                    ),
                )),
                _ => {}
            }
        }
        all(problems)
    }

    /// An error that names everything that keeps the repository from being set up.
    pub fn may_be_set_up(&self) -> Result<(), Failure> {
        let mut problems = self.troubles();
        for (backend, seen) in &self.seen {
            let only_read = backend.role == Role::ReadOnly || backend.url.starts_with("http");
            if only_read && matches!(seen, Seen::There(None)) {
                let sentence = format!(
                    "backend {:?} is only read, and has no marker; set it up once where it can be written, or take it out",
                    backend.name
                );
                problems.push((USAGE, sentence));
            }
        }
        all(problems)
    }

    /// What is wrong whatever is to be done: backends that cannot be used, and markers of others.
    fn troubles(&self) -> Vec<(u8, String)> {
        let own = self.repository();
        let mut problems = Vec::new();
        for (backend, seen) in &self.seen {
            match seen {
                Seen::Wrong(code, sentence) => problems.push((*code, sentence.clone())),
                Seen::There(Some(marker)) => {
                    if let Some(sentence) = own.and_then(|own| wrong_marker(backend, marker, own)) {
                        problems.push((USAGE, sentence));
                    }
                }
                _ => {}
            }
        }
        problems
    }

    /// The repository that most markers name.
    fn repository(&self) -> Option<RepositoryId> {
        let ids: Vec<RepositoryId> = self
            .seen
            .iter()
            .filter_map(|(_, seen)| match seen {
                Seen::There(Some(marker)) => Some(marker.repository_id),
                _ => None,
            })
            .collect();
        let votes = |id: &RepositoryId| ids.iter().filter(|other| *other == id).count();
        // Of several with as many, the first: `max_by_key` alone would take the last.
        ids.iter().rev().max_by_key(|id| votes(id)).copied()
    }
}

fn wrong_marker(backend: &Backend, found: &Marker, own: RepositoryId) -> Option<String> {
    if found.repository_id != own {
        return Some(format!(
            "backend {:?} belongs to repository {:?} ({}), not to this one ({own}); point it at another bucket or folder",
            backend.name, found.repository, found.repository_id
        ));
    }
    (found.backend != backend.name).then(|| {
        format!(
            "backend {:?} is marked as backend {:?} of this repository: two addresses changed places, or a name was changed; put it back",
            backend.name, found.backend
        )
    })
}

/// Everything at once. A mistake is to be mended first, then what is away; credentials count where nothing else is wrong.
fn all(problems: Vec<(u8, String)>) -> Result<(), Failure> {
    let has = |code: u8| problems.iter().any(|(other, _)| *other == code);
    let code = match (has(USAGE), has(FAILED)) {
        _ if problems.is_empty() => return Ok(()),
        (true, _) => USAGE,
        (false, true) => FAILED,
        (false, false) => REFUSED,
    };
    Err(Failure::problems(code, problems.into_iter().map(|(_, sentence)| sentence).collect()))
}

async fn look(config: &Config, backend: &Backend) -> Seen {
    let spec = assemble::spec(config, backend);
    let store = match stores::probe(&spec).await {
        Ok(()) => stores::build(&spec).await,
        Err(error) => Err(error),
    };
    match store {
        Ok(store) => {
            let store = wrap(&backend.name, store, &assemble::wrap_options(&backend.limits));
            marker(backend, store.as_ref()).await
        }
        Err(error) => {
            let sentence = error.to_string();
            match error.kind() {
                StoreErrorKind::Missing => Seen::Missing(sentence),
                StoreErrorKind::Config => Seen::Wrong(USAGE, sentence),
                StoreErrorKind::Denied => Seen::Wrong(REFUSED, sentence),
                _ => Seen::Wrong(FAILED, sentence),
            }
        }
    }
}

async fn marker(backend: &Backend, store: &dyn ObjectStore) -> Seen {
    let read = async {
        let found = store.get(&paths::marker()).await?;
        match found.meta.size {
            0..=MARKER_LIMIT => found.bytes().await.map(Some),
            _ => Ok(None),
        }
    };
    let wrong =
        |code, why: String| Seen::Wrong(code, format!("backend {:?}: its marker cannot be used: {why}", backend.name));
    match read.await {
        Ok(Some(bytes)) => match Marker::decode(&bytes) {
            Ok(marker) => Seen::There(Some(marker)),
            Err(error) => wrong(USAGE, format!("{error}; put the right rsb.json back")),
        },
        Ok(None) => wrong(USAGE, "rsb.json is far too long to be one; put the right one back".into()),
        Err(error) => match classify(&error) {
            ErrorClass::NotFound => Seen::There(None),
            ErrorClass::Denied => wrong(REFUSED, format!("{error}; the credentials must allow reading")),
            _ => wrong(FAILED, error.to_string()),
        },
    }
}
