//! `import`: brings in what another program has stored.
//!
//! Of the prototype's folder each file becomes an object, several at once. It is surveyed first, and then stored from a stream
//! that heals it and is verified once more. The digest of its `.md` is kept with the object: so a second run knows what is
//! there already, and what is another file since.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use futures::stream::{self, StreamExt};
use rsb_core::Late;
use rsb_core::names::check_key;
use serde::Serialize;

use super::tally::Tally;
use crate::cli::Prototype;
use crate::door::{Door, Only, Upload};
use crate::failure::{DONE, FAILED, Failure, NOT_FOUND, REFUSED, UNREADABLE, of_short};
use crate::human::{count, rfc3339, size};
use crate::name::Name;
use crate::out::Out;
use crate::progress::Bar;
use crate::prototype::{Damage, Folder, Mend, Parts, Survey, Unknown, Unmendable};

/// Files in transfer at once. Each is spread over many backends already.
const AT_ONCE: usize = 4;
/// The object's metadata that holds the digest of the `.md` it was imported by.
const FINGERPRINT: &str = "prototype-md-sha256";
/// The object's metadata that holds when the prototype's file was last written.
const MODIFIED: &str = "prototype-modified";

/// How it went with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Its data was whole.
    Imported,
    /// Parts of its data were rebuilt.
    Healed,
    /// An earlier run imported it.
    Already,
    /// Too little of it is left, or nothing is known that it could be verified by.
    BeyondRepair,
    /// It could not be stored, or not be read.
    Failed,
}

/// What is told of a file.
#[derive(Debug, Serialize)]
struct Line {
    bucket: String,
    key: String,
    size: Option<u64>,
    state: State,
    damage: Vec<Damage>,
    short: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip)]
    failure: Option<Failure>,
}

/// What is told of all.
#[derive(Debug, Default, Serialize)]
struct Summary {
    imported: u64,
    healed: u64,
    already: u64,
    beyond_repair: u64,
    failed: u64,
    bytes: u64,
    left_out: Vec<String>,
    dry_run: bool,
}

pub async fn prototype(out: &Out, door: &dyn Door, args: &Prototype) -> Result<u8, Failure> {
    let place = Name::any(&args.bucket)?;
    let folder = read_folder(&args.dir).await?;
    // A bucket that is not there is said once and at once.
    door.list(&Name { bucket: place.bucket.clone(), key: place.folder() }, None).await?;
    let work = |parts: &Parts| parts.stored_bytes().saturating_add(parts.description().size());
    let all = folder.files.iter().map(work).fold(0, u64::saturating_add);
    let bar = Bar::bytes(out, count(folder.files.len() as u64, "file"), Some(all));
    let import = Import { door, place: &place, bar: &bar, dry_run: args.dry_run };
    let mut summary = Summary { left_out: folder.strangers, dry_run: args.dry_run, ..Summary::default() };
    let mut tally = Tally::default();
    let unknown = stream::iter(folder.unknown.into_iter().map(|file| unverifiable(&place, &args.dir, file)));
    let mut lines = stream::iter(folder.files).map(|parts| import.one(parts)).buffer_unordered(AT_ONCE).chain(unknown);
    while let Some(line) = lines.next().await {
        summary.count(&line);
        if !bar.aside(|| tell(out, &mut tally, &line, args.dry_run))? {
            break;
        }
    }
    drop(lines);
    bar.done();
    summary.tell(out)?;
    Ok(tally.code())
}

async fn read_folder(dir: &Path) -> Result<Folder, Failure> {
    let root = dir.to_owned();
    let cannot = |error: std::io::Error| Failure::local(format!("{} cannot be read", dir.display()), &error);
    let folder = blocking(move || Folder::read(&root)).await?.map_err(cannot)?;
    if folder.files.is_empty() && folder.unknown.is_empty() {
        let sentence = format!(
            "there is nothing in {} that the prototype has stored (NAME, NAME.md, NAME.parity.1 …)",
            dir.display()
        );
        return Err(Failure::new(NOT_FOUND, sentence));
    }
    Ok(folder)
}

/// Runs what waits for a disk where it keeps nobody waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let ended = |error| Failure::new(FAILED, format!("reading the folder was ended: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)
}

