//! The prototype's protocol, to the byte.

use crate::support::*;
use reqwest::multipart;
use rsb_gateway::PrototypeMode;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A part's headers, and its content.
type Part<'a> = (&'a str, &'a [u8]);

async fn submit(server: &Server, parts: &[(&str, &[u8])]) -> (u16, Value, String) {
    let reply =
        server.request("POST", "/submit_data").header("content-type", FORM).body(form(parts)).send().await.unwrap();
    let status = reply.status().as_u16();
    let text = reply.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_default(), text)
}

/// SHA-256 of the k contiguous runs, the last ones padded with zeros.
fn run_digests(body: &[u8], k: usize) -> Vec<String> {
    let run = body.len().div_ceil(k);
    let digest = |i: usize| {
        let mut bytes: Vec<u8> = body.iter().copied().skip(i * run).take(run).collect();
        bytes.resize(run, 0);
        hex::encode(Sha256::digest(&bytes))
    };
    (0..k).map(digest).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_story() {
    let server = start().await;
    assert_eq!(server.get("/list_data").await.text().await.unwrap(), r#"{"files":[]}"#);
    let file = "name=\"file\"; filename=\"whatever.bin\"";
    for size in [0, 1, 808, INLINE_LIMIT, INLINE_LIMIT + 1, 1_500_000] {
        let (body, name) = (content(size), format!("f{size}"));
        let (status, made, text) = submit(&server, &[("name=\"filename\"", name.as_bytes()), (file, &body)]).await;
        assert_eq!(status, 200, "{text}");
        assert_eq!((&made["size"], &made["data_shards"], &made["parity_shards"]), (&json!(size), &json!(K), &json!(M)));
        let hashes = made["hashes"].as_array().unwrap();
        assert_eq!(hashes.len(), K + M);
        assert_eq!(hashes[..K], run_digests(&body, K).into_iter().map(Value::from).collect::<Vec<_>>());
        let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
        assert_eq!(keys.len(), 4);

        let checked = server.json(&format!("/check_data/{name}")).await;
        assert_eq!(
            (&checked["name"], &checked["health"], &checked["hashes"]),
            (&json!(name), &json!(true), &made["hashes"])
        );
        let lmod = checked["lmod"].as_str().unwrap();
        assert!(lmod.len() == 19 && &lmod[4..5] == "-" && &lmod[10..11] == " " && &lmod[13..14] == ":", "{lmod}");

        let reply = server.get(&format!("/retrieve_data/{name}")).await;
        assert_eq!(reply.headers()["accept-ranges"], "bytes");
        assert_eq!(reply.bytes().await.unwrap(), body);
        // The same file through the native API.
        assert_eq!(server.get(&format!("/v1/b/rsbackup/o/{name}")).await.bytes().await.unwrap(), body);
    }
    let listed = server.get("/list_data").await;
    assert_eq!(listed.headers()["content-type"], "application/json");
    let files = json!({"files": ["f0", "f1", "f1500000", "f16384", "f16385", "f808"]});
    assert_eq!(listed.text().await.unwrap(), files.to_string(), "sorted bytewise");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_parts_is_free() {
    let server = start().await;
    let file = "name=\"file\"; filename=\"x\"";
    let orders: [&[&str]; 6] = [
        &["file", "filename"],
        &["filename", "file", "other"],
        &["other", "file", "other", "filename"],
        &["file", "filename", "data_shards", "parity_shards"],
        &["filename", "file", "data_shards", "parity_shards"],
        &["data_shards", "parity_shards", "file", "filename"],
    ];
    for size in [500, 1_200_000] {
        for (i, order) in orders.iter().enumerate() {
            let (body, name) = (content(size), format!("o{size}-{i}"));
            let part = |part: &&str| -> (&str, Vec<u8>) {
                match *part {
                    "file" => (file, body.to_vec()),
                    "filename" => ("name=\"filename\"", name.clone().into_bytes()),
                    "data_shards" => ("name=\"data_shards\"", b"2".to_vec()),
                    "parity_shards" => ("name=\"parity_shards\"", b"1".to_vec()),
                    _ => ("name=\"comment\"", b"ignored".to_vec()),
                }
            };
            let parts: Vec<(&str, Vec<u8>)> = order.iter().map(part).collect();
            let parts: Vec<(&str, &[u8])> = parts.iter().map(|(d, c)| (*d, c.as_slice())).collect();
            let (status, made, text) = submit(&server, &parts).await;
            assert_eq!(status, 200, "{order:?}: {text}");
            let (k, m) = if order.contains(&"data_shards") { (2, 1) } else { (K, M) };
            assert_eq!((&made["data_shards"], &made["parity_shards"]), (&json!(k), &json!(m)), "{order:?}");
            assert_eq!(
                made["hashes"].as_array().unwrap()[..k],
                run_digests(&body, k).into_iter().map(Value::from).collect::<Vec<_>>()
            );
            assert_eq!(server.get(&format!("/retrieve_data/{name}")).await.bytes().await.unwrap(), body, "{order:?}");
        }
    }
    let keys = server.keys().await;
    assert!(!keys.iter().any(|key| key.contains(".rsb-upload")), "temporary names are gone: {keys:?}");
    assert_eq!(server.json("/list_data").await["files"].as_array().unwrap().len(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_client_uploads() {
    let server = start().await;
    let body = content(600_000);
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(
        body.chunks(7_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>(),
    ));
    // Of unknown length, so the request is chunked.
    let form = multipart::Form::new()
        .part("file", multipart::Part::stream(stream).file_name("a.bin"))
        .text("filename", "a b é");
    let reply = server.request("POST", "/submit_data").multipart(form).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    assert_eq!(server.get("/retrieve_data/a%20b%20%C3%A9").await.bytes().await.unwrap(), body);
    assert_eq!(server.json("/list_data").await["files"], json!(["a b é"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_name_stays_as_it_is() {
    let server = start().await;
    let file = "name=\"file\"; filename=\"x\"";
    for size in [10, 300_000] {
        let name = format!("n{size}");
        let old = content(size);
        let named: (&str, &[u8]) = ("name=\"filename\"", name.as_bytes());
        assert_eq!(submit(&server, &[named, (file, &old)]).await.0, 200);
        let version = server.get(&format!("/v1/b/rsbackup/o/{name}")).await.headers()["x-rsb-version"].clone();
        let new = content(size + 1);
        for parts in [[named, (file, &new[..])], [(file, &new[..]), named]] {
            let (status, _, text) = submit(&server, &parts).await;
            assert_eq!(status, 409, "{text}");
            assert!(text.starts_with("Conflict") && text.contains(&name), "{text}");
        }
        let reply = server.get(&format!("/v1/b/rsbackup/o/{name}")).await;
        assert_eq!(reply.headers()["x-rsb-version"], version);
        assert_eq!(reply.bytes().await.unwrap(), old);
    }
    assert_eq!(server.keys().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_found_and_repaired() {
    let server = start().await;
    let file = "name=\"file\"; filename=\"x\"";
    let body = content(700_000);
    submit(&server, &[("name=\"filename\"", b"big"), (file, &body)]).await;
    submit(&server, &[("name=\"filename\"", b"bigger"), (file, &body)]).await;
    submit(&server, &[("name=\"filename\"", b"tiny"), (file, b"tiny")]).await;
    let hashes = server.json("/check_data/big").await["hashes"].clone();
    server.wipe(0).await;
    let mut flipped = 0;
    for backend in 1..6 {
        if flipped == 0 {
            flipped = server.flip_bits(backend).await;
        }
    }
    assert!(flipped > 0);
    let sick = server.json("/check_data/big").await;
    assert_eq!((&sick["health"], &sick["hashes"]), (&json!(false), &hashes));
    for name in ["big", "bigger", "tiny"] {
        let repaired = server.json(&format!("/repair_data/{name}")).await;
        assert_eq!(repaired, json!({"name": name, "status": "GOOD"}));
        assert_eq!(server.json(&format!("/check_data/{name}")).await["health"], true, "{name}");
    }
    assert_eq!(server.json("/repair_data/big").await["status"], "GOOD", "and again");
    for backend in 0..6 {
        server.wipe(backend).await;
    }
    let lost = server.json("/repair_data/big").await;
    let status = lost["status"].as_str().unwrap();
    assert!(status.starts_with("Cannot repair data") || status.starts_with("Error reconstructing data"), "{status}");
    let lost = server.json("/check_data/big").await;
    assert_eq!(lost["health"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn retrieval_by_parts() {
    let server = start().await;
    let body = content(50_000);
    submit(&server, &[("name=\"filename\"", b"x"), ("name=\"file\"; filename=\"x\"", &body)]).await;
    let get =
        async |range: &str| server.request("GET", "/retrieve_data/x").header("range", range).send().await.unwrap();
    let part = get("bytes=100-199").await;
    assert_eq!(
        (part.status().as_u16(), &part.headers()["content-range"]),
        (206, &"bytes 100-199/50000".parse().unwrap())
    );
    assert_eq!(part.bytes().await.unwrap(), body.slice(100..200));
    let several = get("bytes=0-1,10-11").await;
    assert_eq!(several.status(), 206);
    assert!(several.headers()["content-type"].to_str().unwrap().starts_with("multipart/byteranges"));
    let outside = get("bytes=50000-").await;
    assert_eq!(outside.status(), 416);
    assert_eq!(outside.headers()["content-range"], "bytes */50000");
    assert!(outside.text().await.unwrap().starts_with("Range Not Satisfiable"));
    let head = server.send("HEAD", "/retrieve_data/x").await;
    assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &"50000".parse().unwrap()));
    assert!(head.bytes().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_requests() {
    let server = start().await;
    let file = "name=\"file\"; filename=\"x\"";
    submit(&server, &[("name=\"filename\"", b"there"), (file, b"x")]).await;
    server.put("/v1/b/rsbackup/o/with/slash", "x").await;
    assert_eq!(server.json("/list_data").await["files"], json!(["there"]));
    for (method, path, status, begins) in [
        ("POST", "/list_data", 405, "Method Not Allowed"),
        ("HEAD", "/list_data", 405, ""),
        ("GET", "/submit_data", 405, "Method Not Allowed"),
        ("PUT", "/submit_data", 405, "Method Not Allowed"),
        ("POST", "/check_data/there", 405, "Method Not Allowed"),
        ("DELETE", "/retrieve_data/there", 405, "Method Not Allowed"),
        ("POST", "/retrieve_data/there", 405, "Method Not Allowed"),
        ("POST", "/repair_data/there", 405, "Method Not Allowed"),
        ("GET", "/check_data/", 400, "Bad Request"),
        ("GET", "/check_data", 400, "Bad Request"),
        ("GET", "/retrieve_data/", 400, "Bad Request"),
        ("GET", "/repair_data/", 400, "Bad Request"),
        ("GET", "/check_data/a/b", 400, "Bad Request"),
        ("GET", "/retrieve_data/with%2Fslash", 400, "Bad Request"),
        ("GET", "/repair_data/%00", 400, "Bad Request"),
        ("GET", "/check_data/%ff", 400, "Bad Request"),
        ("GET", "/check_data/%zz", 400, "Bad Request"),
        ("GET", "/check_data/none", 404, "Not Found"),
        ("GET", "/retrieve_data/none", 404, "Not Found"),
        ("GET", "/repair_data/none", 404, "Not Found"),
    ] {
        let reply = server.send(method, path).await;
        assert_eq!(reply.status(), status, "{method} {path}");
        if status == 405 {
            assert!(reply.headers().contains_key("allow"), "{method} {path}");
        }
        assert!(reply.headers()["content-type"].to_str().unwrap().starts_with("text/plain"), "{method} {path}");
        let text = reply.text().await.unwrap();
        assert!(text.starts_with(begins), "{method} {path}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_forms_write_nothing() {
    let server = start().await;
    let file = "name=\"file\"; filename=\"x\"";
    // The bucket is there before, so that all files on the backends can be compared.
    submit(&server, &[("name=\"filename\"", b"there"), (file, b"x")]).await;
    let before = server.files().await;
    let (big, name): (&[u8], &str) = (&content(900_000), "name=\"filename\"");
    let long = vec![b'n'; 9_000];
    let long_key = vec![b'n'; 1_025];
    let cases: Vec<(&str, Vec<Part<'_>>)> = vec![
        ("no parts", vec![]),
        ("no file", vec![(name, b"x")]),
        ("no filename", vec![(file, big)]),
        ("no filename, small", vec![(file, b"x")]),
        ("empty filename", vec![(name, b""), (file, big)]),
        ("empty filename behind", vec![(file, big), (name, b"")]),
        ("slash", vec![(name, b"a/b"), (file, big)]),
        ("slash behind", vec![(file, big), (name, b"a/b")]),
        ("dots", vec![(name, b".."), (file, big)]),
        ("dots behind", vec![(file, big), (name, b"..")]),
        ("NUL", vec![(name, b"a\0b"), (file, big)]),
        ("not UTF-8", vec![(name, b"a\xff"), (file, big)]),
        ("name of 1025 bytes", vec![(name, &long_key), (file, big)]),
        ("name of 9000 bytes", vec![(name, &long), (file, big)]),
        ("two files", vec![(name, b"n"), (file, big), (file, big)]),
        ("two names", vec![(name, b"n"), (name, b"n2"), (file, big)]),
        ("two names, one behind", vec![(name, b"n"), (file, big), (name, b"n2")]),
        ("k is no number", vec![("name=\"data_shards\"", b"many"), (name, b"n"), (file, big)]),
        ("k is negative", vec![("name=\"data_shards\"", b"-1"), (name, b"n"), (file, big)]),
        ("k is 0", vec![("name=\"data_shards\"", b"0"), (name, b"n"), (file, big)]),
        ("k is 0 behind", vec![(name, b"n"), (file, big), ("name=\"data_shards\"", b"0")]),
        ("k + m is too much", vec![("name=\"parity_shards\"", b"4"), (name, b"n"), (file, big)]),
        ("k + m is too much behind", vec![(file, big), (name, b"n"), ("name=\"parity_shards\"", b"4")]),
        ("k + m beyond 256", vec![("name=\"parity_shards\"", b"999999"), (name, b"n"), (file, big)]),
    ];
    for (what, parts) in &cases {
        let (status, _, text) = submit(&server, parts).await;
        assert_eq!(status, 400, "{what}: {text}");
        assert!(text.starts_with("Bad Request"), "{what}: {text}");
        assert_eq!(server.json("/list_data").await["files"], json!(["there"]), "{what}");
        assert_eq!(server.keys().await.len(), 1, "{what}");
    }
    let whole = form(&[(name, b"n"), (file, &content(100_000))]);
    let last_first = form(&[(file, &content(100_000)), (name, b"n")]);
    let cut = |bytes: &bytes::Bytes, from_end: usize| bytes.slice(..bytes.len() - from_end);
    for (what, kind, body) in [
        ("cut in the file", FORM, cut(&whole, 50_000)),
        ("cut before the last boundary", FORM, cut(&whole, 10)),
        ("cut in the last boundary", FORM, cut(&whole, 4)),
        ("cut in the name behind", FORM, cut(&last_first, 9)),
        ("no boundary", "multipart/form-data", whole.clone()),
        ("another boundary", "multipart/form-data; boundary=YY", whole.clone()),
        ("not a form", "application/json", whole.clone()),
        ("an empty body", FORM, bytes::Bytes::new()),
        ("no boundary in much", FORM, content(2_000_000)),
        ("endless headers", FORM, [b"--XX\r\nX-A: ".as_slice(), &vec![b'a'; 300_000]].concat().into()),
    ] {
        let reply =
            server.request("POST", "/submit_data").header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(reply.status(), 400, "{what}");
        assert!(reply.text().await.unwrap().starts_with("Bad Request"), "{what}");
        assert_eq!(server.keys().await.len(), 1, "{what}");
    }
    // What was undone is deleted in the background.
    for _ in 0..100 {
        if server.files().await.difference(&before).next().is_none() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let now = server.files().await;
    let left: Vec<_> = now.difference(&before).filter(|f| f.contains(":s/")).collect();
    assert!(left.is_empty(), "shards are left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_bucket_and_none_at_all() {
    let server = start_with(|config| config.prototype_bucket = "elsewhere".into()).await;
    let file: (&str, &[u8]) = ("name=\"file\"; filename=\"x\"", b"x");
    assert_eq!(submit(&server, &[("name=\"filename\"", b"n"), file]).await.0, 200);
    assert_eq!(server.keys().await.into_iter().collect::<Vec<_>>(), ["elsewhere/n"]);
    let server = start_with(|config| config.prototype = PrototypeMode::Off).await;
    assert_eq!(server.get("/list_data").await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_streams_before_its_name_is_known() {
    let server = start().await;
    let body = content(5 << 20);
    let form = form(&[("name=\"file\"; filename=\"x\"", &body), ("name=\"filename\"", b"late")]);
    let mut raw = server.raw().await;
    let head = format!(
        "POST /submit_data HTTP/1.1\r\nHost: localhost\r\nContent-Type: {FORM}\r\nContent-Length: {}\r\n\r\n",
        form.len()
    );
    raw.write(head).await;
    raw.write(&form[..4 << 20]).await;
    let mut shards = 0;
    for _ in 0..200 {
        shards = server.files().await.iter().filter(|f| f.contains(":s/")).count();
        if shards >= K + M {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(shards >= K + M, "the first segment is on the backends while the rest is still to come");
    assert_eq!(server.json("/list_data").await["files"], json!([]), "and nothing is to be seen of it");
    raw.write(&form[4 << 20..]).await;
    let reply = raw.reply().await.unwrap();
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    let made: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        made["hashes"].as_array().unwrap()[..K],
        run_digests(&body, K).into_iter().map(Value::from).collect::<Vec<_>>()
    );
    assert_eq!(server.get("/retrieve_data/late").await.bytes().await.unwrap(), body);
}
