//! A repository that a program puts together by itself: the builder of the erasure store, and its URLs.

use std::sync::Arc;

use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::registry::{DefaultObjectStoreRegistry, ObjectStoreRegistry};
use object_store::{ObjectStore, ObjectStoreExt};
use rsb_core::catalog::MemoryCatalog;
use rsb_core::erasure_store::parse_url;
use rsb_core::{ErasureStore, ErrorKind, Spread};
use url::Url;

fn memories() -> Vec<(String, Arc<dyn ObjectStore>)> {
    (0..5).map(|i| (format!("m{i}"), Arc::new(InMemory::new()) as Arc<dyn ObjectStore>)).collect()
}

fn on(stores: &[(String, Arc<dyn ObjectStore>)]) -> rsb_core::ErasureStoreBuilder {
    let builder = ErasureStore::builder().name("embedded").scheme(3, 2).bucket("data");
    stores.iter().fold(builder, |builder, (name, store)| {
        builder.backend(name.clone(), store.clone(), [("provider", name.clone())])
    })
}

#[tokio::test]
async fn a_repository_is_built_once_and_opened_again_by_what_lies_on_its_backends() {
    let stores = memories();
    let error = on(&stores).build().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("create_if_missing"), "{error}");
    let store = on(&stores).create_if_missing(true).build().await.unwrap();
    assert_eq!(store.to_string(), "ErasureStore(embedded/data)");
    store.put(&Path::from("kept"), "for ever".into()).await.unwrap();
    store.close().await.unwrap();
    // The catalog was in memory; another process has nothing but the backends.
    let again = on(&stores).catalog(Arc::new(MemoryCatalog::default())).build().await.unwrap();
    assert_eq!(again.get(&Path::from("kept")).await.unwrap().bytes().await.unwrap(), "for ever");
    let tag = again.head(&Path::from("kept")).await.unwrap().e_tag.unwrap();
    assert!(tag.ends_with("-0\""), "{tag} is unique to the write");
    again.close().await.unwrap();
    let error = on(&stores).bucket("another").build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn nothing_is_built_where_it_would_not_be_safe() {
    // Four places for five shards; two of them lost together; labels that are missing.
    let stores = memories();
    let error = on(&stores[..4]).create_if_missing(true).build().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let together = stores.iter().fold(ErasureStore::builder().scheme(3, 2), |builder, (name, store)| {
        builder.backend(name.clone(), store.clone(), [("provider", "one")])
    });
    assert_eq!(together.create_if_missing(true).build().await.unwrap_err().kind(), ErrorKind::Config);
    // Nothing was written by any of them. A place with something else in it is not taken.
    stores[3].1.put(&Path::from("somebody/elses"), "x".into()).await.unwrap();
    let error = on(&stores).create_if_missing(true).build().await.unwrap_err();
    assert!(error.message().contains("\"m3\" is not empty"), "{error}");
    for (name, store) in &stores {
        assert_eq!(store.list(None).count().await, usize::from(name == "m3"));
    }
    stores[3].1.delete(&Path::from("somebody/elses")).await.unwrap();
    let bare =
        stores.iter().fold(ErasureStore::builder().scheme(3, 2).spread(Spread::None), |builder, (name, store)| {
            builder.backend(name.clone(), store.clone(), [("", ""); 0])
        });
    bare.create_if_missing(true).build().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_url_leads_to_the_bucket_and_the_path() {
    let store = on(&memories()).create_if_missing(true).build().await.unwrap();
    store.put(&Path::from("a b/c"), "found".into()).await.unwrap();
    let url = Url::parse("rsb://data/a%20b/c").unwrap();
    let (parsed, path) = parse_url(store.engine(), &url).unwrap();
    assert_eq!(parsed.get(&path).await.unwrap().bytes().await.unwrap(), "found");
    let registry = DefaultObjectStoreRegistry::new();
    assert!(store.register(&registry).unwrap().is_none());
    // The registry keeps what is escaped in a URL as it is.
    store.put(&Path::from("b/c"), "found".into()).await.unwrap();
    let (resolved, path) = registry.resolve(&Url::parse("rsb://data/b/c").unwrap()).unwrap();
    assert_eq!(resolved.get(&path).await.unwrap().bytes().await.unwrap(), "found");
    assert!(store.register(&registry).unwrap().is_some());
    for bad in ["s3://data/x", "rsb:///x", "rsb://X/x", "rsb://data:1/x", "rsb://u@data/x", "rsb://data/x?y"] {
        let error = parse_url(store.engine(), &Url::parse(bad).unwrap()).unwrap_err();
        assert_eq!(ErasureStore::cause(&error).unwrap().kind(), ErrorKind::Invalid, "{bad}: {error}");
    }
}
