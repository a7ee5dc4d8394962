//! A bounded memo of prepared matrices: building one costs more than applying it to a short block.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::{MAX_SHARDS, Shape};

/// Which matrix: computes the shards `to` from the shards `from`, both in ascending order. `from` are k shards, or one data
/// shard where it stands for a change of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pattern {
    pub shape: Shape,
    pub from: ShardSet,
    pub to: ShardSet,
}

impl Pattern {
    /// The pattern of an encode: all parity from all data.
    pub(super) fn encode(shape: Shape) -> Pattern {
        Pattern { shape, from: (0..shape.k()).collect(), to: (shape.k()..shape.n()).collect() }
    }

    /// The pattern of an update: all parity from one data shard.
    pub(super) fn update(shape: Shape, index: usize) -> Pattern {
        Pattern { from: std::iter::once(index).collect(), ..Pattern::encode(shape) }
    }
}

/// Some shards of a stripe: shard i is bit i % 64 of word i / 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct ShardSet([u64; MAX_SHARDS / 64]);

impl ShardSet {
    /// Adds a shard and tells whether it was new. The index must be below [`MAX_SHARDS`].
    pub(super) fn insert(&mut self, index: usize) -> bool {
        let (word, bit) = (&mut self.0[index / 64], 1 << (index % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0[index / 64] >> (index % 64) & 1 == 1
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The shards, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..MAX_SHARDS).filter(|&index| self.contains(index))
    }
}

impl FromIterator<usize> for ShardSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indices: I) -> ShardSet {
        let mut set = ShardSet::default();
        for index in indices {
            set.insert(index);
        }
        set
    }
}

/// Values by key, at most `limit_bytes` of them; the least recently used go first.
pub(super) struct Memo<K, V> {
    limit_bytes: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// Sum of the entries' `bytes`.
    bytes: usize,
    /// Counts lookups; an entry's `used` is the count at its last one.
    clock: u64,
}

struct Entry<V> {
    value: Arc<V>,
    bytes: usize,
    used: u64,
}

impl<K: Eq + Hash + Clone, V> Memo<K, V> {
    pub(super) fn new(limit_bytes: usize) -> Memo<K, V> {
        let state = State { entries: HashMap::new(), bytes: 0, clock: 0 };
        Memo { limit_bytes, state: Mutex::new(state) }
    }

    /// The value of `key`, made by `build` (which also says how many bytes it holds) unless it is remembered.
    ///
    /// `build` runs outside the lock: two callers may build the same value at once, and one of the two is dropped, but
    /// nobody waits for a matrix that is not his own. A value larger than the limit is returned and not kept.
    pub(super) fn get<E>(&self, key: K, build: impl FnOnce(&K) -> Result<(V, usize), E>) -> Result<Arc<V>, E> {
        // A panic under this lock is impossible but for a failed allocation, and leaves the map usable: no poison.
        if let Some(value) = self.state.lock().unwrap_or_else(PoisonError::into_inner).find(&key) {
            return Ok(value);
        }
        let (value, bytes) = build(&key)?;
        let value = Arc::new(value);
        if bytes <= self.limit_bytes {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.insert(key, value.clone(), bytes);
            state.shrink(self.limit_bytes);
        }
        Ok(value)
    }
}

impl<K: Eq + Hash + Clone, V> State<K, V> {
    fn find(&mut self, key: &K) -> Option<Arc<V>> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.value.clone())
    }

    fn insert(&mut self, key: K, value: Arc<V>, bytes: usize) {
        self.bytes += bytes;
        let entry = Entry { value, bytes, used: self.clock };
        if let Some(old) = self.entries.insert(key, entry) {
            self.bytes -= old.bytes;
        }
    }

    /// A scan for the oldest each time: it runs only after a build, which costs far more.
    fn shrink(&mut self, limit_bytes: usize) {
        while self.bytes > limit_bytes {
            let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            match oldest.and_then(|key| self.entries.remove(&key)) {
                Some(entry) => self.bytes -= entry.bytes,
                None => return,
            }
        }
    }
}

impl<K, V> fmt::Debug for Memo<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("limit_bytes", &self.limit_bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks `key` up and tells whether it had to be built.
    fn built(memo: &Memo<u32, u32>, key: u32, bytes: usize) -> bool {
        let mut built = false;
        let value = memo.get::<()>(key, |key| {
            built = true;
            Ok((*key * 10, bytes))
        });
        assert_eq!(*value.unwrap(), key * 10);
        built
    }

    #[test]
    fn keeps_what_was_used_last_within_the_limit() {
        let memo = Memo::new(30);
        assert!(built(&memo, 1, 10));
        assert!(built(&memo, 2, 10));
        assert!(built(&memo, 3, 10));
        assert!(!built(&memo, 1, 10));
        assert!(built(&memo, 4, 10)); // 2 is the oldest now
        assert!(!built(&memo, 1, 10));
        assert!(!built(&memo, 3, 10));
        assert!(!built(&memo, 4, 10));
        assert!(built(&memo, 2, 10));
        assert_eq!(memo.state.lock().unwrap().bytes, 30);
    }

    #[test]
    fn does_not_keep_what_exceeds_the_limit_alone() {
        let memo = Memo::new(30);
        assert!(built(&memo, 1, 10));
        assert!(built(&memo, 2, 31));
        assert!(built(&memo, 2, 31));
        assert!(!built(&memo, 1, 10));
    }

    #[test]
    fn a_failed_build_is_not_remembered() {
        let memo = Memo::<u32, u32>::new(30);
        assert_eq!(memo.get(1, |_| Err("no")).unwrap_err(), "no");
        assert!(built(&memo, 1, 10));
    }
}
