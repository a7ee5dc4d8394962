//! The conformance suite of stores that are to be backends, wrappers included: object_store's own integration functions, and
//! what the engine needs besides.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload, integration};

/// What a store can and cannot do. A backend needs none of it: the engine asks for no more than writes, reads of ranges,
/// listings and deletes. What a store says it can do is held against it.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Create-only and conditional writes are honoured.
    pub create_only: bool,
    /// Writes under a condition on the entity tag are honoured.
    pub update: bool,
    /// User metadata and content types are kept.
    pub attributes: bool,
    /// Copies are honoured.
    pub copy: bool,
    /// A range may be "the last n bytes".
    pub suffix: bool,
    /// Copies that do not overwrite are honoured.
    pub create_only_copy: bool,
    /// A listing after an offset leaves out what comes before it; where a server ignores it, only the wrapped store does.
    pub offset: bool,
    /// Of two uploads of one key the one that completes last wins.
    pub last_upload_wins: bool,
    /// Keys of any kind: an emulator that decodes its paths twice cannot.
    pub any_key: bool,
    /// Uploads in parts; left out where nothing is learnt from sending many megabytes once more.
    pub uploads: bool,
}

/// A store that can do everything.
pub const ALL: Abilities = Abilities {
    create_only: true,
    update: true,
    attributes: true,
    last_upload_wins: true,
    any_key: true,
    uploads: true,
    create_only_copy: true,
    copy: true,
    suffix: true,
    offset: true,
};

/// Runs each function on an emptied store: some leave objects behind.
macro_rules! each {
    ($store:ident, $($call:expr),* $(,)?) => { $(empty($store).await; $call.await;)* };
}

/// Everything, on a store that is empty or may be emptied.
///
/// # Panics
/// Where the store does not do what it should.
pub async fn run(store: &dyn ObjectStore, abilities: Abilities) {
    if abilities.any_key {
        each!(
            store,
            integration::list_uses_directories_correctly(store),
            integration::list_with_delimiter(store),
            big_and_strange_keys(store),
        );
    }
    if abilities.any_key && abilities.offset {
        each!(store, integration::put_get_delete_list(store));
    }
    if abilities.offset {
        each!(store, integration::list_with_offset_exclusivity(store), offsets(store));
    }
    each!(
        store,
        integration::get_opts(store),
        integration::stream_get(store),
        overwrite(store),
        ranges(store, abilities),
        listings(store),
        deletes(store),
        concurrent(store),
    );
    if abilities.uploads {
        each!(
            store,
            integration::multipart_out_of_order(store),
            integration::multipart_race_condition(store, abilities.last_upload_wins),
            uploads(store),
        );
    }
    assert!(matches!(integration::get_nonexistent_object(store, None).await, Err(Error::NotFound { .. })));
    if abilities.create_only {
        each!(store, integration::put_opts(store, abilities.update), create_only(store),);
    }
    if abilities.create_only_copy {
        each!(store, integration::copy_if_not_exists(store), integration::copy_rename_nonexistent_object(store));
    }
    if abilities.copy {
        each!(store, integration::rename_and_copy(store));
    }
    if abilities.attributes {
        each!(store, integration::put_get_attributes(store));
    }
    empty(store).await;
}

/// Deletes all that the store lists.
pub async fn empty(store: &dyn ObjectStore) {
    let all: Vec<Path> = keys(store, None).await.into_iter().collect();
    store.delete_stream(stream::iter(all).map(Ok).boxed()).try_collect::<Vec<_>>().await.unwrap();
    assert!(keys(store, None).await.is_empty());
}

/// What the store lists below a prefix.
pub async fn keys(store: &dyn ObjectStore, prefix: Option<&str>) -> BTreeSet<Path> {
    store.list(prefix.map(Path::from).as_ref()).map_ok(|meta| meta.location).try_collect().await.unwrap()
}

/// An object's bytes.
pub async fn read(store: &dyn ObjectStore, key: &str) -> Bytes {
    store.get(&Path::from(key)).await.unwrap().bytes().await.unwrap()
}

/// So many bytes that are not all the same.
pub fn pattern(length: usize) -> Bytes {
    (0..length).map(|i| (i % 251) as u8).collect::<Vec<u8>>().into()
}

