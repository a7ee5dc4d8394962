//! Files of this machine: read as a stream, written whole or not at all.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use futures::{StreamExt, TryStreamExt};
use rsb_core::{BodyStream, Error, ErrorKind};
use tokio_util::io::ReaderStream;

use crate::door::Download;
use crate::failure::{FAILED, Failure};

/// Bytes read from a file at once.
const CHUNK: usize = 256 << 10;

/// A file to be stored: its length, where it has one, and its bytes.
pub struct Source {
    /// Bytes, where that is known before.
    pub len: Option<u64>,
    /// The bytes.
    pub body: BodyStream,
}

/// Whether a path stands for standard input or output.
pub fn is_standard(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Opens standard input.
pub fn standard_input() -> Result<Source, Failure> {
    let input = std::io::stdin().as_fd().try_clone_to_owned();
    let input = input.map_err(|e| Failure::local("standard input cannot be read", &e))?;
    let file = tokio::fs::File::from_std(File::from(input));
    Ok(Source { len: None, body: stream(file, "standard input".into()) })
}

/// Opens a file.
pub async fn open(path: &Path) -> Result<Source, Failure> {
    let shown = path.display().to_string();
    let cannot = |e: std::io::Error| Failure::local(format!("{shown} cannot be read"), &e);
    let file = tokio::fs::File::open(path).await.map_err(cannot)?;
    let meta = file.metadata().await.map_err(cannot)?;
    if meta.is_dir() {
        return Err(Failure::usage(format!("{shown} is a folder; use -r to store all its files")));
    }
    // The length of a pipe or a device says nothing of what comes out of it.
    Ok(Source { len: meta.is_file().then_some(meta.len()), body: stream(file, shown) })
}

fn stream(file: tokio::fs::File, shown: String) -> BodyStream {
    let failed = move |e| Error::new(ErrorKind::BadBody, format!("{shown} cannot be read to its end: {e}"));
    ReaderStream::with_capacity(file, CHUNK).map_err(failed).boxed()
}

/// Writes a download to standard output. A reader that went away has what it wanted.
pub async fn to_standard_output(mut download: Download) -> Result<(), Failure> {
    let output = std::io::stdout().as_fd().try_clone_to_owned();
    let cannot = |e: std::io::Error| Failure::local("standard output cannot be written", &e);
    // Not by `std::io::stdout()`, which looks through every byte for line ends.
    let mut output = File::from(output.map_err(cannot)?);
    while let Some(bytes) = download.body.try_next().await? {
        match output.write_all(&bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(cannot)?,
        }
    }
    Ok(())
}

/// Writes a download to a file: beside it under a passing name, and renamed when it is whole, so that a read that fails
/// leaves the old file or none, never half of one.
pub async fn to_file(mut download: Download, target: &Path) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::local(format!("{} cannot be written", target.display()), &e);
    if target.metadata().is_ok_and(|meta| !meta.is_file()) {
        // A device or a pipe: there is nothing to put beside it, and nothing to rename.
        let mut file = File::options().write(true).open(target).map_err(cannot)?;
        while let Some(bytes) = download.body.try_next().await? {
            file.write_all(&bytes).map_err(cannot)?;
        }
        return Ok(());
    }
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut part = tempfile::Builder::new()
        .prefix(".rsb-")
        .suffix(".part")
        // What a new file gets from the user's umask, not the private mode of a passing one.
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(cannot)?;
    while let Some(bytes) = download.body.try_next().await? {
        part.write_all(&bytes).map_err(cannot)?;
    }
    part.persist(target).map_err(|e| cannot(e.error)).map(drop)
}

/// Where `get` writes: the file asked for, in the folder asked for, else under the key's last part in the current folder.
pub fn target_of(asked: Option<&Path>, file_name: &str) -> Result<PathBuf, Failure> {
    let named = |folder: &Path| match file_name {
        "" => Err(Failure::usage("the key ends with a slash and so gives no name for the file; name one")),
        name => Ok(folder.join(name)),
    };
    match asked {
        None => named(Path::new("")),
        Some(path) if path.is_dir() => named(path),
        Some(path) => Ok(path.to_owned()),
    }
}

/// A failure that names a place that cannot be used as a folder.
pub fn no_folder(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::new(FAILED, format!("{} cannot be used as a folder: {why}", path.display()))
}
