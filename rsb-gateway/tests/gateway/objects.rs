//! Objects, buckets and listings on the native API.

use crate::support::*;
use serde_json::json;

const SIZES: [usize; 9] = [0, 1, 808, 4095, INLINE_LIMIT, INLINE_LIMIT + 1, 100_000, (1 << 20) + 1, 3_500_000];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_comes_back() {
    let server = start().await;
    server.bucket("docs").await;
    for size in SIZES {
        let (body, path) = (content(size), format!("/v1/b/docs/o/size/{size}"));
        let made = server.put(&path, body.clone()).await;
        assert_eq!((&made["size"], &made["short"]), (&json!(size), &json!(0)), "{made}");
        assert_eq!((&made["data_shards"], &made["parity_shards"]), (&json!(K), &json!(M)));
        let reply = server.get(&path).await;
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.headers()["content-length"], size.to_string());
        assert_eq!(reply.headers()["etag"], format!("\"{}\"", made["etag"].as_str().unwrap()));
        assert_eq!(reply.headers()["x-rsb-version"], made["version"].as_str().unwrap());
        assert_eq!(reply.headers()["content-type"], "application/octet-stream");
        assert!(reply.headers().contains_key("last-modified") && reply.headers().contains_key("x-request-id"));
        assert_eq!(reply.bytes().await.unwrap(), body, "{size}");
        let head = server.send("HEAD", &path).await;
        assert_eq!(head.headers()["content-length"], size.to_string());
        assert!(head.bytes().await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies_and_odd_keys() {
    let server = start().await;
    server.bucket("docs").await;
    let body = content(70_000);
    for key in [
        "a%20b",
        "%C3%A9/%E2%82%AC",
        "%2Flead",
        "a%2Fb%2F",
        "a//b",
        "100%25",
        "+",
        "a?b".replace('?', "%3F").as_str(),
        "~!*'()",
        "trail/",
    ] {
        let path = format!("/v1/b/docs/o/{key}");
        let chunks: Vec<Result<bytes::Bytes, std::io::Error>> =
            body.chunks(10_000).map(|c| Ok(c.to_vec().into())).collect();
        let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
        let reply = server.request("PUT", &path).body(stream).send().await.unwrap();
        assert_eq!(reply.status(), 201, "{key}");
        assert_eq!(server.get(&path).await.bytes().await.unwrap(), body, "{key}");
    }
    let keys = server.keys().await;
    for key in [
        "docs/a b",
        "docs/é/€",
        "docs//lead",
        "docs/a/b/",
        "docs/a//b",
        "docs/100%",
        "docs/+",
        "docs/a?b",
        "docs/trail/",
    ] {
        assert!(keys.contains(key), "{key} of {keys:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges() {
    let server = start().await;
    server.bucket("docs").await;
    for size in [10usize, 2_500_000] {
        let (body, path) = (content(size), format!("/v1/b/docs/o/{size}"));
        server.put(&path, body.clone()).await;
        let ranged = async |range: &str| server.request("GET", &path).header("range", range).send().await.unwrap();
        let last = size - 1;
        for (range, from, to) in [
            ("bytes=0-0".to_owned(), 0, 1),
            (format!("bytes={last}-{last}"), last, size),
            (format!("bytes=3-{}", size + 100), 3, size),
            ("bytes=4-".to_owned(), 4, size),
            ("bytes=-2".to_owned(), size - 2, size),
            (format!("bytes=-{}", size * 2), 0, size),
            (format!("bytes={}-{}", size / 2 - 1, size / 2 + 1), size / 2 - 1, size / 2 + 2),
        ] {
            let reply = ranged(&range).await;
            assert_eq!(reply.status(), 206, "{range}");
            assert_eq!(reply.headers()["content-range"], format!("bytes {from}-{}/{size}", to - 1), "{range}");
            assert_eq!(reply.headers()["content-length"], (to - from).to_string());
            assert_eq!(reply.bytes().await.unwrap(), body.slice(from..to), "{range}");
        }
        for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
            let reply = ranged(&range).await;
            assert_eq!(reply.status(), 416, "{range}");
            assert_eq!(reply.headers()["content-range"], format!("bytes */{size}"));
        }
        for range in ["bytes=2-1", "rows=1-2", "bytes=x"] {
            let reply = ranged(range).await;
            assert_eq!(reply.status(), 200, "{range}");
            assert_eq!(reply.bytes().await.unwrap(), body);
        }
        let head = server.request("HEAD", &path).header("range", "bytes=0-0").send().await.unwrap();
        assert_eq!(
            (head.status().as_u16(), &head.headers()["content-length"]),
            (200, &size.to_string().parse().unwrap())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ranges_in_one_reply() {
    let server = start().await;
    server.bucket("docs").await;
    let body = content(2_200_000);
    server.put("/v1/b/docs/o/x", body.clone()).await;
    let reply =
        server.request("GET", "/v1/b/docs/o/x").header("range", "bytes=0-4,1048570-1048580,-3").send().await.unwrap();
    assert_eq!(reply.status(), 206);
    let kind = reply.headers()["content-type"].to_str().unwrap().to_owned();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
    let len: usize = reply.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let got = reply.bytes().await.unwrap();
    assert_eq!(got.len(), len);
    let mut expected = Vec::new();
    for (i, (from, to)) in [(0usize, 5usize), (1_048_570, 1_048_581), (2_199_997, 2_200_000)].into_iter().enumerate() {
        let lead = if i == 0 { "" } else { "\r\n" };
        let head = format!(
            "{lead}--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {from}-{}/2200000\r\n\r\n",
            to - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&body[from..to]);
    }
    expected.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    assert_eq!(got, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions() {
    let server = start().await;
    server.bucket("docs").await;
    let path = "/v1/b/docs/o/x";
    let first = server.put(path, content(100)).await;
    let etag = format!("\"{}\"", first["etag"].as_str().unwrap());
    let modified = server.get(path).await.headers()["last-modified"].to_str().unwrap().to_owned();
    for (method, name, value, status) in [
        ("GET", "if-none-match", etag.as_str(), 304),
        ("HEAD", "if-none-match", "*", 304),
        ("GET", "if-none-match", "\"x\"", 200),
        ("GET", "if-match", etag.as_str(), 200),
        ("GET", "if-match", "\"x\"", 412),
        ("GET", "if-modified-since", modified.as_str(), 304),
        ("GET", "if-modified-since", "Tue, 24 Nov 1970 11:34:23 GMT", 200),
        ("GET", "if-unmodified-since", "Tue, 24 Nov 1970 11:34:23 GMT", 412),
        ("PUT", "if-none-match", "*", 412),
        ("PUT", "if-match", "\"x\"", 412),
        ("PUT", "if-none-match", "\"x\"", 400),
        ("DELETE", "if-match", "\"x\"", 412),
        ("DELETE", "if-none-match", "*", 400),
        ("PUT", "if-match", etag.as_str(), 201),
    ] {
        let reply = server.request(method, path).header(name, value).body(vec![]).send().await.unwrap();
        assert_eq!(reply.status(), status, "{method} {name}: {value}");
    }
    assert_eq!(server.get(path).await.bytes().await.unwrap().len(), 0, "the last write counts");
    let ranged = async |value: &str| {
        server
            .request("GET", path)
            .header("range", "bytes=0-1")
            .header("if-range", value)
            .send()
            .await
            .unwrap()
            .status()
    };
    let second = server.put(path, content(100)).await;
    assert_eq!(ranged(&format!("\"{}\"", second["etag"].as_str().unwrap())).await, 206);
    assert_eq!(ranged("\"other\"").await, 200);
    let gone = server.request("PUT", "/v1/b/docs/o/none").header("if-match", "*").send().await.unwrap();
    assert_eq!(gone.status(), 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_comes_back_and_cannot_act() {
    let server = start().await;
    server.bucket("docs").await;
    let reply = server
        .request("PUT", "/v1/b/docs/o/page")
        .header("content-type", "text/html; charset=utf-8")
        .header("cache-control", "max-age=60")
        .header("content-disposition", "attachment")
        .header("x-rsb-meta-Owner", "ada")
        .header("x-rsb-meta-note", "grüße")
        .body("<script>alert(1)</script>")
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 201);
    let reply = server.get("/v1/b/docs/o/page").await;
    let headers = reply.headers();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["cache-control"], "max-age=60");
    assert_eq!(headers["content-disposition"], "attachment");
    assert_eq!(headers["x-rsb-meta-owner"], "ada");
    assert_eq!(headers["x-rsb-meta-note"].as_bytes(), "grüße".as_bytes());
    assert_eq!(headers["x-content-type-options"], "nosniff");
    assert!(headers["content-security-policy"].to_str().unwrap().starts_with("sandbox"));
}

#[tokio::test(flavor = "multi_thread")]
async fn announced_digests_are_held_to() {
    let server = start().await;
    server.bucket("docs").await;
    // Digests of "hello".
    let md5 = "XUFAKrxLKna5cZ2REBfFkg==";
    let sha = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    for (name, value) in [
        ("content-md5", md5.to_owned()),
        ("digest", format!("SHA-256={sha}")),
        ("digest", format!("md5={md5}, unixsum=30637")),
        ("content-digest", format!("sha-256=:{sha}:")),
        ("repr-digest", format!("sha-256=:{sha}:")),
    ] {
        let put = async |path: &str, body: &'static str| {
            server.request("PUT", path).header(name, &value).body(body).send().await.unwrap()
        };
        assert_eq!(put("/v1/b/docs/o/good", "hello").await.status(), 201, "{name}: {value}");
        let before = server.files().await;
        for body in ["hellO", "hell", ""] {
            let reply = put("/v1/b/docs/o/bad", body).await;
            assert_eq!(reply.status(), 400, "{name}: {value}");
            assert!(reply.text().await.unwrap().contains("digest"), "{name}");
        }
        assert_eq!(server.get("/v1/b/docs/o/bad").await.status(), 404);
        // What an earlier write replaced may be going away meanwhile.
        let added: Vec<String> = server.files().await.difference(&before).cloned().collect();
        assert!(added.is_empty(), "{added:?} was written");
    }
    // A large one is refused too, although its shards were on their way.
    let reply = server
        .request("PUT", "/v1/b/docs/o/bad")
        .header("content-md5", md5)
        .body(content(3_000_000))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 400);
    assert_eq!(server.get("/v1/b/docs/o/bad").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_scheme_for_one_object() {
    let server = start().await;
    server.bucket("docs").await;
    let body = content(200_000);
    let made = server.put("/v1/b/docs/o/x?data_shards=2&parity_shards=3", body.clone()).await;
    assert_eq!((&made["data_shards"], &made["parity_shards"]), (&json!(2), &json!(3)));
    for backend in 0..3 {
        server.wipe(backend).await;
    }
    assert_eq!(server.get("/v1/b/docs/o/x").await.bytes().await.unwrap(), body);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_deletes() {
    let server = start().await;
    server.bucket("docs").await;
    server.bucket("more").await;
    for size in [100, 300_000] {
        let body = content(size);
        server.put("/v1/b/docs/o/from%20a", body.clone()).await;
        let copy =
            |to: &str, source: &'static str| server.request("PUT", to).header("x-rsb-copy-source", source).send();
        assert_eq!(copy("/v1/b/more/o/to", "docs/from%20a").await.unwrap().status(), 201);
        assert_eq!(copy("/v1/b/more/o/to", "/docs/from%20a").await.unwrap().status(), 201);
        assert_eq!(server.send("DELETE", "/v1/b/docs/o/from%20a").await.status(), 200);
        assert_eq!(server.get("/v1/b/docs/o/from%20a").await.status(), 404);
        assert_eq!(server.get("/v1/b/more/o/to").await.bytes().await.unwrap(), body);
        assert_eq!(server.send("DELETE", "/v1/b/docs/o/from%20a").await.status(), 404, "there is nothing any more");
        assert_eq!(copy("/v1/b/more/o/to", "docs/from%20a").await.unwrap().status(), 404);
        for bad in ["docs", "", "docs/", "/x", "docs/%ff"] {
            assert_eq!(copy("/v1/b/more/o/to", bad).await.unwrap().status(), 400, "{bad:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn versions() {
    let server = start().await;
    let made = server.request("PUT", "/v1/b/keep").body(r#"{"versions":"keep-all"}"#).send().await.unwrap();
    assert_eq!(made.status(), 201);
    assert_eq!(made.json::<serde_json::Value>().await.unwrap()["versions"], "keep-all");
    let first = server.put("/v1/b/keep/o/x", "one").await;
    server.put("/v1/b/keep/o/x", "two").await;
    let deleted: serde_json::Value = server.send("DELETE", "/v1/b/keep/o/x").await.json().await.unwrap();
    assert!(deleted["delete_marker"].is_string(), "{deleted}");
    assert_eq!(server.get("/v1/b/keep/o/x").await.status(), 404);
    let version = first["version"].as_str().unwrap();
    let path = format!("/v1/b/keep/o/x?version={version}");
    assert_eq!(server.get(&path).await.text().await.unwrap(), "one");
    let all = server.json("/v1/b/keep/o?versions=true").await;
    let all = all["objects"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!((&all[0]["delete_marker"], &all[0]["is_latest"]), (&json!(true), &json!(true)));
    assert_eq!(server.send("DELETE", &path).await.status(), 200);
    assert_eq!(server.get(&path).await.status(), 404);
    assert_eq!(server.get("/v1/b/keep/o/x?version=nonsense").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets() {
    let server = start().await;
    assert_eq!(server.json("/v1/b").await["buckets"], json!([]));
    server.bucket("docs").await;
    assert_eq!(server.send("PUT", "/v1/b/docs").await.status(), 200, "again changes nothing");
    let only_new = server.request("PUT", "/v1/b/docs").header("if-none-match", "*").send().await.unwrap();
    assert_eq!(only_new.status(), 412);
    let changed = server.request("PUT", "/v1/b/docs").body(r#"{"versions":"keep-all"}"#).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    assert_eq!(server.json("/v1/b/docs").await["versions"], "keep-all");
    assert_eq!(server.get("/v1/b/none").await.status(), 404);
    assert_eq!(server.send("DELETE", "/v1/b/none").await.status(), 404);
    server.bucket("full").await;
    server.put("/v1/b/full/o/x", "x").await;
    assert_eq!(server.send("DELETE", "/v1/b/full").await.status(), 409);
    assert_eq!(server.send("DELETE", "/v1/b/full/o/x").await.status(), 200);
    assert_eq!(server.send("DELETE", "/v1/b/full").await.status(), 204);
    assert_eq!(server.json("/v1/b").await["buckets"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_s3_are_shown_and_not_changed() {
    let server = start().await;
    server.bucket("docs").await;
    server.engine.update_bucket_extra("docs", "s3-cors", Some("x".into())).await.unwrap();
    let change = async |path: &str, body: &'static str| server.request("PUT", path).body(body).send().await.unwrap();
    assert_eq!(change("/v1/b/docs", r#"{"extra":{"mine":"1"}}"#).await.status(), 200);
    let extra = json!({"mine": "1", "s3-cors": "x"});
    assert_eq!(server.json("/v1/b/docs").await["extra"], extra);
    for body in [r#"{"extra":{"s3-cors":"y"}}"#, r#"{"extra":{"s3-policy":"y"}}"#] {
        assert_eq!(change("/v1/b/docs", body).await.status(), 400);
        assert_eq!(change("/v1/b/more", body).await.status(), 400);
    }
    assert_eq!(server.json("/v1/b/docs").await["extra"], extra);
}

#[tokio::test(flavor = "multi_thread")]
async fn listings() {
    let server = start().await;
    server.bucket("docs").await;
    for key in ["a", "b/1", "b/2", "b/c/3", "d", "e%20f", "é"] {
        server.put(&format!("/v1/b/docs/o/{key}"), key.to_owned()).await;
    }
    let keys = |page: &serde_json::Value| -> Vec<String> {
        page["objects"].as_array().unwrap().iter().map(|o| o["key"].as_str().unwrap().to_owned()).collect()
    };
    let all = server.json("/v1/b/docs/o").await;
    assert_eq!(keys(&all), ["a", "b/1", "b/2", "b/c/3", "d", "e f", "é"]);
    assert!(all["next"].is_null());
    let rolled = server.json("/v1/b/docs/o?delimiter=/").await;
    assert_eq!(
        (keys(&rolled), &rolled["prefixes"]),
        (vec!["a".into(), "d".into(), "e f".into(), "é".into()], &json!(["b/"]))
    );
    assert_eq!(keys(&server.json("/v1/b/docs/o?prefix=b/&delimiter=/").await), ["b/1", "b/2"]);
    assert_eq!(keys(&server.json("/v1/b/docs/o?prefix=e+f").await), ["e f"]);
    assert_eq!(keys(&server.json("/v1/b/docs/o?after=b/2").await), ["b/c/3", "d", "e f", "é"]);
    // Pages, by token, with and without common prefixes.
    for query in ["limit=1", "limit=2", "limit=1&delimiter=/", "limit=2&delimiter=/"] {
        let (mut found, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = server.json(&format!("/v1/b/docs/o?{query}&after={after}")).await;
            found.extend(keys(&page));
            found.extend(page["prefixes"].as_array().unwrap().iter().map(|p| p.as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            assert!(pages < 10, "{query} does not end");
            next.clone_into(&mut after);
        }
        found.sort();
        let expected = if query.contains("delimiter") { 5 } else { 7 };
        assert_eq!(found.len(), expected, "{query}: {found:?}");
    }
    assert_eq!(server.get("/v1/b/none/o").await.status(), 404);
}
