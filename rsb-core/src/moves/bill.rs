//! What work asks of the backends, and its price.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::api::{Bill, Usage};
use crate::core::{Core, lock};

/// Counts what is asked of each backend.
#[derive(Debug, Default)]
pub(crate) struct Meter(Mutex<BTreeMap<String, Usage>>);

impl Meter {
    /// One that goes on from what was counted before.
    pub fn of(bill: &Bill) -> Self {
        Self(Mutex::new(bill.backends.clone()))
    }

    fn add(&self, backend: &str, note: impl FnOnce(&mut Usage)) {
        note(lock(&self.0).entry(backend.to_owned()).or_default());
    }

    /// Reads of so many bytes together.
    pub fn read(&self, backend: &str, requests: u64, bytes: u64) {
        self.add(backend, |usage| {
            usage.reads += requests;
            usage.read_bytes += bytes;
        });
    }

    /// A write.
    pub fn write(&self, backend: &str, bytes: u64) {
        self.add(backend, |usage| {
            usage.writes += 1;
            usage.written_bytes += bytes;
        });
    }

    /// A file that lies there no more.
    pub fn freed(&self, backend: &str, bytes: u64) {
        self.add(backend, |usage| usage.freed_bytes += bytes);
    }

    /// Listings.
    pub fn list(&self, backend: &str, requests: u64) {
        self.add(backend, |usage| usage.lists += requests);
    }

    /// The sum, with its price.
    pub fn bill(&self, core: &Core) -> Bill {
        bill(core, lock(&self.0).clone())
    }
}

/// The price of what is asked of each backend.
fn bill(core: &Core, backends: BTreeMap<String, Usage>) -> Bill {
    let mut bill = Bill::default();
    for (name, usage) in &backends {
        bill.read_bytes += usage.read_bytes;
        bill.written_bytes += usage.written_bytes;
        bill.read_requests += usage.reads;
        bill.write_requests += usage.writes + usage.lists;
        let cost = core.backend(name).map(|b| *b.cost()).unwrap_or_default();
        bill.price += cost.get_per_million * usage.reads as f64 / 1e6
            + cost.put_per_million * (usage.writes + usage.lists) as f64 / 1e6
            + cost.egress_per_gb * usage.read_bytes as f64 / 1e9;
        bill.price_per_month +=
            cost.stored_per_gb_month * (usage.written_bytes as f64 - usage.freed_bytes as f64) / 1e9;
    }
    bill.backends = backends;
    bill
}
