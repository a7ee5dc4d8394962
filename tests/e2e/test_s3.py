"""The S3 door with the clients that people use: boto3 and the aws cli."""

import hashlib
import http.client
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from harness import HOST, MIB, Gateway, assert_unchanged, content, environment, free_port, rsb, settled
from support.tools import AWS, S3_PYTHON

pytestmark = pytest.mark.servers
# The clients live in an environment of their own, made with the same Python.
for packages in S3_PYTHON.parents[1].glob("lib/python3*/site-packages"):
    sys.path.append(str(packages))

ALL = ["read", "write", "delete", "admin"]
SECRETS = {"all": "secret-of-all", "reader": "secret-of-reader", "writer": "secret-of-writer"}
KEYS = [{"id": "all", "secret": SECRETS["all"], "rights": ALL},
        {"id": "reader", "secret": SECRETS["reader"], "rights": ["read"], "buckets": ["pub*"]},
        {"id": "writer", "secret": SECRETS["writer"], "rights": ["write"]}]
HELLO = b"hello"


class Door:
    """A gateway with both ports, and clients for its S3 door."""

    def __init__(self, repository):
        self.repository, self.address = repository, f"{HOST}:{free_port()}"
        self.url = f"http://{self.address}"
        self.gateway = Gateway(repository.config, repository.root / "serve.log", arguments=["--s3-listen", self.address])

    def client(self, key="all", secret=None, **config):
        import boto3
        from botocore.config import Config
        style = {"addressing_style": "path", **config.pop("s3", {})}
        return boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=key,
                            aws_secret_access_key=secret or SECRETS[key],
                            config=Config(retries={"max_attempts": 1}, s3=style, **config))

    def aws(self, *arguments, key="all", expect=0):
        home = self.repository.root / "aws"
        home.mkdir(exist_ok=True)
        (home / "config").write_text("[default]\ns3 =\n  addressing_style = path\n")
        env = environment({"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": SECRETS[key],
                           "AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": str(home / "config"), "HOME": str(home)})
        done = subprocess.run([str(AWS), "--endpoint-url", self.url, *map(str, arguments)], capture_output=True, text=True,
                              env=env, timeout=120)
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    from conftest import LocalRepository
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    door = Door(LocalRepository(tmp_path_factory.mktemp("s3")))
    with open(door.repository.config, "a") as config:
        for key in KEYS:
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in key.items())
            config.write(f"\n[[gateway.keys]]\n{lines}\n")
    with door.gateway:
        yield door
        assert door.gateway.stop() == 0


@pytest.fixture
def s3(door):
    return door.client()


@pytest.fixture
def bucket(s3, request):
    """A bucket of the test's own."""
    name = "b-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    s3.create_bucket(Bucket=name)
    return name


def refusal(call, **keywords):
    """The code and status that a call is refused with."""
    from botocore.exceptions import ClientError
    with pytest.raises(ClientError) as caught:
        call(**keywords)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def versions(s3, bucket, status):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})


# ── the same object behind every door ────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("size", [0, 1, 100_000, 3 * MIB + 7])
def test_an_object_put_by_one_door_is_there_at_the_others(door, s3, bucket, size, tmp_path):
    data = content(size)
    etag = hashlib.md5(data).hexdigest()
    put = s3.put_object(Bucket=bucket, Key="by/s3", Body=io.BytesIO(data), ContentType="text/x", Metadata={"who": "boto"})
    assert put["ETag"] == f'"{etag}"'
    over_http = door.gateway.request("GET", f"/v1/b/{bucket}/o/by/s3")
    assert (over_http.body, over_http.headers["content-type"], over_http.headers["x-rsb-meta-who"]) == (data, "text/x", "boto")
    assert rsb("--server", door.gateway.url, "cat", f"{bucket}/by/s3", expect=0).out == data

    assert door.gateway.request("PUT", f"/v1/b/{bucket}/o/by/http", data, {"x-rsb-meta-who": "v1"}).status == 201
    got = s3.get_object(Bucket=bucket, Key="by/http")
    assert (got["Body"].read(), got["ETag"], got["Metadata"]) == (data, f'"{etag}"', {"who": "v1"})

    file = tmp_path / "file"
    file.write_bytes(data)
    rsb("--server", door.gateway.url, "put", file, f"{bucket}/by/cli", expect=0)
    assert s3.get_object(Bucket=bucket, Key="by/cli")["Body"].read() == data
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["by/cli", "by/http", "by/s3"]


