//! `put -r`, `get -r`, `rm -r`: a folder's files, or all objects below a prefix, several at once. One that fails is named,
//! and the others go on; the exit code is the worst of all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use futures::stream::{self, StreamExt};
use rsb_core::names::check_key;
use serde_json::json;
use walkdir::WalkDir;

use super::files;
use super::objects::{say_deleted, say_stored};
use super::tally::Tally;
use super::tree::{self, Place};
use crate::cli::Put;
use crate::door::{Door, Facts, Only, Upload};
use crate::failure::{DONE, FAILED, Failure, NOT_FOUND, REFUSED};
use crate::human::{count, size};
use crate::name::Name;
use crate::out::Out;
use crate::progress::Bar;

/// Objects in transfer at once. Each is spread over many backends already.
const AT_ONCE: usize = 4;
/// Deletes at once: a delete waits for the backends and moves nothing.
const DELETES_AT_ONCE: usize = 16;
pub async fn put(out: &Out, door: &dyn Door, args: &Put) -> Result<u8, Failure> {
    if files::is_standard(&args.file) {
        return Err(Failure::usage("-r takes a folder, and - is standard input; leave one of them out"));
    }
    let place = Name::any(&args.object)?;
    let files = files_of(out, &args.file, &place)?;
    let bar = Bar::bytes(out, format!("{} files", files.len()), Some(files.iter().map(|file| file.len).sum()));
    let one = |file: LocalFile| {
        let bar = &bar;
        async move {
            let source = files::open(&file.path).await?;
            let (data_shards, parity_shards) = (args.data_shards, args.parity_shards);
            let body = bar.count(source.body);
            let (metadata, only) = (BTreeMap::new(), Only::Any);
            let (object, len) = (file.object, source.len);
            door.put(Upload { object, len, data_shards, parity_shards, metadata, only, body }).await
        }
    };
    let mut tally = Tally::default();
    let mut running = stream::iter(files).map(one).buffer_unordered(AT_ONCE);
    while let Some(outcome) = running.next().await {
        match outcome {
            Ok(facts) => tally.good(bar.aside(|| say_stored(out, &facts))?, facts.size),
            Err(failure) if bar.aside(|| tally.bad(out, &failure, &[NOT_FOUND, REFUSED])) => {}
            Err(_) => break,
        }
    }
    bar.done();
    Ok(tally.end(out, "stored"))
}

/// A file to be stored.
struct LocalFile {
    path: PathBuf,
    object: Name,
    len: u64,
}

