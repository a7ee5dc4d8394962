//! What upkeep may cost in a day, by bytes, requests and money.

use serde::{Deserialize, Serialize};

use crate::core::Core;
use crate::error::Result;

const DAY_MS: u64 = 24 * 3600 * 1000;

/// What may be spent in a day of UTC; `None`: without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// Bytes read and written.
    pub bytes: Option<u64>,
    /// Requests.
    pub requests: Option<u64>,
    /// Money, by the backends' cost model.
    pub price: Option<f64>,
}

/// What was spent in a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// The day: days since the Unix epoch, UTC.
    pub day: u64,
    /// Bytes read and written.
    pub bytes: u64,
    /// Requests.
    pub requests: u64,
    /// Money.
    pub price: f64,
}

impl Spent {
    /// As it is today: nothing, when the day has changed.
    pub fn today(self, now_ms: u64) -> Self {
        let day = now_ms / DAY_MS;
        if self.day == day { self } else { Self { day, ..Self::default() } }
    }

    /// Whether something of this cost may be done: always when nothing was spent yet, or what costs more than a day's budget
    /// would never be done.
    pub fn allows(&self, budget: &Budget, cost: &Self) -> bool {
        let fits =
            |spent: f64, cost: f64, most: Option<f64>| most.is_none_or(|most| spent + cost <= most || spent == 0.0);
        fits(self.bytes as f64, cost.bytes as f64, budget.bytes.map(|b| b as f64))
            && fits(self.requests as f64, cost.requests as f64, budget.requests.map(|r| r as f64))
            && fits(self.price, cost.price, budget.price)
    }

    /// Adds a cost.
    pub fn add(&mut self, cost: &Self) {
        self.bytes += cost.bytes;
        self.requests += cost.requests;
        self.price += cost.price;
    }

    /// So many reads and writes of `bytes` each on a backend.
    pub(crate) fn count(&mut self, core: &Core, backend: &str, reads: u64, writes: u64, bytes: u64) {
        let cost = core.backend(backend).map(|b| *b.cost()).unwrap_or_default();
        self.bytes += (reads + writes) * bytes;
        self.requests += reads + writes;
        self.price += reads as f64 * (cost.get_per_million / 1e6 + cost.egress_per_gb * bytes as f64 / 1e9);
        self.price += writes as f64 * cost.put_per_million / 1e6;
    }

    /// What a named value of the catalog remembers, as it is today.
    pub(crate) async fn load(core: &Core, name: &str) -> Result<Self> {
        let text = core.catalog.value(name).await?.unwrap_or_default();
        Ok(serde_json::from_str::<Self>(&text).unwrap_or_default().today(core.env.now_ms()))
    }

    /// Remembers it, so that a restart does not begin the day anew.
    pub(crate) async fn save(&self, core: &Core, name: &str) -> Result<()> {
        core.catalog.set_value(name, serde_json::to_string(self).ok()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_s_budget_is_kept_to_and_begins_anew_the_next_day() {
        let budget = Budget { bytes: Some(100), requests: None, price: Some(1.0) };
        let cost = |bytes, price| Spent { bytes, price, ..Spent::default() };
        let mut spent = Spent::default().today(5 * DAY_MS);
        assert!(spent.allows(&budget, &cost(1000, 0.0)), "what is larger than the budget is done alone");
        spent.add(&cost(60, 0.5));
        assert!(spent.allows(&budget, &cost(40, 0.5)));
        assert!(!spent.allows(&budget, &cost(41, 0.0)) && !spent.allows(&budget, &cost(0, 0.6)));
        assert_eq!(spent.today(6 * DAY_MS - 1), spent);
        assert_eq!(spent.today(6 * DAY_MS).bytes, 0);
    }
}
