//! GetObjectAttributes.

use rsb_core::format::parts::{ChecksumAlgorithm, Parts};
use rsb_core::{Engine, ObjectInfo};
use s3s::dto::*;
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::facts;
use super::sums::{self, set_sum};
use super::versions::{self, Asked};

/// Parts of a page, at most and unless asked otherwise.
const PAGE: i32 = 1000;
const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];

pub(super) async fn serve(
    engine: &Engine,
    req: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = req.input;
    let asked = req.headers.get_all("x-amz-object-attributes").iter().filter_map(|value| value.to_str().ok());
    let asked: Vec<&str> = asked.flat_map(|value| value.split(',')).map(str::trim).collect();
    if asked.is_empty() || asked.iter().any(|name| !KNOWN.contains(name)) {
        return Err(s3_error!(InvalidArgument, "Invalid attribute name specified."));
    }
    let has = |name: &str| asked.contains(&name);
    let info = versions::find(engine, &input.bucket, &input.key, Asked::parse(input.version_id.as_deref())?).await?;
    let object_parts = match info.manifest.parts.as_ref().filter(|_| has("ObjectParts")) {
        Some(parts) => Some(page(&info, parts, input.part_number_marker, input.max_parts)?),
        None => None,
    };
    Ok(S3Response::new(GetObjectAttributesOutput {
        e_tag: has("ETag").then(|| facts::etag(&info)),
        checksum: sums::kept(&info.manifest).filter(|_| has("Checksum")),
        object_parts,
        storage_class: has("StorageClass").then(|| StorageClass::from(facts::class(&info).to_owned())),
        object_size: i64::try_from(info.size()).ok().filter(|_| has("ObjectSize")),
        last_modified: Some(facts::modified(&info)),
        version_id: versions::name(engine, &info).await?,
        ..GetObjectAttributesOutput::default()
    }))
}

/// A page of an object's parts. S3 names them only where they have checksums; how many they are it always says.
fn page(
    info: &ObjectInfo,
    parts: &Parts,
    marker: Option<i32>,
    max_parts: Option<i32>,
) -> S3Result<GetObjectAttributesParts> {
    let (marker, max_parts) = (marker.unwrap_or_default(), max_parts.unwrap_or(PAGE));
    if marker < 0 || max_parts < 0 {
        return Err(s3_error!(InvalidArgument, "the marker and the number of parts cannot be negative"));
    }
    let algorithm = info.manifest.checksum.as_ref().map(|checksum| checksum.algorithm);
    let max_parts = max_parts.min(PAGE);
    let mut behind = parts.views().filter(|part| i32::from(part.number) > marker);
    let mut page = Vec::new();
    let mut last = marker;
    for part in behind.by_ref().take(usize::try_from(max_parts).unwrap_or_default()) {
        last = part.number.into();
        let size = i64::try_from(part.range.end - part.range.start).ok();
        let mut out = ObjectPart { part_number: Some(last), size, ..ObjectPart::default() };
        if let Some((algorithm, value)) = algorithm.zip(part.checksum) {
            set_sum!(out, algorithm, sums::text(value));
        }
        page.push(out);
    }
    let is_truncated = behind.next().is_some() && max_parts > 0;
    Ok(GetObjectAttributesParts {
        is_truncated: Some(is_truncated),
        max_parts: Some(max_parts),
        part_number_marker: Some(marker),
        next_part_number_marker: Some(last),
        total_parts_count: i32::try_from(parts.count()).ok(),
        parts: algorithm.is_some().then_some(page),
    })
}
