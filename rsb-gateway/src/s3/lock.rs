//! Object lock: of a bucket, and retention and legal hold of versions. The engine sees to what they forbid.

use http::{HeaderMap, HeaderName, HeaderValue};
use rsb_core::format::manifest::{BucketSettings, Versions};
use rsb_core::object_lock::{BucketLock, DefaultRetention, ObjectLock, Period, Retention, RetentionMode};
use rsb_core::{Engine, ObjectInfo};
use s3s::dto::{
    DefaultRetention as DefaultRetentionXml, GetObjectLegalHoldInput, GetObjectLegalHoldOutput,
    GetObjectLockConfigurationInput, GetObjectLockConfigurationOutput, GetObjectRetentionInput,
    GetObjectRetentionOutput, ObjectLockConfiguration, ObjectLockEnabled, ObjectLockLegalHold,
    ObjectLockLegalHoldStatus, ObjectLockRetention, ObjectLockRetentionMode, ObjectLockRule, PutObjectLegalHoldInput,
    PutObjectLegalHoldOutput, PutObjectLockConfigurationInput, PutObjectLockConfigurationOutput,
    PutObjectRetentionInput, PutObjectRetentionOutput, Timestamp, TimestampFormat,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::versions::{self, Asked};
use super::{access, errors, facts};
use crate::config::Right;
use crate::http::dates::rfc3339;
use crate::http::reply::set;

const MODE: HeaderName = HeaderName::from_static("x-amz-object-lock-mode");
const UNTIL: HeaderName = HeaderName::from_static("x-amz-object-lock-retain-until-date");
const HOLD: HeaderName = HeaderName::from_static("x-amz-object-lock-legal-hold");

/// The lock that a request gives the object it writes in a bucket.
pub(super) async fn of_request(engine: &Engine, bucket: &str, headers: &HeaderMap) -> S3Result<ObjectLock> {
    let lock = of_headers(headers)?;
    if lock != ObjectLock::default() {
        required(engine, bucket).await?;
    }
    Ok(lock)
}

fn of_headers(headers: &HeaderMap) -> S3Result<ObjectLock> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let legal_hold = match text(&HOLD) {
        None | Some("OFF") => false,
        Some("ON") => true,
        Some(_) => return Err(s3_error!(InvalidArgument, "{HOLD} must be either of 'ON' or 'OFF'")),
    };
    let retention = match (text(&MODE), text(&UNTIL)) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_of(mode).ok_or_else(|| s3_error!(InvalidArgument, "Unknown wormMode directive."))?;
            let until = Timestamp::parse(TimestampFormat::DateTime, until).ok();
            let until = until.ok_or_else(|| s3_error!(InvalidArgument, "{UNTIL} must be a date in ISO 8601"))?;
            Some(Retention { mode, until_ms: facts::ms(&until) })
        }
        _ => return Err(s3_error!(InvalidArgument, "{UNTIL} and {MODE} must both be supplied")),
    };
    Ok(ObjectLock { retention, legal_hold })
}

/// Says a version's lock in a reply about it.
pub(super) fn say(info: &ObjectInfo, headers: &mut HeaderMap) {
    let lock = ObjectLock::of(&info.manifest);
    if let Some(Retention { mode, until_ms }) = lock.retention {
        headers.insert(MODE, HeaderValue::from_static(word(mode)));
        set(headers, UNTIL, rfc3339(until_ms));
    }
    if lock.legal_hold {
        headers.insert(HOLD, HeaderValue::from_static(ObjectLockLegalHoldStatus::ON));
    }
}

fn mode_of(word: &str) -> Option<RetentionMode> {
    match word {
        ObjectLockRetentionMode::GOVERNANCE => Some(RetentionMode::Governance),
        ObjectLockRetentionMode::COMPLIANCE => Some(RetentionMode::Compliance),
        _ => None,
    }
}

fn word(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => ObjectLockRetentionMode::GOVERNANCE,
        RetentionMode::Compliance => ObjectLockRetentionMode::COMPLIANCE,
    }
}

/// Whether a request is to pass over governance, which the right `admin` allows.
pub(super) fn bypass<T>(req: &S3Request<T>, asked: Option<bool>, bucket: &str) -> S3Result<bool> {
    let asked = asked.unwrap_or(false);
    if asked {
        access::require(req, Right::Admin, bucket)?;
    }
    Ok(asked)
}

