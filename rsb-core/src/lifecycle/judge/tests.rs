use uuid::Uuid;

use super::super::*;
use super::*;
use crate::format::manifest::{Body, Etag};

const HOUR_MS: u64 = 3_600_000;
/// 2014-01-15 10:30 UTC, of the example in the S3 user guide.
const WRITTEN: u64 = 1_389_781_800_000;

fn version(key: &str, number: u128, modified_ms: u64) -> Manifest {
    Manifest {
        bucket: "bucket".into(),
        key: key.into(),
        version: VersionId(Uuid::from_u128(number)),
        revision: 0,
        modified_ms,
        size: 100,
        etag: Etag::Fast([0; 16]),
        attributes: Default::default(),
        metadata: Default::default(),
        tags: Default::default(),
        delete_marker: false,
        null_version: false,
        body: Body::None,
        run_digests: None,
        extra: Default::default(),
        parts: None,
        checksum: None,
    }
}

fn marker(key: &str, number: u128, modified_ms: u64) -> Manifest {
    Manifest { delete_marker: true, size: 0, ..version(key, number, modified_ms) }
}

fn rule(change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule { id: "r".into(), enabled: true, ..Rule::default() };
    change(&mut rule);
    rule
}

/// Versions in the order of a listing: the first of each key is its newest.
fn judge(rules: &[Rule], now_ms: u64, versions: &[Manifest]) -> Vec<(u128, Verdict)> {
    let (mut judge, mut out) = (Judge::new(rules, now_ms), Vec::new());
    let mut last = String::new();
    for manifest in versions {
        judge.see(manifest, manifest.key != last, &mut out);
        last.clone_from(&manifest.key);
    }
    judge.finish(&mut out);
    out.into_iter().map(|ending| (ending.version.0.as_u128(), ending.verdict)).collect()
}

/// "Lifecycle rules: based on an object's age": created 1/15/2014 10:30 AM UTC, 3 days: 1/19/2014 00:00 UTC.
#[test]
fn days_end_at_the_next_midnight_utc() {
    let midnight = 1_390_089_600_000;
    assert_eq!(due_ms(WRITTEN, 3), midnight);
    assert_eq!(due_ms(midnight - 1, 0), midnight);
    assert_eq!(due_ms(midnight, 1), midnight + 2 * 24 * HOUR_MS);
    let rules = [rule(|r| r.expiration = Some(Expiration::Days(3)))];
    let one = [version("a", 1, WRITTEN)];
    assert_eq!(judge(&rules, midnight - 1, &one), []);
    assert_eq!(judge(&rules, midnight, &one), [(1, Verdict::Expire)]);
    assert_eq!(expiry(&rules, &one[0]).unwrap().1, midnight);
}

#[test]
fn a_date_is_one_time_for_all() {
    let rules = [rule(|r| r.expiration = Some(Expiration::DateMs(WRITTEN)))];
    let two = [version("a", 1, WRITTEN - 1), version("b", 2, WRITTEN + 1)];
    assert_eq!(judge(&rules, WRITTEN - 1, &two), []);
    assert_eq!(judge(&rules, WRITTEN, &two), [(1, Verdict::Expire), (2, Verdict::Expire)]);
}

/// "Calculating how long an object has been noncurrent": from the write of the next newer version on.
#[test]
fn noncurrent_days_count_from_the_next_newer_version() {
    let rules = [rule(|r| r.noncurrent = Some(Noncurrent { days: 3, keep: None }))];
    let versions = [version("a", 3, WRITTEN + 100 * HOUR_MS), version("a", 2, WRITTEN), version("a", 1, 0)];
    assert_eq!(judge(&rules, due_ms(WRITTEN, 3) - 1, &versions), []);
    assert_eq!(judge(&rules, due_ms(WRITTEN, 3), &versions), [(1, Verdict::Noncurrent)]);
    let later = due_ms(WRITTEN + 100 * HOUR_MS, 3);
    assert_eq!(judge(&rules, later, &versions), [(2, Verdict::Noncurrent), (1, Verdict::Noncurrent)]);
}

