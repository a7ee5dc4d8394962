//! Who may do what.

use crate::support::*;
use rsb_gateway::{Auth, GatewayConfig, PrototypeMode, Right};

fn keys(config: &mut GatewayConfig) {
    config.auth = Auth::Required;
    config.prototype = PrototypeMode::Auth;
    let all = [Right::Read, Right::Write, Right::Delete, Right::Admin];
    config.keys = vec![
        key("root", "r00t", &all, &["*"]),
        key("reader", "s1", &[Right::Read], &["docs-*"]),
        key("writer", "s2", &[Right::Write], &["docs-*", "rsbackup"]),
        key("eraser", "s3", &[Right::Delete], &["docs-a"]),
        key("keeper", "s4", &[Right::Admin], &["docs-*"]),
    ];
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_opens_its_own() {
    let server = start_with(keys).await;
    let ask = async |who: &str, method: &str, path: &str, body: &'static str| {
        let mut request = server.request(method, path).body(body);
        if let Some((id, secret)) = who.split_once(':') {
            request = request.basic_auth(id, Some(secret));
        }
        request.send().await.unwrap().status().as_u16()
    };
    for bucket in ["docs-a", "docs-b", "photos"] {
        assert_eq!(ask("root:r00t", "PUT", &format!("/v1/b/{bucket}"), "").await, 201);
        assert_eq!(ask("root:r00t", "PUT", &format!("/v1/b/{bucket}/o/x"), "x").await, 201);
    }
    let (reader, writer, eraser, keeper) = ("reader:s1", "writer:s2", "eraser:s3", "keeper:s4");
    for (who, method, path, body, status) in [
        ("", "GET", "/v1/b/docs-a/o/x", "", 401),
        ("root:wrong", "GET", "/v1/b/docs-a/o/x", "", 401),
        ("nobody:r00t", "GET", "/v1/b/docs-a/o/x", "", 401),
        (reader, "GET", "/v1/b/docs-a/o/x", "", 200),
        (reader, "HEAD", "/v1/b/docs-a/o/x", "", 200),
        (reader, "GET", "/v1/b/photos/o/x", "", 403),
        (reader, "GET", "/v1/b/docs-a/o", "", 200),
        (reader, "GET", "/v1/b/photos/o", "", 403),
        (reader, "GET", "/v1/b/docs-a", "", 200),
        (reader, "PUT", "/v1/b/docs-a/o/y", "x", 403),
        (reader, "DELETE", "/v1/b/docs-a/o/x", "", 403),
        (reader, "PUT", "/v1/b/docs-c", "", 403),
        (reader, "POST", "/v1/check", r#"{"bucket":"docs-a"}"#, 202),
        (reader, "POST", "/v1/check", "{}", 403),
        (reader, "POST", "/v1/repair", r#"{"bucket":"docs-a"}"#, 403),
        (reader, "GET", "/v1/plan?verb=repair&bucket=docs-a", "", 200),
        (reader, "GET", "/v1/plan?verb=repair", "", 403),
        (reader, "GET", "/v1/status", "", 200),
        (reader, "GET", "/v1/ledger", "", 200),
        (writer, "PUT", "/v1/b/docs-b/o/y", "x", 201),
        (writer, "PUT", "/v1/b/photos/o/y", "x", 403),
        (writer, "GET", "/v1/b/docs-b/o/y", "", 403),
        (writer, "POST", "/v1/repair", r#"{"bucket":"docs-b"}"#, 202),
        (eraser, "DELETE", "/v1/b/docs-b/o/x", "", 403),
        (eraser, "DELETE", "/v1/b/docs-a/o/x", "", 200),
        (keeper, "PUT", "/v1/b/docs-c", "", 201),
        (keeper, "DELETE", "/v1/b/docs-c", "", 204),
        (keeper, "PUT", "/v1/b/photos", "", 403),
        (keeper, "POST", "/v1/sweep", "{}", 403),
        (keeper, "POST", "/v1/catalog/rebuild", "{}", 403),
        ("root:r00t", "POST", "/v1/sweep", "{}", 202),
        ("", "GET", "/health/live", "", 200),
        ("", "GET", "/health/ready", "", 200),
        ("", "GET", "/v1/openapi.json", "", 200),
        ("", "GET", "/metrics", "", 401),
        ("", "GET", "/", "", 401),
        ("", "GET", "/v1/status", "", 401),
        ("", "GET", "/v1/jobs", "", 401),
        ("", "GET", "/list_data", "", 401),
        ("", "POST", "/submit_data", "", 401),
        (writer, "GET", "/list_data", "", 403),
        ("root:r00t", "GET", "/list_data", "", 200),
    ] {
        assert_eq!(ask(who, method, path, body).await, status, "{who} {method} {path}");
    }
    let refused = server.get("/v1/status").await;
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    let text = refused.text().await.unwrap();
    assert!(!text.contains("r00t"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_each_key_its_own() {
    let server = start_with(keys).await;
    for bucket in ["docs-a", "photos"] {
        let made =
            server.request("PUT", &format!("/v1/b/{bucket}")).basic_auth("root", Some("r00t")).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    let started = server.request("POST", "/v1/check").basic_auth("root", Some("r00t")).send().await.unwrap();
    let job: serde_json::Value = started.json().await.unwrap();
    let seen = async |path: &str, list: &str| {
        let reply = server.request("GET", path).basic_auth("reader", Some("s1")).send().await.unwrap();
        reply.json::<serde_json::Value>().await.unwrap()[list].as_array().unwrap().len()
    };
    assert_eq!(seen("/v1/b", "buckets").await, 1);
    assert_eq!(seen("/v1/jobs", "jobs").await, 0, "a check of everything is not a reader's of docs-*");
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let hidden = server.request("GET", &path).basic_auth("reader", Some("s1")).send().await.unwrap();
    assert_eq!(hidden.status(), 404);
    // Copying needs the right to read its source.
    let copy = server
        .request("PUT", "/v1/b/docs-a/o/stolen")
        .basic_auth("writer", Some("s2"))
        .header("x-rsb-copy-source", "photos/x")
        .send()
        .await
        .unwrap();
    assert_eq!(copy.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_gateway_serves_this_machine_and_not_web_pages() {
    let server = start().await;
    assert_eq!(server.get("/v1/status").await.status(), 200);
    for (name, value) in
        [("origin", "https://evil.example"), ("host", "evil.example"), ("sec-fetch-site", "cross-site")]
    {
        for path in ["/v1/status", "/list_data"] {
            let reply = server.request("GET", path).header(name, value).send().await.unwrap();
            assert_eq!(reply.status(), 403, "{name} {path}");
        }
    }
    let wrong = server.request("GET", "/v1/status").basic_auth("a", Some("b")).send().await.unwrap();
    assert_eq!(wrong.status(), 401, "credentials that are given are held to");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prototype_can_be_open_where_the_rest_is_not() {
    let server = start_with(|config| {
        keys(config);
        config.prototype = PrototypeMode::Open;
    })
    .await;
    assert_eq!(server.get("/list_data").await.status(), 200);
    assert_eq!(server.get("/v1/b").await.status(), 401);
    let server = start_with(|config| config.auth = Auth::Off).await;
    assert_eq!(server.get("/v1/b").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_configuration_is_not_served() {
    let server = start().await;
    let config = GatewayConfig::new("0.0.0.0:0".parse().unwrap());
    let error = rsb_gateway::bind(server.engine.clone(), config).await.unwrap_err();
    assert!(error.to_string().contains("no keys"), "{error}");
    let taken = GatewayConfig::new(server.address);
    let error = rsb_gateway::bind(server.engine.clone(), taken).await.unwrap_err();
    assert!(error.to_string().contains(&server.address.to_string()), "{error}");
}
