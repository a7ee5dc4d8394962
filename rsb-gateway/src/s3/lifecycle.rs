//! Lifecycle rules of a bucket: between S3's documents and the engine's rules. What the engine does not do is refused.

use std::collections::BTreeSet;

use rsb_core::Engine;
use rsb_core::lifecycle::{self, Expiration, Filter, Noncurrent, Rule};
use s3s::dto::{
    AbortIncompleteMultipartUpload, DeleteBucketLifecycleInput, DeleteBucketLifecycleOutput, ExpirationStatus,
    GetBucketLifecycleConfigurationInput, GetBucketLifecycleConfigurationOutput, LifecycleExpiration, LifecycleRule,
    LifecycleRuleAndOperator, LifecycleRuleFilter, NoncurrentVersionExpiration, PutBucketLifecycleConfigurationInput,
    PutBucketLifecycleConfigurationOutput, Tag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::{errors, facts};

/// Rules of a bucket, at most.
const MAX_RULES: usize = 1000;
/// Bytes of a rule's name, at most.
const MAX_ID: usize = 255;
const DAY_MS: u64 = 24 * 3600 * 1000;

pub(super) async fn get(
    engine: &Engine,
    req: S3Request<GetBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let bucket = engine.bucket(&req.input.bucket).await.map_err(errors::of)?;
    let rules = lifecycle::rules_of(&bucket).map_err(errors::of)?;
    if rules.is_empty() {
        return Err(s3_error!(NoSuchLifecycleConfiguration, "The lifecycle configuration does not exist"));
    }
    let rules = Some(rules.into_iter().map(document).collect());
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput { rules, transition_default_minimum_object_size: None }))
}

pub(super) async fn put(
    engine: &Engine,
    req: S3Request<PutBucketLifecycleConfigurationInput>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let rules = req.input.lifecycle_configuration.map(|configuration| configuration.rules).unwrap_or_default();
    if !(1..=MAX_RULES).contains(&rules.len()) {
        return Err(s3_error!(MalformedXML, "a lifecycle configuration has 1 to {MAX_RULES} rules"));
    }
    let mut read = Vec::with_capacity(rules.len());
    for document in rules {
        read.push(rule(document)?);
    }
    name(&mut read)?;
    let text = serde_json::json!(read).to_string();
    let done = engine.update_bucket_extra(&req.input.bucket, lifecycle::SETTING, Some(text)).await;
    done.map_err(errors::of)?;
    Ok(S3Response::new(PutBucketLifecycleConfigurationOutput::default()))
}

