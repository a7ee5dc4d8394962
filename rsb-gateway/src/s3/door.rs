//! One request of S3: brought into s3s's form, answered, and its answer put right.

use std::sync::Arc;

use futures::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{Body, HttpError, S3Error};

use super::access::Access;
use super::body::{Fate, Received};
use super::operations::Operations;
use super::{checksums, refused};
use crate::app::App;
use crate::body::Upload;

/// The most bytes of an XML document that are taken: 1000 keys of 1024 bytes, each byte perhaps escaped, fit.
const MAX_XML_BYTES: usize = 8 << 20;

/// Answers requests of S3. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    service: S3Service,
    app: Arc<App>,
}

impl Door {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        let mut builder = S3ServiceBuilder::new(Operations::new(app.clone()));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Access::new(app.clone()));
        builder.set_access(Access::new(app.clone()));
        builder.set_validation(Names);
        Self { service: builder.build(), app }
    }

    /// The reply to a request.
    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
        request_id: Arc<str>,
    ) -> Result<Response<Body>, HttpError> {
        let fate = Fate::default();
        let mut response = match self.prepare(request, &fate) {
            Ok(request) => self.service.call(request).await?,
            Err(error) => written(error)?,
        };
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR
            && let Some(error) = fate.unread_body()
        {
            // s3s could not take the body in, for a reason that is the sender's.
            response = written(error)?;
        }
        if response.status() == StatusCode::NOT_MODIFIED {
            *response.body_mut() = Body::empty();
            response.headers_mut().remove(CONTENT_TYPE);
            response.headers_mut().remove(CONTENT_LENGTH);
        }
        if response.status() == StatusCode::OK && response.headers().contains_key(CONTENT_RANGE) {
            // s3s says so for GET only.
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        Ok(response)
    }

    /// The request in s3s's form, its body watched for a sender that stops and held to the digests sent before it.
    fn prepare(&self, request: Request<Incoming>, fate: &Fate) -> Result<Request<Body>, S3Error> {
        refused::before_signatures(&request)?;
        let (mut parts, incoming) = request.into_parts();
        fate.set_payload(&parts.headers);
        parts.extensions.insert(fate.clone());
        let empty = incoming.is_end_stream();
        let upload = Upload::new(&parts.headers, Body::from(incoming).boxed(), self.app.limits);
        let mut body = if empty { Body::empty() } else { Received::new(upload, fate.clone()).into_body() };
        if !fate.is_chunked() {
            // Of a chunked body the digests are those of what is in the chunks: `put` sees to them.
            let announced = match completes_upload(&parts) {
                // Its checksums are the object's, and not those of the list of parts.
                true => checksums::Announced::of_document(&parts.headers)?,
                false => checksums::Announced::of(&parts.headers, None)?,
            };
            parts.extensions.insert(announced.verified());
            body = announced.hold(body, fate.clone());
        }
        Ok(Request::from_parts(parts, body))
    }
}

/// Whether a request is a CompleteMultipartUpload.
fn completes_upload(parts: &http::request::Parts) -> bool {
    let mut names = parts.uri.query().unwrap_or_default().split('&').map(|part| part.split('=').next());
    parts.method == http::Method::POST && names.any(|name| name == Some("uploadId"))
}

/// An error as a reply.
fn written(error: S3Error) -> Result<Response<Body>, HttpError> {
    error.to_http_response().map_err(|error| HttpError::new(Box::new(error)))
}

/// The engine's rules for names of buckets.
struct Names;

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        rsb_core::names::check_bucket(name).is_ok()
    }
}
