//! A file's range as a stream of large pieces, read beside the runtime's threads.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{Error, Result};

/// Bytes read at once: large enough for a disk, small enough to hold many of them.
const PIECE: u64 = 512 << 10;

/// Pieces whose memory may be used again.
const GIVEN: usize = 2;

/// The memory of an earlier piece that nobody holds any more: fresh memory has to be cleared by the system first, which
/// takes longer than filling it.
fn recycled(given: &mut VecDeque<Bytes>) -> Vec<u8> {
    if given.len() < GIVEN {
        return Vec::new();
    }
    let Some(Ok(mut free)) = given.pop_front().map(Bytes::try_into_mut) else { return Vec::new() };
    free.clear();
    Vec::from(free)
}

/// The bytes of `range`. Ends early where the file does.
pub(super) fn of_file(file: File, path: PathBuf, range: Range<u64>) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((file, path, range, VecDeque::new()), |(mut file, path, range, mut given)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        tokio::task::spawn_blocking(move || {
            let want = (range.end - range.start).min(PIECE);
            let mut piece = recycled(&mut given);
            piece.reserve_exact(usize::try_from(want).unwrap_or_default());
            let read =
                file.seek(SeekFrom::Start(range.start)).and_then(|_| (&mut file).take(want).read_to_end(&mut piece));
            match read {
                Ok(0) => Ok(None),
                Ok(got) => {
                    let piece = Bytes::from(piece);
                    given.push_back(piece.clone());
                    Ok(Some((piece, (file, path, range.start + got as u64..range.end, given))))
                }
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
