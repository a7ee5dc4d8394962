//! Multipart uploads: parts are segments from the start, completing moves nothing, and no sweep, crash or abort loses what
//! was acknowledged or keeps what is not wanted.

use std::collections::BTreeSet;
use std::sync::Arc;

use md5::Digest as _;
use object_store::path::Path;
use rsb_core::catalog::{MemoryCatalog, PartRow, Precondition, UploadRow};
use rsb_core::format::manifest::{BucketSettings, Digest, Etag, Versions};
use rsb_core::format::parts::{ChecksumAlgorithm, ObjectChecksum};
use rsb_core::id::UploadId;
use rsb_core::*;

use crate::support::*;

pub async fn begin(engine: &Engine, key: &str) -> Result<UploadRow> {
    let metadata = [("who".to_owned(), "me".to_owned())].into();
    engine.create_upload(NewUpload { bucket: "bucket".into(), key: key.into(), metadata, ..NewUpload::default() }).await
}

pub async fn send(engine: &Engine, upload: &UploadRow, number: u16, bytes: &[u8]) -> Result<PartRow> {
    let request = PartRequest {
        bucket: upload.bucket.clone(),
        key: upload.key.clone(),
        upload: upload.id,
        number,
        len: Some(bytes.len() as u64),
        checksum: Late::default(),
    };
    engine.put_part(request, body(bytes)).await
}

pub async fn complete(engine: &Engine, upload: &UploadRow, numbers: &[u16]) -> Result<ObjectInfo> {
    complete_if(engine, upload, numbers, Precondition::None).await
}

pub async fn complete_if(
    engine: &Engine,
    upload: &UploadRow,
    numbers: &[u16],
    precondition: Precondition,
) -> Result<ObjectInfo> {
    let completing = engine.completing(&upload.bucket, &upload.key, upload.id).await?;
    let list = Digest([numbers.len() as u8; 32]);
    completing.finish(Finish { numbers: numbers.to_vec(), list, precondition, checksum: None }).await
}

pub async fn shards(world: &World) -> BTreeSet<(usize, Path)> {
    world.files("s").await
}

/// The data ids that shard files are of.
pub async fn stored(world: &World) -> BTreeSet<String> {
    let names = shards(world).await.into_iter().map(|(_, path)| path.filename().unwrap().to_owned());
    names.map(|name| name.split('.').next().unwrap().to_owned()).collect()
}

pub fn ids<'a>(parts: impl IntoIterator<Item = &'a PartRow>) -> BTreeSet<String> {
    parts.into_iter().flat_map(|part| part.data_ids().map(|id| id.to_string()).collect::<Vec<_>>()).collect()
}

/// What the engine does beside the calls has been done: it is closed and opened again with the same catalog.
pub async fn reopened(world: &World, engine: Engine, catalog: &Arc<MemoryCatalog>) -> Engine {
    engine.close().await.unwrap();
    world.open_with(catalog.clone(), &[]).await.unwrap()
}

pub async fn with_catalog(world: &World) -> (Engine, Arc<MemoryCatalog>) {
    world.init().await;
    let catalog = Arc::new(MemoryCatalog::new());
    let engine = world.open_with(catalog.clone(), &[]).await.unwrap();
    engine.create_bucket("bucket", BucketSettings::default()).await.unwrap();
    (engine, catalog)
}

