//! What is counted and logged of every request, and `/metrics`.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use rsb_core::codec::{Codecs, ErasureCodec};
use rsb_core::health::BreakerState;
use rsb_core::upkeep::{Cycle, Spent};
use rsb_core::{BackendStatus, Depth, Status};
use tokio::time::Instant;
use tracing::Instrument;
use warp::reply::{Reply, Response};

use crate::call::{Call, Meta, REQUEST_ID};
use crate::problem::Problem;

/// Answers a request within its span; counts and logs it, and puts its id on the reply. `door` is one of few words.
pub(crate) async fn observed<B: From<Bytes>, E>(
    meta: Meta,
    door: &'static str,
    reply: impl Future<Output = Result<http::Response<B>, E>>,
) -> http::Response<B> {
    let started = Instant::now();
    let span = tracing::info_span!("request", id = %meta.request_id, method = %meta.method, path = %meta.path, peer = %meta.peer);
    let mut response = match reply.instrument(span.clone()).await {
        Ok(response) => response,
        // warp's service has no error but a type for one; s3s fails where it cannot even write an error down.
        Err(_) => {
            let mut response = http::Response::new(B::from(Bytes::new()));
            *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    };
    if let Ok(id) = HeaderValue::from_str(&meta.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let (status, elapsed) = (response.status().as_u16(), started.elapsed());
    let labels =
        [("method", method_label(&meta.method).to_owned()), ("door", door.to_owned()), ("status", status.to_string())];
    metrics::counter!("rsb_http_requests_total", &labels).increment(1);
    metrics::histogram!("rsb_http_request_seconds", "door" => door).record(elapsed.as_secs_f64());
    span.in_scope(|| tracing::info!(status, ms = elapsed.as_millis() as u64, "answered"));
    response
}

/// The methods that are served, and one word for all others: a label's values must be few.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

/// What kind of thing a path is about, without names of buckets or objects.
pub(crate) fn door(path: &str) -> &'static str {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("list_data" | "submit_data" | "check_data" | "retrieve_data" | "repair_data", _) => "prototype",
        ("v1", "b") => match (parts.next(), parts.next(), parts.next()) {
            (_, Some("o"), Some(_)) => "objects",
            (_, Some("o"), None) => "listing",
            _ => "buckets",
        },
        ("v1", "jobs") => "jobs",
        ("v1", _) => "v1",
        ("health", _) => "health",
        ("metrics", _) => "metrics",
        ("", _) => "page",
        _ => "other",
    }
}

/// `/metrics`: the process's metrics and the repository's gauges, as Prometheus text.
pub(crate) async fn serve(call: Call) -> Result<Response, Problem> {
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(Problem::method(call.method(), "GET, HEAD"));
    }
    call.caller()?;
    let mut text = call.app.metrics_render.as_ref().map(|render| render()).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    // Without the repository's answer the process's own numbers are still worth having.
    match call.app.engine().status().await {
        Ok(status) => gauges(&mut text, &status),
        Err(error) => tracing::warn!(?error, "the repository's gauges are missing from the metrics"),
    }
    gauge(&mut text, "rsb_codec_info", "Always 1: which instructions do each codec's arithmetic here.", &codecs());
    let running = call.app.jobs.all().iter().filter(|job| job.is_running()).count();
    gauge(&mut text, "rsb_jobs_running", "Jobs that run now.", &[(String::new(), running as f64)]);
    let mut response = text.into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    Ok(response)
}

fn gauges(text: &mut String, status: &Status) {
    let counts = &status.counts;
    let one = |value: u64| vec![(String::new(), value as f64)];
    let backends = |of: fn(&rsb_core::BackendStatus) -> f64| -> Vec<(String, f64)> {
        status.backends.iter().map(|b| (format!("{{backend=\"{}\"}}", escape(&b.name)), of(b))).collect()
    };
    let up = |b: &rsb_core::BackendStatus| f64::from(u8::from(b.reachable));
    for (name, help, values) in [
        ("rsb_versions", "Live object versions, delete markers included.", one(counts.versions)),
        ("rsb_batches", "Manifest batches.", one(counts.batches)),
        ("rsb_tombstones", "Live tombstones.", one(counts.tombstones)),
        ("rsb_ledger_entries", "Shards and manifest copies known to be missing or bad.", one(counts.ledger)),
        ("rsb_read_only", "1 while writes are refused.", one(u64::from(status.read_only.is_some()))),
        ("rsb_backend_up", "1 while the backend is reachable and its marker right.", backends(up)),
        (
            "rsb_backend_failures_in_row",
            "Failures of the backend since its last success.",
            backends(|b| f64::from(b.health.failures_in_row)),
        ),
        (
            "rsb_backend_hedge_seconds",
            "A read from the backend is hedged after so long.",
            backends(|b| b.health.hedge_after_ms / 1000.0),
        ),
        (
            "rsb_backend_straggler_seconds",
            "Once enough others are durable, a large write to the backend is waited for so long.",
            backends(|b| b.health.straggler_limit_ms / 1000.0),
        ),
    ] {
        gauge(text, name, help, &values);
    }
    let breakers = several(status, &|b, out| {
        for (side, state) in [("read", b.health.read_breaker), ("write", b.health.write_breaker)] {
            let level = match state {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 1.0,
                BreakerState::Open => 2.0,
            };
            out.push((format!("side=\"{side}\""), level));
        }
    });
    gauge(text, "rsb_backend_breaker", "0 closed, 1 half open (one trial), 2 open (left alone).", &breakers);
    let latency = several(status, &|b, out| {
        for (op, times) in &b.health.times {
            for (quantile, ms) in [("0.5", times.p50_ms), ("0.95", times.p95_ms), ("0.99", times.p99_ms)] {
                out.push((format!("op=\"{}\",quantile=\"{quantile}\"", op.as_str()), ms / 1000.0));
            }
        }
    });
    gauge(text, "rsb_backend_latency_seconds", "Quantiles of the backend's recent times.", &latency);
    let errors = several(status, &|b, out| {
        out.extend(b.health.errors.iter().map(|(c, n)| (format!("class=\"{}\"", c.as_str()), *n as f64)));
    });
    gauge(text, "rsb_backend_errors", "Failures since the start, by class, after all retries.", &errors);
    let verified = status.backends.iter().filter_map(|b| {
        let ms = b.oldest_verified_ms?;
        Some((format!("{{backend=\"{}\"}}", escape(&b.name)), ms as f64 / 1000.0))
    });
    let help = "Unix time since which every byte on the backend was written or verified.";
    gauge(text, "rsb_backend_oldest_verified_seconds", help, &verified.collect::<Vec<_>>());
    upkeep(text, status);
}

