//! Check: looks at what is stored, at three depths, and says each object's margin. It changes nothing but the ledger.

mod checker;
mod inventory;
mod records;
mod verify;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use self::checker::Seen;
pub(crate) use self::checker::{Checker, SAMPLE_BLOCKS};
pub(crate) use self::records::{Other, others};
pub(crate) use self::verify::verify_shard;
use crate::api::{CheckReport, CheckRequest, FindingKind, Progress, Scope};
use crate::catalog::Entry;
use crate::core::Core;
use crate::error::{Error, Result};
use crate::id::{BatchId, VersionId};

/// Up to so many objects are asked for file by file; more are looked up in listings.
const FEW_OBJECTS: usize = 64;

/// Live versions in a scope.
pub(crate) async fn entries(core: &Core, scope: &Scope) -> Result<Vec<Entry>> {
    if let Some(bucket) = &scope.bucket
        && core.catalog.bucket(bucket).await?.is_none()
    {
        return Err(Error::not_found(format!("bucket {bucket:?} does not exist")).object(bucket.clone()));
    }
    let first_key = scope.key.as_ref().unwrap_or(&scope.prefix);
    let mut out = Vec::new();
    // The scope is one range of (bucket, key, version): the scan begins at it and ends behind it.
    let mut after = scope.bucket.as_ref().map(|bucket| (bucket.clone(), first_key.clone(), VersionId::MIN));
    loop {
        let page = core.catalog.versions_after(after.clone(), 1000).await?;
        core.check_catalog_whole()?;
        let Some(last) = page.last() else { break };
        after = Some((last.manifest.bucket.clone(), last.manifest.key.clone(), last.manifest.version));
        let past = scope.bucket.is_some() && !scope.has(&last.manifest.bucket, &last.manifest.key);
        out.extend(page.into_iter().filter(|e| {
            let m = &e.manifest;
            !m.delete_marker && scope.has(&m.bucket, &m.key)
        }));
        if past {
            break;
        }
    }
    match (&scope.bucket, &scope.key) {
        (Some(bucket), Some(key)) if out.is_empty() => {
            let name = format!("{bucket}/{key}");
            Err(Error::not_found(format!("{name} does not exist")).object(name))
        }
        _ => Ok(out),
    }
}

/// The batches that hold the records of objects.
pub(crate) fn batches_of(objects: &[Entry]) -> BTreeSet<BatchId> {
    objects.iter().map(|entry| entry.at.batch).collect()
}

/// Checks the objects of a scope.
pub(crate) async fn check(core: &Arc<Core>, request: &CheckRequest, progress: &Progress) -> Result<CheckReport> {
    let entries = entries(core, &request.scope).await?;
    let bytes = entries.iter().map(|e| e.manifest.size).sum();
    progress.set_total(entries.len() as u64, bytes);
    let checker = Checker::new(core, request.depth, entries.len() > FEW_OBJECTS).await;
    let mut report = CheckReport { depth: request.depth, ..CheckReport::default() };
    let mut unreachable: BTreeSet<String> = BTreeSet::new();
    let others = others(core, &request.scope, &batches_of(&entries)).await?;
    let mut work = futures::stream::iter(entries).map(|entry| checker.look(entry)).buffer_unordered(4);
    while let Some(seen) = work.next().await {
        let seen = seen?;
        progress.check()?;
        progress.add(1, seen.health.size);
        checker.remember(&seen).await?;
        unreachable.extend(
            seen.health.findings.iter().filter(|f| f.kind == FindingKind::Unreachable).map(|f| f.backend.clone()),
        );
        report.add(seen);
    }
    drop(work);
    for other in others {
        let seen = checker.look_at_other(&other).await?;
        checker.remember_other(&other, &seen).await?;
        unreachable.extend(
            seen.health.findings.iter().filter(|f| f.kind == FindingKind::Unreachable).map(|f| f.backend.clone()),
        );
        report.add_other(seen);
    }
    report.damaged.sort_by_key(|health| health.margin);
    report.unreachable = unreachable.into_iter().collect();
    Ok(report)
}

impl CheckReport {
    fn add(&mut self, seen: Seen) {
        let health = seen.health;
        self.objects += 1;
        self.bytes += health.size;
        self.bytes_read += seen.bytes_read;
        self.least_margin = Some(self.least_margin.map_or(health.margin, |least| least.min(health.margin)));
        match (health.is_readable(), health.is_whole()) {
            (false, _) => self.unreadable += 1,
            (true, false) => self.degraded += 1,
            (true, true) => {
                self.whole += 1;
                return;
            }
        }
        self.damaged.push(health);
    }
}