/// The object lock of a bucket, which must have one.
async fn required(engine: &Engine, bucket: &str) -> S3Result<BucketLock> {
    let lock = of_bucket(engine, bucket).await?;
    lock.ok_or_else(|| s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"))
}

/// The object lock of a bucket.
pub(super) async fn of_bucket(engine: &Engine, bucket: &str) -> S3Result<Option<BucketLock>> {
    let bucket = engine.bucket(bucket).await.map_err(errors::of)?;
    BucketLock::of(&bucket.settings).map_err(errors::of)
}

pub(super) async fn get_of_bucket(
    engine: &Engine,
    req: S3Request<GetObjectLockConfigurationInput>,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    let Some(lock) = of_bucket(engine, &req.input.bucket).await? else {
        return Err(s3_error!(
            ObjectLockConfigurationNotFoundError,
            "Object Lock configuration does not exist for this bucket"
        ));
    };
    let rule = lock.default.map(|default| {
        let number = |count: u32| i32::try_from(count).ok();
        let (days, years) = match default.period {
            Period::Days(days) => (number(days), None),
            Period::Years(years) => (None, number(years)),
        };
        let mode = Some(ObjectLockRetentionMode::from_static(word(default.mode)));
        ObjectLockRule { default_retention: Some(DefaultRetentionXml { days, mode, years }) }
    });
    let enabled = Some(ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED));
    let configuration = ObjectLockConfiguration { object_lock_enabled: enabled, rule };
    Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(configuration) }))
}

pub(super) async fn put_of_bucket(
    engine: &Engine,
    req: S3Request<PutObjectLockConfigurationInput>,
) -> S3Result<S3Response<PutObjectLockConfigurationOutput>> {
    let bucket = &req.input.bucket;
    let configuration = req.input.object_lock_configuration.unwrap_or_default();
    if configuration.object_lock_enabled.as_ref().map(ObjectLockEnabled::as_str) != Some(ObjectLockEnabled::ENABLED) {
        return Err(s3_error!(MalformedXML, "ObjectLockEnabled is Enabled"));
    }
    let lock = match configuration.rule {
        None => BucketLock::default(),
        Some(rule) => BucketLock { default: Some(default_of(rule)?) },
    };
    let now = engine.bucket(bucket).await.map_err(errors::of)?;
    if now.settings.versions != Versions::KeepAll {
        return Err(s3_error!(
            InvalidBucketState,
            "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration"
        ));
    }
    let change = |settings: &mut BucketSettings| {
        lock.set(settings);
        Ok(())
    };
    engine.update_bucket(bucket, change).await.map_err(errors::of)?;
    Ok(S3Response::new(PutObjectLockConfigurationOutput::default()))
}

fn default_of(rule: ObjectLockRule) -> S3Result<DefaultRetention> {
    let malformed = || s3_error!(MalformedXML, "a default retention has a mode, and either Days or Years");
    let default = rule.default_retention.ok_or_else(malformed)?;
    let mode = default.mode.as_ref().and_then(|mode| mode_of(mode.as_str())).ok_or_else(malformed)?;
    let count = |count: i32| match u32::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(errors::custom("InvalidRetentionPeriod", "Default retention period must be a positive integer value")),
    };
    let period = match (default.days, default.years) {
        (Some(days), None) => Period::Days(count(days)?),
        (None, Some(years)) => Period::Years(count(years)?),
        _ => return Err(malformed()),
    };
    Ok(DefaultRetention { mode, period })
}

pub(super) async fn get_retention(
    engine: &Engine,
    req: S3Request<GetObjectRetentionInput>,
) -> S3Result<S3Response<GetObjectRetentionOutput>> {
    let input = req.input;
    let lock = of_version(engine, &input.bucket, &input.key, input.version_id.as_deref()).await?.1;
    let Some(Retention { mode, until_ms }) = lock.retention else {
        return Err(s3_error!(
            NoSuchObjectLockConfiguration,
            "The specified object does not have a ObjectLock configuration"
        ));
    };
    let retention = ObjectLockRetention {
        mode: Some(ObjectLockRetentionMode::from_static(word(mode))),
        retain_until_date: Some(facts::time(until_ms)),
    };
    Ok(S3Response::new(GetObjectRetentionOutput { retention: Some(retention) }))
}

