//! Lifecycle: rules of a bucket by which versions end, and the work that follows them.
//!
//! Order to read: this file (a rule), `judge` (what the rules say of the versions of a bucket, pure), `run` (the work).

pub(crate) mod judge;
pub(crate) mod run;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::format::manifest::{BucketRecord, Manifest};

/// The setting of a bucket that holds its rules: a list of [`Rule`]s in JSON.
pub const SETTING: &str = "s3-lifecycle";

const DAY_MS: u64 = 24 * 3600 * 1000;

/// A rule: which objects, and when they end. What a newer program may have added to one is not passed over: a rule that is not
/// wholly understood ends nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, one of its own in the bucket.
    pub id: String,
    /// It is followed.
    pub enabled: bool,
    /// The objects it is about.
    #[serde(default)]
    pub filter: Filter,
    /// When the newest version ends, or a delete marker that nothing is left below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    /// When older versions end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent: Option<Noncurrent>,
    /// Uploads begun so many days ago and not completed are aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_uploads_after_days: Option<u32>,
}

/// Which objects a rule is about: those for which all of it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The key begins with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// It has these tags, and perhaps others.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// It has more bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub larger_than: Option<u64>,
    /// It has fewer bytes than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smaller_than: Option<u64>,
    /// The prefix stood in the rule itself, in S3's older form, which is given back as it came.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub old_form: bool,
}

/// When the newest version of an object ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expiration {
    /// So many days after it was written, see [`due_ms`].
    Days(u32),
    /// From this time on: milliseconds since the Unix epoch.
    DateMs(u64),
    /// A delete marker with no version below it, at once (`true`); never (`false`).
    LoneMarker(bool),
}

/// When versions end that have a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noncurrent {
    /// So many days after the next newer version was written, see [`due_ms`].
    pub days: u32,
    /// But the newest so many of them stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<u32>,
}

/// When something reaches an age of `days`: the first midnight (UTC) after so many days have passed since `since_ms`, as S3
/// counts ("Lifecycle rules: based on an object's age").
pub fn due_ms(since_ms: u64, days: u32) -> u64 {
    (since_ms / DAY_MS + u64::from(days) + 1) * DAY_MS
}

/// The rules of a bucket; none where it has none.
pub fn rules_of(bucket: &BucketRecord) -> Result<Vec<Rule>> {
    let Some(text) = bucket.settings.extra.get(SETTING) else { return Ok(Vec::new()) };
    serde_json::from_str(text).map_err(|e| {
        Error::internal(format!("the lifecycle rules of bucket {:?} cannot be read: {e}", bucket.name))
            .object(&*bucket.name)
    })
}

impl Filter {
    /// Whether a version is meant. A delete marker has neither tags nor a size, so it never has those asked for.
    pub fn has(&self, manifest: &Manifest) -> bool {
        let beside_key = !self.tags.is_empty() || self.larger_than.is_some() || self.smaller_than.is_some();
        self.has_key(&manifest.key)
            && !(manifest.delete_marker && beside_key)
            && self.tags.iter().all(|(key, value)| manifest.tags.get(key) == Some(value))
            && self.larger_than.is_none_or(|bytes| manifest.size > bytes)
            && self.smaller_than.is_none_or(|bytes| manifest.size < bytes)
    }

    /// Whether a key begins as it should.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        key.starts_with(self.prefix.as_deref().unwrap_or_default())
    }
}

/// The first rule by which the newest version of an object will end, and when: the earliest.
pub fn expiry<'a>(rules: &'a [Rule], newest: &Manifest) -> Option<(&'a Rule, u64)> {
    let due = |rule: &'a Rule| match rule.expiration.filter(|_| rule.enabled && rule.filter.has(newest))? {
        Expiration::Days(days) => Some((rule, due_ms(newest.modified_ms, days))),
        Expiration::DateMs(date) => Some((rule, date)),
        Expiration::LoneMarker(_) => None,
    };
    rules.iter().filter_map(due).min_by_key(|(_, due)| *due)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands in a bucket's record is read for ever.
    #[test]
    fn rules_are_kept_in_this_form() {
        let kept = r#"[{"id":"a","enabled":true,"filter":{"prefix":"p","tags":{"k":"v"},"larger_than":1,"smaller_than":9},"expiration":{"days":3},"noncurrent":{"days":2,"keep":5},"abort_uploads_after_days":7},{"id":"b","enabled":false,"filter":{"prefix":"","old_form":true},"expiration":{"date-ms":86400000}},{"id":"c","enabled":true,"filter":{},"expiration":{"lone-marker":true}}]"#;
        let rules: Vec<Rule> = serde_json::from_str(kept).unwrap();
        assert_eq!(serde_json::to_string(&rules).unwrap(), kept);
        assert_eq!(rules[0].filter.tags["k"], "v");
        assert_eq!(
            (rules[0].expiration, rules[2].expiration),
            (Some(Expiration::Days(3)), Some(Expiration::LoneMarker(true)))
        );
        assert_eq!(rules[1].expiration, Some(Expiration::DateMs(DAY_MS)));
        for newer in [
            r#"[{"id":"a","enabled":true,"but_not":1}]"#,
            r#"[{"id":"a","enabled":true,"filter":{"age":1}}]"#,
            r#"[{"id":"a","enabled":true,"noncurrent":{"days":1,"unless":1}}]"#,
        ] {
            assert!(serde_json::from_str::<Vec<Rule>>(newer).is_err(), "{newer}");
        }
    }
}
