//! Bucket policies: the part of them that lets everybody read. Everything else is refused with a sentence when it is set:
//! a policy that is kept has its whole effect.

use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus, PutBucketPolicyInput, PutBucketPolicyOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use serde_json::Value;

use rsb_core::Engine;

use super::errors;

/// The bucket's setting that holds its policy, as it was sent.
const SETTING: &str = "s3-policy";
/// Bytes of a policy, as S3 has it.
const MAX_BYTES: usize = 20 << 10;
const ARN: &str = "arn:aws:s3:::";

/// What a policy may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// `s3:GetObject`
    Get,
    /// `s3:GetObjectVersion`
    GetVersion,
    /// `s3:ListBucket`
    List,
}

impl Action {
    fn parse(name: &str) -> S3Result<Self> {
        match name {
            "s3:GetObject" => Ok(Self::Get),
            "s3:GetObjectVersion" => Ok(Self::GetVersion),
            "s3:ListBucket" => Ok(Self::List),
            _ => Err(s3_error!(
                NotImplemented,
                "the action {name:?} cannot be given to everybody here; s3:GetObject, s3:GetObjectVersion and s3:ListBucket can"
            )),
        }
    }
}

/// What a statement is about.
#[derive(Debug, PartialEq, Eq)]
enum Resource {
    Bucket,
    Key(String),
    Prefix(String),
}

impl Resource {
    fn parse(arn: &str, bucket: &str) -> S3Result<Self> {
        let invalid =
            || malformed(format!("Policy has invalid resource {arn:?}; {ARN}{bucket} and below it are this bucket's"));
        let rest = arn.strip_prefix(ARN).ok_or_else(invalid)?;
        let Some((name, key)) = rest.split_once('/') else {
            return if rest == bucket { Ok(Self::Bucket) } else { Err(invalid()) };
        };
        if name != bucket || key.is_empty() {
            return Err(invalid());
        }
        let plain = key.strip_suffix('*');
        if plain.unwrap_or(key).contains(['*', '?', '$']) {
            return Err(s3_error!(
                NotImplemented,
                "the resource {arn:?} has a wildcard that is not its last character, or a variable; that is not served here"
            ));
        }
        Ok(plain.map_or_else(|| Self::Key(key.to_owned()), |prefix| Self::Prefix(prefix.to_owned())))
    }

    fn holds(&self, action: Action, key: &str) -> bool {
        match self {
            Self::Bucket => action == Action::List,
            Self::Key(name) => action != Action::List && key == name,
            Self::Prefix(prefix) => action != Action::List && key.starts_with(prefix.as_str()),
        }
    }
}

/// A policy: what everybody may do.
#[derive(Debug)]
pub(super) struct Policy {
    statements: Vec<(Vec<Action>, Vec<Resource>)>,
}

impl Policy {
    /// Reads a policy for a bucket. What is no policy is `MalformedPolicy`, what is one and is not served here `NotImplemented`.
    fn parse(text: &str, bucket: &str) -> S3Result<Self> {
        if text.len() > MAX_BYTES {
            return Err(malformed(format!("the policy has {} bytes, and {MAX_BYTES} are taken", text.len())));
        }
        let value: Value =
            serde_json::from_str(text).map_err(|error| malformed(format!("the policy is not JSON: {error}")))?;
        let Value::Object(mut fields) = value else { return Err(malformed("the policy is not a JSON object")) };
        match fields.remove("Version") {
            None => {}
            Some(Value::String(version)) if version == "2012-10-17" || version == "2008-10-17" => {}
            Some(_) => return Err(malformed("the policy's Version is 2012-10-17 or 2008-10-17")),
        }
        fields.remove("Id");
        let statements = match fields.remove("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list,
            Some(one @ Value::Object(_)) => vec![one],
            _ => return Err(malformed("the policy has no Statement")),
        };
        if let Some(name) = fields.keys().next() {
            return Err(malformed(format!("the policy has a field {name:?}, which no policy has")));
        }
        let statements = statements.into_iter().map(|one| statement(one, bucket));
        Ok(Self { statements: statements.collect::<S3Result<_>>()? })
    }

    /// Whether everybody may do this to the key (to the bucket, for a list).
    pub(super) fn allows(&self, action: Action, key: &str) -> bool {
        let allows = |(actions, resources): &(Vec<Action>, Vec<Resource>)| {
            actions.contains(&action) && resources.iter().any(|resource| resource.holds(action, key))
        };
        self.statements.iter().any(allows)
    }

    /// The policy of a bucket; `None` where there is no such bucket, or it has none.
    pub(super) async fn of(engine: &Engine, bucket: &str) -> Option<Self> {
        let record = engine.bucket(bucket).await.ok()?;
        Self::parse(record.settings.extra.get(SETTING)?, bucket).ok()
    }
}

