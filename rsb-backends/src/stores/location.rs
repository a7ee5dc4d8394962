//! A backend's url: which provider, which container, which prefix in it.

use std::path::PathBuf;

use object_store::path::Path;
use url::Url;

use super::error::StoreError;

/// Where a backend's objects lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// A folder of this machine.
    File(PathBuf),
    /// A store of this process, by name.
    Memory(String),
    /// A bucket that speaks S3.
    S3 { bucket: String, prefix: Path },
    /// An Azure Blob container.
    Azure { container: String, prefix: Path },
    /// A Google Cloud Storage bucket.
    Gcs { bucket: String, prefix: Path },
    /// A web server, read-only.
    Http(Url),
}

const SCHEMES: &str =
    "file:///path, memory://name, s3://bucket/prefix, az://container/prefix, gs://bucket/prefix, https://host/path";

/// Reads a backend's url. Anything without `scheme:` is a folder's path.
pub(crate) fn parse(backend: &str, url: &str) -> Result<Location, StoreError> {
    let bad = |message: String| StoreError::config(backend, message);
    if url.trim().is_empty() {
        return Err(bad(format!("the url is empty; write one of {SCHEMES}")));
    }
    if let Some(rest) = url.strip_prefix("file:") {
        return folder(backend, url, rest.strip_prefix("//").unwrap_or(rest));
    }
    let Some((scheme, _)) = url.split_once("://") else {
        return folder(backend, url, url);
    };
    if scheme == "memory" {
        let name = url.trim_start_matches("memory://").trim_matches('/');
        return Ok(Location::Memory(if name.is_empty() { backend } else { name }.to_owned()));
    }
    // The text itself is not repeated where it may hold a password.
    let parsed =
        Url::parse(url).map_err(|error| bad(format!("the url cannot be read: {error}; write one of {SCHEMES}")))?;
    if parsed.password().is_some() || !parsed.username().is_empty() {
        return Err(bad(
            "the url has a user name or password in it; urls appear in logs, so write credentials = { … } instead"
                .into(),
        ));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(bad(format!(
            "the url of {:?} has a ? or # part, which means nothing here; write settings in options",
            parsed.scheme()
        )));
    }
    if matches!(parsed.scheme(), "http" | "https") {
        return Ok(Location::Http(parsed));
    }
    let container = parsed.host_str().unwrap_or_default().to_owned();
    let prefix = Path::from_url_path(parsed.path())
        .map_err(|error| bad(format!("the prefix in {url:?} cannot be used: {error}")))?;
    match parsed.scheme() {
        "s3" | "s3a" | "az" | "azure" | "abfs" | "abfss" | "gs" if container.is_empty() => {
            Err(bad(format!("{url:?} names no bucket or container; write {}://NAME/PREFIX", parsed.scheme())))
        }
        "s3" | "s3a" => Ok(Location::S3 { bucket: container, prefix }),
        "az" | "azure" => Ok(Location::Azure { container, prefix }),
        "gs" => Ok(Location::Gcs { bucket: container, prefix }),
        other => Err(bad(format!("nothing is known of urls that begin with {other}://; write one of {SCHEMES}"))),
    }
}

fn folder(backend: &str, url: &str, path: &str) -> Result<Location, StoreError> {
    if path.is_empty() {
        return Err(StoreError::config(backend, format!("{url:?} names no folder; write file:///path/to/folder")));
    }
    if path.contains('\0') {
        return Err(StoreError::config(backend, "the folder's path has a NUL character in it"));
    }
    // Only a whole file url is percent-encoded; a path typed by hand means what it says.
    let decoded = path.starts_with('/').then(|| Url::parse(url).ok()?.to_file_path().ok()).flatten();
    Ok(Location::File(decoded.unwrap_or_else(|| PathBuf::from(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Location {
        parse("b", url).unwrap()
    }

    #[test]
    fn every_scheme_is_read() {
        assert_eq!(at("file:///mnt/nas/rsb"), Location::File("/mnt/nas/rsb".into()));
        assert_eq!(at("file:///mnt/my%20disk"), Location::File("/mnt/my disk".into()));
        assert_eq!(at("file://rsb-data/01"), Location::File("rsb-data/01".into()));
        assert_eq!(at("file:./rsb-data"), Location::File("./rsb-data".into()));
        assert_eq!(at("/mnt/100%/x"), Location::File("/mnt/100%/x".into()));
        assert_eq!(at("./rsb-data/01"), Location::File("./rsb-data/01".into()));
        assert_eq!(at("memory://one"), Location::Memory("one".into()));
        assert_eq!(at("memory://"), Location::Memory("b".into()));
        let prefix = Path::from("a/b");
        assert_eq!(at("s3://rsb-1/a/b"), Location::S3 { bucket: "rsb-1".into(), prefix: prefix.clone() });
        assert_eq!(at("az://box/a/b/"), Location::Azure { container: "box".into(), prefix: prefix.clone() });
        assert_eq!(at("gs://box_2/a/b"), Location::Gcs { bucket: "box_2".into(), prefix });
        assert!(matches!(at("https://host/x"), Location::Http(_)));
    }

    #[test]
    fn bad_urls_are_refused_with_what_to_write() {
        for (url, says) in [
            ("", "the url is empty"),
            ("ftp://host/x", "ftp://; write one of"),
            ("s3:///prefix", "names no bucket"),
            ("file://", "names no folder"),
            ("s3://bucket/a?x=1", "write settings in options"),
            ("https://host:port/x", "cannot be read"),
        ] {
            let error = parse("b", url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
        let error = parse("b", "https://me:hunter2@host/x").unwrap_err().to_string();
        assert!(error.contains("credentials = ") && !error.contains("hunter2"), "{error}");
    }
}