fn unverifiable(place: &Name, dir: &Path, file: Unknown) -> Line {
    let Unknown { name, why } = file;
    let path = dir.join(&name);
    let sentence = format!(
        "{} was not imported: {why}, so nothing says whether its bytes are right; `rsb put` stores it as it is",
        path.display()
    );
    let object = Name { bucket: place.bucket.clone(), key: format!("{}{name}", place.folder()) };
    Line { why: Some(why), ..Line::failed(object, State::BeyondRepair, None, Failure::new(UNREADABLE, sentence)) }
}

/// What all files have in common.
struct Import<'a> {
    door: &'a dyn Door,
    place: &'a Name,
    bar: &'a Bar,
    dry_run: bool,
}

impl Import<'_> {
    async fn one(&self, parts: Parts) -> Line {
        let object =
            Name { bucket: self.place.bucket.clone(), key: format!("{}{}", self.place.folder(), parts.name()) };
        let size = parts.description().size();
        let all = parts.stored_bytes().saturating_add(size);
        let told = AtomicU64::new(0);
        let line = match self.import(&object, parts, &told).await {
            Ok(line) => line,
            Err(failure) => Line::failed(object, State::Failed, Some(size), failure),
        };
        // What was passed over counts as done.
        self.bar.add(all.saturating_sub(told.into_inner()));
        line
    }

    async fn import(&self, object: &Name, parts: Parts, told: &AtomicU64) -> Result<Line, Failure> {
        check_key(&object.key)?;
        let size = parts.description().size();
        let Some(only) = self.what_is_there(object, &parts).await? else {
            return Ok(Line::done(object, State::Already, size));
        };
        let (parts, survey) = self.survey(parts, told).await?;
        let (name, damage) = (parts.name().to_owned(), survey.damage.clone());
        let metadata = metadata(&parts);
        let beyond = Late::default();
        let noted = beyond.clone();
        let mend = match blocking(move || Mend::new(parts, survey, noted)).await? {
            Ok(mend) => mend,
            Err(Unmendable(why)) => return Ok(Line::beyond_repair(object, &name, size, damage, why)),
        };
        let state = if mend.heals() { State::Healed } else { State::Imported };
        let body = self.bar.count(mend.into_body());
        let (object, len, (data_shards, parity_shards)) = (object.clone(), Some(size), (None, None));
        let upload = Upload { object: object.clone(), len, data_shards, parity_shards, metadata, only, body };
        match (self.store(upload).await, beyond.get()) {
            (Ok(short), _) => {
                told.fetch_add(size, Ordering::Relaxed);
                Ok(Line { damage, short, ..Line::done(&object, state, size) })
            }
            (Err(_), Some(Unmendable(why))) => Ok(Line::beyond_repair(&object, &name, size, damage, why)),
            (Err(failure), None) => Err(failure),
        }
    }

    /// Under which condition the object is to be written; `None` where an earlier run has written it.
    async fn what_is_there(&self, object: &Name, parts: &Parts) -> Result<Option<Only>, Failure> {
        let facts = match self.door.stat(object).await {
            Err(failure) if failure.code() == NOT_FOUND => return Ok(Some(Only::New)),
            found => found?,
        };
        match facts.metadata.get(FINGERPRINT) {
            Some(known) if known == parts.description().fingerprint() => Ok(None),
            Some(_) => Ok(Some(Only::Instead(facts.etag))),
            None => Err(in_the_way(object, parts.name())),
        }
    }

    async fn survey(&self, parts: Parts, told: &AtomicU64) -> Result<(Parts, Survey), Failure> {
        let bar = self.bar.clone();
        let surveyed = blocking(move || {
            let read = Cell::new(0);
            let survey = Survey::of(&parts, &|bytes| {
                bar.add(bytes);
                read.set(read.get() + bytes);
            });
            (parts, survey, read.into_inner())
        });
        let (parts, survey, read) = surveyed.await?;
        told.fetch_add(read, Ordering::Relaxed);
        Ok((parts, survey))
    }

    /// Stores the file, or only reads it to its end; gives how much of it is short.
    async fn store(&self, upload: Upload) -> Result<usize, Failure> {
        match self.dry_run {
            true => Ok(upload.body.try_for_each(|_| async { Ok(()) }).await.map(|()| 0)?),
            false => Ok(self.door.put(upload).await?.short),
        }
    }
}

