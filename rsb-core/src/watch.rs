//! The watch over the backends: one that was away is used as soon as it shows its marker and it is known what it missed, and
//! one that fails is asked whether it still has it. So a disk that comes back needs no restart, and one that comes back
//! empty, or as another's, is neither read nor written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::api::Progress;
use crate::backend::Backend;
use crate::core::{Core, lock};
use crate::error::Result;
use crate::events::EventKind;
use crate::health::{ErrorClass, Op};
use crate::recover::{
    catch_up, decide, is_in_doubt, judge_certainty, make_up_for_deletes, read_marker, reconcile, wrong_marker,
};

/// The well ones are asked too, in one round of so many: every five minutes, which costs a request each.
const WELL_ONES_EACH: u64 = 30;
/// One that did not answer for this long may have been put back to an old state: it is compared with the catalog.
const MAY_HAVE_CHANGED: Duration = Duration::from_secs(60);
/// The catalog's named value with the names of those that were away last, so that a restart does not forget it.
const AWAY: &str = "backends_away";

/// Watches until the repository is closed or let go of.
pub(crate) fn start(core: &Arc<Core>) {
    let (weak, closing, every) = (Arc::downgrade(core), core.closing.clone(), core.config.watch_every);
    core.tasks.spawn(async move {
        for round in 1u64.. {
            tokio::select! {
                biased;
                () = closing.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            let Some(core) = weak.upgrade() else { return };
            if round.is_multiple_of(WELL_ONES_EACH) {
                look_at_all(&core).await;
            } else {
                look_at_the_ill(&core).await;
            }
        }
    });
}

/// Since when backends do not answer; `None` for those that are compared with the catalog when they do, however soon.
pub(crate) type Absences = BTreeMap<String, Option<Instant>>;

/// Takes up from the last run which backends were away then.
pub(crate) async fn remember(core: &Core) -> Result<()> {
    let names = core.catalog.value(AWAY).await?.unwrap_or_default();
    // Backend names hold no line's end.
    let known = names.lines().filter(|name| core.backend(name).is_some()).map(|name| (name.to_owned(), None));
    lock(&core.absences).extend(known);
    Ok(())
}

/// Takes note of backends that a catch-up did not see: the catalog does not know what they hold, so they are compared with it
/// when they answer.
pub(crate) async fn not_seen(core: &Core, names: impl IntoIterator<Item = &String>) -> Result<()> {
    lock(&core.absences).extend(names.into_iter().map(|name| (name.clone(), None)));
    keep(core).await
}

/// Keeps in the catalog which backends are away.
async fn keep(core: &Core) -> Result<()> {
    let names: Vec<String> = lock(&core.absences).keys().cloned().collect();
    let names = Some(names.join("\n")).filter(|names| !names.is_empty());
    if core.catalog.value(AWAY).await? == names {
        return Ok(());
    }
    core.catalog.set_value(AWAY, names).await
}

async fn keep_or_say(core: &Core) {
    if let Err(error) = keep(core).await {
        tracing::debug!(%error, "which backends are away could not be remembered");
    }
}

/// Asks for the markers of backends that are away or ill.
async fn look_at_the_ill(core: &Arc<Core>) {
    let absent = |b: &Backend| lock(&core.absences).contains_key(b.name());
    let ill = core.backends.iter().filter(|b| !b.is_admitted() || b.health().is_ill() || absent(b));
    look(core, ill.cloned().collect()).await;
}

/// Looks at backends that a catch-up did not see and that may answer now: until then the catalog knows fewer copies than there
/// are, and small objects may be refused.
pub(crate) async fn look_at_the_unseen(core: &Arc<Core>) {
    let unseen = |b: &&Backend| b.is_admitted() && lock(&core.absences).get(b.name()).is_some_and(Option::is_none);
    let unseen: Vec<Backend> = core.backends.iter().filter(unseen).cloned().collect();
    if unseen.is_empty() {
        return;
    }
    futures::future::join_all(unseen.iter().map(|backend| look_at(core, backend))).await;
    keep_or_say(core).await;
}

/// Asks all backends for their markers.
pub(crate) async fn look_at_all(core: &Arc<Core>) {
    look(core, core.backends.clone()).await;
}

/// Asks one backend for its marker: something was done about it.
pub(crate) async fn look_again(core: &Arc<Core>, backend: &Backend) {
    look(core, vec![backend.clone()]).await;
}

async fn look(core: &Arc<Core>, backends: Vec<Backend>) {
    let (count, before) = (backends.len().max(1), lock(&core.absences).clone());
    let are_all = backends.len() == core.backends.len();
    let looks = stream::iter(backends).map(|backend| async move { look_at(core, &backend).await });
    let came_back: Vec<bool> = looks.buffer_unordered(count).collect().await;
    let away = lock(&core.absences).clone();
    // Not whether they take writes: nobody writes to them while the history is not sure.
    let all_answer = away.is_empty() && core.backends.iter().all(Backend::is_admitted);
    let is_news = are_all || came_back.contains(&true) || away.keys().ne(before.keys());
    if away.keys().ne(before.keys()) && core.closed_reason().is_none() {
        keep_or_say(core).await;
    }
    if core.closed_reason().is_some() || core.config.read_only {
        return;
    }
    let in_doubt = matches!(is_in_doubt(core).await, Ok(true));
    // As long as the ledger has lines of shards to be rebuilt, nothing new is told.
    let healed = || async { matches!(core.catalog.counts().await, Ok(counts) if counts.ledger == 0) };
    if all_answer && is_news && in_doubt && (came_back.contains(&true) || healed().await) {
        // What they hold, or not, tells what was in doubt.
        if let Err(error) = decide(core, &Progress::default()).await {
            tracing::error!(%error, "the catalog could not be rebuilt with the backends that are back");
        }
    }
    if core.may_lack() && (all_answer || came_back.contains(&true)) {
        // What it holds may be what was missing to be sure of the history, or to see that something was acknowledged.
        let _whole = core.whole.read().await;
        match catch_up(core, None, true, &Progress::default()).await {
            Ok(report) => judge_certainty(core, &report),
            Err(error) => tracing::error!(%error, "the catalog could not catch up with a backend that came back"),
        }
    }
}

/// Admits or expels a backend by its marker. Whether it came back.
async fn look_at(core: &Arc<Core>, backend: &Backend) -> bool {
    let (name, was_admitted) = (backend.name(), backend.is_admitted());
    match read_marker(backend).await {
        // It does not answer: what is known of it stays.
        Err(_) => {
            lock(&core.absences).entry(name.to_owned()).or_insert_with(|| Some(Instant::now()));
            return false;
        }
        Ok(Some(found)) => match wrong_marker(backend, &found, core.repository) {
            None => return welcome(core, backend, was_admitted).await,
            Some(error) => tracing::error!(backend = name, "is not used any more: {error}"),
        },
        Ok(None) if was_admitted => tracing::error!(
            backend = name,
            "has lost its marker, so it is not used any more: it is empty, or not mounted; `rsb config init` writes one"
        ),
        Ok(None) => {}
    }
    lock(&core.absences).entry(name.to_owned()).or_insert_with(|| Some(Instant::now()));
    if was_admitted {
        core.events.tell(EventKind::BackendExpelled, Some(name), "it does not show this repository's marker any more");
    }
    backend.expel();
    backend.health().failed(Op::Read, ErrorClass::Other, "it does not show this repository's marker");
    false
}

/// A backend shows its marker. What it missed is found out before it is used again. Whether it was not used before.
async fn welcome(core: &Arc<Core>, backend: &Backend, was_admitted: bool) -> bool {
    let name = backend.name();
    // A catch-up that does not see it from now on notes it once more.
    let absent = lock(&core.absences).remove(name);
    let long = absent.is_some_and(|since| since.is_none_or(|since| since.elapsed() >= MAY_HAVE_CHANGED));
    if (!was_admitted || long) && core.closed_reason().is_none() {
        match reconcile(core, backend).await {
            Ok(missed) => {
                backend.admit();
                let detail =
                    format!("it is back; it missed {} shards and {} manifest copies", missed.shards, missed.copies);
                core.events.tell(EventKind::BackendBack, Some(name), detail);
            }
            Err(error) => {
                tracing::warn!(backend = name, %error, "is back, but it could not be found out what it missed");
                if let Some(since) = absent {
                    lock(&core.absences).entry(name.to_owned()).or_insert(since);
                }
                return false;
            }
        }
        if let Err(error) = make_up_for_deletes(core, backend).await {
            tracing::warn!(backend = name, %error, "what should have been deleted from it could not be; the sweep will");
        }
    }
    backend.admit();
    backend.health().recovered();
    !was_admitted
}