pub(super) async fn delete(
    engine: &Engine,
    req: S3Request<DeleteBucketLifecycleInput>,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    let done = engine.update_bucket_extra(&req.input.bucket, lifecycle::SETTING, None).await;
    done.map_err(errors::of)?;
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

/// Names what has no name; two may not have the same.
fn name(rules: &mut [Rule]) -> S3Result<()> {
    let mut names = BTreeSet::new();
    for rule in rules.iter().filter(|rule| !rule.id.is_empty()) {
        if !names.insert(rule.id.clone()) {
            return Err(s3_error!(InvalidArgument, "RuleId must be unique. Found same ID for more than one rule"));
        }
    }
    let mut number = 0;
    for rule in rules.iter_mut().filter(|rule| rule.id.is_empty()) {
        while rule.id.is_empty() || !names.insert(rule.id.clone()) {
            number += 1;
            rule.id = format!("rule-{number}");
        }
    }
    Ok(())
}

/// A rule of the engine's from S3's document.
fn rule(document: LifecycleRule) -> S3Result<Rule> {
    let transitions = document.transitions.is_some_and(|list| !list.is_empty());
    if transitions || document.noncurrent_version_transitions.is_some_and(|list| !list.is_empty()) {
        return Err(s3_error!(NotImplemented, "transitions to other storage classes are not served here"));
    }
    let enabled = match document.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(s3_error!(MalformedXML, "the status of a rule is Enabled or Disabled")),
    };
    let id = document.id.unwrap_or_default();
    if id.len() > MAX_ID {
        return Err(s3_error!(InvalidArgument, "ID length should not exceed allowed limit of {MAX_ID}"));
    }
    let rule = Rule {
        id,
        enabled,
        filter: filter(document.filter, document.prefix)?,
        expiration: document.expiration.map(expiration).transpose()?,
        noncurrent: document.noncurrent_version_expiration.map(noncurrent).transpose()?,
        abort_uploads_after_days: document.abort_incomplete_multipart_upload.map(abort).transpose()?,
    };
    if rule.expiration.is_none() && rule.noncurrent.is_none() && rule.abort_uploads_after_days.is_none() {
        return Err(s3_error!(InvalidRequest, "At least one action needs to be specified in a rule."));
    }
    let lone = matches!(rule.expiration, Some(Expiration::LoneMarker(_)));
    if !rule.filter.tags.is_empty() && (lone || rule.abort_uploads_after_days.is_some()) {
        return Err(s3_error!(
            InvalidRequest,
            "ExpiredObjectDeleteMarker and AbortIncompleteMultipartUpload cannot be specified with Tags."
        ));
    }
    if rule.abort_uploads_after_days.is_some()
        && (rule.filter.larger_than.is_some() || rule.filter.smaller_than.is_some())
    {
        return Err(s3_error!(InvalidRequest, "AbortIncompleteMultipartUpload cannot be specified with object sizes."));
    }
    Ok(rule)
}

/// Which objects: `Filter` with one thing in it, or several in `And`, or the prefix of the older form.
fn filter(filter: Option<LifecycleRuleFilter>, prefix: Option<String>) -> S3Result<Filter> {
    let malformed = |what: &'static str| s3_error!(MalformedXML, "{what}");
    let filter = match (filter, prefix) {
        (Some(filter), None) => filter,
        (None, Some(prefix)) => return Ok(Filter { prefix: Some(prefix), old_form: true, ..Filter::default() }),
        _ => return Err(malformed("a rule has either a Filter or a Prefix")),
    };
    let single = [
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
        filter.and.is_some(),
    ];
    if single.into_iter().filter(|given| *given).count() > 1 {
        return Err(malformed("a Filter has one element; several stand in And"));
    }
    let and = filter.and.unwrap_or_default();
    let mut out = Filter {
        prefix: filter.prefix.or(and.prefix),
        larger_than: size(filter.object_size_greater_than.or(and.object_size_greater_than))?,
        smaller_than: size(filter.object_size_less_than.or(and.object_size_less_than))?,
        ..Filter::default()
    };
    for tag in filter.tag.into_iter().chain(and.tags.unwrap_or_default()) {
        let (Some(key), Some(value)) = (tag.key, tag.value) else {
            return Err(malformed("a Tag has a Key and a Value"));
        };
        if out.tags.insert(key, value).is_some() {
            return Err(s3_error!(InvalidRequest, "Duplicate Tag Keys are not allowed."));
        }
    }
    if let (Some(larger), Some(smaller)) = (out.larger_than, out.smaller_than)
        && larger >= smaller
    {
        return Err(s3_error!(
            InvalidRequest,
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."
        ));
    }
    Ok(out)
}

fn size(bytes: Option<i64>) -> S3Result<Option<u64>> {
    let read =
        |bytes: i64| u64::try_from(bytes).map_err(|_| s3_error!(InvalidArgument, "an object's size is not negative"));
    bytes.map(read).transpose()
}

fn days(days: i32, of: &str) -> S3Result<u32> {
    match u32::try_from(days) {
        Ok(days) if days > 0 => Ok(days),
        _ => Err(s3_error!(InvalidArgument, "'Days' for {of} action must be a positive integer")),
    }
}

