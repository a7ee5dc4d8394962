use super::*;
use crate::wrappers::{Action, Failure, Fault, FaultHandle, Rule};
use metrics_exporter_prometheus::PrometheusBuilder;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use std::time::Duration;

/// Runs `work` on a thread of its own runtime under a recorder of its own; gives the rendered metrics.
fn recorded<F: Future<Output = ()>>(work: impl FnOnce(Metrics, FaultHandle) -> F) -> String {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let (faulty, faults) = Fault::around(Arc::new(InMemory::new()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work(Metrics::new("nas", faulty), faults)));
    handle.render()
}

fn value(rendered: &str, series: &str) -> Option<u64> {
    rendered.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[test]
fn requests_bytes_and_outcomes_are_counted() {
    let rendered = recorded(|store, faults| async move {
        let (x, missing) = (Path::from("x"), Path::from("y"));
        store.put(&x, vec![0; 100].into()).await.unwrap();
        store.get_range(&x, 0..30).await.unwrap();
        store.get(&missing).await.unwrap_err();
        store.head(&x).await.unwrap();
        store.list(None).count().await;
        faults.add(Rule::new(Action::FailBefore(Failure::Server)).on([Op::Put]));
        store.put(&x, vec![0; 7].into()).await.unwrap_err();
        faults.clear();
        faults.add(Rule::new(Action::Hang).on([Op::Get]));
        tokio::time::timeout(Duration::from_secs(1), store.get(&x)).await.unwrap_err();
        faults.clear();
        store.delete_stream(stream::iter([Ok(x), Ok(missing)]).boxed()).count().await;
    });
    let requests = |op: &str, outcome: &str| {
        let series = format!("rsb_backend_requests_total{{backend=\"nas\",op=\"{op}\",outcome=\"{outcome}\"}}");
        value(&rendered, &series).unwrap_or(0)
    };
    assert_eq!((requests("put", "ok"), requests("put", "server")), (1, 1), "{rendered}");
    assert_eq!((requests("get", "ok"), requests("get", "not_found"), requests("get", "cancelled")), (1, 1, 1));
    assert_eq!((requests("head", "ok"), requests("list", "ok"), requests("delete", "ok")), (1, 1, 2));
    assert_eq!(value(&rendered, "rsb_backend_bytes_total{backend=\"nas\",direction=\"in\"}"), Some(30));
    assert_eq!(value(&rendered, "rsb_backend_bytes_total{backend=\"nas\",direction=\"out\"}"), Some(100));
    assert!(rendered.contains("rsb_backend_request_seconds"), "{rendered}");
}

#[test]
fn uploads_and_broken_streams_are_counted() {
    let rendered = recorded(|store, faults| async move {
        let x = Path::from("x");
        let mut upload = store.put_multipart(&x).await.unwrap();
        upload.put_part(vec![0; 40].into()).await.unwrap();
        upload.put_part(vec![0; 2].into()).await.unwrap();
        upload.complete().await.unwrap();
        faults.add(Rule::new(Action::Break(5)).on([Op::Get]));
        store.get(&x).await.unwrap().bytes().await.unwrap_err();
    });
    let one = |series: &str| value(&rendered, series);
    assert_eq!(
        one("rsb_backend_requests_total{backend=\"nas\",op=\"put_part\",outcome=\"ok\"}"),
        Some(2),
        "{rendered}"
    );
    assert_eq!(one("rsb_backend_requests_total{backend=\"nas\",op=\"complete_multipart\",outcome=\"ok\"}"), Some(1));
    assert_eq!(one("rsb_backend_bytes_total{backend=\"nas\",direction=\"out\"}"), Some(42));
    assert_eq!(one("rsb_backend_broken_streams_total{backend=\"nas\",op=\"get\",outcome=\"server\"}"), Some(1));
}