def test_aws_cli(door, bucket, tmp_path):
    source, back = tmp_path / "source", tmp_path / "back"
    (source / "deep").mkdir(parents=True)
    for name, size in (("a", 10), ("deep/b ü", 200_000), ("c", 0)):
        (source / name).write_bytes(content(size))
    door.aws("s3", "cp", "--recursive", source, f"s3://{bucket}/t/")
    assert "deep/" in door.aws("s3", "ls", f"s3://{bucket}/t/")
    assert door.aws("s3", "sync", source, f"s3://{bucket}/t/") == ""
    door.aws("s3", "sync", f"s3://{bucket}/t", back)
    same = {str(p.relative_to(source)): p.read_bytes() for p in source.rglob("*") if p.is_file()}
    assert {str(p.relative_to(back)): p.read_bytes() for p in back.rglob("*") if p.is_file()} == same
    door.aws("s3", "cp", f"s3://{bucket}/t/a", f"s3://{bucket}/copy")
    url = door.aws("s3", "presign", f"s3://{bucket}/copy").strip()
    assert urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url).read() == content(10)
    door.aws("s3", "rm", "--recursive", f"s3://{bucket}/")
    door.aws("s3", "rb", f"s3://{bucket}")
    door.aws("s3", "ls", f"s3://{bucket}", expect=255)


# ── buckets ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_buckets(s3):
    s3.create_bucket(Bucket="one-bucket")
    assert refusal(s3.create_bucket, Bucket="one-bucket") == ("BucketAlreadyOwnedByYou", 409)
    assert refusal(s3.create_bucket, Bucket="Upper-Case-is-No-Name") == ("InvalidBucketName", 400)
    elsewhere = {"LocationConstraint": "eu-west-1"}
    assert refusal(s3.create_bucket, Bucket="other", CreateBucketConfiguration=elsewhere) == ("InvalidLocationConstraint", 400)
    assert s3.head_bucket(Bucket="one-bucket")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="one-bucket")["LocationConstraint"] is None
    assert "one-bucket" in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert [b["Name"] for b in s3.list_buckets(Prefix="one-")["Buckets"]] == ["one-bucket"]
    s3.put_object(Bucket="one-bucket", Key="k", Body=HELLO)
    assert refusal(s3.delete_bucket, Bucket="one-bucket") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="one-bucket", Key="k")
    s3.delete_bucket(Bucket="one-bucket")
    assert refusal(s3.head_bucket, Bucket="one-bucket") == ("404", 404)
    assert refusal(s3.delete_bucket, Bucket="one-bucket") == ("NoSuchBucket", 404)


