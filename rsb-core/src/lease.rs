//! Leases: a read in progress keeps the files it reads, although a newer version has replaced the object meanwhile.
//!
//! A reader looks the object up and then takes leases on its ids; one that is being deleted by then is refused, and the
//! reader looks up again. A deletion waits until nobody has a lease, then marks the ids, then looks whether they may really
//! go, and only then says that they are removed and deletes.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use uuid::Uuid;

use crate::core::lock;

/// So many removed ids are remembered: a reader between look-up and lease must still find that they are.
const REMEMBERED: usize = 65_536;

#[derive(Debug, Default)]
struct State {
    held: HashMap<Uuid, usize>,
    /// Ids that somebody looks at whether they may go.
    marked: HashMap<Uuid, usize>,
    removed: Remembered,
}

/// The last ids that something was said of.
#[derive(Debug, Default)]
struct Remembered {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Remembered {
    fn add(&mut self, ids: impl IntoIterator<Item = Uuid>) {
        for id in ids {
            if self.ids.insert(id) {
                self.order.push_back(id);
            }
        }
        while self.order.len() > REMEMBERED {
            if let Some(old) = self.order.pop_front() {
                self.ids.remove(&old);
            }
        }
    }

    fn has(&self, id: &Uuid) -> bool {
        self.ids.contains(id)
    }
}

/// Who reads what. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases(Arc<(Mutex<State>, Notify)>);

/// A lease on some ids, until dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Leases,
    ids: Vec<Uuid>,
}

/// Marks on some ids, until dropped: nobody gets a lease on them. What was not removed by then may be read again, however
/// whoever looked ended.
#[derive(Debug)]
pub(crate) struct Marked {
    leases: Leases,
    ids: Vec<Uuid>,
}

impl State {
    fn refuses(&self, id: &Uuid) -> bool {
        self.marked.contains_key(id) || self.removed.has(id)
    }
}

/// Counts one more of each.
fn count(counts: &mut HashMap<Uuid, usize>, ids: &[Uuid]) {
    ids.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
}

/// Counts one less of each.
fn uncount(counts: &mut HashMap<Uuid, usize>, ids: &[Uuid]) {
    for id in ids {
        if let Some(count) = counts.get_mut(id) {
            *count -= 1;
            if *count == 0 {
                counts.remove(id);
            }
        }
    }
}

impl Leases {
    /// Leases on all the ids; `None` when one of them is being deleted: look the object up again.
    pub fn take(&self, ids: impl IntoIterator<Item = Uuid>) -> Option<Lease> {
        let ids: Vec<Uuid> = ids.into_iter().collect();
        let mut state = lock(&self.0.0);
        if ids.iter().any(|id| state.refuses(id)) {
            return None;
        }
        count(&mut state.held, &ids);
        Some(Lease { leases: self.clone(), ids })
    }

    /// Waits until nobody has a lease on the ids, and marks them: from then on no lease is given.
    pub async fn begin_delete(&self, ids: &[Uuid]) -> Marked {
        loop {
            let released = self.0.1.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            {
                let mut state = lock(&self.0.0);
                if !ids.iter().any(|id| state.held.contains_key(id)) {
                    count(&mut state.marked, ids);
                    return Marked { leases: self.clone(), ids: ids.to_vec() };
                }
            }
            released.await;
        }
    }

    /// Marks an id without waiting: `None` when somebody has a lease on it.
    pub fn try_delete(&self, id: Uuid) -> Option<Marked> {
        let mut state = lock(&self.0.0);
        if state.held.contains_key(&id) {
            return None;
        }
        count(&mut state.marked, &[id]);
        Some(Marked { leases: self.clone(), ids: vec![id] })
    }

    /// Whether nobody has a lease on an id now.
    pub fn is_free(&self, id: Uuid) -> bool {
        !lock(&self.0.0).held.contains_key(&id)
    }

    /// The ids that somebody has a lease on.
    pub fn held(&self) -> HashSet<Uuid> {
        lock(&self.0.0).held.keys().copied().collect()
    }

    /// The files of these ids, which are marked, are deleted from now on: nothing needs them, and no lease is given any more.
    pub fn remove(&self, ids: impl IntoIterator<Item = Uuid>) {
        lock(&self.0.0).removed.add(ids);
    }

    /// Whether the files of an id were deleted here, or are being. One that is only marked may turn out to be in use.
    pub fn is_removed(&self, id: Uuid) -> bool {
        lock(&self.0.0).removed.has(&id)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        uncount(&mut lock(&self.leases.0.0).held, &self.ids);
        self.leases.0.1.notify_waiters();
    }
}

impl Drop for Marked {
    fn drop(&mut self) {
        uncount(&mut lock(&self.leases.0.0).marked, &self.ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deletion_waits_for_readers_and_then_refuses_new_ones() {
        let leases = Leases::default();
        let id = Uuid::from_u128(7);
        let lease = leases.take([id]).unwrap();
        let other = leases.clone();
        let deletion = tokio::spawn(async move { other.begin_delete(&[id]).await });
        tokio::task::yield_now().await;
        assert!(!deletion.is_finished());
        assert!(leases.try_delete(id).is_none());
        drop(lease);
        let marked = deletion.await.unwrap();
        assert!(leases.take([id]).is_none());
        assert!(!leases.is_removed(id), "it may turn out to be in use");
        let other = leases.try_delete(id).unwrap();
        drop(marked);
        assert!(leases.take([id]).is_none(), "somebody else still looks at it");
        drop(other);
        assert!(leases.take([id]).is_some(), "it turned out to be in use");
        let marked = leases.try_delete(id);
        leases.remove([id]);
        drop(marked);
        assert!(leases.is_removed(id) && leases.take([id]).is_none());
    }
}
