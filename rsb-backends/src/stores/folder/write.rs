//! Writing one file, whole: under an unfinished name, flushed, renamed, and its folder flushed, in one go of one thread.
//!
//! A large file goes past the page cache (`O_DIRECT`): shards are written once and seldom read soon, and copying them
//! through the cache costs more than coding them. A file system that does not know this is written to as usual.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, Result, Write};
use std::path::{Path, PathBuf};

use object_store::PutPayload;

/// From this length on a file goes past the page cache.
const DIRECT_FROM: usize = 1 << 20;
/// Buffers of one `writev`.
const MAX_SLICES: usize = 64;

/// Writes a file and gives what the system says of it. On success file and name are durable.
pub(super) fn write(path: &Path, payload: &PutPayload) -> Result<std::fs::Metadata> {
    let (file, staged) = stage(path)?;
    let written = fill(&file, payload).and_then(|()| file.metadata()).and_then(|metadata| {
        file.sync_data()?;
        std::fs::rename(&staged, path)?;
        path.parent().map_or(Ok(()), sync_folder)?;
        Ok(metadata)
    });
    if written.is_err() {
        // A file that stays is found as a leftover.
        let _ = std::fs::remove_file(&staged);
    }
    written
}

/// A new file beside `path`, as object_store names them; `leftovers` knows the names too.
fn stage(path: &Path) -> Result<(File, PathBuf)> {
    let mut number = 1;
    loop {
        let mut staged = path.as_os_str().to_owned();
        staged.push(format!("#{number}"));
        let staged = PathBuf::from(staged);
        match OpenOptions::new().write(true).create_new(true).open(&staged) {
            Ok(file) => return Ok((file, staged)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            // Also where a delete has just taken its emptied folder along.
            Err(error) if error.kind() == ErrorKind::NotFound => make_folders(path, error)?,
            Err(error) => return Err(error),
        }
    }
}

/// Makes the folders above `path` and flushes every one whose entries change.
fn make_folders(path: &Path, missing: std::io::Error) -> Result<()> {
    let Some(parent) = path.parent() else { return Err(missing) };
    let new: Vec<&Path> = parent.ancestors().take_while(|folder| !folder.exists()).collect();
    std::fs::create_dir_all(parent)?;
    for folder in new {
        sync_folder(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn fill(file: &File, payload: &PutPayload) -> Result<()> {
    if payload.content_length() >= DIRECT_FROM && direct::fill(file, payload)? {
        return Ok(());
    }
    let mut slices: Vec<IoSlice<'_>> = payload.iter().map(|bytes| IoSlice::new(bytes)).collect();
    let mut left = slices.as_mut_slice();
    while !left.is_empty() {
        let most = left.len().min(MAX_SLICES);
        match (&mut &*file).write_vectored(&left[..most]) {
            Ok(0) if left.iter().all(|slice| slice.is_empty()) => break,
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod direct {
    use std::cell::RefCell;
    use std::fs::File;
    use std::io::{Result, Write};

    use object_store::PutPayload;
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    use rustix::io::Errno;

    /// What memory and lengths are multiples of: no disk wants more.
    const ALIGN: usize = 4096;
    /// Bytes written at once. Every thread that writes keeps a buffer of so many.
    const PIECE: usize = 256 << 10;

    thread_local! {
        /// Pages that are used again and again: new ones would have to be cleared first.
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    /// Writes the payload past the page cache; `false`, with nothing written, where the file system does not know this.
    pub(super) fn fill(file: &File, payload: &PutPayload) -> Result<bool> {
        let flags = fcntl_getfl(file)?;
        if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
            return Ok(false);
        }
        let done = BUFFER.with_borrow_mut(|buffer| pieces(file, payload, flags, buffer))?;
        if !done {
            fcntl_setfl(file, flags)?;
        }
        Ok(done)
    }

    fn pieces(mut file: &File, payload: &PutPayload, flags: OFlags, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.resize(PIECE + ALIGN, 0);
        let start = buffer.as_ptr().align_offset(ALIGN);
        let piece = &mut buffer[start..start + PIECE];
        let (mut filled, mut written) = (0, 0);
        for mut bytes in payload.iter().map(|bytes| &bytes[..]) {
            while !bytes.is_empty() {
                let take = bytes.len().min(PIECE - filled);
                piece[filled..filled + take].copy_from_slice(&bytes[..take]);
                (bytes, filled) = (&bytes[take..], filled + take);
                if filled == PIECE {
                    match file.write_all(piece) {
                        // Some file systems take the flag and refuse the write.
                        Err(error) if written == 0 && error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                            return Ok(false);
                        }
                        done => done?,
                    }
                    (filled, written) = (0, written + PIECE);
                }
            }
        }
        // The end is not a whole number of pages.
        fcntl_setfl(file, flags)?;
        file.write_all(&piece[..filled])?;
        Ok(true)
    }
}

#[cfg(not(target_os = "linux"))]
mod direct {
    pub(super) fn fill(_: &std::fs::File, _: &object_store::PutPayload) -> std::io::Result<bool> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_any_length_in_any_pieces_are_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 1, 4096, DIRECT_FROM - 1, DIRECT_FROM, DIRECT_FROM + 1, 3 * DIRECT_FROM + 4097] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 4096) as u8).collect();
            for piece in [usize::MAX, 65_568, 4096] {
                if len / piece > 1000 {
                    continue;
                }
                let payload: PutPayload = bytes.chunks(piece).map(bytes::Bytes::copy_from_slice).collect();
                let path = dir.path().join("s/0a").join(len.to_string());
                let metadata = write(&path, &payload).unwrap();
                assert_eq!(metadata.len(), len as u64);
                assert!(std::fs::read(&path).unwrap() == bytes, "{len} bytes in pieces of {piece}");
            }
        }
        let names = std::fs::read_dir(dir.path().join("s/0a")).unwrap();
        assert!(names.flatten().all(|file| !file.file_name().to_string_lossy().contains('#')));
    }

    #[test]
    fn a_failed_write_leaves_no_unfinished_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(write(&path, &PutPayload::from_static(b"1")).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
