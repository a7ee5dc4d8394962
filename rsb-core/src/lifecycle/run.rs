//! The work of the rules: bucket by bucket, page by page. What somebody changes meanwhile is left to the next time, and
//! what is locked to the time after its lock.

use futures::stream::{self, StreamExt};

use super::judge::{Ending, Judge, Verdict};
use super::{DAY_MS, Rule, rules_of};
use crate::api::{ExpireUploads, LifecycleReport, Progress};
use crate::catalog::{ListItem, ListQuery, Precondition};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::BucketRecord;
use crate::write::multipart;

/// Versions looked at in one go.
const PAGE: usize = 1000;
/// Versions ended at once; their records go to the backends in common batches.
const AT_ONCE: usize = 64;
/// Failures that are told of one by one.
const MAX_FAILED: usize = 20;

/// Follows the rules of all buckets. With `dry_run` it only says what would end.
pub(crate) async fn run(engine: &Engine, dry_run: bool, progress: &Progress) -> Result<LifecycleReport> {
    let mut report = LifecycleReport::default();
    for bucket in engine.buckets().await? {
        progress.check()?;
        let rules = match rules_of(&bucket) {
            Ok(rules) => rules,
            Err(error) => {
                report.failed.push(error.message().to_owned());
                continue;
            }
        };
        if !rules.iter().any(|rule| rule.enabled) {
            continue;
        }
        let followed = async {
            report.uploads += uploads(engine, &bucket, &rules, dry_run).await?;
            versions(engine, &bucket, &rules, dry_run, progress, &mut report).await
        };
        match followed.await {
            // The bucket was deleted meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            // Nothing can be ended now, in whatever bucket.
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::ReadOnly) => {
                failed(&mut report, &error);
                return Ok(report);
            }
            other => other?,
        }
    }
    Ok(report)
}

/// Aborts uploads that were begun too long ago. Gives how many there were.
async fn uploads(engine: &Engine, bucket: &BucketRecord, rules: &[Rule], dry_run: bool) -> Result<u64> {
    let now_ms = engine.core.env.now_ms();
    let mut aborted = 0;
    for rule in rules.iter().filter(|rule| rule.enabled) {
        let Some(days) = rule.abort_uploads_after_days else { continue };
        // Due are those of the days before: see `due_ms`.
        let before_ms = (now_ms / DAY_MS).saturating_sub(days.into()) * DAY_MS;
        let prefix = rule.filter.prefix.clone().unwrap_or_default();
        let which = ExpireUploads { bucket: Some(bucket.name.clone()), prefix, before_ms };
        aborted += multipart::abort_those(&engine.core, &which, dry_run).await?;
    }
    Ok(aborted)
}

async fn versions(
    engine: &Engine,
    bucket: &BucketRecord,
    rules: &[Rule],
    dry_run: bool,
    progress: &Progress,
    report: &mut LifecycleReport,
) -> Result<()> {
    let ends = |rule: &&Rule| rule.enabled && (rule.expiration.is_some() || rule.noncurrent.is_some());
    let Some(prefix) = common_prefix(rules.iter().filter(ends)) else { return Ok(()) };
    let name = bucket.name.clone();
    let mut query = ListQuery { bucket: name, prefix, limit: PAGE, versions: true, ..ListQuery::default() };
    let mut judge = Judge::new(rules, engine.core.env.now_ms());
    loop {
        progress.check()?;
        let page = engine.core.catalog.list(&query).await?;
        let mut ending = Vec::new();
        for item in &page.items {
            let ListItem::Entry { entry, is_latest } = item else { continue };
            judge.see(&entry.manifest, *is_latest, &mut ending);
        }
        if page.next.is_none() {
            judge.finish(&mut ending);
        }
        progress.add(page.items.len() as u64, 0);
        end_all(engine, &bucket.name, ending, dry_run, report).await?;
        if page.next.is_none() {
            return Ok(());
        }
        query.after = page.next;
    }
}

/// What all these rules' prefixes begin with; `None` where there are no rules.
fn common_prefix<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<String> {
    let prefixes = rules.map(|rule| rule.filter.prefix.as_deref().unwrap_or_default());
    let common = |a: &'a str, b: &'a str| {
        let same = a.char_indices().zip(b.chars()).take_while(|((_, x), y)| x == y).last();
        same.map_or("", |((at, c), _)| &a[..at + c.len_utf8()])
    };
    prefixes.reduce(common).map(str::to_owned)
}

async fn end_all(
    engine: &Engine,
    bucket: &str,
    ending: Vec<Ending>,
    dry_run: bool,
    report: &mut LifecycleReport,
) -> Result<()> {
    let ended = stream::iter(ending).map(|ending| async move {
        let done = if dry_run { Ok(true) } else { end(engine, bucket, &ending).await };
        (ending, done)
    });
    let mut ended = ended.buffer_unordered(AT_ONCE);
    while let Some((Ending { key, version, verdict }, done)) = ended.next().await {
        match done {
            Ok(false) => {}
            Ok(true) => {
                if !dry_run {
                    tracing::info!(bucket, key, %version, what = ?verdict, "ended by a lifecycle rule");
                }
                *match verdict {
                    Verdict::Expire => &mut report.expired,
                    Verdict::Noncurrent => &mut report.noncurrent,
                    Verdict::LoneMarker => &mut report.markers,
                } += 1;
            }
            Err(error) => match error.kind() {
                ErrorKind::Locked => report.locked += 1,
                ErrorKind::Unavailable | ErrorKind::ReadOnly => return Err(error),
                _ => failed(report, &error),
            },
        }
    }
    Ok(())
}

fn failed(report: &mut LifecycleReport, error: &Error) {
    tracing::warn!(?error, "a lifecycle rule could not be followed");
    if report.failed.len() < MAX_FAILED {
        report.failed.push(error.message().to_owned());
    }
}

/// Ends a version; false where it is not any more what was judged.
async fn end(engine: &Engine, bucket: &str, ending: &Ending) -> Result<bool> {
    let Ending { key, version, verdict } = ending;
    let (target, condition) = match verdict {
        Verdict::Expire => (None, Precondition::VersionIs(*version)),
        Verdict::Noncurrent => (Some(*version), Precondition::None),
        Verdict::LoneMarker => (Some(*version), Precondition::VersionIs(*version)),
    };
    match engine.delete(bucket, key, target, condition).await {
        Ok(done) => Ok(done.existed || done.delete_marker.is_some()),
        Err(error)
            if matches!(error.kind(), ErrorKind::PreconditionFailed | ErrorKind::Conflict | ErrorKind::NotFound) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::*;

    #[test]
    fn what_rules_begin_with_is_all_that_is_listed() {
        let rules = |prefixes: &[&str]| -> Vec<Rule> {
            let filter = |prefix: &&str| Filter { prefix: Some((*prefix).to_owned()), ..Filter::default() };
            prefixes.iter().map(|prefix| Rule { filter: filter(prefix), ..Rule::default() }).collect()
        };
        for (prefixes, common) in [
            (&["logs/a", "logs/b"][..], Some("logs/")),
            (&["logs/", "logs/b"], Some("logs/")),
            (&["éa", "éb", "è"], Some("")),
            (&["éa", "éb"], Some("é")),
            (&["x"], Some("x")),
            (&["x", ""], Some("")),
            (&[], None),
        ] {
            assert_eq!(common_prefix(rules(prefixes).iter()).as_deref(), common, "{prefixes:?}");
        }
    }
}