/// Values with their labels.
type Labelled = Vec<(String, f64)>;

/// Several values of each backend, each with labels of its own beside the backend's.
fn several(status: &Status, of: &dyn Fn(&BackendStatus, &mut Labelled)) -> Labelled {
    let mut values = Vec::new();
    for backend in &status.backends {
        let mut own = Vec::new();
        of(backend, &mut own);
        let name = escape(&backend.name);
        values.extend(own.into_iter().map(|(labels, value)| (format!("{{backend=\"{name}\",{labels}}}"), value)));
    }
    values
}

/// What the repository does of itself.
fn upkeep(text: &mut String, status: &Status) {
    let labelled = |label: &str, values: &[(&str, f64)]| -> Vec<(String, f64)> {
        values.iter().map(|(name, value)| (format!("{{{label}=\"{name}\"}}"), *value)).collect()
    };
    let spent = |s: &Spent| [("bytes", s.bytes as f64), ("requests", s.requests as f64), ("price", s.price)];
    if let Some(heal) = &status.upkeep.heal {
        let done =
            [("healed", heal.healed), ("dropped", heal.dropped), ("failed", heal.failed)].map(|(n, v)| (n, v as f64));
        gauge(text, "rsb_heal_done", "Lines of the ledger worked on since the start.", &labelled("result", &done));
        let left = [("backend", heal.waiting as f64), ("budget", heal.over_budget as f64)];
        gauge(text, "rsb_heal_waiting", "Lines of the ledger that wait, and for what.", &labelled("for", &left));
        gauge(text, "rsb_heal_spent", "Spent on healing today.", &labelled("what", &spent(&heal.spent)));
    }
    let Some(scrub) = &status.upkeep.scrub else { return };
    gauge(text, "rsb_scrub_spent", "Spent on scrubbing today.", &labelled("what", &spent(&scrub.spent)));
    let cycles = |of: fn(&Cycle) -> f64| -> Vec<(String, f64)> {
        let name = |depth: Depth| serde_json::to_value(depth).ok().and_then(|v| v.as_str().map(str::to_owned));
        let label = |c: &Cycle| format!("{{depth=\"{}\"}}", name(c.depth).unwrap_or_default());
        scrub.cycles.iter().map(|cycle| (label(cycle), of(cycle))).collect()
    };
    let ended = cycles(|c| c.ended_ms as f64 / 1000.0);
    gauge(text, "rsb_scrub_ended_seconds", "Unix time of the end of the last cycle; 0 for none.", &ended);
    gauge(text, "rsb_scrub_objects", "Versions looked at in this cycle, or the last.", &cycles(|c| c.objects as f64));
    gauge(text, "rsb_scrub_damaged", "Of them, not whole.", &cycles(|c| c.damaged as f64));
}

/// The codecs of this build, as labels.
fn codecs() -> Vec<(String, f64)> {
    let codecs = Codecs::with_builtin();
    let label = |codec: &dyn ErasureCodec| format!("{{codec=\"{}\",kernel=\"{}\"}}", codec.name(), codec.kernel());
    codecs.iter().map(|codec| (label(codec.as_ref()), 1.0)).collect()
}

fn gauge(text: &mut String, name: &str, help: &str, values: &[(String, f64)]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in values {
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doors_have_few_names() {
        for (path, expected) in [
            ("/", "page"),
            ("/list_data", "prototype"),
            ("/retrieve_data/x", "prototype"),
            ("/v1/b", "buckets"),
            ("/v1/b/x", "buckets"),
            ("/v1/b/x/o", "listing"),
            ("/v1/b/x/o/k/l", "objects"),
            ("/v1/jobs/1/events", "jobs"),
            ("/v1/status", "v1"),
            ("/../etc", "other"),
        ] {
            assert_eq!(door(path), expected, "{path}");
        }
    }

    #[test]
    fn every_codec_s_kernel_is_named() {
        let labels = codecs().into_iter().map(|(labels, _)| labels).collect::<Vec<_>>();
        assert!(labels[0].starts_with("{codec=\"novelpoly\",kernel=\""), "{labels:?}");
        assert!(labels[1].starts_with("{codec=\"cauchy\",kernel=\""), "{labels:?}");
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
