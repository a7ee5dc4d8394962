//! Where something goes, under the domain rule.

use crate::backend::{Backend, Role};
use crate::core::Core;
use crate::health::Op;
use crate::placement::Placer;

/// What is to be placed.
pub(super) struct Wish<'a> {
    /// Backends that hold a part of the same thing and keep it.
    pub holders: &'a [&'a str],
    /// Where it lies now.
    pub from: &'a str,
    /// Where it should go, if the domain rule lets it.
    pub prefer: Option<&'a str>,
    /// So many may share a domain.
    pub max_per_domain: usize,
    /// Rotates the backends.
    pub seed: u64,
}

impl Wish<'_> {
    /// A backend that may take it; `None` when there is none now.
    pub fn target<'c>(&self, core: &'c Core) -> Option<&'c Backend> {
        let well = |b: &Backend| b.is_admitted() && !b.health().is_suspect(Op::LargeWrite);
        let first = self.prefer.and_then(|name| self.placer(core).next(|b| b.name() == name && b.is_admitted()));
        first
            .or_else(|| self.placer(core).next(|b| well(b) && b.role() == Role::Active))
            .or_else(|| self.placer(core).next(well))
            .or_else(|| self.placer(core).next(Backend::is_admitted))
    }

    /// Whether it would have a place if every backend were well.
    pub fn has_room(&self, core: &Core) -> bool {
        self.placer(core).next(|_| true).is_some()
    }

    /// All backends that may take it now.
    pub fn targets<'c>(&self, core: &'c Core) -> Vec<&'c Backend> {
        let free = |b: &&Backend| b.is_admitted() && b.role() == Role::Active;
        let may = |b: &&Backend| self.placer(core).next(|other| other.name() == b.name()).is_some();
        core.backends.iter().filter(free).filter(may).collect()
    }

    fn placer<'c>(&self, core: &'c Core) -> Placer<'c> {
        let mut placer = Placer::new(&core.backends, &core.config.spread, self.max_per_domain, self.seed);
        placer.exclude(self.from, false);
        for name in self.holders.iter().filter(|name| **name != self.from) {
            if let Some(backend) = core.backend(name) {
                placer.occupy(backend);
            }
        }
        placer
    }
}
