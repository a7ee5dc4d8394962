//! Reading with backends gone.

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn it_reads_with_m_backends_gone_and_says_so_with_more() {
    let server = start().await;
    server.bucket("docs").await;
    for size in [1_000, 400_000] {
        let (path, body) = (format!("/v1/b/docs/o/{size}"), content(size));
        server.put(&path, body).await;
    }
    server.wipe(0).await;
    server.flip_bits(1).await;
    for size in [1_000, 400_000] {
        assert_eq!(server.get(&format!("/v1/b/docs/o/{size}")).await.bytes().await.unwrap(), content(size));
    }
    for backend in 1..6 {
        server.wipe(backend).await;
    }
    for range in [None, Some("bytes=0-9"), Some("bytes=0-9,50-59")] {
        let mut request = server.request("GET", "/v1/b/docs/o/400000");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), 500, "{range:?}");
        let problem: serde_json::Value = reply.json().await.unwrap();
        assert_eq!(problem["type"], "urn:rsbackup:error:unreadable", "{problem}");
        assert!(problem["object"].as_str().unwrap().contains("docs/400000"));
    }
}
