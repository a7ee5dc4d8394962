//! What objects contain: a run of pseudo-random bytes, which each object enters at another place.

const LEN: usize = 1 << 20;

/// The bytes of all objects.
pub struct Pattern(Vec<u8>);

impl Pattern {
    pub fn new() -> Self {
        // splitmix64
        let mut state = 7u64;
        let word = |_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            (z ^ (z >> 31)).to_le_bytes()
        };
        Self((0..LEN / 8).flat_map(word).collect())
    }

    fn place(&self, object: u64, at: u64) -> usize {
        ((object.wrapping_mul(8191) + at) % LEN as u64) as usize
    }

    /// Gives an object of `size` bytes piece by piece.
    pub fn pieces<E>(&self, object: u64, size: u64, mut give: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut at = 0;
        while at < size {
            let from = self.place(object, at);
            let len = (size - at).min((LEN - from) as u64) as usize;
            give(&self.0[from..from + len])?;
            at += len as u64;
        }
        Ok(())
    }

    /// Whether the object has these bytes at `at`.
    pub fn is_at(&self, object: u64, at: u64, mut bytes: &[u8]) -> bool {
        let mut from = self.place(object, at);
        while !bytes.is_empty() {
            let len = bytes.len().min(LEN - from);
            if bytes[..len] != self.0[from..from + len] {
                return false;
            }
            (bytes, from) = (&bytes[len..], 0);
        }
        true
    }
}
