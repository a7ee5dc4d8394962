//! Listings: prefixes, delimiters, markers, pages, versions; and what they cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Runtime;
use tokio::time::{Duration, Instant};

use super::fixtures::*;
use crate::catalog::*;
use crate::format::manifest::{Manifest, Record};

pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Catalog>) {
    objects_and_versions_are_listed(&*make().await).await;
    markers_are_exclusive(&*make().await).await;
    hidden_keys_show_no_prefix(&*make().await).await;
    huge_folders_are_one_prefix_each(&*make().await).await;
}

/// A listing's item in short: `key@version`, with `*` when it is the newest, or the prefix.
fn short(item: &ListItem) -> String {
    match item {
        ListItem::Prefix(prefix) => prefix.clone(),
        ListItem::Entry { entry, is_latest } => {
            let latest = if *is_latest { "*" } else { "" };
            format!("{}@{}{latest}", entry.manifest.key, entry.manifest.modified_ms)
        }
    }
}

async fn shorts(catalog: &dyn Catalog, query: &ListQuery) -> Vec<String> {
    catalog.list(query).await.unwrap().items.iter().map(short).collect()
}

fn query(prefix: &str, delimiter: &str) -> ListQuery {
    let delimiter = Some(delimiter.to_owned()).filter(|delimiter| !delimiter.is_empty());
    ListQuery { bucket: BUCKET.into(), prefix: prefix.into(), delimiter, limit: 1000, ..ListQuery::default() }
}

async fn objects_and_versions_are_listed(catalog: &dyn Catalog) {
    let mut records: Vec<Record> = vec![delete_marker("b/3", 8).into(), kept_version("b/2", 7).into()];
    records.extend(["a", "b", "b/1", "b/2", "b/3", "b::x", "c/é/1"].map(|key| kept_version(key, 5).into()));
    let mut elsewhere = kept_version("a2", 5);
    elsewhere.bucket = "photos2".into();
    records.push(elsewhere.into());
    write(catalog, 2, records).await;
    assert_eq!(shorts(catalog, &query("", "")).await, ["a@5*", "b@5*", "b/1@5*", "b/2@7*", "b::x@5*", "c/é/1@5*"]);
    assert_eq!(shorts(catalog, &query("", "/")).await, ["a@5*", "b@5*", "b/", "b::x@5*", "c/"]);
    assert_eq!(shorts(catalog, &query("", "::")).await, ["a@5*", "b@5*", "b/1@5*", "b/2@7*", "b::", "c/é/1@5*"]);
    assert_eq!(shorts(catalog, &query("b", "/")).await, ["b@5*", "b/", "b::x@5*"]);
    assert_eq!(shorts(catalog, &query("b/", "/")).await, ["b/1@5*", "b/2@7*"]);
    assert_eq!(shorts(catalog, &query("c", "é/")).await, ["c/é/"]);
    assert!(shorts(catalog, &query("d", "/")).await.is_empty());
    assert!(shorts(catalog, &ListQuery { bucket: "nowhere".into(), ..query("", "") }).await.is_empty());

    let versions = ListQuery { versions: true, ..query("b/", "") };
    assert_eq!(shorts(catalog, &versions).await, ["b/1@5*", "b/2@7*", "b/2@5", "b/3@8*", "b/3@5"]);
    let rolled = ListQuery { versions: true, ..query("", "/") };
    assert_eq!(shorts(catalog, &rolled).await, ["a@5*", "b@5*", "b/", "b::x@5*", "c/"]);
    let none = catalog.list(&ListQuery { limit: 0, ..query("", "") }).await.unwrap();
    assert_eq!(none, ListPage::default());
}

