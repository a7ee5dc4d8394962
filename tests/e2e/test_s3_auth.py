"""Who is let in at the S3 door: key pairs that are added and removed while the gateway runs, every form of a signature,
regions, and hosts that name a bucket."""

import base64
import os
import re
import zlib

import pytest

from harness import FAILED, HOST, NOT_FOUND, USAGE, Gateway, content, free_port, rsb
from support.sigv4 import SIGNED_CHUNKS, SIGNED_CHUNKS_TRAILER, UNSIGNED_CHUNKS_TRAILER, Connection, Signer, quote, raw

ALL = "read,write,delete,admin"


class Served:
    """A gateway without keys in its config."""

    def __init__(self, repository, **gateway):
        self.repository, self.address = repository, f"{HOST}:{free_port()}"
        self.gateway = Gateway(repository.config, repository.root / "serve.log", arguments=["--s3-listen", self.address], **gateway)

    def key(self, *arguments, **keywords):
        """Adds a key pair and gives its signer."""
        made = self.repository.rsb("--json", "key", "add", *arguments, expect=0, **keywords).json()
        return Signer(self.address, made["id"], made["secret"])

    def ask(self, data, method="GET"):
        with Connection(self.address) as connection:
            return connection.send(data).reply(method)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from conftest import LocalRepository
    repository = LocalRepository(tmp_path_factory.mktemp("auth"))
    served = Served(repository)
    with served.gateway:
        served.all = served.key("all", "--rights", ALL)
        assert served.ask(served.all.request("PUT", "/bkt")).status == 200
        assert served.ask(served.all.request("PUT", "/bkt/k", b"bytes")).status == 200
        yield served
        assert served.gateway.stop() == 0


# ── key pairs ────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_keys_come_and_go_while_the_gateway_runs(served):
    reader = served.key("job@home", "--rights", "read,write", "--bucket", "bkt", "--bucket", "pub-*")
    assert served.ask(reader.request("GET", "/bkt/k")).body == b"bytes"
    assert served.ask(reader.request("GET", "/other/k")).code == "AccessDenied"
    assert served.ask(reader.request("DELETE", "/bkt/k")).code == "AccessDenied"
    listed = {line["id"]: line for line in served.repository.rsb("--json", "key", "ls", expect=0).lines()}
    kept = listed["job@home"]
    assert (kept["rights"], kept["buckets"], kept["source"]) == (["read", "write"], ["bkt", "pub-*"], "store")
    # On one connection, and with a URL that was made before: from the next request on it is refused.
    url = reader.presign("GET", "/bkt/k")
    with Connection(served.address) as connection:
        assert connection.send(reader.request("GET", "/bkt/k")).reply().status == 200
        served.repository.rsb("key", "rm", "job@home", expect=0)
        assert connection.send(reader.request("GET", "/bkt/k")).reply().code == "InvalidAccessKeyId"
        assert connection.send(raw("GET", url, {"host": served.address})).reply().code == "InvalidAccessKeyId"
    served.repository.rsb("key", "rm", "job@home", expect=NOT_FOUND)
    # The same pair opens /v1 too.
    basic = base64.b64encode(f"{served.all.key}:{served.all.secret}".encode()).decode()
    assert served.gateway.request("GET", "/v1/b", headers={"Authorization": f"Basic {basic}"}).status == 200
    gone = base64.b64encode(f"{reader.key}:{reader.secret}".encode()).decode()
    assert served.gateway.request("GET", "/v1/b", headers={"Authorization": f"Basic {gone}"}).status == 401


def test_a_secret_is_told_once_and_stands_nowhere(served):
    secret = served.all.secret
    for arguments in (["key", "ls"], ["--json", "key", "ls"], ["config", "show"], ["config", "check"]):
        done = served.repository.rsb(*arguments)
        assert secret not in done.text and secret not in done.err, arguments
    for path in served.repository.root.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), path
    for name in ("rsb.db.keys", "rsb.db.keys.wrap"):
        assert os.stat(served.repository.root / name).st_mode & 0o777 == 0o600


def test_what_cannot_be_added(served):
    for arguments, code in [(["all"], FAILED), (["a b"], USAGE), (["a/b"], USAGE), ([""], USAGE), (["x", "--rights", "fly"], USAGE)]:
        done = served.repository.rsb("key", "add", *arguments)
        assert done.code == code, done
    done = rsb("key", "ls", server=served.gateway.url)
    assert done.code == USAGE and "--server" in done.err
    random = served.repository.rsb("key", "add", expect=0).text
    made = re.search(r"^id +(rsb-[0-9a-f]{16})\nsecret +([0-9a-f]{40})$", random, re.M)
    assert made, random
    served.repository.rsb("key", "rm", made[1], expect=0)


