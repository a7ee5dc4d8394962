//! The text of a first config: what was asked for, with a word on each key that a person is likely to change.

use std::fmt::Write;

/// What a first config should say.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The repository's name.
    pub name: String,
    /// k; chosen from the number of backends when absent.
    pub data_shards: Option<usize>,
    /// m; chosen from the number of backends when absent.
    pub parity_shards: Option<usize>,
    /// The codec's name.
    pub codec: String,
    /// The backends: name, where one was given, and address. Thirteen folders when there are none.
    pub backends: Vec<(Option<String>, String)>,
}

/// The config's text.
pub fn render(wishes: &Wishes) -> String {
    let backends = if wishes.backends.is_empty() { folders(wishes) } else { wishes.backends.clone() };
    let (k, m) = scheme(wishes, backends.len());
    let (name, codec) = (quoted(&wishes.name), quoted(&wishes.codec));
    let mut text = format!(
        r#"# RSBackup's config. Every key: docs/config.md; prove this file with `rsb config check`.

[repository]
name = {name}                # in every backend's marker
data_shards = {k}            # k: so many shards are needed to read
parity_shards = {m}          # m: so many backends may be lost
codec = {codec}              # or "cauchy"
# The domain label of which no m+1 shards may share a value, so that the loss of one provider (or host, region, site)
# loses nothing. Give each backend a domain and name its label here; "none" promises nothing about domains.
spread = "none"
catalog = "sqlite://rsb.db"  # beside this file; rebuilt from the backends by `rsb catalog rebuild`

[gateway]
# HTTP is on 127.0.0.1:44987 and S3 on 127.0.0.1:44988, unless said otherwise:
# listen = "127.0.0.1:44987"
# s3_listen = "127.0.0.1:44988"
memory_limit = "512 MiB"
# Elsewhere than on loopback, a key pair and TLS are needed:
# tls = {{ certificate = "cert.pem", key = "key.pem" }}
# [[gateway.keys]]
# id = "backup-job"
# secret_file = "secret"
# rights = ["read", "write", "delete"]
# buckets = ["*"]
"#
    );
    let names = names(&backends);
    for (name, (_, url)) in names.iter().zip(&backends) {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n[[backend]]\nname = {}\nurl = {}\n{}", quoted(name), quoted(url), hints(url));
    }
    text
}

/// Thirteen folders, or as many as the scheme asked for needs.
fn folders(wishes: &Wishes) -> Vec<(Option<String>, String)> {
    let count = wishes.data_shards.unwrap_or(10) + wishes.parity_shards.unwrap_or(3);
    (1..=count).map(|i| (Some(format!("disk-{i:02}")), format!("file:rsb-data/disk-{i:02}"))).collect()
}

/// k and m for so many backends: about a quarter of them parity, as 10+3 has.
fn scheme(wishes: &Wishes, count: usize) -> (usize, usize) {
    let m = wishes.parity_shards.or_else(|| wishes.data_shards.map(|k| count.saturating_sub(k)));
    let m = m.unwrap_or_else(|| if count < 2 { 0 } else { (count / 4).max(1) });
    (wishes.data_shards.unwrap_or_else(|| count.saturating_sub(m)), m)
}

/// A name for each backend: the given one, else its scheme and number.
fn names(backends: &[(Option<String>, String)]) -> Vec<String> {
    let scheme = |url: &str| url.split_once(':').map_or("disk", |(scheme, _)| scheme).to_owned();
    let named = backends.iter().enumerate();
    named.map(|(i, (name, url))| name.clone().unwrap_or_else(|| format!("{}-{:02}", scheme(url), i + 1))).collect()
}

/// What a person is likely to add to a backend of this kind.
fn hints(url: &str) -> &'static str {
    const DOMAIN: &str = "# domain = { provider = \"home\", site = \"attic\" }\n";
    const S3: &str = "# domain = { provider = \"minio-a\" }\n\
                      # options = { endpoint = \"http://127.0.0.1:9000\", region = \"us-east-1\", allow_http = true }\n\
                      # credentials = { profile = \"minio\" }   # or env = \"NAME_PREFIX\", file = \"path\"\n";
    const AZURE: &str = "# domain = { provider = \"azure\" }\n\
                         # options = { account_name = \"…\" }\n\
                         # credentials = { env = \"NAME_PREFIX\" }   # or file = \"path\"\n";
    const GOOGLE: &str = "# domain = { provider = \"google\" }\n# credentials = { file = \"service-account.json\" }\n";
    match url.split_once(':').map(|(scheme, _)| scheme) {
        Some("s3") => S3,
        Some("az") => AZURE,
        Some("gs") => GOOGLE,
        _ => DOMAIN,
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