def test_versions(door, s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"null 1")
    versions(s3, bucket, "Enabled")
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    first = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["VersionId"]
    gone = s3.delete_object(Bucket=bucket, Key="k")
    assert gone["DeleteMarker"] is True
    assert refusal(s3.get_object, Bucket=bucket, Key="k") == ("NoSuchKey", 404)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", VersionId=gone["VersionId"]) == ("MethodNotAllowed", 405)
    for version, data in (("null", b"null 1"), (first, b"first")):
        got = s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        assert (got["Body"].read(), got["VersionId"]) == (data, version)
    versions(s3, bucket, "Suspended")
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"null 2")["VersionId"] == "null"
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"null 2"
    assert s3.delete_object(Bucket=bucket, Key="k")["VersionId"] == "null"

    listed = s3.list_object_versions(Bucket=bucket)
    assert [(v["VersionId"], v["IsLatest"]) for v in listed["Versions"]] == [(first, False)]
    assert [(m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [("null", True), (gone["VersionId"], False)]
    removed = s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert (removed["DeleteMarker"], removed["VersionId"]) == (True, "null")
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId=gone["VersionId"])["DeleteMarker"] is True
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"first"
    assert "DeleteMarker" not in s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", VersionId=first) == ("NoSuchVersion", 404)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", VersionId="odd") == ("InvalidArgument", 400)
    assert s3.delete_object(Bucket=bucket, Key="k", VersionId="null")["VersionId"] == "null"


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_metadata_and_overrides(s3, bucket):
    said = {"CacheControl": "no-store", "ContentDisposition": "attachment", "ContentEncoding": "gzip",
            "ContentLanguage": "de", "ContentType": "text/x", "StorageClass": "STANDARD_IA", "Metadata": {"a": "b"}}
    s3.put_object(Bucket=bucket, Key="k", Body=HELLO, Expires="Thu, 01 Dec 2044 16:00:00 GMT", **said)
    for got in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert {name: got[name] for name in said} == said
        assert got["Expires"].year == 2044
    got = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="a/b", ResponseCacheControl="private")
    assert (got["ContentType"], got["CacheControl"], got["ContentLanguage"]) == ("a/b", "private", "de")
    s3.put_object(Bucket=bucket, Key="plain", Body=HELLO)
    plain = s3.head_object(Bucket=bucket, Key="plain")
    assert (plain["ContentType"], plain["Metadata"]) == ("binary/octet-stream", {}) and "ContentEncoding" not in plain
    assert refusal(s3.put_object, Bucket=bucket, Key="k", Metadata={"a": "x" * 2049}) == ("MetadataTooLarge", 400)
    assert refusal(s3.put_object, Bucket=bucket, Key="k", StorageClass="GLACIER") == ("InvalidStorageClass", 400)


def test_ranges(s3, bucket):
    data = content(200_000)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    for spec, part in (("0-0", slice(0, 1)), ("70000-140000", slice(70_000, 140_001)), ("199999-", slice(199_999, None)),
                       ("-5", slice(-5, None)), ("100000-999999", slice(100_000, None)), ("-999999", slice(None))):
        got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={spec}")
        assert (got["Body"].read(), got["ResponseMetadata"]["HTTPStatusCode"]) == (data[part], 206), spec
        assert s3.head_object(Bucket=bucket, Key="k", Range=f"bytes={spec}")["ContentLength"] == len(data[part])
    for spec in ("200000-", "-0"):
        assert refusal(s3.get_object, Bucket=bucket, Key="k", Range=f"bytes={spec}") == ("InvalidRange", 416)
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert refusal(s3.get_object, Bucket=bucket, Key="empty", Range="bytes=-1") == ("InvalidRange", 416)


