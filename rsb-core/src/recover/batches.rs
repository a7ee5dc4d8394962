//! Listings of all backends, and batches put together from their copies.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::ObjectStore;

use crate::catalog::{BatchRow, Holder, HolderState, Located, LocatedRecord};
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::files::{Fault, FaultKind, error_sentence, get_all};
use crate::format::batch::{BatchImage, Extent, InlineShards, MAX_RECORD_LEN, read_copy};
use crate::format::manifest::{Body, Manifest, Record};
use crate::format::paths;
use crate::health::Op;
use crate::id::BatchId;
use crate::read::stripes::restore_blocks;
use crate::write;

/// A listing of one folder on every backend.
pub(crate) struct Listed<T> {
    /// (backend, what was listed).
    pub files: Vec<(String, Vec<T>)>,
    /// Backends that could not be listed.
    pub unreachable: Vec<String>,
}

/// Lists a folder on every backend.
pub(crate) async fn list_all<T: Send>(
    core: &Core,
    folder: object_store::path::Path,
    after: Option<object_store::path::Path>,
    parse: impl Fn(object_store::ObjectMeta) -> Option<T> + Send + Sync,
) -> Listed<T> {
    let (folder, after, parse) = (&folder, &after, &parse);
    let listings = stream::iter(core.backends.clone()).map(|backend| async move {
        if !backend.is_admitted() {
            return (backend.name().to_owned(), Err("its marker was not found".to_owned()));
        }
        let listing = match after {
            Some(after) => backend.store().list_with_offset(Some(folder), after),
            None => backend.store().list(Some(folder)),
        };
        let found = listing.try_filter_map(|meta| async move { Ok(parse(meta)) }).try_collect::<Vec<T>>().await;
        let found = match found {
            Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
            other => other.map_err(|e| error_sentence(&e)),
        };
        (backend.name().to_owned(), found)
    });
    let mut out = Listed { files: Vec::new(), unreachable: Vec::new() };
    let listings: Vec<_> = listings.buffered(core.backends.len().max(1)).collect().await;
    for (name, found) in listings {
        match found {
            Ok(found) => out.files.push((name, found)),
            Err(error) => {
                tracing::warn!(backend = name, "cannot be listed: {error}");
                out.unreachable.push(name);
            }
        }
    }
    out
}

/// A batch put together from its copies.
pub(crate) struct Loaded {
    pub id: BatchId,
    pub len_bytes: u64,
    /// Copies that verify.
    pub holders: Vec<Holder>,
    /// Copies that are listed, and do not verify: they may have been good.
    pub corrupt: usize,
    /// Backends that list a copy, and did not answer when it was read: nothing can be said of those.
    pub unreachable: Vec<String>,
    /// By offset: the record, its body, and the inline blocks by copy.
    pub records: BTreeMap<u32, LoadedRecord>,
}

pub(crate) struct LoadedRecord {
    pub extent: Extent,
    pub record: Record,
    pub body: Bytes,
    pub inline: BTreeMap<u16, Bytes>,
}

/// Reads all copies of a batch.
pub(crate) async fn load_batch(core: &Core, id: BatchId, backends: &[String]) -> Loaded {
    let path = paths::batch(id);
    let path = &path;
    let copies = stream::iter(backends.to_vec()).map(|name| async move {
        let read = match core.admitted(&name) {
            Some(backend) => get_all(backend, path, MAX_RECORD_LEN).await,
            None => Err(Fault::unreachable("it is not admitted")),
        };
        (name, read)
    });
    let copies: Vec<_> = copies.buffered(16).collect().await;
    let mut out =
        Loaded { id, len_bytes: 0, holders: Vec::new(), corrupt: 0, unreachable: Vec::new(), records: BTreeMap::new() };
    for (name, read) in copies {
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(fault) => {
                out.unreachable.extend((fault.kind == FaultKind::Unreachable).then_some(name));
                continue;
            }
        };
        let Ok((header, records)) = read_copy(&core.checksums, core.repository, id, &bytes) else {
            out.corrupt += 1;
            continue;
        };
        if records.iter().any(|r| !matches!(r, Ok(r) if r.inline.is_ok())) {
            tracing::warn!(backend = name, batch = %id, "a manifest copy does not verify");
        }
        let whole = records.iter().all(|r| matches!(r, Ok(r) if r.inline.is_ok()));
        if whole {
            out.len_bytes = bytes.len() as u64;
            out.holders.push(Holder { backend: name, copy: header.copy, state: HolderState::Held });
        } else {
            out.corrupt += 1;
        }
        for read in records.into_iter().flatten() {
            let slot = out.records.entry(read.extent.offset).or_insert_with(|| LoadedRecord {
                extent: read.extent,
                record: read.record,
                body: read.body,
                inline: BTreeMap::new(),
            });
            if let Ok(Some(block)) = read.inline {
                slot.inline.insert(header.copy, block);
            }
        }
    }
    out
}

