//! Reading one file. What the system has in memory is read on the spot, without leaving the thread: handing a few hundred
//! bytes to another thread and back takes longer than reading them. Whatever might wait for a disk is read elsewhere.

use std::fs::{File, Metadata};
use std::io::{Error as IoError, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path as FilePath;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Attributes, Error, GetOptions, GetResult, GetResultPayload, ObjectMeta, Result};
use rsb_core::backend::ReadStep;
use rsb_core::format::paths;

use super::{STORE, pieces};

/// Up to so many bytes are read at once with the opening.
const AT_ONCE: u64 = 128 << 10;

/// A file as a store describes it.
pub(super) fn meta(metadata: &Metadata, location: Path) -> ObjectMeta {
    ObjectMeta {
        location,
        last_modified: metadata.modified().unwrap_or(UNIX_EPOCH).into(),
        size: metadata.len(),
        e_tag: Some(e_tag(metadata)),
        version: None,
    }
}

/// As object_store makes it.
pub(super) fn e_tag(metadata: &Metadata) -> String {
    let (_, inode) = super::identity(metadata);
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("\"{inode:x}-{:x}-{:x}\"", modified.unwrap_or_default().as_micros(), metadata.len())
}

/// What is asked for of a file with this description.
fn asked(meta: &ObjectMeta, options: &GetOptions) -> Result<Range<u64>> {
    options.check_preconditions(meta)?;
    match &options.range {
        Some(range) => {
            range.as_range(meta.size).map_err(|source| Error::Generic { store: STORE, source: Box::new(source) })
        }
        None => Ok(0..meta.size),
    }
}

fn result(meta: ObjectMeta, range: Range<u64>, payload: GetResultPayload) -> GetResult {
    GetResult { payload, meta, range, attributes: Attributes::default(), extensions: Default::default() }
}

fn whole(bytes: Vec<u8>) -> GetResultPayload {
    GetResultPayload::Stream(futures::stream::iter([Ok(Bytes::from(bytes))]).boxed())
}

/// The system's error of the same kind, which says what it was about.
pub(super) fn of_file(path: &FilePath, what: &str, error: &IoError) -> IoError {
    IoError::new(error.kind(), format!("{} cannot be {what}: {error}", path.display()))
}

/// Opens a file, and reads what is asked for where that is little. May wait for a disk.
pub(super) fn open(path: &FilePath, location: &Path, options: &GetOptions) -> Result<GetResult> {
    let failed = |source: IoError| match source.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Error::NotFound { path: location.to_string(), source: source.into() }
        }
        _ => Error::Generic { store: STORE, source: of_file(path, "read", &source).into() },
    };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Err(failed(IoError::new(ErrorKind::NotFound, "it is a folder")));
    }
    let meta = meta(&metadata, location.clone());
    let range = asked(&meta, options)?;
    let len = range.end - range.start;
    if options.head || len > AT_ONCE {
        let step = options.extensions.get::<ReadStep>().map(|step| step.0);
        let body = pieces::stream(file, path.to_owned(), range.clone(), step);
        return Ok(result(meta, range, GetResultPayload::Stream(body)));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    file.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    file.take(len).read_to_end(&mut bytes).map_err(failed)?;
    Ok(result(meta, range, whole(bytes)))
}

/// The same from memory alone; `None` where that cannot be, or anything is out of the ordinary. `device` is the folder's own:
/// where another disk was mounted in its place, or none is, somebody must look.
#[cfg(target_os = "linux")]
pub(super) fn from_memory(
    root: &FilePath,
    location: &Path,
    options: &GetOptions,
    device: impl FnOnce() -> Option<u64>,
) -> Option<GetResult> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::{ReadWriteFlags, preadv2};

    // Unfinished files have a `#` in their names; the marker says whose the folder is.
    let odd = location.as_ref().is_empty() || location.as_ref().contains('#') || *location == paths::marker();
    if options.head || odd {
        return None;
    }
    // Such an open fails where a name would have to be looked up on the disk.
    let how = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat2(CWD, root.join(location.as_ref()), how, Mode::empty(), ResolveFlags::CACHED).ok()?;
    let file = File::from(file);
    let metadata = file.metadata().ok().filter(Metadata::is_file)?;
    if super::identity(&metadata).0 != device()? {
        return None;
    }
    let meta = meta(&metadata, location.clone());
    let range = asked(&meta, options).ok()?;
    let len = usize::try_from(range.end - range.start).ok().filter(|len| *len as u64 <= AT_ONCE)?;
    let mut bytes = vec![0; len];
    // Reads what is in the page cache and does not wait for more.
    let read = preadv2(&file, &mut [std::io::IoSliceMut::new(&mut bytes)], range.start, ReadWriteFlags::NOWAIT);
    (read.ok()? == len).then(|| result(meta, range, whole(bytes)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn from_memory(
    _: &FilePath,
    _: &Path,
    _: &GetOptions,
    _: impl FnOnce() -> Option<u64>,
) -> Option<GetResult> {
    None
}
