//! The rules for names: bad input is refused before anything is written.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Most bytes of a key.
pub const MAX_KEY_LEN: usize = 1024;
/// Most bytes of all metadata of an object.
pub const MAX_METADATA_LEN: usize = 64 << 10;
/// Most bytes of one further setting of a bucket, its name included.
pub const MAX_SETTING_LEN: usize = 128 << 10;
/// Further settings of a bucket whose names begin so are S3's own (`s3-cors`, `s3-policy`, …) and change by its requests only.
pub const S3_SETTING: &str = "s3-";

/// Checks a bucket's name: 3 to 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit.
pub fn check_bucket(name: &str) -> Result<()> {
    let fail = |why: &str| {
        Err(Error::invalid(format!(
            "{name:?} cannot be a bucket's name: {why}; use 3 to 63 lower-case letters, digits, '-' and '.'"
        ))
        .object(name.chars().take(80).collect::<String>()))
    };
    if !(3..=63).contains(&name.len()) {
        return fail(&format!("it has {} bytes", name.len()));
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.') {
        return fail("it has other characters");
    }
    if !edge(name.chars().next()) || !edge(name.chars().last()) {
        return fail("it must begin and end with a letter or digit");
    }
    if name.contains("..") {
        return fail("it has two dots in a row");
    }
    if name.split('.').count() == 4 && name.split('.').all(|part| part.parse::<u8>().is_ok()) {
        return fail("it looks like an IP address");
    }
    Ok(())
}

/// Checks an object's key: 1 to 1024 bytes of UTF-8, no NUL, no `.` or `..` path segment.
pub fn check_key(key: &str) -> Result<()> {
    let fail = |why: String| {
        let shown: String = key.chars().take(80).collect();
        Err(Error::invalid(format!("{shown:?} cannot be an object's key: {why}")).object(shown))
    };
    if key.is_empty() {
        return fail("it is empty".into());
    }
    if key.len() > MAX_KEY_LEN {
        return fail(format!("it has {} bytes, and {MAX_KEY_LEN} are allowed", key.len()));
    }
    if key.contains('\0') {
        return fail("it has a NUL character".into());
    }
    if let Some(segment) = key.split('/').find(|s| *s == "." || *s == "..") {
        return fail(format!("it has a path segment {segment:?}"));
    }
    Ok(())
}

/// Checks the length of all that is said of the object `bucket/key` beside its bytes.
pub(crate) fn check_metadata(bucket: &str, key: &str, said: [&BTreeMap<String, String>; 3]) -> Result<()> {
    let len: usize = said.iter().flat_map(|map| map.iter()).map(|(name, value)| name.len() + value.len()).sum();
    if len > MAX_METADATA_LEN {
        return Err(Error::invalid(format!("the metadata has {len} bytes, and {MAX_METADATA_LEN} are allowed"))
            .object(format!("{bucket}/{key}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_with_the_reason() {
        for (name, why) in [
            ("ab", "2 bytes"),
            ("-ab", "begin and end"),
            ("a_b", "other characters"),
            ("A-b", "other characters"),
            ("a..b", "two dots"),
            ("1.2.3.4", "IP address"),
        ] {
            assert!(check_bucket(name).unwrap_err().message().contains(why), "{name}");
        }
        for name in ["abc", "my-bucket.2", "rsbackup", "1.2.3.400"] {
            check_bucket(name).unwrap();
        }
        for (key, why) in
            [("", "empty"), ("a\0", "NUL"), ("a/../b", "\"..\""), ("./a", "\".\""), (&"x".repeat(1025), "1025")]
        {
            assert!(check_key(key).unwrap_err().message().contains(why), "{key}");
        }
        for key in ["a", "/a//b/", "...", "a..b", "ü\n", &"x".repeat(1024)] {
            check_key(key).unwrap();
        }
    }
}
