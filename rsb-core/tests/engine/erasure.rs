//! The engine as an object store: what object_store's own suite (rsb-backends/tests/conformance) does not look at.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::*;
use rsb_core::catalog::Precondition;
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::{Engine, ErasureStore, ErrorKind, ObjectInfo};

use crate::gate::{Mark, Refusals};
use crate::support::*;

/// A block and its checksum.
const FRAME: u64 = 4096 + 32;

async fn store_on(world: &World) -> ErasureStore {
    ErasureStore::new(with_bucket(world).await, "bucket").unwrap()
}

async fn write(store: &ErasureStore, key: &str, bytes: &[u8]) -> ObjectInfo {
    let written = store.put(&Path::from(key), Bytes::copy_from_slice(bytes).into()).await.unwrap();
    written.extensions.get::<ObjectInfo>().unwrap().clone()
}

async fn read(store: &ErasureStore, key: &str) -> Result<Bytes> {
    store.get(&Path::from(key)).await?.bytes().await
}

/// Bytes that the backends have sent.
fn sent(world: &World) -> u64 {
    world.gates.iter().map(|gate| gate.asked().bytes_read.load(Ordering::SeqCst)).sum()
}

fn slices(bytes: &[u8], ranges: &[Range<u64>]) -> Vec<Bytes> {
    ranges.iter().map(|r| Bytes::copy_from_slice(&bytes[r.start as usize..r.end as usize])).collect()
}

#[tokio::test]
async fn a_range_costs_the_blocks_it_touches_and_ranges_in_one_block_cost_it_once() {
    let world = World::new(4, 2, 6);
    let store = store_on(&world).await;
    let (key, bytes) = (Path::from("a"), content(300_000, 1));
    write(&store, "a", &bytes).await;
    // Stripes of 4 × 4096 bytes in segments of 100,000: within a block, two blocks, a stripe from its middle on, two blocks
    // in two stripes, and two stripes and a half from the middle of one.
    for (range, frames) in [
        (10..11, 1),
        (4_095..4_097, 2),
        (8_192..24_576, 4),
        (16_383..16_385, 2),
        (8_192..49_152, 10),
        (99_999..100_001, 1),
    ] {
        let before = sent(&world);
        let got = store.get_range(&key, range.clone()).await.unwrap();
        assert_eq!(got, bytes[range.start as usize..range.end as usize], "{range:?}");
        let most = frames * FRAME;
        let cost = sent(&world) - before;
        // The last stripe of a segment has shorter blocks.
        assert!(cost == most || (range.start == 99_999 && cost < 2 * FRAME), "{range:?} cost {cost} bytes, not {most}");
    }
    let ranges = [50_000..50_010, 0..5, 4_000..4_200, 100..200, 50_100..50_200, 250_000..250_001];
    let before = sent(&world);
    assert_eq!(store.get_ranges(&key, &ranges).await.unwrap(), slices(&bytes, &ranges));
    assert_eq!(sent(&world) - before, 4 * FRAME);
    // The facts and the listing cost nothing.
    let before = sent(&world);
    store.head(&key).await.unwrap();
    assert_eq!(store.list(None).count().await, 1);
    assert_eq!(sent(&world), before);
}

#[tokio::test]
async fn ranges_are_right_whatever_is_lost() {
    for (k, m, backends) in [(4, 2, 6), (1, 2, 3), (3, 1, 4)] {
        let world = World::new(k, m, backends);
        let store = store_on(&world).await;
        let bytes = content(220_123, 3);
        let key = Path::from("a");
        write(&store, "a", &bytes).await;
        let mut dice = 7u64;
        let mut throw = |sides: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % sides
        };
        for lost in [vec![], vec![0]].into_iter().chain(subsets(backends, m)) {
            world.refuse(&lost, Refusals { gets: Some(""), ..Refusals::default() });
            for _ in 0..12 {
                let mut range = || {
                    let start = throw(bytes.len() as u64);
                    start..(start + 1 + throw(60_000)).min(bytes.len() as u64)
                };
                let ranges = [range(), range(), range()];
                let expected = slices(&bytes, &ranges);
                assert_eq!(store.get_ranges(&key, &ranges).await.unwrap(), expected, "{lost:?} {ranges:?}");
                assert_eq!(store.get_range(&key, ranges[0].clone()).await.unwrap(), expected[0], "{lost:?} {ranges:?}");
            }
            world.heal();
        }
    }
}

