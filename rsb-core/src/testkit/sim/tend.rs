//! Damage; and the opposite: faults stop, a person sees to the backends, and all must be well again.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;

use super::history::{Damage, KEYS, LAST_KEYS};
use super::judge::Broken;
use super::model::name;
use super::run::Sim;
use super::world::{File, LATEST_MS, State};
use crate::catalog::HolderState;
use crate::format::manifest::Body;
use crate::format::marker::Marker;
use crate::format::paths;
use crate::id::{BatchId, RepositoryId};
use crate::{CheckRequest, Depth, Engine, Progress, Scope, SweepRequest};

/// Damages what lies on a backend.
pub(super) fn damage(state: &mut State, disk: usize, damage: Damage) {
    let marker = Sim::marker();
    let files: Vec<Path> = state.disks[disk].files.keys().filter(|path| **path != marker).cloned().collect();
    let (one, other) = (state.rng.next(), state.rng.next());
    let pick = |chance: u64| (!files.is_empty()).then(|| files[chance as usize % files.len()].clone());
    let (Some(path), Some(second)) = (pick(one), pick(other)) else { return };
    state.note(&format!("{damage:?} of {path} on {disk}"));
    let now = state.true_ms();
    let bit = state.rng.next();
    let disk = &mut state.disks[disk];
    let bytes = disk.files.get(&path).map(|file| file.bytes.clone()).unwrap_or_default();
    match damage {
        Damage::Flip | Damage::FlipHead if !bytes.is_empty() => {
            let most = if damage == Damage::FlipHead { bytes.len().min(100) } else { bytes.len() };
            let mut changed = bytes.to_vec();
            changed[bit as usize % most] ^= 1 << ((bit >> 32) % 8);
            set(disk, &path, changed.into());
        }
        Damage::Truncate => set(disk, &path, bytes.slice(..bit as usize % (bytes.len() + 1))),
        Damage::Lose => {
            disk.files.remove(&path);
        }
        Damage::Swap => {
            let theirs = disk.files.get(&second).map(|file| file.bytes.clone()).unwrap_or_default();
            set(disk, &path, theirs);
            set(disk, &second, bytes);
        }
        Damage::RollBack => {
            if let Some(old) = &disk.old {
                disk.files = old.clone();
            }
        }
        Damage::Empty => disk.files.clear(),
        Damage::Foreign => {
            disk.files.clear();
            let other = Marker::new(RepositoryId(uuid::Uuid::from_u128(77)), "another", "b0", 1);
            let bytes = Bytes::from(other.encode());
            disk.files.insert(marker, File { bytes, modified_ms: now });
            let bytes = Bytes::from_static(b"of another repository");
            disk.files.insert(Path::from("s/00/theirs"), File { bytes, modified_ms: now });
        }
        _ => {}
    }
}

fn set(disk: &mut super::world::Disk, path: &Path, bytes: Bytes) {
    if let Some(file) = disk.files.get_mut(path) {
        file.bytes = bytes;
    }
}

impl Sim {
    /// Faults stop, and a person gives backends that are empty or another's back to the repository, empty.
    pub(super) async fn see_to_backends(&mut self) -> Result<(), Broken> {
        {
            let mut state = self.world.lock();
            for disk in &mut state.disks {
                disk.fault = None;
                let mine = disk.files.get(&Self::marker()).and_then(|file| Marker::decode(&file.bytes).ok());
                if mine.is_some_and(|marker| marker.repository == "another") {
                    disk.files.clear();
                }
            }
        }
        let made = Engine::init_markers(&self.config, &self.backends(), &self.env()).await;
        made.map(drop).map_err(|e| format!("the markers of well backends: {e}"))
    }

