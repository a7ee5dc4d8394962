//! The policy of an upload by a form: until when, and what the form's fields must be. It is signed, so whoever has the form
//! can upload what the policy allows and nothing else.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use s3s::{S3Error, S3Result, s3_error};
use serde_json::Value;

/// Fields that no condition must be about.
const FREE: [&str; 5] = ["policy", "x-amz-signature", "file", "awsaccesskeyid", "signature"];
/// Fields whose names begin so mean nothing, and so need no condition.
const IGNORED: &str = "x-ignore-";

/// One condition.
#[derive(Debug, PartialEq, Eq)]
enum Condition {
    /// The field (in lower case) is this text.
    Is(String, String),
    /// The field begins with this text.
    Begins(String, String),
    /// The file has so many bytes, both ends included.
    Length(u64, u64),
}

/// A policy that was read. It says nothing of its signature.
#[derive(Debug)]
pub(super) struct FormPolicy {
    expires_ms: i64,
    conditions: Vec<Condition>,
}

impl FormPolicy {
    /// Reads a policy in base64 as it stands in the form.
    pub(super) fn parse(encoded: &str) -> S3Result<Self> {
        let invalid = |what: String| s3_error!(InvalidPolicyDocument, "Invalid Policy: {what}");
        let json = STANDARD.decode(encoded.trim()).map_err(|_| invalid("it is not base64".into()))?;
        let value: Value = serde_json::from_slice(&json).map_err(|error| invalid(format!("Invalid JSON: {error}")))?;
        let expires = value.get("expiration").and_then(Value::as_str);
        let expires = expires.and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let Some(expires) = expires else {
            return Err(invalid(
                "Policy document must have an 'expiration', such as \"2030-01-01T00:00:00.000Z\"".into(),
            ));
        };
        let Some(Value::Array(list)) = value.get("conditions") else {
            return Err(invalid("Policy document must have a list of 'conditions'".into()));
        };
        let mut conditions = Vec::new();
        for one in list {
            let read = condition(one).ok_or_else(|| invalid(format!("Invalid condition {one}")))?;
            conditions.extend(read);
        }
        Ok(Self { expires_ms: expires.timestamp_millis(), conditions })
    }

    /// Refuses fields (names in lower case) that are not what the policy says.
    pub(super) fn check(&self, fields: &BTreeMap<String, String>, bucket: &str, now_ms: u64) -> S3Result<()> {
        if i64::try_from(now_ms).unwrap_or(i64::MAX) >= self.expires_ms {
            return Err(denied("Policy expired."));
        }
        let field = |name: &str| match name {
            // The bucket is named by the address, whatever the form says besides.
            "bucket" => bucket,
            name => fields.get(name).map_or("", String::as_str),
        };
        for condition in &self.conditions {
            let (holds, shown) = match condition {
                Condition::Is(name, text) => (field(name) == text, format!("[\"eq\", \"${name}\", \"{text}\"]")),
                Condition::Begins(name, text) => {
                    (field(name).starts_with(text.as_str()), format!("[\"starts-with\", \"${name}\", \"{text}\"]"))
                }
                Condition::Length(..) => continue,
            };
            if !holds {
                return Err(denied(&format!("Policy Condition failed: {shown}")));
            }
        }
        let is_named = |name: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Is(known, _) | Condition::Begins(known, _) => known == name,
                Condition::Length(..) => false,
            })
        };
        let extra = |name: &&String| !FREE.contains(&name.as_str()) && !name.starts_with(IGNORED) && !is_named(name);
        match fields.keys().find(extra) {
            Some(name) => Err(denied(&format!("Extra input fields: {name}"))),
            None => Ok(()),
        }
    }

    /// Whether the field must be exactly this.
    pub(super) fn demands(&self, name: &str, value: &str) -> bool {
        self.conditions.iter().any(|condition| matches!(condition, Condition::Is(n, v) if n == name && v == value))
    }

    /// How many bytes the file may have: at least, at most.
    pub(super) fn length(&self) -> (u64, u64) {
        self.conditions.iter().fold((0, u64::MAX), |(least, most), condition| match condition {
            Condition::Length(low, high) => (least.max(*low), most.min(*high)),
            _ => (least, most),
        })
    }
}

/// `{"name": "value", …}`, `["eq", "$name", "value"]`, `["starts-with", "$name", "value"]`, `["content-length-range", 1, 2]`.
fn condition(value: &Value) -> Option<Vec<Condition>> {
    if let Value::Object(fields) = value {
        let one = |(name, value): (&String, &Value)| Some(Condition::Is(name.to_ascii_lowercase(), text(value)?));
        return fields.iter().map(one).collect();
    }
    let [kind, first, second] = &value.as_array()?[..] else { return None };
    let name = || Some(first.as_str()?.strip_prefix('$')?.to_ascii_lowercase());
    match kind.as_str()?.to_ascii_lowercase().as_str() {
        "eq" => Some(vec![Condition::Is(name()?, text(second)?)]),
        "starts-with" => Some(vec![Condition::Begins(name()?, text(second)?)]),
        "content-length-range" => Some(vec![Condition::Length(number(first)?, number(second)?)]),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn denied(message: &str) -> S3Error {
    s3_error!(AccessDenied, "Invalid according to Policy: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_606_176_000_000;

    fn policy(conditions: &str) -> S3Result<FormPolicy> {
        let json = format!("{{\"expiration\": \"2020-11-24T01:00:00.000Z\", \"conditions\": {conditions}}}");
        FormPolicy::parse(&STANDARD.encode(json))
    }

    fn code(result: S3Result<()>) -> &'static str {
        match result {
            Ok(()) => "fine",
            Err(error) if error.message().unwrap_or_default().contains("Extra") => "extra",
            Err(error) if error.message().unwrap_or_default().contains("failed") => "failed",
            Err(_) => "other",
        }
    }

    #[test]
    fn every_field_is_held_to_its_conditions() {
        let conditions = r#"[{"bucket": "b"}, ["starts-with", "$key", "up/"], ["eq", "$Content-Type", "text/x"], ["content-length-range", 1, "9"]]"#;
        let policy = policy(conditions).unwrap();
        assert_eq!(policy.length(), (1, 9));
        for (fields, bucket, expected) in [
            (&[("key", "up/a"), ("content-type", "text/x"), ("x-ignore-me", ""), ("policy", "…")][..], "b", "fine"),
            (&[("key", "up/a"), ("content-type", "text/x")], "c", "failed"),
            (&[("key", "a"), ("content-type", "text/x")], "b", "failed"),
            (&[("key", "up/a")], "b", "failed"),
            (&[("key", "up/a"), ("content-type", "text/x"), ("acl", "private")], "b", "extra"),
        ] {
            let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            assert_eq!(code(policy.check(&fields, bucket, NOW)), expected, "{fields:?}");
            assert_eq!(code(policy.check(&fields, bucket, NOW + 3_600_000)), "other");
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for conditions in ["{}", "[1]", r#"[["eq", "key", "a"]]"#, r#"[["like", "$key", "a"]]"#, r#"[["eq", "$key"]]"#]
        {
            assert_eq!(policy(conditions).unwrap_err().code().as_str(), "InvalidPolicyDocument", "{conditions}");
        }
        for encoded in ["", "%", "e30="] {
            assert!(FormPolicy::parse(encoded).is_err(), "{encoded}");
        }
    }
}
