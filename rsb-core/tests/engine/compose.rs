//! Files of the format, put together from the public encoders alone, as docs/format.md describes them.

use bytes::Bytes;
use rsb_core::Scheme;
use rsb_core::codec::Codecs;
use rsb_core::format::checksum::Checksums;
use rsb_core::format::shard::ShardHeader;
use rsb_core::id::{DataId, RepositoryId};
use rsb_core::stripe::Layout;

/// The blocks of one stripe of these bytes, data and parity.
pub fn blocks(scheme: Scheme, data: &[u8], block_len: usize) -> Vec<Vec<u8>> {
    let codec = Codecs::with_builtin().get(scheme.codec_id()).unwrap();
    let mut padded = data.to_vec();
    padded.resize(scheme.k() * block_len, 0);
    let mut blocks: Vec<Vec<u8>> = padded.chunks(block_len).map(<[u8]>::to_vec).collect();
    let mut parity = vec![vec![0; block_len]; scheme.m()];
    let sources: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
    let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    codec.encode(scheme.shape().unwrap(), &sources, &mut outputs).unwrap();
    blocks.extend(parity);
    blocks
}

/// The k + m shard files of a segment.
pub fn shard_files(scheme: Scheme, repository: RepositoryId, data_id: DataId, segment: &[u8]) -> Vec<Bytes> {
    let symbol_len = Codecs::with_builtin().get(scheme.codec_id()).unwrap().symbol_len() as u32;
    let layout = Layout::new(&scheme, symbol_len as usize, segment.len() as u64);
    let checksums = Checksums::new(repository);
    let header = |index| ShardHeader {
        repository,
        data_id,
        index: index as u16,
        scheme,
        segment_len: segment.len() as u64,
        symbol_len,
    };
    let mut files: Vec<Vec<u8>> = (0..scheme.n()).map(|index| header(index).encode().to_vec()).collect();
    for (stripe, data) in segment.chunks(layout.stripe_len() as usize).enumerate() {
        let blocks = blocks(scheme, data, layout.block_len(stripe as u64) as usize);
        for (index, (file, block)) in files.iter_mut().zip(blocks).enumerate() {
            file.extend_from_slice(&checksums.block(data_id, index, stripe as u64, &block));
            file.extend_from_slice(&block);
        }
    }
    files.into_iter().map(Bytes::from).collect()
}
