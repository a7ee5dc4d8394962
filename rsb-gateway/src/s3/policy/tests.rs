use super::*;

fn with(change: &str, to: &str) -> String {
    let text = r#"{"Version": "2012-10-17", "Statement": [{"Sid": "x", "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::b/pub/*"}]}"#;
    assert!(text.contains(change), "{change}");
    text.replacen(change, to, 1)
}

fn code(text: &str) -> String {
    Policy::parse(text, "b").map_or_else(|error| error.code().as_str().to_owned(), |_| "fine".to_owned())
}

#[test]
fn what_is_not_served_is_refused() {
    for (change, to, expected) in [
        ("x", "y", "fine"),
        (r#""Principal": "*""#, r#""Principal": {"AWS": "*"}"#, "fine"),
        (r#""Principal": "*""#, r#""Principal": {"AWS": ["*"]}"#, "fine"),
        (r#"["s3:GetObject"]"#, r#""s3:GetObjectVersion""#, "fine"),
        (r#""Principal": "*""#, r#""Principal": {"AWS": "arn:aws:iam::1:root"}"#, "NotImplemented"),
        (r#""Principal": "*""#, r#""NotPrincipal": "*""#, "NotImplemented"),
        (r#""Principal": "*","#, "", "MalformedPolicy"),
        ("Allow", "Deny", "NotImplemented"),
        ("Allow", "Perhaps", "MalformedPolicy"),
        ("s3:GetObject", "s3:*", "NotImplemented"),
        ("s3:GetObject", "s3:PutObject", "NotImplemented"),
        (r#""Sid": "x""#, r#""Condition": {"IpAddress": {}}"#, "NotImplemented"),
        (r#""Sid": "x""#, r#""Odd": 1"#, "MalformedPolicy"),
        ("pub/*", "*/pub", "NotImplemented"),
        ("pub/*", "${aws:username}/*", "NotImplemented"),
        (":::b/pub/*", ":::b", "MalformedPolicy"),
        (":::b/pub/*", ":::other/*", "MalformedPolicy"),
        (":::b/pub/*", ":::b*", "MalformedPolicy"),
        ("s3:GetObject", "s3:ListBucket", "MalformedPolicy"),
        ("2012-10-17", "2024-01-01", "MalformedPolicy"),
        ("[{", "[[{", "MalformedPolicy"),
        (r#""Version""#, r#""Versions""#, "MalformedPolicy"),
    ] {
        assert_eq!(code(&with(change, to)), expected, "{change} → {to}");
    }
    for text in ["", "[]", "{}", r#"{"Statement": []}"#, "null", &" ".repeat(MAX_BYTES + 1)] {
        assert_eq!(code(text), "MalformedPolicy");
    }
}

#[test]
fn what_is_allowed_is_exactly_what_it_says() {
    let policy = Policy::parse(&with("x", "y"), "b").unwrap();
    assert!(policy.allows(Action::Get, "pub/a"));
    assert!(!policy.allows(Action::Get, "pub") && !policy.allows(Action::Get, "secret"));
    assert!(!policy.allows(Action::GetVersion, "pub/a") && !policy.allows(Action::List, ""));
    let exact = Policy::parse(&with("pub/*", "one"), "b").unwrap();
    assert!(exact.allows(Action::Get, "one") && !exact.allows(Action::Get, "one.more"));
    let list = with("s3:GetObject", "s3:ListBucket").replace(":::b/pub/*", ":::b");
    assert!(Policy::parse(&list, "b").unwrap().allows(Action::List, ""));
}
