//! CopyObject.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use rsb_core::catalog::Precondition;
use rsb_core::{CopyRequest, Described, Engine, ObjectInfo};
use s3s::dto::{CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, ETagCondition, MetadataDirective};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::put::{condition, refused};
use super::sums::with_sums;
use super::versions::{self, Asked};
use super::{access, facts, lock, sums};
use crate::classes::{Classes, ShardCounts};
use crate::config::Right;
use crate::http::conditions::{self, Verdict};

pub(super) async fn serve(engine: &Engine, req: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
    let CopySource::Bucket { bucket, key, version_id } = &req.input.copy_source else {
        return Err(s3_error!(NotImplemented, "access points are not served here"));
    };
    access::require(&req, Right::Read, bucket)?;
    let precondition = of_target(&req.headers)?;
    let source = versions::find(engine, bucket, key, Asked::parse(version_id.as_deref())?).await?;
    if conditions::of_read(&of_source(&req.headers), &source.etag(), source.modified_ms()) != Verdict::Proceed {
        return Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold"));
    }
    let asked = req.input.checksum_algorithm.as_ref();
    if asked
        .is_some_and(|asked| source.manifest.checksum.as_ref().is_none_or(|sum| sums::name(sum.algorithm) != *asked))
    {
        return Err(s3_error!(NotImplemented, "a copy with another checksum than its source is not served here"));
    }
    let to = (req.input.bucket.clone(), req.input.key.clone());
    let is_itself = **bucket == *to.0 && **key == *to.1 && version_id.is_none();
    let replace = described(&req, &source, is_itself)?;
    let counts = counts(engine, &req, &source, replace.as_ref());
    let source_name = versions::name(engine, &source).await?;
    let request = CopyRequest {
        from: (bucket.to_string(), key.to_string()),
        // The very version that was looked at, whatever is written meanwhile.
        version: Some(source.version()),
        to: to.clone(),
        precondition: precondition.clone(),
        replace,
        data_shards: counts.map(|counts| counts.data_shards),
        parity_shards: counts.map(|counts| counts.parity_shards),
        tags: tags(&req.headers)?,
        lock: lock::of_request(engine, &to.0, &req.headers).await?,
    };
    let info = match engine.copy_object(request).await {
        Ok(info) => info,
        Err(error) => return Err(refused(engine, &to.0, &to.1, &precondition, error).await?),
    };
    let copied = with_sums!(
        CopyObjectResult {
            e_tag: Some(facts::etag(&info)),
            last_modified: Some(facts::modified(&info)),
            ..CopyObjectResult::default()
        },
        sums::kept(&info.manifest).unwrap_or_default()
    );
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result: Some(copied),
        copy_source_version_id: source_name,
        version_id: versions::name(engine, &info).await?,
        ..CopyObjectOutput::default()
    }))
}

/// The copy's own tags; `None` for those of the source.
fn tags(headers: &HeaderMap) -> S3Result<Option<BTreeMap<String, String>>> {
    match headers.get("x-amz-tagging-directive").map_or(&b"COPY"[..], |value| value.as_bytes()) {
        b"REPLACE" => facts::tags_of(headers).map(Some),
        b"COPY" if !headers.contains_key("x-amz-tagging") => Ok(None),
        b"COPY" => Err(s3_error!(InvalidRequest, "x-amz-tagging wants x-amz-tagging-directive: REPLACE")),
        _ => Err(s3_error!(InvalidArgument, "Unknown tagging directive.")),
    }
}

/// How the copy is coded: as its storage class says where that is another than the source's, else as the source is.
fn counts(
    engine: &Engine,
    req: &S3Request<CopyObjectInput>,
    source: &ObjectInfo,
    copy: Option<&Described>,
) -> Option<ShardCounts> {
    let class = facts::class_in(&copy?.attributes);
    let classes = req.extensions.get::<Arc<Classes>>().filter(|_| class != facts::class(source))?;
    Some(classes.scheme_or_default(class, engine.config()))
}

/// What the copy says of itself; `None` for what the source says. A copy of an object to itself must change something.
fn described(req: &S3Request<CopyObjectInput>, source: &ObjectInfo, is_itself: bool) -> S3Result<Option<Described>> {
    let directive = req.input.metadata_directive.as_ref().map_or(MetadataDirective::COPY, MetadataDirective::as_str);
    match directive {
        MetadataDirective::REPLACE => facts::of_request(&req.headers, req.input.metadata.clone()).map(Some),
        MetadataDirective::COPY => {
            let class = facts::class_of(&req.headers);
            let keeps =
                req.input.storage_class.is_none() || class.as_deref().unwrap_or("STANDARD") == facts::class(source);
            if is_itself && keeps {
                return Err(s3_error!(
                    InvalidRequest,
                    "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes."
                ));
            }
            // The class belongs to the copy and not to what is copied.
            let mut attributes = source.manifest.attributes.clone();
            facts::set_class(&mut attributes, class);
            let replace = Described { attributes, metadata: source.manifest.metadata.clone() };
            Ok((replace.attributes != source.manifest.attributes).then_some(replace))
        }
        _ => Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
    }
}

/// The conditions on the source, as a read would have them.
pub(super) fn of_source(headers: &HeaderMap) -> HeaderMap {
    let names = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
    let of = |name: http::HeaderName| {
        let value = headers.get(format!("x-amz-copy-source-{name}"))?;
        Some((name, value.clone()))
    };
    names.into_iter().filter_map(of).collect()
}

/// The condition on the key that is written. s3s does not read it for copies.
fn of_target(headers: &HeaderMap) -> S3Result<Precondition> {
    let read = |name| -> S3Result<Option<ETagCondition>> {
        let Some(value) = headers.get(&name) else { return Ok(None) };
        let parsed = ETagCondition::parse_http_header(value.as_bytes());
        parsed.map(Some).map_err(|_| s3_error!(InvalidArgument, "{name} is {value:?}, which is no entity tag"))
    };
    condition(read(IF_MATCH)?, read(IF_NONE_MATCH)?)
}
