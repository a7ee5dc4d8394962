//! Where a request points: bucket and key, by its path or by the name of its host.

use http::header::HOST;
use http::{Request, Version};
use percent_encoding::percent_decode_str;
use s3s::S3Result;
use s3s::host::{S3Host, VirtualHost};

/// The domains below which a bucket has a host of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    domains: Vec<String>,
}

impl Hosts {
    pub(super) fn new(domains: &[String]) -> Self {
        Self { domains: domains.iter().map(|domain| domain.to_ascii_lowercase()).collect() }
    }

    /// The bucket that a host's name begins with, where the rest is one of the domains.
    fn bucket(&self, host: &str) -> Option<String> {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let before = |domain: &String| name.strip_suffix(domain.as_str())?.strip_suffix('.').map(str::to_owned);
        self.domains.iter().find_map(before).filter(|bucket| !bucket.is_empty())
    }

    /// The bucket that a request's host names.
    pub(super) fn named<B>(&self, request: &Request<B>) -> Option<String> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let authority = || request.uri().authority().filter(|_| request.version() == Version::HTTP_2);
        self.bucket(host.or_else(|| authority().map(|authority| authority.as_str()))?)
    }

    /// Where a request points, empty texts where it names none.
    pub(super) fn place<B>(&self, request: &Request<B>) -> Place {
        let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
        let path = path.strip_prefix('/').unwrap_or(&path);
        match self.named(request) {
            Some(bucket) => Place { bucket, key: path.to_owned() },
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                Place { bucket: bucket.to_owned(), key: key.to_owned() }
            }
        }
    }
}

impl S3Host for Hosts {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let out = VirtualHost::new(host);
        Ok(match self.bucket(host) {
            Some(bucket) => out.with_bucket(bucket),
            None => out,
        })
    }
}

/// Where a request points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The bucket; empty when none is named.
    pub(super) bucket: String,
    /// The key; empty when none is named.
    pub(super) key: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_named_by_the_host_or_by_the_path() {
        let hosts = Hosts::new(&["s3.example.org".into(), "Localhost".into()]);
        for (host, uri, bucket, key) in [
            ("s3.example.org", "/b/k", "b", "k"),
            ("b.s3.example.org", "/k/l", "b", "k/l"),
            ("B.S3.example.ORG:8080", "/k", "b", "k"),
            ("a.b.s3.example.org.", "/k%20l", "a.b", "k l"),
            ("b.localhost:1", "/", "b", ""),
            ("evils3.example.org", "/b/k", "b", "k"),
            (".s3.example.org", "/b/", "b", ""),
            ("127.0.0.1:44988", "/", "", ""),
        ] {
            let request = Request::builder().uri(uri).header(HOST, host).body(()).unwrap();
            let expected = Place { bucket: bucket.into(), key: key.into() };
            assert_eq!(hosts.place(&request), expected, "{host} {uri}");
        }
    }
}
