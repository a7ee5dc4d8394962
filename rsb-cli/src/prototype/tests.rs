//! On folders that the prototype's own library has made: `tests/fixtures/prototype`, by `tests/support/prototype`.

use std::fs;
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use rsb_core::{ErrorKind, Late};

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/prototype");

/// A copy of the fixtures, to be damaged.
fn folder() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(FIXTURES).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

fn parts(root: &Path, name: &str) -> Parts {
    Folder::read(root).unwrap().files.into_iter().find(|parts| parts.name() == name).unwrap()
}

/// The file's bytes, or why there are none; and how many things are wrong with it.
async fn mended(root: &Path, name: &str) -> (Result<Vec<u8>, String>, usize) {
    let parts = parts(root, name);
    let survey = Survey::of(&parts, &|_| ());
    let damage = survey.damage.len();
    let beyond = Late::default();
    let bytes = match Mend::new(parts, survey, beyond.clone()) {
        Err(Unmendable(why)) => Err(why),
        Ok(mend) => match mend.into_body().try_collect::<Vec<_>>().await {
            Ok(pieces) => Ok(pieces.concat()),
            Err(error) => Err(beyond.get().map_or_else(|| error.to_string(), |Unmendable(why)| why)),
        },
    };
    (bytes, damage)
}

fn flip(path: PathBuf, at: usize) {
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn every_loss_that_the_code_survives_is_healed_and_none_beyond() {
    let whole = fs::read(format!("{FIXTURES}/five runs")).unwrap();
    // Bit n of the pattern: shard n of 5 + 3 is damaged.
    for pattern in 0u32..256 {
        let folder = folder();
        for shard in (0..8).filter(|shard| pattern >> shard & 1 == 1) {
            match shard {
                0..5 => flip(folder.path().join("five runs"), shard * 201 + shard * 40),
                _ => flip(folder.path().join(format!("five runs.parity.{}", shard - 4)), shard),
            }
        }
        let (bytes, damage) = mended(folder.path(), "five runs").await;
        let data_damaged = pattern & 31 != 0;
        assert_eq!(damage, pattern.count_ones() as usize, "{pattern:b}");
        match data_damaged && pattern.count_ones() > 3 {
            false => assert!(bytes.unwrap() == whole, "{pattern:b}"),
            true => assert!(bytes.unwrap_err().contains("are needed"), "{pattern:b}"),
        }
    }
}

#[tokio::test]
async fn files_that_are_cut_off_too_long_or_gone() {
    let whole = fs::read(format!("{FIXTURES}/five runs")).unwrap();
    let folder = folder();
    let file = folder.path().join("five runs");
    // 201 bytes a run: two and a bit are left, and three are lost.
    fs::write(&file, &whole[..450]).unwrap();
    assert_eq!(mended(folder.path(), "five runs").await, (Ok(whole.clone()), 1));
    // As the prototype's own repair leaves it: with the padding.
    fs::write(&file, [&whole[..], &[0, 0]].concat()).unwrap();
    assert_eq!(mended(folder.path(), "five runs").await, (Ok(whole.clone()), 1));
    fs::write(&file, &whole[..300]).unwrap();
    assert!(mended(folder.path(), "five runs").await.0.is_err());
    fs::remove_file(&file).unwrap();
    assert!(mended(folder.path(), "five runs").await.0.is_err());
    // Padding that is gone is not missed; parity that is cut off is.
    fs::write(&file, &whole).unwrap();
    fs::write(folder.path().join("five runs.parity.2"), "x").unwrap();
    assert_eq!(mended(folder.path(), "five runs").await, (Ok(whole), 1));
}

#[tokio::test]
async fn a_wrong_digest_is_told_from_wrong_bytes() {
    let folder = folder();
    let (file, md) = (folder.path().join("two runs"), folder.path().join("two runs.md"));
    let whole = fs::read(&file).unwrap();
    let text = fs::read_to_string(&md).unwrap();
    let first = text.split('"').nth(5).unwrap().to_owned();
    fs::write(&md, text.replace(&first, &"0".repeat(64))).unwrap();
    // Run 2 and the parity give run 1 as it lies there.
    assert_eq!(mended(folder.path(), "two runs").await, (Ok(whole), 1));
    // And when it does not lie there, nobody knows who is right.
    flip(file, 5);
    let (bytes, damage) = mended(folder.path(), "two runs").await;
    assert!(bytes.unwrap_err().contains("data run 1") && damage == 1);
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_not_given() {
    let folder = folder();
    let parts = parts(folder.path(), "two runs");
    let survey = Survey::of(&parts, &|_| ());
    let mend = Mend::new(parts, survey, Late::default()).unwrap();
    flip(folder.path().join("two runs"), 700);
    let error = mend.into_body().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.kind() == ErrorKind::BadBody && error.to_string().contains("has changed"), "{error}");
}

#[test]
fn names_are_sorted_by_what_describes_them() {
    let folder = folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let described = fs::read_to_string(folder.path().join("two runs.md")).unwrap();
    // A person's own notes.md, stored: its description is notes.md.md.
    write("notes.md", "# Notes");
    write("notes.md.md", &described);
    write("a.parity.1", "somebody's own");
    write("a.parity.1.md", &described);
    write("README.md", "nothing that it could describe");
    write("lone", "neither parity nor .md");
    write("unfinished", "");
    write("unfinished.parity.1", "");
    write("torn", "");
    write("torn.md", &described[..80]);
    write("two runs.parity.9", "more than it has");
    fs::create_dir(folder.path().join("folder.md")).unwrap();
    let found = Folder::read(folder.path()).unwrap();
    let names: Vec<&str> = found.files.iter().map(Parts::name).collect();
    assert_eq!(names, ["a.parity.1", "five runs", "notes.md", "two runs"]);
    let unknown: Vec<&str> = found.unknown.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(unknown, ["torn", "unfinished"]);
    assert!(found.unknown[0].why.contains("damaged") && found.unknown[1].why.contains("no .md"));
    assert_eq!(found.strangers, ["README.md", "folder.md", "lone", "two runs.parity.9"]);
}

#[test]
fn descriptions_that_make_no_sense_are_refused() {
    let of = |k: i64, m: i64, hashes: usize| {
        let hashes = vec![format!("\"{}\"", "0".repeat(64)); hashes].join(",");
        Description::parse(
            format!(r#"{{"Size":9,"Hashes":[{hashes}],"DataShards":{k},"ParityShards":{m}}}"#).as_bytes(),
        )
    };
    assert_eq!(of(2, 1, 3).unwrap().shard_bytes(), 5);
    for (k, m, hashes) in [(0, 1, 1), (-2, 1, 3), (2, 1, 2), (200, 57, 257), (i64::MAX, i64::MAX, 0)] {
        assert!(of(k, m, hashes).is_err(), "{k}+{m}");
    }
    // Runs behind the end of a short file are padding alone.
    let short = of(8, 1, 9).unwrap();
    assert_eq!((short.run(4), short.run(5), short.run(7)), (8..9, 9..9, 9..9));
    let text = String::from_utf8(fs::read(format!("{FIXTURES}/two runs.md")).unwrap()).unwrap();
    assert!(Description::parse(text.replace("808", "-1").as_bytes()).is_err());
    assert!(Description::parse(text.replace("\"]", "x\"]").as_bytes()).unwrap_err().contains("SHA-256"));
}