#[tokio::test]
async fn parts_become_an_object_without_a_byte_being_moved() {
    for (k, m, n) in SCHEMES {
        let world = World::new(k, m, n);
        let engine = with_bucket(&world).await;
        let upload = begin(&engine, "big").await.unwrap();
        let pieces = [content(250_000, 1), content(100_000, 2), content(10, 3)];
        for (number, piece) in [5, 1, 9].into_iter().zip(&pieces) {
            let part = send(&engine, &upload, number, piece).await.unwrap();
            assert_eq!(part.etag, Etag::Md5(md5::Md5::digest(piece).into()));
        }
        assert!(keys(&engine).await.is_empty(), "nothing is seen of it before");
        let before = shards(&world).await;
        assert!(!before.is_empty(), "also of the part that would fit in a record");
        let info = complete(&engine, &upload, &[1, 5, 9]).await.unwrap();
        assert_eq!(shards(&world).await, before, "{k}+{m}");

        let whole = [pieces[1].clone(), pieces[0].clone(), pieces[2].clone()].concat();
        assert_eq!(get(&engine, "big", None).await.unwrap(), whole);
        let range = Some(ByteRange::Bounded { start: 99_990, end: 100_020 });
        assert_eq!(get(&engine, "big", range).await.unwrap(), whole[99_990..100_020]);
        let tags: Vec<u8> = [1, 0, 2].iter().flat_map(|at| md5::Md5::digest(&pieces[*at]).to_vec()).collect();
        assert_eq!(info.etag(), format!("{}-3", hex::encode(md5::Md5::digest(tags))));
        assert_eq!(info.manifest.metadata["who"], "me");
        let parts = info.manifest.parts.clone().unwrap();
        let views: Vec<_> = parts.views().map(|view| (view.number, view.range)).collect();
        assert_eq!(views, [(1, 0..100_000), (5, 100_000..350_000), (9, 350_000..350_010)]);

        // The backends alone know it too, without any m of them, and its deletion frees everything.
        engine.close().await.unwrap();
        for away in subsets(n, m) {
            let engine = world.open(&away).await;
            assert_eq!(get(&engine, "big", None).await.unwrap(), whole, "{k}+{m} without {away:?}");
            assert_eq!(engine.head("bucket", "big", None).await.unwrap().manifest, info.manifest);
        }
        let engine = world.open(&[]).await;
        let report = engine
            .check(&CheckRequest { depth: Depth::Full, ..CheckRequest::default() }, &Progress::default())
            .await
            .unwrap();
        assert!(report.damaged.is_empty(), "{report:?}");
        outlive_earlier(&world, &engine).await;
        delete(&engine, "big").await.unwrap();
        engine.close().await.unwrap();
        assert!(shards(&world).await.is_empty());
    }
}

