//! Lists on the stack: a call of a codec allocates nothing, since one for a block of 4 KiB takes less than a microsecond.

use std::ops::{Deref, DerefMut};

/// Up to N things. Pushing more is a bug, and panics.
pub(super) struct Few<T, const N: usize> {
    items: [T; N],
    len: usize,
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.items[..self.len]
    }
}

impl<T, const N: usize> DerefMut for Few<T, N> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items[..self.len]
    }
}

impl<T: Default, const N: usize> FromIterator<T> for Few<T, N> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut few = Few { items: std::array::from_fn(|_| T::default()), len: 0 };
        for item in items {
            few.items[few.len] = item;
            few.len += 1;
        }
        few
    }
}

/// Evaluates an expression with `$n`, a constant, room for the shards of `$shape`: little for usual shapes, because filling
/// 256 empty slots takes longer than encoding a short block.
macro_rules! with_room {
    ($shape:expr, $n:ident => $body:expr) => {
        if $shape.n() <= 32 {
            const $n: usize = 32;
            $body
        } else {
            const $n: usize = $crate::codec::MAX_SHARDS;
            $body
        }
    };
}
pub(super) use with_room;