def test_conditions(s3, bucket):
    from datetime import timedelta
    put = {"Bucket": bucket, "Key": "k"}
    tag = s3.put_object(**put, Body=HELLO, IfNoneMatch="*")["ETag"]
    assert refusal(s3.put_object, **put, Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refusal(s3.put_object, **put, Body=b"2", IfMatch='"0"') == ("PreconditionFailed", 412)
    assert refusal(s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=tag) == ("NoSuchKey", 404)
    assert refusal(s3.delete_object, **put, IfMatch='"0"') == ("PreconditionFailed", 412)
    then = s3.head_object(**put)["LastModified"]
    for read in (s3.get_object, s3.head_object):
        assert read(**put, IfMatch=tag, IfUnmodifiedSince=then - timedelta(hours=1))["ETag"] == tag
        assert refusal(read, **put, IfNoneMatch=tag) == ("304", 304)
        assert refusal(read, **put, IfModifiedSince=then) == ("304", 304)
        assert refusal(read, **put, IfMatch='"0"')[1] == 412
        assert refusal(read, **put, IfUnmodifiedSince=then - timedelta(hours=1))[1] == 412
    s3.put_object(**put, Body=b"2", IfMatch=tag)
    assert s3.get_object(**put)["Body"].read() == b"2"


def test_copies(door, s3, bucket):
    data = content(MIB)
    s3.put_object(Bucket=bucket, Key="from ü", Body=data, Metadata={"a": "b"}, ContentType="text/x")
    source = {"Bucket": bucket, "Key": "from ü"}
    tag = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)["CopyObjectResult"]["ETag"]
    got = s3.get_object(Bucket=bucket, Key="to")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"], got["ETag"]) == (data, {"a": "b"}, "text/x", tag)
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source, MetadataDirective="REPLACE", Metadata={"c": "d"})
    got = s3.get_object(Bucket=bucket, Key="to")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (data, {"c": "d"}, "binary/octet-stream")
    itself = {"Bucket": bucket, "Key": "from ü", "CopySource": source}
    assert refusal(s3.copy_object, **itself) == ("InvalidRequest", 400)
    s3.copy_object(**itself, StorageClass="STANDARD_IA")
    head = s3.head_object(**source)
    assert (head["StorageClass"], head["Metadata"]) == ("STANDARD_IA", {"a": "b"})
    s3.copy_object(**itself, MetadataDirective="REPLACE")
    assert s3.head_object(**source)["Metadata"] == {}
    other = {"Bucket": bucket, "Key": "other", "CopySource": source}
    assert refusal(s3.copy_object, **other, CopySourceIfMatch='"0"') == ("PreconditionFailed", 412)
    assert refusal(s3.copy_object, **other, CopySourceIfNoneMatch=tag) == ("PreconditionFailed", 412)
    s3.copy_object(**other, CopySourceIfMatch=tag)
    missing = {"Bucket": bucket, "Key": "nothing"}
    assert refusal(s3.copy_object, Bucket=bucket, Key="x", CopySource=missing) == ("NoSuchKey", 404)
    # A copy reads its source, and this key may only write.
    assert refusal(door.client("writer").copy_object, **other) == ("AccessDenied", 403)


def test_many_deletes(s3, bucket):
    keys = [f"k{number}" for number in range(30)]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=HELLO)
    named = [{"Key": key} for key in keys[:10]] + [{"Key": "never there"}]
    assert [d["Key"] for d in s3.delete_objects(Bucket=bucket, Delete={"Objects": named})["Deleted"]] == \
        [*keys[:10], "never there"]
    odd = [{"Key": keys[10]}, {"Key": "k11", "VersionId": "odd"}, {"Key": "k12", "ETag": '"0"'}]
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": odd, "Quiet": True})
    assert "Deleted" not in done
    assert [(e["Key"], e["Code"]) for e in done["Errors"]] == [("k11", "InvalidArgument"), ("k12", "PreconditionFailed")]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == sorted(keys[11:])
    too_many = [{"Key": str(number)} for number in range(1001)]
    assert refusal(s3.delete_objects, Bucket=bucket, Delete={"Objects": too_many}) == ("MalformedXML", 400)


# ── listings ─────────────────────────────────────────────────────────────────────────────────────────────────────────

TREE = sorted(["a", "a/1", "a/2", "a/b/3", "b--c--d", "b--e", "photos/ü +&<>%", "photos/x", "z\x01odd", "zz\r\n", "é"],
              key=lambda key: key.encode())


def expected(prefix="", delimiter=""):
    """Keys and common prefixes of a listing, by its definition."""
    keys, prefixes = [], []
    for key in TREE:
        if key.startswith(prefix):
            head, found, _ = key[len(prefix):].partition(delimiter) if delimiter else (key, "", "")
            if not found:
                keys.append(key)
            elif prefix + head + delimiter not in prefixes:
                prefixes.append(prefix + head + delimiter)
    return keys, prefixes