pub(super) async fn put_retention(
    engine: &Engine,
    req: S3Request<PutObjectRetentionInput>,
) -> S3Result<S3Response<PutObjectRetentionOutput>> {
    let bypass = bypass(&req, req.input.bypass_governance_retention, &req.input.bucket)?;
    let input = req.input;
    let wanted = input.retention.unwrap_or_default();
    let mode = wanted.mode.as_ref().map(|mode| mode_of(mode.as_str()));
    let retention = match (mode, wanted.retain_until_date) {
        // Without anything in it, it takes the retention away.
        (None, None) => None,
        (Some(Some(mode)), Some(until)) => Some(Retention { mode, until_ms: facts::ms(&until) }),
        _ => return Err(s3_error!(MalformedXML, "a retention has a Mode and a RetainUntilDate")),
    };
    let (found, _) = of_version(engine, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let version = Some(found.version());
    let done = engine.set_retention(&input.bucket, &input.key, version, retention, bypass).await;
    done.map_err(errors::of)?;
    Ok(S3Response::new(PutObjectRetentionOutput::default()))
}

pub(super) async fn get_legal_hold(
    engine: &Engine,
    req: S3Request<GetObjectLegalHoldInput>,
) -> S3Result<S3Response<GetObjectLegalHoldOutput>> {
    let input = req.input;
    let lock = of_version(engine, &input.bucket, &input.key, input.version_id.as_deref()).await?.1;
    let status = if lock.legal_hold { ObjectLockLegalHoldStatus::ON } else { ObjectLockLegalHoldStatus::OFF };
    let status = Some(ObjectLockLegalHoldStatus::from_static(status));
    Ok(S3Response::new(GetObjectLegalHoldOutput { legal_hold: Some(ObjectLockLegalHold { status }) }))
}

pub(super) async fn put_legal_hold(
    engine: &Engine,
    req: S3Request<PutObjectLegalHoldInput>,
) -> S3Result<S3Response<PutObjectLegalHoldOutput>> {
    let status = req.input.legal_hold.as_ref().and_then(|hold| hold.status.as_ref());
    let hold = match status.map(ObjectLockLegalHoldStatus::as_str) {
        Some(ObjectLockLegalHoldStatus::ON) => true,
        Some(ObjectLockLegalHoldStatus::OFF) => false,
        _ => return Err(s3_error!(MalformedXML, "the status of a legal hold is ON or OFF")),
    };
    if !hold {
        // Whoever may write and delete could else delete what is held.
        access::require(&req, Right::Admin, &req.input.bucket)?;
    }
    let input = req.input;
    let (found, _) = of_version(engine, &input.bucket, &input.key, input.version_id.as_deref()).await?;
    let done = engine.set_legal_hold(&input.bucket, &input.key, Some(found.version()), hold).await;
    done.map_err(errors::of)?;
    Ok(S3Response::new(PutObjectLegalHoldOutput::default()))
}

/// A version in a bucket with object lock, and its lock.
async fn of_version(
    engine: &Engine,
    bucket: &str,
    key: &str,
    version: Option<&str>,
) -> S3Result<(ObjectInfo, ObjectLock)> {
    required(engine, bucket).await?;
    let info = versions::find(engine, bucket, key, Asked::parse(version)?).await?;
    let lock = ObjectLock::of(&info.manifest);
    Ok((info, lock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_in_headers_is_whole_or_refused() {
        let asked = |pairs: &[(HeaderName, &str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
            of_headers(&headers).map_err(|error| error.code().as_str().to_owned())
        };
        let until = "2030-01-01T00:00:00Z";
        let retention = Retention { mode: RetentionMode::Compliance, until_ms: 1_893_456_000_000 };
        let lock = ObjectLock { retention: Some(retention), legal_hold: true };
        assert_eq!(asked(&[(MODE, "COMPLIANCE"), (UNTIL, until), (HOLD, "ON")]), Ok(lock));
        assert_eq!(asked(&[(HOLD, "OFF")]), Ok(ObjectLock::default()));
        for bad in [
            &[(MODE, "COMPLIANCE")][..],
            &[(UNTIL, until)],
            &[(MODE, "compliance"), (UNTIL, until)],
            &[(MODE, "GOVERNANCE"), (UNTIL, "tomorrow")],
            &[(HOLD, "on")],
        ] {
            assert_eq!(asked(bad), Err("InvalidArgument".into()), "{bad:?}");
        }
    }
}
