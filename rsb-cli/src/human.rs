//! Numbers and times for people.

use bytesize::ByteSize;
use chrono::{DateTime, SecondsFormat, Utc};

/// `1.5 MiB`
pub fn size(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// Milliseconds since the Unix epoch as `2024-11-24T11:34:23.123Z`.
pub fn rfc3339(ms: u64) -> String {
    at(ms).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// An RFC 3339 time as a listing shows it: `2024-11-24 11:34:23`.
pub fn short_time(rfc3339: &str) -> String {
    match DateTime::parse_from_rfc3339(rfc3339) {
        Ok(time) => time.with_timezone(&Utc).format("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => rfc3339.to_owned(),
    }
}

/// `1 object`, `2 objects`
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn at(ms: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(i64::try_from(ms).unwrap_or(i64::MAX)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_read_well() {
        assert_eq!(rfc3339(1_606_217_663_123), "2020-11-24T11:34:23.123Z");
        assert_eq!(short_time("2020-11-24T11:34:23.123Z"), "2020-11-24 11:34:23");
        assert_eq!((count(1, "shard"), count(0, "shard")), ("1 shard".into(), "0 shards".into()));
        assert_eq!(size(1536), "1.5 KiB");
    }
}
