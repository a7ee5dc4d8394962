//! What work asks of the backends, and its price.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::api::{Bill, Usage};
use crate::backend::Backend;
use crate::core::{Core, lock};

/// Days that a month is paid as.
const DAYS_A_MONTH: f64 = 30.0;
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;

/// Counts what is asked of each backend.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    usage: Mutex<BTreeMap<String, Usage>>,
    /// By backend: the days and the bytes that a file is paid for at least.
    least: BTreeMap<String, (f64, u64)>,
    now_ms: u64,
}

impl Meter {
    /// One at zero.
    pub fn new(core: &Core) -> Self {
        Self::of(core, &Bill::default())
    }

    /// One that goes on from what was counted before.
    pub fn of(core: &Core, bill: &Bill) -> Self {
        let least = |b: &Backend| (b.name().to_owned(), (b.cost().minimum_days, b.cost().minimum_size));
        Self {
            usage: Mutex::new(bill.backends.clone()),
            least: core.backends.iter().map(least).collect(),
            now_ms: core.env.now_ms(),
        }
    }

    fn add(&self, backend: &str, note: impl FnOnce(&mut Usage)) {
        note(lock(&self.usage).entry(backend.to_owned()).or_default());
    }

    /// The days and the bytes that a file is paid for at least.
    fn least(&self, backend: &str) -> (f64, u64) {
        self.least.get(backend).copied().unwrap_or_default()
    }

    /// A file that lies there.
    pub fn stored(&self, backend: &str, bytes: u64) {
        let billed = bytes.max(self.least(backend).1);
        self.add(backend, |usage| usage.billed_bytes += billed as i64);
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
        self.stored(backend, bytes);
    }

    /// A file that lies there no more, and was made at that time.
    pub fn freed(&self, backend: &str, bytes: u64, born_ms: u64) {
        let (days, size) = self.least(backend);
        let billed = bytes.max(size);
        let early = (days - self.now_ms.saturating_sub(born_ms) as f64 / DAY_MS).max(0.0);
        self.add(backend, |usage| {
            usage.freed_bytes += bytes;
            usage.billed_bytes -= billed as i64;
            usage.early_byte_days += (billed as f64 * early) as u64;
        });
    }

    /// Listings.
    pub fn list(&self, backend: &str, requests: u64) {
        self.add(backend, |usage| usage.lists += requests);
    }

    /// The sum, with its price.
    pub fn bill(&self, core: &Core) -> Bill {
        bill(core, lock(&self.usage).clone())
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
            + cost.egress_per_gb * usage.read_bytes as f64 / 1e9
            + cost.stored_per_gb_month * usage.early_byte_days as f64 / 1e9 / DAYS_A_MONTH;
        bill.price_per_month += cost.stored_per_gb_month * usage.billed_bytes as f64 / 1e9;
    }
    bill.backends = backends;
    bill
}