fn statement(value: Value, bucket: &str) -> S3Result<(Vec<Action>, Vec<Resource>)> {
    let Value::Object(mut fields) = value else { return Err(malformed("a statement is not a JSON object")) };
    fields.remove("Sid");
    match fields.remove("Effect") {
        Some(Value::String(effect)) if effect == "Allow" => {}
        Some(Value::String(effect)) if effect == "Deny" => {
            return Err(s3_error!(
                NotImplemented,
                "statements that deny are not served here; what is not allowed is denied"
            ));
        }
        _ => return Err(malformed("a statement's Effect is Allow or Deny")),
    }
    principal(fields.remove("Principal"), fields.contains_key("NotPrincipal"))?;
    for name in ["NotPrincipal", "NotAction", "NotResource", "Condition"] {
        if fields.contains_key(name) {
            return Err(s3_error!(NotImplemented, "{name} in a policy is not served here"));
        }
    }
    let actions = texts(fields.remove("Action"), "Action")?;
    let actions = actions.iter().map(|name| Action::parse(name)).collect::<S3Result<Vec<_>>>()?;
    let resources = texts(fields.remove("Resource"), "Resource")?;
    let resources = resources.iter().map(|arn| Resource::parse(arn, bucket)).collect::<S3Result<Vec<_>>>()?;
    if let Some(name) = fields.keys().next() {
        return Err(malformed(format!("a statement has a field {name:?}, which no statement has")));
    }
    let about = |action: &Action| resources.iter().any(|r| (*r == Resource::Bucket) == (*action == Action::List));
    if !actions.iter().all(about) {
        return Err(malformed(
            "Action does not apply to any resource(s) in statement: s3:ListBucket is about the bucket, the others about the keys below it",
        ));
    }
    Ok((actions, resources))
}

/// Everybody: `"*"`, or `{"AWS": "*"}`.
fn principal(value: Option<Value>, negated: bool) -> S3Result<()> {
    let everybody = |value: &Value| match value {
        Value::String(name) => name == "*",
        Value::Array(list) => !list.is_empty() && list.iter().all(|name| name == "*"),
        _ => false,
    };
    match value {
        Some(value) if value == "*" => Ok(()),
        Some(Value::Object(fields)) if fields.len() == 1 && fields.get("AWS").is_some_and(everybody) => Ok(()),
        None if !negated => Err(malformed("a statement has no Principal")),
        _ => Err(s3_error!(
            NotImplemented,
            "a policy speaks here to everybody (\"*\") only; the keys of the gateway have their rights in the config"
        )),
    }
}

/// A text, or a list of them.
fn texts(value: Option<Value>, name: &str) -> S3Result<Vec<String>> {
    let list = match value {
        Some(Value::String(one)) => return Ok(vec![one]),
        Some(Value::Array(list)) if !list.is_empty() => list,
        _ => return Err(malformed(format!("a statement's {name} is missing; it is a text or a list of them"))),
    };
    let text = |value| match value {
        Value::String(text) => Ok(text),
        _ => Err(malformed(format!("a statement's {name} has something that is no text"))),
    };
    list.into_iter().map(text).collect()
}

fn malformed(message: impl Into<String>) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::MalformedPolicy, message.into());
    error.set_status_code(http::StatusCode::BAD_REQUEST);
    error
}

pub(super) async fn put(
    engine: &Engine,
    req: S3Request<PutBucketPolicyInput>,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    let (bucket, text) = (req.input.bucket, req.input.policy);
    engine.bucket(&bucket).await.map_err(errors::of)?;
    Policy::parse(&text, &bucket)?;
    engine.update_bucket_extra(&bucket, SETTING, Some(text)).await.map_err(errors::of)?;
    Ok(S3Response::with_status(PutBucketPolicyOutput::default(), http::StatusCode::NO_CONTENT))
}

pub(super) async fn get(
    engine: &Engine,
    req: S3Request<GetBucketPolicyInput>,
) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    let text = kept(engine, &req.input.bucket).await?;
    Ok(S3Response::new(GetBucketPolicyOutput { policy: Some(text) }))
}

pub(super) async fn status(
    engine: &Engine,
    req: S3Request<GetBucketPolicyStatusInput>,
) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
    kept(engine, &req.input.bucket).await?;
    // Every policy that is taken lets everybody do something.
    let policy_status = Some(PolicyStatus { is_public: Some(true) });
    Ok(S3Response::new(GetBucketPolicyStatusOutput { policy_status }))
}

pub(super) async fn delete(
    engine: &Engine,
    req: S3Request<DeleteBucketPolicyInput>,
) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
    engine.update_bucket_extra(&req.input.bucket, SETTING, None).await.map_err(errors::of)?;
    Ok(S3Response::with_status(DeleteBucketPolicyOutput::default(), http::StatusCode::NO_CONTENT))
}

/// The policy's text; NoSuchBucketPolicy where there is none.
async fn kept(engine: &Engine, bucket: &str) -> S3Result<String> {
    let record = engine.bucket(bucket).await.map_err(errors::of)?;
    let text = record.settings.extra.get(SETTING).cloned();
    text.ok_or_else(|| s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist"))
}

#[cfg(test)]
mod tests;
