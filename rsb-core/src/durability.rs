//! How likely an object is to be lost within a year, from how it is spread and how often backends, domains and shards fail.
//!
//! The model: the n shards of a segment lie on n backends. A backend loses everything at a constant rate, a domain takes
//! all its backends with it at another, a shard rots at a third. What is lost is rebuilt after a time that is exponential
//! around its mean; a rotten shard is first found by a scrub. The segment is lost when more than m shards are lost at once.
//!
//! Such a loss is so rare that it is never seen by plain simulation. So the chain is watched in cycles from "all whole" to
//! "all whole again", and inside a cycle failures are drawn far more often than they happen, with each path weighed by how
//! much too likely it was made: balanced failure biasing (Shahabuddin, Management Science 40(3), 1994). The mean time to
//! loss is the mean length of a cycle over the chance that one ends in loss. The tests compare it with the closed form of the
//! birth-death chain.

mod chain;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::chain::{Model, Spot};
use crate::backend::{Backend, Role};
use crate::error::{Error, Result};
use crate::placement::{Placer, Spread};

const HOURS_A_YEAR: f64 = 8766.0;

/// What is assumed of failures and repairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Assumptions {
    /// How often a backend loses everything, a year. 0.0157: the annualized failure rate of disks in 2024, Backblaze Drive Stats.
    /// A bucket at a provider is lost with the account or by a mistake, of which there are no public figures.
    pub backend_losses_per_year: f64,
    /// The same of single backends, by name.
    pub of_backend: BTreeMap<String, f64>,
    /// How often a domain loses all its backends at once, a year. 0.001: assumed; fires, floods and closed accounts are too
    /// rare for public figures.
    pub domain_losses_per_year: f64,
    /// How often a shard rots unseen, a year. 0.00001: assumed.
    pub rot_per_shard_year: f64,
    /// Mean hours until what a lost backend had is rebuilt: until it is noticed, replaced and worked off. 24: assumed.
    pub repair_hours: f64,
    /// Days between two scrubs: rot is found after half of it. 30: assumed.
    pub scrub_days: f64,
    /// Cycles watched.
    pub cycles: u64,
    /// Begin of the random numbers: the same seed gives the same result.
    pub seed: u64,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            backend_losses_per_year: 0.0157,
            of_backend: BTreeMap::new(),
            domain_losses_per_year: 0.001,
            rot_per_shard_year: 1e-5,
            repair_hours: 24.0,
            scrub_days: 30.0,
            cycles: 200_000,
            seed: 1,
        }
    }
}

/// How likely a loss is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chance {
    /// Of losing an object of one segment within a year.
    pub per_year: f64,
    /// 95 % of such estimates hold the true value of the model between this…
    pub low: f64,
    /// …and this.
    pub high: f64,
}

/// A change and what it would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// A sentence.
    pub what: String,
    /// The chance with it.
    pub chance: Chance,
    /// So many times smaller than now.
    pub times_better: f64,
}

/// What is said of a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Durability {
    /// k.
    pub data_shards: usize,
    /// m.
    pub parity_shards: usize,
    /// Shards in each domain of the placement that was looked at, most first.
    pub shards_by_domain: BTreeMap<String, usize>,
    /// What was assumed.
    pub assumptions: Assumptions,
    /// As it is.
    pub chance: Chance,
    /// The like of "eleven nines": -log10 of the chance.
    pub nines: f64,
    /// Changes, the one that helps most first.
    pub changes: Vec<Change>,
}

/// Judges a config. `Invalid` for assumptions that are no rates.
pub fn judge(
    backends: &[Backend],
    spread: &Spread,
    (k, m): (usize, usize),
    assumptions: &Assumptions,
) -> Result<Durability> {
    check(assumptions)?;
    let (model, shards_by_domain) = model(backends, spread, (k, m), assumptions)?;
    let chance = model.chance(assumptions);
    let mut changes: Vec<Change> = variants(backends, spread, (k, m), assumptions)
        .into_iter()
        .filter_map(|(what, model, assumptions)| {
            let better = model?.chance(&assumptions);
            Some(Change { what, chance: better, times_better: chance.per_year / better.per_year })
        })
        .collect();
    changes.sort_by(|a, b| b.times_better.total_cmp(&a.times_better));
    Ok(Durability {
        data_shards: k,
        parity_shards: m,
        shards_by_domain,
        assumptions: assumptions.clone(),
        chance,
        nines: -chance.per_year.log10(),
        changes,
    })
}

fn check(a: &Assumptions) -> Result<()> {
    let rates = [a.backend_losses_per_year, a.domain_losses_per_year, a.rot_per_shard_year];
    let bad_rate = rates.iter().chain(a.of_backend.values()).any(|rate| !(rate.is_finite() && *rate >= 0.0));
    let bad_time = [a.repair_hours, a.scrub_days].iter().any(|time| !(time.is_finite() && *time > 0.0));
    if bad_rate || bad_time || rates.iter().sum::<f64>() == 0.0 || !(100..=100_000_000).contains(&a.cycles) {
        return Err(Error::invalid(
            "rates must be finite and not negative, one of them above 0, times above 0, and cycles 100 to 100000000",
        ));
    }
    Ok(())
}

