//! aws-config's credentials as object_store asks for them: kept until shortly before they expire, and fetched by one
//! caller at a time.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use rsb_core::env::{Clock, SystemClock};
use tokio::time::Instant;

use super::error::root_cause;

/// Credentials are renewed when they have less than this left.
const RENEW_BEFORE: Duration = Duration::from_secs(300);
/// Longest wait for one renewal.
const RENEW_TIMEOUT: Duration = Duration::from_secs(8);
/// After a failure nobody asks again for this long.
const PAUSE: Duration = Duration::from_secs(5);

/// Adapts an aws-config provider.
pub(crate) struct AwsCredentials {
    backend: String,
    provider: SharedCredentialsProvider,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// Held by the one who renews.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    credential: Option<Held>,
    /// When the last renewal failed, and why.
    failed: Option<(Instant, Failure)>,
}

#[derive(Clone)]
struct Held {
    credential: Arc<AwsCredential>,
    /// Milliseconds since the Unix epoch; `None`: for ever.
    expires_ms: Option<u64>,
}

/// A failure to get credentials; cheap to hand to all who wait.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
struct Failure {
    message: Arc<str>,
    /// There are none to be had here: trying again does not help.
    permanent: bool,
}

impl std::fmt::Debug for AwsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsCredentials").field("backend", &self.backend).finish_non_exhaustive()
    }
}

#[async_trait::async_trait]
impl CredentialProvider for AwsCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let held = self.usable();
        match &held {
            Some((held, true)) => return Ok(held.credential.clone()),
            // Still good for a while: one caller renews, the others go on with these.
            Some((held, false)) => {
                let Ok(_one) = self.renewing.try_lock() else { return Ok(held.credential.clone()) };
                return Ok(self.renew().await.unwrap_or_else(|_| held.credential.clone()));
            }
            None => {}
        }
        let _one = self.renewing.lock().await;
        if let Some((held, _)) = self.usable() {
            return Ok(held.credential);
        }
        self.renew().await.map_err(Failure::into_store_error)
    }
}

impl AwsCredentials {
    /// Credentials of `backend`, from `provider`.
    pub(crate) fn new(backend: &str, provider: SharedCredentialsProvider) -> Self {
        Self::with_clock(backend, provider, Arc::new(SystemClock))
    }

    fn with_clock(backend: &str, provider: SharedCredentialsProvider, clock: Arc<dyn Clock>) -> Self {
        let (known, renewing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { backend: backend.to_owned(), provider, clock, known, renewing }
    }

    /// What is held and not expired, and whether it is good for long.
    fn usable(&self) -> Option<(Held, bool)> {
        let held = self.lock().credential.clone()?;
        let Some(expires_ms) = held.expires_ms else { return Some((held, true)) };
        let left = Duration::from_millis(expires_ms.saturating_sub(self.clock.now_ms()));
        (left > Duration::ZERO).then_some((held, left > RENEW_BEFORE))
    }

    async fn renew(&self) -> Result<Arc<AwsCredential>, Failure> {
        if let Some((at, failure)) = self.lock().failed.clone()
            && at.elapsed() < PAUSE
        {
            return Err(failure);
        }
        let outcome = match tokio::time::timeout(RENEW_TIMEOUT, self.provider.provide_credentials()).await {
            Ok(Ok(found)) => Ok(hold(&found)),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(Failure {
                message: format!("AWS credentials did not come within {} s", RENEW_TIMEOUT.as_secs()).into(),
                permanent: false,
            }),
        };
        let mut known = self.lock();
        match outcome {
            Ok(held) => {
                *known = Known { credential: Some(held.clone()), failed: None };
                Ok(held.credential)
            }
            Err(failure) => {
                tracing::warn!(backend = self.backend, "{failure}");
                known.failed = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    fn failure(&self, error: &CredentialsError) -> Failure {
        let cause = root_cause(error as &(dyn StdError + 'static));
        match error {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => Failure {
                message: format!(
                    "no AWS credentials are found for backend {:?} ({cause}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write credentials = {{ profile = \"…\" }}, {{ env = \"PREFIX\" }} or {{ file = \"…\" }}",
                    self.backend
                )
                .into(),
                permanent: true,
            },
            CredentialsError::ProviderTimedOut(_) => {
                Failure { message: format!("AWS credentials cannot be fetched: {cause}").into(), permanent: false }
            }
            _ => Failure {
                message: format!(
                    "the AWS credentials of backend {:?} cannot be fetched: {cause}; check the profile or the machine's role, or write credentials = {{ … }}",
                    self.backend
                )
                .into(),
                permanent: true,
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        // What a panicking holder left is whole: it is replaced in one assignment.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failure {
    fn into_store_error(self) -> object_store::Error {
        match self.permanent {
            true => object_store::Error::Unauthenticated { path: String::new(), source: Box::new(self) },
            false => object_store::Error::Generic { store: "S3", source: Box::new(self) },
        }
    }
}

fn hold(found: &Credentials) -> Held {
    let credential = AwsCredential {
        key_id: found.access_key_id().to_owned(),
        secret_key: found.secret_access_key().to_owned(),
        token: found.session_token().map(str::to_owned),
    };
    let since_epoch = found.expiry().map(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default());
    Held {
        credential: Arc::new(credential),
        expires_ms: since_epoch.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
    }
}

#[cfg(test)]
mod tests;
