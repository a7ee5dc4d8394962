//! One request of S3: brought into s3s's form, answered, and its answer put right.

use std::sync::Arc;

use futures::StreamExt;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, ORIGIN};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::validation::NameValidation;
use s3s::{Body, HttpError, S3Error, s3_error};

use super::access::{Access, Trial};
use super::body::{Fate, Received};
use super::buckets::{REGION, Region};
use super::operations::Operations;
use super::place::{Hosts, Place};
use super::signed_v2::Proven;
use super::{checksums, cors, form, lenient, sentences, signed, signed_v2};
use crate::app::App;
use crate::body::Upload;

/// The most bytes of an XML document that are taken: 1000 keys of 1024 bytes, each byte perhaps escaped, fit.
const MAX_XML_BYTES: usize = 8 << 20;

/// Answers requests of S3. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door {
    service: S3Service,
    hosts: Hosts,
    app: Arc<App>,
}

impl Door {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let mut config = S3Config::default();
        config.xml_max_body_size = MAX_XML_BYTES;
        let hosts = Hosts::new(&app.s3_domains);
        let mut builder = S3ServiceBuilder::new(Operations::new(app.clone()));
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(Access::new(app.clone()));
        builder.set_access(Access::new(app.clone()));
        builder.set_host(hosts.clone());
        builder.set_validation(Names);
        Self { service: builder.build(), hosts, app }
    }

    /// The reply to a request.
    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
        request_id: Arc<str>,
    ) -> Result<Response<Body>, HttpError> {
        let fate = Fate::default();
        let place = self.hosts.place(&request);
        let (method, origin) = (request.method().clone(), request.headers().get(ORIGIN).cloned());
        let (waits_in_vain, asks_first) = (waits_in_vain(&request), request.headers().contains_key(EXPECT));
        let mut response = self.serve(request, &place, &fate).await?;
        if response.status() == StatusCode::INTERNAL_SERVER_ERROR
            && let Some(error) = fate.unread_body(MAX_XML_BYTES as u64)
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
        sentences::complete(&mut response);
        if let Some(origin) = origin.filter(|_| method != Method::OPTIONS) {
            cors::describe(self.app.engine(), &place.bucket, &origin, &method, response.headers_mut()).await;
        }
        let refused = response.status().is_client_error() || response.status().is_server_error();
        // Whoever asked first and was refused may yet send the body, having waited long enough: nobody may take it for a
        // next request.
        if waits_in_vain || asks_first && refused {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Ok(id) = HeaderValue::from_str(&request_id) {
            response.headers_mut().insert("x-amz-request-id", id);
        }
        Ok(response)
    }

    async fn serve(&self, request: Request<Incoming>, place: &Place, fate: &Fate) -> Result<Response<Body>, HttpError> {
        let (method, headers) = (request.method(), request.headers());
        if *method == Method::OPTIONS {
            return match cors::preflight(self.app.engine(), &place.bucket, headers).await {
                Ok(headers) => {
                    let mut response = Response::new(Body::empty());
                    *response.headers_mut() = headers;
                    Ok(response)
                }
                Err(error) => written(error),
            };
        }
        if form::is_form(method, headers) {
            let (parts, incoming) = request.into_parts();
            let upload = Upload::new(&parts.headers, Body::from(incoming).boxed(), self.app.limits);
            let served = form::serve(&self.app, place, &parts.headers, upload, fate).await;
            return served.or_else(written);
        }
        if ![Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::DELETE].contains(method) {
            return written(s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource."));
        }
        let odd = lenient::odd(&request);
        match self.prepare(request, fate) {
            Ok(request) if odd.is_empty() => self.service.call(request).await,
            Ok(request) => self.twice(request, &odd).await,
            Err(error) => written(error),
        }
    }

    /// Serves a read with headers that s3s would not take: tries whether it would be let in as it is, then serves it without
    /// them.
    async fn twice(&self, request: Request<Body>, odd: &[HeaderName]) -> Result<Response<Body>, HttpError> {
        let trial = Trial::default();
        let mut first = Request::new(Body::empty());
        *first.method_mut() = request.method().clone();
        *first.version_mut() = request.version();
        *first.uri_mut() = request.uri().clone();
        *first.headers_mut() = request.headers().clone();
        first.extensions_mut().insert(trial.clone());
        if let Some(proven) = request.extensions().get::<Proven>() {
            first.extensions_mut().insert(proven.clone());
        }
        let refused = self.service.call(first).await?;
        let Some(admitted) = trial.admitted() else { return Ok(refused) };
        let mut request = request;
        lenient::strip(&mut request, odd);
        unsign(&mut request)?;
        request.extensions_mut().insert(admitted);
        self.service.call(request).await
    }

    /// The request in s3s's form, its body watched for a sender that stops and held to the digests sent before it.
    fn prepare(&self, mut request: Request<Incoming>, fate: &Fate) -> Result<Request<Body>, S3Error> {
        let rules = signed::Rules { region: self.app.region.as_deref(), now_ms: self.app.env.now_ms() };
        let bucket = self.hosts.named(&request);
        signed_v2::check(&mut request, rules.now_ms, |id| self.app.guard.key(id), bucket.as_deref())?;
        signed::check(&request, rules)?;
        signed::hoist(&mut request)?;
        let (mut parts, incoming) = request.into_parts();
        fate.set_payload(&parts.headers);
        parts.extensions.insert(fate.clone());
        parts.extensions.insert(Region(self.app.region.clone().unwrap_or_else(|| REGION.to_owned())));
        let empty = incoming.is_end_stream();
        let upload = Upload::new(&parts.headers, Body::from(incoming).boxed(), self.app.limits);
        fate.set_len(upload.len());
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

/// Takes a signature that was verified away: it is not right any more once a header is taken away.
fn unsign(request: &mut Request<Body>) -> Result<(), HttpError> {
    request.headers_mut().remove(AUTHORIZATION);
    let uri = request.uri();
    let names = signed::query(uri).map(|(name, _)| name.to_ascii_lowercase());
    let parts = uri.query().unwrap_or_default().split('&').zip(names);
    let kept: Vec<&str> = parts.filter(|(_, name)| !signed::is_of_signature(name)).map(|(part, _)| part).collect();
    let path_and_query = format!("{}?{}", uri.path(), kept.join("&"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path_and_query.trim_end_matches('?').parse().ok();
    *request.uri_mut() = Uri::from_parts(parts).map_err(|error| HttpError::new(Box::new(error)))?;
    Ok(())
}

/// Whether a client waits for `100 Continue` before a body of no bytes, as the aws cli does; hyper sends none then. It would take the
/// next reply on the connection for this one's, so there must be no next.
fn waits_in_vain(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11 && request.headers().contains_key(EXPECT) && request.body().is_end_stream()
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