/// A range from the end of one stripe to the begin of a later one reads some shards for a part of its stripes only. Where what
/// it needs is lost at its end, those are asked for the rest.
#[tokio::test]
async fn what_is_lost_at_the_end_of_a_range_comes_from_shards_that_were_asked_for_less() {
    let world = World::new(4, 2, 6);
    let store = store_on(&world).await;
    let bytes = content(60_000, 9);
    let info = write(&store, "a", &bytes).await;
    let rsb_core::format::manifest::Body::Segments(body) = &info.manifest.body else { panic!("it is small") };
    let segment = body.views().next().unwrap();
    let at = |index: usize| world.stores.iter().position(|(name, _)| name == segment.backends[index]).unwrap();
    let path = |index: usize| rsb_core::format::paths::shard(segment.data_id, index);
    // The range ends in block 0 of stripe 2, the last but one. That block is rotten, and one parity shard is gone.
    let size = world.stores[at(0)].1.head(&path(0)).await.unwrap().size;
    world.flip(at(0), &path(0), size as usize - 5_000).await;
    world.stores[at(5)].1.delete(&path(5)).await.unwrap();
    let range = 12_288..36_000u64;
    let got = store.get_range(&Path::from("a"), range.clone()).await.unwrap();
    assert_eq!(got, bytes[range.start as usize..range.end as usize]);
}

