use super::*;

const DATE: &str = "20201124T000000Z";
const NOW: u64 = 1_606_176_000_000;
const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn code(uri: &str, headers: &[(&str, &str)], region: Option<&str>) -> String {
    let request = headers.iter().fold(Request::builder().uri(uri), |b, (name, value)| b.header(*name, *value));
    let rules = Rules { region, now_ms: NOW };
    let result = check(&request.body(()).unwrap(), rules);
    result.map_or_else(|error| error.code().as_str().to_owned(), |()| "fine".to_owned())
}

fn v4(credential: &str, signed: &str) -> String {
    format!("{ALGORITHM} Credential={credential}, SignedHeaders={signed}, Signature={SHA}")
}

#[test]
fn a_signature_in_the_head() {
    let good = v4("k/20201124/r/s3/aws4_request", "host;x-amz-date");
    let (dated, digest) = (("x-amz-date", DATE), ("x-amz-content-sha256", SHA));
    for (authorization, more, region, expected) in [
        (&*good, &[dated, digest][..], None, "fine"),
        (&good, &[dated, digest], Some("r"), "fine"),
        (&good, &[dated, digest], Some("eu-west-1"), "AuthorizationHeaderMalformed"),
        (&good, &[dated], None, "InvalidRequest"),
        (&good, &[digest], None, "AccessDenied"),
        (&good, &[("x-amz-date", "yesterday"), digest], None, "AccessDenied"),
        (&good, &[dated, ("x-amz-content-sha256", "x")], None, "InvalidArgument"),
        (&good, &[dated, digest, ("x-amz-meta-a", "b")], None, "AccessDenied"),
        (
            &v4("k/20201125/r/s3/aws4_request", "host;x-amz-date"),
            &[dated, digest],
            None,
            "AuthorizationHeaderMalformed",
        ),
        (
            &v4("k/20201124/r/sts/aws4_request", "host;x-amz-date"),
            &[dated, digest],
            None,
            "AuthorizationHeaderMalformed",
        ),
        (&v4("k/20201124/r/s3", "host;x-amz-date"), &[dated, digest], None, "AuthorizationHeaderMalformed"),
        (&v4("k/20201124/r/s3/aws4_request", "x-amz-date"), &[dated, digest], None, "AccessDenied"),
        ("AWS4-HMAC-SHA256 nothing", &[dated, digest], None, "AuthorizationHeaderMalformed"),
        ("Basic YTpi", &[], None, "InvalidArgument"),
        ("AWS key:signature", &[], None, "InvalidRequest"),
    ] {
        let headers: Vec<_> = [("authorization", authorization)].into_iter().chain(more.iter().copied()).collect();
        assert_eq!(code("/", &headers, region), expected, "{headers:?}");
    }
    let both = [("authorization", &*good), dated, digest];
    assert_eq!(code("/?X-Amz-Signature=0", &both, None), "InvalidArgument");
}

#[test]
fn a_signature_in_the_query() {
    let uri = |change: (&str, &str)| {
        let credential = "k%2F20201124%2Fr%2Fs3%2Faws4_request";
        let parts = [
            ("X-Amz-Algorithm", ALGORITHM),
            ("X-Amz-Credential", credential),
            ("X-Amz-Date", DATE),
            ("X-Amz-Expires", "60"),
            ("X-Amz-SignedHeaders", "host"),
            ("X-Amz-Signature", SHA),
        ];
        let parts = parts.map(|(name, value)| if name == change.0 { change } else { (name, value) });
        let parts: Vec<_> =
            parts.iter().filter(|(_, value)| *value != "absent").map(|(n, v)| format!("{n}={v}")).collect();
        format!("/?{}", parts.join("&"))
    };
    for (name, value, expected) in [
        ("", "", "fine"),
        ("X-Amz-Expires", "0", "fine"),
        ("X-Amz-Expires", "604800", "fine"),
        ("X-Amz-Expires", "604801", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "-1", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "soon", "AuthorizationQueryParametersError"),
        ("X-Amz-Expires", "absent", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature", "absent", "AuthorizationQueryParametersError"),
        ("X-Amz-Signature", "abc", "SignatureDoesNotMatch"),
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA1", "AuthorizationQueryParametersError"),
        ("X-Amz-Date", "2020-11-24", "AuthorizationQueryParametersError"),
        ("X-Amz-Date", "20201124T010000Z", "AccessDenied"),
        ("X-Amz-Credential", "k", "AuthorizationQueryParametersError"),
        ("X-Amz-SignedHeaders", "range", "AccessDenied"),
    ] {
        assert_eq!(code(&uri((name, value)), &[], None), expected, "{name}={value}");
    }
    let hidden = uri(("X-Amz-Expires", "604801")).replace("X-Amz", "%58-Amz");
    assert_eq!(code(&hidden, &[], None), "AuthorizationQueryParametersError");
    assert_eq!(code(&uri(("", "")), &[], Some("other")), "AuthorizationQueryParametersError");
    assert_eq!(code(&uri(("", "")), &[("x-amz-acl", "private")], None), "AccessDenied");
    let signed = uri(("X-Amz-SignedHeaders", "host%3Bx-amz-acl"));
    assert_eq!(code(&signed, &[("x-amz-acl", "private")], None), "fine");
}

#[test]
fn headers_in_the_query_of_a_presigned_url_are_headers() {
    let uri = "/b/k?X-Amz-Signature=0&x-amz-meta-a=b%20c&X-Amz-Acl=private&X-Amz-Expires=5&x-id=PutObject";
    let mut request = Request::builder().uri(uri).body(()).unwrap();
    hoist(&mut request).unwrap();
    let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    assert_eq!(headers, [("x-amz-meta-a", &b"b c"[..]), ("x-amz-acl", b"private")]);
    let mut twice = Request::builder().uri(uri).header("x-amz-acl", "private").body(()).unwrap();
    assert!(hoist(&mut twice).is_err());
    let mut unsigned = Request::builder().uri("/b/k?x-amz-acl=private").body(()).unwrap();
    hoist(&mut unsigned).unwrap();
    assert!(unsigned.headers().is_empty());
}