async fn overwrite(store: &dyn ObjectStore) {
    let key = Path::from("over/write");
    store.put(&key, pattern(70_000).into()).await.unwrap();
    assert_eq!(read(store, "over/write").await, pattern(70_000));
    store.put(&key, "short".into()).await.unwrap();
    assert_eq!(read(store, "over/write").await, "short");
    assert_eq!(store.head(&key).await.unwrap().size, 5);
    // A payload in pieces, as shards are written.
    let pieces: PutPayload = [Bytes::from("ab"), Bytes::from("c"), Bytes::from("def")].into_iter().collect();
    store.put(&key, pieces).await.unwrap();
    assert_eq!(read(store, "over/write").await, "abcdef");
    store.put(&key, PutPayload::new()).await.unwrap();
    assert_eq!(read(store, "over/write").await, "");
}

async fn create_only(store: &dyn ObjectStore) {
    let key = Path::from("create/only");
    store.put_opts(&key, "1".into(), PutMode::Create.into()).await.unwrap();
    let error = store.put_opts(&key, "2".into(), PutMode::Create.into()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error}");
    assert_eq!(read(store, "create/only").await, "1");
}

/// Ranges of every kind; those beyond the end are cut or refused, and never give other bytes.
async fn ranges(store: &dyn ObjectStore, abilities: Abilities) {
    let (key, data) = (Path::from("ranges"), pattern(10_000));
    store.put(&key, data.clone().into()).await.unwrap();
    check_ranges(store, &key, &data, abilities.suffix).await;
}

/// Ranges of every kind, of an object that is there: those beyond the end are cut or refused, and never give other bytes.
pub async fn check_ranges(store: &dyn ObjectStore, key: &Path, data: &Bytes, suffix: bool) {
    for range in [0..1, 0..10_000, 9_999..10_000, 4_095..4_097] {
        let got = store.get_range(key, range.clone()).await.unwrap();
        assert_eq!(got, data.slice(range.start as usize..range.end as usize));
    }
    let get = |range| GetOptions { range: Some(range), ..GetOptions::default() };
    let found = store.get_opts(key, get(GetRange::Bounded(9_990..20_000))).await.unwrap();
    assert_eq!((found.range.clone(), found.meta.size), (9_990..10_000, 10_000));
    assert_eq!(found.bytes().await.unwrap(), data.slice(9_990..));
    if suffix {
        let found = store.get_opts(key, get(GetRange::Suffix(7))).await.unwrap();
        assert_eq!(found.bytes().await.unwrap(), data.slice(9_993..));
    }
    let found = store.get_opts(key, get(GetRange::Offset(9_000))).await.unwrap();
    assert_eq!(found.bytes().await.unwrap(), data.slice(9_000..));
    assert!(store.get_range(key, 10_000..10_001).await.is_err());
    assert!(store.get_range(key, 20_000..30_000).await.is_err());
    let parts = store.get_ranges(key, &[9_000..9_500, 10..20, 15..30]).await.unwrap();
    assert_eq!(parts, [data.slice(9_000..9_500), data.slice(10..20), data.slice(15..30)]);
}

/// Several ranges of an object that is too short end as an error; object_store's own way panics. For wrapped stores.
#[allow(clippy::single_range_in_vec_init, reason = "a list of ranges with one range in it is what is meant")]
pub async fn short_ranges(store: &dyn ObjectStore) {
    let key = Path::from("short");
    store.put(&key, pattern(100).into()).await.unwrap();
    for ranges in [vec![0..10, 150..200], vec![0..10, 95..200], vec![95..101], vec![500..600]] {
        let error = store.get_ranges(&key, &ranges).await.unwrap_err();
        assert!(!matches!(error, Error::NotFound { .. }), "{ranges:?}: {error}");
    }
    store.delete(&key).await.unwrap();
}

async fn listings(store: &dyn ObjectStore) {
    let all: BTreeSet<Path> =
        (0..40).map(|i| Path::from(format!("l/{:02x}/{i:03}", i % 4))).chain([Path::from("l/top")]).collect();
    for key in &all {
        store.put(key, "1".into()).await.unwrap();
    }
    assert_eq!(keys(store, None).await, all);
    assert_eq!(keys(store, Some("l/01")).await.len(), 10);
    assert!(keys(store, Some("l/0")).await.is_empty(), "a prefix is whole path segments");
    let level = store.list_with_delimiter(Some(&Path::from("l"))).await.unwrap();
    assert_eq!(level.common_prefixes.len(), 4);
    assert_eq!(level.objects.iter().map(|m| m.location.as_ref()).collect::<Vec<_>>(), ["l/top"]);
    assert!(store.list_with_delimiter(Some(&Path::from("none"))).await.unwrap().objects.is_empty());
}

