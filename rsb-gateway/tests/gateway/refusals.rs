//! Bad input on the native API: each with its status, a problem document, and nothing written.

use crate::support::*;
use serde_json::Value;

/// (method, path, headers, body, status)
type Case = (&'static str, String, Vec<(&'static str, String)>, Vec<u8>, u16);

fn case(method: &'static str, path: impl Into<String>, status: u16) -> Case {
    (method, path.into(), Vec::new(), b"x".to_vec(), status)
}

fn with(method: &'static str, path: &str, name: &'static str, value: &str, status: u16) -> Case {
    (method, path.into(), vec![(name, value.into())], b"x".to_vec(), status)
}

fn body(method: &'static str, path: &str, body: &str, status: u16) -> Case {
    (method, path.into(), Vec::new(), body.into(), status)
}

fn names() -> Vec<Case> {
    let o = "/v1/b/docs/o";
    vec![
        case("PUT", format!("{o}/%00"), 400),
        case("PUT", format!("{o}/a%00b"), 400),
        case("PUT", format!("{o}/%ff"), 400),
        case("PUT", format!("{o}/a%C3"), 400),
        case("PUT", format!("{o}/%zz"), 400),
        case("PUT", format!("{o}/%"), 400),
        case("PUT", format!("{o}/a%2"), 400),
        case("PUT", format!("{o}/a%2F..%2Fb"), 400),
        case("PUT", format!("{o}/%2E%2E%2Fb"), 400),
        case("PUT", format!("{o}/{}", "k".repeat(1025)), 400),
        case("PUT", format!("{o}/{}", "%C3%A9".repeat(513)), 400),
        case("PUT", format!("{o}/{}", "k".repeat(17_000)), 414),
        case("PUT", format!("{o}/"), 400),
        case("GET", format!("{o}/"), 400),
        case("GET", format!("{o}/%ff"), 400),
        case("DELETE", format!("{o}/%00"), 400),
        case("PUT", "/v1/b/none/o/x", 404),
        case("GET", "/v1/b/none/o/x", 404),
        case("GET", format!("{o}/none"), 404),
        case("DELETE", format!("{o}/none"), 404),
        body("PUT", "/v1/b/ab", "", 400),
        body("PUT", "/v1/b/UPPER", "", 400),
        body("PUT", "/v1/b/a_b", "", 400),
        body("PUT", "/v1/b/-ab", "", 400),
        body("PUT", "/v1/b/a..b", "", 400),
        body("PUT", "/v1/b/1.2.3.4", "", 400),
        body("PUT", "/v1/b/%ff%ff%ff", "", 400),
        body("PUT", &format!("/v1/b/{}", "b".repeat(64)), "", 400),
    ]
}

