//! A file's range as a stream of pieces. A piece that the system has in memory is read on the spot, so that whoever takes it
//! finds it in the processor's cache; what might wait for a disk is read beside the runtime's threads, more of it at once.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Error as IoError, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{Error, Result};

use super::STORE;

/// Bytes read at once from a disk: large enough for it, small enough to hold many of them.
const FROM_DISK: usize = 512 << 10;
/// A piece from memory, where whoever asks does not say what suits.
const FROM_MEMORY: usize = 128 << 10;

/// Pieces whose memory may be used again: as many as a reader that is a few steps ahead has on their way.
const GIVEN: usize = 6;

struct Pieces {
    file: File,
    path: PathBuf,
    range: Range<u64>,
    step: usize,
    given: VecDeque<Bytes>,
}

/// The bytes of `range`, in pieces of `step` or a multiple of it. Ends early where the file does.
pub(super) fn stream(
    file: File,
    path: PathBuf,
    range: Range<u64>,
    step: Option<usize>,
) -> BoxStream<'static, Result<Bytes>> {
    let step = step.unwrap_or(FROM_MEMORY).clamp(1, FROM_DISK);
    let pieces = Pieces { file, path, range, step, given: VecDeque::new() };
    stream::try_unfold(pieces, Pieces::next).boxed()
}

impl Pieces {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let mut piece = self.room(self.step);
        if is_read_from_memory(&self.file, &mut piece, self.range.start) {
            return Ok(Some(self.give(piece)));
        }
        tokio::task::spawn_blocking(move || self.read(piece)).await?
    }

    /// Memory for a piece: that of an earlier one that nobody holds any more, because the system clears fresh memory first,
    /// which takes longer than filling it.
    fn room(&mut self, len: usize) -> BytesMut {
        let earlier = if self.given.len() < GIVEN { None } else { self.given.pop_front() };
        let mut room = earlier.and_then(|piece| piece.try_into_mut().ok()).unwrap_or_default();
        room.resize(self.left().min(len), 0);
        room
    }

    fn left(&self) -> usize {
        usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX)
    }

    fn give(mut self, piece: BytesMut) -> (Bytes, Self) {
        let piece = piece.freeze();
        self.range.start += piece.len() as u64;
        self.given.push_back(piece.clone());
        (piece, self)
    }

    /// May wait for the disk.
    fn read(mut self, mut piece: BytesMut) -> Result<Option<(Bytes, Self)>> {
        piece.resize((FROM_DISK / self.step * self.step).min(self.left()), 0);
        match read_at(&mut self.file, &mut piece, self.range.start) {
            Ok(0) => Ok(None),
            Ok(got) => {
                piece.truncate(got);
                Ok(Some(self.give(piece)))
            }
            Err(error) => {
                Err(Error::Generic { store: STORE, source: super::read::of_file(&self.path, "read", &error).into() })
            }
        }
    }
}

/// Fills `piece` from `start` on; gives how much of it there was.
fn read_at(file: &mut File, piece: &mut [u8], start: u64) -> Result<usize, IoError> {
    file.seek(SeekFrom::Start(start))?;
    let mut got = 0;
    while got < piece.len() {
        match file.read(&mut piece[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Fills `piece` whole where the system has its bytes in memory.
#[cfg(target_os = "linux")]
fn is_read_from_memory(file: &File, piece: &mut [u8], start: u64) -> bool {
    use rustix::io::{ReadWriteFlags, preadv2};

    let len = piece.len();
    preadv2(file, &mut [std::io::IoSliceMut::new(piece)], start, ReadWriteFlags::NOWAIT).is_ok_and(|got| got == len)
}

#[cfg(not(target_os = "linux"))]
fn is_read_from_memory(_: &File, _: &mut [u8], _: u64) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    fn data() -> Vec<u8> {
        (0..3_000_000u32).map(|i| (i % 251) as u8).collect()
    }

    /// A file of these bytes that has no name any more, as a stream.
    fn stream_of(data: &[u8], range: Range<u64>, step: Option<usize>) -> BoxStream<'static, Result<Bytes>> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, data).unwrap();
        stream(file, PathBuf::from("x"), range, step)
    }

    #[tokio::test]
    async fn pieces_have_the_length_of_the_step_and_hold_the_range_exactly() {
        for (range, step) in [(0..3_000_000, None), (999_999..2_500_001, Some(65_568)), (5..6, Some(1)), (7..7, None)] {
            let pieces: Vec<Bytes> = stream_of(&data(), range.clone(), step).try_collect().await.unwrap();
            assert_eq!(pieces.concat(), data()[range.start as usize..range.end as usize]);
            let step = step.unwrap_or(FROM_MEMORY);
            assert!(pieces.iter().rev().skip(1).all(|piece| piece.len() % step == 0), "{range:?} by {step}");
        }
    }

    #[tokio::test]
    async fn what_was_given_does_not_change_when_its_reader_lets_others_go() {
        let mut stream = stream_of(&data(), 0..3_000_000, Some(10_000));
        let (mut kept, mut at) = (Vec::new(), 0);
        while let Some(piece) = stream.try_next().await.unwrap() {
            if kept.len() < 3 || at % 70_000 == 0 {
                kept.push((at, piece.clone()));
            }
            at += piece.len();
        }
        for (at, piece) in kept {
            assert_eq!(piece, data()[at..at + piece.len()]);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_shorter_than_its_range_ends_early() {
        let pieces: Vec<Bytes> = stream_of(&data(), 2_900_000..3_200_000, Some(65_568)).try_collect().await.unwrap();
        assert_eq!(pieces.concat(), data()[2_900_000..]);
    }

    #[test]
    fn the_slow_path_reads_the_same() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &data()).unwrap();
        let given = VecDeque::new();
        let pieces = Pieces { file, path: PathBuf::from("x"), range: 100..2_000_000, step: 65_568, given };
        let (piece, pieces) = pieces.read(BytesMut::new()).unwrap().unwrap();
        assert_eq!(piece.len(), FROM_DISK / 65_568 * 65_568);
        assert_eq!(piece, data()[100..100 + piece.len()]);
        assert_eq!(pieces.range.start, 100 + piece.len() as u64);
    }
}