@pytest.fixture(scope="module")
def listed(door):
    s3 = door.client()
    s3.create_bucket(Bucket="pub-tree")
    for key in TREE:
        s3.put_object(Bucket="pub-tree", Key=key, Body=key.encode())
    return s3


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2", "list_object_versions"])
@pytest.mark.parametrize("page", [1, 2, 3, 1000])
@pytest.mark.parametrize("prefix, delimiter", [("", ""), ("", "/"), ("a/", "/"), ("a", "/"), ("b", "--"), ("photos/", ""), ("no", "/")])
def test_listings(listed, operation, page, prefix, delimiter):
    keys, prefixes = [], []
    for one in listed.get_paginator(operation).paginate(Bucket="pub-tree", Prefix=prefix, Delimiter=delimiter,
                                                         PaginationConfig={"PageSize": page}):
        items = one.get("Contents", []) + one.get("Versions", [])
        assert len(items) + len(one.get("CommonPrefixes", [])) <= page
        keys += [item["Key"] for item in items]
        prefixes += [p["Prefix"] for p in one.get("CommonPrefixes", [])]
        assert all(item["Size"] == len(item["Key"].encode()) and item["StorageClass"] == "STANDARD" for item in items)
    assert (keys, prefixes) == expected(prefix, delimiter)


def test_what_a_listing_may_be_asked(listed):
    v2 = listed.list_objects_v2
    assert [o["Key"] for o in v2(Bucket="pub-tree", StartAfter="a/2")["Contents"]] == [k for k in TREE if k.encode() > b"a/2"]
    assert "Owner" not in v2(Bucket="pub-tree")["Contents"][0]
    assert v2(Bucket="pub-tree", FetchOwner=True)["Contents"][0]["Owner"]["ID"]
    none = v2(Bucket="pub-tree", MaxKeys=0)
    assert (none["KeyCount"], none["IsTruncated"]) == (0, False)
    assert refusal(v2, Bucket="pub-tree", MaxKeys=-1) == ("InvalidArgument", 400)
    assert refusal(v2, Bucket="pub-tree", ContinuationToken="odd") == ("InvalidArgument", 400)
    assert refusal(v2, Bucket="not-there") == ("NoSuchBucket", 404)
    assert [o["Key"] for o in listed.list_objects(Bucket="pub-tree", Marker="photos/x")["Contents"]] == \
        [k for k in TREE if k.encode() > b"photos/x"]


def test_versions_are_listed_in_pages(s3, bucket):
    versions(s3, bucket, "Enabled")
    wanted = []
    for key in ("a", "b"):
        ids = [s3.put_object(Bucket=bucket, Key=key, Body=HELLO)["VersionId"] for _ in range(3)]
        wanted += [(key, version, version == ids[-1]) for version in reversed(ids)]
    for page in (1, 2, 4):
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": page})
        assert [(v["Key"], v["VersionId"], v["IsLatest"]) for one in pages for v in one["Versions"]] == wanted


# ── checksums, signatures, rights ────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("name, right, wrong", [
    ("ContentMD5", "XUFAKrxLKna5cZ2REBfFkg==", "XUFAKrxLKna5cZ2REBfFkA=="),
    ("ChecksumCRC32", "NhCmhg==", "NhCmhQ=="),
    ("ChecksumCRC32C", "mnG7TA==", "mnG7TQ=="),
    ("ChecksumCRC64NVME", "M3eFcAZSQlc=", "M3eFcAZSQlA="),
    ("ChecksumSHA1", "qvTGHdzF6KLavt4PO0gs2a6pQ00=", "qvTGHdzF6KLavt4PO0gs2a6pQ0A="),
    ("ChecksumSHA256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCA="),
])
def test_a_wrong_checksum_is_refused_and_nothing_written(door, s3, bucket, name, right, wrong):
    before = settled(*door.repository.folders)
    for body in (HELLO, io.BytesIO(HELLO)):
        assert refusal(s3.put_object, Bucket=bucket, Key="k", Body=body, **{name: wrong}) == ("BadDigest", 400)
    assert_unchanged(before, *door.repository.folders)
    s3.put_object(Bucket=bucket, Key="k", Body=HELLO, **{name: right})
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == HELLO


@pytest.mark.parametrize("size", [0, 5, 300_000, 3 * MIB])
@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_chunks_with_trailing_checksums(s3, bucket, size, algorithm):
    """What boto3 sends by default: aws-chunked with the checksum behind the body."""
    data = content(size)
    s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(data), ChecksumAlgorithm=algorithm)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data


