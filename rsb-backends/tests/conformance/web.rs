//! A web server's folder, read-only: a small server with ranges and WebDAV's listing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, ETAG, RANGE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload};
use rsb_backends::stores::{StoreErrorKind, build, probe};
use rsb_backends::wrappers::{ErrorClass, WrapOptions, classify, wrap};
use rsb_core::testkit::backend::{check_ranges, keys, pattern, read};

use crate::open::spec;

/// What the server serves: a path below `/data/`, and its bytes.
type Files = Arc<BTreeMap<String, Bytes>>;

fn answer(files: &Files, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let Some(below) = path.strip_prefix("/data") else { return status(StatusCode::NOT_FOUND) };
    match request.method().as_str() {
        "PROPFIND" => listing(files, below.trim_matches('/'), request.headers()["depth"] == "1"),
        "GET" | "HEAD" => match files.get(below.trim_start_matches('/')) {
            Some(data) => file(data, request),
            None => status(StatusCode::NOT_FOUND),
        },
        _ => status(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn file(data: &Bytes, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let size = data.len();
    let range = request.headers().get(RANGE).and_then(|v| v.to_str().ok()?.strip_prefix("bytes=")?.split_once('-'));
    let (start, end) = match range {
        None => (0, size),
        Some(("", last)) => (size - last.parse::<usize>().unwrap().min(size), size),
        Some((first, "")) => (first.parse().unwrap(), size),
        Some((first, last)) => (first.parse().unwrap(), (last.parse::<usize>().unwrap() + 1).min(size)),
    };
    if start >= end {
        return status(StatusCode::RANGE_NOT_SATISFIABLE);
    }
    let mut response = Response::builder().header(ETAG, "\"1\"");
    if range.is_some() {
        let range = format!("bytes {start}-{}/{size}", end - 1);
        response = response.status(StatusCode::PARTIAL_CONTENT).header(CONTENT_RANGE, range);
    }
    response.body(Full::new(data.slice(start..end))).unwrap()
}

fn listing(files: &Files, folder: &str, one_level: bool) -> Response<Full<Bytes>> {
    let inside = |name: &str| match folder {
        "" => Some(name.to_owned()),
        folder => name.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned),
    };
    let collection = |name: &str| {
        let name = name.trim_matches('/');
        (format!("/data/{name}/").replace("//", "/"), "<resourcetype><collection/></resourcetype>".to_owned())
    };
    let mut entries = vec![collection(folder)];
    for (name, data) in files.iter() {
        let Some(rest) = inside(name) else { continue };
        match rest.split_once('/') {
            Some((below, _)) if one_level => entries.push(collection(&format!("{folder}/{below}"))),
            _ => {
                let size = data.len();
                entries.push((
                    format!("/data/{name}"),
                    format!("<resourcetype/><getcontentlength>{size}</getcontentlength>"),
                ));
            }
        }
    }
    entries.dedup();
    let body: String = entries
        .iter()
        .map(|(href, props)| {
            format!(
                "<response><href>{href}</href><propstat><prop><getlastmodified>Tue, 01 Jul 2025 10:00:00 GMT</getlastmodified>{props}</prop><status>HTTP/1.1 200 OK</status></propstat></response>"
            )
        })
        .collect();
    let body = format!("<?xml version=\"1.0\"?><multistatus>{body}</multistatus>");
    Response::builder().status(StatusCode::MULTI_STATUS).body(Full::new(body.into())).unwrap()
}

/// Serves `files` for as long as the test runs; gives the url of the folder.
async fn serve(files: BTreeMap<String, Bytes>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let files: Files = Arc::new(files);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let files = files.clone();
            let service = service_fn(move |request| {
                let response = answer(&files, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    format!("http://{address}/data/")
}

#[tokio::test]
async fn a_web_server_is_read_and_never_written() {
    let data = pattern(10_000);
    let files = [("s/00/x", data.clone()), ("s/01/y", pattern(5)), ("rsb.json", Bytes::from("{}"))];
    let url = serve(files.into_iter().map(|(name, data)| (name.to_owned(), data)).collect()).await;
    let spec = spec("web", url, &[]);
    probe(&spec).await.unwrap();
    let bare = build(&spec).await.unwrap();
    let wrapped = wrap("web", bare.clone(), &WrapOptions::default());
    for store in [&bare, &wrapped] {
        let key = Path::from("s/00/x");
        assert_eq!(read(&**store, "s/00/x").await, data);
        check_ranges(&**store, &key, &data, true).await;
        assert_eq!(store.head(&key).await.unwrap().size, 10_000);
        assert!(matches!(store.get(&Path::from("s/00/z")).await, Err(Error::NotFound { .. })));
        let all: Vec<String> = keys(&**store, None).await.iter().map(Path::to_string).collect();
        assert_eq!(all, ["rsb.json", "s/00/x", "s/01/y"]);
        assert_eq!(keys(&**store, Some("s/01")).await.len(), 1);
        let level = store.list_with_delimiter(Some(&Path::from("s"))).await.unwrap();
        assert_eq!(level.common_prefixes, [Path::from("s/00"), Path::from("s/01")]);

        let put = store.put(&key, PutPayload::from("1")).await.unwrap_err();
        let refusals = [
            put,
            store.delete(&key).await.unwrap_err(),
            store.put_multipart(&key).await.unwrap_err(),
            store.copy(&key, &Path::from("z")).await.unwrap_err(),
            store.rename(&key, &Path::from("z")).await.unwrap_err(),
        ];
        for error in refusals {
            assert_eq!(classify(&error), ErrorClass::Unsupported);
            assert!(error.to_string().contains("only read"), "{error}");
        }
    }
    let error = wrapped.get_ranges(&Path::from("s/01/y"), &[0..2, 8..9]).await.unwrap_err();
    assert!(!matches!(error, Error::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_web_server_that_is_not_there() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(probe(&spec("web", url, &[])).await.unwrap_err().kind(), StoreErrorKind::Unreachable);
}
