//! Uploads by forms (POST Object): what browsers send from a page that somebody with a key has made. The file streams like
//! any other upload: the fields before it are read and held to the form's signed policy first.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_lc_rs::{constant_time, hmac};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES, LOCATION,
};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use multer::Field;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{Metadata, PutObjectInput, StreamingBlob, Tagging};
use s3s::stream::{ByteStream, RemainingLength};
use s3s::xml::{Deserialize as _, Deserializer};
use s3s::{Body, S3Error, S3ErrorCode, S3Request, S3Result, StdError, s3_error};
use sync_wrapper::SyncStream;

use super::body::Fate;
use super::form_policy::FormPolicy;
use super::place::Place;
use super::signed::{self, Rules};
use super::{errors, facts, put, refused};
use crate::app::App;
use crate::body::Upload;
use crate::config::Right;
use crate::form::{Form, from_multer, text};

/// Bytes of one field but the file, and of all together.
const MAX_FIELD: usize = 32 << 10;
const MAX_FIELDS: usize = 64 << 10;
/// Fields that are headers of the object.
const HEADERS: [HeaderName; 6] =
    [CACHE_CONTROL, CONTENT_TYPE, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, EXPIRES];

/// Marks an upload whose length is known only at its end.
#[derive(Clone, Copy)]
pub(super) struct FromForm;