/// NewerNoncurrentVersions: "how many noncurrent versions Amazon S3 will retain".
#[test]
fn the_newest_noncurrent_versions_are_kept() {
    let rules = [rule(|r| r.noncurrent = Some(Noncurrent { days: 1, keep: Some(2) }))];
    let of = |key: &str, from: u128| (0..5).map(|i| version(key, from - i, WRITTEN)).collect::<Vec<_>>();
    let versions = [of("a", 25), of("b", 35)].concat();
    let expected: Vec<(u128, Verdict)> = [22, 21, 32, 31].map(|number| (number, Verdict::Noncurrent)).into();
    assert_eq!(judge(&rules, u64::MAX, &versions), expected);
}

/// "Removing expired object delete markers".
#[test]
fn a_delete_marker_goes_only_when_nothing_is_below_it() {
    let alone = marker("a", 1, WRITTEN);
    let versions = [alone.clone(), marker("b", 3, WRITTEN), version("b", 2, 0), version("c", 4, 0)];
    let at_once = [rule(|r| r.expiration = Some(Expiration::LoneMarker(true)))];
    assert_eq!(judge(&at_once, 0, &versions), [(1, Verdict::LoneMarker)]);
    let never = [rule(|r| r.expiration = Some(Expiration::LoneMarker(false)))];
    assert_eq!(judge(&never, u64::MAX, &versions), []);
    let aged = [rule(|r| r.expiration = Some(Expiration::Days(1)))];
    assert_eq!(judge(&aged, due_ms(WRITTEN, 1) - 1, std::slice::from_ref(&alone)), []);
    assert_eq!(judge(&aged, due_ms(WRITTEN, 1), &[alone]), [(1, Verdict::LoneMarker)]);
}

#[test]
fn a_filter_means_what_all_of_it_holds_for() {
    let mut tagged = version("logs/a", 1, 0);
    tagged.tags = [("k".to_owned(), "v".to_owned()), ("l".to_owned(), "w".to_owned())].into();
    let filter = |change: fn(&mut Filter)| {
        let mut filter = Filter::default();
        change(&mut filter);
        filter
    };
    assert!(Filter::default().has(&tagged) && Filter::default().has(&marker("x", 1, 0)));
    assert!(filter(|f| f.prefix = Some("logs/".into())).has(&tagged));
    assert!(!filter(|f| f.prefix = Some("log/".into())).has(&tagged));
    assert!(filter(|f| f.tags = [("k".into(), "v".into())].into()).has(&tagged));
    assert!(!filter(|f| f.tags = [("k".into(), "w".into())].into()).has(&tagged));
    assert!(!filter(|f| f.tags = [("k".into(), "v".into())].into()).has(&marker("x", 1, 0)));
    assert!(filter(|f| f.larger_than = Some(99)).has(&tagged));
    assert!(!filter(|f| f.larger_than = Some(100)).has(&tagged));
    assert!(filter(|f| f.smaller_than = Some(101)).has(&tagged));
    assert!(!filter(|f| f.smaller_than = Some(101)).has(&marker("x", 1, 0)));
    assert!(!filter(|f| (f.larger_than, f.prefix) = (Some(10), Some("x".into()))).has(&tagged));
}

#[test]
fn a_rule_that_is_not_enabled_ends_nothing() {
    let every = |enabled| {
        rule(|r| {
            r.enabled = enabled;
            r.expiration = Some(Expiration::Days(1));
            r.noncurrent = Some(Noncurrent { days: 1, keep: None });
        })
    };
    let versions = [version("a", 2, 0), version("a", 1, 0), marker("b", 3, 0)];
    assert_eq!(judge(&[every(true)], u64::MAX, &versions).len(), 3);
    assert_eq!(judge(&[every(false)], u64::MAX, &versions), []);
}
