//! Artefacts of format version 1, made once and read for ever: small repositories, one folder a backend, whose every byte is
//! fixed. They are written by `write_fixtures` when a format version is made, and never changed after.

use std::collections::BTreeMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use rsb_core::codec::CodecId;
use rsb_core::format::batch::{BatchImage, InlineShards, NewRecord, read_copy};
use rsb_core::format::checksum::Checksums;
use rsb_core::format::manifest::*;
use rsb_core::format::marker::Marker;
use rsb_core::format::paths;
use rsb_core::id::{BatchId, DataId, RepositoryId, VersionId};
use rsb_core::*;
use uuid::Uuid;

use crate::compose::{blocks, shard_files};
use crate::support::*;

const BLOCK: u32 = 512;
const CREATED_MS: u64 = 1_750_000_000_000;

/// An id of a fixed millisecond: all of them rise by number.
fn id(number: u64) -> Uuid {
    Uuid::from_u64_pair((CREATED_MS + number) << 16 | 0x7abc, 0x8123_4567_89ab_cd00 + number)
}

/// A fixture: its folder's name, and its scheme.
fn all() -> Vec<(String, Scheme)> {
    let mut out = Vec::new();
    for codec in [CodecId::NOVELPOLY, CodecId::CAUCHY] {
        for (k, m) in [(2, 1), (4, 2)] {
            out.push((format!("{codec}-{k}+{m}"), Scheme::new(k, m, codec, BLOCK).unwrap()));
        }
    }
    out
}

fn folder() -> PathBuf {
    FilePath::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// One repository, described.
struct Fixture {
    scheme: Scheme,
    repository: RepositoryId,
    batch: BatchId,
    big: Vec<u8>,
    small: Vec<u8>,
}

/// Where the second segment of the big object begins.
const SEGMENT: usize = 2500;

impl Fixture {
    fn new(scheme: Scheme) -> Self {
        let repository = RepositoryId(id(0));
        Self { scheme, repository, batch: BatchId(id(90)), big: content(3001, 7), small: content(101, 8) }
    }

    fn symbol_len(&self) -> u32 {
        if self.scheme.codec_id() == CodecId::NOVELPOLY { 2 } else { 1 }
    }

    /// Shard i lies on the next backend, so that shard numbers and backends are not the same.
    fn holder(&self, index: usize) -> usize {
        (index + 1) % self.scheme.n()
    }

    fn version(&self, key: &str, number: u64, size: usize, body: Body) -> Manifest {
        Manifest {
            bucket: "bucket".into(),
            key: key.into(),
            version: VersionId(id(number)),
            revision: 0,
            modified_ms: CREATED_MS + number,
            size: size as u64,
            etag: Etag::Md5([number as u8; 16]),
            attributes: BTreeMap::new(),
            metadata: BTreeMap::new(),
            tags: BTreeMap::new(),
            delete_marker: false,
            null_version: true,
            body,
            run_digests: None,
            extra: BTreeMap::new(),
            parts: None,
            checksum: None,
        }
    }

    /// The big object, its shards placed `turn` backends further than they are.
    fn big(&self, turn: usize) -> Manifest {
        let mut body = SegmentedBody::default();
        let names: Vec<String> =
            (0..self.scheme.n()).map(|i| format!("b{}", (self.holder(i) + turn) % self.scheme.n())).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let scheme = SegmentScheme { scheme: self.scheme, symbol_len: self.symbol_len() };
        body.push(DataId(id(10)), SEGMENT as u64, scheme, &names);
        body.push(DataId(id(11)), (self.big.len() - SEGMENT) as u64, scheme, &names);
        let map = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        Manifest {
            attributes: map("content-type", "text/plain"),
            metadata: map("who", "Grüße"),
            tags: map("colour", "blue"),
            run_digests: Some(vec![Digest([5; 32]); self.scheme.n()]),
            extra: map("note", "kept"),
            etag: Etag::Multipart([4; 16], 2),
            ..self.version("folder/big", 50, self.big.len(), Body::Segments(body))
        }
    }

    fn records(&self) -> Vec<NewRecord> {
        let inline = InlineBody { scheme: self.scheme, data_id: DataId(id(12)), symbol_len: self.symbol_len() };
        let symbol = self.symbol_len() as usize;
        let block_len = self.small.len().div_ceil(self.scheme.k()).next_multiple_of(symbol);
        let shards = blocks(self.scheme, &self.small, block_len).into_iter().map(Bytes::from).collect();
        let small = NewRecord {
            record: Record::Version(self.version("small", 51, self.small.len(), Body::Inline(inline))),
            inline: InlineShards { data_id: Some(DataId(id(12))), blocks: shards },
        };
        let marker =
            Manifest { delete_marker: true, etag: Etag::Fast([0; 16]), ..self.version("marked", 52, 0, Body::None) };
        let settings = BucketSettings { versions: Versions::KeepLast, extra: BTreeMap::new() };
        let bucket = BucketRecord {
            name: "bucket".into(),
            version: VersionId(id(40)),
            revision: 0,
            created_ms: CREATED_MS,
            deleted: false,
            settings,
        };
        let tombstone = Tombstone {
            bucket: "bucket".into(),
            key: "gone".into(),
            version: VersionId(id(60)),
            revision: 0,
            target: None,
            null_version: false,
        };
        let moved = Manifest { revision: 1, ..self.big(0) };
        vec![
            NewRecord::plain(Record::Bucket(bucket)),
            NewRecord::plain(Record::Version(moved)),
            NewRecord::plain(Record::Version(self.big(1))),
            small,
            NewRecord::plain(Record::Version(marker)),
            NewRecord::plain(Record::Version(self.version("gone", 53, 0, Body::None))),
            NewRecord::plain(Record::Tombstone(tombstone)),
        ]
    }

    /// Every file by backend and path.
    fn files(&self) -> BTreeMap<(usize, Path), Bytes> {
        let n = self.scheme.n();
        let checksums = Checksums::new(self.repository);
        let image = BatchImage::new(self.repository, self.batch, &self.records()).unwrap();
        let mut files = BTreeMap::new();
        for backend in 0..n {
            let marker = Marker::new(self.repository, "fixture", &format!("b{backend}"), self.scheme.parity_shards);
            files.insert((backend, paths::marker()), Bytes::from(marker.encode()));
            files.insert((backend, paths::batch(self.batch)), image.copy(&checksums, backend as u16));
        }
        for (number, segment) in [(10, &self.big[..SEGMENT]), (11, &self.big[SEGMENT..])] {
            let data_id = DataId(id(number));
            for (index, file) in shard_files(self.scheme, self.repository, data_id, segment).into_iter().enumerate() {
                files.insert((self.holder(index), paths::shard(data_id, index)), file);
            }
        }
        files
    }
}

/// The files of a fixture as they lie in the repository.
fn stored(name: &str) -> BTreeMap<(usize, Path), Bytes> {
    fn walk(root: &FilePath, at: &FilePath, out: &mut Vec<(String, Bytes)>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, out);
            } else {
                let name = path.strip_prefix(root).unwrap().components().map(|c| c.as_os_str().to_str().unwrap());
                out.push((name.collect::<Vec<_>>().join("/"), std::fs::read(&path).unwrap().into()));
            }
        }
    }
    let root = folder().join(name);
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    let split = |(name, bytes): (String, Bytes)| {
        let (backend, path) = name.split_once('/').unwrap();
        ((backend.strip_prefix('b').unwrap().parse().unwrap(), Path::from(path)), bytes)
    };
    found.into_iter().map(split).collect()
}

