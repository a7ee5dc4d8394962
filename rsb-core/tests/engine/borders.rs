//! Every length and every range, around the borders of blocks, stripes and segments; whole, without m backends, and with
//! m shards damaged.

use object_store::ObjectStoreExt;
use object_store::path::Path;
use proptest::prelude::*;
use rsb_core::codec::CodecId;
use rsb_core::*;

use crate::support::*;

const BLOCK: usize = 512;

/// k, m and spare backends.
fn schemes() -> impl Strategy<Value = (usize, usize, usize)> {
    (1usize..6, 1usize..4, 0usize..2)
}

/// A place within three of a border: of the object, a block, a stripe, a segment.
fn near_a_border(k: usize, segment: usize) -> impl Strategy<Value = usize> {
    let unit = prop::sample::select(vec![1, 128, BLOCK, k * BLOCK, segment]);
    (unit, 0usize..4, 0usize..7).prop_map(|(unit, count, off)| (unit * count + off).saturating_sub(3))
}

#[derive(Clone, Debug)]
struct Case {
    scheme: (usize, usize, usize),
    codec: CodecId,
    segment: usize,
    len: usize,
    ranges: Vec<(usize, usize)>,
    turn: usize,
}

fn case() -> impl Strategy<Value = Case> {
    let codec = prop::sample::select(vec![CodecId::NOVELPOLY, CodecId::CAUCHY]);
    // A segment of whole stripes, and one that is not.
    let extra = prop::sample::select(vec![0usize, 1, 700]);
    (schemes(), codec, 1usize..4, extra).prop_flat_map(|(scheme, codec, stripes, extra)| {
        let segment = scheme.0 * BLOCK * stripes + extra;
        let at = || near_a_border(scheme.0, segment);
        (at(), prop::collection::vec((at(), at()), 6), 0usize..8).prop_map(move |(len, ranges, turn)| Case {
            scheme,
            codec,
            segment,
            len,
            ranges,
            turn,
        })
    })
}

async fn read_all(engine: &Engine, case: &Case, bytes: &[u8], how: &str) {
    assert!(get(engine, "x", None).await.unwrap() == bytes, "{how}: {case:?}");
    for (start, end) in &case.ranges {
        let range = ByteRange::Bounded { start: *start as u64, end: *end as u64 };
        let end = (*end).min(bytes.len());
        match get(engine, "x", Some(range)).await {
            Ok(read) => assert!(*start < end && read == bytes[*start..end], "{how}, {start}..{end}: {case:?}"),
            Err(error) => assert!(
                *start >= end && error.kind() == ErrorKind::RangeNotSatisfiable,
                "{how}, {start}..{end}: {error}, {case:?}"
            ),
        }
    }
}

/// One byte of a file is another, anywhere behind the header.
async fn damage(world: &World, backend: usize, path: &Path, turn: usize) {
    let len = world.stores[backend].1.head(path).await.unwrap().size as usize;
    if len > 96 {
        world.flip(backend, path, 96 + turn * 37 % (len - 96)).await;
    }
}

async fn run(case: Case) {
    let (k, m, spare) = case.scheme;
    let n = k + m + spare;
    let mut world = World::new(k, m, n);
    world.config.scheme = Scheme::new(k, m, case.codec, BLOCK as u32).unwrap();
    world.config.segment_size = case.segment as u64;
    world.config.inline_limit = 130;
    let engine = with_bucket(&world).await;
    let bytes = content(case.len, 5);
    assert_eq!(put(&engine, "x", &bytes).await.unwrap().size(), case.len as u64);
    read_all(&engine, &case, &bytes, "whole").await;
    engine.close().await.unwrap();
    let away: Vec<usize> = (0..m).map(|i| (case.turn + i) % n).collect();
    read_all(&world.fork().open(&away).await, &case, &bytes, "degraded").await;
    for backend in away {
        for path in world.paths(backend, "s").await {
            damage(&world, backend, &path, case.turn).await;
        }
    }
    read_all(&world.open(&[]).await, &case, &bytes, "damaged").await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_length_and_range_comes_back(case in case()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(case));
    }
}
