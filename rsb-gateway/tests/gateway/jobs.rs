//! Jobs: check, repair, drill, sweep, the catalog; their events and their end.

use crate::support::*;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn check_repair_check() {
    let server = start().await;
    server.bucket("docs").await;
    for i in 0..5 {
        server.put(&format!("/v1/b/docs/o/p/{i}"), content(100_000 * i)).await;
    }
    let healthy = server.job("/v1/check", r#"{"bucket":"docs","depth":"full"}"#).await;
    assert_eq!((&healthy["state"], &healthy["kind"]), (&json!("done"), &json!("check")));
    assert_eq!((&healthy["result"]["objects"], &healthy["result"]["whole"]), (&json!(5), &json!(5)), "{healthy}");
    server.wipe(0).await;
    server.wipe(1).await;
    let sick = server.job("/v1/check", r#"{"bucket":"docs","prefix":"p/"}"#).await;
    assert!(sick["result"]["degraded"].as_u64().unwrap() > 0, "{sick}");
    let plan = server.json("/v1/plan?verb=repair&bucket=docs&depth=full").await;
    assert!(!plan["items"].as_array().unwrap().is_empty(), "{plan}");
    let dry = server.job("/v1/repair", r#"{"bucket":"docs","depth":"full","dry_run":true}"#).await;
    assert_eq!(dry["result"]["write_bytes"], plan["write_bytes"]);
    let still = server.job("/v1/check", r#"{"bucket":"docs"}"#).await;
    assert_eq!(still["result"]["degraded"], sick["result"]["degraded"], "a plan changes nothing");
    let repaired = server.job("/v1/repair", r#"{"depth":"full"}"#).await;
    assert_eq!(repaired["result"]["failed"], json!([]), "{repaired}");
    let whole = server.job("/v1/check", r#"{"bucket":"docs","depth":"full"}"#).await;
    assert_eq!((&whole["result"]["whole"], &whole["result"]["least_margin"]), (&json!(5), &json!(M)), "{whole}");
    let listed = server.json("/v1/jobs").await;
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 6);
    assert_eq!(listed["jobs"][0]["id"], whole["id"], "newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_verbs() {
    let server = start().await;
    server.bucket("docs").await;
    server.put("/v1/b/docs/o/x", content(200_000)).await;
    let drill = server.job("/v1/drill", "").await;
    assert_eq!(drill["result"]["domains"].as_array().unwrap().len(), 6, "{drill}");
    assert!(drill["result"]["domains"].as_array().unwrap().iter().all(|d| d["unreadable"] == json!([])));
    let one = server.job("/v1/drill", r#"{"domain":"provider=p1"}"#).await;
    assert_eq!(one["result"]["domains"].as_array().unwrap().len(), 1, "{one}");
    let sweep = server.job("/v1/sweep", r#"{"dry_run":true}"#).await;
    assert_eq!(sweep["result"]["shards_removed"], 0, "{sweep}");
    let verify = server.job("/v1/catalog/verify", "{}").await;
    assert_eq!(verify["result"]["differences"], json!([]), "{verify}");
    let rebuild = server.job("/v1/catalog/rebuild", "").await;
    assert_eq!((&rebuild["state"], &rebuild["result"]["versions"]), (&json!("done"), &json!(1)), "{rebuild}");
    assert_eq!(server.get("/v1/b/docs/o/x").await.bytes().await.unwrap(), content(200_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_end_with_the_job() {
    let server = start().await;
    server.bucket("docs").await;
    server.put("/v1/b/docs/o/x", content(200_000)).await;
    let started: Value = server.send("POST", "/v1/check").await.json().await.unwrap();
    let events = server.get(&format!("/v1/jobs/{}/events", started["id"].as_str().unwrap())).await;
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let text = events.text().await.unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains("event:done"), "{text}");
    let data = last.lines().find_map(|line| line.strip_prefix("data:")).unwrap();
    let job: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&job["id"], &job["state"]), (&started["id"], &json!("done")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_job_is_cancelled_without_harm_and_an_unknown_one_is_not_found() {
    let server = start().await;
    let job = server.job("/v1/check", "").await;
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let reply = server.send("DELETE", &path).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json::<Value>().await.unwrap()["state"], "done");
    for method in ["GET", "DELETE"] {
        assert_eq!(server.send(method, "/v1/jobs/none").await.status(), 404);
    }
    assert_eq!(server.get("/v1/jobs/none/events").await.status(), 404);
}