fn values() -> Vec<Case> {
    let o = "/v1/b/docs/o";
    let x = "/v1/b/docs/o/x";
    vec![
        case("PUT", format!("{x}?data_shards=0"), 400),
        case("PUT", format!("{x}?data_shards=many"), 400),
        case("PUT", format!("{x}?data_shards=-1"), 400),
        case("PUT", format!("{x}?parity_shards=4"), 400),
        case("PUT", format!("{x}?parity_shards=254"), 400),
        case("PUT", format!("{x}?data_shards=99999999999999999999"), 400),
        case("PUT", format!("{x}?data_shard=2"), 400),
        case("PUT", format!("{x}?data_shards=2&data_shards=3"), 400),
        with("PUT", x, "content-md5", "nonsense", 400),
        with("PUT", x, "content-md5", "AAAA", 400),
        with("PUT", x, "digest", "sha-256=AAAA", 400),
        with("PUT", x, "content-range", "bytes 0-0/1", 400),
        with("PUT", x, "if-none-match", "\"tag\"", 400),
        with("PUT", x, "x-rsb-copy-source", "docs", 400),
        with("PUT", x, "x-rsb-copy-source", "docs/none", 404),
        with("PUT", x, "x-rsb-meta-", "nameless", 400),
        with("PUT", x, "x-rsb-meta-big", &"v".repeat(9_000), 400),
        case("GET", format!("{x}?version=1"), 400),
        case("GET", format!("{x}?verson=1"), 400),
        case("GET", format!("{o}?limit=0"), 400),
        case("GET", format!("{o}?limit=10001"), 400),
        case("GET", format!("{o}?limit=ten"), 400),
        case("GET", format!("{o}?versions=maybe"), 400),
        case("GET", format!("{o}?prefix=%ff"), 400),
        case("GET", format!("{o}?after=..%2Fnonsense"), 400),
        case("GET", "/v1/plan", 400),
        case("GET", "/v1/plan?verb=dance", 400),
        case("GET", "/v1/plan?verb=repair&depth=deep", 400),
        case("GET", "/v1/plan?verb=repair&bucket=none", 404),
        case("GET", "/v1/ledger?limit=0", 400),
        case("GET", "/v1/status?x=1", 400),
        body("PUT", "/v1/b/fresh", "{", 400),
        body("PUT", "/v1/b/fresh", r#"{"versions":"some"}"#, 400),
        body("PUT", "/v1/b/fresh", r#"{"version":"keep-all"}"#, 400),
        body("PUT", "/v1/b/fresh", &" ".repeat(70_000), 413),
        body("POST", "/v1/check", "nonsense", 400),
        body("POST", "/v1/check", r#"{"depth":"deep"}"#, 400),
        body("POST", "/v1/check", r#"{"buckets":"docs"}"#, 400),
        body("POST", "/v1/check", r#"{"bucket":"none"}"#, 404),
        body("POST", "/v1/repair", r#"{"dry_run":"yes"}"#, 400),
        body("POST", "/v1/sweep", r#"[1]"#, 400),
        body("POST", "/v1/catalog/rebuild", r#"{"force":true}"#, 400),
    ]
}

fn routes() -> Vec<Case> {
    vec![
        case("PATCH", "/v1/b/docs/o/x", 405),
        case("POST", "/v1/b/docs/o/x", 405),
        case("POST", "/v1/b/docs/o", 405),
        case("DELETE", "/v1/b", 405),
        case("GET", "/v1/check", 405),
        case("PUT", "/v1/jobs", 405),
        case("POST", "/health/live", 405),
        case("POST", "/", 405),
        case("GET", "/v1", 404),
        case("GET", "/v1/none", 404),
        case("GET", "/v2/b", 404),
        case("GET", "/etc/passwd", 404),
        case("GET", "/v1/jobs/x/y/z", 404),
        case("GET", "/favicon.ico", 404),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_has_its_status_a_sentence_and_no_effect() {
    let server = start().await;
    server.bucket("docs").await;
    server.put("/v1/b/docs/o/there", content(100)).await;
    let before = (server.files().await, server.keys().await);
    let cases: Vec<Case> = names().into_iter().chain(values()).chain(routes()).collect();
    assert!(cases.len() > 80);
    for (method, path, headers, body, status) in cases {
        let mut request = server.request(method, &path);
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        let reply = request.body(body).send().await.unwrap();
        let shown = format!("{method} {} {headers:?}", path.get(..80).unwrap_or(&path));
        assert_eq!(reply.status(), status, "{shown}: {}", reply.text().await.unwrap());
        let id = reply.headers()["x-request-id"].to_str().unwrap().to_owned();
        assert_eq!(reply.headers()["content-type"], "application/problem+json", "{shown}");
        if status == 405 {
            assert!(reply.headers().contains_key("allow"), "{shown}");
        }
        let problem: Value = reply.json().await.unwrap();
        assert_eq!((&problem["status"], &problem["request_id"]), (&status.into(), &id.into()), "{shown}: {problem}");
        assert!(problem["type"].as_str().unwrap().starts_with("urn:rsbackup:error:"), "{shown}: {problem}");
        assert!(problem["detail"].as_str().unwrap().len() > 10, "{shown}: {problem}");
        assert_eq!((server.files().await, server.keys().await), before, "{shown} had an effect");
    }
}
