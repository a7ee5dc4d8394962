//! Random histories: the state depends on the set of records, not on their order or repetition, and is the same in every
//! engine.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;

use super::fixtures::*;
use crate::catalog::*;
use crate::format::manifest::{Manifest, Record};

/// One record of a history, by small numbers, so that records meet.
fn record() -> impl Strategy<Value = Record> {
    let key = || prop::sample::select(vec!["k", "l"]);
    let id = || 2..9u64;
    // Whether a version is null is fixed by its id: revisions of one version agree on it.
    let version = (key(), id(), 0..3u32, prop::collection::vec(1..6u64, 0..3)).prop_map(|(key, n, rev, ids)| {
        let base = match n % 4 {
            0 => delete_marker(key, n),
            1 => kept_version(key, n),
            _ => null_version(key, n),
        };
        Record::Version(revision(&with_segments(base, &ids), rev))
    });
    let target = prop::option::weighted(0.7, id());
    let tombstone = (key(), id(), target, 0..2u32).prop_map(|(key, n, target, rev)| {
        let null = target.is_some_and(|target| target % 4 > 1);
        // One tombstone has one target, in every revision of it.
        tombstone(key, 100 + 20 * n + target.unwrap_or_default(), target, null).with_revision(rev)
    });
    let broad = (key(), id()).prop_map(|(key, n)| tombstone_all(key, n));
    let bucket = (id(), 0..2u32).prop_map(|(n, rev)| bucket_record(BUCKET, n, n % 3 == 0).with_revision(rev));
    prop_oneof![6 => version, 2 => tombstone, 1 => broad, 1 => bucket]
}

/// A tombstone that stands amid the versions.
fn tombstone_all(key: &str, n: u64) -> Record {
    tombstone(key, n, None, false)
}

/// Random histories, each committed in two random orders with repetitions, and once to the memory engine: every
/// observable thing is equal, and what lives is what [`kills`] says.
///
/// # Panics
/// Where they differ, with the smallest history found.
pub fn histories(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    let runtime = Runtime::new().unwrap();
    let batches = prop::collection::vec(prop::collection::vec(record(), 1..5), 1..8);
    let case = batches.prop_flat_map(|batches| {
        let order = || {
            let mut twice: Vec<usize> = (0..batches.len()).chain(0..batches.len()).collect();
            twice.sort_unstable();
            Just(twice).prop_shuffle()
        };
        (Just(batches.clone()), order(), order())
    });
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&case, |(batches, first, second)| {
        runtime.block_on(async {
            let one = replay(&*make().await, &batches, &first).await;
            assert_eq!(one, replay(&*make().await, &batches, &second).await, "{first:?} and {second:?}");
            assert_eq!(one, replay(&MemoryCatalog::new(), &batches, &first).await, "this engine and memory");
            what_lives_is_what_nothing_kills(&*make().await, &batches, &first).await;
        });
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

async fn replay(catalog: &dyn Catalog, batches: &[Vec<Record>], order: &[usize]) -> Vec<String> {
    for number in order {
        write(catalog, 2 + *number as u64, batches[*number].clone()).await;
    }
    let ids: Vec<_> = (1..6).map(data).collect();
    snapshot(catalog, &ids).await
}

/// The live versions are those that no record of the history kills, the records being taken as one set.
async fn what_lives_is_what_nothing_kills(catalog: &dyn Catalog, batches: &[Vec<Record>], order: &[usize]) {
    let mut reported = Vec::new();
    for number in order {
        reported.extend(write(catalog, 2 + *number as u64, batches[*number].clone()).await);
    }
    let all: Vec<&Record> = batches.iter().flatten().collect();
    let versions = all.iter().filter_map(|record| match record {
        Record::Version(manifest) => Some(manifest),
        _ => None,
    });
    let survives = |manifest: &&Manifest| !all.iter().any(|other| kills(other, manifest));
    let mut expected: Vec<_> =
        versions.clone().filter(survives).map(|m| (m.key.clone(), m.version, m.revision)).collect();
    expected.sort();
    expected.dedup();
    let live = catalog.versions_after(None, usize::MAX).await.unwrap();
    let found: Vec<_> = live
        .iter()
        .map(|entry| (entry.manifest.key.clone(), entry.manifest.version, entry.manifest.revision))
        .collect();
    assert_eq!(found, expected);
    // Each row that is dead in the end was reported exactly once.
    assert_eq!(reported.len(), versions.count() - live.len(), "reported: {reported:?}");
}
