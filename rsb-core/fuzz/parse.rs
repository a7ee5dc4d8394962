//! What each fuzz target does with its bytes; the tests run the same on mutations of the fixtures. Bytes are parsed as they
//! are, and once more with their checksums made right, or a mutation would never get past them. Whatever is read must
//! survive being written and read again, and its arithmetic must hold.

use bytes::Bytes;
use rsb_core::format::batch::{self, BatchHeader, BatchImage, InlineShards, read_copy};
use rsb_core::format::checksum::Checksums;
use rsb_core::format::manifest::{Body, Manifest, Record};
use rsb_core::format::marker::Marker;
use rsb_core::format::shard::{self, ShardHeader};
use rsb_core::stripe::{CHECKSUM_LEN, Layout};

/// A marker.
pub fn marker(bytes: &[u8]) {
    if let Ok(marker) = Marker::decode(bytes) {
        assert_eq!(Marker::decode(&marker.encode()).as_ref(), Ok(&marker));
    }
}

/// A shard: its header, and where it says that its blocks lie.
pub fn shard(bytes: &[u8]) {
    look_at_shard(bytes);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed, shard::HEADER_LEN);
    look_at_shard(&sealed);
}

fn look_at_shard(bytes: &[u8]) {
    let Ok(header) = ShardHeader::decode(bytes) else { return };
    assert_eq!(ShardHeader::decode(&header.encode()).as_ref(), Ok(&header));
    let layout = header.layout();
    look_at_layout(&layout);
    assert_eq!(header.shard_len(), shard::HEADER_LEN as u64 + layout.shard_body_len());
    let checksums = Checksums::new(header.repository);
    for stripe in 0..layout.stripes().min(8) {
        let start = header.shard_len().min(shard::HEADER_LEN as u64 + layout.frame_offset(stripe)) as usize;
        let block = start + CHECKSUM_LEN..start + CHECKSUM_LEN + layout.block_len(stripe) as usize;
        if let Some(block) = bytes.get(block) {
            let sum = checksums.block(header.data_id, usize::from(header.index), stripe, block);
            let other = checksums.block(header.data_id, usize::from(header.index), stripe + 1, block);
            assert_ne!(sum, other, "a checksum is bound to its place");
        }
    }
}

/// Stripes one after another, none without bytes, all of the segment's bytes in them.
fn look_at_layout(layout: &Layout) {
    let stripes = layout.stripes();
    for stripe in (0..stripes.min(4)).chain(stripes.saturating_sub(4)..stripes) {
        let frame = layout.frame_offset(stripe + 1) - layout.frame_offset(stripe);
        assert_eq!(frame, layout.block_len(stripe) + CHECKSUM_LEN as u64);
        assert!(layout.data_len(stripe) > 0 && layout.data_len(stripe) <= layout.stripe_len());
        let range = stripe * layout.stripe_len()..stripe * layout.stripe_len() + layout.data_len(stripe);
        assert_eq!(layout.stripes_of(&range), stripe..stripe + 1);
        assert!(!layout.blocks_of(stripe, &range).is_empty());
    }
    assert_eq!(layout.frame_offset(stripes), layout.shard_body_len());
}

/// A copy of a batch.
pub fn batch(bytes: &[u8]) {
    look_at_batch(bytes);
    look_at_batch(&sealed_batch(bytes));
    if let Ok(record) = Record::decode(bytes) {
        look_at_record(&record);
    }
}

fn look_at_batch(bytes: &[u8]) {
    let Ok(header) = BatchHeader::decode(bytes) else { return };
    assert_eq!(BatchHeader::decode(&header.encode()), Ok(header));
    let checksums = Checksums::new(header.repository);
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok((_, records)) = read_copy(&checksums, header.repository, header.batch, &bytes) else { return };
    let good: Vec<_> = records.into_iter().flatten().collect();
    let mut bodies = Vec::new();
    for read in &good {
        assert!(read.extent.range().end <= bytes.len() as u64);
        look_at_record(&read.record);
        bodies.push((read.body.to_vec(), InlineShards::default()));
    }
    let Ok(image) = BatchImage::from_bodies(header.repository, header.batch, bodies) else { return };
    let copy = image.copy(&checksums, header.copy);
    assert_eq!(copy.len() as u64, image.len_bytes());
    let again = read_copy(&checksums, header.repository, header.batch, &copy);
    let again = again.into_iter().flat_map(|(_, records)| records).flatten().map(|read| read.record);
    assert!(again.eq(good.into_iter().map(|read| read.record)), "written anew it says something else");
}

fn look_at_record(record: &Record) {
    let again = Record::decode(&record.encode());
    assert_eq!(again.as_ref(), Ok(record));
    if let Record::Version(manifest) = record {
        look_at_manifest(manifest);
    }
}

fn look_at_manifest(manifest: &Manifest) {
    match &manifest.body {
        Body::None => {}
        Body::Inline(body) => {
            let layout = Layout::inline(&body.scheme, body.symbol_len as usize, manifest.size);
            assert!(layout.stripes() <= 1);
            look_at_layout(&layout);
        }
        Body::Segments(body) => {
            assert_eq!(body.views().count(), body.segments.len());
            let mut end = 0;
            for view in body.views() {
                assert_eq!((view.start, view.backends.len()), (end, view.scheme.scheme.n()));
                end += view.len;
                look_at_layout(&Layout::new(&view.scheme.scheme, view.scheme.symbol_len as usize, view.len));
            }
            assert_eq!(end, manifest.size);
        }
    }
}

/// Makes the CRC at the end of a header right.
fn seal(bytes: &mut [u8], header_len: usize) {
    if let Some(header) = bytes.get_mut(..header_len) {
        let (fields, crc) = header.split_at_mut(header_len - 4);
        crc.copy_from_slice(&crc32c::crc32c(fields).to_le_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 4)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*field)).ok()
}

/// The bytes with the checksums of header, records and inline blocks made right, as far as their lengths lead.
fn sealed_batch(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    seal(&mut out, batch::HEADER_LEN);
    let Ok(header) = BatchHeader::decode(&out) else { return out };
    let mut offset = batch::HEADER_LEN;
    for _ in 0..header.records {
        let Some(len) = u32_at(&out, offset).filter(|len| *len > 0) else { break };
        let Some(record) = out.get_mut(offset..offset.saturating_add(len)) else { break };
        seal_record(&header, offset, record);
        offset += len;
    }
    out
}

fn seal_record(header: &BatchHeader, offset: usize, record: &mut [u8]) {
    let checksums = Checksums::new(header.repository);
    let Some(body_len) = u32_at(record, 4) else { return };
    let body_end = batch::FRAME_LEN.saturating_add(body_len);
    let Some(body) = record.get(batch::FRAME_LEN..body_end) else { return };
    let sum = checksums.record(header.batch, offset as u32, &record[..16], body);
    let inline = match Record::decode(body) {
        Ok(Record::Version(Manifest { body: Body::Inline(inline), .. })) => Some(inline.data_id),
        _ => None,
    };
    record[16..48].copy_from_slice(&sum);
    if let (Some(data_id), Some(rest)) = (inline, record.get_mut(body_end..))
        && rest.len() >= CHECKSUM_LEN
    {
        let (sum, block) = rest.split_at_mut(CHECKSUM_LEN);
        sum.copy_from_slice(&checksums.block(data_id, usize::from(header.copy), 0, block));
    }
}
