//! A proxy in the environment is for the network, not for servers of this machine.

use std::time::Duration;

use object_store::ObjectStoreExt;
use object_store::path::Path;
use rsb_backends::stores::{StoreErrorKind, build, probe};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::open::{in_environment, spec};

const SOON: Duration = Duration::from_secs(20);
/// Nothing listens on this port.
const NOWHERE: &str = "http://127.0.0.1:9";

#[tokio::test]
async fn servers_on_loopback_are_reached_without_the_proxy() {
    let name = "proxy::servers_on_loopback_are_reached_without_the_proxy";
    if !in_environment(name, &[("HTTP_PROXY", NOWHERE), ("HTTPS_PROXY", NOWHERE), ("ALL_PROXY", NOWHERE)]) {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut seen = Vec::new();
        for _ in 0..2 {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 64];
            let read = socket.read(&mut head).await.unwrap();
            seen.push(String::from_utf8_lossy(&head[..read]).into_owned());
        }
        seen
    });
    for host in ["127.0.0.1", "localhost"] {
        let endpoint = format!("http://{host}:{port}");
        let keys = [("access_key_id", "a"), ("secret_access_key", "s"), ("allow_http", "true")];
        let mut spec = spec("nas", "s3://box", &keys);
        spec.options.insert("endpoint".into(), endpoint);
        // The server closes without an answer; that it was asked is what counts.
        build(&spec).await.unwrap().head(&Path::from("x")).await.unwrap_err();
    }
    for seen in timeout(SOON, server).await.expect("each request comes here").unwrap() {
        assert!(seen.starts_with("HEAD /box/x "), "{seen}");
    }
}

#[tokio::test]
async fn a_proxy_in_the_options_is_used_for_every_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 64];
        let read = socket.read(&mut head).await.unwrap();
        String::from_utf8_lossy(&head[..read]).into_owned()
    });
    let options = [("endpoint", NOWHERE), ("allow_http", "true"), ("skip_signature", "true"), ("proxy_url", &proxy)];
    let error = probe(&spec("nas", "s3://box", &options)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unreachable, "{error}");
    let seen = timeout(SOON, server).await.expect("the request comes here").unwrap();
    assert!(seen.starts_with("GET http://127.0.0.1:9/box"));
}
