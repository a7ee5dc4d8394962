//! `put`, `get`, `cat`, `stat`, `ls`, `rm`, `cp`, `mv`, `mb`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use rsb_core::catalog::{ListQuery, Precondition};
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::{BodyStream, Engine, Error, ErrorKind, ObjectInfo, PutRequest};
use serde_json::{Value, json};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use super::{object_name, say};
use crate::cli::{Cli, Put};
use crate::failure::{DONE, FAILED, Failure, SHORT};

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;

fn facts(info: &ObjectInfo) -> Value {
    let scheme = info.scheme();
    json!({
        "bucket": info.manifest.bucket, "key": info.manifest.key, "size": info.size(), "etag": info.etag(),
        "version": info.version(), "modified_ms": info.modified_ms(), "short": info.short,
        "data_shards": scheme.map(|s| s.k()), "parity_shards": scheme.map(|s| s.m()),
        "codec": scheme.map(|s| s.codec_id().to_string()), "content_type": info.content_type(),
        "metadata": info.manifest.metadata,
    })
}

pub async fn put(cli: &Cli, engine: &Engine, args: &Put) -> Result<u8, Failure> {
    let (bucket, key) = object_name(&args.object)?;
    let (len, reader): (Option<u64>, Box<dyn AsyncRead + Send + Unpin>) = match args.file.to_str() {
        Some("-") => {
            use std::os::fd::AsFd;
            let input = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
            (None, Box::new(tokio::fs::File::from_std(input)))
        }
        _ => {
            let cannot =
                |e: std::io::Error| Failure::new(FAILED, format!("{} cannot be read: {e}", args.file.display()));
            let file = tokio::fs::File::open(&args.file).await.map_err(cannot)?;
            let meta = file.metadata().await.map_err(cannot)?;
            if !meta.is_file() {
                return Err(Failure::usage(format!("{} is not a file", args.file.display())));
            }
            (Some(meta.len()), Box::new(file))
        }
    };
    let request = PutRequest {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        len,
        data_shards: args.data_shards,
        parity_shards: args.parity_shards,
        ..PutRequest::default()
    };
    let progress = bar(cli, len);
    let counted = progress.clone();
    let body: BodyStream = ReaderStream::with_capacity(reader, CHUNK)
        .inspect_ok(move |bytes| counted.inc(bytes.len() as u64))
        .map_err(|e| Error::new(ErrorKind::BadBody, format!("the file cannot be read to its end: {e}")))
        .boxed();
    let info = engine.put(request, body).await;
    progress.finish_and_clear();
    let info = info?;
    say(cli, &facts(&info), || match (cli.quiet, info.short) {
        (_, short @ 1..) => format!(
            "{}: stored, but {short} shards or manifest copies are short; they are in the ledger, and `rsb repair` brings them back",
            info.name()
        ),
        (true, 0) => String::new(),
        (false, 0) => format!("{}: {} bytes stored", info.name(), info.size()),
    })?;
    Ok(if info.short > 0 { SHORT } else { DONE })
}

/// A bar with rate and time left on a terminal; hidden elsewhere.
fn bar(cli: &Cli, len: Option<u64>) -> indicatif::ProgressBar {
    if cli.quiet || cli.json || !std::io::stderr().is_terminal() {
        return indicatif::ProgressBar::hidden();
    }
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    let style = indicatif::ProgressStyle::with_template(template);
    match (len, style) {
        (Some(len), Ok(style)) => indicatif::ProgressBar::new(len).with_style(style),
        _ => indicatif::ProgressBar::new_spinner(),
    }
}

pub async fn get(engine: &Engine, object: &str, file: Option<&Path>) -> Result<u8, Failure> {
    let (bucket, key) = object_name(object)?;
    let mut found = engine.get(bucket, key, None, None).await?;
    if file.is_some_and(|f| f == Path::new("-")) {
        while let Some(bytes) = found.stream.try_next().await? {
            match std::io::stdout().write_all(&bytes) {
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(DONE),
                other => other?,
            }
        }
        std::io::stdout().flush()?;
        return Ok(DONE);
    }
    let target = match file {
        Some(file) => file.to_owned(),
        None => PathBuf::from(key.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("object")),
    };
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside the target and renamed at the end, so that a read that fails leaves no half file.
    let mut part = tempfile::NamedTempFile::new_in(folder)
        .map_err(|e| Failure::new(FAILED, format!("{} cannot be written: {e}", target.display())))?;
    while let Some(bytes) = found.stream.try_next().await? {
        part.write_all(&bytes)?;
    }
    part.persist(&target).map_err(|e| Failure::new(FAILED, format!("{} cannot be written: {e}", target.display())))?;
    Ok(DONE)
}

pub async fn stat(cli: &Cli, engine: &Engine, object: &str) -> Result<u8, Failure> {
    let (bucket, key) = object_name(object)?;
    let info = engine.head(bucket, key, None).await?;
    say(cli, &facts(&info), || {
        format!(
            "{}\n  size     {}\n  etag     {}\n  version  {}\n  scheme   {}",
            info.name(),
            info.size(),
            info.etag(),
            info.version(),
            info.scheme().map_or_else(String::new, |s| s.to_string()),
        )
    })?;
    Ok(DONE)
}

pub async fn ls(cli: &Cli, engine: &Engine, place: Option<&str>) -> Result<u8, Failure> {
    let Some(place) = place else {
        for bucket in engine.buckets().await? {
            let value = json!({ "bucket": bucket.name, "created_ms": bucket.created_ms, "settings": bucket.settings });
            say(cli, &value, || bucket.name.clone())?;
        }
        return Ok(DONE);
    };
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let mut query =
        ListQuery { bucket: bucket.to_owned(), prefix: prefix.to_owned(), limit: 1000, ..ListQuery::default() };
    loop {
        let page = engine.list(&query).await?;
        for object in &page.objects {
            let info = &object.info;
            say(cli, &facts(info), || format!("{:>14}  {}", info.size(), info.manifest.key))?;
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return Ok(DONE),
        }
    }
}

pub async fn rm(cli: &Cli, engine: &Engine, object: &str) -> Result<u8, Failure> {
    let (bucket, key) = object_name(object)?;
    engine.head(bucket, key, None).await?;
    let deleted = engine.delete(bucket, key, None, Precondition::None).await?;
    let value = json!({ "deleted": deleted.existed, "delete_marker": deleted.delete_marker, "short": deleted.short });
    say(cli, &value, String::new)?;
    Ok(if deleted.short > 0 { SHORT } else { DONE })
}

pub async fn cp(cli: &Cli, engine: &Engine, from: &str, to: &str, and_delete: bool) -> Result<u8, Failure> {
    let (source, target) = (object_name(from)?, object_name(to)?);
    if source == target {
        return Err(Failure::usage("source and target are the same object"));
    }
    let info = engine.copy(source, target, Precondition::None).await?;
    if and_delete {
        engine.delete(source.0, source.1, None, Precondition::None).await?;
    }
    say(cli, &facts(&info), String::new)?;
    Ok(if info.short > 0 { SHORT } else { DONE })
}

pub async fn mb(engine: &Engine, bucket: &str, keep_all: bool) -> Result<u8, Failure> {
    let versions = if keep_all { Versions::KeepAll } else { Versions::KeepLast };
    engine.create_bucket(bucket, BucketSettings { versions, ..BucketSettings::default() }).await?;
    Ok(DONE)
}
