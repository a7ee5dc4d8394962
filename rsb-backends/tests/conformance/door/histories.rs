//! Whether a history of what clients did with one key at the same time is linearizable: whether there is an order of its
//! operations, each at some moment between its begin and its end, in which each of them is right. The search is that of Wing and
//! Gong, with the memory of what was tried that Lowe added to it.

use std::collections::HashSet;

/// What stands under the key: the number of the write that put it there, no two of which are alike.
pub type Value = Option<u32>;

/// What one client did and saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Did {
    /// It wrote, whatever was there.
    Wrote(u32),
    /// It wrote where nothing was.
    Created(u32),
    /// It was told that something is there already.
    FoundSome,
    /// It wrote in place of the first, the second.
    Replaced(u32, u32),
    /// It was told that this is not what is there.
    FoundOther(u32),
    /// It deleted, whatever was there.
    Deleted,
    /// It deleted this.
    DeletedThis(u32),
    /// It saw this.
    Saw(Value),
}

/// One operation. Begin and end are places in the order of all begins and ends.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub did: Did,
    pub begin: u64,
    /// `None` where the client was not told what became of it: it may happen at any time from then on, or never.
    pub end: Option<u64>,
}

impl Did {
    /// What stands under the key after this, where it is right when `value` does.
    fn after(self, value: Value) -> Option<Value> {
        match self {
            Self::Wrote(new) => Some(Some(new)),
            Self::Created(new) => value.is_none().then_some(Some(new)),
            Self::FoundSome => value.is_some().then_some(value),
            Self::Replaced(old, new) => (value == Some(old)).then_some(Some(new)),
            Self::FoundOther(other) => (value != Some(other)).then_some(value),
            Self::Deleted => Some(None),
            Self::DeletedThis(old) => (value == Some(old)).then_some(None),
            Self::Saw(seen) => (seen == value).then_some(value),
        }
    }

    /// The write that this has seen the result of.
    fn observes(self) -> Value {
        match self {
            Self::Replaced(old, _) | Self::DeletedThis(old) => Some(old),
            Self::Saw(seen) => seen,
            _ => None,
        }
    }

    /// The number that this writes.
    fn writes(self) -> Value {
        match self {
            Self::Wrote(new) | Self::Created(new) | Self::Replaced(_, new) => Some(new),
            _ => None,
        }
    }
}

/// More steps than this are taken for a history that has no such order: searching all of them could take for ever.
const MAX_STEPS: usize = 3_000_000;

/// Fails with the operations around the place behind which no order was found.
pub fn assert_linearizable(history: &[Operation]) {
    if let Err(stuck) = Search::new(history).run() {
        panic!(
            "the history is not linearizable; it cannot go on after {} of {}: {stuck:#?}",
            stuck.done,
            history.len()
        );
    }
}

/// The furthest that a search came.
#[derive(Debug, Default)]
pub struct Stuck {
    done: usize,
    #[expect(dead_code, reason = "shown")]
    value: Value,
    #[expect(dead_code, reason = "shown")]
    next: Vec<Operation>,
}

struct Search<'a> {
    history: &'a [Operation],
    /// By number, whether anybody saw it, and the earliest end of those who did.
    seen: std::collections::HashMap<u32, u64>,
    tried: HashSet<(Vec<u64>, Value)>,
    stuck: Stuck,
}

/// What is left of a history, and what stands under the key.
#[derive(Clone)]
struct State {
    left: Vec<u64>,
    value: Value,
}

impl State {
    fn has(&self, i: usize) -> bool {
        self.left[i / 64] >> (i % 64) & 1 == 1
    }

    fn take(&mut self, i: usize) {
        self.left[i / 64] &= !(1 << (i % 64));
    }
}

impl<'a> Search<'a> {
    fn new(history: &'a [Operation]) -> Self {
        let mut seen = std::collections::HashMap::new();
        for operation in history {
            if let Some(number) = operation.did.observes() {
                let end = operation.end.unwrap_or(u64::MAX);
                seen.entry(number).and_modify(|first: &mut u64| *first = end.min(*first)).or_insert(end);
            }
        }
        Self { history, seen, tried: HashSet::new(), stuck: Stuck::default() }
    }

