//! Connections: what comes slowly, wrongly or not at all; TLS; the end.

use std::time::Duration;

use crate::support::*;
use rsb_gateway::{Secret, Tls};

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_on_after_errors() {
    let server = start().await;
    server.bucket("docs").await;
    let mut raw = server.raw().await;
    for _ in 0..3 {
        raw.write("GET /v1/b/none HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.reply().await.unwrap().status, 404);
        // Refused before its body is read, which is then drained.
        raw.write(format!(
            "PUT /v1/b/none/o/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n{}",
            "x".repeat(300_000)
        ))
        .await;
        assert_eq!(raw.reply().await.unwrap().status, 404);
        raw.write(
            "PUT /v1/b/docs/o/x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        )
        .await;
        assert_eq!(raw.reply().await.unwrap().status, 201);
        raw.write("GET /v1/b/docs/o/x HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(raw.reply().await.unwrap().body, b"abc");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leave_to_send_is_given_only_to_what_will_be_taken() {
    let server = start().await;
    server.bucket("docs").await;
    server.put("/v1/b/docs/o/there", "x").await;
    for (path, extra, status) in [
        ("/v1/b/none/o/x", "", 404),
        ("/v1/b/docs/o/there", "If-None-Match: *\r\n", 412),
        ("/v1/b/docs/o/x?data_shards=0", "", 400),
        ("/v1/b/docs/o/x?parity_shards=9", "", 400),
        ("/v1/b/docs/o/%ff", "", 400),
        ("/v1/b/docs/o/x", "Authorization: Basic bm86bm8=\r\n", 401),
        ("/v1/b/docs/o/x", "Content-MD5: no\r\n", 400),
    ] {
        let mut raw = server.raw().await;
        raw.write(format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{extra}Content-Length: 5\r\n\r\n"
        ))
        .await;
        assert_eq!(raw.reply().await.unwrap().status, status, "{path}");
    }
    let mut raw = server.raw().await;
    raw.write("PUT /v1/b/docs/o/x HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert_eq!(raw.reply().await.unwrap().status, 100);
    raw.write("hello").await;
    assert_eq!(raw.reply().await.unwrap().status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_short_writes_nothing() {
    let server = start().await;
    server.bucket("docs").await;
    let before = server.files().await;
    for (head, body) in [
        ("Content-Length: 10", "half".to_owned()),
        ("Content-Length: 3000000", "x".repeat(2_500_000)),
        ("Transfer-Encoding: chunked", "5\r\nab".to_owned()),
        ("Transfer-Encoding: chunked", "zz\r\nab\r\n".to_owned()),
        ("Transfer-Encoding: chunked", "2\r\nab\r\n".to_owned()),
    ] {
        let mut raw = server.raw().await;
        raw.write(format!("PUT /v1/b/docs/o/cut HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{body}")).await;
        drop(raw);
    }
    let mut raw = server.raw().await;
    raw.write(
        "PUT /v1/b/docs/o/cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    )
    .await;
    assert_eq!(raw.reply().await.unwrap().status, 400);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(server.get("/v1/b/docs/o/cut").await.status(), 404);
    let left: Vec<String> = server.files().await.difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_is_drained_within_bounds() {
    let server = start_with(|config| config.limits.drain_bytes = 1 << 20).await;
    use tokio::io::AsyncWriteExt;
    // One that says at once that it is too long is not taken; one of unknown length is cut when it has become so.
    for head in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
        let mut raw = server.raw().await;
        raw.write(format!("PUT /v1/b/none/o/x HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n")).await;
        assert_eq!(raw.reply().await.unwrap().status, 404, "{head}");
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 65536], b"\r\n"].concat();
        let flood = async {
            let mut sent = 0;
            while raw.stream.write_all(&chunk).await.is_ok() {
                sent += chunk.len();
                assert!(sent < 200 << 20, "{head}: it is never cut");
            }
        };
        tokio::time::timeout(Duration::from_secs(20), flood).await.expect("neither taken nor cut");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_end_the_connection() {
    let server = start().await;
    for bad in [
        "nonsense\r\n\r\n".to_owned(),
        "GET /v1/b HTTP/9.9\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /v1/b HTTP/1.1\r\nHost localhost\r\n\r\n".to_owned(),
        format!("GET /v1/b HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(300_000)),
        format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(300_000)),
    ] {
        let mut raw = server.raw().await;
        use tokio::io::AsyncWriteExt;
        let _ = raw.stream.write_all(bad.as_bytes()).await;
        if let Some(reply) = raw.reply().await {
            assert!((400..=505).contains(&reply.status), "{reply:?}");
        }
        assert!(raw.is_closed_within(Duration::from_secs(5)).await, "{}", &bad[..20.min(bad.len())]);
    }
    assert_eq!(server.get("/health/live").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slow_are_cut() {
    let server = start_with(|config| {
        config.limits.header_timeout = Duration::from_millis(300);
        config.limits.idle_timeout = Duration::from_millis(300);
    })
    .await;
    server.bucket("docs").await;
    let limit = Duration::from_secs(5);
    let mut silent = server.raw().await;
    assert!(silent.is_closed_within(limit).await, "one that says nothing");
    let mut half = server.raw().await;
    half.write("GET /v1/b HT").await;
    assert!(half.is_closed_within(limit).await, "one that stops in the head");
    let mut body = server.raw().await;
    body.write("PUT /v1/b/docs/o/slow HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc").await;
    let reply = body.reply().await.unwrap();
    assert_eq!(reply.status, 400, "{reply:?}");
    assert!(String::from_utf8_lossy(&reply.body).contains("sent nothing"), "{reply:?}");
    assert!(body.is_closed_within(limit).await, "one that stops in the body");
    assert_eq!(server.get("/v1/b/docs/o/slow").await.status(), 404);
    // One that asks for much and takes nothing: its connection is cut, so the reply never ends whole.
    let big = content(64 << 20);
    server.put("/v1/b/docs/o/big", big.clone()).await;
    let mut lazy = server.raw().await;
    lazy.write("GET /v1/b/docs/o/big HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(lazy.reply().await.is_none_or(|reply| reply.body.len() < big.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids() {
    let server = start().await;
    let given = server.request("GET", "/v1/b/none").header("x-request-id", "job-7.a_B").send().await.unwrap();
    assert_eq!(given.headers()["x-request-id"], "job-7.a_B");
    assert_eq!(given.json::<serde_json::Value>().await.unwrap()["request_id"], "job-7.a_B");
    for odd in ["a b", "x\"y", &"x".repeat(65)] {
        let reply = server.request("GET", "/health/live").header("x-request-id", odd).send().await.unwrap();
        assert_ne!(reply.headers()["x-request-id"], odd);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_a_certificate_of_its_own() {
    let server = start_with(|config| config.tls = Some(Tls::SelfSigned { names: vec!["gw.example".into()] })).await;
    assert!(server.url("").starts_with("https://"));
    server.bucket("docs").await;
    let body = content(500_000);
    server.put("/v1/b/docs/o/x", body.clone()).await;
    let reply = server.get("/v1/b/docs/o/x").await;
    assert_eq!(reply.version(), reqwest::Version::HTTP_2, "by ALPN");
    assert_eq!(reply.bytes().await.unwrap(), body);
    let refused = server.request("PUT", "/v1/b/none/o/x").body(body).send().await.unwrap();
    assert_eq!(refused.status(), 404);
    // HTTP/1.1 for those who want it, and strangers do not trust it.
    let pem = reqwest::Certificate::from_pem(server.certificate.as_ref().unwrap().as_bytes()).unwrap();
    let old = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([pem]).build().unwrap();
    let reply = old.get(server.url("/health/live")).send().await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.version()), (200, reqwest::Version::HTTP_11));
    let mut plain = server.raw().await;
    plain.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(plain.is_closed_within(Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_said_so() {
    let server = start().await;
    for (certificate, key, says) in [("", "", "no CERTIFICATE"), ("junk", "junk", "no CERTIFICATE")] {
        let mut config = rsb_gateway::GatewayConfig::new("127.0.0.1:0".parse().unwrap());
        config.tls = Some(Tls::Pem { certificate: certificate.into(), key: Secret::new(key) });
        let error = rsb_gateway::bind(server.engine.clone(), config).await.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_shutdown_what_is_in_flight_finishes() {
    let mut server = start().await;
    server.bucket("docs").await;
    let mut upload = server.raw().await;
    upload.write("PUT /v1/b/docs/o/late HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello").await;
    let mut idle = server.raw().await;
    idle.write("GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.reply().await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let engine = server.engine.clone();
    let finish = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        upload.write("world").await;
        upload.reply().await.unwrap().status
    };
    let (status, ()) = tokio::join!(finish, server.stop());
    assert_eq!(status, 201);
    assert!(idle.is_closed_within(Duration::from_secs(5)).await);
    assert_eq!(engine.head("docs", "late", None).await.unwrap().size(), 10);
    assert!(tokio::net::TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_shutdown_what_does_not_finish_is_cut() {
    let mut server = start_with(|config| config.limits.shutdown_grace = Duration::from_millis(300)).await;
    server.bucket("docs").await;
    let mut upload = server.raw().await;
    upload.write("PUT /v1/b/docs/o/never HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhello").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = tokio::time::Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(server.engine.head("docs", "never", None).await.is_err());
}

/// What began to be sent is sent to its end, although another object has taken its place.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_its_ranges_are_sent() {
    let server = start().await;
    server.bucket("docs").await;
    let body = content(20 << 20);
    server.put("/v1/b/docs/o/x", body.clone()).await;
    // The first range is more than connections take in ahead of their readers.
    let ranged = server.request("GET", "/v1/b/docs/o/x").header("range", "bytes=0-19000000,20000000-20000999");
    let reply = ranged.send().await.unwrap();
    assert_eq!(reply.status(), 206);
    server.put("/v1/b/docs/o/x", content(10)).await;
    let got = reply.bytes().await.unwrap();
    let last = &body[20_000_000..20_001_000];
    assert!(got.windows(last.len()).rev().any(|window| window == last));
}
