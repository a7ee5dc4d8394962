//! The S3 door where it takes time, or a gateway of its own: the rest is tested with S3's clients.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use chrono::Utc;
use rsb_gateway::{AccessKey, GatewayConfig, KeySource, Right};
use sha2::{Digest, Sha256};

use crate::support::*;

const ALL: [Right; 4] = [Right::Read, Right::Write, Right::Delete, Right::Admin];

fn with_s3(config: &mut GatewayConfig) {
    config.s3_listen = Some("127.0.0.1:0".parse().unwrap());
    config.keys = vec![key("k", "secret", &ALL, &["*"])];
}

/// The head of a request that is signed but for its body.
fn signed(server: &Server, method: &str, path: &str, id: &str, secret: &str, len: usize) -> String {
    #[allow(clippy::disallowed_methods, reason = "the gateway's clock is the system's too")]
    let stamp = Utc::now().format("%Y%m%dT%H%M%SZ").to_string();
    let (host, day, payload) = (server.s3.as_deref().unwrap(), &stamp[..8], "UNSIGNED-PAYLOAD");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{method}\n{path}\n\nhost:{host}\nx-amz-content-sha256:{payload}\nx-amz-date:{stamp}\n\n{names}\n{payload}"
    );
    let scope = format!("{day}/us-east-1/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let start = sign(format!("AWS4{secret}").as_bytes(), day);
    let key = ["us-east-1", "s3", "aws4_request"].iter().fold(start, |key, part| sign(key.as_ref(), part));
    let signature = hex::encode(sign(key.as_ref(), &text));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nx-amz-date: {stamp}\r\nx-amz-content-sha256: {payload}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\
         Content-Length: {len}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_stops_is_told_so_and_nothing_is_written() {
    let server = start_with(|config| {
        with_s3(config);
        config.limits.idle_timeout = Duration::from_millis(300);
    })
    .await;
    server.bucket("docs").await;
    let before = server.files().await;
    for (method, path) in [("PUT", "/docs/slow"), ("PUT", "/other-bucket")] {
        let mut raw = server.raw_s3().await;
        raw.write(signed(&server, method, path, "k", "secret", 100_000)).await;
        raw.write("x".repeat(10_000)).await;
        let reply = raw.reply().await.unwrap();
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 400, "{path}: {text}");
        assert!(text.contains("<Code>RequestTimeout</Code>"), "{path}: {text}");
        assert!(raw.is_closed_within(Duration::from_secs(10)).await, "{path}");
    }
    assert_eq!(server.files().await, before);
    assert!(server.keys().await.is_empty());
}

/// Keys that a test changes.
struct Changing(Mutex<Arc<Vec<AccessKey>>>);

impl KeySource for Changing {
    fn current(&self) -> Arc<Vec<AccessKey>> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_a_source_count_from_the_next_request_on() {
    let one = |secret: &str| Arc::new(vec![key("new", secret, &ALL, &["*"])]);
    let source = Arc::new(Changing(Mutex::new(Arc::default())));
    let given = source.clone();
    let server = start_with(move |config| {
        with_s3(config);
        config.key_source = Some(given);
    })
    .await;
    let mut raw = server.raw_s3().await;
    for (keys, secret, status) in [
        (Arc::default(), "a", 403),
        (one("a"), "a", 200),
        (one("b"), "a", 403),
        (one("b"), "b", 200),
        (Arc::default(), "b", 403),
    ] {
        *source.0.lock().unwrap() = keys;
        raw.write(signed(&server, "GET", "/", "new", secret, 0)).await;
        assert_eq!(raw.reply().await.unwrap().status, status, "{secret}");
    }
}
