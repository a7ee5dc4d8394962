use super::*;
use crate::http::dates::http_date;

const MS: u64 = 1_606_217_663_500;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(*name, value.parse().unwrap());
    }
    map
}

fn read(pairs: &[(&'static str, &str)]) -> Verdict {
    of_read(&headers(pairs), "abc", MS)
}

#[test]
fn tags_of_reads() {
    assert_eq!(read(&[]), Verdict::Proceed);
    for (name, value, expected) in [
        ("if-match", "\"abc\"", Verdict::Proceed),
        ("if-match", "*", Verdict::Proceed),
        ("if-match", "\"x\", \"abc\"", Verdict::Proceed),
        ("if-match", "abc", Verdict::Proceed),
        ("if-match", "W/\"abc\"", Verdict::Failed),
        ("if-match", "\"x\"", Verdict::Failed),
        ("if-match", "\"abc", Verdict::Failed),
        ("if-none-match", "\"abc\"", Verdict::NotModified),
        ("if-none-match", "W/\"abc\"", Verdict::NotModified),
        ("if-none-match", "*", Verdict::NotModified),
        ("if-none-match", "\"x,abc\"", Verdict::Proceed),
    ] {
        assert_eq!(read(&[(name, value)]), expected, "{name}: {value}");
    }
    assert_eq!(read(&[("if-none-match", "\"x\""), ("if-none-match", "\"abc\"")]), Verdict::NotModified);
}

#[test]
fn dates_of_reads_and_their_precedence() {
    let (before, same, after) = (http_date(MS - 2000), http_date(MS), http_date(MS + 2000));
    assert_eq!(read(&[("if-modified-since", &same)]), Verdict::NotModified);
    assert_eq!(read(&[("if-modified-since", &before)]), Verdict::Proceed);
    assert_eq!(read(&[("if-modified-since", "yesterday")]), Verdict::Proceed);
    assert_eq!(read(&[("if-unmodified-since", &before)]), Verdict::Failed);
    assert_eq!(read(&[("if-unmodified-since", &same)]), Verdict::Proceed);
    assert_eq!(read(&[("if-match", "\"abc\""), ("if-unmodified-since", &before)]), Verdict::Proceed);
    assert_eq!(read(&[("if-none-match", "\"x\""), ("if-modified-since", &after)]), Verdict::Proceed);
}

#[test]
fn if_range() {
    let applies = |value: &str| range_applies(&headers(&[("if-range", value)]), "abc", MS);
    assert!(range_applies(&HeaderMap::new(), "abc", MS));
    assert!(applies("\"abc\"") && applies(&http_date(MS)));
    assert!(!applies("\"x\"") && !applies("W/\"abc\"") && !applies(&http_date(MS - 1000)) && !applies("abc"));
}

#[test]
fn conditions_of_writes() {
    let write = |pairs: &[(&'static str, &str)]| of_write(&headers(pairs));
    assert_eq!(write(&[]).unwrap(), Precondition::None);
    assert_eq!(write(&[("if-none-match", "*")]).unwrap(), Precondition::Absent);
    assert_eq!(write(&[("if-match", "*")]).unwrap(), Precondition::Present);
    let two = write(&[("if-match", "\"a\", W/\"b\", \"c\"")]).unwrap();
    assert_eq!(two, Precondition::EtagIn(vec!["a".into(), "c".into()]));
    assert!(write(&[("if-none-match", "\"a\"")]).is_err());
    assert!(write(&[("if-none-match", "*"), ("if-match", "*")]).is_err());
}