def test_a_body_that_is_not_the_signed_one(door, s3, bucket):
    """The head of a signed request with another body behind it: what a thief on the way could send."""
    signing = door.client(s3={"payload_signing_enabled": True}, request_checksum_calculation="when_required")
    caught = {}

    def keep(request, **_):
        caught.update(method=request.method, url=request.url, headers=dict(request.headers))
        raise RuntimeError("kept")

    before = settled(*door.repository.folders)
    signing.meta.events.register("before-send.s3", keep)
    for call, keywords, fake in (
            (signing.put_object, {"Bucket": bucket, "Key": "k", "Body": HELLO}, b"jello"),
            (signing.put_bucket_versioning, {"Bucket": bucket, "VersioningConfiguration": {"Status": "Enabled"}}, None)):
        with pytest.raises(RuntimeError):
            call(**keywords)
        headers = {k: v.decode() if isinstance(v, bytes) else v for k, v in caught["headers"].items()}
        fake = fake or b"x" * int(headers["Content-Length"])
        connection = http.client.HTTPConnection(door.address, timeout=30)
        connection.request(caught["method"], caught["url"].removeprefix(door.url), fake, headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        assert reply.status == 400 and "<Code>" in text, text
        assert any(code in text for code in ("XAmzContentSHA256Mismatch", "BadDigest")), text
    assert_unchanged(before, *door.repository.folders)
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


def test_bad_signatures(door, bucket):
    assert refusal(door.client(secret="wrong").list_objects_v2, Bucket=bucket) == ("SignatureDoesNotMatch", 403)
    assert refusal(door.client("nobody", secret="x").list_objects_v2, Bucket=bucket) == ("InvalidAccessKeyId", 403)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"{door.url}/{bucket}")
    assert caught.value.code == 403 and b"AccessDenied" in caught.value.read()


def test_a_clock_that_is_off(door, bucket, monkeypatch):
    import botocore.auth
    from datetime import timedelta
    right = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *a, **k: right(*a, **k) - timedelta(minutes=20))
    assert refusal(door.client().list_objects_v2, Bucket=bucket) == ("RequestTimeTooSkewed", 403)
    expired = door.client(signature_version="s3v4").generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(expired)
    assert caught.value.code == 403 and b"AccessDenied" in caught.value.read()


def test_rights(door, s3):
    for name in ("pub-rights", "private-rights"):
        s3.create_bucket(Bucket=name)
        s3.put_object(Bucket=name, Key="k", Body=HELLO)
    reader, writer = door.client("reader"), door.client("writer")
    assert reader.get_object(Bucket="pub-rights", Key="k")["Body"].read() == HELLO
    assert all(b["Name"].startswith("pub") for b in reader.list_buckets()["Buckets"])
    denied = ("AccessDenied", 403)
    assert refusal(reader.get_object, Bucket="private-rights", Key="k") == denied
    assert refusal(reader.put_object, Bucket="pub-rights", Key="k", Body=b"") == denied
    assert refusal(reader.delete_object, Bucket="pub-rights", Key="k") == denied
    assert refusal(reader.delete_objects, Bucket="pub-rights", Delete={"Objects": [{"Key": "k"}]}) == denied
    assert refusal(reader.create_bucket, Bucket="pub-new") == denied
    assert refusal(writer.get_object, Bucket="pub-rights", Key="k") == denied
    assert refusal(writer.delete_bucket, Bucket="pub-rights") == denied
    writer.put_object(Bucket="pub-rights", Key="k", Body=b"2")
    assert reader.get_object(Bucket="pub-rights", Key="k")["Body"].read() == b"2"


