//! One shard is brought to another backend: read and verified, or rebuilt from others, then written and read back.

use bytes::{Bytes, BytesMut};
use object_store::PutPayload;

use super::Mover;
use crate::backend::Backend;
use crate::check::verify_shard;
use crate::core::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Fault, get_all, put};
use crate::format::shard::{HEADER_LEN, ShardHeader};
use crate::health::Op;
use crate::read::piece::{Piece, ShardAt};
use crate::read::stripes::{StripeReader, WINDOW, restore_blocks};
use crate::stripe::CHECKSUM_LEN;

impl Mover<'_> {
    /// Brings shard `index` of a segment to `to`. When it returns, what lies there has been read back and verified.
    pub(super) async fn bring(
        &self,
        piece: &Piece,
        index: usize,
        to: &Backend,
        object: &(String, String),
    ) -> Result<()> {
        let len = piece.file_len();
        let around = piece.layout.block_len(0) * (piece.scheme.k() + 1) as u64 * (WINDOW as u64 + 2);
        let _memory = self.core.read_memory.take(len + around).await?;
        self.throttle.take(2 * len, self.progress).await?;
        let (payload, rebuilt) = match self.read_whole(piece, index).await {
            Ok(bytes) => (PutPayload::from_bytes(bytes), false),
            Err(_) => (self.rebuild(piece, index, object).await?, true),
        };
        let at = ShardAt::of_segment(to.name(), piece.data_id, index);
        put(to, &at.path, payload).await.map_err(|fault| failed("written", to, &fault))?;
        self.meter.write(to.name(), len);
        let mut there = piece.clone();
        there.shards[index] = Some(at);
        let read = verify_shard(self.core, &there, index, 0..there.layout.stripes()).await;
        // The header, and the blocks behind it.
        self.meter.read(to.name(), 2, len);
        read.map_err(|fault| failed("read back", to, &fault))?;
        lock(&self.brought).insert((piece.data_id, index, to.name().to_owned()));
        self.note(|report| {
            report.shards += 1;
            report.rebuilt += u64::from(rebuilt);
        });
        self.progress.add(1, 2 * len);
        Ok(())
    }

    /// The file of a shard, every block of it verified.
    async fn read_whole(&self, piece: &Piece, index: usize) -> Result<Bytes, Fault> {
        let at = piece.shards[index].as_ref().ok_or_else(|| Fault::unreachable("nobody is known to have it"))?;
        let backend = self.core.admitted(&at.backend).ok_or_else(|| Fault::unreachable("its backend is away"))?;
        if backend.health().is_suspect(Op::Read) {
            return Err(Fault::unreachable("its backend is ill"));
        }
        let bytes = get_all(backend, &at.path, piece.file_len()).await?;
        self.meter.read(backend.name(), 1, bytes.len() as u64);
        let (core, piece) = (self.core.clone(), piece.clone());
        self.core.env.compute(move || verify(&core, &piece, index, &bytes).map(|()| bytes)).await
    }

    /// The same from k others.
    async fn rebuild(&self, piece: &Piece, index: usize, object: &(String, String)) -> Result<PutPayload> {
        let core = self.core;
        let mut source = piece.clone();
        source.shards[index] = None;
        let coder = crate::write::make_coder(core, piece.scheme)?;
        let header = ShardHeader {
            repository: core.repository,
            data_id: piece.data_id,
            index: index as u16,
            scheme: piece.scheme,
            segment_len: piece.layout.len,
            symbol_len: coder.codec.symbol_len() as u32,
        };
        let mut file: Vec<Bytes> = vec![Bytes::copy_from_slice(&header.encode())];
        let read: Vec<String> =
            source.shards.iter().flatten().map(|at| at.backend.clone()).take(piece.scheme.k()).collect();
        let mut reader = StripeReader::new(core, source, 0..piece.layout.len, object.clone(), &[]);
        while let Some((stripe, blocks)) = reader.next_blocks().await? {
            let block_len = piece.layout.block_len(stripe);
            read.iter().for_each(|name| self.meter.read(name, 0, block_len + CHECKSUM_LEN as u64));
            let (coder, data_id) = (coder.clone(), piece.data_id);
            let work = move || {
                let block = restore_blocks(&coder, &blocks, &[index], block_len as usize)?.into_iter().next();
                let block = block.ok_or_else(|| Error::internal("a rebuilt block is missing"))?;
                let sum = coder.checksums.block(data_id, index, stripe, &block);
                Ok::<_, Error>([BytesMut::from(&sum[..]).freeze(), block])
            };
            file.extend(core.env.compute(work).await?);
        }
        read.iter().for_each(|name| self.meter.read(name, 1, 0));
        Ok(file.into_iter().collect())
    }
}

/// Whether a file is this shard, whole.
fn verify(core: &crate::core::Core, piece: &Piece, index: usize, bytes: &Bytes) -> Result<(), Fault> {
    let wrong = || Fault::corrupt("it does not verify");
    let header = ShardHeader::decode(bytes).map_err(|e| Fault::corrupt(e.to_string()))?;
    let right = header.repository == core.repository
        && header.data_id == piece.data_id
        && usize::from(header.index) == index
        && header.scheme == piece.scheme
        && header.segment_len == piece.layout.len
        && bytes.len() as u64 == piece.file_len();
    if !right {
        return Err(wrong());
    }
    for stripe in 0..piece.layout.stripes() {
        let start = HEADER_LEN as u64 + piece.layout.frame_offset(stripe);
        let end = start + CHECKSUM_LEN as u64 + piece.layout.block_len(stripe);
        let frame = bytes.get(start as usize..end as usize).ok_or_else(wrong)?;
        let (sum, block) = frame.split_at(CHECKSUM_LEN);
        if core.checksums.block(piece.data_id, index, stripe, block) != *sum {
            return Err(wrong());
        }
    }
    Ok(())
}

pub(super) fn failed(what: &str, to: &Backend, fault: &Fault) -> Error {
    let sentence = format!("what was moved could not be {what} on backend {:?}: {}", to.name(), fault.detail);
    Error::new(ErrorKind::Unavailable, sentence).backends([to.name()])
}
