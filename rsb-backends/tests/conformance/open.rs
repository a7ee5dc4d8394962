//! Small helpers: specs of test stores, each wrapper by name, and tests that are skipped or need variables of their own.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::limit::LimitStore;
use rsb_backends::stores::{Credentials, StoreSpec};
use rsb_backends::wrappers::{Exact, Fault, Metrics, Retry, RetryOptions, Timeout, Timeouts, WrapOptions, wrap};
use rsb_core::Env;

/// A spec with default credentials.
pub fn spec(name: &str, url: impl Into<String>, options: &[(&str, &str)]) -> StoreSpec {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    StoreSpec { name: name.to_owned(), url: url.into(), options, credentials: Credentials::Default }
}

/// A name that no other test run has used.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", Env::system().new_id().simple())
}

/// Each wrapper alone around a store of its own, and all of them as [`wrap`] stacks them.
pub fn wrappers(store: impl Fn(&str) -> Arc<dyn ObjectStore>) -> Vec<(&'static str, Arc<dyn ObjectStore>)> {
    vec![
        ("exact", Arc::new(Exact::new(store("exact")))),
        ("retry", Arc::new(Retry::new(store("retry"), RetryOptions::default(), Env::system()))),
        ("limit", Arc::new(LimitStore::new(store("limit"), 4))),
        ("metrics", Arc::new(Metrics::new("m", store("metrics")))),
        ("timeout", Arc::new(Timeout::new(store("timeout"), Timeouts::default()))),
        ("fault", Fault::around(store("fault")).0),
        ("wrap", wrap("m", store("wrap"), &WrapOptions::default())),
    ]
}

/// The value of a variable that names a server; prints that `what` is skipped when it is not set.
pub fn server(what: &str, variable: &str) -> Option<String> {
    let value = std::env::var(variable).ok().filter(|value| !value.is_empty());
    if value.is_none() {
        // Not by println!, which the test harness keeps to itself where a test passes.
        let line = format!("skipped: {what}, because {variable} is not set\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
    value
}

/// Set in the process that [`in_environment`] starts.
const INSIDE: &str = "RSB_TEST_INSIDE";

/// Runs the test called `name` once more in a process of its own, with no variables of a cloud or a proxy but `variables`: a
/// process's environment cannot be changed safely while its threads run. `true` in that process; the test that started it
/// gets `false` when it passed.
pub fn in_environment(name: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        return true;
    }
    let home = tempfile::tempdir().unwrap();
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    for (variable, _) in std::env::vars() {
        let upper = variable.to_ascii_uppercase();
        if ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|start| upper.starts_with(start)) || upper.ends_with("_PROXY") {
            again.env_remove(variable);
        }
    }
    again.env(INSIDE, name).env("HOME", home.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    let done = again.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && text.contains("1 passed"),
        "{name} fails in an environment of its own:\n{text}{}",
        String::from_utf8_lossy(&done.stderr)
    );
    false
}