async fn offsets(store: &dyn ObjectStore) {
    let all: BTreeSet<Path> = (0..40).map(|i| Path::from(format!("o/{:02x}/{i:03}", i % 4))).collect();
    for key in &all {
        store.put(key, "1".into()).await.unwrap();
    }
    for offset in ["o/02/010", "o/02", "o/", "o/03/999", "n", "p"].map(Path::from) {
        let listing = store.list_with_offset(Some(&Path::from("o")), &offset);
        let after: BTreeSet<Path> = listing.map_ok(|m| m.location).try_collect().await.unwrap();
        assert_eq!(after, all.iter().filter(|key| **key > offset).cloned().collect(), "{offset}");
    }
}

async fn deletes(store: &dyn ObjectStore) {
    let (x, missing) = (Path::from("d/x"), Path::from("d/missing"));
    store.put(&x, "1".into()).await.unwrap();
    // Deleting what is not there: success or "not found", as the store likes; never anything else.
    for key in [&missing, &x, &x] {
        let outcome = store.delete(key).await;
        assert!(matches!(outcome, Ok(()) | Err(Error::NotFound { .. })), "{outcome:?}");
    }
    assert!(matches!(store.head(&x).await, Err(Error::NotFound { .. })));
    // A missing one among others does not stop them.
    let many: Vec<Path> = (0..30).map(|i| Path::from(format!("d/{i}"))).collect();
    for key in many.iter().skip(1) {
        store.put(key, "1".into()).await.unwrap();
    }
    let outcomes: Vec<_> = store.delete_stream(stream::iter(many.clone()).map(Ok).boxed()).collect().await;
    assert_eq!(outcomes.len(), many.len());
    assert!(outcomes.iter().skip(1).all(Result::is_ok), "{outcomes:?}");
    assert!(keys(store, Some("d")).await.is_empty());
}

async fn uploads(store: &dyn ObjectStore) {
    // The least size of a part that S3 takes, but for the last one.
    const PART: usize = 5 << 20;
    let key = Path::from("u/whole");
    let mut upload = store.put_multipart(&key).await.unwrap();
    upload.put_part(pattern(PART).into()).await.unwrap();
    upload.put_part(pattern(1_000).into()).await.unwrap();
    assert!(store.head(&key).await.is_err(), "not there before it is complete");
    upload.complete().await.unwrap();
    let whole = read(store, "u/whole").await;
    assert_eq!((whole.len(), whole.slice(PART..)), (PART + 1_000, pattern(1_000)));

    let key = Path::from("u/aborted");
    let mut upload = store.put_multipart(&key).await.unwrap();
    upload.put_part(pattern(PART).into()).await.unwrap();
    upload.abort().await.unwrap();
    assert!(matches!(store.head(&key).await, Err(Error::NotFound { .. })));
}

async fn big_and_strange_keys(store: &dyn ObjectStore) {
    let long = (0..5).map(|i| format!("{i}").repeat(180)).collect::<Vec<_>>().join("/");
    for name in [long.as_str(), "k/with space + plus = equal & and ü", "k/percent % 25 %25", "k/(1)'!*~$,;:@"] {
        let key = Path::from(name);
        store.put(&key, name.to_owned().into()).await.unwrap();
        assert_eq!(store.get(&key).await.unwrap().bytes().await.unwrap(), name);
        assert!(keys(store, None).await.contains(&key), "{name}");
        store.delete(&key).await.unwrap();
    }
}

async fn concurrent(store: &dyn ObjectStore) {
    let all: BTreeSet<Path> = (0..60).map(|i| Path::from(format!("c/{i}"))).collect();
    stream::iter(&all)
        .for_each_concurrent(20, |key| async move {
            let data = Bytes::from(key.to_string().repeat(500));
            store.put(key, data.clone().into()).await.unwrap();
            assert_eq!(store.get(key).await.unwrap().bytes().await.unwrap(), data);
        })
        .await;
    assert_eq!(keys(store, Some("c")).await, all);
}
