//! What a killed writer leaves in a folder.
//!
//! object_store writes a file under its name with `#` and a number, then renames it. Listings leave such files out, so
//! nobody else would ever find the ones that a crash left behind.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use rsb_core::format::paths;

/// A file that nobody has written to for this long has no writer any more.
const AGE: Duration = Duration::from_secs(24 * 3600);

/// Removes the leftovers below a repository's folder; how many there were. A folder without a marker is left alone.
pub(super) fn remove(root: &Path, now_ms: u64) -> usize {
    if !root.join(paths::marker().as_ref()).is_file() {
        return 0;
    }
    // The file system's clock made the times that are looked at, and may be another than this machine's: where that one is
    // ahead, files that are being written would seem old.
    let Ok(now) = clock_of(root) else { return 0 };
    let now_ms = now_ms.min(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let mut removed = 0;
    for part in [paths::manifests(), paths::shards()] {
        for folder in entries(&root.join(part.as_ref())) {
            for file in entries(&folder.path()) {
                // Whoever cannot be removed now is tried again at the next start.
                if is_leftover(&file, now_ms).unwrap_or(false) && fs::remove_file(file.path()).is_ok() {
                    removed += 1;
                }
            }
        }
    }
    removed
}

/// What the file system takes for the time now, since 1970.
fn clock_of(root: &Path) -> io::Result<Duration> {
    let made = tempfile::tempfile_in(root)?.metadata()?.modified()?;
    Ok(made.duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

fn is_leftover(file: &DirEntry, now_ms: u64) -> io::Result<bool> {
    let name = file.file_name();
    let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
    if !number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())) {
        return Ok(false);
    }
    let touched = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(touched + AGE < Duration::from_millis(now_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn only_old_unfinished_files_of_a_repository_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |name: &str, age_hours: u64| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let touched = UNIX_EPOCH + Duration::from_secs((1_000 - age_hours) * 3600);
            fs::File::create(path).unwrap().set_modified(touched as SystemTime).unwrap();
        };
        let now_ms = 1_000 * 3_600_000;
        for (name, age_hours) in
            [("s/00/a.1#1", 25), ("s/00/b.1#1", 23), ("s/00/c.1", 25), ("m/0190ab/d#12", 30), ("s/00/e#x", 30)]
        {
            write(name, age_hours);
        }
        assert_eq!(remove(root, now_ms), 0, "no marker, no repository");
        write("rsb.json", 25);
        assert_eq!(remove(root, now_ms), 2);
        // A clock that is ahead of the file system's makes nothing old.
        fs::write(root.join("s/00/new#1"), "").unwrap();
        assert_eq!(remove(root, u64::MAX), 1, "b is old by then");
        assert!(root.join("s/00/new#1").exists());
        let left = |name: &str| root.join(name).exists();
        assert!(
            !left("s/00/b.1#1")
                && left("s/00/c.1")
                && left("s/00/e#x")
                && !left("s/00/a.1#1")
                && !left("m/0190ab/d#12")
        );
    }
}
