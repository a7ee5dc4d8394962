//! The ledger, named values, emptying.

use std::sync::Arc;

use super::fixtures::*;
use crate::catalog::*;

pub(super) async fn run(make: &impl AsyncFn() -> Arc<dyn Catalog>) {
    the_ledger_has_one_line_for_an_item(&*make().await).await;
    the_ledger_is_paged(&*make().await).await;
    values_are_set_and_removed(&*make().await).await;
    clearing_leaves_nothing(&*make().await).await;
}

fn shard(n: u64, index: u16) -> LedgerItem {
    LedgerItem::Shard { data_id: data(n), index }
}

fn copy(n: u64, copy: u16) -> LedgerItem {
    LedgerItem::Copy { batch: batch(n), copy }
}

fn line(item: LedgerItem, reason: LedgerReason) -> LedgerEntry {
    LedgerEntry { item, backend: "nas".into(), bucket: BUCKET.into(), key: "k".into(), reason, noted_ms: 5 }
}

async fn all(catalog: &dyn Catalog) -> Vec<LedgerEntry> {
    catalog.ledger_after(None, usize::MAX).await.unwrap()
}

async fn the_ledger_has_one_line_for_an_item(catalog: &dyn Catalog) {
    let mut short = commit(2, vec![null_version("k", 2).into()]);
    short.ledger = vec![line(shard(1, 0), LedgerReason::NotWritten)];
    catalog.commit(short).await.unwrap();
    assert_eq!(all(catalog).await, [line(shard(1, 0), LedgerReason::NotWritten)], "noted with the commit");

    let newer = LedgerEntry { backend: "other".into(), noted_ms: 9, ..line(shard(1, 0), LedgerReason::Corrupt) };
    catalog.ledger_add(vec![newer.clone(), line(copy(1, 0), LedgerReason::Missing)]).await.unwrap();
    assert_eq!(all(catalog).await, [newer, line(copy(1, 0), LedgerReason::Missing)], "a newer line replaces the older");
    assert_eq!(catalog.counts().await.unwrap().ledger, 2);
    catalog.ledger_remove(&[shard(1, 0), shard(1, 1), copy(2, 0)]).await.unwrap();
    assert_eq!(all(catalog).await, [line(copy(1, 0), LedgerReason::Missing)]);
}

async fn the_ledger_is_paged(catalog: &dyn Catalog) {
    let mut items = vec![copy(1, 0), shard(2, 300), shard(2, 1), shard(1, 7), copy(1, 256), copy(1, 255), copy(9, 0)];
    catalog.ledger_add(items.iter().map(|item| line(item.clone(), LedgerReason::Missing)).collect()).await.unwrap();
    items.sort();
    for limit in 1..=items.len() {
        let (mut after, mut paged) = (None, Vec::new());
        loop {
            let page = catalog.ledger_after(after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            after = Some(last.item.clone());
            paged.extend(page.into_iter().map(|entry| entry.item));
        }
        assert_eq!(paged, items, "pages of {limit}, in order of item");
    }
}

async fn values_are_set_and_removed(catalog: &dyn Catalog) {
    assert_eq!(catalog.value("cursor").await.unwrap(), None);
    catalog.set_value("cursor", Some("a\"'é".into())).await.unwrap();
    catalog.set_value("other", Some(String::new())).await.unwrap();
    catalog.set_value("cursor", Some("b".into())).await.unwrap();
    assert_eq!(catalog.value("cursor").await.unwrap().as_deref(), Some("b"));
    catalog.set_value("cursor", None).await.unwrap();
    catalog.set_value("cursor", None).await.unwrap();
    assert_eq!(catalog.value("cursor").await.unwrap(), None);
    assert_eq!(catalog.value("other").await.unwrap().as_deref(), Some(""));
}

async fn clearing_leaves_nothing(catalog: &dyn Catalog) {
    let empty = snapshot(catalog, &[data(1)]).await;
    make_bucket(catalog).await;
    let mut full = commit(2, vec![with_segments(null_version("k", 2), &[1]).into(), tombstone("l", 3, None, false)]);
    full.ledger = vec![line(shard(1, 0), LedgerReason::NotWritten)];
    catalog.commit(full).await.unwrap();
    let released = granted(catalog, wish("k", 9)).await;
    granted(catalog, wish("k", 10)).await;
    catalog.release(&[released]).await.unwrap();
    catalog.set_value("cursor", Some("x".into())).await.unwrap();
    assert_ne!(snapshot(catalog, &[data(1)]).await, empty);

    catalog.clear().await.unwrap();
    assert_eq!(snapshot(catalog, &[data(1)]).await, empty);
    assert!(all(catalog).await.is_empty() && catalog.open_intents().await.unwrap().is_empty());
    assert_eq!(catalog.value("cursor").await.unwrap(), None);
    make_bucket(catalog).await;
    assert_eq!(granted(catalog, wish("k", 4)).await, version(4), "no id of before counts");
    catalog.close().await.unwrap();
}