/// Whether a request is an upload by a form.
pub(super) fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    *method == Method::POST && kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// Serves an upload by a form.
pub(super) async fn serve(
    app: &App,
    place: &Place,
    headers: &HeaderMap,
    body: Upload,
    fate: &Fate,
) -> S3Result<Response<Body>> {
    if place.bucket.is_empty() || !place.key.is_empty() {
        return Err(s3_error!(MethodNotAllowed, "a form is posted to a bucket; the key is one of its fields"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let malformed = |error: rsb_core::Error| fate.of_body(&error, S3ErrorCode::MalformedPOSTRequest);
    let mut form = Form::new(kind, body).map_err(malformed)?;
    let (mut fields, file) = read(&mut form, malformed).await?;
    let filename = file.file_name().unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
    let key = fields.get("key").filter(|key| !key.is_empty()).map(|key| key.replace("${filename}", &filename));
    let Some(key) = key else {
        return Err(s3_error!(
            InvalidArgument,
            "Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields."
        ));
    };
    fields.insert("key".into(), key.clone());
    let policy = authorize(app, &place.bucket, &fields)?;
    let (headers, metadata) = described(&fields)?;
    let input = PutObjectInput {
        bucket: place.bucket.clone(),
        key: key.clone(),
        body: Some(StreamingBlob::new(File::new(file, policy.length(), fate.clone()))),
        metadata: Some(metadata),
        ..PutObjectInput::default()
    };
    let mut extensions = Extensions::new();
    extensions.insert(FromForm);
    facts::check_class(&headers, &app.classes)?;
    extensions.insert(app.classes.clone());
    extensions.insert(fate.clone());
    let request = S3Request {
        input,
        method: Method::POST,
        uri: Uri::default(),
        headers,
        extensions,
        credentials: None,
        region: None,
        service: None,
        trailing_headers: None,
    };
    let output = put::serve(app.engine(), request).await?.output;
    let etag = output.e_tag.map(|etag| etag.into_value()).unwrap_or_default();
    let mut response = reply(&fields, &place.bucket, &key, &etag)?;
    if let Some(version) = output.version_id.and_then(|version| HeaderValue::try_from(version).ok()) {
        response.headers_mut().insert("x-amz-version-id", version);
    }
    Ok(response)
}

/// The fields before the file, names in lower case, and the file.
async fn read(
    form: &mut Form,
    malformed: impl Fn(rsb_core::Error) -> S3Error,
) -> S3Result<(BTreeMap<String, String>, Field<'static>)> {
    let (mut fields, mut bytes) = (BTreeMap::new(), 0);
    while let Some(field) = form.next().await.map_err(&malformed)? {
        let name = field.name().unwrap_or_default().to_ascii_lowercase();
        if name == "file" {
            return Ok((fields, field));
        }
        let value = text(field, MAX_FIELD).await.map_err(&malformed)?;
        bytes += name.len() + value.len();
        if bytes > MAX_FIELDS {
            return Err(s3_error!(
                MaxPostPreDataLengthExceededError,
                "Your POST request fields preceding the upload file were too large."
            ));
        }
        if fields.insert(name.clone(), value).is_some() {
            return Err(s3_error!(InvalidArgument, "the form has the field {name:?} twice"));
        }
    }
    Err(s3_error!(InvalidArgument, "POST requires exactly one file upload per request."))
}

/// Checks who made the form, and that its fields are what its policy says.
fn authorize(app: &App, bucket: &str, fields: &BTreeMap<String, String>) -> S3Result<FormPolicy> {
    let field = |name: &str| fields.get(name).map(String::as_str);
    if field("signature").is_some() || field("awsaccesskeyid").is_some() {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    }
    let (Some(policy), Some(signature)) = (field("policy"), field("x-amz-signature")) else {
        return Err(s3_error!(AccessDenied, "the form must have a policy that is signed with a key of this gateway"));
    };
    let missing = |name: &str| s3_error!(InvalidArgument, "Bucket POST must contain a field named '{name}'.");
    let algorithm = field("x-amz-algorithm").ok_or_else(|| missing("X-Amz-Algorithm"))?;
    let credential = field("x-amz-credential").ok_or_else(|| missing("X-Amz-Credential"))?;
    let date = field("x-amz-date").ok_or_else(|| missing("X-Amz-Date"))?;
    let rules = Rules { region: app.region.as_deref(), now_ms: app.env.now_ms() };
    let scope = signed::check_form(algorithm, credential, date, rules)?;
    if field("x-amz-security-token").is_some() {
        return Err(errors::custom("InvalidToken", "the keys of this gateway have no session tokens"));
    }
    let Some((caller, secret)) = app.guard.key(scope.id) else {
        return Err(s3_error!(InvalidAccessKeyId, "there is no key with the id of this form"));
    };
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let day = sign(format!("AWS4{}", secret.expose()).as_bytes(), scope.day);
    let key = [scope.region, "s3", "aws4_request"].iter().fold(day, |key, part| sign(key.as_ref(), part));
    let expected = hex::encode(sign(key.as_ref(), policy));
    if constant_time::verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_err() {
        return Err(s3_error!(SignatureDoesNotMatch));
    }
    let parsed = FormPolicy::parse(policy)?;
    for (name, value) in [("x-amz-algorithm", algorithm), ("x-amz-credential", credential), ("x-amz-date", date)] {
        if !parsed.demands(name, value) {
            return Err(s3_error!(
                AccessDenied,
                "Invalid according to Policy: it has no condition that {name} is {value:?}"
            ));
        }
    }
    parsed.check(fields, bucket, app.env.now_ms())?;
    if !caller.may(Right::Write, Some(bucket)) {
        return Err(s3_error!(AccessDenied, "this key does not have the right \"write\" on {bucket:?}"));
    }
    Ok(parsed)
}

/// What the fields say of the object, as the headers of a PUT would.
fn described(fields: &BTreeMap<String, String>) -> S3Result<(HeaderMap, Metadata)> {
    let (mut headers, mut metadata) = (HeaderMap::new(), Metadata::new());
    for (name, value) in fields {
        if let Some(name) = name.strip_prefix("x-amz-meta-") {
            metadata.insert(name.to_owned(), value.clone());
            continue;
        }
        let of_signature = signed::is_of_signature(name);
        let is_header = HEADERS.iter().any(|header| header.as_str() == name) || name == "content-md5";
        if name == "tagging" {
            let tags = HeaderValue::try_from(tagging(value)?).map_err(|error| s3_error!(error, InvalidArgument))?;
            headers.insert("x-amz-tagging", tags);
            continue;
        }
        let header = match name.as_str() {
            "acl" => "x-amz-acl".to_owned(),
            name if is_header || (name.starts_with("x-amz-") && !of_signature) => name.to_owned(),
            _ => continue,
        };
        let wrong = || s3_error!(InvalidArgument, "the form's field {name:?} cannot be read as a header");
        let header = HeaderName::try_from(header).map_err(|_| wrong())?;
        headers.insert(header, HeaderValue::try_from(value.as_str()).map_err(|_| wrong())?);
    }
    refused::after_signatures(&headers, &Uri::default())?;
    Ok((headers, metadata))
}

/// The tags of a form, a document there, as the header of a PUT has them.
fn tagging(document: &str) -> S3Result<String> {
    let mut reader = Deserializer::new(document.as_bytes());
    let read = Tagging::deserialize(&mut reader).and_then(|tags| reader.expect_eof().map(|()| tags));
    let tags =
        read.map_err(|error| s3_error!(error, MalformedXML, "the form's field \"tagging\" is no XML of tags"))?;
    let encode = |text: Option<String>| utf8_percent_encode(&text.unwrap_or_default(), NON_ALPHANUMERIC).to_string();
    let pairs = tags.tag_set.into_iter().map(|tag| format!("{}={}", encode(tag.key), encode(tag.value)));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

/// The answer, in the form that the form asks for.
fn reply(fields: &BTreeMap<String, String>, bucket: &str, key: &str, etag: &str) -> S3Result<Response<Body>> {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let location = format!("/{bucket}/{}", encode(key));
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let header = |text: String| HeaderValue::try_from(text).map_err(|error| s3_error!(error, InvalidArgument));
    headers.insert(http::header::ETAG, header(format!("\"{etag}\""))?);
    let redirect = fields.get("success_action_redirect").or_else(|| fields.get("redirect"));
    // One that is no address is as if it were not there, as S3 has it.
    let redirect = redirect.filter(|to| to.parse::<Uri>().is_ok_and(|to| to.scheme().is_some()));
    if let Some(to) = redirect {
        let (to, fragment) = to.split_once('#').map_or((to.as_str(), String::new()), |(to, f)| (to, format!("#{f}")));
        let mark = if to.contains('?') { '&' } else { '?' };
        let (key, etag) = (encode(key), encode(&format!("\"{etag}\"")));
        headers.insert(LOCATION, header(format!("{to}{mark}bucket={bucket}&key={key}&etag={etag}{fragment}"))?);
        *response.status_mut() = StatusCode::SEE_OTHER;
        return Ok(response);
    }
    headers.insert(LOCATION, header(location.clone())?);
    *response.status_mut() = match fields.get("success_action_status").map(String::as_str) {
        Some("200") => StatusCode::OK,
        Some("201") => {
            let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
            *response.body_mut() = Body::from(format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{location}</Location><Bucket>{bucket}</Bucket><Key>{}</Key><ETag>&quot;{etag}&quot;</ETag></PostResponse>",
                escape(key)
            ));
            StatusCode::CREATED
        }
        _ => StatusCode::NO_CONTENT,
    };
    Ok(response)
}

/// The file of a form, held to the length that the policy allows.
struct File {
    field: SyncStream<Pin<Box<dyn Stream<Item = multer::Result<Bytes>> + Send>>>,
    bytes: u64,
    allowed: (u64, u64),
    fate: Fate,
}

impl File {
    fn new(field: Field<'static>, allowed: (u64, u64), fate: Fate) -> Self {
        Self { field: SyncStream::new(field.boxed()), bytes: 0, allowed, fate }
    }

    fn refuse(&self, code: S3ErrorCode, message: &'static str) -> Poll<Option<Result<Bytes, StdError>>> {
        self.fate.note(code, message);
        Poll::Ready(Some(Err(message.into())))
    }
}

impl Stream for File {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let (least, most) = self.allowed;
        match ready!(self.field.poll_next_unpin(cx)) {
            Some(Ok(chunk)) => {
                self.bytes += chunk.len() as u64;
                if self.bytes > most {
                    return self
                        .refuse(S3ErrorCode::EntityTooLarge, "Your proposed upload exceeds the maximum allowed size");
                }
                Poll::Ready(Some(Ok(chunk)))
            }
            Some(Err(error)) => {
                let error = from_multer(error);
                let said = self.fate.of_body(&error, S3ErrorCode::MalformedPOSTRequest);
                self.fate.note(said.code().clone(), said.message().unwrap_or_default());
                Poll::Ready(Some(Err(Box::new(error))))
            }
            None if self.bytes < least => self
                .refuse(S3ErrorCode::EntityTooSmall, "Your proposed upload is smaller than the minimum allowed size"),
            None => Poll::Ready(None),
        }
    }
}

impl ByteStream for File {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::unknown()
    }
}
