use super::*;
use crate::config::{AccessKey, Secret};
use http::HeaderValue;

fn guard(listen: &str, auth: Auth, prototype: PrototypeMode) -> Guard {
    let mut config = GatewayConfig::new(listen.parse().unwrap());
    config.auth = auth;
    config.prototype = prototype;
    config.keys = vec![AccessKey {
        id: "job".into(),
        secret: Secret::new("pa:ss"),
        rights: BTreeSet::from([Right::Read]),
        buckets: vec!["docs-*".into()],
    }];
    Guard::new(&config)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(n, v)| (http::HeaderName::from_static(n), HeaderValue::from_str(v).unwrap())).collect()
}

fn basic(pair: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Basic {}", STANDARD.encode(pair)))])
}

#[test]
fn who_is_served_without_credentials() {
    let none = HeaderMap::new();
    for (listen, auth, prototype, native_open, prototype_open) in [
        ("127.0.0.1:0", Auth::Auto, PrototypeMode::Open, true, true),
        ("127.0.0.1:0", Auth::Auto, PrototypeMode::Auth, true, false),
        ("127.0.0.1:0", Auth::Required, PrototypeMode::Open, false, true),
        ("192.0.2.1:1", Auth::Auto, PrototypeMode::Auth, false, false),
        ("192.0.2.1:1", Auth::Auto, PrototypeMode::Open, false, true),
        ("192.0.2.1:1", Auth::Off, PrototypeMode::Auth, true, true),
    ] {
        let guard = guard(listen, auth, prototype);
        assert_eq!(guard.caller(&none).is_ok(), native_open, "{listen} {auth:?}");
        assert_eq!(guard.prototype_caller(&none).is_ok(), prototype_open, "{listen} {prototype:?}");
    }
}

#[test]
fn a_key_opens_what_it_is_for() {
    let guard = guard("127.0.0.1:0", Auth::Auto, PrototypeMode::Open);
    let caller = guard.caller(&basic("job:pa:ss")).unwrap();
    assert!(caller.may(Right::Read, Some("docs-a")));
    assert!(!caller.may(Right::Read, Some("photos")));
    assert!(!caller.may(Right::Write, Some("docs-a")));
    assert!(!caller.may(Right::Read, None), "a pattern is not everything");
}

#[test]
fn wrong_credentials_are_refused_even_where_none_are_needed() {
    let guard = guard("127.0.0.1:0", Auth::Auto, PrototypeMode::Open);
    for pair in ["job:wrong", "other:pa:ss", "job", ":", "job:"] {
        assert!(guard.caller(&basic(pair)).is_err(), "{pair}");
    }
    for value in ["Bearer x", "Basic", "Basic !!!", "Basic /w=="] {
        assert!(guard.caller(&headers(&[("authorization", value)])).is_err(), "{value}");
    }
}

#[test]
fn pages_of_other_sites_are_refused_where_it_is_open() {
    let guard = guard("127.0.0.1:0", Auth::Auto, PrototypeMode::Open);
    for good in [
        headers(&[("host", "127.0.0.1:44987")]),
        headers(&[("host", "localhost:44987"), ("origin", "http://localhost:44987")]),
        headers(&[("host", "[::1]:44987")]),
    ] {
        assert!(guard.caller(&good).is_ok(), "{good:?}");
    }
    for bad in [
        headers(&[("host", "evil.example:44987")]),
        headers(&[("host", "localhost:44987"), ("origin", "https://evil.example")]),
        headers(&[("host", "localhost:44987"), ("origin", "null")]),
        headers(&[("host", "localhost:44987"), ("sec-fetch-site", "cross-site")]),
    ] {
        assert!(guard.caller(&bad).is_err(), "{bad:?}");
        assert!(guard.prototype_caller(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn patterns() {
    for (pattern, name, expected) in [
        ("*", "a", true),
        ("docs-*", "docs-", true),
        ("docs-*", "docs", false),
        ("a", "a", true),
        ("a", "ab", false),
        ("*-x", "a-x", true),
        ("a*b*c", "a1b2c", true),
        ("a*b*c", "acb", false),
        ("ab*ba", "aba", false),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
    }
}