#[tokio::test]
async fn a_part_is_replaced_and_left_out_and_an_upload_aborted_without_leaving_anything() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    let old = send(&engine, &upload, 1, &content(30_000, 1)).await.unwrap();
    let new = send(&engine, &upload, 1, &content(20_000, 2)).await.unwrap();
    let other = send(&engine, &upload, 2, &content(9_000, 3)).await.unwrap();
    let engine = reopened(&world, engine, &catalog).await;
    assert!(stored(&world).await.is_disjoint(&ids([&old])));
    assert_eq!(engine.parts(upload.id, 0, 10).await.unwrap(), [new.clone(), other.clone()]);
    let aborted = begin(&engine, "k").await.unwrap();
    let third = send(&engine, &aborted, 1, &content(30_000, 4)).await.unwrap();
    assert!(stored(&world).await.is_superset(&ids([&third])));
    engine.abort_upload("bucket", "k", aborted.id).await.unwrap();
    complete(&engine, &upload, &[1]).await.unwrap();
    let engine = reopened(&world, engine, &catalog).await;
    assert_eq!(stored(&world).await, ids([&new]));
    assert_eq!(get(&engine, "k", None).await.unwrap(), content(20_000, 2));
    for id in [aborted.id, upload.id, UploadId::MIN] {
        let error = engine.abort_upload("bucket", "k", id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = send(&engine, &UploadRow { id, ..upload.clone() }, 3, b"late").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let engine = reopened(&world, engine, &catalog).await;
    assert_eq!(stored(&world).await, ids([&new]), "what came too late is undone");
    drop(engine);
}

#[tokio::test]
async fn an_upload_is_of_its_own_key() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    let stranger = UploadRow { key: "l".into(), ..upload.clone() };
    assert_eq!(send(&engine, &stranger, 1, b"x").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(engine.abort_upload("bucket", "l", upload.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    for number in [0, 10_001] {
        assert_eq!(send(&engine, &upload, number, b"x").await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    for numbers in [&[][..], &[1], &[7]] {
        assert_eq!(complete(&engine, &upload, numbers).await.unwrap_err().kind(), ErrorKind::Invalid);
    }
    let new = NewUpload { bucket: "none".into(), key: "k".into(), ..NewUpload::default() };
    assert_eq!(engine.create_upload(new).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(shards(&world).await.is_empty());
}

#[tokio::test]
async fn an_object_of_no_bytes_can_be_sent_in_parts() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let upload = begin(&engine, "empty").await.unwrap();
    send(&engine, &upload, 1, b"").await.unwrap();
    complete(&engine, &upload, &[1]).await.unwrap();
    engine.copy(("bucket", "empty"), ("bucket", "copy"), Precondition::None).await.unwrap();
    engine.close().await.unwrap();
    let engine = world.open(&[0, 1]).await;
    for key in ["empty", "copy"] {
        assert_eq!(get(&engine, key, None).await.unwrap(), b"");
    }
    let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
    let report = engine.check(&request, &Progress::default()).await.unwrap();
    assert!(report.damaged.iter().all(ObjectHealth::is_readable), "{report:?}");
}

#[tokio::test]
async fn completing_again_gives_the_same_answer_until_it_expires() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    send(&engine, &upload, 1, &content(9000, 1)).await.unwrap();
    let info = complete(&engine, &upload, &[1]).await.unwrap();
    put(&engine, "k", b"newer").await.unwrap();
    let engine = reopened(&world, engine, &catalog).await;
    let again = engine.completing("bucket", "k", upload.id).await.unwrap();
    let remembered = again.upload().completed.clone().unwrap();
    assert!(again.parts().is_empty());
    drop(again);
    assert_eq!(
        (remembered.manifest.version, remembered.manifest.etag.clone()),
        (info.version(), info.manifest.etag.clone())
    );
    assert_eq!(remembered.list, Digest([1; 32]));
    assert_eq!(get(&engine, "k", None).await.unwrap(), b"newer", "asking changes nothing");
    world.clock.turn(8 * 24 * HOUR_MS);
    assert_eq!(sweep(&engine).await.uploads_expired, 1);
    assert_eq!(engine.completing("bucket", "k", upload.id).await.err().unwrap().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_condition_holds_for_what_is_completed() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let old = put(&engine, "k", b"old").await.unwrap();
    let upload = begin(&engine, "k").await.unwrap();
    send(&engine, &upload, 1, &content(9000, 1)).await.unwrap();
    for refused in [Precondition::Absent, Precondition::EtagIn(vec!["other".into()])] {
        let error = complete_if(&engine, &upload, &[1], refused).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
        assert_eq!(get(&engine, "k", None).await.unwrap(), b"old");
    }
    complete_if(&engine, &upload, &[1], Precondition::EtagIn(vec![old.etag()])).await.unwrap();
    assert_eq!(get(&engine, "k", None).await.unwrap(), content(9000, 1));
}

#[tokio::test]
async fn whole_segments_are_copied_by_pointing_at_them() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let bytes = content(250_000, 1);
    let source = put(&engine, "source", &bytes).await.unwrap();
    let upload = begin(&engine, "k").await.unwrap();
    let before = shards(&world).await;
    let request = |number| PartRequest {
        bucket: "bucket".into(),
        key: "k".into(),
        upload: upload.id,
        number,
        len: None,
        checksum: Late::default(),
    };
    assert_eq!(engine.link_part(&source, 0..99_999, &request(1)).await.unwrap(), None, "half a segment");
    let part = engine.link_part(&source, 100_000..250_000, &request(1)).await.unwrap().unwrap();
    assert_eq!(part.size, 150_000);
    let whole = engine.link_part(&source, 0..250_000, &request(2)).await.unwrap().unwrap();
    assert_eq!(whole.etag, source.manifest.etag);
    assert_eq!(shards(&world).await, before);
    // The source goes; the parts keep what they point at, also through a sweep.
    delete(&engine, "source").await.unwrap();
    let engine = reopened(&world, engine, &catalog).await;
    world.clock.turn(1000);
    sweep(&engine).await;
    complete(&engine, &upload, &[1, 2]).await.unwrap();
    assert_eq!(get(&engine, "k", None).await.unwrap(), [&bytes[100_000..], &bytes].concat());
    let engine = reopened(&world, engine, &catalog).await;
    assert_eq!(shards(&world).await, before);
    delete(&engine, "k").await.unwrap();
    engine.close().await.unwrap();
    assert!(shards(&world).await.is_empty());
}

#[tokio::test]
async fn uploads_are_listed_by_pages_with_prefixes_and_delimiters() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    for key in ["a/1", "a/2", "b", "b", "c/x/1", "c/x/2", "c/y", "d"] {
        begin(&engine, key).await.unwrap();
    }
    let list = async |prefix: &str, delimiter: Option<&str>, limit: usize| {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let query = UploadQuery {
                bucket: "bucket".into(),
                prefix: prefix.into(),
                delimiter: delimiter.map(str::to_owned),
                after: after.take(),
                limit,
            };
            let page = engine.list_uploads(&query).await.unwrap();
            assert!(page.uploads.len() + page.prefixes.len() <= limit);
            let mut names: Vec<String> = page.uploads.into_iter().map(|row| row.key).chain(page.prefixes).collect();
            names.sort();
            seen.extend(names);
            after = page.next;
            if after.is_none() {
                return seen;
            }
        }
    };
    for limit in 1..10 {
        assert_eq!(list("", None, limit).await, ["a/1", "a/2", "b", "b", "c/x/1", "c/x/2", "c/y", "d"]);
        assert_eq!(list("", Some("/"), limit).await, ["a/", "b", "b", "c/", "d"], "{limit}");
        assert_eq!(list("c/", Some("/"), limit).await, ["c/x/", "c/y"]);
        assert_eq!(list("c/x", None, limit).await, ["c/x/1", "c/x/2"]);
        assert!(list("zz", Some("/"), limit).await.is_empty());
    }
}

#[tokio::test]
async fn every_version_of_a_bucket_that_keeps_them_keeps_its_parts() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let settings = BucketSettings { versions: Versions::KeepAll, ..BucketSettings::default() };
    engine.set_bucket("bucket", settings).await.unwrap();
    let mut infos = Vec::new();
    for seed in [1, 2] {
        let upload = begin(&engine, "k").await.unwrap();
        send(&engine, &upload, 1, &content(9000, seed)).await.unwrap();
        infos.push(complete(&engine, &upload, &[1]).await.unwrap());
    }
    for (info, seed) in infos.iter().zip([1, 2]) {
        let mut read = engine.get("bucket", "k", Some(info.version()), None).await.unwrap().stream;
        let mut bytes = Vec::new();
        while let Some(chunk) = futures::StreamExt::next(&mut read).await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        assert_eq!(bytes, content(9000, seed));
    }
}

#[tokio::test]
async fn checksums_are_kept_with_objects_and_parts() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let sum = |seed| ObjectChecksum { algorithm: ChecksumAlgorithm::Crc32c, value: vec![seed; 4], composite: false };
    for (key, len) in [("small", 10), ("large", 9000)] {
        let checksum = Late::from(sum(7));
        let request = PutRequest { bucket: "bucket".into(), key: key.into(), checksum, ..PutRequest::default() };
        engine.put(request, body(&content(len, 1))).await.unwrap();
        let copy = engine.copy(("bucket", key), ("bucket", "copy"), Precondition::None).await.unwrap();
        assert_eq!(copy.manifest.checksum, Some(sum(7)));
    }
    let upload = begin(&engine, "parts").await.unwrap();
    for number in [1, 2] {
        let request = PartRequest {
            bucket: "bucket".into(),
            key: "parts".into(),
            upload: upload.id,
            number,
            len: None,
            checksum: sum(number as u8).into(),
        };
        engine.put_part(request, body(&content(9000, 1))).await.unwrap();
    }
    let completing = engine.completing("bucket", "parts", upload.id).await.unwrap();
    let whole = ObjectChecksum { composite: true, ..sum(9) };
    let (numbers, list) = (vec![1, 2], Digest([0; 32]));
    let finish = Finish { numbers, list, precondition: Precondition::None, checksum: Some(whole.clone()) };
    completing.finish(finish).await.unwrap();
    engine.close().await.unwrap();
    let engine = world.open(&[0, 1]).await;
    let manifest = engine.head("bucket", "parts", None).await.unwrap().manifest;
    assert_eq!(manifest.checksum, Some(whole));
    let sums: Vec<_> = manifest.parts.as_ref().unwrap().views().map(|view| view.checksum.unwrap().to_vec()).collect();
    assert_eq!(sums, [vec![1; 4], vec![2; 4]]);
    assert_eq!(engine.head("bucket", "small", None).await.unwrap().manifest.checksum, Some(sum(7)));
}

#[tokio::test]
async fn ten_thousand_parts_are_one_record() {
    let world = World::new(1, 1, 2);
    let (engine, _) = with_catalog(&world).await;
    let source = put(&engine, "source", &content(2000, 1)).await.unwrap();
    let upload = begin(&engine, "many").await.unwrap();
    for number in 1..=10_000 {
        let request = PartRequest {
            bucket: "bucket".into(),
            key: "many".into(),
            upload: upload.id,
            number,
            len: None,
            checksum: ObjectChecksum { algorithm: ChecksumAlgorithm::Sha256, value: vec![1; 32], composite: false }
                .into(),
        };
        engine.link_part(&source, 0..2000, &request).await.unwrap().unwrap();
    }
    let numbers: Vec<u16> = (1..=10_000).collect();
    let info = complete(&engine, &upload, &numbers).await.unwrap();
    assert_eq!(info.size(), 20_000_000);
    let range = Some(ByteRange::Bounded { start: 19_998_000, end: 20_000_000 });
    assert_eq!(get(&engine, "many", range).await.unwrap(), content(2000, 1));
}
