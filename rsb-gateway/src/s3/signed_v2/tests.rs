use http::header::HOST;

use super::*;

const NOW: u64 = 1_175_139_000_000;
const ID: &str = "AKIAIOSFODNN7EXAMPLE";

/// The key of the examples in Amazon's document.
fn key(id: &str) -> Option<(Caller, Secret)> {
    (id == ID).then(|| (Caller::Anyone, Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")))
}

fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
    let begun = Request::builder().method(method).uri(uri).header(HOST, "localhost");
    headers.iter().fold(begun, |b, (name, value)| b.header(*name, *value)).body(()).unwrap()
}

/// The URL with the signature that is right for it.
fn presigned(method: &str, uri: &str, headers: &[(&str, &str)]) -> String {
    let mut unsigned = request(method, uri, headers);
    let parameters = parameters(unsigned.uri()).unwrap();
    hoist(&parameters, unsigned.headers_mut()).unwrap();
    // A bucket as boto3 signs it.
    let path = match unsigned.uri().path() {
        "/b" => "/b/",
        path => path,
    };
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key(ID).unwrap().1.expose().as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, text(&unsigned, &parameters, "1175139620", path).as_bytes()));
    let signature = signature.replace('+', "%2B").replace('=', "%3D");
    let and = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{and}AWSAccessKeyId={ID}&Expires=1175139620&Signature={signature}")
}

fn outcome(method: &str, uri: &str, headers: &[(&str, &str)], now_ms: u64) -> String {
    match check(&mut request(method, uri, headers), now_ms, key, None) {
        Ok(()) => "fine".to_owned(),
        Err(error) => error.code().as_str().to_owned(),
    }
}

#[test]
fn the_example_of_the_document_is_verified() {
    let uri = "/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620";
    let mut good = request("GET", uri, &[]);
    check(&mut good, NOW, key, Some("johnsmith")).unwrap();
    assert!(matches!(good.extensions().get(), Some(Proven(Caller::Anyone))));
    assert_eq!(good.uri(), "/photos/puppy.jpg");
    for (method, bucket) in [("GET", None), ("GET", Some("another")), ("PUT", Some("johnsmith"))] {
        let error = check(&mut request(method, uri, &[]), NOW, key, bucket).unwrap_err();
        assert_eq!(error.code().as_str(), "SignatureDoesNotMatch", "{method} {bucket:?}");
    }
    // Some clients leave the plus sign as it is.
    let plain = uri.replace("%2B", "+").replace("%3D", "=");
    check(&mut request("GET", &plain, &[]), NOW, key, Some("johnsmith")).unwrap();
}

#[test]
fn what_is_covered_cannot_be_changed() {
    let good = presigned("PUT", "/b/k%20l?partNumber=2&uploadId=u%2F1&content-type=text/plain&x-amz-meta-a=b", &[]);
    assert_eq!(outcome("PUT", &good, &[], NOW), "fine");
    assert_eq!(outcome("PUT", &good, &[("content-type", "text/plain")], NOW), "fine", "sent as a header besides");
    for (from, to) in [
        ("partNumber=2", "partNumber=3"),
        ("u%2F1", "u%2F2"),
        ("text/plain", "text/html"),
        ("x-amz-meta-a=b", "x-amz-meta-a=c"),
        ("&x-amz-meta-a=b", ""),
        ("/b/k%20l", "/b/k%20m"),
        ("1175139620", "1175139621"),
    ] {
        assert_eq!(outcome("PUT", &good.replace(from, to), &[], NOW), "SignatureDoesNotMatch", "{from} to {to}");
    }
    assert_eq!(outcome("GET", &good, &[], NOW), "SignatureDoesNotMatch");
    assert_eq!(outcome("PUT", &good, &[("x-amz-tagging", "a=b")], NOW), "SignatureDoesNotMatch");
    assert_eq!(outcome("PUT", &good, &[("content-type", "text/html")], NOW), "InvalidArgument");
    // `retention` would make another operation of it, and version 2 does not know the parameter.
    let turned = format!("{}&retention", presigned("PUT", "/b/k", &[]));
    assert_eq!(outcome("PUT", &turned, &[], NOW), "AccessDenied");
    let listed = format!("{}&prefix=a&max-keys=5", presigned("GET", "/b/", &[]));
    assert_eq!(outcome("GET", &listed, &[], NOW), "fine");
    assert_eq!(outcome("GET", &presigned("GET", "/b", &[]), &[], NOW), "fine");
}

#[test]
fn it_must_be_whole_in_time_and_alone() {
    let good = presigned("GET", "/b/k", &[]);
    for (uri, headers, now_ms, expected) in [
        (good.clone(), &[][..], NOW, "fine"),
        (good.clone(), &[], 1_175_139_621_000, "AccessDenied"),
        (good.clone(), &[("authorization", "AWS k:s")], NOW, "InvalidArgument"),
        (format!("{good}&X-Amz-Signature=0"), &[], NOW, "InvalidArgument"),
        (format!("{good}&Expires=1175139620"), &[], NOW, "InvalidArgument"),
        (format!("{good}&x-amz-security-token=t"), &[], NOW, "InvalidToken"),
        (good.replace("Expires=1175139620", "Expires=soon"), &[], NOW, "AccessDenied"),
        (good.replace("&Expires=1175139620", ""), &[], NOW, "AccessDenied"),
        (good.replace(ID, "nobody"), &[], NOW, "InvalidAccessKeyId"),
        ("/b/k?Signature=".to_owned(), &[], NOW, "AccessDenied"),
    ] {
        assert_eq!(outcome("GET", &uri, headers, now_ms), expected, "{uri}");
    }
    // No signature of this kind: nothing to say.
    assert_eq!(outcome("GET", "/b/k?X-Amz-Signature=0", &[], NOW), "fine");
}