/// Reads as many copies of a batch as it takes to make any other: one, and k where small objects lie in it. Gives how many
/// were read.
pub(crate) async fn load_enough(core: &Core, row: &BatchRow, mut backends: Vec<String>) -> (Loaded, u64) {
    backends.sort_by_key(|name| core.admitted(name).is_none_or(|b| b.health().is_suspect(Op::Read)));
    let mut out = Loaded { len_bytes: row.len_bytes, ..load_batch(core, row.id, &[]).await };
    let mut read = 0;
    while !out.is_enough() && !backends.is_empty() {
        let next: Vec<String> = backends.drain(..out.wanting().min(backends.len())).collect();
        read += next.len() as u64;
        let more = load_batch(core, row.id, &next).await;
        out.holders.extend(more.holders);
        out.unreachable.extend(more.unreachable);
        for (offset, record) in more.records {
            match out.records.get_mut(&offset) {
                Some(known) => known.inline.extend(record.inline),
                None => drop(out.records.insert(offset, record)),
            }
        }
    }
    (out, read)
}

impl Loaded {
    /// How many more copies must be read so that any copy can be made; of what is not known yet, one.
    fn wanting(&self) -> usize {
        let of_record = |r: &LoadedRecord| match &r.record {
            Record::Version(Manifest { body: Body::Inline(body), size: 1.., .. }) => {
                body.scheme.k().saturating_sub(r.inline.len())
            }
            _ => 0,
        };
        self.records.values().map(of_record).max().unwrap_or_default().max(usize::from(self.holders.is_empty()))
    }

    fn is_enough(&self) -> bool {
        self.wanting() == 0
    }

    /// The greatest (k, m) of its records.
    pub fn scheme(&self, core: &Core) -> (usize, usize) {
        let default = core.config.scheme;
        let schemes = self.records.values().filter_map(|r| match &r.record {
            Record::Version(m) => m.scheme().map(|s| (s.k(), s.m())),
            _ => None,
        });
        schemes.max_by_key(|(k, m)| (k + m, *m)).unwrap_or((default.k(), default.m()))
    }

    /// The fewest copies that may have acknowledged it, under whatever ack margin it was written. A tombstone or a bucket
    /// does not say for which scheme it was written, so of those only the repository's margin is known.
    pub fn least_quorum(&self, core: &Core) -> usize {
        let schemes = self.records.values().filter_map(|r| match &r.record {
            Record::Version(manifest) => manifest.scheme(),
            _ => None,
        });
        schemes.map(|s| s.k().max(s.m() + 1)).max().unwrap_or_default().max(core.record_margin + 1)
    }

    /// The whole batch, inline shards rebuilt: any copy can be made from it.
    pub async fn image(&self, core: &Core) -> Result<BatchImage> {
        let mut records = Vec::new();
        for loaded in self.records.values() {
            records.push((loaded.body.to_vec(), self.inline_of(core, loaded)?));
        }
        let image =
            BatchImage::from_bodies(core.repository, self.id, records).map_err(|e| Error::internal(e.to_string()))?;
        let same = image.extents().eq(self.records.values().map(|r| r.extent));
        if !same || image.len_bytes() != self.len_bytes {
            return Err(Error::internal(format!("batch {} has records that no copy shows whole", self.id)));
        }
        Ok(image)
    }

    /// The same, of a batch that the catalog shows all of. What it passed over, as too few copies showed it to be believed in,
    /// must not be shown by more.
    pub async fn image_of_known(&self, core: &Core) -> Result<BatchImage> {
        let rows = core.catalog.records_of(self.id).await?;
        let is_known = |offset: &u32| rows.iter().any(|row| row.at.extent.offset == *offset);
        match self.records.keys().all(is_known) {
            true => self.image(core).await,
            false => Err(Error::new(
                ErrorKind::Unreadable,
                format!("batch {} has a record that too few copies show", self.id),
            )),
        }
    }

    /// The inline shards of one of its records, the missing ones rebuilt; none where it has none.
    pub fn inline_of(&self, core: &Core, loaded: &LoadedRecord) -> Result<InlineShards> {
        let Record::Version(manifest) = &loaded.record else { return Ok(InlineShards::default()) };
        let Body::Inline(body) = &manifest.body else { return Ok(InlineShards::default()) };
        let n = body.scheme.n();
        if manifest.size == 0 {
            return Ok(InlineShards { data_id: Some(body.data_id), blocks: vec![Bytes::new(); n] });
        }
        let mut blocks: Vec<Option<Bytes>> = (0..n).map(|i| loaded.inline.get(&(i as u16)).cloned()).collect();
        if loaded.inline.len() < body.scheme.k() {
            return Err(Error::new(
                ErrorKind::Unreadable,
                format!(
                    "{}/{} has {} of the {} shards it needs",
                    manifest.bucket,
                    manifest.key,
                    loaded.inline.len(),
                    body.scheme.k()
                ),
            ));
        }
        let missing: Vec<usize> = (0..n).filter(|i| blocks[*i].is_none()).collect();
        let block_len = loaded.inline.values().next().map_or(0, Bytes::len);
        if !missing.is_empty() {
            let coder = write::make_coder(core, body.scheme)?;
            let rebuilt = restore_blocks(&coder, &blocks, &missing, block_len)?;
            for (index, block) in missing.iter().zip(rebuilt) {
                blocks[*index] = Some(block);
            }
        }
        Ok(InlineShards { data_id: Some(body.data_id), blocks: blocks.into_iter().flatten().collect() })
    }

    pub fn located(&self) -> Vec<LocatedRecord> {
        let at = |r: &LoadedRecord| Located { batch: self.id, extent: r.extent };
        self.records.values().map(|r| LocatedRecord { record: r.record.clone(), at: at(r) }).collect()
    }
}
