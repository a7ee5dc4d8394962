//! How a repository is run.

use std::time::Duration;

use crate::api::EtagMode;
use crate::placement::Spread;
use crate::scheme::Scheme;
use crate::upkeep::{HealConfig, ScrubConfig};

/// How a repository is run. Everything but the scheme may change from one opening to the next.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The repository's name, as in every marker.
    pub name: String,
    /// How new objects are coded.
    pub scheme: Scheme,
    /// Most bytes of a segment.
    pub segment_size: u64,
    /// Objects up to this many bytes live in manifest records.
    pub inline_limit: u64,
    /// Shards beyond k that must be durable before a write is acknowledged; `None`: max(1, m - 1), never above m.
    pub ack_margin: Option<usize>,
    /// Which domain label no m+1 shards may share.
    pub spread: Spread,
    /// Bytes of memory for the buffers of all writes and reads.
    pub memory_limit: u64,
    /// Nothing younger is garbage.
    pub grace: Duration,
    /// A multipart upload that was begun so long ago and not completed is aborted, and a completed one forgotten; zero:
    /// never.
    pub multipart_expiry: Duration,
    /// Once enough shards are durable, the rest are waited for at most this long: four times the backend's own 95th
    /// percentile, between `straggler_least` and this.
    pub straggler_limit: Duration,
    /// See `straggler_limit`.
    pub straggler_least: Duration,
    /// A read that has not answered for this long starts a parity read: twice the backend's own 95th percentile, between
    /// `hedge_least` and this.
    pub hedge_after: Duration,
    /// See `hedge_after`.
    pub hedge_least: Duration,
    /// A backend that is away is asked for its marker this often, and one that failed is asked whether it still has it.
    pub watch_every: Duration,
    /// The ledger is worked off so; `None`: only when asked to.
    pub heal: Option<HealConfig>,
    /// What is stored is looked at so; `None`: only when asked to.
    pub scrub: Option<ScrubConfig>,
    /// How entity tags are made.
    pub etag: EtagMode,
    /// Serve reads only.
    pub read_only: bool,
    /// Serve writes although a rebuild cannot be sure of the whole history.
    pub accept_uncertain_history: bool,
}

impl EngineConfig {
    /// The defaults for a name and a scheme.
    pub fn new(name: impl Into<String>, scheme: Scheme) -> Self {
        Self {
            name: name.into(),
            scheme,
            segment_size: 64 << 20,
            inline_limit: 128 << 10,
            ack_margin: None,
            spread: Spread::Label("provider".into()),
            memory_limit: 512 << 20,
            grace: Duration::from_secs(24 * 3600),
            multipart_expiry: Duration::from_secs(7 * 24 * 3600),
            straggler_limit: Duration::from_secs(2),
            straggler_least: Duration::from_millis(200),
            hedge_after: Duration::from_millis(500),
            hedge_least: Duration::from_millis(50),
            watch_every: Duration::from_secs(10),
            heal: None,
            scrub: None,
            etag: EtagMode::Md5,
            read_only: false,
            accept_uncertain_history: false,
        }
    }
}
