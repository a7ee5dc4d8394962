//! CompleteMultipartUpload: S3's rules on the list of parts; the engine then points at them.

use rsb_core::catalog::{Completed, PartRow, UploadRow};
use rsb_core::format::manifest::{Digest, Manifest};
use rsb_core::format::parts::ObjectChecksum;
use rsb_core::{Engine, Finish, ObjectInfo};
use s3s::dto::{ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart, ETag};
use s3s::{S3Request, S3Response, S3Result, s3_error};
use sha2::Digest as _;

use super::put::{condition, refused};
use super::sums::{self, set_sum, sums_of};
use super::{errors, facts, uploads, versions};
use rsb_core::format::parts::ChecksumAlgorithm;

/// Fewer bytes only the last part may have.
const MIN_PART_LEN: u64 = 5 << 20;

pub(super) async fn serve(
    engine: &Engine,
    req: S3Request<CompleteMultipartUploadInput>,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let input = req.input;
    let id = uploads::id(&input.upload_id)?;
    let precondition = condition(input.if_match.clone(), input.if_none_match.clone())?;
    let list = input.multipart_upload.as_ref().and_then(|list| list.parts.as_deref()).unwrap_or_default();
    let numbers = numbers(list)?;
    let digest = digest(list);
    let completing = engine.completing(&input.bucket, &input.key, id).await.map_err(errors::of)?;
    if let Some(done) = &completing.upload().completed {
        let info = again(done, digest)?;
        return output(engine, &input, &info).await;
    }
    let parts = chosen(list, &numbers, completing.parts())?;
    let size: u64 = parts.iter().map(|part| part.size).sum();
    if input.mpu_object_size.is_some_and(|said| u64::try_from(said) != Ok(size)) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header value {} does not match what was computed: {size}",
            input.mpu_object_size.unwrap_or_default()
        ));
    }
    let checksum = checksum(&input, completing.upload(), &parts)?;
    let finish = Finish { numbers, list: digest, precondition: precondition.clone(), checksum };
    match completing.finish(finish).await {
        Ok(info) => output(engine, &input, &info).await,
        Err(error) => Err(refused(engine, &input.bucket, &input.key, &precondition, error).await?),
    }
}

/// The parts' numbers, which must rise.
fn numbers(list: &[CompletedPart]) -> S3Result<Vec<u16>> {
    if list.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    let mut out: Vec<u16> = Vec::with_capacity(list.len());
    for part in list {
        let Some(number) = part.part_number else {
            return Err(s3_error!(MalformedXML, "a part of the list has no number"));
        };
        let number = u16::try_from(number).map_err(|_| invalid_part())?;
        if out.last().is_some_and(|last| *last >= number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part number."
            ));
        }
        out.push(number);
    }
    Ok(out)
}

fn invalid_part() -> s3s::S3Error {
    s3_error!(
        InvalidPart,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
    )
}

/// Of the list, what makes it the same as another.
fn digest(list: &[CompletedPart]) -> Digest {
    let mut hash = sha2::Sha256::new();
    for part in list {
        hash.update(part.part_number.unwrap_or_default().to_be_bytes());
        hash.update(part.e_tag.as_ref().map_or("", ETag::value));
        hash.update([0]);
    }
    Digest(hash.finalize().into())
}

/// The parts of the list, each there with the tag and the checksum that the list says.
fn chosen<'a>(list: &[CompletedPart], numbers: &[u16], parts: &'a [PartRow]) -> S3Result<Vec<&'a PartRow>> {
    let mut out = Vec::with_capacity(list.len());
    for (asked, number) in list.iter().zip(numbers) {
        let at = parts.binary_search_by_key(number, |part| part.number).map_err(|_| invalid_part())?;
        let part = &parts[at];
        // Without a tag there is nothing to say which writing of the part is meant.
        let Some(tag) = &asked.e_tag else {
            return Err(s3_error!(MalformedXML, "part {number} of the list has no ETag"));
        };
        if tag.value() != part.etag.to_string() {
            return Err(invalid_part());
        }
        for (algorithm, text) in sums_of!(asked) {
            let has = part.checksum.as_ref().filter(|sum| sum.algorithm == algorithm);
            if has.is_none_or(|sum| sums::text(&sum.value) != text) {
                return Err(invalid_part());
            }
        }
        out.push(part);
    }
    if let Some(small) = out.iter().rev().skip(1).find(|part| part.size < MIN_PART_LEN) {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size: part {} has {} bytes, and only the last may have fewer than {MIN_PART_LEN}",
            small.number,
            small.size
        ));
    }
    Ok(out)
}

/// The object's checksum, where the upload is to have one. It must be what the request says, if it says anything.
fn checksum(
    input: &CompleteMultipartUploadInput,
    upload: &UploadRow,
    parts: &[&PartRow],
) -> S3Result<Option<ObjectChecksum>> {
    let Some(wish) = upload.checksum else { return Ok(None) };
    let kind = sums::kind(wish.composite);
    if let Some(said) = input.checksum_type.as_ref().map(ChecksumType::as_str).filter(|said| *said != kind.as_str()) {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using the {} checksum mode. The complete request must use the same checksum mode, and not {said}.",
            kind.as_str()
        ));
    }
    let with_sums: Option<Vec<(&[u8], u64)>> =
        parts.iter().map(|part| Some((part.checksum.as_ref()?.value.as_slice(), part.size))).collect();
    let made = with_sums.and_then(|parts| sums::of_parts(wish.algorithm, wish.composite, &parts));
    let made = made.ok_or_else(|| s3_error!(InvalidRequest, "a part of the list has no checksum"))?;
    for (algorithm, said) in sums_of!(input) {
        if algorithm != wish.algorithm {
            return Err(s3_error!(
                InvalidRequest,
                "The upload was created using a {} checksum, and the complete request names another.",
                sums::name(wish.algorithm).as_str()
            ));
        }
        let is_it = said == sums::text_of(&made, parts.len()) || wish.composite && said == sums::text(&made.value);
        if !is_it {
            let name = sums::header(algorithm);
            return Err(s3_error!(BadDigest, "The {name} you specified did not match the calculated checksum."));
        }
    }
    Ok(Some(made))
}

/// The answer of an upload that is completed already, to who completes it in the same way.
fn again(done: &Completed, list: Digest) -> S3Result<ObjectInfo> {
    if done.list != list {
        return Err(s3_error!(NoSuchUpload, "the upload was completed already, with another list of parts"));
    }
    Ok(ObjectInfo { manifest: Manifest::clone(&done.manifest).into(), short: 0 })
}

async fn output(
    engine: &Engine,
    input: &CompleteMultipartUploadInput,
    info: &ObjectInfo,
) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
    let mut out = CompleteMultipartUploadOutput {
        bucket: Some(input.bucket.clone()),
        key: Some(input.key.clone()),
        location: Some(format!("/{}/{}", input.bucket, input.key)),
        e_tag: Some(facts::etag(info)),
        version_id: versions::name(engine, info).await?,
        ..CompleteMultipartUploadOutput::default()
    };
    if let Some(checksum) = &info.manifest.checksum {
        let parts = input.multipart_upload.as_ref().and_then(|list| list.parts.as_ref()).map_or(0, Vec::len);
        set_sum!(out, checksum.algorithm, sums::text_of(checksum, parts));
        out.checksum_type = Some(sums::kind(checksum.composite));
    }
    Ok(S3Response::new(out))
}
