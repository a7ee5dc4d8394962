//! Times as text.

use std::time::{Duration, UNIX_EPOCH};

use chrono::DateTime;

/// An HTTP date: `Tue, 24 Nov 2020 11:34:23 GMT`.
pub(crate) fn http_date(ms: u64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(ms.min(LAST_MS)))
}

/// The seconds (Unix) of an HTTP date.
pub(crate) fn parse_http_date(text: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// RFC 3339 with milliseconds: `2020-11-24T11:34:23.000Z`.
pub(crate) fn rfc3339(ms: u64) -> String {
    format(ms, "%Y-%m-%dT%H:%M:%S%.3fZ")
}

/// The prototype's `lmod`: `2020-11-24 11:34:23`, UTC.
pub(crate) fn lmod(ms: u64) -> String {
    format(ms, "%Y-%m-%d %H:%M:%S")
}

/// The last millisecond of the year 9999, beyond which neither format goes.
const LAST_MS: u64 = 253_402_300_799_999;

fn format(ms: u64, pattern: &str) -> String {
    // The cast is exact below LAST_MS.
    DateTime::from_timestamp_millis(ms.min(LAST_MS) as i64).unwrap_or_default().format(pattern).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let ms = 1_606_217_663_042;
        assert_eq!(http_date(ms), "Tue, 24 Nov 2020 11:34:23 GMT");
        assert_eq!(parse_http_date(&http_date(ms)), Some(ms / 1000));
        assert_eq!(rfc3339(ms), "2020-11-24T11:34:23.042Z");
        assert_eq!(lmod(ms), "2020-11-24 11:34:23");
        assert!(http_date(u64::MAX).ends_with("GMT"));
    }
}
