//! `/v1/b` and `/v1/b/BUCKET`.

use std::collections::BTreeMap;

use http::{Method, StatusCode};
use rsb_core::format::manifest::{BucketRecord, BucketSettings, Versions};
use rsb_core::names::S3_SETTING;
use rsb_core::{Engine, Error, ErrorKind};
use serde::{Deserialize, Serialize};
use warp::reply::Response;

use crate::call::Call;
use crate::config::Right;
use crate::http::dates::rfc3339;
use crate::problem::Problem;
use crate::{http::conditions, names};

/// A bucket as JSON.
#[derive(Serialize)]
struct BucketView {
    name: String,
    created: String,
    versions: Versions,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, String>,
}

impl From<BucketRecord> for BucketView {
    fn from(record: BucketRecord) -> Self {
        let created = rfc3339(record.created_ms);
        Self { name: record.name, created, versions: record.settings.versions, extra: record.settings.extra }
    }
}

/// The settings a PUT brings.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct NewSettings {
    versions: Option<Versions>,
    extra: Option<BTreeMap<String, String>>,
}

impl NewSettings {
    /// Puts them in the place of others. What S3 has set stays, and cannot be set here.
    fn apply(self, settings: &mut BucketSettings) -> Result<(), Error> {
        settings.versions = self.versions.unwrap_or(settings.versions);
        let Some(mut extra) = self.extra else { return Ok(()) };
        for (name, value) in settings.extra.iter().filter(|(name, _)| name.starts_with(S3_SETTING)) {
            extra.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let foreign = |(name, value): &(&String, &String)| {
            name.starts_with(S3_SETTING) && settings.extra.get(*name) != Some(*value)
        };
        if let Some((name, _)) = extra.iter().find(foreign) {
            return Err(Error::invalid(format!("the setting {name:?} is S3's; change it by S3's own requests")));
        }
        settings.extra = extra;
        Ok(())
    }
}

/// The list of buckets: those the caller may read.
pub(crate) async fn list(call: Call) -> Result<Response, Problem> {
    if call.method() != Method::GET {
        return Err(Problem::method(call.method(), "GET"));
    }
    call.query(&[])?;
    let caller = call.caller()?;
    let buckets = call.app.engine().buckets().await?;
    let visible: Vec<BucketView> =
        buckets.into_iter().filter(|b| caller.may(Right::Read, Some(&b.name))).map(BucketView::from).collect();
    Ok(super::json(StatusCode::OK, &serde_json::json!({ "buckets": visible })))
}

/// One bucket.
pub(crate) async fn serve(mut call: Call, raw: String) -> Result<Response, Problem> {
    let name = names::decode_present("bucket's name", &raw)?;
    let method = call.method().clone();
    call.query(&[])?;
    match method {
        Method::GET => {
            let bucket = call.allow(Right::Read, Some(&name))?.bucket(&name).await?;
            Ok(super::json(StatusCode::OK, &BucketView::from(bucket)))
        }
        Method::PUT => put(&mut call, &name).await,
        Method::DELETE => {
            call.allow(Right::Admin, Some(&name))?.delete_bucket(&name).await?;
            Ok(super::no_content())
        }
        other => Err(Problem::method(&other, "GET, PUT, DELETE")),
    }
}

/// Makes the bucket (201), or gives an existing one new settings (200).
async fn put(call: &mut Call, name: &str) -> Result<Response, Problem> {
    call.allow(Right::Admin, Some(name))?;
    let create_only = !conditions::of_write(&call.headers)?.is_none();
    let settings: NewSettings = call.json().await?;
    let engine = call.allow(Right::Admin, Some(name))?;
    let old = existing(engine, name).await?;
    let (status, bucket) = match old {
        Some(_) if create_only => {
            return Err(Problem::precondition(format!("bucket {name:?} exists already")).object(name));
        }
        Some(_) => (StatusCode::OK, engine.update_bucket(name, |now| settings.apply(now)).await?),
        None => {
            let mut wanted = BucketSettings::default();
            settings.apply(&mut wanted)?;
            (StatusCode::CREATED, engine.create_bucket(name, wanted).await?)
        }
    };
    Ok(super::json(status, &BucketView::from(bucket)))
}

async fn existing(engine: &Engine, name: &str) -> Result<Option<BucketRecord>, Problem> {
    match engine.bucket(name).await {
        Ok(bucket) => Ok(Some(bucket)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
