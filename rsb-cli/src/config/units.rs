//! Sizes, durations and the spread as a person writes them, both ways.

use std::time::Duration;

use bytesize::ByteSize;
use rsb_core::Spread;
use serde::Serializer;

/// Bytes of `64 KiB`, `5MB`, `4096`; `None` when it is not a size.
pub fn parse_size(text: &str) -> Option<u64> {
    text.trim().parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// A duration of `2s`, `500ms`, `1day 6h`; `None` when it is not one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text.trim()).ok()
}

/// A size that [`parse_size`] reads back to the same number: in the largest binary unit that is exact.
pub fn format_size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// Serializes bytes as a person writes them.
pub fn size<S: Serializer>(bytes: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(&format_size(*bytes))
}

/// Serializes a size that may be absent, likewise.
pub fn optional_size<S: Serializer>(bytes: &Option<u64>, s: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => size(bytes, s),
        None => s.serialize_none(),
    }
}

/// Serializes a duration as a person writes it.
pub fn duration<S: Serializer>(duration: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&humantime::format_duration(*duration))
}

/// Serializes a spread as a person writes it.
pub fn spread<S: Serializer>(spread: &Spread, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(match spread {
        Spread::Label(label) => label,
        Spread::None => "none",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_without_loss() {
        assert_eq!(parse_size("64 KiB"), Some(65536));
        assert_eq!(parse_size("5MB"), Some(5_000_000));
        assert_eq!(parse_size("4096"), Some(4096));
        assert_eq!(parse_size("many"), None);
        for bytes in [0, 1, 1000, 1024, 1536, 64 << 20, (64 << 20) + 1, 5 << 40] {
            assert_eq!(parse_size(&format_size(bytes)), Some(bytes), "{}", format_size(bytes));
        }
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(parse_duration("1day 6h"), Some(Duration::from_secs(30 * 3600)));
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("soon"), None);
    }
}
