//! Which backends the shards of a segment go to, under the domain rule, and the proof that the rule can be kept.

use std::collections::BTreeMap;

use crate::backend::{Backend, Role};
use crate::error::{Error, Result};
use crate::health::Op;

/// The domain label of which no m+1 shards may share a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spread {
    /// The label's name: `provider`, `region`, `host`, ….
    Label(String),
    /// No rule: shards share domains. Shown on every status page.
    None,
}

impl Spread {
    /// The value of the label for a backend; `None` without a rule, or where the backend does not have the label.
    pub fn value_of<'a>(&self, backend: &'a Backend) -> Option<&'a str> {
        match self {
            Self::Label(label) => backend.domain().get(label).map(String::as_str),
            Self::None => None,
        }
    }
}

/// Proves that `k + m` shards can be placed on the active backends so that no loss of one domain, and no loss of any m
/// backends, makes them unreadable. The error names what breaks, with a counter-example. `Ok(Some(warning))` where the
/// rule is overridden and a single domain's loss would be fatal.
pub fn prove(backends: &[Backend], spread: &Spread, k: usize, m: usize) -> Result<Option<String>> {
    let active: Vec<&Backend> = backends.iter().filter(|b| b.role() == Role::Active).collect();
    let n = k + m;
    if active.len() < n {
        return Err(Error::config(format!(
            "{k}+{m} needs {n} active backends, one for each shard, and the config has {}; add {} more, or lower data_shards or parity_shards",
            active.len(),
            n - active.len()
        )));
    }
    let Spread::Label(label) = spread else {
        return Ok(Some(format!(
            "spread is \"none\": nothing is known of what is lost together, so one disk or provider may hold more than the {m} shards that can be lost"
        )));
    };
    if let Some(bare) = active.iter().find(|b| !b.domain().contains_key(label)) {
        return Err(Error::config(format!(
            "backend {:?} has no domain label {label:?}, so it cannot be known what is lost together with it; write domain = {{ {label} = \"…\" }}, or spread = \"none\"",
            bare.name()
        ))
        .backends([bare.name()]));
    }
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for backend in &active {
        *sizes.entry(spread.value_of(backend).unwrap_or_default()).or_default() += 1;
    }
    let room: usize = sizes.values().map(|count| (*count).min(m)).sum();
    if room >= n {
        return Ok(None);
    }
    let (worst, count) = sizes.iter().max_by_key(|(_, count)| **count).map_or(("", 0), |(v, c)| (*v, *c));
    // What is left for the worst domain when every other one takes as many as it may.
    let others: usize = sizes.iter().filter(|(v, _)| **v != worst).map(|(_, c)| (*c).min(m)).sum();
    let forced = (n - others).min(count);
    Err(Error::config(format!(
        "the loss of {label} {worst:?} alone would make objects unreadable: it has {count} of the backends, so at least {forced} of the {n} shards lie there, and {k}+{m} survives the loss of {m}; spread the backends over more values of {label:?}, raise parity_shards, or write spread = \"none\" to override"
    )))
}

/// Chooses backends for shards in order of preference, under the domain rule.
#[derive(Debug)]
pub(crate) struct Placer<'a> {
    candidates: Vec<&'a Backend>,
    spread: &'a Spread,
    max_per_domain: usize,
    used: Vec<&'a Backend>,
}

impl<'a> Placer<'a> {
    /// A placer for shards of which at most `max_per_domain` may share a domain. `seed` rotates the backends, so that
    /// shards of one index do not always meet the same one; healthy active ones come first, then suspect ones, then spares.
    pub fn new(backends: &'a [Backend], spread: &'a Spread, max_per_domain: usize, seed: u64) -> Self {
        let mut candidates: Vec<&Backend> =
            backends.iter().filter(|b| matches!(b.role(), Role::Active | Role::Spare)).collect();
        if !candidates.is_empty() {
            let turn = (seed % candidates.len() as u64) as usize;
            candidates.rotate_left(turn);
        }
        candidates.sort_by_key(|b| (b.role() == Role::Spare, b.health().is_suspect(Op::LargeWrite)));
        Self { candidates, spread, max_per_domain: max_per_domain.max(1), used: Vec::new() }
    }

    /// Takes a backend out of the running: it holds a shard already, or it failed.
    pub(crate) fn exclude(&mut self, name: &str, holds_a_shard: bool) {
        if let Some(at) = self.candidates.iter().position(|b| b.name() == name) {
            let backend = self.candidates.remove(at);
            if holds_a_shard {
                self.used.push(backend);
            }
        }
    }