#[tokio::test]
async fn what_is_lost_beyond_the_parity_is_an_error_that_says_what_is_missing() {
    let world = World::new(4, 2, 6);
    let store = store_on(&world).await;
    let bytes = content(50_000, 2);
    write(&store, "big", &bytes).await;
    let small = content(1000, 8);
    assert!(write(&store, "small", &small).await.is_inline());
    world.refuse(&[0, 1], Refusals { all: true, ..Refusals::default() });
    assert_eq!(read(&store, "big").await.unwrap(), bytes);
    assert_eq!(read(&store, "small").await.unwrap(), small);
    world.refuse(&[0, 1, 2], Refusals { all: true, ..Refusals::default() });
    for key in ["big", "small"] {
        let error = read(&store, key).await.unwrap_err();
        assert!(matches!(error, Error::Generic { store: "rsb", .. }), "{error}");
        let cause = ErasureStore::cause(&error).unwrap();
        assert_eq!(cause.kind(), ErrorKind::Unreadable);
        assert!(cause.about_backends().contains(&"b0".to_owned()), "{cause}");
        // All of it: a part that lies on the places that are left is still read.
        let size = store.head(&Path::from(key)).await.unwrap().size;
        let ranged = store.get_ranges(&Path::from(key), &[0..size / 2, size / 2..size]).await.unwrap_err();
        assert_eq!(ErasureStore::cause(&ranged).unwrap().kind(), ErrorKind::Unreadable);
    }
    // Nor is anything acknowledged that is not safe.
    let error = store.put(&Path::from("new"), "x".into()).await.unwrap_err();
    assert_eq!(ErasureStore::cause(&error).unwrap().kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn of_many_who_create_or_update_at_once_one_does() {
    let world = World::new(2, 1, 4);
    let store = store_on(&world).await;
    let key = Path::from("log/0001");
    for (round, mode) in [PutMode::Create, PutMode::Overwrite].into_iter().enumerate() {
        let mode = match round {
            0 => mode,
            _ => {
                let meta = store.head(&key).await.unwrap();
                PutMode::Update(UpdateVersion { e_tag: meta.e_tag, version: meta.version })
            }
        };
        let tries = (0..20).map(|i| {
            let options = PutOptions::from(mode.clone());
            store.put_opts(&key, format!("{round}-{i}").into(), options)
        });
        let outcomes = futures::future::join_all(tries).await;
        let won: Vec<usize> = (0..20).filter(|i| outcomes[*i].is_ok()).collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        for error in outcomes.into_iter().filter_map(Result::err) {
            let as_it_should_be = match round {
                0 => matches!(error, Error::AlreadyExists { .. }),
                _ => matches!(error, Error::Precondition { .. }),
            };
            assert!(as_it_should_be, "{error}");
        }
        assert_eq!(read(&store, "log/0001").await.unwrap(), format!("{round}-{}", won[0]));
    }
}

#[tokio::test]
async fn an_update_holds_to_the_tag_and_to_the_version_it_saw() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    let settings = BucketSettings { versions: Versions::KeepAll, ..BucketSettings::default() };
    engine.create_bucket("history", settings).await.unwrap();
    let store = ErasureStore::new(engine, "history").unwrap();
    let key = Path::from("a");
    let update = |e_tag: &Option<String>, version: &Option<String>| {
        let mode = PutMode::Update(UpdateVersion { e_tag: e_tag.clone(), version: version.clone() });
        store.put_opts(&key, "same".into(), mode.into())
    };
    let first = store.put(&key, "same".into()).await.unwrap();
    let second = update(&None, &first.version).await.unwrap();
    // MD5 tags of the same bytes are the same, so only the version tells the two apart.
    assert_eq!(first.e_tag, second.e_tag);
    assert_ne!(first.version, second.version);
    for (e_tag, version) in
        [(&None, &first.version), (&first.e_tag, &first.version), (&Some("\"x\"".into()), &second.version)]
    {
        let error = update(e_tag, version).await.unwrap_err();
        assert!(matches!(error, Error::Precondition { .. }), "{error}");
    }
    let bad = update(&None, &None).await.unwrap_err();
    assert_eq!(ErasureStore::cause(&bad).unwrap().kind(), ErrorKind::Invalid);
    update(&second.e_tag, &second.version).await.unwrap();
    update(&second.e_tag, &None).await.unwrap();
    // An earlier version is read by its name; one that never was is not found.
    let at = |version: &str| store.get_opts(&key, GetOptions::new().with_version(Some(version)));
    assert_eq!(at(first.version.as_deref().unwrap()).await.unwrap().bytes().await.unwrap(), "same");
    for version in ["no id", "01234567-0123-7123-8123-0123456789ab"] {
        assert!(matches!(at(version).await, Err(Error::NotFound { .. })), "{version}");
    }
    // Where only the newest is kept, no version is named.
    let other = ErasureStore::new(store.engine().clone(), "bucket").unwrap();
    assert_eq!(other.put(&key, "x".into()).await.unwrap().version, None);
}

#[tokio::test]
async fn copies_and_renames_move_no_bytes_and_lose_nothing() {
    let world = World::new(2, 1, 3);
    let store = store_on(&world).await;
    let bytes = content(150_000, 4);
    let [a, b, c] = ["a", "deep/b", "c"].map(Path::from);
    write(&store, "a", &bytes).await;
    let (shards, before) = (world.files("s").await, sent(&world));
    store.copy(&a, &b).await.unwrap();
    store.rename(&b, &c).await.unwrap();
    assert_eq!(world.files("s").await, shards);
    assert_eq!(sent(&world), before);
    assert_eq!(store.head(&c).await.unwrap().e_tag, store.head(&a).await.unwrap().e_tag);
    assert!(matches!(store.head(&b).await, Err(Error::NotFound { .. })));
    for error in
        [store.rename_if_not_exists(&a, &c).await.unwrap_err(), store.rename_if_not_exists(&a, &a).await.unwrap_err()]
    {
        assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    }
    // Onto itself it stays.
    store.rename(&a, &a).await.unwrap();
    store.copy(&c, &c).await.unwrap();
    assert_eq!(read(&store, "a").await.unwrap(), bytes);
    assert_eq!(read(&store, "c").await.unwrap(), bytes);
    // Of renames of one object at once one finds it, unless another has it taken already.
    let targets: Vec<Path> = (0..8).map(|i| Path::from(format!("to/{i}"))).collect();
    let outcomes = futures::future::join_all(targets.iter().map(|to| store.rename(&a, to))).await;
    assert!(outcomes.iter().any(Result::is_ok));
    assert!(outcomes.iter().all(|o| matches!(o, Ok(()) | Err(Error::NotFound { .. }))), "{outcomes:?}");
    assert!(matches!(store.head(&a).await, Err(Error::NotFound { .. })));
    let there: Vec<ObjectMeta> = store.list(Some(&Path::from("to"))).try_collect().await.unwrap();
    assert!(!there.is_empty());
    for meta in there {
        assert_eq!(store.get(&meta.location).await.unwrap().bytes().await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn tags_and_what_else_is_known_come_along_in_the_extensions() {
    let world = World::new(2, 1, 3);
    let store = store_on(&world).await;
    let mut tags = TagSet::default();
    tags.push("for", "the attic & more");
    let expected = BTreeMap::from([("for".to_owned(), "the attic & more".to_owned())]);
    let (key, in_parts) = (Path::from("a"), Path::from("parts"));
    let options = PutOptions { tags: tags.clone(), ..PutOptions::default() };
    store.put_opts(&key, "x".into(), options).await.unwrap();
    let mut upload = store.put_multipart_opts(&in_parts, tags.into()).await.unwrap();
    upload.put_part("x".into()).await.unwrap();
    upload.complete().await.unwrap();
    store.copy(&key, &Path::from("copy")).await.unwrap();
    for key in ["a", "parts", "copy"] {
        let found = store.get(&Path::from(key)).await.unwrap();
        assert_eq!(found.extensions.get::<ObjectInfo>().unwrap().manifest.tags, expected, "{key}");
    }
    // A write that is safe and not whole says so.
    world.refuse(&[0], Refusals { all: true, ..Refusals::default() });
    let spare = World::new(2, 2, 4);
    let store = store_on(&spare).await;
    spare.refuse(&[0], Refusals { all: true, ..Refusals::default() });
    let written = store.put(&key, "x".into()).await.unwrap();
    assert!(written.extensions.get::<ObjectInfo>().unwrap().short > 0);
}

#[tokio::test]
async fn the_extensions_of_a_read_reach_the_backends() {
    let world = World::new(4, 2, 6);
    let store = store_on(&world).await;
    write(&store, "a", &content(40_000, 1)).await;
    let marked = || world.gates.iter().map(|gate| gate.asked().marked.load(Ordering::SeqCst)).sum::<u64>();
    store.get(&Path::from("a")).await.unwrap().bytes().await.unwrap();
    assert_eq!(marked(), 0);
    let mut extensions = Extensions::new();
    extensions.insert(Mark);
    let options = GetOptions { extensions, ..GetOptions::default() };
    store.get_opts(&Path::from("a"), options).await.unwrap().bytes().await.unwrap();
    assert_eq!(marked(), 4, "a request for each of the four data shards");
}

#[tokio::test]
async fn listings_are_in_order_and_leave_out_what_no_path_names() {
    let world = World::new(2, 1, 3);
    let engine = with_bucket(&world).await;
    for key in ["b//c", "/a", "d/", "b/x", "b/y/z", "a", "e/"] {
        put(&engine, key, b"1").await.unwrap();
    }
    let store = ErasureStore::new(engine, "bucket").unwrap();
    let paths = |listed: Vec<ObjectMeta>| listed.into_iter().map(|m| m.location.to_string()).collect::<Vec<_>>();
    assert_eq!(paths(store.list(None).try_collect().await.unwrap()), ["a", "b/x", "b/y/z"]);
    let after = store.list_with_offset(None, &Path::from("b/x"));
    assert_eq!(paths(after.try_collect().await.unwrap()), ["b/y/z"]);
    let level = store.list_with_delimiter(None).await.unwrap();
    assert_eq!(paths(level.objects), ["a"]);
    assert_eq!(level.common_prefixes, ["b", "d", "e"].map(Path::from));
    // What no path can be is not there, and a token that nobody gave is refused.
    assert!(matches!(store.head(&Path::default()).await, Err(Error::NotFound { .. })));
    let options = PaginatedListOptions { page_token: Some("?".into()), ..PaginatedListOptions::default() };
    let error = store.list_paginated(None, options).await.unwrap_err();
    assert_eq!(ErasureStore::cause(&error).unwrap().kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn parts_come_in_any_order_and_none_makes_an_empty_object() {
    let world = World::new(4, 2, 6);
    let store = store_on(&world).await;
    let key = Path::from("a");
    let bytes = content(240_001, 5);
    let mut upload = store.put_multipart(&key).await.unwrap();
    let parts: Vec<UploadPart> =
        bytes.chunks(9_001).map(|part| upload.put_part(Bytes::copy_from_slice(part).into())).collect();
    futures::future::try_join_all(parts.into_iter().rev()).await.unwrap();
    let done = upload.complete().await.unwrap();
    assert_eq!(read(&store, "a").await.unwrap(), bytes);
    assert_eq!(store.head(&key).await.unwrap().e_tag, done.e_tag);
    let ranges = [8_990..9_010, 100_000..100_001, 239_999..240_001, 18_000..18_003];
    assert_eq!(store.get_ranges(&key, &ranges).await.unwrap(), slices(&bytes, &ranges));

    let options = PutMultipartOptions::from(Attributes::from_iter([(Attribute::ContentType, "text/x")]));
    store.put_multipart_opts(&Path::from("empty"), options).await.unwrap().complete().await.unwrap();
    let empty = store.get(&Path::from("empty")).await.unwrap();
    assert_eq!(empty.attributes.get(&Attribute::ContentType), Some(&"text/x".into()));
    assert_eq!(empty.bytes().await.unwrap(), "");
    // One that was begun and whose bytes never came is not left out in silence.
    let mut upload = store.put_multipart(&key).await.unwrap();
    upload.put_part("one".into()).await.unwrap();
    drop(upload.put_part("two".into()));
    let error = upload.complete().await.unwrap_err();
    assert_eq!(ErasureStore::cause(&error).unwrap().kind(), ErrorKind::Invalid);
    upload.abort().await.unwrap();
    assert_eq!(read(&store, "a").await.unwrap(), bytes);
}

#[tokio::test]
async fn what_may_not_be_deleted_is_denied_and_a_bucket_that_is_gone_is_not_found() {
    let world = World::new(2, 1, 3);
    let engine: Engine = with_bucket(&world).await;
    let store = ErasureStore::new(engine.clone(), "bucket").unwrap();
    let key = Path::from("a");
    store.put(&key, "x".into()).await.unwrap();
    world.refuse(&[0, 1, 2], Refusals { all: true, ..Refusals::default() });
    let error = store.delete(&key).await.unwrap_err();
    assert!(matches!(error, Error::Generic { .. }), "{error}");
    world.heal();
    // A stream of deletes goes on behind one that fails.
    let bad = Path::from("x".repeat(2000));
    let outcomes: Vec<Result<Path>> =
        store.delete_stream(futures::stream::iter([Ok(bad), Ok(key.clone()), Ok(key.clone())]).boxed()).collect().await;
    assert!(outcomes[0].is_err());
    assert!(outcomes[1].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
    engine.delete("bucket", "a", None, Precondition::None).await.unwrap();
    engine.delete_bucket("bucket").await.unwrap();
    assert!(matches!(store.put(&key, "x".into()).await, Err(Error::NotFound { .. })));
    assert!(matches!(store.list(None).try_collect::<Vec<_>>().await, Err(Error::NotFound { .. })));
    assert_eq!(ErasureStore::new(engine, "No Bucket").unwrap_err().kind(), ErrorKind::Invalid);
}
