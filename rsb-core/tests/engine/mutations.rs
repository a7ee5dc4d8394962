//! The fuzz targets' functions on mutations of the fixtures: no bytes on a backend make a parser panic, and what it reads
//! holds together. (`rsb-core/fuzz` runs the same functions under libFuzzer.)

use std::path::Path;

use proptest::prelude::*;

#[path = "../../fuzz/parse.rs"]
mod parse;

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Mutation {
    Flip(prop::sample::Index, u8),
    /// A number of this many bytes becomes an extreme one.
    Extreme(prop::sample::Index, usize, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// A run is repeated elsewhere.
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

use Mutation::*;

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        6 => (at(), 1u8..).prop_map(|(at, mask)| Flip(at, mask)),
        3 => (at(), prop::sample::select(vec![1usize, 2, 4, 8]), prop::sample::select(vec![0u8, 1, 0x7f, 0xff]))
            .prop_map(|(at, len, byte)| Extreme(at, len, byte)),
        1 => at().prop_map(Cut),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Insert(at, bytes)),
        1 => (at(), 1usize..40).prop_map(|(at, len)| Remove(at, len)),
        1 => (at(), at(), 1usize..64).prop_map(|(from, to, len)| Copy(from, to, len)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match mutation {
        Flip(at, mask) => bytes[at.index(len)] ^= mask,
        Extreme(at, count, byte) => {
            let start = at.index(len);
            bytes[start..(start + count).min(len)].fill(*byte);
        }
        Cut(at) => bytes.truncate(at.index(len)),
        Insert(at, new) => {
            let at = at.index(len);
            bytes.splice(at..at, new.iter().copied());
        }
        Remove(at, count) => {
            let start = at.index(len);
            bytes.drain(start..(start + count).min(len));
        }
        Copy(from, to, count) => {
            let (from, to) = (from.index(len), to.index(len));
            let count = (*count).min(len - from).min(len - to);
            bytes.copy_within(from..from + count, to);
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn any_seed(target: &str) -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(seeds(target)), prop::collection::vec(mutation(), 0..6)).prop_map(|(mut bytes, mutations)| {
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_break_the_shard_parser(bytes in any_seed("shard")) {
        parse::shard(&bytes);
    }

    #[test]
    fn no_bytes_break_the_batch_parser(bytes in any_seed("batch")) {
        parse::batch(&bytes);
    }

    #[test]
    fn no_bytes_break_the_marker_parser(bytes in any_seed("marker")) {
        parse::marker(&bytes);
    }
}

/// The seeds as they are; what a fuzzer once found (`found-…`) stays among them.
#[test]
fn the_seeds_are_what_the_parsers_read() {
    use rsb_core::format::{batch::BatchHeader, marker::Marker, shard::ShardHeader};
    seeds("shard").iter().for_each(|bytes| parse::shard(bytes));
    seeds("batch").iter().for_each(|bytes| parse::batch(bytes));
    seeds("marker").iter().for_each(|bytes| parse::marker(bytes));
    // Most are whole, or the mutations would mutate nothing.
    assert!(seeds("shard").iter().filter(|bytes| ShardHeader::decode(bytes).is_ok()).count() >= 6);
    assert!(seeds("batch").iter().filter(|bytes| BatchHeader::decode(bytes).is_ok()).count() >= 4);
    assert!(seeds("marker").iter().any(|bytes| Marker::decode(bytes).is_ok()));
}
