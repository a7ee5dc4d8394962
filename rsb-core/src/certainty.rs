//! How sure it is that the catalog shows what happened, and what is refused where it is not.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::core::{Core, lock};
use crate::engine::EngineConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::id::DataId;

/// What is known of the history, and why no writes are taken.
#[derive(Debug)]
pub(crate) struct Certainty {
    read_only: Mutex<Option<String>>,
    /// Why the history is not sure, so that writes could contradict it.
    uncertain: Mutex<Option<String>>,
    /// Records were taken for garbage while backends were away.
    left_out: AtomicBool,
    /// The catalog is being made anew, or was not made to the end: what it does not show may be there.
    partial: AtomicBool,
    /// How often this process has made the catalog anew.
    rebuilds: AtomicU64,
    late: Mutex<Option<Late>>,
}

/// An earlier process did not end well: records that it wrote may land until the grace time is over, and name segments that
/// were there. Copies of objects and completed uploads are such.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    /// Ids of that time have a smaller millisecond.
    pub before_ms: u64,
    /// What a sweep sees that begins from then on is all that is to land: milliseconds since the Unix epoch.
    pub until_ms: u64,
}

impl Certainty {
    pub fn new(config: &EngineConfig) -> Self {
        Self {
            read_only: Mutex::new(config.read_only.then(|| "it was opened read-only".to_owned())),
            uncertain: Mutex::default(),
            left_out: AtomicBool::new(false),
            partial: AtomicBool::new(false),
            rebuilds: AtomicU64::new(0),
            late: Mutex::default(),
        }
    }
}

impl Core {
    /// Why writes are refused.
    pub fn read_only_reason(&self) -> Option<String> {
        lock(&self.certainty.read_only).clone().or_else(|| lock(&self.certainty.uncertain).clone())
    }

    /// Whether the history is not sure.
    pub fn is_uncertain(&self) -> bool {
        lock(&self.certainty.uncertain).is_some()
    }

    pub fn set_uncertain(&self, reason: Option<String>) {
        *lock(&self.certainty.uncertain) = reason;
    }

    /// Whether a backend that comes back may show that more was acknowledged than the catalog has.
    pub fn may_lack(&self) -> bool {
        self.is_uncertain() || self.certainty.left_out.load(Ordering::SeqCst)
    }

    /// Says whether records were taken for garbage while backends were away.
    pub fn set_left_out(&self, left_out: bool) {
        self.certainty.left_out.store(left_out, Ordering::SeqCst);
    }

    pub fn late(&self) -> Option<Late> {
        *lock(&self.certainty.late)
    }

    pub fn set_late(&self, late: Option<Late>) {
        *lock(&self.certainty.late) = late;
    }

    /// Whether a record that an earlier process wrote may land and name this segment, though nothing does now.
    pub fn may_be_named(&self, id: DataId) -> bool {
        self.late().is_some_and(|late| id.unix_ms() < late.before_ms)
    }

    /// How often the catalog was made anew: whoever looked before must look again.
    pub fn rebuilds(&self) -> u64 {
        self.certainty.rebuilds.load(Ordering::SeqCst)
    }

    pub fn count_rebuild(&self) {
        self.certainty.rebuilds.fetch_add(1, Ordering::SeqCst);
    }

    /// Says whether the catalog shows all there is.
    pub fn set_catalog_partial(&self, partial: bool) {
        self.certainty.partial.store(partial, Ordering::SeqCst);
    }

    /// An error while what was looked up may be missing, or old, for no other reason than that the catalog is being made
    /// anew. Asked after the look-up.
    pub fn check_catalog_whole(&self) -> Result<()> {
        if !self.certainty.partial.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "the catalog of repository {:?} is being rebuilt; try again when it is done (`rsb catalog rebuild` ends a rebuild that was broken off)",
            self.config.name
        )))
    }

    /// Keeps the catalog from being made anew while held; an error where it does not show all there is. Whoever removes what the
    /// catalog does not name, or says that it names nothing, has this.
    pub async fn hold_whole(&self) -> Result<tokio::sync::RwLockReadGuard<'_, ()>> {
        let whole = self.whole.read().await;
        self.check_catalog_whole()?;
        Ok(whole)
    }

    /// The same for one who looked at the backends when the catalog had been made anew so often: `None` where it was since. What
    /// it shows may be in doubt by now, and what it does not show may be what was acknowledged.
    pub async fn hold_since(&self, rebuilds: u64) -> Result<Option<tokio::sync::RwLockReadGuard<'_, ()>>> {
        let whole = self.hold_whole().await?;
        Ok((self.rebuilds() == rebuilds).then_some(whole))
    }

    /// Why it was closed to writes, apart from an uncertain history.
    pub fn closed_reason(&self) -> Option<String> {
        lock(&self.certainty.read_only).clone()
    }

    pub fn set_read_only(&self, reason: Option<String>) {
        *lock(&self.certainty.read_only) = reason;
    }

    /// An error when writes are refused.
    pub fn check_writable(&self) -> Result<()> {
        self.check_catalog_whole()?;
        match self.read_only_reason() {
            Some(reason) => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("repository {:?} serves reads only: {reason}", self.config.name),
            )),
            None => Ok(()),
        }
    }
}
