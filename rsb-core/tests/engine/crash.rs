//! Crash anywhere: whatever change to a backend is the last one that happens, the rebuilt catalog is the acknowledged
//! history, and what the crash left behind is swept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rsb_core::catalog::{MemoryCatalog, Precondition};
use rsb_core::codec::Codecs;
use rsb_core::*;

use crate::support::*;

/// What a person sees: each key's bytes.
type Seen = BTreeMap<&'static str, Vec<u8>>;

#[derive(Clone, Copy, Debug)]
enum Step {
    Put(&'static str, usize, u8),
    Delete(&'static str),
    Copy(&'static str, &'static str),
    Sweep,
}

use Step::*;

/// Every kind of change, on objects in records and on objects in shards.
const STEPS: [Step; 13] = [
    Put("a", 300, 1),
    Put("b", 9000, 2),
    Put("a", 9000, 3),
    Copy("b", "c"),
    Delete("b"),
    Sweep,
    Put("b", 500, 4),
    Put("d", 120_000, 5),
    Put("d", 200, 6),
    Delete("a"),
    Delete("c"),
    Sweep,
    Sweep,
];

async fn act(world: &World, engine: &Engine, step: Step) -> Result<()> {
    match step {
        Put(key, len, seed) => put(engine, key, &content(len, seed)).await.map(|_| ()),
        Delete(key) => delete(engine, key).await.map(|_| ()),
        Copy(from, to) => engine.copy(("bucket", from), ("bucket", to), Precondition::None).await.map(|_| ()),
        Sweep => {
            world.clock.turn(1000);
            engine.sweep(SweepRequest::default(), &Progress::default()).await.map(|_| ())
        }
    }
}

fn after(mut seen: Seen, step: Step) -> Seen {
    match step {
        Put(key, len, seed) => {
            seen.insert(key, content(len, seed));
        }
        Delete(key) => {
            seen.remove(key);
        }
        Copy(from, to) => {
            seen.insert(to, seen[from].clone());
        }
        Sweep => {}
    }
    seen
}

/// Does the steps until the process dies. Gives what was acknowledged, and the step that was not.
async fn live(world: &World, engine: &Engine) -> (Seen, Option<Step>) {
    let mut seen = Seen::new();
    for step in STEPS {
        match act(world, engine, step).await {
            Ok(()) => seen = after(seen, step),
            Err(_) => return (seen, Some(step)),
        }
    }
    (seen, None)
}

async fn look(engine: &Engine) -> Seen {
    let mut seen = Seen::new();
    let all = keys(engine).await;
    for key in ["a", "b", "c", "d"] {
        if all.iter().any(|name| name == key) {
            seen.insert(key, get(engine, key, None).await.unwrap());
        }
    }
    assert_eq!(seen.len(), all.len());
    seen
}

/// Looks at the repository with nothing but the backends, sweeps it, and looks again without any m of them.
async fn examine(world: &World, acknowledged: Seen, unsure: Option<Step>, case: &str) {
    let (_, m, n) = (world.config.scheme.k(), world.config.scheme.m(), world.stores.len());
    let engine = world.open(&[]).await;
    let seen = look(&engine).await;
    let with_it = unsure.map(|step| after(acknowledged.clone(), step));
    assert!(seen == acknowledged || Some(&seen) == with_it.as_ref(), "{case}: {:?}", seen.keys());
    world.clock.turn(1000);
    for _ in 0..3 {
        sweep(&engine).await;
    }
    let mut named = BTreeSet::new();
    for key in seen.keys() {
        named.extend(engine.head("bucket", key, None).await.unwrap().manifest.data_ids().map(|id| id.to_string()));
    }
    let files = world.files("s").await.into_iter().map(|(_, path)| path.filename().unwrap().to_owned());
    let left: BTreeSet<String> = files.map(|name| name.split('.').next().unwrap().to_owned()).collect();
    assert_eq!(left, named, "{case}: shards after the sweep");
    assert_eq!(engine.status().await.unwrap().counts.tombstones, 0, "{case}");
    engine.close().await.unwrap();
    // m backends, another choice in each case.
    let away: Vec<usize> = (0..m).map(|i| (case.len() + seen.len() + i) % n).collect();
    let engine = world.open(&away).await;
    assert_eq!(keys(&engine).await, seen.keys().copied().collect::<Vec<_>>(), "{case}, without {away:?}");
}

/// Dies at every change of the history in turn.
async fn die_everywhere(k: usize, m: usize, n: usize) {
    let origin = World::new(k, m, n);
    with_bucket(&origin).await.close().await.unwrap();
    for changes in 1.. {
        let world = origin.fork();
        let engine = world.open(&[]).await;
        world.fuse.light(changes);
        let (acknowledged, unsure) = live(&world, &engine).await;
        let _ = engine.close().await;
        drop(engine);
        let died = world.fuse.is_burnt();
        world.fuse.put_out();
        let case = format!("{k}+{m} over {n}, dead after {changes} changes, in {unsure:?}");
        examine(&world, acknowledged, unsure, &case).await;
        if !died {
            assert!(changes > 50, "the history is one of many changes");
            return;
        }
    }
}

#[tokio::test]
async fn a_crash_anywhere_keeps_the_acknowledged_history() {
    die_everywhere(4, 2, 6).await;
}

#[tokio::test]
async fn a_crash_anywhere_keeps_the_acknowledged_history_of_mirrors() {
    die_everywhere(1, 3, 4).await;
}

#[tokio::test]
async fn a_crash_anywhere_keeps_the_acknowledged_history_with_more_parity_than_data() {
    die_everywhere(2, 4, 6).await;
}

#[tokio::test]
async fn a_crash_anywhere_keeps_the_acknowledged_history_on_more_backends_than_shards() {
    die_everywhere(2, 1, 5).await;
}

/// A process that ends before anybody knows of the ids that it gave is outlived by the next, whatever the clock says, and
/// however many processes ended like that.
#[tokio::test]
async fn ids_rise_over_processes_of_which_nothing_is_known() {
    let world = World::new(2, 1, 3);
    let catalog = Arc::new(MemoryCatalog::new());
    world.init().await;
    let mut last = None;
    for turned in [0, HOUR_MS, -2 * HOUR_MS, 0, 0, -HOUR_MS] {
        world.clock.turn(turned);
        let env = world.env();
        let config = world.config.clone();
        let engine = Engine::open(config, world.backends(&[]), catalog.clone(), Codecs::with_builtin(), env.clone());
        let engine = engine.await.unwrap();
        let id = env.new_id();
        assert!(last.is_none_or(|last| last < id), "the clock was turned by {turned} ms");
        last = Some(id);
        drop(engine);
    }
}