fn in_the_way(object: &Name, name: &str) -> Failure {
    Failure::new(
        FAILED,
        format!(
            "{object} is there already and was not imported from the prototype's {name}; it was left as it is: delete it, or import below another prefix"
        ),
    )
}

fn metadata(parts: &Parts) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::from([(FINGERPRINT.to_owned(), parts.description().fingerprint().to_owned())]);
    if let Some(modified) = parts.modified_ms() {
        metadata.insert(MODIFIED.into(), rfc3339(modified));
    }
    metadata
}

impl Line {
    fn done(object: &Name, state: State, size: u64) -> Self {
        let Name { bucket, key } = object.clone();
        Self { bucket, key, size: Some(size), state, damage: Vec::new(), short: 0, why: None, failure: None }
    }

    fn failed(object: Name, state: State, size: Option<u64>, failure: Failure) -> Self {
        let why = Some(failure.to_string());
        Self { size, why, failure: Some(failure), ..Self::done(&object, state, 0) }
    }

    fn beyond_repair(object: &Name, name: &str, size: u64, damage: Vec<Damage>, why: String) -> Self {
        let sentence = format!("{name} is beyond repair and was not imported: {why} ({})", all_of(&damage));
        let failure = Failure::new(UNREADABLE, sentence);
        Self { why: Some(why), damage, ..Self::failed(object.clone(), State::BeyondRepair, Some(size), failure) }
    }

    fn text(&self, dry_run: bool) -> String {
        let what = match (self.state, dry_run) {
            (State::Already, _) => "is there already",
            (State::Healed, false) => "healed and imported",
            (State::Healed, true) => "can be healed and imported",
            (_, false) => "imported",
            (_, true) => "can be imported",
        };
        let mut text = format!("{}/{}: {} {what}", self.bucket, self.key, size(self.size.unwrap_or(0)));
        if !self.damage.is_empty() {
            text += &format!("; damaged in the folder: {}", all_of(&self.damage));
        }
        if self.short > 0 {
            text += &format!(
                "; {} shards or manifest copies are short; they are in the ledger, and `rsb repair` brings them back",
                self.short
            );
        }
        text
    }
}

fn all_of(damage: &[Damage]) -> String {
    damage.iter().map(|damage| format!("{}: {}", damage.part, damage.why)).collect::<Vec<_>>().join("; ")
}

/// Tells of a file. Gives whether it is worth going on.
fn tell(out: &Out, tally: &mut Tally, line: &Line, dry_run: bool) -> Result<bool, Failure> {
    if let Some(failure) = &line.failure {
        out.say(line, String::new)?;
        return Ok(tally.bad(out, failure, &[NOT_FOUND, REFUSED]));
    }
    match line.damage.is_empty() && line.short == 0 {
        true => out.say_done(line, || line.text(dry_run))?,
        // What was damaged is said to whoever wants to hear of errors only.
        false => out.say(line, || line.text(dry_run))?,
    }
    let moved = if line.state == State::Already { 0 } else { line.size.unwrap_or(0) };
    tally.good(if dry_run { DONE } else { of_short(line.short) }, moved);
    Ok(true)
}

impl Summary {
    fn count(&mut self, line: &Line) {
        let number = match line.state {
            State::Imported => &mut self.imported,
            State::Healed => &mut self.healed,
            State::Already => &mut self.already,
            State::BeyondRepair => &mut self.beyond_repair,
            State::Failed => &mut self.failed,
        };
        *number += 1;
        if matches!(line.state, State::Imported | State::Healed) {
            self.bytes += line.size.unwrap_or(0);
        }
    }

    fn tell(&self, out: &Out) -> Result<(), Failure> {
        if let Some(first) = self.left_out.first() {
            let number = count(self.left_out.len() as u64, "other file or folder");
            out.warn(format!(
                "{number} left out, the first is {first}: only what the prototype has stored is imported"
            ));
        }
        out.say(self, String::new)?;
        let (all, verb) =
            (count(self.imported + self.healed, "object"), if self.dry_run { "can be imported" } else { "imported" });
        let others = [
            (self.healed, "healed on the way"),
            (self.already, "there already"),
            (self.beyond_repair, "beyond repair"),
            (self.failed, "failed"),
        ];
        let others = others.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!(", {number} {what}"));
        out.note(format!("{all} {verb}, {}{}", size(self.bytes), others.collect::<String>()));
        Ok(())
    }
}