    /// Faults stop; all is repaired, and must be fully redundant and readable then.
    pub(super) async fn tend(&mut self, engine: &mut Engine) -> Result<(), Broken> {
        self.see_to_backends().await?;
        // What was given up lands; the watch sees who is back. It looks at all of them every five minutes.
        tokio::time::sleep(Duration::from_millis(LATEST_MS + 330_000)).await;
        self.world.lock().land();
        if self.shaky {
            // What was acknowledged, and looked like the rest of a write that was not, is found by the next sweep.
            let swept = engine.sweep(SweepRequest::default(), &Progress::default()).await;
            swept.map_err(|e| format!("a sweep although all is well again: {e}"))?;
            self.forget_what_was();
        }
        self.repair_all(engine).await?;
        self.damaged.clear();
        self.shaky = false;
        self.all_calm();
        self.read_all_strictly(engine, "after the repair").await?;
        self.read_versions(engine).await
    }

    /// Repairs until all is fully redundant.
    async fn repair_all(&mut self, engine: &Engine) -> Result<(), Broken> {
        let progress = Progress::default();
        let mut said = String::new();
        for _ in 0..4 {
            let plan = engine.plan_repair(&Scope::default(), Depth::Full, &progress).await;
            let plan = plan.map_err(|e| format!("a repair cannot be planned although all is well again: {e}"))?;
            let report = engine.repair(&plan, &progress).await;
            let report = report.map_err(|e| format!("a repair cannot be done although all is well again: {e}"))?;
            said = format!("failed {:?}, unrepairable {:?}", report.failed, report.unrepairable);
        }
        let request = CheckRequest { depth: Depth::Full, ..CheckRequest::default() };
        let report = engine.check(&request, &progress).await.map_err(|e| format!("a check of well backends: {e}"))?;
        if report.degraded + report.unreadable > 0 {
            return Err(format!("repair does not make all whole: {:?}; it said: {said}", report.damaged));
        }
        Ok(())
    }

    /// Every acknowledged version of the bucket that keeps all is there, and no deleted one.
    async fn read_versions(&mut self, engine: &Engine) -> Result<(), Broken> {
        for key in LAST_KEYS..KEYS {
            let (bucket, label) = name(key);
            let all = &self.model.all[key - LAST_KEYS];
            for (id, value) in &all.versions {
                let Some(value) = value else { continue };
                let found = engine.head(bucket, &label, Some(*id)).await;
                match found {
                    Ok(info) if info.size() == u64::from(value.len) => {}
                    Err(_) if all.perhaps_gone.contains(id) => {}
                    other => return Err(format!("version {id} of {label} is {other:?}, not {value:?}")),
                }
            }
            for id in &all.gone {
                if engine.head(bucket, &label, Some(*id)).await.is_ok() {
                    return Err(format!("version {id} of {label} was deleted, and is there"));
                }
            }
        }
        Ok(())
    }

    /// The end: all is repaired, no garbage is left, and the backends alone show the same.
    pub(super) async fn finish(&mut self, mut engine: Engine) -> Result<(), Broken> {
        self.world.note("the end");
        self.world.no_crash();
        self.tend(&mut engine).await?;
        let progress = Progress::default();
        // Uploads that nobody completes expire; then the grace time goes by, twice: what a sweep leaves dead goes by the next.
        tokio::time::sleep(self.config.multipart_expiry).await;
        for _ in 0..4 {
            tokio::time::sleep(self.config.grace + Duration::from_secs(3 * 3600)).await;
            // What was given up and landed late may be in doubt until its shards are rebuilt: nothing is swept until then.
            self.repair_all(&engine).await?;
            let swept = engine.sweep(SweepRequest::default(), &progress).await;
            let swept = swept.map_err(|e| format!("a sweep of well backends: {e}"))?;
            if !swept.unreachable.is_empty() {
                return Err(format!("a sweep does not reach {:?}, and all are well", swept.unreachable));
            }
        }
        // It may have been adopted by a sweep, short as it is.
        self.repair_all(&engine).await?;
        self.read_all_strictly(&engine, "after the sweeps").await?;
        self.no_garbage(&engine).await?;
        let verified = engine.verify_catalog(&progress).await.map_err(|e| format!("verify: {e}"))?;
        if !verified.differences.is_empty() {
            return Err(format!("the catalog and the backends differ: {:?}", verified.differences));
        }
        engine.close().await.map_err(|e| format!("closing: {e}"))?;
        drop(engine);
        self.alone_without().await
    }