    /// A backend that holds a shard already and takes no other, whatever its role: it counts in its domain.
    pub(crate) fn occupy(&mut self, backend: &'a Backend) {
        self.exclude(backend.name(), false);
        self.used.push(backend);
    }

    /// Gives back the domain's room of a backend that turned out not to hold its shard.
    pub fn release(&mut self, name: &str) {
        self.used.retain(|b| b.name() != name);
    }

    /// The next backend for a shard; `None` when no more are allowed.
    pub fn next(&mut self, allow: impl Fn(&Backend) -> bool) -> Option<&'a Backend> {
        let at = self.candidates.iter().position(|b| self.has_room(b) && allow(b))?;
        let backend = self.candidates.remove(at);
        self.used.push(backend);
        Some(backend)
    }

    fn has_room(&self, backend: &Backend) -> bool {
        match self.spread {
            Spread::None => true,
            Spread::Label(_) => {
                let value = self.spread.value_of(backend);
                self.used.iter().filter(|b| self.spread.value_of(b) == value).count() < self.max_per_domain
            }
        }
    }
}

/// The backends for the `n` shards of a segment (or copies of a batch), by shard index.
///
/// Fewer than `n` where the domain rule or the number of backends allows no more.
pub fn place<'a>(
    backends: &'a [Backend],
    spread: &'a Spread,
    n: usize,
    max_per_domain: usize,
    seed: u64,
) -> Vec<&'a Backend> {
    let mut placer = Placer::new(backends, spread, max_per_domain, seed);
    // Spares only take the place of those that fail.
    std::iter::from_fn(|| placer.next(|b| b.role() == Role::Active)).take(n).collect()
}

/// A backend holds one shard of a segment: of two on one both would be lost with it.
pub(crate) fn two_on_one(backend: &str, has: usize, gets: usize) -> Error {
    let sentence = format!("backend {backend:?} was given shard {has} while shard {gets} was brought there; try again");
    Error::unavailable(sentence).backends([backend])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Cost;
    use object_store::memory::InMemory;
    use std::sync::Arc;

    fn backends(providers: &[(&str, usize)]) -> Vec<Backend> {
        let mut out = Vec::new();
        for (provider, count) in providers {
            for i in 0..*count {
                let domain = BTreeMap::from([("provider".to_string(), (*provider).to_string())]);
                out.push(Backend::with(
                    format!("{provider}-{i}"),
                    Arc::new(InMemory::new()),
                    domain,
                    Role::Active,
                    Cost::default(),
                ));
            }
        }
        out
    }

    fn by_provider() -> Spread {
        Spread::Label("provider".into())
    }

    #[test]
    fn a_domain_that_would_hold_too_much_is_named_with_a_counter_example() {
        let error = prove(&backends(&[("a", 4), ("b", 2)]), &by_provider(), 4, 2).unwrap_err();
        assert!(error.message().contains("\"a\" alone"), "{error}");
        assert!(error.message().contains("at least 4 of the 6 shards"), "{error}");
        assert!(prove(&backends(&[("a", 2), ("b", 2), ("c", 2)]), &by_provider(), 4, 2).unwrap().is_none());
        assert!(prove(&backends(&[("a", 4), ("b", 2)]), &Spread::None, 4, 2).unwrap().is_some());
        assert!(prove(&backends(&[("a", 2)]), &by_provider(), 2, 0).is_err(), "m = 0 survives no domain's loss");
    }

    #[test]
    fn too_few_backends_and_a_missing_label_are_refused() {
        let error = prove(&backends(&[("a", 1), ("b", 1)]), &by_provider(), 2, 1).unwrap_err();
        assert!(error.message().contains("needs 3 active backends"), "{error}");
        let mut list = backends(&[("a", 1), ("b", 1)]);
        list.push(Backend::new("bare", Arc::new(InMemory::new())));
        let error = prove(&list, &by_provider(), 2, 1).unwrap_err();
        assert!(error.message().contains("\"bare\" has no domain label"), "{error}");
    }

    #[test]
    fn no_placement_puts_more_than_m_shards_in_a_domain() {
        let list = backends(&[("a", 5), ("b", 3), ("c", 2), ("d", 1)]);
        let spread = by_provider();
        for seed in 0..50 {
            let placed = place(&list, &spread, 6, 2, seed);
            assert_eq!(placed.len(), 6);
            for provider in ["a", "b", "c", "d"] {
                assert!(placed.iter().filter(|b| b.domain()["provider"] == provider).count() <= 2);
            }
        }
    }
}
