//! `put`, `get`, `cat`, `stat`, `ls`, `rm`, `cp`, `mv`, `mb`, `rb`: one object or bucket each.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use rsb_core::format::manifest::Versions;
use serde_json::json;

use super::files;
use crate::cli::Put;
use crate::door::{Deleted, Door, Facts, Only, Upload};
use crate::failure::{DONE, Failure, of_short};
use crate::human::{short_time, size};
use crate::name::Name;
use crate::out::Out;
use crate::progress::Bar;

pub async fn put(out: &Out, door: &dyn Door, args: &Put) -> Result<u8, Failure> {
    let place = Name::any(&args.object)?;
    let (source, object) = match files::is_standard(&args.file) {
        true => (files::standard_input()?, Name::object(&args.object)?),
        false => {
            let source = files::open(&args.file).await?;
            (source, place.target(&file_name(&args.file)?)?)
        }
    };
    let bar = Bar::bytes(out, object.to_string(), source.len);
    let upload = Upload {
        object,
        len: source.len,
        data_shards: args.data_shards,
        parity_shards: args.parity_shards,
        metadata: BTreeMap::new(),
        only: Only::Any,
        body: bar.count(source.body),
    };
    let facts = door.put(upload).await;
    bar.done();
    say_stored(out, &facts?)
}

/// A file's own name, for a key.
pub fn file_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    name.ok_or_else(|| Failure::usage(format!("{} has no name that can be a key; name the key", path.display())))
}

/// Says that an object was stored, and whether wholly.
pub fn say_stored(out: &Out, facts: &Facts) -> Result<u8, Failure> {
    match facts.short {
        0 => out.say_done(facts, || format!("{}: {} stored", facts.name(), size(facts.size)))?,
        short => out.say(facts, || {
            format!(
                "{}: stored, but {short} shards or manifest copies are short; they are in the ledger, and `rsb repair` brings them back",
                facts.name()
            )
        })?,
    }
    Ok(of_short(facts.short))
}

pub async fn get(out: &Out, door: &dyn Door, object: &str, file: Option<&Path>) -> Result<u8, Failure> {
    if file.is_some_and(files::is_standard) {
        return cat(out, door, object).await;
    }
    let object = Name::object(object)?;
    let target = files::target_of(file, object.file_name())?;
    let mut download = door.get(&object).await?;
    let bar = Bar::bytes(out, object.to_string(), Some(download.size));
    download.body = bar.count(download.body);
    let bytes = download.size;
    let written = files::to_file(download, &target).await;
    bar.done();
    written?;
    let value = json!({ "bucket": object.bucket, "key": object.key, "file": target, "size": bytes });
    out.say_done(&value, || format!("{object}: {} written to {}", size(bytes), target.display()))?;
    Ok(DONE)
}

pub async fn cat(out: &Out, door: &dyn Door, object: &str) -> Result<u8, Failure> {
    let object = Name::object(object)?;
    let mut download = door.get(&object).await?;
    // Where the bytes themselves go to the terminal, a bar would be in between.
    let shown = !std::io::stdout().is_terminal();
    let bar = if shown { Bar::bytes(out, object.to_string(), Some(download.size)) } else { Bar::hidden() };
    download.body = bar.count(download.body);
    let written = files::to_standard_output(download).await;
    bar.done();
    written.map(|()| DONE)
}

pub async fn stat(out: &Out, door: &dyn Door, object: &str) -> Result<u8, Failure> {
    let facts = door.stat(&Name::object(object)?).await?;
    out.say(&facts, || {
        let scheme = match (facts.data_shards, facts.parity_shards, &facts.codec) {
            (Some(k), Some(m), Some(codec)) => format!("{k}+{m} {codec}"),
            _ => "none: it has no bytes".into(),
        };
        let mut text = format!(
            "{}\n  size      {} ({})\n  modified  {}\n  etag      {}\n  version   {}\n  scheme    {scheme}",
            facts.name(),
            facts.size,
            size(facts.size),
            facts.modified,
            facts.etag,
            facts.version,
        );
        if let Some(content_type) = &facts.content_type {
            text += &format!("\n  type      {content_type}");
        }
        facts.metadata.iter().for_each(|(name, value)| text += &format!("\n  meta      {name}: {value}"));
        text
    })?;
    Ok(DONE)
}

pub async fn ls(out: &Out, door: &dyn Door, place: Option<&str>) -> Result<u8, Failure> {
    let Some(place) = place else {
        for bucket in door.buckets().await? {
            out.say(&bucket, || format!("{}  {}", short_time(&bucket.created), bucket.name))?;
        }
        return Ok(DONE);
    };
    let of = Name::any(place)?;
    let mut after = None;
    loop {
        let page = door.list(&of, after).await?;
        for facts in &page.items {
            out.say(facts, || format!("{}  {:>14}  {}", short_time(&facts.modified), facts.size, facts.key))?;
        }
        after = page.next;
        if after.is_none() || out.is_closed() {
            return Ok(DONE);
        }
    }
}

pub async fn rm(out: &Out, door: &dyn Door, object: &str) -> Result<u8, Failure> {
    let object = Name::object(object)?;
    let deleted = door.delete(&object).await?;
    say_deleted(out, &object, &deleted)
}

/// Says that an object was deleted.
pub fn say_deleted(out: &Out, object: &Name, deleted: &Deleted) -> Result<u8, Failure> {
    let value = json!({ "bucket": object.bucket, "key": object.key, "deleted": true,
        "delete_marker": deleted.delete_marker, "short": deleted.short });
    out.say_done(&value, || format!("{object}: deleted"))?;
    Ok(of_short(deleted.short))
}

pub async fn cp(out: &Out, door: &dyn Door, from: &str, to: &str) -> Result<u8, Failure> {
    let (from, to) = both(from, to)?;
    let facts = door.copy(&from, &to).await?;
    out.say_done(&facts, || format!("{from} copied to {to}"))?;
    Ok(of_short(facts.short))
}

/// Not one step but two: a crash between them leaves the object under both names, and never under none.
pub async fn mv(out: &Out, door: &dyn Door, from: &str, to: &str) -> Result<u8, Failure> {
    let (from, to) = both(from, to)?;
    let facts = door.copy(&from, &to).await?;
    let deleted = door.delete(&from).await?;
    out.say_done(&facts, || format!("{from} is now {to}"))?;
    Ok(of_short(facts.short + deleted.short))
}

/// Source and target; a target that is a bucket or ends with a slash takes the source's last part.
fn both(from: &str, to: &str) -> Result<(Name, Name), Failure> {
    let from = Name::object(from)?;
    let to = Name::any(to)?.target(from.file_name())?;
    match from == to {
        true => Err(Failure::usage(format!("source and target are the same object, {from}; name another target"))),
        false => Ok((from, to)),
    }
}

pub async fn mb(out: &Out, door: &dyn Door, bucket: &str, keep_all: bool) -> Result<u8, Failure> {
    let versions = if keep_all { Versions::KeepAll } else { Versions::KeepLast };
    let bucket = door.make_bucket(&Name::bucket(bucket)?, versions).await?;
    out.say_done(&bucket, || format!("{}: made", bucket.name))?;
    Ok(DONE)
}

pub async fn rb(out: &Out, door: &dyn Door, bucket: &str) -> Result<u8, Failure> {
    let bucket = Name::bucket(bucket)?;
    door.delete_bucket(&bucket).await?;
    out.say_done(&json!({ "bucket": bucket, "deleted": true }), || format!("{bucket}: deleted"))?;
    Ok(DONE)
}