    /// Nothing lies on the backends but what live records name.
    async fn no_garbage(&self, engine: &Engine) -> Result<(), Broken> {
        let catalog = &engine.core.catalog;
        let fail = |e: crate::Error| format!("the catalog: {e}");
        let mut named = BTreeSet::new();
        let mut after = None;
        loop {
            let page = catalog.versions_after(after.clone(), 1000).await.map_err(fail)?;
            let Some(last) = page.last() else { break };
            after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
            for entry in &page {
                let Body::Segments(body) = &entry.manifest.body else { continue };
                for view in body.views() {
                    named.extend(
                        (0..view.backends.len()).map(|i| (view.backends[i].to_owned(), paths::shard(view.data_id, i))),
                    );
                }
            }
        }
        let batches: Vec<_> = catalog.batches_after(None, 10_000).await.map_err(fail)?;
        // What is doubtful may be there or not.
        let mut doubtful = BTreeSet::new();
        for row in &batches {
            for holder in &row.holders {
                // One of two that hold the same copy is enough.
                let twin = row.holders.iter().any(|h| h.copy == holder.copy && h.backend != holder.backend);
                let set = if holder.state == HolderState::Held && !twin { &mut named } else { &mut doubtful };
                set.insert((holder.backend.clone(), paths::batch(row.id)));
            }
        }
        let dead: Vec<BatchId> =
            catalog.dead_batches(None, 1000).await.map_err(fail)?.into_iter().map(|row| row.id).collect();
        let counts = catalog.counts().await.map_err(fail)?;
        if counts.ledger > 0 {
            let lines = catalog.ledger_after(None, 10).await.map_err(fail)?;
            return Err(format!("all is whole, and the ledger says {lines:?}"));
        }
        // What a tombstone kills may share a batch with what lives; such a batch goes when more than half of it is dead.
        let tombstones = catalog.tombstones_after(None, 1000).await.map_err(fail)?;
        let droppable = tombstones.iter().filter(|(_, blocked)| !blocked).count();
        if droppable > 0 || !dead.is_empty() {
            return Err(format!("after the sweeps {droppable} tombstones and the dead batches {dead:?} are left"));
        }
        let state = self.world.lock();
        for (at, disk) in state.disks.iter().enumerate() {
            for path in disk.files.keys().filter(|path| **path != Self::marker()) {
                let name = (format!("b{at}"), path.clone());
                if !named.remove(&name) && !doubtful.contains(&name) {
                    return Err(format!("{path} on backend {at} is garbage, and the sweeps leave it"));
                }
            }
        }
        match named.first() {
            Some(missing) => Err(format!("{missing:?} is named, and is not there")),
            None => Ok(()),
        }
    }

    /// The backends alone, all of them and then without as many as may be lost, show the same.
    async fn alone_without(&mut self) -> Result<(), Broken> {
        let most = self.layout.margin();
        let away = self.world.lock().rng.some_of(self.layout.backends, most);
        for away in [Vec::new(), away] {
            self.world.note(&format!("from the backends alone, without {away:?}"));
            for disk in &away {
                self.world.lock().disks[*disk].fault = Some(super::world::Fault::Away);
            }
            self.illness.ill = away;
            let opened = self.open_on(self.backends(), None).await;
            let engine = opened.map_err(|e| format!("the backends alone do not open: {e}"))?;
            self.read_all_strictly(&engine, "from the backends alone").await?;
            self.read_versions(&engine).await?;
            engine.close().await.map_err(|e| format!("closing: {e}"))?;
        }
        Ok(())
    }
}
