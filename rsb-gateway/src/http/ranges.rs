//! The `Range` header (RFC 9110, section 14).

use std::ops::Range;

use rsb_core::ByteRange;

/// More ranges than this in one request serve nobody but an attacker; the whole is sent instead, as the RFC allows.
const MAX_RANGES: usize = 64;

/// What of an object is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it: no range, or one that is to be ignored.
    Whole,
    /// These runs of bytes, none empty, in the order asked.
    Parts(Vec<Range<u64>>),
    /// Nothing that it has.
    Nothing,
}

/// What a `Range` header asks of an object of `size` bytes.
pub(crate) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some(specs) = header.and_then(parse) else {
        return Wanted::Whole;
    };
    let parts: Vec<Range<u64>> = specs.iter().filter_map(|spec| spec.resolve(size)).collect();
    let total: u64 = parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
    if parts.is_empty() {
        Wanted::Nothing
    } else if parts.len() > 1 && total > size {
        // Overlapping ranges that add up to more than the whole: sending the whole is cheaper for everybody.
        Wanted::Whole
    } else {
        Wanted::Parts(parts)
    }
}

/// The ranges of a header; `None` when it is malformed, of another unit, or has too many, and so is to be ignored.
fn parse(header: &str) -> Option<Vec<ByteRange>> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // A list may have empty elements, which count for nothing.
    let specs: Vec<&str> =
        set.split(',').map(|spec| spec.trim_matches([' ', '\t'])).filter(|s| !s.is_empty()).collect();
    if specs.is_empty() || specs.len() > MAX_RANGES {
        return None;
    }
    specs.into_iter().map(parse_one).collect()
}

fn parse_one(spec: &str) -> Option<ByteRange> {
    let (first, last) = spec.split_once('-')?;
    match (first, last) {
        ("", last) => Some(ByteRange::Last(number(last)?)),
        (first, "") => Some(ByteRange::From(number(first)?)),
        (first, last) => {
            let (start, last) = (number(first)?, number(last)?);
            (start <= last).then(|| ByteRange::Bounded { start, end: last.saturating_add(1) })
        }
    }
}

/// A number of digits only; one too great for 64 bits lies beyond every object, as the greatest does.
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parts = |list: &[(u64, u64)]| Wanted::Parts(list.iter().map(|(start, end)| *start..*end).collect());
        for (header, expected) in [
            ("bytes=0-0", parts(&[(0, 1)])),
            ("bytes=0-99", parts(&[(0, 10)])),
            ("bytes=9-", parts(&[(9, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-99", parts(&[(0, 10)])),
            ("BYTES= 1-2 , 4-5", parts(&[(1, 3), (4, 6)])),
            ("bytes=0-1,99-", parts(&[(0, 2)])),
            ("bytes=,0-1,", parts(&[(0, 2)])),
            ("bytes=5-99999999999999999999999", parts(&[(5, 10)])),
            ("bytes=0-8,0-8", Wanted::Whole),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=3-2", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("rows=0-1", Wanted::Whole),
        ] {
            assert_eq!(wanted(Some(header), 10), expected, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Nothing);
        let many = format!("bytes={}", vec!["0-0"; 65].join(","));
        assert_eq!(wanted(Some(&many), 1000), Wanted::Whole);
    }
}
