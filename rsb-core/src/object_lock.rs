//! Object lock: versions that nobody can delete before a time, or while a hold stands. The engine sees to it, so it holds
//! for every door. A lock stands in the version's manifest, so a rebuilt catalog keeps it; a bucket's own in its settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::format::manifest::{BucketRecord, BucketSettings, Manifest, Versions};

/// The setting of a bucket that has object lock: a [`BucketLock`] in JSON.
pub const SETTING: &str = "s3-object-lock";
/// The extra facts of a version that say its lock.
const MODE: &str = "lock-mode";
const UNTIL: &str = "lock-until";
const HOLD: &str = "lock-hold";
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Longest default retention.
const MAX_DAYS: u64 = 36_500;

/// Who may end a retention early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionMode {
    /// Whoever is allowed to bypass it, and says so.
    Governance,
    /// Nobody.
    Compliance,
}

impl RetentionMode {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        }
    }
}

/// A time before which a version cannot be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Who may end it early.
    pub mode: RetentionMode,
    /// When it ends: milliseconds since the Unix epoch.
    pub until_ms: u64,
}

impl Retention {
    fn is_over(self, now_ms: u64) -> bool {
        self.until_ms <= now_ms
    }
}

/// What keeps a version from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectLock {
    /// A time before which it cannot be.
    pub retention: Option<Retention>,
    /// It cannot be while this is set.
    pub legal_hold: bool,
}

/// The object lock of a bucket: its versions may be locked, and it can never be without again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketLock {
    /// The retention of versions that are written without one of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<DefaultRetention>,
}

/// The retention of versions that are written without one of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRetention {
    /// Who may end it early.
    pub mode: RetentionMode,
    /// How long it lasts from the write on.
    #[serde(flatten)]
    pub period: Period,
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// So many days of 24 hours.
    Days(u32),
    /// So many years of 365 days.
    Years(u32),
}

impl Period {
    fn days(self) -> u64 {
        match self {
            Self::Days(days) => u64::from(days),
            Self::Years(years) => u64::from(years) * 365,
        }
    }
}

impl BucketLock {
    /// The object lock of a bucket with these settings; `None` where it has none.
    pub fn of(settings: &BucketSettings) -> Result<Option<Self>> {
        let Some(text) = settings.extra.get(SETTING) else { return Ok(None) };
        let read = serde_json::from_str(text);
        read.map(Some).map_err(|e| Error::internal(format!("the object lock of a bucket cannot be read: {e}")))
    }

    /// Gives settings this object lock, which makes the bucket keep every version.
    pub fn set(self, settings: &mut BucketSettings) {
        settings.versions = Versions::KeepAll;
        settings.extra.insert(SETTING.to_owned(), serde_json::json!(self).to_string());
    }
}

impl ObjectLock {
    /// The lock of a version.
    pub fn of(manifest: &Manifest) -> Self {
        Self::read(&manifest.extra)
    }

    /// The lock among extra facts.
    pub(crate) fn read(extra: &BTreeMap<String, String>) -> Self {
        let retention = extra.get(MODE).map(|mode| Retention {
            mode: if mode == "governance" { RetentionMode::Governance } else { RetentionMode::Compliance },
            // In doubt it lasts for ever.
            until_ms: extra.get(UNTIL).and_then(|until| until.parse().ok()).unwrap_or(u64::MAX),
        });
        Self { retention, legal_hold: extra.contains_key(HOLD) }
    }

    /// Says it in a manifest's extra facts, in the place of what they said.
    pub(crate) fn write(self, extra: &mut BTreeMap<String, String>) {
        extra.retain(|name, _| ![MODE, UNTIL, HOLD].contains(&name.as_str()));
        if let Some(Retention { mode, until_ms }) = self.retention {
            extra.insert(MODE.to_owned(), mode.as_str().to_owned());
            extra.insert(UNTIL.to_owned(), until_ms.to_string());
        }
        if self.legal_hold {
            extra.insert(HOLD.to_owned(), "on".to_owned());
        }
    }

    /// The lock of a version written now in a bucket: what is asked for, else the bucket's default.
    pub(crate) fn of_new(self, bucket: Option<&BucketRecord>, now_ms: u64) -> Self {
        let default = || {
            let default = BucketLock::of(&bucket?.settings).ok()??.default?;
            let until_ms = now_ms.saturating_add(default.period.days().saturating_mul(DAY_MS));
            Some(Retention { mode: default.mode, until_ms })
        };
        Self { retention: self.retention.or_else(default), ..self }
    }

