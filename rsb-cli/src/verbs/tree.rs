//! From keys to files below a folder. A key may be any text: one that would climb out of the folder, or two that would
//! become the same file, are refused before anything is written.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::files::no_folder;
use crate::door::Facts;
use crate::failure::Failure;

/// Problems that are named; more of the same kind say nothing new.
const MOST_PROBLEMS: usize = 20;

/// What a key becomes below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A folder: an empty object whose key ends with a slash, as other programs make to show one.
    Folder(PathBuf),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) => path,
        }
    }
}

/// The place of each object, in order, or a sentence for each that cannot have one.
pub fn places(prefix: &str, objects: &[Facts]) -> Result<Vec<Place>, Vec<String>> {
    let mut problems = Vec::new();
    let mut places = Vec::with_capacity(objects.len());
    for object in objects {
        let below = object.key.strip_prefix(prefix).unwrap_or(&object.key);
        match place_of(below, object.size) {
            Ok(place) => places.push(place),
            Err(why) => problems
                .push(format!("{} cannot become a file: {why}; fetch it alone and name the file", object.name())),
        }
    }
    let files: BTreeSet<&Path> = places.iter().filter(|p| matches!(p, Place::File(_))).map(Place::path).collect();
    for place in &places {
        let itself = matches!(place, Place::Folder(_));
        let above = place.path().ancestors().skip(usize::from(!itself));
        if let Some(file) = above.into_iter().find(|folder| files.contains(folder)) {
            let (file, path) = (file.display(), place.path().display());
            problems.push(format!(
                "{prefix}{file} would be a file and, for {prefix}{path}, a folder too; fetch one of them alone"
            ));
        }
    }
    let more = problems.len().saturating_sub(MOST_PROBLEMS);
    if more > 0 {
        problems.truncate(MOST_PROBLEMS);
        problems.push(format!("and {more} more"));
    }
    if problems.is_empty() { Ok(places) } else { Err(problems) }
}

fn place_of(key: &str, size: u64) -> Result<Place, &'static str> {
    let (parts, is_folder) = match key.strip_suffix('/') {
        Some(parts) if size == 0 => (parts, true),
        Some(_) => return Err("its key ends with a slash"),
        None => (key, false),
    };
    if parts.split('/').any(str::is_empty) {
        return Err("its key has two slashes in a row, or begins with one");
    }
    let path = PathBuf::from(parts);
    // `.` and `..` no key has; a drive letter some systems would see in one.
    if parts.contains('\0') || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("its key would lead out of the folder");
    }
    Ok(if is_folder { Place::Folder(path) } else { Place::File(path) })
}

/// Makes the folders that a place needs below `root`, and gives its path. A symbolic link on the way is refused: it may
/// lead anywhere.
pub fn prepare(root: &Path, place: &Place) -> Result<PathBuf, Failure> {
    std::fs::create_dir_all(root).map_err(|e| no_folder(root, e))?;
    let folder = match place {
        Place::Folder(path) => path.as_path(),
        Place::File(path) => path.parent().unwrap_or(Path::new("")),
    };
    let mut at = root.to_owned();
    for part in folder.components() {
        at.push(part);
        match std::fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => {}
            Ok(meta) if meta.is_symlink() => {
                return Err(no_folder(&at, "it is a symbolic link, which may lead out of the target; remove it"));
            }
            Ok(_) => return Err(no_folder(&at, "a file of that name is in the way; move it away")),
            Err(_) => match std::fs::create_dir(&at) {
                // Another object of the same run may have been quicker.
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(no_folder(&at, error)),
                _ => {}
            },
        }
    }
    let target = root.join(place.path());
    match place {
        Place::File(_) if target.is_dir() => Err(Failure::new(
            crate::failure::FAILED,
            format!("{} is a folder, so no file can be written there; move it away", target.display()),
        )),
        _ => Ok(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(keys: &[&str]) -> Vec<Facts> {
        let facts = |key: &&str| Facts {
            bucket: "box".into(),
            key: (*key).into(),
            size: u64::from(!key.ends_with('/')),
            etag: String::new(),
            version: String::new(),
            modified: String::new(),
            data_shards: None,
            parity_shards: None,
            codec: None,
            content_type: None,
            metadata: Default::default(),
            short: 0,
        };
        keys.iter().map(facts).collect()
    }

    #[test]
    fn keys_become_paths_below_the_folder() {
        let found = places("x/", &objects(&["x/a", "x/b/c", "x/d/", "x/...", "x/~"])).unwrap();
        let files: Vec<&str> = found.iter().map(|p| p.path().to_str().unwrap()).collect();
        assert_eq!(files, ["a", "b/c", "d", "...", "~"]);
        assert_eq!(found[2], Place::Folder("d".into()));
    }

    #[test]
    fn keys_that_climb_or_collide_are_refused_all_at_once() {
        let refused = places("", &objects(&["/etc/passwd", "a//b", "good", "a/../b", "../x"])).unwrap_err();
        assert_eq!(refused.len(), 4, "{refused:?}");
        let refused = places("", &objects(&["a", "a/b", "c"])).unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains("a/b"), "{refused:?}");
        assert!(places("", &objects(&["a", "a/"])).is_err());
        assert!(places("", &objects(&["a/", "a/b"])).is_ok());
    }

    #[test]
    fn a_symbolic_link_in_the_target_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("way")).unwrap();
        assert!(prepare(root.path(), &Place::File("way/x".into())).is_err());
        let made = prepare(root.path(), &Place::File("new/deep/x".into())).unwrap();
        assert!(made.parent().unwrap().is_dir());
    }
}