/// The regular files below a folder with the objects they become. Names that no key can have are refused, all at once and
/// before anything is stored.
fn files_of(out: &Out, root: &Path, place: &Name) -> Result<Vec<LocalFile>, Failure> {
    let shown = root.display();
    let meta = root.metadata().map_err(|e| Failure::local(format!("{shown} cannot be read"), &e))?;
    if !meta.is_dir() {
        return Err(Failure::usage(format!("{shown} is a file; leave -r out")));
    }
    let prefix = place.folder();
    let (mut found, mut wrong, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for entry in WalkDir::new(root).sort_by_file_name() {
        let entry = entry.map_err(|e| Failure::new(FAILED, format!("{shown} cannot be read wholly: {e}")))?;
        if entry.file_type().is_dir() {
            continue;
        }
        if !entry.file_type().is_file() {
            left_out.push(entry.path().display().to_string());
            continue;
        }
        match key_of(entry.path(), root, &prefix) {
            Ok(key) => {
                let object = Name { bucket: place.bucket.clone(), key };
                let len = entry.metadata().map_or(0, |meta| meta.len());
                found.push(LocalFile { path: entry.into_path(), object, len });
            }
            Err(why) => wrong.push(why),
        }
    }
    if !wrong.is_empty() {
        return Err(Failure::problems(FAILED, wrong));
    }
    if let Some(first) = left_out.first() {
        let number = count(left_out.len() as u64, "symbolic link or special file");
        out.warn(format!("{number} left out, the first is {first}; only regular files are stored"));
    }
    Ok(found)
}

fn key_of(path: &Path, root: &Path, prefix: &str) -> Result<String, String> {
    let below = path.strip_prefix(root).unwrap_or(path);
    let text =
        below.to_str().ok_or_else(|| format!("{} is not UTF-8, so it cannot be a key; rename it", path.display()))?;
    let key = format!("{prefix}{text}");
    check_key(&key).map_err(|error| format!("{} cannot be stored: {error}", path.display()))?;
    Ok(key)
}

pub async fn get(out: &Out, door: &dyn Door, place: &str, folder: Option<&Path>) -> Result<u8, Failure> {
    let place = Name::any(place)?;
    let root = folder.unwrap_or(Path::new("."));
    if files::is_standard(root) {
        return Err(Failure::usage("-r writes a folder, and - is standard output; leave one of them out"));
    }
    let prefix = Name { key: place.folder(), ..place.clone() };
    let objects = all_below(door, &prefix).await?;
    if objects.is_empty() && !place.key.is_empty() {
        return Err(nothing_below(&place));
    }
    let places = tree::places(&prefix.key, &objects).map_err(|problems| Failure::problems(FAILED, problems))?;
    let bar = Bar::bytes(out, format!("{} objects", objects.len()), Some(objects.iter().map(|o| o.size).sum()));
    let one = |(facts, place): (Facts, Place)| {
        let bar = &bar;
        async move {
            let target = tree::prepare(root, &place)?;
            if matches!(place, Place::File(_)) {
                let mut download = door.get(&Name { bucket: facts.bucket.clone(), key: facts.key.clone() }).await?;
                download.body = bar.count(download.body);
                files::to_file(download, &target).await?;
            }
            Ok((facts, target))
        }
    };
    let mut tally = Tally::default();
    let mut running = stream::iter(objects.into_iter().zip(places)).map(one).buffer_unordered(AT_ONCE);
    while let Some(outcome) = running.next().await {
        match outcome {
            Ok((facts, target)) => {
                let value = json!({ "bucket": facts.bucket, "key": facts.key, "file": target, "size": facts.size });
                let text = || format!("{}: {} written to {}", facts.name(), size(facts.size), target.display());
                bar.aside(|| out.say_done(&value, text))?;
                tally.good(DONE, facts.size);
            }
            Err(failure) if bar.aside(|| tally.bad(out, &failure, &[REFUSED])) => {}
            Err(_) => break,
        }
    }
    bar.done();
    Ok(tally.end(out, "fetched"))
}

pub async fn rm(out: &Out, door: &dyn Door, place: &str) -> Result<u8, Failure> {
    let place = Name::any(place)?;
    let prefix = Name { key: place.folder(), ..place.clone() };
    let mut objects = all_below(door, &prefix).await?;
    if prefix != place {
        // `rm -r x` takes x itself too, as everywhere else.
        match door.stat(&place).await {
            Ok(itself) => objects.push(itself),
            Err(failure) if failure.code() == NOT_FOUND => {}
            Err(failure) => return Err(failure),
        }
    }
    if objects.is_empty() && !place.key.is_empty() {
        return Err(nothing_below(&place));
    }
    let one = |facts: Facts| async move {
        let object = Name { bucket: facts.bucket.clone(), key: facts.key.clone() };
        let deleted = door.delete(&object).await?;
        Ok((object, deleted, facts.size))
    };
    let mut tally = Tally::default();
    let mut running = stream::iter(objects).map(one).buffer_unordered(DELETES_AT_ONCE);
    while let Some(outcome) = running.next().await {
        match outcome {
            Ok((object, deleted, size)) => tally.good(say_deleted(out, &object, &deleted)?, size),
            // Somebody else deleted it in the meantime: that is what was asked for.
            Err(failure) if Failure::code(&failure) == NOT_FOUND => {}
            Err(failure) if tally.bad(out, &failure, &[REFUSED]) => {}
            Err(_) => break,
        }
    }
    Ok(tally.end(out, "deleted"))
}

fn nothing_below(place: &Name) -> Failure {
    Failure::new(NOT_FOUND, format!("there is no object below {place}; see `rsb ls {}`", place.bucket))
}

/// Every object whose key begins with the prefix.
async fn all_below(door: &dyn Door, prefix: &Name) -> Result<Vec<Facts>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = door.list(prefix, after).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}
