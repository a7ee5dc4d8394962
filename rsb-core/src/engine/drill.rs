//! Drills, and how likely a loss is.

use super::Engine;
use crate::api::{DrillReport, DrillRequest, Progress};
use crate::error::Result;
use crate::{drill, durability};

impl Engine {
    /// Masks each value of the spread label in turn (or the one `domain`, as `label=value` or a backend's name), and says
    /// which objects would not decode.
    pub async fn drill(&self, domain: Option<&str>, progress: &Progress) -> Result<DrillReport> {
        self.drill_as(&DrillRequest { domain: domain.map(str::to_owned), ..DrillRequest::default() }, progress).await
    }

    /// The same, and what else is asked for: sets of backends, and real reads.
    pub async fn drill_as(&self, request: &DrillRequest, progress: &Progress) -> Result<DrillReport> {
        drill::drill(&self.core, request, progress).await
    }

    /// How likely an object of the default scheme is to be lost within a year, as the backends are spread now.
    pub async fn durability(&self, assumptions: &durability::Assumptions) -> Result<durability::Durability> {
        let (core, assumptions) = (self.core.clone(), assumptions.clone());
        let scheme = (core.config.scheme.k(), core.config.scheme.m());
        let judge = move || durability::judge(&core.backends, &core.config.spread, scheme, &assumptions);
        self.core.env.compute(judge).await
    }
}
