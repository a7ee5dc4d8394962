use super::*;
use aws_credential_types::provider::future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Gives keys that live for an hour, counts how often it is asked, and fails when told to.
#[derive(Debug, Default)]
struct Fake {
    asked: AtomicUsize,
    fails: AtomicBool,
    now_ms: AtomicU64,
}

const HOUR_MS: u64 = 3_600_000;

#[derive(Debug)]
struct Provider(Arc<Fake>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let count = self.0.asked.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.0.fails.load(Ordering::SeqCst) {
                return Err(CredentialsError::not_loaded("nothing here"));
            }
            let expiry = UNIX_EPOCH + Duration::from_millis(self.0.now_ms.load(Ordering::SeqCst) + HOUR_MS);
            Ok(Credentials::new(format!("id-{count}"), "secret", None, Some(expiry), "fake"))
        })
    }
}

struct At(Arc<Fake>);
impl Clock for At {
    fn now_ms(&self) -> u64 {
        self.0.now_ms.load(Ordering::SeqCst)
    }
}

fn adapter() -> (Arc<Fake>, AwsCredentials) {
    let fake = Arc::new(Fake::default());
    let provider = SharedCredentialsProvider::new(Provider(fake.clone()));
    (fake.clone(), AwsCredentials::with_clock("m", provider, Arc::new(At(fake))))
}

async fn id(credentials: &AwsCredentials) -> String {
    credentials.get_credential().await.unwrap().key_id.clone()
}

#[tokio::test(start_paused = true)]
async fn many_callers_cause_one_fetch_and_the_result_is_kept() {
    let (fake, credentials) = adapter();
    let all = futures::future::join_all((0..20).map(|_| id(&credentials))).await;
    assert!(all.iter().all(|id| id == "id-1"), "{all:?}");
    fake.now_ms.store(HOUR_MS / 2, Ordering::SeqCst);
    assert_eq!(id(&credentials).await, "id-1");
    assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn they_are_renewed_shortly_before_they_expire_and_nobody_waits_for_it() {
    let (fake, credentials) = adapter();
    assert_eq!(id(&credentials).await, "id-1");
    fake.now_ms.store(HOUR_MS - 60_000, Ordering::SeqCst);
    let (first, second) = tokio::join!(id(&credentials), id(&credentials));
    assert_eq!((first.as_str(), second.as_str()), ("id-2", "id-1"));
    assert_eq!(id(&credentials).await, "id-2");
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_leaves_the_old_ones_in_use_until_they_expire() {
    let (fake, credentials) = adapter();
    id(&credentials).await;
    fake.fails.store(true, Ordering::SeqCst);
    fake.now_ms.store(HOUR_MS - 60_000, Ordering::SeqCst);
    assert_eq!(id(&credentials).await, "id-1");
    fake.now_ms.store(HOUR_MS + 1, Ordering::SeqCst);
    let error = credentials.get_credential().await.unwrap_err();
    assert!(matches!(error, object_store::Error::Unauthenticated { .. }), "{error}");
    assert!(error.to_string().contains("no AWS credentials are found for backend \"m\""), "{error}");
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_nobody_asks_for_a_while() {
    let (fake, credentials) = adapter();
    fake.fails.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        credentials.get_credential().await.unwrap_err();
    }
    assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
    fake.fails.store(false, Ordering::SeqCst);
    tokio::time::sleep(PAUSE).await;
    assert_eq!(id(&credentials).await, "id-2");
}
