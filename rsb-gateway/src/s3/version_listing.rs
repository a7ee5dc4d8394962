//! ListObjectVersions.

use rsb_core::catalog::{ListAfter, ListQuery};
use rsb_core::{Engine, ListedObject};
use s3s::dto::{
    DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion, ObjectVersionStorageClass,
    Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::listing::{Names, behind, max_keys, page};
use super::versions::{self, Asked, NULL};
use super::{buckets, facts};

pub(super) async fn serve(
    engine: &Engine,
    req: S3Request<ListObjectVersionsInput>,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let input = req.input;
    let (names, max_keys) = (Names::of(input.encoding_type.as_ref())?, max_keys(input.max_keys)?);
    let prefix = input.prefix.clone().unwrap_or_default();
    let delimiter = input.delimiter.clone().filter(|delimiter| !delimiter.is_empty());
    let query = ListQuery {
        bucket: input.bucket.clone(),
        after: after(engine, &input, &prefix, delimiter.as_deref()).await?,
        prefix,
        delimiter: delimiter.clone(),
        limit: usize::try_from(max_keys).unwrap_or_default(),
        versions: true,
    };
    let listing = page(engine, &query).await?;
    let (next_key_marker, next_version_id_marker) = match &listing.next {
        None => (None, None),
        Some(ListAfter::Key(name) | ListAfter::Prefix(name)) => (Some(names.show(name)), None),
        Some(ListAfter::Version(key, id)) => {
            // The last version of the page is the one the next goes on from, so its name is known.
            let last = listing.objects.last().filter(|last| last.info.version() == *id);
            let name = last.map_or_else(|| id.to_string(), |last| versions::listed(&last.info));
            (Some(names.show(key)), Some(name))
        }
    };
    let owner = buckets::owner(engine);
    let (markers, objects): (Vec<ListedObject>, Vec<ListedObject>) =
        listing.objects.into_iter().partition(|listed| listed.info.manifest.delete_marker);
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: Some(names.show(&query.prefix)),
        key_marker: Some(names.show(input.key_marker.as_deref().unwrap_or_default())),
        version_id_marker: Some(input.version_id_marker.unwrap_or_default()),
        max_keys: Some(max_keys),
        is_truncated: Some(listing.next.is_some()),
        next_key_marker,
        next_version_id_marker,
        delimiter: delimiter.map(|delimiter| names.show(&delimiter)),
        encoding_type: input.encoding_type,
        versions: Some(objects.iter().map(|listed| version(listed, names, &owner)).collect()),
        delete_markers: Some(markers.iter().map(|listed| marker(listed, names, &owner)).collect()),
        common_prefixes: names.prefixes(listing.prefixes),
        request_charged: None,
    }))
}

/// Where the page begins. A version that is no longer there is a place in the order all the same, by its id.
async fn after(
    engine: &Engine,
    input: &ListObjectVersionsInput,
    prefix: &str,
    delimiter: Option<&str>,
) -> S3Result<Option<ListAfter>> {
    let key = input.key_marker.as_deref().filter(|key| !key.is_empty());
    let version = input.version_id_marker.as_deref().filter(|version| !version.is_empty());
    let (key, version) = match (key, version) {
        (Some(key), Some(version)) => (key, version),
        (None, Some(_)) => {
            return Err(s3_error!(InvalidArgument, "A version-id marker cannot be specified without a key marker."));
        }
        (key, None) => return Ok(behind(key, prefix, delimiter)),
    };
    match Asked::parse(Some(version))?.resolve(engine, &input.bucket, key).await? {
        Some(Some(id)) => Ok(Some(ListAfter::Version(key.to_owned(), id))),
        // Without its `null` version it is not known where in the key the page before ended; nothing may be passed over.
        _ => Err(s3_error!(
            InvalidArgument,
            "the version {NULL:?} of {key:?} that the listing was to go on from is gone"
        )),
    }
}

fn version(listed: &ListedObject, names: Names, owner: &Owner) -> ObjectVersion {
    let info = &listed.info;
    ObjectVersion {
        key: Some(names.show(&info.manifest.key)),
        version_id: Some(versions::listed(info)),
        is_latest: Some(listed.is_latest),
        e_tag: Some(facts::etag(info)),
        size: i64::try_from(info.size()).ok(),
        last_modified: Some(facts::modified(info)),
        owner: Some(owner.clone()),
        storage_class: Some(ObjectVersionStorageClass::from(facts::class(info).to_owned())),
        ..ObjectVersion::default()
    }
}

fn marker(listed: &ListedObject, names: Names, owner: &Owner) -> DeleteMarkerEntry {
    let info = &listed.info;
    DeleteMarkerEntry {
        key: Some(names.show(&info.manifest.key)),
        version_id: Some(versions::listed(info)),
        is_latest: Some(listed.is_latest),
        last_modified: Some(facts::modified(info)),
        owner: Some(owner.clone()),
    }
}
