//! Multipart uploads: sweeps, expiry, and what is short of a part.

use rsb_core::*;

use crate::gate::Refusals;
use crate::multipart::*;
use crate::support::*;

#[tokio::test]
async fn a_sweep_leaves_the_parts_of_open_uploads_however_old_they_are() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    let part = send(&engine, &upload, 1, &content(120_000, 1)).await.unwrap();
    world.clock.turn(6 * 24 * HOUR_MS);
    let engine = reopened(&world, engine, &catalog).await;
    for _ in 0..2 {
        let report = sweep(&engine).await;
        assert_eq!((report.shards_removed, report.uploads_expired), (0, 0), "{report:?}");
    }
    assert_eq!(stored(&world).await, ids([&part]));
    complete(&engine, &upload, &[1]).await.unwrap();
    sweep(&engine).await;
    assert_eq!(get(&engine, "k", None).await.unwrap(), content(120_000, 1));
}

#[tokio::test]
async fn an_upload_that_is_never_completed_expires() {
    let mut world = World::new(4, 2, 6);
    let (engine, _) = with_catalog(&world).await;
    let upload = begin(&engine, "logs/a").await.unwrap();
    let kept = begin(&engine, "b").await.unwrap();
    for upload in [&upload, &kept] {
        send(&engine, upload, 1, &content(9000, 1)).await.unwrap();
    }
    let which = |before_ms| ExpireUploads { bucket: Some("bucket".into()), prefix: "logs/".into(), before_ms };
    assert_eq!(engine.expire_uploads(&which(upload.created_ms)).await.unwrap(), 0);
    assert_eq!(engine.expire_uploads(&which(upload.created_ms + 1)).await.unwrap(), 1);
    assert_eq!(engine.upload("bucket", "b", kept.id).await.unwrap(), kept);
    world.clock.turn(8 * 24 * HOUR_MS);
    let dry = engine.sweep(SweepRequest { dry_run: true }, &Progress::default()).await.unwrap();
    assert_eq!(dry.uploads_expired, 1);
    assert_eq!(sweep(&engine).await.uploads_expired, 1);
    engine.close().await.unwrap();
    assert!(shards(&world).await.is_empty());
    world.config.multipart_expiry = std::time::Duration::ZERO;
    let engine = world.open(&[]).await;
    begin(&engine, "k").await.unwrap();
    world.clock.turn(1000 * 24 * HOUR_MS);
    assert_eq!(sweep(&engine).await.uploads_expired, 0, "zero is never");
}

#[tokio::test]
async fn without_its_catalog_an_upload_is_gone_and_its_parts_are_swept() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let open = begin(&engine, "open").await.unwrap();
    send(&engine, &open, 1, &content(9000, 1)).await.unwrap();
    let done = begin(&engine, "done").await.unwrap();
    let part = send(&engine, &done, 1, &content(9000, 2)).await.unwrap();
    complete(&engine, &done, &[1]).await.unwrap();
    engine.close().await.unwrap();
    world.clock.turn(1000);
    let engine = world.open(&[]).await;
    assert_eq!(engine.upload("bucket", "open", open.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    sweep(&engine).await;
    assert_eq!(stored(&world).await, ids([&part]));
    assert_eq!(get(&engine, "done", None).await.unwrap(), content(9000, 2));
}

#[tokio::test]
async fn what_is_short_of_a_part_stands_in_the_ledger_until_it_is_healed() {
    let world = World::new(4, 2, 6);
    let engine = with_bucket(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    world.refuse(&[2], Refusals { puts: Some("s"), ..Refusals::default() });
    let first = send(&engine, &upload, 1, &content(30_000, 1)).await.unwrap();
    let ledger = engine.ledger(None, 100).await.unwrap();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!((ledger[0].bucket.as_str(), ledger[0].key.as_str()), ("bucket", "k"));
    world.heal();
    send(&engine, &upload, 2, &content(30_000, 2)).await.unwrap();
    complete(&engine, &upload, &[1, 2]).await.unwrap();
    let plan = engine.plan_repair(&Scope::default(), Depth::Inventory, &Progress::default()).await.unwrap();
    engine.repair(&plan, &Progress::default()).await.unwrap();
    assert!(engine.ledger(None, 100).await.unwrap().is_empty());
    let held = stored(&world).await;
    assert!(held.is_superset(&ids([&first])));
    assert_eq!(shards(&world).await.len(), 12, "every shard of both");
}

#[tokio::test]
async fn an_aborted_part_takes_its_lines_of_the_ledger_along() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    world.refuse(&[2], Refusals { puts: Some("s"), ..Refusals::default() });
    send(&engine, &upload, 1, &content(30_000, 1)).await.unwrap();
    world.heal();
    engine.abort_upload("bucket", "k", upload.id).await.unwrap();
    let engine = reopened(&world, engine, &catalog).await;
    assert!(engine.ledger(None, 100).await.unwrap().is_empty());
    assert!(shards(&world).await.is_empty());
}

#[tokio::test]
async fn a_part_that_reaches_too_few_backends_is_refused_and_undone() {
    let world = World::new(4, 2, 6);
    let (engine, catalog) = with_catalog(&world).await;
    let upload = begin(&engine, "k").await.unwrap();
    world.refuse(&[0, 1, 2], Refusals { puts: Some("s"), ..Refusals::default() });
    let error = send(&engine, &upload, 1, &content(30_000, 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    world.heal();
    let engine = reopened(&world, engine, &catalog).await;
    assert!(shards(&world).await.is_empty());
    assert!(engine.parts(upload.id, 0, 10).await.unwrap().is_empty());
    // The same for an upload whose completion does not reach enough: it stays open, and works later.
    let part = send(&engine, &upload, 1, &content(30_000, 1)).await.unwrap();
    world.refuse(&[0, 1, 2], Refusals { puts: Some("m"), ..Refusals::default() });
    assert_eq!(complete(&engine, &upload, &[1]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    world.heal();
    assert_eq!(engine.parts(upload.id, 0, 10).await.unwrap(), [part]);
    complete(&engine, &upload, &[1]).await.unwrap();
    assert_eq!(get(&engine, "k", None).await.unwrap(), content(30_000, 1));
}
