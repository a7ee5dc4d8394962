//! Health, metrics, status, the ledger, the page.

use std::sync::Arc;

use crate::support::*;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_status() {
    let server = start().await;
    assert_eq!(server.json("/health/live").await["status"], "live");
    let ready = server.json("/health/ready").await;
    assert_eq!(
        (&ready["ready"], &ready["writable"], &ready["reachable_backends"]),
        (&json!(true), &json!(true), &json!(6))
    );
    let status = server.json("/v1/status").await;
    assert_eq!((&status["repository"], &status["scheme"]["data_shards"]), (&json!("test"), &json!(K)));
    assert_eq!(server.json("/v1/backends").await["backends"].as_array().unwrap().len(), 6);
    assert_eq!(server.json("/v1/ledger").await, json!({"entries": [], "next": null}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_has_pages() {
    let server = start().await;
    server.bucket("docs").await;
    for i in 0..4 {
        server.put(&format!("/v1/b/docs/o/{i}"), content(50_000)).await;
    }
    server.wipe(2).await;
    server.job("/v1/check", "{}").await;
    let all = server.json("/v1/ledger").await;
    let all = all["entries"].as_array().unwrap();
    assert!(!all.is_empty() && all.iter().all(|e| e["backend"] == "b2"), "{all:?}");
    let (mut found, mut after) = (0, String::new());
    loop {
        let page = server.json(&format!("/v1/ledger?limit=2&after={after}")).await;
        found += page["entries"].as_array().unwrap().len();
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert_eq!(found, all.len());
    assert_eq!(server.get("/v1/ledger?after=x").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics() {
    let server = start_with(|config| config.metrics_render = Some(Arc::new(|| "process_up 1".to_owned()))).await;
    let reply = server.get("/metrics").await;
    assert!(reply.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = reply.text().await.unwrap();
    for line in [
        "process_up 1",
        "rsb_backend_up{backend=\"b0\"} 1",
        "rsb_backend_breaker{backend=\"b0\",side=\"write\"} 0",
        "rsb_backend_hedge_seconds{backend=\"b0\"} 0.5",
        "rsb_read_only 0",
        "rsb_ledger_entries 0",
        "rsb_jobs_running 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nothing_from_elsewhere() {
    let server = start().await;
    let reply = server.get("/").await;
    assert_eq!(reply.headers()["content-type"], "text/html; charset=utf-8");
    assert!(reply.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let page = reply.text().await.unwrap();
    for foreign in ["http://", "https://", "//cdn", "src=\"/"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // What it asks for is there.
    for path in ["/v1/status", "/health/ready", "/v1/ledger?limit=50", "/v1/jobs", "/v1/b"] {
        assert!(page.contains(path), "{path}");
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
}
