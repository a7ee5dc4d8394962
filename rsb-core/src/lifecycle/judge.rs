//! What the rules of a bucket say of its versions, seen in the order of a listing: key by key, newest first.

use super::{Expiration, Rule, due_ms, expiry};
use crate::format::manifest::Manifest;
use crate::id::VersionId;

/// What is to be done with a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The newest version ends: as a delete without a version does it.
    Expire,
    /// An older version ends.
    Noncurrent,
    /// A delete marker with nothing below it goes.
    LoneMarker,
}

/// A version that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub key: String,
    pub version: VersionId,
    pub verdict: Verdict,
}

/// Judges the versions of a bucket.
pub(crate) struct Judge<'a> {
    rules: &'a [Rule],
    now_ms: u64,
    /// The key that is being seen.
    key: Option<String>,
    /// When the version before (the next newer one) was written.
    newer_ms: u64,
    /// Versions of the key seen so far that have a newer one.
    noncurrent: u32,
    /// A newest version that is a delete marker which goes when nothing is below it.
    marker: Option<Ending>,
}

impl<'a> Judge<'a> {
    pub fn new(rules: &'a [Rule], now_ms: u64) -> Self {
        Self { rules, now_ms, key: None, newer_ms: 0, noncurrent: 0, marker: None }
    }

    /// Sees the next version; adds to `out` what is then sure to end.
    pub fn see(&mut self, manifest: &Manifest, is_latest: bool, out: &mut Vec<Ending>) {
        if self.key.as_deref() != Some(&*manifest.key) {
            self.finish(out);
            (self.key, self.noncurrent) = (Some(manifest.key.clone()), 0);
        }
        let ending = |verdict| Ending { key: manifest.key.clone(), version: manifest.version, verdict };
        if !is_latest {
            self.marker = None;
            if self.ends_noncurrent(manifest) {
                out.push(ending(Verdict::Noncurrent));
            }
            self.noncurrent += 1;
        } else if manifest.delete_marker {
            self.marker = self.ends_alone(manifest).then(|| ending(Verdict::LoneMarker));
        } else if expiry(self.rules, manifest).is_some_and(|(_, due)| due <= self.now_ms) {
            out.push(ending(Verdict::Expire));
        }
        self.newer_ms = manifest.modified_ms;
    }

    /// No more versions come.
    pub fn finish(&mut self, out: &mut Vec<Ending>) {
        out.extend(self.marker.take());
    }

    fn meant(&self, manifest: &Manifest) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.enabled && rule.filter.has(manifest))
    }

    fn ends_noncurrent(&self, manifest: &Manifest) -> bool {
        self.meant(manifest).filter_map(|rule| rule.noncurrent).any(|noncurrent| {
            self.noncurrent >= noncurrent.keep.unwrap_or_default()
                && due_ms(self.newer_ms, noncurrent.days) <= self.now_ms
        })
    }

    fn ends_alone(&self, marker: &Manifest) -> bool {
        self.meant(marker).filter_map(|rule| rule.expiration).any(|expiration| match expiration {
            Expiration::LoneMarker(at_once) => at_once,
            Expiration::Days(days) => due_ms(marker.modified_ms, days) <= self.now_ms,
            Expiration::DateMs(date) => date <= self.now_ms,
        })
    }
}

#[cfg(test)]
mod tests;
