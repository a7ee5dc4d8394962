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
    let still = server.job("/v1/check", r#"{"bucket":"docs","prefix":"p/"}"#).await;
    assert_eq!(still["result"]["degraded"], sick["result"]["degraded"], "a plan changes nothing");
    // The bucket's own record has lost copies too.
    let with_bucket = server.job("/v1/check", r#"{"bucket":"docs"}"#).await;
    assert_eq!(with_bucket["result"]["degraded"], sick["result"]["degraded"].as_u64().unwrap() + 1, "{with_bucket}");
    let repaired = server.job("/v1/repair", r#"{"depth":"full"}"#).await;
    assert_eq!(repaired["result"]["failed"], json!([]), "{repaired}");
    let whole = server.job("/v1/check", r#"{"bucket":"docs","depth":"full"}"#).await;
    assert_eq!((&whole["result"]["whole"], &whole["result"]["least_margin"]), (&json!(5), &json!(M)), "{whole}");
    let listed = server.json("/v1/jobs").await;
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 7);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_is_drained_and_gets_writes_again_when_that_is_given_up() {
    let server = start().await;
    server.bucket("docs").await;
    for i in 0..6 {
        server.put(&format!("/v1/b/docs/o/{i}"), content(30_000 * i)).await;
    }
    for (body, status) in [("", 400), (r#"{"backend":"none"}"#, 404), (r#"{"backend":"b0","to":"b0"}"#, 400)] {
        assert_eq!(server.request("POST", "/v1/drain").body(body).send().await.unwrap().status(), status, "{body}");
    }
    let plan = server.job("/v1/drain", r#"{"backend":"b0","dry_run":true}"#).await;
    assert!(plan["result"]["shards"].as_u64().unwrap() > 0 && plan["result"]["stuck"] == 0, "{plan}");
    let done = server.job("/v1/drain", r#"{"backend":"b0","parallel":2}"#).await;
    assert_eq!((&done["kind"], &done["state"]), (&json!("drain"), &json!("done")), "{done}");
    assert_eq!(done["result"]["proof"]["holds_nothing_live"], true, "{done}");
    assert_eq!(done["result"]["shards"], plan["result"]["shards"]);
    assert_eq!(server.json("/v1/backends").await["backends"][0]["role"], "draining");
    // A second one would leave too few.
    let refused = server.request("POST", "/v1/drain").body(r#"{"backend":"b1"}"#).send().await.unwrap();
    let text = refused.text().await.unwrap();
    assert!(text.contains("new objects could not be written"), "{text}");
    let moves = server.json("/v1/moves").await;
    assert_eq!(moves["moves"][0]["state"], "done", "{moves}");
    let id = moves["moves"][0]["id"].as_str().unwrap();
    assert_eq!(server.send("DELETE", &format!("/v1/moves/{id}")).await.status(), 200);
    assert_eq!(server.json("/v1/backends").await["backends"][0]["role"], "active");
    assert_eq!(server.json("/v1/moves").await, json!({ "moves": [] }));
    for (method, path) in
        [("DELETE", "/v1/moves/none"), ("POST", "/v1/moves/none/pause"), ("POST", "/v1/backends/none")]
    {
        assert_eq!(server.send(method, path).await.status(), 404, "{path}");
    }
    let added: Value = server.send("POST", "/v1/backends/b0").await.json().await.unwrap();
    assert_eq!(added, json!({ "backend": "b0", "marker_written": false }));
    let even = server.job("/v1/rebalance", "").await;
    assert_eq!(even["result"]["failures"], 0, "{even}");
    let recoded = server.job("/v1/rescheme", r#"{"data_shards":2,"parity_shards":3}"#).await;
    assert_eq!((&recoded["state"], &recoded["result"]["failures"]), (&json!("done"), &json!(0)), "{recoded}");
    for i in 0..6 {
        assert_eq!(server.get(&format!("/v1/b/docs/o/{i}")).await.bytes().await.unwrap(), content(30_000 * i));
    }
    let whole = server.job("/v1/check", r#"{"depth":"full"}"#).await;
    assert_eq!((&whole["result"]["whole"], &whole["result"]["degraded"]), (&json!(6), &json!(0)), "{whole}");
    // The bucket's record, where it shares no batch with an object, has the repository's own margin.
    assert!(whole["result"]["least_margin"].as_i64().unwrap() >= M as i64, "{whole}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_waits_goes_on_and_is_given_up() {
    let server = start().await;
    server.bucket("docs").await;
    for i in 0..4 {
        server.put(&format!("/v1/b/docs/o/{i}"), content(300_000)).await;
    }
    // So slow that it does not end by itself.
    let slow = r#"{"backend":"b0","bytes_per_second":1000,"parallel":1}"#;
    let job: Value = server.request("POST", "/v1/drain").body(slow).send().await.unwrap().json().await.unwrap();
    let mut moves = json!([]);
    while moves.as_array().unwrap().is_empty() {
        moves = server.json("/v1/moves").await["moves"].clone();
    }
    let id = moves[0]["id"].as_str().unwrap();
    let paused: Value = server.send("POST", &format!("/v1/moves/{id}/pause")).await.json().await.unwrap();
    assert_eq!(paused["state"], "paused");
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    let now = server.json(&path).await;
    assert_eq!((&now["state"], &now["progress"]["seconds_left"]), (&json!("paused"), &Value::Null));
    let other = server.job("/v1/rebalance", "").await;
    assert_eq!(
        (&other["state"], other["error"]["detail"].as_str().unwrap().contains("another move")),
        (&json!("failed"), true)
    );
    let resumed: Value = server.send("POST", &format!("/v1/moves/{id}/resume")).await.json().await.unwrap();
    assert_eq!(resumed["state"], "running");
    assert_eq!(server.json(&path).await["state"], "running");
    assert_eq!(server.send("DELETE", &format!("/v1/moves/{id}")).await.status(), 200);
    assert_eq!(server.json(&path).await["state"], "cancelled");
    assert_eq!(server.json("/v1/backends").await["backends"][0]["role"], "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_drills_and_durability() {
    let server = start().await;
    server.bucket("docs").await;
    server.put("/v1/b/docs/o/x", content(200_000)).await;
    for (query, bytes) in [("verb=get&bucket=docs", true), ("verb=store", false), ("verb=check&depth=full", true)] {
        let plan = server.json(&format!("/v1/plan?{query}")).await;
        assert_eq!((&plan["versions"], plan["bill"]["read_bytes"].as_u64().unwrap() > 0), (&json!(1), bytes), "{plan}");
    }
    for query in ["verb=drain&backend=b0", "verb=rebalance", "verb=rescheme&data_shards=2&parity_shards=2"] {
        assert_eq!(server.json(&format!("/v1/plan?{query}")).await["stuck"], 0, "{query}");
    }
    for query in ["verb=drain", "verb=nothing", "verb=rescheme", ""] {
        assert!(server.get(&format!("/v1/plan?{query}")).await.status().is_client_error(), "{query}");
    }
    let drill = server.job("/v1/drill", r#"{"subsets":4,"seed":9,"read_bytes":1000000}"#).await;
    assert_eq!(drill["result"]["domains"].as_array().unwrap().len(), 6 + 4, "{drill}");
    assert_eq!((&drill["result"]["reads"]["objects"], &drill["result"]["reads"]["failures"]), (&json!(1), &json!(0)));
    let judged = server.job("/v1/durability", r#"{"cycles":1000,"repair_hours":12}"#).await;
    assert_eq!(judged["result"]["assumptions"]["repair_hours"], 12.0, "{judged}");
    assert!(judged["result"]["nines"].as_f64().unwrap() > 3.0);
}