/// The backends of one segment's shards: of those that the rule allows, a placement that is as concentrated as any.
fn placed<'a>(backends: &'a [Backend], spread: &'a Spread, n: usize, m: usize) -> Vec<&'a Backend> {
    let place = |seed: usize| {
        let mut placer = Placer::new(backends, spread, m, seed as u64);
        std::iter::from_fn(|| placer.next(|b| b.role() == Role::Active)).take(n).collect::<Vec<_>>()
    };
    let concentration = |placed: &Vec<&Backend>| {
        let mut counts: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        placed.iter().for_each(|b| *counts.entry(spread.value_of(b)).or_default() += 1);
        counts.values().map(|count| count * count).sum::<usize>()
    };
    (0..backends.len().max(1)).map(place).max_by_key(concentration).unwrap_or_default()
}

fn model(
    backends: &[Backend],
    spread: &Spread,
    (k, m): (usize, usize),
    a: &Assumptions,
) -> Result<(Model, BTreeMap<String, usize>)> {
    let placed = placed(backends, spread, k + m, m.max(1));
    if placed.len() < k + m {
        return Err(Error::config(format!("{k}+{m} cannot be placed on these backends under the domain rule")));
    }
    let mut domains: BTreeMap<String, usize> = BTreeMap::new();
    let mut spots = Vec::new();
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for backend in placed {
        let name = spread.value_of(backend).unwrap_or(backend.name()).to_owned();
        let next = numbers.len();
        let domain = *numbers.entry(name.clone()).or_insert(next);
        *domains.entry(name).or_default() += 1;
        let rate = a.of_backend.get(backend.name()).copied().unwrap_or(a.backend_losses_per_year);
        spots.push(Spot { rate, domain });
    }
    let model = Model {
        spots,
        domains: numbers.len(),
        m,
        domain_rate: a.domain_losses_per_year,
        rot_rate: a.rot_per_shard_year,
        repair_rate: HOURS_A_YEAR / a.repair_hours,
        rot_repair_rate: HOURS_A_YEAR / (a.repair_hours + a.scrub_days * 12.0),
    };
    Ok((model, domains))
}

type Variant = (String, Option<Model>, Assumptions);

fn variants(backends: &[Backend], spread: &Spread, (k, m): (usize, usize), a: &Assumptions) -> Vec<Variant> {
    let of =
        |backends: &[Backend], km: (usize, usize), a: &Assumptions| model(backends, spread, km, a).ok().map(|m| m.0);
    let label = match spread {
        Spread::Label(label) => label.clone(),
        Spread::None => "domain".into(),
    };
    // A backend more, in a domain of its own, so that there is room for one more shard, or for spreading the same ones wider.
    let mut more = backends.to_vec();
    more.push(Backend::with(
        "\u{10ffff}",
        std::sync::Arc::new(object_store::memory::InMemory::new()),
        BTreeMap::from([(label.clone(), "\u{10ffff}".to_owned())]),
        Role::Active,
        Default::default(),
    ));
    let faster = Assumptions { repair_hours: a.repair_hours / 2.0, ..a.clone() };
    let oftener = Assumptions { scrub_days: a.scrub_days / 2.0, ..a.clone() };
    let parity = of(backends, (k, m + 1), a);
    let with_backend = if parity.is_some() { "" } else { ", on a backend more" };
    vec![
        (
            format!("one more parity shard: {k}+{}{with_backend}", m + 1),
            parity.or_else(|| of(&more, (k, m + 1), a)),
            a.clone(),
        ),
        (
            format!("one more value of {label}: the most crowded one gives a shard to it"),
            wider(backends, spread, (k, m), a),
            a.clone(),
        ),
        (
            format!("repairs twice as fast: {} hours", faster.repair_hours),
            of(backends, (k, m), &faster),
            faster.clone(),
        ),
        (
            format!("scrubs twice as often: every {} days", oftener.scrub_days),
            of(backends, (k, m), &oftener),
            oftener.clone(),
        ),
    ]
}

/// The same with one shard of the most crowded domain in a domain of its own.
fn wider(backends: &[Backend], spread: &Spread, km: (usize, usize), a: &Assumptions) -> Option<Model> {
    let (mut model, _) = model(backends, spread, km, a).ok()?;
    let count = |domain: usize| model.spots.iter().filter(|spot| spot.domain == domain).count();
    let crowded = (0..model.domains).max_by_key(|domain| count(*domain)).filter(|domain| count(*domain) > 1)?;
    let own = model.domains;
    model.spots.iter_mut().find(|spot| spot.domain == crowded)?.domain = own;
    model.domains += 1;
    Some(model)
}

#[cfg(test)]
mod tests;
