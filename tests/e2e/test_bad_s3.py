"""Bad requests to the S3 door, over sockets: each gets S3's own code and status, nothing is written, and where the
connection may go on it does."""

import base64
import hashlib
import json
import threading

import pytest

from harness import HOST, KIB, MIB, Gateway, assert_unchanged, content, free_port, settled
from support.sigv4 import (SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER, Connection, Signer, raw)

ALL = ["read", "write", "delete", "admin"]
KEYS = [{"id": "all", "secret": "secret-of-all", "rights": ALL}, {"id": "reader", "secret": "secret-of-reader", "rights": ["read"]}]
GOOD = b"good bytes"
K = "/bkt/new"
CRC = "x-amz-checksum-crc32"


class Served:
    def __init__(self, repository):
        self.repository, self.address = repository, f"{HOST}:{free_port()}"
        self.gateway = Gateway(repository.config, repository.root / "serve.log", arguments=["--s3-listen", self.address])
        self.all = Signer(self.address, "all", "secret-of-all")
        self.reader = Signer(self.address, "reader", "secret-of-reader")

    def connect(self, timeout=30):
        return Connection(self.address, timeout)

    def ask(self, *arguments, **keywords):
        """One good request's reply."""
        with self.connect() as connection:
            return connection.send(self.all.request(*arguments, **keywords)).reply(arguments[0])


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from conftest import LocalRepository
    repository = LocalRepository(tmp_path_factory.mktemp("bads3"))
    with open(repository.config, "a") as config:
        for key in KEYS:
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in key.items())
            config.write(f"\n[[gateway.keys]]\n{lines}\n")
    served = Served(repository)
    with served.gateway:
        assert served.ask("PUT", "/bkt").status == 200
        assert served.ask("PUT", "/bkt/k", GOOD).status == 200
        served.before, served.listed = settled(*repository.folders), served.ask("GET", "/bkt?list-type=2").body
        yield served
        assert served.gateway.stop() == 0


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def xml(text):
    """An XML body that is signed and has its MD5, as S3 asks for."""
    body = text if isinstance(text, bytes) else text.encode()
    return body, {"content-md5": md5(body)}


def with_xml(method, target, text):
    return lambda s: s.all.request(method, target, *xml(text))


def put(body=GOOD, extra=None, **wrong):
    return lambda s: s.all.request("PUT", K, body, extra, **wrong)


def get(target="/bkt/k", extra=None, **wrong):
    return lambda s: s.all.request("GET", target, b"", extra, **wrong)


def presigned(method="GET", body=b"", extra=None, **wrong):
    return lambda s: raw(method, s.all.presign(method, "/bkt/k" if method == "GET" else K, **wrong), {"host": s.address, **(extra or {})}, body)


def unsigned(method, target, headers=None, body=b"", length=None):
    return lambda s: raw(method, target, {"host": s.address, **(headers or {})}, body, length)


def chunks(parts=(b"a" * 8 * KIB, b"b" * 100), **wrong):
    return lambda s: s.all.chunks(K, list(parts), **wrong)


def form(fields=None, file=GOOD, target=None, boundary=None, **wrong):
    def build(s):
        where, headers, body = s.all.form("bkt", {"key": "new"} if fields is None else fields, file, **wrong)
        if boundary is not None:
            headers["content-type"] = boundary
        return raw("POST", target or where, headers, body)
    return build


def authorization(change):
    """A good request whose Authorization header is changed."""
    def build(s):
        headers = s.all.headers("GET", "/bkt/k")
        headers["authorization"] = change(headers["authorization"])
        return raw("GET", "/bkt/k", headers)
    return build


DELETE = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}</Delete>'
ONE = "<Object><Key>k</Key></Object>"
BOMB = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(9)) + "]><Delete><Object><Key>&j;</Key></Object></Delete>"
CORS = "<CORSConfiguration>{}</CORSConfiguration>"
RULE = "<CORSRule><AllowedOrigin>{}</AllowedOrigin><AllowedMethod>{}</AllowedMethod>{}</CORSRule>"