def test_the_wrapping_key_is_from_where_the_config_says(local):
    repository = local(gateway={"key_store": {"file": "pairs.json", "secret_env": "WRAP"}})
    right, wrong = {"WRAP": "a text of at least thirty-two characters"}, {"WRAP": "another text of at least thirty-two characters"}
    assert "WRAP" in repository.rsb("key", "add", "a", expect=USAGE).err
    assert "at least 32" in repository.rsb("key", "add", "a", expect=USAGE, env={"WRAP": "short"}).err
    repository.rsb("key", "add", "a", expect=0, env=right)
    assert not (repository.root / "pairs.json.wrap").exists()
    for arguments in (["key", "add", "b"], ["serve", "--listen", f"{HOST}:0"]):
        done = repository.rsb(*arguments, env=wrong)
        assert done.code == USAGE and "not the one it was made with" in done.err and "Traceback" not in done.err, done
    # Removing asks for no secret: it is the way out.
    repository.rsb("key", "rm", "a", expect=0)
    repository.rsb("key", "add", "b", expect=0, env=wrong)


def test_a_gateway_for_others_starts_with_stored_keys_alone(local):
    repository = local()
    repository.config.write_text(repository.config.read_text().replace("[gateway]", '[gateway]\nauth = "required"'))
    assert "rsb key add" in repository.rsb("serve", expect=USAGE).err
    served = Served(repository)
    signer = served.key("first", "--rights", ALL)
    with served.gateway:
        assert served.gateway.request("GET", "/v1/b").status == 401
        assert served.ask(signer.request("PUT", "/bkt")).status == 200


# ── signatures ───────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("key", ["plain", "with space", "ü/ö", "a+b=c&d", "%41", "a//b", "~tilde*'()"])
def test_names_are_signed_as_they_are(served, key):
    target = "/bkt/names/" + quote(key, safe="-._~/")
    assert served.ask(served.all.request("PUT", target, key.encode())).status == 200
    assert served.ask(served.all.request("GET", target)).body == key.encode()
    assert served.ask(raw("GET", served.all.presign("GET", target), {"host": served.address})).body == key.encode()


@pytest.mark.parametrize("digest, trailer", [(SIGNED_CHUNKS, None), (SIGNED_CHUNKS_TRAILER, True), (UNSIGNED_CHUNKS_TRAILER, True)])
def test_chunks(served, digest, trailer):
    parts = [content(64 << 10), content(64 << 10, 1), content(1000, 2)]
    data = b"".join(parts)
    if trailer:
        trailer = ("x-amz-checksum-crc32", base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode())
    reply = served.ask(served.all.chunks("/bkt/chunks", parts, digest=digest, trailer=trailer))
    assert reply.status == 200, reply
    assert served.ask(served.all.request("GET", "/bkt/chunks")).body == data


def test_presigned(served):
    """Reads, writes, overrides, ranges, and headers that a client has moved into the query."""
    host = {"host": served.address}
    assert served.ask(raw("GET", served.all.presign("GET", "/bkt/k"), {**host, "range": "bytes=1-2"})).body == b"yt"
    assert served.ask(raw("HEAD", served.all.presign("HEAD", "/bkt/k"), host), "HEAD").status == 200
    shown = served.ask(raw("GET", served.all.presign("GET", "/bkt/k?response-content-type=a%2Fb"), host))
    assert shown.headers["content-type"] == "a/b"
    moved = "/bkt/moved?x-amz-meta-who=a%20b&x-amz-storage-class=STANDARD_IA&x-amz-acl=private"
    assert served.ask(raw("PUT", served.all.presign("PUT", moved), host, b"moved")).status == 200
    got = served.ask(served.all.request("GET", "/bkt/moved"))
    assert (got.body, got.headers["x-amz-meta-who"], got.headers["x-amz-storage-class"]) == (b"moved", "a b", "STANDARD_IA")
    copied = served.all.presign("PUT", "/bkt/copied?x-amz-copy-source=%2Fbkt%2Fmoved")
    assert served.ask(raw("PUT", copied, host)).status == 200
    assert served.ask(served.all.request("GET", "/bkt/copied")).body == b"moved"
    refused = served.ask(raw("PUT", served.all.presign("PUT", "/bkt/no?x-amz-acl=public-read"), host, b"x"))
    assert refused.code == "NotImplemented"
    wrong_sum = served.all.presign("PUT", "/bkt/no?x-amz-checksum-crc32=AAAAAA%3D%3D")
    assert served.ask(raw("PUT", wrong_sum, host, b"x")).code == "BadDigest"
    signed = served.all.presign("PUT", "/bkt/typed", headers={"content-type": "text/x"})
    assert served.ask(raw("PUT", signed, {**host, "content-type": "text/x"}, b"x")).status == 200
    assert served.ask(raw("PUT", signed, {**host, "content-type": "text/y"}, b"x")).code == "SignatureDoesNotMatch"


