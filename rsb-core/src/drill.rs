//! Drill: masks each domain in turn, and sets of as many backends as may be lost, and says which objects would not decode
//! without them. By inventory: what is there, and of the right size, counts. And, within a budget of bytes, by real reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;

use crate::api::{Depth, DrillDomain, DrillReads, DrillReport, DrillRequest, Finding, Progress, Scope};
use crate::catalog::Entry;
use crate::check::{Checker, entries};
use crate::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::Body;
use crate::read::piece::Piece;
use crate::read::{hold, stream_pieces};

/// Failures of reads told of.
const EXAMPLES: usize = 100;

pub(crate) async fn drill(core: &Arc<Core>, request: &DrillRequest, progress: &Progress) -> Result<DrillReport> {
    let masks = masks(core, request)?;
    let all = entries(core, &Scope::default()).await?;
    progress.set_total(all.len() as u64, request.read_bytes.unwrap_or_default());
    let checker = Checker::new(core, Depth::Inventory, true).await;
    let mut report = DrillReport {
        domains: masks
            .into_iter()
            .map(|(domain, backends)| DrillDomain { domain, backends, readable: 0, unreadable: Vec::new() })
            .collect(),
        repository: core.config.name.clone(),
        repository_id: core.repository.to_string(),
        at_ms: core.env.now_ms(),
        may_be_lost: core.config.scheme.m(),
        seed: request.seed,
        objects: all.len() as u64,
        reads: None,
    };
    let reads = all.iter().map(|e| (e.manifest.bucket.clone(), e.manifest.key.clone(), e.manifest.version));
    let reads: Vec<_> = if request.read_bytes.is_some() { reads.collect() } else { Vec::new() };
    for entry in all {
        progress.check()?;
        judge(core, &checker, entry, &mut report.domains).await?;
        progress.add(1, 0);
    }
    if let Some(budget) = request.read_bytes {
        report.reads = Some(read_masked(core, reads, &report.domains, (budget, request.seed), progress).await?);
    }
    Ok(report)
}

/// Says of one version what each mask would leave of it.
async fn judge(core: &Core, checker: &Checker, entry: Entry, masks: &mut [DrillDomain]) -> Result<()> {
    let mut pieces = Piece::of_entry(&entry, None);
    if matches!(entry.manifest.body, Body::Inline(_)) {
        let batch = core.catalog.batch(entry.at.batch).await?;
        pieces = Piece::of_entry(&entry, batch.as_ref());
    }
    let copies_needed = entry.manifest.copies_needed();
    let needed = |piece: &Piece| if piece.batch.is_some() { copies_needed } else { piece.scheme.k() };
    let pieces: Vec<(usize, Piece)> = pieces.into_iter().map(|piece| (needed(&piece), piece)).collect();
    let seen = checker.look(entry).await?;
    for mask in masks {
        let margin = margin_without(&pieces, &seen.health.findings, &mask.backends);
        if margin >= 0 {
            mask.readable += 1;
        } else {
            let mut health = seen.health.clone();
            health.margin = margin;
            mask.unreadable.push(health);
        }
    }
    Ok(())
}

/// Reads objects in a random order, each without one of the masks in turn, until the budget is spent.
async fn read_masked(
    core: &Arc<Core>,
    mut objects: Vec<(String, String, crate::id::VersionId)>,
    masks: &[DrillDomain],
    (budget, seed): (u64, u64),
    progress: &Progress,
) -> Result<DrillReads> {
    let mut random = Shuffle(seed);
    (1..objects.len()).rev().for_each(|i| objects.swap(i, random.below(i as u64 + 1) as usize));
    let mut reads = DrillReads { budget_bytes: budget, ..DrillReads::default() };
    for (number, (bucket, key, version)) in objects.iter().enumerate() {
        progress.check()?;
        let left = budget.saturating_sub(reads.bytes);
        let Some(mask) = masks.get(number % masks.len().max(1)).filter(|_| left > 0) else { break };
        let held = match hold(core, bucket, key, Some(*version)).await {
            Ok(held) => held,
            // Deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            // Whatever is masked.
            Err(error) if error.kind() == ErrorKind::Unreadable => {
                reads.fail(error.message().to_owned());
                continue;
            }
            Err(error) => return Err(error),
        };
        let size = held.entry.manifest.size;
        let start = if size > left { random.below(size - left) } else { 0 };
        let range = start..(start + left.min(size));
        let len = range.end - range.start;
        let object = (bucket.clone(), key.clone());
        let stream = stream_pieces(core, held.pieces, range, object, Some(held.lease), mask.backends.clone());
        let read: Result<u64> = stream.try_fold(0, |sum, bytes| async move { Ok(sum + bytes.len() as u64) }).await;
        match read {
            Ok(bytes) if bytes == len => {
                reads.bytes += bytes;
                reads.objects += 1;
                reads.whole += u64::from(len == size);
            }
            other => {
                reads.bytes += len;
                let why = other.err().map_or_else(|| "it is too short".to_owned(), |e| e.message().to_owned());
                reads.fail(format!("{bucket}/{key} without {}: {why}", mask.domain));
            }
        }
        progress.add(0, len);
    }
    Ok(reads)
}

