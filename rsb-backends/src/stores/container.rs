//! Makes a backend's folder, bucket or container. object_store cannot, so for S3 and Azure this sends the one signed
//! request itself, through object_store's client and with its signature.

use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use object_store::aws::AwsAuthorizer;
use object_store::azure::AzureAuthorizer;
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody};
use object_store::{ClientConfigKey, ClientOptions, HeaderValue};

use super::client::{Connector, ServerStatus, Typed, client_options};
use super::credentials::environment;
use super::error::{StoreError, StoreErrorKind};
use super::location::{self, Location};
use super::probe::{address, explain, probe, status_of};
use super::{StoreSpec, azure, s3};

/// Makes the folder, bucket or container where it is missing. Only `rsb config init` and `rsb backend add` call it.
///
/// Returns whether it was made now.
///
/// # Errors
/// What [`probe`] finds wrong, a refusal of the server, and for Google Cloud Storage and web servers, which are not made
/// here, a sentence that says how.
pub async fn ensure_container(spec: &StoreSpec) -> Result<bool, StoreError> {
    match probe(spec).await {
        Ok(()) => return Ok(false),
        Err(error) if error.kind() == StoreErrorKind::Missing => {}
        Err(error) => return Err(error),
    }
    let place = location::parse(&spec.name, &spec.url)?;
    match &place {
        Location::File(folder) => match tokio::fs::create_dir_all(folder).await {
            Ok(()) => Ok(true),
            Err(error) => Err(StoreError::new(
                StoreErrorKind::Other,
                &spec.name,
                format!("the folder {} cannot be made: {error}", folder.display()),
            )),
        },
        Location::Memory(_) => Ok(false),
        Location::S3 { bucket, .. } => create_bucket(spec, &place, bucket).await,
        Location::Azure { container, .. } => create_container(spec, &place, container).await,
        Location::Gcs { bucket, .. } => Err(StoreError::new(
            StoreErrorKind::Missing,
            &spec.name,
            format!(
                "the bucket {bucket:?} does not exist; its project, location and class are yours to choose, so make it with: gcloud storage buckets create gs://{bucket} --location=…"
            ),
        )),
        Location::Http(url) => Err(StoreError::new(
            StoreErrorKind::Missing,
            &spec.name,
            format!("{url} does not exist, and web servers are only read"),
        )),
    }
}

async fn create_bucket(spec: &StoreSpec, place: &Location, name: &str) -> Result<bool, StoreError> {
    let bucket = s3::open(spec, name, Typed::All, &environment).await?;
    // AWS wants every region but its first one named again; other servers know only their own.
    let body = match bucket.custom_endpoint || bucket.region == "us-east-1" {
        true => String::new(),
        false => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
            bucket.region
        ),
    };
    let mut request = put_request(spec, &bucket.url, body)?;
    if !bucket.skip_signature {
        let credential =
            bucket.store.credentials().get_credential().await.map_err(|error| explain(spec, place, error))?;
        AwsAuthorizer::new(&credential, "s3", &bucket.region)
            .try_authorize(&mut request, None)
            .map_err(|error| explain(spec, place, error))?;
    }
    create(spec, place, request).await
}

async fn create_container(spec: &StoreSpec, place: &Location, name: &str) -> Result<bool, StoreError> {
    let container = azure::open(spec, name, Typed::All, &environment)?;
    let mut request = put_request(spec, &format!("{}?restype=container", container.url), String::new())?;
    if !container.skip_signature {
        let credential =
            container.store.credentials().get_credential().await.map_err(|error| explain(spec, place, error))?;
        AzureAuthorizer::new(&credential, &container.account)
            .try_authorize(&mut request)
            .map_err(|error| explain(spec, place, error))?;
    }
    create(spec, place, request).await
}

fn put_request(spec: &StoreSpec, url: &str, body: String) -> Result<HttpRequest, StoreError> {
    let length = HeaderValue::from(body.len());
    let request = http::Request::builder().method(Method::PUT).uri(url).header(CONTENT_LENGTH, length);
    request
        .body(HttpRequestBody::from(body))
        .map_err(|error| StoreError::config(&spec.name, format!("the address {url} cannot be used: {error}")))
}

/// Sends the request; `Ok(false)` when somebody else was quicker.
async fn create(spec: &StoreSpec, place: &Location, request: HttpRequest) -> Result<bool, StoreError> {
    let client = Connector::new(Typed::All).connect(&client_of(spec)).map_err(|error| spec.cannot_open(error))?;
    let Err(error) = client.execute(request).await else { return Ok(true) };
    let error = object_store::Error::Generic { store: "container", source: Box::new(error) };
    match status_of(&error) {
        Some(ServerStatus { status: StatusCode::CONFLICT, text }) => {
            // Ours already, or a name that is taken: looking tells.
            let taken = format!("{} cannot be made: {text}; choose another name", address(spec, place));
            probe(spec).await.map(|()| false).map_err(|_| StoreError::new(StoreErrorKind::Denied, &spec.name, taken))
        }
        Some(ServerStatus { status: StatusCode::BAD_REQUEST, text }) => {
            Err(StoreError::config(&spec.name, format!("{} cannot be made: {text}", address(spec, place))))
        }
        _ => Err(explain(spec, place, error)),
    }
}

/// The HTTP client's settings among the options.
fn client_of(spec: &StoreSpec) -> ClientOptions {
    let emulator = spec.options.get("use_emulator").is_some_and(|v| super::is_yes(v));
    let base = client_options().with_allow_http(emulator);
    spec.options.iter().fold(base, |options, (key, value)| {
        let key = key.to_ascii_lowercase();
        let plain = key.strip_prefix("aws_").or_else(|| key.strip_prefix("azure_")).unwrap_or(&key);
        match plain.parse::<ClientConfigKey>() {
            Ok(key) => options.with_config(key, value),
            Err(_) => options,
        }
    })
}