    /// Refuses what a new version in this bucket cannot have.
    pub(crate) fn check_new(self, bucket: &BucketRecord, now_ms: u64) -> Result<()> {
        if BucketLock::of(&bucket.settings)?.is_none() && self != Self::default() {
            return Err(no_lock(&bucket.name));
        }
        match self.retention {
            Some(retention) => check_until(retention, now_ms),
            None => Ok(()),
        }
    }

    /// Refuses to delete a version that has this lock. With `bypass` governance does not count.
    pub(crate) fn check_delete(self, manifest: &Manifest, now_ms: u64, bypass: bool) -> Result<()> {
        if self.legal_hold {
            return Err(locked(manifest, "it is under a legal hold; end the hold first"));
        }
        match self.retention.filter(|retention| !retention.is_over(now_ms)) {
            Some(Retention { mode: RetentionMode::Compliance, until_ms }) => {
                Err(locked(manifest, &format!("it is kept until {}", time(until_ms))))
            }
            Some(Retention { mode: RetentionMode::Governance, until_ms }) if !bypass => {
                Err(locked(manifest, &format!("it is kept until {}, unless governance is bypassed", time(until_ms))))
            }
            _ => Ok(()),
        }
    }

    /// Refuses another retention where the version's own forbids it: it may be made longer, and, when it is governance and
    /// `bypass` is given, anything else.
    pub(crate) fn check_retention(
        self,
        manifest: &Manifest,
        new: Option<Retention>,
        now_ms: u64,
        bypass: bool,
    ) -> Result<()> {
        if let Some(new) = new {
            check_until(new, now_ms)?;
        }
        let Some(old) = self.retention.filter(|retention| !retention.is_over(now_ms)) else { return Ok(()) };
        let longer = new.is_some_and(|new| new.mode == old.mode && new.until_ms >= old.until_ms);
        if longer || (old.mode == RetentionMode::Governance && bypass) {
            return Ok(());
        }
        let (mode, until) = (old.mode.as_str(), time(old.until_ms));
        Err(locked(manifest, &format!("its retention ({mode} until {until}) can only be made longer")))
    }
}

/// Refuses settings that would end a bucket's object lock, or let versions go in spite of it.
pub(crate) fn check_settings(bucket: &str, old: &BucketSettings, new: &BucketSettings) -> Result<()> {
    let Some(lock) = BucketLock::of(new).map_err(|e| Error::invalid(e.message()).object(bucket))? else {
        if old.extra.contains_key(SETTING) {
            return Err(
                Error::invalid(format!("bucket {bucket:?} has object lock, which cannot be undone")).object(bucket)
            );
        }
        return Ok(());
    };
    if new.versions != Versions::KeepAll {
        return Err(Error::invalid(format!(
            "bucket {bucket:?} has object lock, so it keeps all versions; that cannot be suspended"
        ))
        .object(bucket));
    }
    match lock.default.map(|default| default.period.days()) {
        Some(days) if !(1..=MAX_DAYS).contains(&days) => {
            Err(Error::invalid(format!("a default retention lasts 1 to {MAX_DAYS} days, and not {days}"))
                .object(bucket))
        }
        _ => Ok(()),
    }
}

/// The error of a lock that is wanted in a bucket that has none.
pub(crate) fn no_lock(bucket: &str) -> Error {
    Error::invalid(format!("bucket {bucket:?} has no object lock, so its objects cannot be locked")).object(bucket)
}

fn check_until(retention: Retention, now_ms: u64) -> Result<()> {
    if retention.is_over(now_ms) {
        return Err(Error::invalid("The retain until date must be in the future!"));
    }
    Ok(())
}

fn locked(manifest: &Manifest, why: &str) -> Error {
    let name = format!("{}/{}", manifest.bucket, manifest.key);
    let version = manifest.version;
    Error::new(ErrorKind::Locked, format!("version {version} of {name} is locked: {why}")).object(name)
}

/// A time for a sentence.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(|| "for ever".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in a bucket's record is read for ever.
    #[test]
    fn a_buckets_lock_is_kept_in_this_form() {
        let default = |period| Some(DefaultRetention { mode: RetentionMode::Governance, period });
        for (default, kept) in [
            (None, "{}"),
            (default(Period::Days(3)), r#"{"default":{"days":3,"mode":"governance"}}"#),
            (default(Period::Years(1)), r#"{"default":{"mode":"governance","years":1}}"#),
        ] {
            let mut settings = BucketSettings::default();
            BucketLock { default }.set(&mut settings);
            assert_eq!(settings.extra[SETTING], kept);
            assert_eq!(BucketLock::of(&settings).unwrap(), Some(BucketLock { default }));
        }
    }
}