    fn run(mut self) -> Result<(), Stuck> {
        let mut left = vec![0; self.history.len().div_ceil(64)];
        (0..self.history.len()).for_each(|i| left[i / 64] |= 1 << (i % 64));
        // A stack of states to try, the most promising on top.
        let mut stack = vec![State { left, value: None }];
        while let Some(mut state) = stack.pop() {
            self.take_those_who_only_look(&mut state);
            if self.is_done(&state) {
                return Ok(());
            }
            if self.tried.len() > MAX_STEPS || !self.tried.insert((state.left.clone(), state.value)) {
                continue;
            }
            self.note(&state);
            stack.extend(self.ways_on(&state));
        }
        Err(self.stuck)
    }

    /// Operations that may be the next: those that began before the first end of what is left.
    fn next<'s>(&'s self, state: &'s State) -> impl Iterator<Item = usize> + 's {
        let left = || (0..self.history.len()).filter(|i| state.has(*i));
        let first_end = left().filter_map(|i| self.history[i].end).min().unwrap_or(u64::MAX);
        left().filter(move |i| self.history[*i].begin < first_end)
    }

    /// Who never changes anything may go first: it is in nobody's way.
    fn take_those_who_only_look(&self, state: &mut State) {
        loop {
            let looks = |i: &usize| {
                let did = self.history[*i].did;
                matches!(did, Did::Saw(_) | Did::FoundSome | Did::FoundOther(_)) && did.after(state.value).is_some()
            };
            let ready: Vec<usize> = self.next(state).filter(looks).collect();
            if ready.is_empty() {
                return;
            }
            ready.into_iter().for_each(|i| state.take(i));
        }
    }

    fn is_done(&self, state: &State) -> bool {
        (0..self.history.len()).all(|i| !state.has(i) || self.history[i].end.is_none())
    }

    /// States that may follow, the most promising last.
    fn ways_on(&self, state: &State) -> Vec<State> {
        let mut next: Vec<usize> = self.next(state).collect();
        // What was written once is not seen again after it was left: who saw it must come before.
        let needed: Vec<usize> = (0..self.history.len())
            .filter(|i| state.has(*i) && self.history[*i].end.is_some())
            .filter(|i| state.value.is_some() && self.history[*i].did.observes() == state.value)
            .collect();
        match needed[..] {
            [] => {}
            [only] if next.contains(&only) => next = vec![only],
            _ => return Vec::new(),
        }
        next.retain(|i| self.history[*i].did.after(state.value).is_some());
        // First those whose end, or the end of whose first reader, comes first; last those whom nothing presses.
        next.sort_by_key(|i| std::cmp::Reverse(self.pressed(*i)));
        let unseen: Vec<usize> = next.iter().copied().filter(|i| self.is_unseen(*i)).collect();
        let mut ways = Vec::new();
        for i in next {
            let Some(value) = self.history[i].did.after(state.value) else { continue };
            let mut on = State { left: state.left.clone(), value };
            on.take(i);
            if matches!(self.history[i].did, Did::Wrote(_) | Did::Deleted) && !unseen.is_empty() {
                // Writes that nobody saw fit in just before a write that overwrites anything.
                let mut with = on.clone();
                unseen.iter().for_each(|j| with.take(*j));
                ways.extend([on, with]);
            } else {
                ways.push(on);
            }
        }
        ways
    }

    fn is_unseen(&self, i: usize) -> bool {
        matches!(self.history[i].did, Did::Wrote(number) if !self.seen.contains_key(&number))
            && self.history[i].end.is_some()
    }

    fn pressed(&self, i: usize) -> u64 {
        let own = self.history[i].end.unwrap_or(u64::MAX);
        self.history[i].did.writes().and_then(|number| self.seen.get(&number)).map_or(own, |end| own.min(*end))
    }