fn expiration(document: LifecycleExpiration) -> S3Result<Expiration> {
    match (document.days, document.date, document.expired_object_delete_marker) {
        (Some(count), None, None) => days(count, "Expiration").map(Expiration::Days),
        (None, Some(date), None) => match facts::ms(&date) {
            date if date % DAY_MS == 0 => Ok(Expiration::DateMs(date)),
            _ => Err(s3_error!(InvalidArgument, "'Date' must be at midnight GMT")),
        },
        (None, None, Some(lone)) => Ok(Expiration::LoneMarker(lone)),
        _ => Err(s3_error!(MalformedXML, "an Expiration has one of Days, Date and ExpiredObjectDeleteMarker")),
    }
}

fn noncurrent(document: NoncurrentVersionExpiration) -> S3Result<Noncurrent> {
    let Some(count) = document.noncurrent_days else {
        return Err(s3_error!(MalformedXML, "a NoncurrentVersionExpiration has NoncurrentDays"));
    };
    let keep = match document.newer_noncurrent_versions.map(u32::try_from) {
        None => None,
        Some(Ok(keep)) if (1..=100).contains(&keep) => Some(keep),
        Some(_) => return Err(s3_error!(InvalidArgument, "NewerNoncurrentVersions is from 1 to 100")),
    };
    Ok(Noncurrent { days: days(count, "NoncurrentVersionExpiration")?, keep })
}

fn abort(document: AbortIncompleteMultipartUpload) -> S3Result<u32> {
    match document.days_after_initiation {
        Some(count) => days(count, "AbortIncompleteMultipartUpload"),
        None => Err(s3_error!(MalformedXML, "an AbortIncompleteMultipartUpload has DaysAfterInitiation")),
    }
}

/// S3's document of a rule.
fn document(rule: Rule) -> LifecycleRule {
    let number = |count: u32| i32::try_from(count).ok();
    let status = if rule.enabled { ExpirationStatus::ENABLED } else { ExpirationStatus::DISABLED };
    let (filter, prefix) = match rule.filter.old_form {
        true => (None, rule.filter.prefix),
        false => (Some(filter_document(rule.filter)), None),
    };
    let mut expiration = rule.expiration.map(|_| LifecycleExpiration::default());
    if let (Some(document), Some(when)) = (&mut expiration, rule.expiration) {
        match when {
            Expiration::Days(days) => document.days = number(days),
            Expiration::DateMs(date) => document.date = Some(facts::time(date)),
            Expiration::LoneMarker(lone) => document.expired_object_delete_marker = Some(lone),
        }
    }
    LifecycleRule {
        id: Some(rule.id),
        status: ExpirationStatus::from_static(status),
        filter,
        prefix,
        expiration,
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| NoncurrentVersionExpiration {
            noncurrent_days: number(noncurrent.days),
            newer_noncurrent_versions: noncurrent.keep.and_then(number),
        }),
        abort_incomplete_multipart_upload: rule
            .abort_uploads_after_days
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: number(days) }),
        noncurrent_version_transitions: None,
        transitions: None,
    }
}

fn filter_document(filter: Filter) -> LifecycleRuleFilter {
    let bytes = |bytes: u64| i64::try_from(bytes).ok();
    let tags: Vec<Tag> =
        filter.tags.into_iter().map(|(key, value)| Tag { key: Some(key), value: Some(value) }).collect();
    let (larger, smaller) = (filter.larger_than.and_then(bytes), filter.smaller_than.and_then(bytes));
    let several = usize::from(filter.prefix.is_some())
        + tags.len()
        + usize::from(larger.is_some())
        + usize::from(smaller.is_some());
    if several > 1 {
        let and = LifecycleRuleAndOperator {
            prefix: filter.prefix,
            tags: (!tags.is_empty()).then_some(tags),
            object_size_greater_than: larger,
            object_size_less_than: smaller,
        };
        return LifecycleRuleFilter { and: Some(and), ..LifecycleRuleFilter::default() };
    }
    LifecycleRuleFilter {
        prefix: filter.prefix,
        tag: tags.into_iter().next(),
        object_size_greater_than: larger,
        object_size_less_than: smaller,
        and: None,
    }
}