async fn markers_are_exclusive(catalog: &dyn Catalog) {
    let keys = ["a", "a/1", "a/2", "a0", "b"];
    let records = keys.iter().flat_map(|key| [kept_version(key, 5).into(), kept_version(key, 6).into()]);
    write(catalog, 2, records.collect()).await;
    let after = async |after: ListAfter, delimiter: &str, versions: bool| {
        shorts(catalog, &ListQuery { after: Some(after), versions, ..query("", delimiter) }).await
    };
    assert_eq!(after(ListAfter::Key("a/1".into()), "", false).await, ["a/2@6*", "a0@6*", "b@6*"]);
    assert_eq!(after(ListAfter::Key("a/1".into()), "", true).await[..2], ["a/2@6*", "a/2@5"]);
    assert_eq!(after(ListAfter::Key("a/1".into()), "/", false).await, ["a/", "a0@6*", "b@6*"]);
    assert_eq!(after(ListAfter::Prefix("a/".into()), "/", false).await, ["a0@6*", "b@6*"]);
    assert_eq!(after(ListAfter::Prefix("a".into()), "", true).await, ["b@6*", "b@5"]);
    assert_eq!(after(ListAfter::Version("a0".into(), version(6)), "", true).await, ["a0@5", "b@6*", "b@5"]);
    assert_eq!(after(ListAfter::Version("a0".into(), version(5)), "", true).await, ["b@6*", "b@5"]);
    assert_eq!(after(ListAfter::Version("a0".into(), version(6)), "", false).await, ["b@6*"]);
    assert!(after(ListAfter::Key("zz".into()), "", false).await.is_empty());
    // The marker's version may be gone: what is left of the key is then the newest.
    write(catalog, 3, vec![tombstone("a0", 9, Some(6), false)]).await;
    assert_eq!(after(ListAfter::Version("a0".into(), version(6)), "", true).await[..1], ["a0@5*"]);
}

async fn hidden_keys_show_no_prefix(catalog: &dyn Catalog) {
    write(catalog, 2, vec![kept_version("gone/1", 5).into(), kept_version("gone/2", 5).into()]).await;
    write(catalog, 3, vec![delete_marker("gone/1", 6).into(), kept_version("here/1", 6).into()]).await;
    assert_eq!(shorts(catalog, &query("", "/")).await, ["gone/", "here/"]);
    write(catalog, 4, vec![delete_marker("gone/2", 7).into()]).await;
    assert_eq!(shorts(catalog, &query("", "/")).await, ["here/"], "a prefix with nothing but delete markers");
    assert_eq!(shorts(catalog, &ListQuery { versions: true, ..query("", "/") }).await, ["gone/", "here/"]);
    write(catalog, 5, vec![tombstone("gone/2", 8, Some(7), false)]).await;
    assert_eq!(shorts(catalog, &query("", "")).await, ["gone/2@5*", "here/1@6*"], "the marker gone, it shows again");
}

/// What it costs is measured by `page_costs`.
async fn huge_folders_are_one_prefix_each(catalog: &dyn Catalog) {
    const KEYS: usize = 4000;
    for (number, folder) in ["left", "right"].iter().enumerate() {
        let keys = (0..KEYS).map(|n| kept_version(&format!("{folder}/{n:05}"), 5).into());
        write(catalog, 2 + number as u64, keys.collect()).await;
    }
    assert_eq!(shorts(catalog, &query("", "/")).await, ["left/", "right/"]);
    let whole = ListQuery { limit: usize::MAX, ..query("", "") };
    assert_eq!(catalog.list(&whole).await.unwrap().items.len(), 2 * KEYS);
}

/// Measures what a page of 1,000 costs with `keys` keys in the bucket, in folders of 100: the middle of 101 pages that begin
/// anywhere, of keys, and of folders by delimiter; and that of the one page of two huge folders.
///
/// # Panics
/// Where a page is not what it must be.
pub async fn page_costs(catalog: &dyn Catalog, keys: usize) -> [Duration; 3] {
    const AT_ONCE: usize = 20_000;
    let name = |n: usize| format!("{}/{:06}/{:02}", if n < keys / 2 { "left" } else { "right" }, n / 100, n % 100);
    make_bucket(catalog).await;
    for start in (0..keys).step_by(AT_ONCE) {
        let some = (start..keys.min(start + AT_ONCE)).map(|n| kept_version(&name(n), 5).into());
        write(catalog, 2 + (start / AT_ONCE) as u64, some.collect()).await;
    }
    let mut costs: [Vec<Duration>; 3] = Default::default();
    for turn in 0..101 {
        let at = turn * (keys / 2 - 1000) / 101;
        let after = |query: ListQuery| ListQuery { after: Some(ListAfter::Key(name(at))), ..query };
        for (kind, query, most) in [
            (0, after(query("", "")), 1000),
            (1, ListQuery { limit: 100, ..after(query("left/", "/")) }, 100),
            (2, query("", "/"), 2),
        ] {
            let begin = Instant::now();
            let found = catalog.list(&query).await.map_or(0, |listing| listing.items.len());
            costs[kind].push(begin.elapsed());
            assert!(0 < found && found <= most, "{query:?} gave {found}");
        }
    }
    costs.map(|mut cost| {
        cost.sort();
        cost[cost.len() / 2]
    })
}

