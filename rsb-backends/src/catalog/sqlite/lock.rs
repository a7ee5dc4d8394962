//! The lock that keeps two processes from writing one catalog.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rsb_core::{Error, ErrorKind, Result};

/// Held while it lives; the system lets go of it when the process ends, however it ends. The file itself stays: removing
/// it would race with one who is about to lock it.
#[derive(Debug)]
pub(super) struct WriterLock {
    _file: File,
}

impl WriterLock {
    /// Takes the lock of a catalog, or says who holds it.
    pub(super) fn take(catalog: &Path) -> Result<Self> {
        let path = beside(catalog);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(|error| {
                let kind = match error.kind() {
                    std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
                    std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                    _ => ErrorKind::Config,
                };
                Error::new(kind, format!("the lock file {} cannot be made: {error}", path.display())).source(error)
            })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(catalog, &mut file)),
            Err(TryLockError::Error(error)) => {
                let message = format!("the lock file {} cannot be locked: {error}", path.display());
                return Err(Error::config(message).source(error));
            }
        }
        // The content is only for the sentence of the next one; the lock does not depend on it.
        let written =
            file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{} rsb", std::process::id()));
        if let Err(error) = written {
            tracing::debug!(path = %path.display(), %error, "the lock file could not be written");
        }
        Ok(Self { _file: file })
    }
}

fn beside(catalog: &Path) -> PathBuf {
    let mut name = catalog.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn held(catalog: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let read = file.take(64).read_to_string(&mut text).is_ok();
    let pid = text.split_whitespace().next().filter(|pid| read && pid.bytes().all(|byte| byte.is_ascii_digit()));
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    Error::unavailable(format!(
        "the catalog {} is in use by {who}; use --server with its address, or stop it first",
        catalog.display()
    ))
}
