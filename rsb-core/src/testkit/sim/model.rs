//! The reference model: what may be seen of each key, from what was acknowledged and what was left open.
//!
//! A write whose caller was told nothing, or an error that does not say that nothing was written, may be there or not, and
//! may appear until something newer of its key has been acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::history::{KEYS, LAST_KEYS};
use crate::id::VersionId;

/// What was written: a number, which its bytes are made of, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Value {
    pub number: u32,
    pub len: u32,
}

impl Value {
    /// Its bytes. No two values of 4 bytes or more have the same.
    pub fn bytes(self) -> Bytes {
        let mut seed = super::rng::Rng::new(u64::from(self.number));
        let mut out = self.number.to_le_bytes().to_vec();
        while out.len() < self.len as usize {
            out.extend_from_slice(&seed.next().to_le_bytes());
        }
        out.truncate(self.len as usize);
        out.into()
    }
}

/// What may be seen of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Possible {
    /// `None`: no object.
    pub value: Option<Value>,
    /// It was not acknowledged.
    pub open: bool,
    /// The step it is of.
    pub step: usize,
}

/// A change of a key, as far as its caller knows.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Nothing was written.
    Nothing,
    /// A value was written, or (`None`) the object deleted.
    Acknowledged(Option<Value>, Option<VersionId>),
    /// Perhaps.
    Open(Option<Value>),
    /// A version was deleted.
    VersionGone(VersionId),
    /// Perhaps.
    VersionPerhapsGone(VersionId),
}

/// A key of the bucket that keeps the last version.
#[derive(Clone, Debug)]
pub(super) struct Last {
    pub possible: Vec<Possible>,
}

/// A key of the bucket that keeps all versions.
#[derive(Clone, Debug, Default)]
pub(super) struct All {
    /// Acknowledged versions; `None` is a delete marker.
    pub versions: BTreeMap<VersionId, Option<Value>>,
    /// Versions whose deletion is open.
    pub perhaps_gone: BTreeSet<VersionId>,
    /// Versions that are gone.
    pub gone: BTreeSet<VersionId>,
    /// Values, and delete markers, that may be there.
    pub open: Vec<Option<Value>>,
}

/// What may be seen of everything.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub last: Vec<Last>,
    pub all: Vec<All>,
    /// Both buckets were made.
    pub buckets_made: bool,
    numbers: u32,
}

/// The bucket of a key, and its name.
pub(super) fn name(key: usize) -> (&'static str, String) {
    (if key < LAST_KEYS { "last" } else { "all" }, format!("k{key}"))
}

impl Default for Model {
    fn default() -> Self {
        let none = Possible { value: None, open: false, step: 0 };
        Self {
            last: vec![Last { possible: vec![none] }; LAST_KEYS],
            all: vec![All::default(); KEYS - LAST_KEYS],
            buckets_made: false,
            numbers: 0,
        }
    }
}

impl Model {
    /// A new value.
    pub fn new_value(&mut self, len: u32) -> Value {
        self.numbers += 1;
        Value { number: self.numbers, len }
    }

    /// What a reader of the newest may see, before a step.
    pub fn newest(&self, key: usize) -> Vec<Option<Value>> {
        if key < LAST_KEYS {
            return self.last[key].possible.iter().map(|p| p.value).collect();
        }
        let all = &self.all[key - LAST_KEYS];
        let mut out: Vec<Option<Value>> = all.open.clone();
        for (id, value) in all.versions.iter().rev() {
            out.push(*value);
            if !all.perhaps_gone.contains(id) {
                return out;
            }
        }
        out.push(None);
        out
    }

    /// Whether something may be there that was not acknowledged: as long as backends are away, nobody can tell.
    pub fn is_open(&self, key: usize) -> bool {
        match key.checked_sub(LAST_KEYS) {
            None => self.last[key].possible.iter().any(|p| p.open),
            Some(at) => !self.all[at].open.is_empty(),
        }
    }

    /// Takes in what the operations of one step have changed of a key, all at once.
    pub fn change(&mut self, key: usize, step: usize, changes: &[Change]) {
        if key >= LAST_KEYS {
            return self.all[key - LAST_KEYS].change(changes);
        }
        let now = changes.iter().filter_map(|change| match change {
            Change::Acknowledged(value, _) => Some(Possible { value: *value, open: false, step }),
            Change::Open(value) => Some(Possible { value: *value, open: true, step }),
            _ => None,
        });
        let now: Vec<Possible> = now.collect();
        let possible = &mut self.last[key].possible;
        if now.iter().any(|p| !p.open) {
            possible.clear();
        }
        possible.extend(now);
    }

    /// A reader saw this, while nothing was going on.
    pub fn seen(&mut self, key: usize, value: Option<Value>) {
        let Some(last) = self.last.get_mut(key) else { return };
        let Some(this) = last.possible.iter().find(|p| p.value == value).copied() else { return };
        last.possible.retain(|p| p.value == this.value || (p.open && p.step >= this.step));
        for p in last.possible.iter_mut().filter(|p| p.value == this.value) {
            // It is visible now, and must stay so.
            p.open = false;
        }
    }
}

impl All {
    fn change(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Nothing => {}
                Change::Acknowledged(value, Some(id)) => {
                    self.versions.insert(*id, *value);
                }
                // Without an id it is not known where it stands.
                Change::Acknowledged(value, None) | Change::Open(value) => self.open.push(*value),
                Change::VersionGone(id) => {
                    self.versions.remove(id);
                    self.perhaps_gone.remove(id);
                    self.gone.insert(*id);
                }
                Change::VersionPerhapsGone(id) => {
                    self.perhaps_gone.insert(*id);
                }
            }
        }
    }
}
