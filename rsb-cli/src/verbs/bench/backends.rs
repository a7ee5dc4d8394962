//! How fast the backends are: each alone, one request after the other, as a user of it waits.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use rsb_backends::stores;
use rsb_backends::wrappers::wrap;
use rsb_core::{Env, Role};
use serde::Serialize;
use tokio::time::Instant;

use crate::assemble;
use crate::config::{Backend, Config};
use crate::failure::{DONE, Failure, worse};
use crate::out::Out;

/// The small object, whose latency is measured, and how often.
const SMALL: usize = 64 << 10;
const SMALL_RUNS: usize = 8;
/// The large object, whose throughput is measured, and how often.
const LARGE: usize = 8 << 20;
const LARGE_RUNS: usize = 2;

/// One line. Latencies are medians.
#[derive(Serialize)]
struct Row<'a> {
    backend: &'a str,
    put_64k_ms: f64,
    get_64k_ms: f64,
    put_8m_mb_s: f64,
    get_8m_mb_s: f64,
}

/// Measures every backend that may be written. One that fails is named, and the others are measured all the same.
pub async fn run(out: &Out, config: &Config) -> Result<u8, Failure> {
    let mut code = DONE;
    out.head("backend               PUT 64 KiB  GET 64 KiB    PUT 8 MiB    GET 8 MiB")?;
    for backend in &config.backends {
        if backend.role == Role::ReadOnly || backend.url.starts_with("http") {
            out.note(format!("backend {:?} is only read, so it is not measured", backend.name));
            continue;
        }
        match measure(config, backend).await {
            Ok(row) => out.say(&row, || {
                format!(
                    "{:<20} {:>8.2} ms {:>8.2} ms {:>7.1} MB/s {:>7.1} MB/s",
                    row.backend, row.put_64k_ms, row.get_64k_ms, row.put_8m_mb_s, row.get_8m_mb_s
                )
            })?,
            Err(failure) => {
                out.failure(&failure);
                code = worse(code, failure.code());
            }
        }
    }
    Ok(code)
}

async fn measure<'a>(config: &Config, backend: &'a Backend) -> Result<Row<'a>, Failure> {
    let spec = assemble::spec(config, backend);
    stores::probe(&spec).await?;
    let store = wrap(&backend.name, stores::build(&spec).await?, &assemble::wrap_options(&backend.limits));
    let env = Env::system();
    let folder = format!("bench/{}", env.new_id());
    let mut written = Vec::new();
    let measured = measure_in(&store, &env, &folder, &mut written).await;
    for path in &written {
        // What cannot be deleted is said only when nothing worse happened.
        if let (Err(error), true) = (store.delete(path).await, measured.is_ok()) {
            let sentence = format!("backend {:?}: {path} was written and cannot be deleted: {error}", backend.name);
            return Err(Failure::new(crate::failure::FAILED, sentence));
        }
    }
    let failed = |e: object_store::Error| {
        Failure::new(crate::failure::FAILED, format!("backend {:?} cannot be measured: {e}", backend.name))
    };
    let ([put_small, get_small], [put_large, get_large]) = measured.map_err(failed)?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let mb_s = |time: Duration| LARGE as f64 / 1e6 / time.as_secs_f64().max(1e-9);
    Ok(Row {
        backend: &backend.name,
        put_64k_ms: ms(put_small),
        get_64k_ms: ms(get_small),
        put_8m_mb_s: mb_s(put_large),
        get_8m_mb_s: mb_s(get_large),
    })
}

/// Median times of PUT and GET, of the small object and of the large one.
type Times = ([Duration; 2], [Duration; 2]);

async fn measure_in(
    store: &Arc<dyn ObjectStore>,
    env: &Env,
    folder: &str,
    written: &mut Vec<Path>,
) -> object_store::Result<Times> {
    let small = times(store, env, (folder, SMALL, SMALL_RUNS), written).await?;
    let large = times(store, env, (folder, LARGE, LARGE_RUNS), written).await?;
    Ok((small, large))
}

async fn times(
    store: &Arc<dyn ObjectStore>,
    env: &Env,
    (folder, size, runs): (&str, usize, usize),
    written: &mut Vec<Path>,
) -> object_store::Result<[Duration; 2]> {
    let mut bytes = vec![0; size];
    env.fill(&mut bytes);
    let payload = PutPayload::from(bytes);
    let (mut puts, mut gets) = (Vec::new(), Vec::new());
    for run in 0..runs {
        let path = Path::from(format!("{folder}/{size}-{run}"));
        written.push(path.clone());
        let began = Instant::now();
        store.put(&path, payload.clone()).await?;
        puts.push(began.elapsed());
        let began = Instant::now();
        store.get(&path).await?.bytes().await?;
        gets.push(began.elapsed());
    }
    Ok([median(puts), median(gets)])
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