def policy(**change):
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bkt/*", **change}
    text = json.dumps({"Version": "2012-10-17", "Statement": [{k: v for k, v in statement.items() if v is not None}]})
    return lambda s: s.all.request("PUT", "/bkt?policy=", text.encode())


# What is sent, the status, S3's code; "cut" where the connection need not go on.
BAD = {
    # who asks
    "no signature": (unsigned("GET", "/bkt/k"), 403, "AccessDenied"),
    "no signature on a write": (unsigned("PUT", K, body=GOOD), 403, "AccessDenied"),
    "no signature on a list of buckets": (unsigned("GET", "/"), 403, "AccessDenied"),
    "an unknown key": (get(key="nobody"), 403, "InvalidAccessKeyId"),
    "a wrong secret": (lambda s: Signer(s.address, "all", "wrong").request("GET", "/bkt/k"), 403, "SignatureDoesNotMatch"),
    "a signature of zeros": (get(signature="0" * 64), 403, "SignatureDoesNotMatch"),
    "a signature that is too short": (get(signature="abc"), 403, "SignatureDoesNotMatch"),
    "a signature in capitals": (authorization(lambda a: a[:-64] + a[-64:].upper().replace("0", "A")), 403, "SignatureDoesNotMatch"),
    "signed for another path": (lambda s: s.all.request("GET", "/bkt/other").replace(b"/bkt/other", b"/bkt/k"), 403, "SignatureDoesNotMatch"),
    "signed for another method": (lambda s: s.all.request("HEAD", "/bkt/k").replace(b"HEAD", b"GET", 1), 403, "SignatureDoesNotMatch"),
    "signed for another host": (lambda s: Signer("elsewhere", "all", "secret-of-all").request("GET", "/bkt/k").replace(b"elsewhere", s.address.encode(), 1), 403, "SignatureDoesNotMatch"),
    "signed with another query": (lambda s: s.all.request("GET", "/bkt?list-type=2").replace(b"list-type=2 ", b"list-type=2&prefix=a "), 403, "SignatureDoesNotMatch"),
    "a clock 20 minutes behind": (get(at=-1200), 403, "RequestTimeTooSkewed"),
    "a clock 20 minutes ahead": (get(at=1200), 403, "RequestTimeTooSkewed"),
    "a date of another day in the scope": (get(day="20200101"), 400, "AuthorizationHeaderMalformed"),
    "another service": (get(service="sqs"), 400, "AuthorizationHeaderMalformed"),
    "the service sts": (get(service="sts"), 400, "AuthorizationHeaderMalformed"),
    "a scope that is cut short": (authorization(lambda a: a.replace("/aws4_request", "")), 400, "AuthorizationHeaderMalformed"),
    "no Credential": (authorization(lambda a: a.replace("Credential=", "Credentials=")), 400, "AuthorizationHeaderMalformed"),
    "no SignedHeaders": (authorization(lambda a: a.replace("SignedHeaders=", "Signed=")), 400, "AuthorizationHeaderMalformed"),
    "no Signature": (authorization(lambda a: a.split(", Signature")[0]), 400, "AuthorizationHeaderMalformed"),
    "HTTP Basic": (authorization(lambda a: "Basic YWxsOnNlY3JldC1vZi1hbGw="), 400, "InvalidArgument"),
    "a bearer's token": (authorization(lambda a: "Bearer abc"), 400, "InvalidArgument"),
    "signature version 2": (authorization(lambda a: "AWS all:c2lnbmF0dXJl"), 400, "InvalidRequest"),
    "signature version 2 in the query, wrong": (unsigned("GET", "/bkt/k?AWSAccessKeyId=all&Signature=a&Expires=99999999999"), 403, "SignatureDoesNotMatch"),
    "signature version 2 of a key that is not there": (unsigned("GET", "/bkt/k?AWSAccessKeyId=no&Signature=a&Expires=99999999999"), 403, "InvalidAccessKeyId"),
    "signature version 2 that has expired": (unsigned("GET", "/bkt/k?AWSAccessKeyId=all&Signature=a&Expires=1"), 403, "AccessDenied"),
    "signature version 2 without an end": (unsigned("GET", "/bkt/k?AWSAccessKeyId=all&Signature=a"), 403, "AccessDenied"),
    "signature version 2 and 4 at once": (unsigned("GET", "/bkt/k?AWSAccessKeyId=all&Signature=a&Expires=99999999999&X-Amz-Signature=b"), 400, "InvalidArgument"),
    "signature version 2 with a parameter it does not cover": (unsigned("PUT", "/bkt/k?AWSAccessKeyId=all&Signature=a&Expires=99999999999&retention"), 403, "AccessDenied"),
    "no date": (lambda s: s.all.request("GET", "/bkt/k").replace(b"x-amz-date", b"x-odd-date"), 403, "AccessDenied"),
    "a date that is none": (lambda s: raw("GET", "/bkt/k", {**s.all.headers("GET", "/bkt/k"), "x-amz-date": "today"}), 403, "AccessDenied"),
    "host not signed": (get(unsigned=("host",)), 403, "AccessDenied"),
    "a header of S3's that is not signed": (put(extra={"x-amz-meta-a": "b"}, unsigned=("x-amz-meta-a",)), 403, "AccessDenied"),
    "a header changed after signing": (lambda s: s.all.request("PUT", K, GOOD, {"x-amz-meta-a": "b"}).replace(b"x-amz-meta-a: b", b"x-amz-meta-a: c"), 403, "SignatureDoesNotMatch"),
    "no x-amz-content-sha256": (lambda s: s.all.request("GET", "/bkt/k", unsigned=("x-amz-content-sha256",)).replace(b"x-amz-content-sha256", b"x-odd"), 400, "InvalidRequest"),
    "an x-amz-content-sha256 that is none": (put(digest="abc"), 400, "InvalidArgument"),
    "a session token": (get(extra={"x-amz-security-token": "t"}), 400, "InvalidToken"),
    "signed in the head and in the query": (lambda s: s.all.request("GET", "/bkt/k?X-Amz-Signature=0"), 400, "InvalidArgument"),
    "a key without the right to write": (lambda s: s.reader.request("PUT", K, GOOD), 403, "AccessDenied"),
    "a key without the right to delete": (lambda s: s.reader.request("DELETE", "/bkt/k"), 403, "AccessDenied"),
    "a key without the right to make buckets": (lambda s: s.reader.request("PUT", "/new-bucket"), 403, "AccessDenied"),
    # presigned URLs
    "an expired URL": (presigned(at=-100, expires=60), 403, "AccessDenied"),
    "a URL that is not valid yet": (presigned(at=1200), 403, "AccessDenied"),
    "a URL for more than a week": (presigned(expires=604801), 400, "AuthorizationQueryParametersError"),
    "a URL for less than nothing": (presigned(expires=-1), 400, "AuthorizationQueryParametersError"),
    "a URL for a word": (presigned(expires="soon"), 400, "AuthorizationQueryParametersError"),
    "a URL whose expiry was changed": (presigned(change={"X-Amz-Expires": "61"}), 403, "SignatureDoesNotMatch"),
    "a URL without an expiry": (presigned(drop=("X-Amz-Expires",)), 400, "AuthorizationQueryParametersError"),
    "a URL without a signature": (presigned(drop=("X-Amz-Signature",)), 400, "AuthorizationQueryParametersError"),
    "a URL with another algorithm": (presigned(change={"X-Amz-Algorithm": "AWS4-HMAC-SHA1"}), 400, "AuthorizationQueryParametersError"),
    "a URL with a date that is none": (presigned(change={"X-Amz-Date": "2020"}), 400, "AuthorizationQueryParametersError"),
    "a URL with a credential that is none": (presigned(change={"X-Amz-Credential": "all"}), 400, "AuthorizationQueryParametersError"),
    "a URL for GET used to PUT": (lambda s: raw("PUT", s.all.presign("GET", K), {"host": s.address}, GOOD), 403, "SignatureDoesNotMatch"),
    "a URL with a header that is not signed": (presigned("PUT", GOOD, {"x-amz-meta-a": "b"}), 403, "AccessDenied"),
    "a URL whose header in the query was changed": (lambda s: raw("PUT", s.all.presign("PUT", K + "?x-amz-meta-a=b").replace("meta-a=b", "meta-a=c"), {"host": s.address}, GOOD), 403, "SignatureDoesNotMatch"),
    "a URL with a token": (lambda s: raw("GET", s.all.presign("GET", "/bkt/k?X-Amz-Security-Token=t"), {"host": s.address}), 400, "InvalidToken"),
    # bodies
    "a body that is not the signed one": (put(send=b"evil bytes"), 400, "XAmzContentSHA256Mismatch"),
    "a wrong Content-MD5": (put(extra={"content-md5": md5(b"other")}), 400, "BadDigest"),
    "a Content-MD5 that is none": (put(extra={"content-md5": "abc"}), 400, "InvalidDigest"),
    "a wrong CRC32": (put(extra={CRC: "AAAAAA=="}), 400, "BadDigest"),
    "a CRC32 that is none": (put(extra={CRC: "A"}), 400, "InvalidRequest"),
    "a wrong SHA-256": (put(extra={"x-amz-checksum-sha256": base64.b64encode(bytes(32)).decode()}), 400, "BadDigest"),
    "two checksums": (put(extra={CRC: "AAAAAA==", "x-amz-checksum-sha1": base64.b64encode(bytes(20)).decode()}), 400, "InvalidRequest"),
    "no length": (put(length=False, digest="UNSIGNED-PAYLOAD", extra={"transfer-encoding": "chunked"}, send=b"3\r\nabc\r\n0\r\n\r\n"), 411, "MissingContentLength", "cut"),
    "a length that is none": (lambda s: raw("PUT", K, {"host": s.address, "content-length": "many"}), 400, None, "cut"),
    "two lengths": (lambda s: raw("PUT", K, {"host": s.address, "content-length": "3", "Content-Length": "4"}, b"abc", False), 400, None, "cut"),
    "metadata of 3 KiB": (put(extra={"x-amz-meta-a": "b" * 3000}), 400, "MetadataTooLarge"),
    "a storage class that is none": (put(extra={"x-amz-storage-class": "COLD"}), 400, "InvalidStorageClass"),
    "If-Match and If-None-Match": (put(extra={"if-match": "\"a\"", "if-none-match": "*"}), 501, "NotImplemented"),
    "If-None-Match on what is there": (lambda s: s.all.request("PUT", "/bkt/k", b"x", {"if-none-match": "*"}), 412, "PreconditionFailed"),
    "If-Match on what is not there": (put(extra={"if-match": "\"a\""}), 404, "NoSuchKey"),
    "encryption that is not there": (put(extra={"x-amz-server-side-encryption": "aws:kms"}), 501, "NotImplemented"),
    # aws-chunked bodies
    "a chunk that was changed": (chunks(spoil=0), 403, "SignatureDoesNotMatch"),
    "the last chunk changed": (chunks(spoil=1), 403, "SignatureDoesNotMatch"),
    "chunks of another length than told": (chunks(length=5), 403, "SignatureDoesNotMatch"),
    "a wrong trailing checksum": (chunks(digest=SIGNED_CHUNKS_TRAILER, trailer=(CRC, "AAAAAA==")), 400, "BadDigest"),
    "a wrong trailing checksum, unsigned": (chunks(digest=UNSIGNED_CHUNKS_TRAILER, trailer=(CRC, "AAAAAA==")), 400, "BadDigest"),
    "a trailer that was not announced": (lambda s: s.all.chunks(K, [b"abc"], digest=UNSIGNED_CHUNKS_TRAILER, trailer=(CRC, "NSRBwg==")).replace(b"x-amz-trailer: " + CRC.encode(), b"x-odd: " + CRC.encode()), 403, "SignatureDoesNotMatch"),
    "chunks without the length of what is in them": (lambda s: raw("PUT", K, s.all.headers("PUT", K, digest=SIGNED_CHUNKS), b"0;chunk-signature=0\r\n\r\n"), 411, "MissingContentLength"),
    # XML
    "XML that is none": (with_xml("POST", "/bkt?delete=", "<Delete>"), 400, "MalformedXML"),
    "no XML": (with_xml("POST", "/bkt?delete=", ""), 400, "MissingRequestBodyError"),
    "JSON for XML": (with_xml("POST", "/bkt?delete=", "{}"), 400, "MalformedXML"),
    "other XML": (with_xml("POST", "/bkt?delete=", "<Remove/>"), 400, "MalformedXML"),
    "XML that is not UTF-8": (with_xml("POST", "/bkt?delete=", DELETE.format(ONE).encode().replace(b"k<", b"\xff<")), 400, "MalformedXML"),
    "an entity bomb": (with_xml("POST", "/bkt?delete=", BOMB), 400, "MalformedXML"),
    "an entity from a file": (with_xml("POST", "/bkt?delete=", '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>'), 400, "MalformedXML"),
    "XML of 10 MiB": (with_xml("POST", "/bkt?delete=", DELETE.format(ONE + " " * 10 * MIB)), 400, "MaxMessageLengthExceeded", "cut"),
    "1,001 keys to delete": (with_xml("POST", "/bkt?delete=", DELETE.format(ONE * 1001)), 400, "MalformedXML"),
    "deletes with a wrong Content-MD5": (lambda s: s.all.request("POST", "/bkt?delete=", DELETE.format(ONE).encode(), {"content-md5": md5(b"x")}), 400, "BadDigest"),
    "a status of versioning that is none": (with_xml("PUT", "/bkt?versioning=", "<VersioningConfiguration><Status>Maybe</Status></VersioningConfiguration>"), 400, "MalformedXML"),
    # CORS, policies
    "no CORS rule": (with_xml("PUT", "/bkt?cors=", CORS.format("")), 400, "MalformedXML"),
    "101 CORS rules": (with_xml("PUT", "/bkt?cors=", CORS.format(RULE.format("*", "GET", "") * 101)), 400, "MalformedXML"),
    "a CORS method that is none": (with_xml("PUT", "/bkt?cors=", CORS.format(RULE.format("*", "PATCH", ""))), 400, "InvalidRequest"),
    "a CORS origin with two wildcards": (with_xml("PUT", "/bkt?cors=", CORS.format(RULE.format("http://*.*", "GET", ""))), 400, "InvalidRequest"),
    "an exposed wildcard": (with_xml("PUT", "/bkt?cors=", CORS.format(RULE.format("*", "GET", "<ExposeHeader>x-*</ExposeHeader>"))), 400, "InvalidRequest"),
    "a preflight where there is no CORS": (unsigned("OPTIONS", "/bkt/k", {"origin": "http://a", "access-control-request-method": "GET"}), 403, "AccessForbidden"),
    "a preflight without an origin": (unsigned("OPTIONS", "/bkt/k"), 400, "BadRequest"),
    "a policy that is none": (lambda s: s.all.request("PUT", "/bkt?policy=", b"{"), 400, "MalformedPolicy"),
    "a policy for another bucket": (policy(Resource="arn:aws:s3:::other/*"), 400, "MalformedPolicy"),
    "a policy that lets everybody write": (policy(Action="s3:PutObject"), 501, "NotImplemented"),
    "a policy that denies": (policy(Effect="Deny"), 501, "NotImplemented"),
    "a policy with a condition": (policy(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}), 501, "NotImplemented"),
    "a policy without a principal": (policy(Principal=None), 400, "MalformedPolicy"),
    # names, parameters
    "a bucket that is not there": (get("/none/k"), 404, "NoSuchBucket"),
    "a key that is not there": (get("/bkt/none"), 404, "NoSuchKey"),
    "a write to a bucket that is not there": (lambda s: s.all.request("PUT", "/none/k", GOOD), 404, "NoSuchBucket"),
    "a bucket's name in capitals": (lambda s: s.all.request("PUT", "/NEW"), 400, "InvalidBucketName"),
    "a bucket's name of two letters": (lambda s: s.all.request("PUT", "/ab"), 400, "InvalidBucketName"),
    "a bucket that is there already": (lambda s: s.all.request("PUT", "/bkt"), 409, "BucketAlreadyOwnedByYou"),
    "a bucket that is not empty": (lambda s: s.all.request("DELETE", "/bkt"), 409, "BucketNotEmpty"),
    "a key of 1,025 bytes": (lambda s: s.all.request("PUT", "/bkt/" + "k" * 1025, GOOD), 400, "KeyTooLongError"),
    "a key that climbs": (lambda s: s.all.request("PUT", "/bkt/a/../b", GOOD), 400, "InvalidArgument"),
    "a key with NUL": (lambda s: s.all.request("PUT", "/bkt/a%00b", GOOD), 400, "InvalidArgument"),
    "a key that is not UTF-8": (lambda s: s.all.request("PUT", "/bkt/%ff", GOOD), 400, "InvalidURI"),
    "a version that is none": (get("/bkt/k?versionId=abc"), 400, "InvalidArgument"),
    "max-keys that is none": (get("/bkt?list-type=2&max-keys=many"), 400, "InvalidArgument"),
    "max-keys below nothing": (get("/bkt?list-type=2&max-keys=-1"), 400, "InvalidArgument"),
    "a range beyond the end": (get(extra={"range": "bytes=100-"}), 416, "InvalidRange"),
    "a copy from nowhere": (lambda s: s.all.request("PUT", K, b"", {"x-amz-copy-source": "/bkt/none"}), 404, "NoSuchKey"),
    "a copy from what is no source": (lambda s: s.all.request("PUT", K, b"", {"x-amz-copy-source": "bkt"}), 400, "InvalidArgument"),
    "an operation that is not served": (with_xml("PUT", "/bkt?website=", "<WebsiteConfiguration/>"), 501, "NotImplemented"),
    "a method that is none": (lambda s: s.all.request("BREW", "/bkt/k"), 405, "MethodNotAllowed"),
    # forms
    "a form without a signature": (form(drop=("x-amz-signature",)), 403, "AccessDenied"),
    "a form without a policy": (form(drop=("policy",)), 403, "AccessDenied"),
    "a form with a wrong signature": (form(signature="0" * 64), 403, "SignatureDoesNotMatch"),
    "a form that has expired": (form(expires=-1), 403, "AccessDenied"),
    "a form with a field of its own": (form(more=[], fields={"key": "new", "x-amz-meta-a": "b"}, conditions=[["eq", "$key", "new"]]), 403, "AccessDenied"),
    "a form with another key": (form(conditions=[["eq", "$key", "other"]]), 403, "AccessDenied"),
    "a form with a key elsewhere": (form(conditions=[["starts-with", "$key", "user/"]]), 403, "AccessDenied"),
    "a form's file that is too long": (form(conditions=[["eq", "$key", "new"], ["content-length-range", 0, 3]]), 400, "EntityTooLarge"),
    "a form's file that is too short": (form(conditions=[["eq", "$key", "new"], ["content-length-range", 100, 300]]), 400, "EntityTooSmall"),
    "a form without a file": (form(file=None), 400, "InvalidArgument"),
    "a form without a key": (form(fields={}), 400, "InvalidArgument"),
    "a form to a key": (form(target="/bkt/new"), 405, "MethodNotAllowed"),
    "a form to a bucket that is not there": (form(target="/none"), 403, "AccessDenied"),
    "a form without a boundary": (form(boundary="multipart/form-data"), 400, "MalformedPOSTRequest"),
    "a form with another boundary": (form(boundary="multipart/form-data; boundary=YY"), 400, "MalformedPOSTRequest"),
    "a form's field of 40 KiB": (form(fields={"key": "new", "x-ignore-it": "x" * 40 * KIB}), 400, "MalformedPOSTRequest"),
    "a form that reader made": (lambda s: raw("POST", *s.reader.form("bkt", {"key": "new"}, GOOD)), 403, "AccessDenied"),
    # what is no request
    "a head of 500 KiB": (lambda s: raw("GET", "/bkt/k", {"host": s.address, "x-odd": "x" * 500 * KIB}), 431, None, "cut"),
    "bytes that are no HTTP": (lambda s: b"\x16\x03\x01\x02\x00 hello\r\n\r\n", 400, None, "cut"),
    "an address of 70 KiB": (lambda s: raw("GET", "/bkt/" + "k" * 70 * KIB, {"host": s.address}), {414, 431}, None, "cut"),
}


def test_there_are_many():
    assert len(BAD) >= 80


@pytest.mark.parametrize("name", BAD)
def test_it_is_refused(served, name):
    build, status, code, *cut = BAD[name]
    request = build(served)
    with served.connect() as connection:
        reply = connection.send(request).reply(request.split(b" ", 1)[0].decode(errors="replace"))
        assert reply is not None, "no reply"
        assert reply.status in (status if isinstance(status, set) else {status}), reply
        if code:
            assert reply.code == code, reply
            assert b"<Message>" in reply.body and b"secret-of" not in reply.body, reply
        if not cut:
            after = connection.send(served.all.request("GET", "/bkt/k")).reply()
            assert after is not None and (after.status, after.body) == (200, GOOD), f"{reply}, then {after}"
    assert served.ask("GET", "/bkt/k").body == GOOD
    assert served.ask("GET", "/bkt?list-type=2").body == served.listed
    assert_unchanged(served.before, *served.repository.folders)


# ── bodies that do not come ──────────────────────────────────────────────────────────────────────────────────────────

HALF = {
    "a body": lambda s: s.all.request("PUT", K, GOOD * 1000, send=GOOD, length=len(GOOD) * 1000),
    "an unsigned body": lambda s: s.all.request("PUT", K, b"", digest="UNSIGNED-PAYLOAD", send=GOOD, length=1000),
    "chunks": lambda s: s.all.chunks(K, [b"a" * 8 * KIB, b"b" * 100], cut=40),
    "a trailer": lambda s: s.all.chunks(K, [b"abc"], digest=UNSIGNED_CHUNKS_TRAILER, trailer=(CRC, "NSRBwg=="), cut=10),
    "XML": lambda s: s.all.request("POST", "/bkt?delete=", *xml(DELETE.format(ONE)), send=b"<Delete>", length=len(DELETE.format(ONE))),
    "a form": lambda s: raw("POST", *s.all.form("bkt", {"key": "new"}, GOOD * 100)[:2], s.all.form("bkt", {"key": "new"}, GOOD * 100)[2][:-300], 10_000),
    "a head": lambda s: b"PUT /bkt/new HTTP/1.1\r\nHost: a\r\n",
}


@pytest.mark.parametrize("what", HALF)
def test_a_sender_that_goes_away_leaves_nothing(served, what):
    with served.connect() as connection:
        connection.send(HALF[what](served))
    assert_unchanged(served.before, *served.repository.folders)
    assert served.ask("GET", "/bkt?list-type=2").body == served.listed


def test_a_body_that_nobody_wants_is_not_asked_for(served):
    """With `Expect: 100-continue` a refusal comes before the body, and leave to send only after signature and headers."""
    for extra, key, code in [({}, served.reader, "AccessDenied"), ({"content-md5": "abc"}, served.all, "InvalidDigest"),
                             ({"x-amz-storage-class": "COLD"}, served.all, "InvalidStorageClass"),
                             ({"if-match": '"a"', "if-none-match": "*"}, served.all, "NotImplemented")]:
        request = key.request("PUT", K, GOOD, {"expect": "100-continue", **extra}, unsigned=("expect",))
        with served.connect() as connection:
            reply = connection.send(request[:-len(GOOD)]).reply()
            assert reply.code == code, reply
    request = served.all.request("PUT", "/bkt/k", GOOD, {"expect": "100-continue"}, unsigned=("expect",))
    with served.connect() as connection:
        assert connection.send(request[:-len(GOOD)]).reply().status == 100
        assert connection.send(GOOD).reply().status == 200
        assert connection.send(served.all.request("GET", "/bkt/k")).reply().body == GOOD
    served.before, served.listed = settled(*served.repository.folders), served.ask("GET", "/bkt?list-type=2").body


def test_a_refused_upload_is_drained_or_cut(served):
    """Its sender gets to read why; what follows on the connection is answered, or the connection is closed."""
    body = content(3 * MIB)
    request = served.reader.request("PUT", K, body)
    with served.connect() as connection:
        sender = threading.Thread(target=connection.send, args=(request + served.all.request("GET", "/bkt/k"),))
        sender.start()
        reply = connection.reply()
        assert (reply.status, reply.code) == (403, "AccessDenied")
        after = connection.reply()
        assert after is None or after.body == GOOD
        sender.join()


def test_requests_in_a_row_are_answered_in_a_row(served):
    """Pipelining, refusals between."""
    requests = [served.all.request("GET", "/bkt/k"), served.all.request("GET", "/bkt/none"),
                served.all.request("PUT", K, GOOD, {"content-md5": md5(b"x")}), raw("GET", "/bkt/k", {"host": served.address}),
                served.all.request("GET", "/bkt/k")]
    with served.connect() as connection:
        connection.send(b"".join(requests))
        assert [connection.reply().status for _ in requests] == [200, 404, 400, 403, 200]
    assert_unchanged(served.before, *served.repository.folders)