def test_presigned(door, s3, bucket):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    signer = door.client(signature_version="s3v4")
    put = signer.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "ü k"})
    assert opener.open(urllib.request.Request(put, HELLO, method="PUT")).status == 200
    get = signer.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "ü k", "ResponseContentType": "a/b"})
    with opener.open(get) as reply:
        assert (reply.read(), reply.headers["content-type"]) == (HELLO, "a/b")
    for bad in (get.replace("response-content-type=a%2Fb", "response-content-type=a%2Fc"), get[:-1] + ("0" if get[-1] != "0" else "1")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(bad)
        assert caught.value.code == 403 and b"SignatureDoesNotMatch" in caught.value.read()
    added = urllib.request.Request(put, HELLO, {"x-amz-storage-class": "STANDARD_IA"}, method="PUT")
    with pytest.raises(urllib.error.HTTPError) as caught:
        opener.open(added)
    assert caught.value.code == 403 and b"not signed" in caught.value.read()


def test_presigned_as_boto3_does_left_to_itself(door, s3, bucket):
    """By signature version 2 for a custom endpoint in this region."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def url(operation, client=s3, **more):
        made = client.generate_presigned_url(operation, {"Bucket": bucket, "Key": "ü k+l", **more})
        assert "X-Amz-Signature" not in made and "Signature=" in made, made
        return made

    def refused(url, **request):
        with pytest.raises(urllib.error.HTTPError) as caught:
            opener.open(urllib.request.Request(url, **request))
        return caught.value.code, caught.value.read()

    typed = {"Content-Type": "text/x", "x-amz-meta-who": "boto3"}
    put = url("put_object", ContentType="text/x", Metadata={"who": "boto3"})
    assert opener.open(urllib.request.Request(put, HELLO, typed, method="PUT")).status == 200
    get = url("get_object", ResponseContentDisposition='attachment; filename="a b"')
    with opener.open(get) as reply:
        assert (reply.read(), reply.headers["content-type"], reply.headers["x-amz-meta-who"]) == (HELLO, "text/x", "boto3")
        assert reply.headers["content-disposition"] == 'attachment; filename="a b"'
    with opener.open(urllib.request.Request(get, headers={"Range": "bytes=1-2", "If-None-Match": "\"a\", \"b\""})) as reply:
        assert (reply.status, reply.read()) == (206, HELLO[1:3])
    assert opener.open(urllib.request.Request(url("head_object"), method="HEAD")).status == 200
    with opener.open(s3.generate_presigned_url("list_objects_v2", {"Bucket": bucket, "Prefix": "ü"})) as reply:
        assert b"<Key>%C3%BC" in reply.read()
    code, body = refused(get.replace("filename", "filenamf"))
    assert code == 403 and b"SignatureDoesNotMatch" in body
    code, body = refused(get, method="DELETE")
    assert code == 403 and b"SignatureDoesNotMatch" in body
    code, body = refused(put + "&retention", data=b"<Retention/>", headers=typed, method="PUT")
    assert code == 403 and b"does not cover" in body
    code, body = refused(url("get_object", door.client("writer")))
    assert code == 403 and b"AccessDenied" in body
    assert s3.get_object(Bucket=bucket, Key="ü k+l")["Body"].read() == HELLO


def test_what_is_not_served_says_so(door, s3, bucket):
    before = settled(*door.repository.folders)
    put = {"Bucket": bucket, "Key": "k", "Body": HELLO}
    for call, keywords in (
            (s3.put_object, {**put, "ServerSideEncryption": "AES256"}),
            (s3.put_object, {**put, "WebsiteRedirectLocation": "/x"}),
            (s3.put_object, {**put, "ACL": "public-read"})):
        assert refusal(call, **keywords) == ("NotImplemented", 501), keywords
    assert_unchanged(before, *door.repository.folders)


def test_a_connection_survives_refusals(door, s3, bucket):
    """A refused upload's body is taken, so that the next request of the connection is answered."""
    single = door.client(max_pool_connections=1)
    for _ in range(3):
        assert refusal(single.put_object, Bucket="not-there", Key="k", Body=content(MIB)) == ("NoSuchBucket", 404)
        assert single.put_object(Bucket=bucket, Key="k", Body=HELLO)["ETag"]


def test_degraded_reads_look_like_any(door, s3, bucket):
    from world import folder_gone
    data = content(2 * MIB)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    back = [folder_gone(folder) for folder in door.repository.folders[:2]]
    try:
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data
    finally:
        for put_back in back:
            put_back()
