//! The document and the routes say the same.

use std::collections::BTreeSet;

use crate::support::*;
use serde_json::Value;

const METHODS: [&str; 7] = ["get", "head", "put", "post", "delete", "patch", "options"];

#[tokio::test(flavor = "multi_thread")]
async fn every_path_is_served_with_its_methods_and_no_others() {
    let server = start().await;
    let document = server.json("/v1/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 20);
    for (path, item) in paths {
        // Names that do not exist: a route answers 404 with another type than the router's, or something else.
        let concrete = path
            .replace("{bucket}", "nothing-here")
            .replace("{key}", "nothing")
            .replace("{id}", "nothing")
            .replace("{name}", "nothing");
        let known: BTreeSet<&str> = METHODS.into_iter().filter(|m| item.get(m).is_some()).collect();
        assert!(!known.is_empty(), "{path}");
        for method in METHODS {
            let reply = server.send(&method.to_uppercase(), &concrete).await;
            let status = reply.status().as_u16();
            let allow = reply.headers().get("allow").map(|a| a.to_str().unwrap().to_ascii_lowercase());
            // A stream of events has no end to wait for.
            let endless = reply.headers().get("content-type").is_some_and(|t| t == "text/event-stream");
            let text = if endless { String::new() } else { reply.text().await.unwrap() };
            assert!(status != 404 || !text.contains("no-such-path"), "{method} {path} is not routed: {text}");
            // Where GET is served HEAD may be too, although the document has no use for it.
            if known.contains(method) {
                assert_ne!(status, 405, "{method} {path}: {text}");
            } else if status == 405 {
                let allow: BTreeSet<String> = allow.unwrap().split(", ").map(str::to_owned).collect();
                assert!(known.iter().all(|m| allow.contains(*m)), "{path}: {allow:?}");
                assert!(allow.iter().all(|m| known.contains(m.as_str()) || m == "head"), "{path}: {allow:?}");
            } else {
                assert_eq!(method, "head", "{method} {path} is served and not in the document");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_references_lead_somewhere() {
    let server = start().await;
    let document = server.json("/v1/openapi.json").await;
    fn walk(value: &Value, document: &Value, seen: &mut usize) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                    *seen += 1;
                }
                map.values().for_each(|value| walk(value, document, seen));
            }
            Value::Array(list) => list.iter().for_each(|value| walk(value, document, seen)),
            _ => {}
        }
    }
    let mut seen = 0;
    walk(&document, &document, &mut seen);
    assert!(seen > 40);
    let ids: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| METHODS.iter().filter_map(|m| item[*m]["operationId"].as_str()))
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "operation ids are unique");
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_have_the_fields_the_document_requires() {
    let server = start().await;
    let document = server.json("/v1/openapi.json").await;
    server.bucket("docs").await;
    let object = server.put("/v1/b/docs/o/x", "x").await;
    let job = server.job("/v1/check", "").await;
    let problem = server.get("/v1/b/none").await.json::<Value>().await.unwrap();
    for (schema, value) in [
        ("Object", object),
        ("Job", job.clone()),
        ("Progress", job["progress"].clone()),
        ("Jobs", server.json("/v1/jobs").await),
        ("Buckets", server.json("/v1/b").await),
        ("Bucket", server.json("/v1/b/docs").await),
        ("Listing", server.json("/v1/b/docs/o").await),
        ("Listed", server.json("/v1/b/docs/o").await["objects"][0].clone()),
        ("Status", server.json("/v1/status").await),
        ("Upkeep", server.json("/v1/status").await["upkeep"].clone()),
        ("Backends", server.json("/v1/backends").await),
        ("Backend", server.json("/v1/backends").await["backends"][0].clone()),
        ("Ledger", server.json("/v1/ledger").await),
        ("RepairPlan", server.json("/v1/plan?verb=repair").await),
        ("Live", server.json("/health/live").await),
        ("Readiness", server.json("/health/ready").await),
        ("Deleted", server.send("DELETE", "/v1/b/docs/o/x").await.json().await.unwrap()),
        ("Problem", problem),
    ] {
        let described = &document["components"]["schemas"][schema];
        let properties = described["properties"].as_object().unwrap();
        for name in described["required"].as_array().unwrap() {
            assert!(value.get(name.as_str().unwrap()).is_some(), "{schema} has no {name}: {value}");
        }
        for name in value.as_object().unwrap().keys() {
            assert!(properties.contains_key(name), "{schema}.{name} is not in the document");
        }
    }
}
