//! Which files of the folder belong together. The names are not clear by themselves: a person may have stored a file called
//! `notes.md`, or `a.parity.1`. So a `.md` counts where it reads as one, and what it does not account for is looked at then.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{Description, Parts};

const DESCRIPTION: &[u8] = b".md";
const PARITY: &[u8] = b".parity.";
/// A `.md` of the most shards there can be has a quarter of it.
const MOST_DESCRIPTION_BYTES: u64 = 64 << 10;

/// A file of the prototype's that nothing is known of: it cannot be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Its name.
    pub name: String,
    /// Why nothing is known of it: a sentence's end.
    pub why: String,
}

/// What lies in a folder of the prototype's. All lists are in the order of names.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// The files that a `.md` describes.
    pub files: Vec<Parts>,
    /// Those whose `.md` is missing or damaged.
    pub unknown: Vec<Unknown>,
    /// What is not the prototype's: folders, links, files without parity and `.md`.
    pub strangers: Vec<String>,
}

type Name = Vec<u8>;

impl Folder {
    /// Looks through the folder, and reads the `.md` files.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn read(root: &Path) -> io::Result<Self> {
        let (mut names, mut strangers) = (BTreeSet::new(), BTreeSet::new());
        for entry in root.read_dir()? {
            let entry = entry?;
            let list = if entry.file_type()?.is_file() { &mut names } else { &mut strangers };
            list.insert(entry.file_name().into_vec());
        }
        Ok(sort(root, names, strangers))
    }
}

fn sort(root: &Path, names: BTreeSet<Name>, mut strangers: BTreeSet<Name>) -> Folder {
    let mut unread = BTreeMap::new();
    let mut unknown = BTreeMap::new();
    let mut files = Vec::new();
    let mut taken = BTreeSet::new();
    for name in names.iter().filter_map(|name| name.strip_suffix(DESCRIPTION)).filter(|name| !name.is_empty()) {
        match describe(&path(root, &joined(name, DESCRIPTION))) {
            Ok(description) => {
                taken.extend([name.to_vec(), joined(name, DESCRIPTION)]);
                taken.extend((1..=description.parity_shards()).map(|number| parity_name(name, number)));
                match std::str::from_utf8(name) {
                    Ok(text) => files.push(Parts::new(root, text, description)),
                    Err(_) => {
                        drop(unknown.insert(name.to_vec(), "its name is not UTF-8, so it cannot be a key".into()))
                    }
                }
            }
            Err(why) => drop(unread.insert(name.to_vec(), why)),
        }
    }
    // What cannot be read as a description is one only where there is something for it to describe.
    let parity_of = |name: &[u8]| parity_stem(name).map(<[u8]>::to_vec);
    let with_parity: BTreeSet<Name> = names.difference(&taken).filter_map(|name| parity_of(name)).collect();
    for (name, why) in unread {
        let own = joined(&name, DESCRIPTION);
        if !taken.contains(&own) && !taken.contains(&name) && (names.contains(&name) || with_parity.contains(&name)) {
            unknown.insert(name, format!("its .md is damaged: {why}"));
            taken.insert(own);
        }
    }
    for name in with_parity.difference(&taken) {
        let why = "it has no .md: its upload never came to an end, or it was lost".to_owned();
        unknown.entry(name.clone()).or_insert(why);
    }
    let left = names.difference(&taken).filter(|name| {
        let of_unknown = |name: &[u8]| unknown.contains_key(name);
        !of_unknown(name) && !parity_stem(name).is_some_and(of_unknown)
    });
    strangers.extend(left.cloned());
    Folder {
        files,
        unknown: unknown.into_iter().map(|(name, why)| Unknown { name: shown(&name), why }).collect(),
        strangers: strangers.iter().map(|name| shown(name)).collect(),
    }
}

fn describe(path: &Path) -> Result<Description, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_DESCRIPTION_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|error| format!("it cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST_DESCRIPTION_BYTES {
        return Err("it is too long".into());
    }
    Description::parse(&bytes)
}

/// `NAME` of `NAME.parity.NUMBER`.
fn parity_stem(name: &[u8]) -> Option<&[u8]> {
    let at = name.windows(PARITY.len()).rposition(|part| part == PARITY)?;
    let number = &name[at + PARITY.len()..];
    (at > 0 && !number.is_empty() && number.iter().all(u8::is_ascii_digit)).then_some(&name[..at])
}

fn parity_name(name: &[u8], number: usize) -> Name {
    joined(&joined(name, PARITY), number.to_string().as_bytes())
}

fn joined(name: &[u8], suffix: &[u8]) -> Name {
    [name, suffix].concat()
}

fn path(root: &Path, name: &[u8]) -> PathBuf {
    root.join(OsString::from_vec(name.to_vec()))
}

fn shown(name: &[u8]) -> String {
    std::ffi::OsStr::from_bytes(name).to_string_lossy().into_owned()
}
