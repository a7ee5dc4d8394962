//! The door to a gateway: its `/v1` by HTTP. Nothing here waits for ever on a connection that is not made, and nothing
//! prints a secret.
//!
//! Order to read: this file (where the gateway is and how it is asked), [`reply`] (its problems as failures), [`objects`]
//! (bytes both ways), [`jobs`], [`door`].

mod address;
mod door;
mod jobs;
mod objects;
mod reply;

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;

use self::address::Address;
use crate::failure::{FAILED, Failure};

/// How long a connection is tried for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that died without a word is noticed after a few of these.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// A gateway and the key to show to it. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: Address,
}

impl Client {
    /// A client of the gateway at `url`, `http[s]://[ID:SECRET@]HOST[:PORT]`. A key in the environment
    /// (`RSB_KEY_ID`, `RSB_KEY_SECRET`) is used where the address has none. Asks nothing yet.
    ///
    /// # Errors
    /// Wrong usage, where the address is none.
    pub fn new(url: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let address = Address::parse(url, environment)?;
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(KEEPALIVE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("rsb/", env!("CARGO_PKG_VERSION")));
        if address.is_this_machine() {
            // A proxy for the world outside does not lead back here.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|e| Failure::new(FAILED, format!("no HTTP client can be made: {e}")))?;
        Ok(Self { http, address })
    }

    /// A request for `path`, which begins with `/v1`.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.address.url(path));
        match self.address.key() {
            Some((id, secret)) => request.basic_auth(id, Some(secret)),
            None => request,
        }
    }

    /// Sends a request; an answer that is not a success is a failure.
    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        self.accepted(request.send().await.map_err(|error| self.broken(&error))?).await
    }

    async fn accepted(&self, response: Response) -> Result<Response, Failure> {
        if response.status().is_success() { Ok(response) } else { Err(self.refused(response).await) }
    }

    /// Sends a request and reads the JSON it is answered with.
    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        self.read_json(request.send().await.map_err(|error| self.broken(&error))?).await
    }

    async fn read_json<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let response = self.accepted(response).await?;
        let body = response.bytes().await.map_err(|error| self.broken(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.not_understood(&error.to_string()))
    }

    /// GET of a path.
    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.json(self.request(Method::GET, path)).await
    }

    /// Where the gateway is, for sentences.
    fn shown(&self) -> &str {
        self.address.shown()
    }
}