#[test]
#[ignore = "writes the fixtures; they are made once for a format version"]
fn write_fixtures() {
    for (name, scheme) in all() {
        for ((backend, path), bytes) in Fixture::new(scheme).files() {
            let file = folder().join(&name).join(format!("b{backend}")).join(path.as_ref());
            assert!(!file.exists(), "a fixture is never written over: {}", file.display());
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
        }
    }
}

#[test]
fn the_encoders_make_the_same_bytes_as_ever() {
    for (name, scheme) in all() {
        let (made, stored) = (Fixture::new(scheme).files(), stored(&name));
        assert_eq!(made.keys().collect::<Vec<_>>(), stored.keys().collect::<Vec<_>>(), "{name}");
        for (at, bytes) in stored {
            assert!(made[&at] == bytes, "{name}: {at:?} is encoded otherwise than it was");
        }
    }
}

#[test]
fn the_decoders_read_what_was_meant() {
    for (name, scheme) in all() {
        let fixture = Fixture::new(scheme);
        let (files, records) = (stored(&name), fixture.records());
        for backend in 0..scheme.n() {
            let marker = Marker::decode(&files[&(backend, paths::marker())]).unwrap();
            assert_eq!((marker.format_version, marker.repository_id), (1, fixture.repository));
            assert_eq!((marker.backend, marker.record_margin), (format!("b{backend}"), scheme.parity_shards));
            let copy = &files[&(backend, paths::batch(fixture.batch))];
            let checksums = Checksums::new(fixture.repository);
            let (header, read) = read_copy(&checksums, fixture.repository, fixture.batch, copy).unwrap();
            assert_eq!((usize::from(header.copy), read.len()), (backend, records.len()));
            for (read, new) in read.into_iter().zip(&records) {
                let read = read.unwrap();
                assert_eq!(read.record, new.record, "{name}");
                assert_eq!(read.inline.unwrap(), new.inline.blocks.get(backend).cloned(), "{name}");
            }
        }
    }
}