impl DrillReads {
    fn fail(&mut self, example: String) {
        self.failures += 1;
        if self.failed.len() < EXAMPLES {
            self.failed.push(example);
        }
    }
}

/// What is masked: the domains, or the one that is asked for; then sets of m backends, if so many are asked for.
fn masks(core: &Core, request: &DrillRequest) -> Result<Vec<(String, Vec<String>)>> {
    let mut domains = domains(core);
    if let Some(only) = &request.domain {
        domains.retain(|name, backends| name == only || backends.iter().any(|b| b == only));
        if domains.is_empty() {
            return Err(Error::not_found(format!("there is no domain or backend {only:?}; see `rsb backend ls`")));
        }
    }
    let mut out: Vec<_> = domains.into_iter().collect();
    for set in subsets(core.backends.len(), core.config.scheme.m(), request.subsets, request.seed) {
        let names: Vec<String> = set.iter().map(|i| core.backends[*i].name().to_owned()).collect();
        out.push((names.join("+"), names));
    }
    Ok(out)
}

/// Up to `most` different sets of `count` out of `of`: all, where there are not more, else random ones.
fn subsets(of: usize, count: usize, most: usize, seed: u64) -> BTreeSet<Vec<usize>> {
    let mut out = BTreeSet::new();
    if count == 0 || count > of || most == 0 {
        return out;
    }
    let all = (0..count).fold(1f64, |product, i| product * (of - i) as f64 / (i + 1) as f64);
    if all <= most as f64 {
        let mut set: Vec<usize> = (0..count).collect();
        loop {
            out.insert(set.clone());
            let Some(at) = (0..count).rev().find(|i| set[*i] < of - count + i) else { return out };
            set[at] += 1;
            (at + 1..count).for_each(|i| set[i] = set[i - 1] + 1);
        }
    }
    let mut random = Shuffle(seed);
    while out.len() < most {
        let mut numbers: Vec<usize> = (0..of).collect();
        (0..count).for_each(|i| numbers.swap(i, i + random.below((of - i) as u64) as usize));
        numbers.truncate(count);
        numbers.sort_unstable();
        out.insert(numbers);
    }
    out
}

/// Random numbers that a seed repeats.
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// The domains: values of the spread label, or each backend where there is no rule.
fn domains(core: &Core) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for backend in &core.backends {
        let name = match (&core.config.spread, core.config.spread.value_of(backend)) {
            (crate::Spread::Label(label), Some(value)) => format!("{label}={value}"),
            _ => backend.name().to_owned(),
        };
        out.entry(name).or_default().push(backend.name().to_owned());
    }
    out
}

/// How many more losses the worst piece survives; each comes with how many good shards it needs.
fn margin_without(pieces: &[(usize, Piece)], findings: &[Finding], masked: &[String]) -> i32 {
    let lost = |number: usize, index: usize, inline: bool| {
        findings.iter().any(|f| {
            let same = if inline { f.segment.is_none() } else { f.segment == Some(number as u64) };
            same && usize::from(f.index) == index
        })
    };
    let margins = pieces.iter().enumerate().map(|(number, (needed, piece))| {
        let good = piece.shards.iter().enumerate().filter(|(index, at)| {
            at.as_ref().is_some_and(|at| !masked.contains(&at.backend)) && !lost(number, *index, piece.batch.is_some())
        });
        good.count() as i32 - *needed as i32
    });
    margins.min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_all_or_as_many_different_ones_as_asked_for() {
        assert_eq!(subsets(6, 2, 100, 7).len(), 15);
        let some = subsets(13, 3, 40, 7);
        assert_eq!(some.len(), 40);
        assert!(some.iter().all(|set| set.len() == 3 && set.is_sorted() && set[2] < 13));
        assert_eq!(some, subsets(13, 3, 40, 7), "the seed repeats them");
        assert_ne!(some, subsets(13, 3, 40, 8));
        assert!(subsets(4, 0, 9, 1).is_empty() && subsets(2, 3, 9, 1).is_empty());
    }
}
