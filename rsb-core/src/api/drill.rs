//! Drills: what is asked for, and what was proven by what. Plain data.

use serde::{Deserialize, Serialize};

use super::ObjectHealth;

/// What a drill does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DrillRequest {
    /// Only this domain (`label=value`), or the one of this backend; every one when absent.
    pub domain: Option<String>,
    /// Also up to so many sets of as many backends as may be lost: all, where there are not more, else random ones.
    pub subsets: usize,
    /// Begin of the random numbers: the same seed draws the same sets and objects.
    pub seed: u64,
    /// Also read objects without what is masked, up to so many bytes of them.
    pub read_bytes: Option<u64>,
}

/// What a drill proved: something that can be filed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrillReport {
    /// One line for each domain, or set of backends, that was masked. Proven by inventory: what is listed, and of the right
    /// size, counts.
    pub domains: Vec<DrillDomain>,
    /// The repository's name.
    pub repository: String,
    /// The repository's id.
    pub repository_id: String,
    /// When it began: milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// m of the repository: so many backends a set has.
    pub may_be_lost: usize,
    /// Begin of the random numbers.
    pub seed: u64,
    /// Object versions looked at.
    pub objects: u64,
    /// What was proven by reading; absent where that was not asked for.
    pub reads: Option<DrillReads>,
}

/// What a drill read without what it masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrillReads {
    /// So many bytes of objects were to be read at most.
    pub budget_bytes: u64,
    /// Bytes of objects that were read, decoded and verified, or should have been.
    pub bytes: u64,
    /// Object versions that decoded, each without one of the masks.
    pub objects: u64,
    /// Of them, those that were read from their first byte to their last.
    pub whole: u64,
    /// Object versions that did not decode.
    pub failures: u64,
    /// The first of them, a sentence each.
    pub failed: Vec<String>,
}

/// One domain of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillDomain {
    /// The domain, `label=value`, or a backend's name.
    pub domain: String,
    /// The backends that were masked.
    pub backends: Vec<String>,
    /// Object versions that decode without them.
    pub readable: u64,
    /// Object versions that do not.
    pub unreadable: Vec<ObjectHealth>,
}
