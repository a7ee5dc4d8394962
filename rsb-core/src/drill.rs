//! Drill: masks each domain in turn and says which objects would not decode without it. By inventory: what is there, and
//! of the right size, counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{Depth, DrillDomain, DrillReport, Finding, Progress, Scope};
use crate::check::{Checker, entries};
use crate::core::Core;
use crate::error::{Error, Result};
use crate::format::manifest::Body;
use crate::read::piece::Piece;

pub(crate) async fn drill(core: &Arc<Core>, only: Option<&str>, progress: &Progress) -> Result<DrillReport> {
    let mut domains = domains(core);
    if let Some(only) = only {
        domains.retain(|name, backends| name == only || backends.iter().any(|b| b == only));
        if domains.is_empty() {
            return Err(Error::not_found(format!("there is no domain or backend {only:?}; see `rsb backend ls`")));
        }
    }
    let all = entries(core, &Scope::default()).await?;
    progress.set_total(all.len() as u64, 0);
    let checker = Checker::new(core, Depth::Inventory, true).await;
    let mut report: Vec<DrillDomain> = domains
        .into_iter()
        .map(|(domain, backends)| DrillDomain { domain, backends, readable: 0, unreadable: Vec::new() })
        .collect();
    for entry in all {
        progress.check()?;
        let mut pieces = Piece::of_entry(&entry, None);
        if matches!(entry.manifest.body, Body::Inline(_)) {
            let batch = core.catalog.batch(entry.at.batch).await?;
            pieces = Piece::of_entry(&entry, batch.as_ref());
        }
        let seen = checker.look(entry).await?;
        for domain in &mut report {
            let margin = margin_without(&pieces, &seen.health.findings, &domain.backends);
            if margin >= 0 {
                domain.readable += 1;
            } else {
                let mut health = seen.health.clone();
                health.margin = margin;
                domain.unreadable.push(health);
            }
        }
        progress.add(1, 0);
    }
    Ok(DrillReport { domains: report })
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

fn margin_without(pieces: &[Piece], findings: &[Finding], masked: &[String]) -> i32 {
    let lost = |number: usize, index: usize, inline: bool| {
        findings.iter().any(|f| {
            let same = if inline { f.segment.is_none() } else { f.segment == Some(number as u64) };
            same && usize::from(f.index) == index
        })
    };
    let margins = pieces.iter().enumerate().map(|(number, piece)| {
        let good = piece.shards.iter().enumerate().filter(|(index, at)| {
            at.as_ref().is_some_and(|at| !masked.contains(&at.backend)) && !lost(number, *index, piece.batch.is_some())
        });
        good.count() as i32 - piece.scheme.k() as i32
    });
    margins.min().unwrap_or(0)
}
