//! Blocks of one shard are read and verified.

use object_store::Extensions;
use tokio::sync::mpsc;

use super::checker::out_of_reach;
use crate::core::Core;
use crate::files::{Fault, fault_of, ranged};
use crate::format::shard;
use crate::health::Op;
use crate::read::piece::Piece;
use crate::read::shard_reader::ShardReader;

/// Reads and verifies blocks of one shard, and the header of a segment's one. Gives the bytes read.
pub(crate) async fn verify_shard(
    core: &Core,
    piece: &Piece,
    index: usize,
    stripes: std::ops::Range<u64>,
) -> Result<u64, Fault> {
    let at = piece.shards[index].as_ref().ok_or_else(out_of_reach)?;
    let backend = core.admitted(&at.backend).ok_or_else(out_of_reach)?;
    if piece.batch.is_none() {
        let head = backend.store().get_opts(&at.path, ranged(0..shard::HEADER_LEN as u64)).await;
        let head = head.map_err(|e| fault_of(backend, Op::Read, &e))?;
        let bytes = head.bytes().await.map_err(|e| fault_of(backend, Op::Read, &e))?;
        let header = shard::ShardHeader::decode(&bytes).map_err(|e| Fault::corrupt(e.to_string()))?;
        let right = header.repository == core.repository
            && header.data_id == piece.data_id
            && usize::from(header.index) == index
            && header.scheme == piece.scheme
            && header.segment_len == piece.layout.len;
        if !right {
            return Err(Fault::corrupt(format!("it is shard {} of segment {}", header.index, header.data_id)));
        }
    }
    let bytes = piece.layout.frame_offset(stripes.end) - piece.layout.frame_offset(stripes.start);
    if stripes.is_empty() {
        return Ok(0);
    }
    let (send, mut receive) = mpsc::unbounded_channel();
    let (checksums, last) = (core.checksums.clone(), stripes.end);
    let (reader, driven) =
        ShardReader::start(piece, index, at, backend.clone(), checksums, stripes, 4, send, Extensions::new());
    if let Some(driven) = driven {
        driven.await;
    }
    while let Some(heard) = receive.recv().await {
        heard.block?;
        reader.release_one();
        if heard.stripe + 1 == last {
            return Ok(bytes);
        }
    }
    Err(Fault::unreachable("its reader ended without a word"))
}