def test_reads_that_s3_is_lenient_with(served):
    """Ranges that cannot be read and lists of entity tags, signed like any header."""
    etag = served.ask(served.all.request("GET", "/bkt/k")).headers["etag"]
    for header, value, status, body in [
            ("range", "bytes=0-1,3-4", 200, b"bytes"), ("range", "rows=1-2", 200, b"bytes"), ("range", "bytes=3-2", 200, b"bytes"),
            ("range", "bytes=", 200, b"bytes"), ("range", "bytes=0-0", 206, b"b"), ("range", "bytes=-2", 206, b"es"),
            ("if-none-match", f'"other", {etag}', 304, b""), ("if-match", f'"other", {etag}', 200, b"bytes"),
            ("if-match", '"one", "two"', 412, None), ("if-none-match", '"one", "two"', 200, b"bytes"),
            ("if-modified-since", "yesterday", 200, b"bytes")]:
        for request in (served.all.request("GET", "/bkt/k", b"", {header: value}),
                        raw("GET", served.all.presign("GET", "/bkt/k"), {"host": served.address, header: value})):
            reply = served.ask(request)
            assert reply.status == status and body in (None, reply.body), (header, value, reply)
        assert served.ask(served.all.request("GET", "/bkt/k", b"", {header: value}, signature="0" * 64)).code == "SignatureDoesNotMatch"
        assert served.ask(raw("GET", "/bkt/k", {"host": served.address, header: value})).code == "AccessDenied"


def test_any_region_unless_one_is_configured(local, served):
    assert served.ask(Signer(served.address, "all", served.all.secret, "mars-1").request("GET", "/bkt/k")).status == 200
    strict = Served(local(gateway={"region": "eu-west-1"}))
    signer = strict.key("all", "--rights", ALL)
    with strict.gateway:
        refused = strict.ask(signer.request("GET", "/"))
        assert (refused.status, refused.code) == (400, "AuthorizationHeaderMalformed")
        assert b"eu-west-1" in refused.body and refused.headers["x-amz-bucket-region"] == "eu-west-1"
        presigned = strict.ask(raw("GET", signer.presign("GET", "/"), {"host": strict.address}))
        assert presigned.code == "AuthorizationQueryParametersError"
        signer.region = "eu-west-1"
        assert strict.ask(signer.request("PUT", "/bkt")).status == 200
        assert strict.ask(signer.request("HEAD", "/bkt"), "HEAD").headers["x-amz-bucket-region"] == "eu-west-1"
        assert b"eu-west-1" in strict.ask(signer.request("GET", "/bkt?location=")).body


def test_a_bucket_may_be_named_by_the_host(local):
    served = Served(local(gateway={"s3_domain": ["s3.example.org", "localhost"]}))
    signer = served.key("all", "--rights", ALL)
    with served.gateway:
        named = Signer("bkt.S3.example.org:80", signer.key, signer.secret)
        assert served.ask(named.request("PUT", "/")).status == 200
        assert served.ask(named.request("PUT", "/a/b", b"by host")).status == 200
        assert served.ask(signer.request("GET", "/bkt/a/b")).body == b"by host"
        assert served.ask(raw("GET", named.presign("GET", "/a/b"), {"host": named.host})).body == b"by host"
        assert b"<Key>a/b</Key>" in served.ask(named.request("GET", "/?list-type=2")).body
        # The domain itself, an address and any other name are path style.
        for host in ("s3.example.org", "bkt.elsewhere.org", served.address):
            path = Signer(host, signer.key, signer.secret)
            assert served.ask(path.request("GET", "/bkt/a/b")).body == b"by host", host
        assert served.ask(Signer("none.localhost", signer.key, signer.secret).request("GET", "/a/b")).code == "NoSuchBucket"