    fn note(&mut self, state: &State) {
        let done = (0..self.history.len()).filter(|i| !state.has(*i)).count();
        if done >= self.stuck.done {
            let next = self.next(state).take(12).map(|i| self.history[i]).collect();
            self.stuck = Stuck { done, value: state.value, next };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Did::{Created, Deleted, DeletedThis, FoundOther, FoundSome, Replaced, Saw, Wrote};
    use super::*;

    /// Operations with their begins and ends; an end of 0 is none.
    fn is_linearizable(history: &[(Did, u64, u64)]) -> bool {
        let operation = |(did, begin, end): &(Did, u64, u64)| Operation {
            did: *did,
            begin: *begin,
            end: (*end > 0).then_some(*end),
        };
        Search::new(&history.iter().map(operation).collect::<Vec<_>>()).run().is_ok()
    }

    #[test]
    fn what_one_copy_could_have_done_is_taken() {
        for history in [
            &[][..],
            &[(Saw(None), 1, 2), (Wrote(1), 3, 4), (Saw(Some(1)), 5, 6), (Deleted, 7, 8), (Saw(None), 9, 10)],
            // At the same time: in whatever order they were seen, and a read during a write sees either.
            &[(Wrote(1), 1, 10), (Wrote(2), 2, 9), (Saw(Some(2)), 3, 4), (Saw(Some(1)), 5, 6)],
            &[(Wrote(1), 1, 2), (Wrote(2), 3, 10), (Saw(Some(1)), 4, 5), (Saw(Some(2)), 6, 7)],
            // Unseen writes lie between others.
            &[(Wrote(1), 1, 20), (Wrote(2), 2, 19), (Wrote(3), 3, 18), (Saw(Some(2)), 21, 22)],
            // One creates, the other finds it.
            &[(Created(1), 1, 4), (FoundSome, 2, 3), (Saw(Some(1)), 5, 6)],
            &[(FoundSome, 2, 5), (Wrote(1), 1, 6), (Deleted, 3, 4), (Saw(None), 7, 8)],
            &[(Wrote(1), 1, 2), (Replaced(1, 2), 3, 6), (FoundOther(1), 4, 5), (Saw(Some(2)), 7, 8)],
            &[(Wrote(1), 1, 2), (DeletedThis(1), 3, 6), (FoundOther(1), 4, 5), (Saw(None), 7, 8)],
            // Nobody knows whether it happened: both are right, and later too.
            &[(Wrote(1), 1, 2), (Wrote(2), 3, 0), (Saw(Some(1)), 4, 5), (Saw(Some(2)), 6, 7)],
            &[(Wrote(1), 1, 2), (Wrote(2), 3, 0), (Saw(Some(1)), 4, 5)],
        ] {
            assert!(is_linearizable(history), "{history:?}");
        }
    }

    #[test]
    fn what_no_one_copy_could_have_done_is_not() {
        for history in [
            // A read of what was overwritten, of what was never written, and of what was not yet.
            &[(Wrote(1), 1, 2), (Wrote(2), 3, 4), (Saw(Some(1)), 5, 6)][..],
            &[(Wrote(1), 1, 2), (Saw(Some(2)), 3, 4)],
            &[(Saw(Some(1)), 1, 2), (Wrote(1), 3, 4)],
            &[(Wrote(1), 1, 2), (Saw(None), 3, 4)],
            // Back to the old one after the new one was seen.
            &[(Wrote(1), 1, 2), (Wrote(2), 3, 10), (Saw(Some(2)), 4, 5), (Saw(Some(1)), 6, 7)],
            // Deleted, and back.
            &[(Wrote(1), 1, 2), (Deleted, 3, 4), (Saw(Some(1)), 5, 6)],
            // Two create at the same time, and both are told they did.
            &[(Created(1), 1, 4), (Created(2), 2, 3), (Saw(Some(1)), 5, 6)],
            // Two replace the same: one of both is lost.
            &[(Wrote(1), 1, 2), (Replaced(1, 2), 3, 6), (Replaced(1, 3), 4, 5)],
            // One deletes what the other has replaced, and two delete the same.
            &[(Wrote(1), 1, 2), (Replaced(1, 2), 3, 6), (DeletedThis(1), 4, 5), (Saw(None), 7, 8)],
            &[(Wrote(1), 1, 2), (DeletedThis(1), 3, 6), (DeletedThis(1), 4, 5)],
            // Told of what cannot have been there.
            &[(FoundSome, 1, 2), (Wrote(1), 3, 4)],
            &[(Wrote(1), 1, 2), (FoundOther(1), 3, 4)],
            &[(Wrote(1), 1, 2), (Created(2), 3, 4)],
            // Seen, not there, and seen again: it did not happen twice.
            &[(Wrote(1), 1, 0), (Saw(Some(1)), 2, 3), (Saw(None), 4, 5)],
        ] {
            assert!(!is_linearizable(history), "{history:?}");
        }
    }
}
