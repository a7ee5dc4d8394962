//! A file's range as a stream of large pieces, read beside the runtime's threads.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{Error, Result};

/// Bytes read at once: large enough for a disk, small enough to hold many of them.
const PIECE: u64 = 1 << 20;

/// The bytes of `range`. Ends early where the file does.
pub(super) fn of_file(file: File, path: PathBuf, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((file, path, range), |(mut file, path, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        tokio::task::spawn_blocking(move || {
            let want = (range.end - range.start).min(PIECE);
            let mut piece = Vec::with_capacity(usize::try_from(want).unwrap_or_default());
            let read =
                file.seek(SeekFrom::Start(range.start)).and_then(|_| (&mut file).take(want).read_to_end(&mut piece));
            match read {
                Ok(0) => Ok(None),
                Ok(got) => Ok(Some((Bytes::from(piece), (file, path, range.start + got as u64..range.end)))),
                Err(error) => {
                    let source = format!("{} cannot be read: {error}", path.display()).into();
                    Err(Error::Generic { store: "folder", source })
                }
            }
        })
        .await?
    })
    .boxed()
}
