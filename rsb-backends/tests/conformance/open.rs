//! Small helpers: specs of test stores.

use rsb_backends::stores::{Credentials, StoreSpec};

/// A spec with default credentials.
pub fn spec(name: &str, url: impl Into<String>, options: &[(&str, &str)]) -> StoreSpec {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    StoreSpec { name: name.to_owned(), url: url.into(), options, credentials: Credentials::Default }
}

/// A name that no other test run has used.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", rsb_core::Env::system().new_id().simple())
}

/// The value of an environment variable; says that the test is skipped when it is not set.
pub fn server(variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        println!("skipped: {variable} is not set");
    }
    value
}
