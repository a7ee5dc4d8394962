//! Storage classes: words that S3 keeps with an object, each of which may choose another scheme.

use std::collections::BTreeMap;

use rsb_core::{Engine, EngineConfig};

use crate::GatewayError;

/// What an object has that says nothing else.
pub(crate) const STANDARD: &str = "STANDARD";
/// Classes that need no configuration: those whose objects can be read at once, as all here can.
const KNOWN: [&str; 5] = [STANDARD, "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"];
/// Classes whose objects S3's clients do not read before they are restored, so nothing here can be one.
const NOT_READ_AT_ONCE: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

/// How objects of a storage class are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardCounts {
    /// k.
    pub data_shards: usize,
    /// m.
    pub parity_shards: usize,
}

/// Storage classes by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    configured: BTreeMap<String, ShardCounts>,
}

/// Why a word cannot be the name of a storage class; `None` where it can.
pub fn why_no_class(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !(1..=64).contains(&name.len()) || !name.chars().all(plain) {
        return Some(format!("{name:?} cannot name a storage class; write 1 to 64 capital letters, digits and \"_\""));
    }
    NOT_READ_AT_ONCE.contains(&name).then(|| {
        format!("clients of S3 take what is in {name} for something that must be restored first; choose another name")
    })
}

impl Classes {
    /// Checks names, and that the backends can hold what each class asks for.
    pub(crate) fn new(configured: BTreeMap<String, ShardCounts>, engine: &Engine) -> Result<Self, GatewayError> {
        for (name, counts) in &configured {
            if let Some(why) = why_no_class(name) {
                return Err(GatewayError::Config(why));
            }
            engine
                .check_scheme(counts.data_shards, counts.parity_shards)
                .map_err(|error| GatewayError::Config(format!("storage class {name}: {}", error.message())))?;
        }
        Ok(Self { configured })
    }

    /// Whether an object may be of this class.
    pub(crate) fn has(&self, name: &str) -> bool {
        KNOWN.contains(&name) || self.configured.contains_key(name)
    }

    /// How objects of a class are coded; `None` where the class does not say.
    pub(crate) fn scheme(&self, name: &str) -> Option<ShardCounts> {
        self.configured.get(name).copied()
    }

    /// The same, and where the class does not say, as the repository has it.
    pub(crate) fn scheme_or_default(&self, name: &str, config: &EngineConfig) -> ShardCounts {
        let scheme = &config.scheme;
        self.scheme(name).unwrap_or(ShardCounts { data_shards: scheme.k(), parity_shards: scheme.m() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_classes() {
        for name in ["STANDARD", "GLACIER_IR", "HOT_4_2"] {
            assert_eq!(why_no_class(name), None);
        }
        for name in ["", "hot", "GLACIER", "DEEP_ARCHIVE", "A-B", &"A".repeat(65)] {
            assert!(why_no_class(name).is_some(), "{name}");
        }
        let counts = ShardCounts { data_shards: 2, parity_shards: 1 };
        let classes = Classes { configured: [("HOT".to_owned(), counts)].into() };
        assert!(classes.has("HOT") && classes.has("STANDARD_IA") && !classes.has("COLD"));
        assert_eq!((classes.scheme("HOT"), classes.scheme("STANDARD")), (Some(counts), None));
    }
}