/// What a listing must hold, by going through everything.
fn expected(records: &[Manifest], query: &ListQuery) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<&Manifest>> = BTreeMap::new();
    for manifest in records.iter().filter(|manifest| manifest.key.starts_with(&query.prefix)) {
        keys.entry(&manifest.key).or_default().push(manifest);
    }
    let mut items: Vec<String> = Vec::new();
    for (key, mut versions) in keys {
        versions.sort_by_key(|manifest| std::cmp::Reverse(manifest.version));
        let newest = versions[0].version;
        versions.retain(|manifest| query.versions || (manifest.version == newest && !manifest.delete_marker));
        let rest = &key[query.prefix.len()..];
        let cut = query.delimiter.as_ref().and_then(|delimiter| Some(rest.find(delimiter)? + delimiter.len()));
        for manifest in versions {
            let latest = if manifest.version == newest { "*" } else { "" };
            match cut {
                None => items.push(format!("{key}@{}{latest}", manifest.modified_ms)),
                Some(cut) => items.push(key[..query.prefix.len() + cut].to_owned()),
            }
        }
    }
    items.dedup();
    items
}

/// Random keys and queries, against a plain model; and the pages of every size, put together, are the whole.
///
/// # Panics
/// Where a listing differs from the model, with the smallest case found.
pub fn listings(make: impl AsyncFn() -> Arc<dyn Catalog>) {
    let runtime = Runtime::new().unwrap();
    let part = || {
        prop::sample::select(vec!["a", "A", "b", "/", "//", "é", "%", "_", "\u{10FFFF}", "\u{1}", "\\", "'", "\u{7f}"])
    };
    let text = |least: usize| prop::collection::vec(part(), least..5).prop_map(|parts| parts.concat());
    let object = (text(1), 1..9u64, any::<bool>());
    let case = (
        prop::collection::vec(object, 1..25),
        text(0),
        prop::option::of(prop::sample::select(vec!["/", "//", "a", "é", "a/", "\u{10FFFF}"])),
        any::<bool>(),
    );
    let mut runner = TestRunner::new(Config { cases: 48, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&case, |(objects, prefix, delimiter, versions)| {
        let mut records = BTreeMap::new();
        for (key, n, marker) in objects {
            let manifest = if marker { delete_marker(&key, n) } else { kept_version(&key, n) };
            records.insert((key, n), manifest);
        }
        let records: Vec<_> = records.into_values().collect();
        // A prefix of some key is worth more than one of none.
        let prefix = if prefix.len() % 2 == 0 { prefix } else { records[0].key.chars().take(1).collect() };
        let query = ListQuery { delimiter: delimiter.map(str::to_owned), versions, ..query(&prefix, "") };
        runtime.block_on(pages_equal_the_model(&*runtime.block_on(make()), records, query));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

async fn pages_equal_the_model(catalog: &dyn Catalog, records: Vec<Manifest>, query: ListQuery) {
    let whole = expected(&records, &query);
    write(catalog, 2, records.into_iter().map(Record::from).collect()).await;
    for limit in 1..=whole.len() + 1 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = catalog.list(&ListQuery { limit, after, ..query.clone() }).await.unwrap();
            assert!(page.items.len() <= limit && (page.items.len() == limit || page.next.is_none()), "{query:?}");
            paged.extend(page.items.iter().map(short));
            after = page.next;
            if after.is_none() {
                break;
            }
            assert!(paged.len() < whole.len(), "a page that is the last one says that there is more: {query:?}");
        }
        assert_eq!(paged, whole, "pages of {limit} of {query:?}");
    }
}