/// A repository of today on a fixture's files.
async fn world_of(name: &str, scheme: Scheme) -> World {
    let stores: Vec<_> = (0..scheme.n()).map(|i| (format!("b{i}"), Arc::new(InMemory::new()))).collect();
    for ((backend, path), bytes) in stored(name) {
        stores[backend].1.put(&path, bytes.into()).await.unwrap();
    }
    World::of(stores, EngineConfig::new("fixture", scheme))
}

#[tokio::test]
async fn a_repository_of_version_1_is_read_whole_and_without_any_m_backends() {
    for (name, scheme) in all() {
        let fixture = Fixture::new(scheme);
        let world = world_of(&name, scheme).await;
        for away in subsets(scheme.n(), scheme.m()).into_iter().chain([vec![]]) {
            let engine = world.fork().open(&away).await;
            assert_eq!(keys(&engine).await, ["folder/big", "small"], "{name} without {away:?}");
            assert_eq!(get(&engine, "folder/big", None).await.unwrap(), fixture.big, "{name} without {away:?}");
            assert_eq!(get(&engine, "small", None).await.unwrap(), fixture.small, "{name} without {away:?}");
            let info = engine.head("bucket", "folder/big", None).await.unwrap();
            assert_eq!(*info.manifest, Manifest { revision: 1, ..fixture.big(0) });
        }
        let engine = world.open(&[]).await;
        let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
        let report = engine.check(&request, &Progress::default()).await.unwrap();
        assert_eq!((report.objects, report.whole), (2, 2), "{report:?}");
    }
}

/// What the engine writes is what the encoders make.
#[tokio::test]
async fn the_engine_writes_files_of_this_format() {
    for (_, scheme) in all() {
        let mut world = World::new(scheme.k(), scheme.m(), scheme.n());
        world.config.scheme = scheme;
        let engine = with_bucket(&world).await;
        for len in [1001, 1024, 5000, 100_001] {
            let bytes = content(len, 3);
            let info = put(&engine, "x", &bytes).await.unwrap();
            let Body::Segments(body) = &info.manifest.body else { panic!("{info:?}") };
            for segment in body.views() {
                let range = segment.start as usize..(segment.start + segment.len) as usize;
                let files = shard_files(scheme, engine.repository_id(), segment.data_id, &bytes[range]);
                for (index, (file, name)) in files.into_iter().zip(&segment.backends).enumerate() {
                    let store = &world.stores.iter().find(|(backend, _)| backend == name).unwrap().1;
                    let path = paths::shard(segment.data_id, index);
                    let stored = store.get(&path).await.unwrap().bytes().await.unwrap();
                    assert!(stored == file, "{scheme}, {len} bytes, shard {index}");
                }
            }
        }
    }
}

/// docs/reference_decoder.py, which knows nothing of this program, brings the object back from each k of its shards.
#[test]
fn the_reference_decoder_reads_it_from_any_k_shards() {
    std::thread::scope(|scope| {
        for (name, scheme) in all() {
            scope.spawn(move || decode_all(&name, scheme));
        }
    });
}

fn decode_all(name: &str, scheme: Scheme) {
    let decoder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference_decoder.py");
    let out = tempfile::tempdir().unwrap();
    let shards: Vec<_> = stored(name).into_keys().filter(|(_, path)| path.as_ref().starts_with("s/")).collect();
    for chosen in subsets(scheme.n(), scheme.k()) {
        let is_chosen = |path: &Path| chosen.iter().any(|index| path.as_ref().ends_with(&format!(".{index}")));
        let files = shards.iter().filter(|(_, path)| is_chosen(path));
        let files: Vec<_> = files.map(|(b, path)| folder().join(name).join(format!("b{b}/{path}"))).collect();
        assert_eq!(files.len(), 2 * scheme.k(), "two segments");
        let target = out.path().join("object");
        let done = std::process::Command::new("python3").arg(&decoder).arg(&target).args(&files).output().unwrap();
        assert!(done.status.success(), "{name} from {chosen:?}: {}", String::from_utf8_lossy(&done.stderr));
        assert!(std::fs::read(&target).unwrap() == Fixture::new(scheme).big, "{name} from {chosen:?}");
        std::fs::remove_file(&target).unwrap();
    }
}
