"""Multipart uploads and checksums at the S3 door, with boto3 and the aws cli."""

import base64
import hashlib
import io
import zlib

import pytest

from harness import MIB, content, rsb
from test_s3 import bucket, door, refusal, s3, versions  # noqa: F401  (fixtures)

pytestmark = pytest.mark.servers
PART = 5 * MIB


def begin(s3, bucket, key="k", **more):
    return s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]


def send(s3, bucket, upload, number, data, key="k", **more):
    part = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=data, **more)
    sums = {name: value for name, value in part.items() if name.startswith("Checksum")}
    return {"PartNumber": number, "ETag": part["ETag"], **(sums if "ChecksumAlgorithm" in more else {})}


def finish(s3, bucket, upload, parts, key="k", **more):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more)


def tag(*pieces):
    digests = b"".join(hashlib.md5(piece).digest() for piece in pieces)
    return f'"{hashlib.md5(digests).hexdigest()}-{len(pieces)}"'


def read(s3, bucket, key="k", **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


# ── an upload from its begin to its end ──────────────────────────────────────────────────────────────────────────────

def test_an_object_sent_in_parts_is_there_behind_every_door(door, s3, bucket):
    pieces = [content(PART, 1), content(PART + 1, 2), content(7, 3)]
    upload = begin(s3, bucket, Metadata={"who": "boto"}, ContentType="text/x", StorageClass="STANDARD_IA")
    # In any order, one twice, with gaps between the numbers.
    send(s3, bucket, upload, 5, content(PART, 9))
    parts = [send(s3, bucket, upload, number, piece) for number, piece in [(9, pieces[2]), (2, pieces[0]), (5, pieces[1])]]
    assert refusal(s3.head_object, Bucket=bucket, Key="k") == ("404", 404)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    done = finish(s3, bucket, upload, sorted(parts, key=lambda part: part["PartNumber"]))
    whole = b"".join(pieces)
    assert (done["ETag"], done["Bucket"], done["Key"]) == (tag(*pieces), bucket, "k")
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["ETag"], got["ContentType"], got["Metadata"], got["StorageClass"]) == (
        whole, tag(*pieces), "text/x", {"who": "boto"}, "STANDARD_IA")
    assert read(s3, bucket, Range=f"bytes={PART - 3}-{PART + 3}") == whole[PART - 3:PART + 4]
    over_http = door.gateway.request("GET", f"/v1/b/{bucket}/o/k")
    assert (over_http.body, over_http.headers["etag"], over_http.headers["x-rsb-meta-who"]) == (whole, tag(*pieces), "boto")
    assert rsb("--server", door.gateway.url, "cat", f"{bucket}/k", expect=0).out == whole
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert (listed["ETag"], listed["Size"]) == (tag(*pieces), len(whole))
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert read(s3, bucket, "copy") == whole


def test_completing_again_gives_the_same_answer(s3, bucket):
    versions(s3, bucket, "Enabled")
    upload = begin(s3, bucket)
    parts = [send(s3, bucket, upload, 1, b"one")]
    first = finish(s3, bucket, upload, parts)
    again = finish(s3, bucket, upload, parts)
    assert [first[name] for name in ("ETag", "VersionId")] == [again[name] for name in ("ETag", "VersionId")]
    assert len(s3.list_object_versions(Bucket=bucket)["Versions"]) == 1
    other = [{**parts[0], "ETag": '"0123"'}]
    assert refusal(finish, s3=s3, bucket=bucket, upload=upload, parts=other)[0] == "NoSuchUpload"
    for call in (s3.list_parts, s3.abort_multipart_upload):
        assert refusal(call, Bucket=bucket, Key="k", UploadId=upload) == ("NoSuchUpload", 404)
    assert refusal(s3.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=b"x")[0] == "NoSuchUpload"


def test_an_aborted_upload_is_gone(s3, bucket):
    upload = begin(s3, bucket)
    part = send(s3, bucket, upload, 1, content(PART))
    s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    assert refusal(finish, s3=s3, bucket=bucket, upload=upload, parts=[part]) == ("NoSuchUpload", 404)
    assert refusal(s3.list_parts, Bucket=bucket, Key="k", UploadId=upload) == ("NoSuchUpload", 404)
    assert refusal(s3.list_parts, Bucket=bucket, Key="k", UploadId="never") == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize("sizes, change, expected", [
    ((PART - 1, 1), lambda parts: parts, "EntityTooSmall"),
    ((PART, 1), lambda parts: parts[::-1], "InvalidPartOrder"),
    ((PART, 1), lambda parts: [parts[0], parts[0]], "InvalidPartOrder"),
    ((PART, 1), lambda parts: parts + [{**parts[1], "PartNumber": 3}], "InvalidPart"),
    ((PART, 1), lambda parts: [parts[0], {**parts[1], "ETag": parts[0]["ETag"]}], "InvalidPart"),
    ((PART, 1), lambda parts: [], "MalformedXML"),
])
def test_a_list_that_is_not_right_completes_nothing(s3, bucket, sizes, change, expected):
    upload = begin(s3, bucket)
    pieces = [content(size, at) for at, size in enumerate(sizes)]
    parts = [send(s3, bucket, upload, number, piece) for number, piece in enumerate(pieces, 1)]
    assert refusal(finish, s3=s3, bucket=bucket, upload=upload, parts=change(parts)) == (expected, 400)
    assert len(s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]) == 2, "the upload is as it was"
    if sizes[0] == PART:
        finish(s3, bucket, upload, parts)
        assert read(s3, bucket) == b"".join(pieces)


def test_conditions_on_completing(s3, bucket):
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"]

    def fresh():
        upload = begin(s3, bucket)
        return {"upload": upload, "parts": [send(s3, bucket, upload, 1, b"new")], "s3": s3, "bucket": bucket}

    first = fresh()
    assert refusal(finish, **first, IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refusal(finish, **first, IfMatch='"other"') == ("PreconditionFailed", 412)
    assert read(s3, bucket) == b"old"
    finish(**first, IfMatch=old)
    assert read(s3, bucket) == b"new"
    s3.delete_object(Bucket=bucket, Key="k")
    second = fresh()
    assert refusal(finish, **second, IfMatch=old) == ("NoSuchKey", 404)
    assert refusal(finish, **second, IfNoneMatch="*", MpuObjectSize=4) == ("InvalidRequest", 400)
    finish(**second, IfNoneMatch="*", MpuObjectSize=3)


def test_bad_requests_are_refused(s3, bucket):
    upload = begin(s3, bucket)
    for number in (0, -1, 10_001):
        assert refusal(s3.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=b"x") == (
            "InvalidArgument", 400)
    assert refusal(s3.upload_part, Bucket=bucket, Key="other", UploadId=upload, PartNumber=1, Body=b"x")[0] == "NoSuchUpload"
    assert refusal(s3.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x",
                   ContentMD5=base64.b64encode(bytes(16)).decode())[0] == "BadDigest"
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert refusal(s3.create_multipart_upload, Bucket="nowhere-at-all", Key="k") == ("NoSuchBucket", 404)


def test_rights(door, s3):
    writer, reader = door.client("writer"), door.client("reader")
    s3.create_bucket(Bucket="public-parts")
    upload = begin(writer, "public-parts")
    part = send(writer, "public-parts", upload, 1, b"x")
    assert len(writer.list_parts(Bucket="public-parts", Key="k", UploadId=upload)["Parts"]) == 1
    for call in (reader.list_parts, reader.abort_multipart_upload):
        assert refusal(call, Bucket="public-parts", Key="k", UploadId=upload) == ("AccessDenied", 403)
    assert refusal(finish, s3=reader, bucket="public-parts", upload=upload, parts=[part]) == ("AccessDenied", 403)
    assert len(reader.list_multipart_uploads(Bucket="public-parts")["Uploads"]) == 1
    source = {"Bucket": "public-parts", "Key": "k"}
    finish(writer, "public-parts", upload, [part])
    upload = begin(writer, "public-parts", "copy")
    assert refusal(writer.upload_part_copy, Bucket="public-parts", Key="copy", UploadId=upload, PartNumber=1,
                   CopySource=source) == ("AccessDenied", 403)


# ── lists ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_parts_are_listed_by_pages(s3, bucket):
    upload = begin(s3, bucket)
    sent = {number: send(s3, bucket, upload, number, content(number, number))["ETag"] for number in (7, 1, 300, 10_000, 2)}
    seen, marker = {}, 0
    while True:
        page = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload, MaxParts=2, PartNumberMarker=marker)
        seen.update({part["PartNumber"]: part["ETag"] for part in page["Parts"]})
        assert len(page["Parts"]) <= 2 and all(part["Size"] == part["PartNumber"] for part in page["Parts"])
        if not page["IsTruncated"]:
            break
        marker = page["NextPartNumberMarker"]
    assert list(seen) == sorted(sent) and seen == sent


def test_uploads_are_listed_by_pages(s3, bucket):
    keys = ["a/1", "a/2", "b", "b", "c d/ü", "c d/x", "e"]
    uploads = sorted((key, begin(s3, bucket, key)) for key in keys)
    for size in (1, 2, 3, 1000):
        seen, more = [], {}
        while True:
            page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=size, **more)
            seen += [(upload["Key"], upload["UploadId"]) for upload in page["Uploads"]]
            if not page["IsTruncated"]:
                break
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
        assert seen == uploads, size
    rolled, more = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1, **more)
        rolled += [upload["Key"] for upload in page.get("Uploads", [])]
        rolled += [prefix["Prefix"] for prefix in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}
    assert rolled == ["a/", "b", "b", "c d/", "e"]
    assert [upload["Key"] for upload in s3.list_multipart_uploads(Bucket=bucket, Prefix="c d/")["Uploads"]] == ["c d/x", "c d/ü"]


# ── reading parts ────────────────────────────────────────────────────────────────────────────────────────────────────

def test_parts_are_read_by_their_numbers(s3, bucket):
    pieces = {1: content(PART, 1), 4: content(PART, 2), 6: content(9, 3)}
    upload = begin(s3, bucket)
    finish(s3, bucket, upload, [send(s3, bucket, upload, number, piece) for number, piece in pieces.items()])
    total, start = sum(map(len, pieces.values())), 0
    for number, piece in pieces.items():
        got = s3.get_object(Bucket=bucket, Key="k", PartNumber=number)
        assert got["Body"].read() == piece
        for reply in (got, s3.head_object(Bucket=bucket, Key="k", PartNumber=number)):
            assert reply["ResponseMetadata"]["HTTPStatusCode"] == 206
            assert (reply["PartsCount"], reply["ContentLength"]) == (3, len(piece))
        assert got["ContentRange"] == f"bytes {start}-{start + len(piece) - 1}/{total}"
        start += len(piece)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=2)[1] == 416
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=0) == ("InvalidArgument", 400)
    assert refusal(s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1") == ("InvalidRequest", 400)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"hello")
    got = s3.get_object(Bucket=bucket, Key="plain", PartNumber=1)
    assert (got["Body"].read(), got["ResponseMetadata"]["HTTPStatusCode"], "PartsCount" in got) == (b"hello", 206, False)
    assert refusal(s3.get_object, Bucket=bucket, Key="plain", PartNumber=2)[1] == 416


def test_attributes(s3, bucket):
    asked = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    upload = begin(s3, bucket, ChecksumAlgorithm="SHA256")
    pieces = [content(PART, 1), content(PART, 2), content(5, 3)]
    parts = [send(s3, bucket, upload, number, piece, ChecksumAlgorithm="SHA256") for number, piece in enumerate(pieces, 1)]
    done = finish(s3, bucket, upload, parts)
    got = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=asked)
    assert (got["ETag"].strip('"'), got["ObjectSize"], got["StorageClass"]) == (done["ETag"].strip('"'), 2 * PART + 5, "STANDARD")
    assert got["Checksum"]["ChecksumSHA256"] == done["ChecksumSHA256"] and got["Checksum"]["ChecksumType"] == "COMPOSITE"
    assert [(part["PartNumber"], part["Size"], part["ChecksumSHA256"]) for part in got["ObjectParts"]["Parts"]] == [
        (part["PartNumber"], len(piece), part["ChecksumSHA256"]) for part, piece in zip(parts, pieces)]
    assert got["ObjectParts"]["TotalPartsCount"] == 3
    page = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=1, PartNumberMarker=1)
    page = page["ObjectParts"]
    assert ([part["PartNumber"] for part in page["Parts"]], page["IsTruncated"], page["NextPartNumberMarker"]) == ([2], True, 2)
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    plain = s3.get_object_attributes(Bucket=bucket, Key="plain", ObjectAttributes=asked)
    assert plain["ObjectSize"] == 1 and "ObjectParts" not in plain


# ── checksums ────────────────────────────────────────────────────────────────────────────────────────────────────────

NAMES = {"CRC32": "ChecksumCRC32", "CRC32C": "ChecksumCRC32C", "CRC64NVME": "ChecksumCRC64NVME", "SHA1": "ChecksumSHA1",
         "SHA256": "ChecksumSHA256"}


def enabled(s3, bucket, key):
    return s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_the_checksum_of_an_object_is_kept(s3, bucket, algorithm):
    data = content(200_000)
    for size in (0, 5, 200_000):
        put = s3.put_object(Bucket=bucket, Key="k", Body=data[:size], ChecksumAlgorithm=algorithm)
        value = put[NAMES[algorithm]]
        if algorithm != "CRC32":
            assert value == base64.b64encode(hashlib.new(algorithm.lower(), data[:size]).digest()).decode()
        head = enabled(s3, bucket, "k")
        assert (head[NAMES[algorithm]], head["ChecksumType"]) == (value, "FULL_OBJECT")
        copy = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})["CopyObjectResult"]
        assert copy[NAMES[algorithm]] == value and enabled(s3, bucket, "copy")[NAMES[algorithm]] == value
        assert NAMES[algorithm] not in s3.head_object(Bucket=bucket, Key="k")
    # boto3 holds what it reads to the checksum that comes with it.
    assert read(s3, bucket, ChecksumMode="ENABLED") == data
    assert read(s3, bucket, ChecksumMode="ENABLED", Range="bytes=5-9") == data[5:10]


@pytest.mark.parametrize("kind", ["COMPOSITE", "FULL_OBJECT"])
def test_crcs_of_parts(s3, bucket, kind):
    pieces = [content(PART, 1), content(PART + 3, 2), content(4, 3)]
    whole = b"".join(pieces)
    crc = lambda data: zlib.crc32(data).to_bytes(4, "big")  # noqa: E731
    text = lambda value: base64.b64encode(value).decode()  # noqa: E731
    upload = begin(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType=kind)
    parts = [send(s3, bucket, upload, number, piece, ChecksumAlgorithm="CRC32") for number, piece in enumerate(pieces, 1)]
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ("CRC32", kind)
    assert [part["ChecksumCRC32"] for part in listed["Parts"]] == [text(crc(piece)) for piece in pieces]
    expected = text(crc(whole)) if kind == "FULL_OBJECT" else text(crc(b"".join(map(crc, pieces)))) + "-3"
    call = {"s3": s3, "bucket": bucket, "upload": upload}
    other = "COMPOSITE" if kind == "FULL_OBJECT" else "FULL_OBJECT"
    assert refusal(finish, **call, parts=parts, ChecksumType=other) == ("InvalidRequest", 400)
    assert refusal(finish, **call, parts=parts, ChecksumCRC32=text(bytes(4))) == ("BadDigest", 400)
    wrong = [{**parts[0], "ChecksumCRC32": text(bytes(4))}, *parts[1:]]
    assert refusal(finish, **call, parts=wrong) == ("InvalidPart", 400)
    done = finish(**call, parts=parts, ChecksumCRC32=expected, ChecksumType=kind)
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (expected, kind)
    again = finish(**call, parts=parts)
    assert again["ChecksumCRC32"] == expected
    head = enabled(s3, bucket, "k")
    assert (head["ChecksumCRC32"], head["ChecksumType"]) == (expected, kind)
    assert read(s3, bucket, ChecksumMode="ENABLED") == whole
    assert read(s3, bucket, ChecksumMode="ENABLED", PartNumber=2) == pieces[1]


def test_a_checksum_that_the_upload_wants_is_made_where_the_sender_gives_none(door, s3, bucket):
    quiet = door.client(request_checksum_calculation="when_required")
    upload = begin(quiet, bucket, ChecksumAlgorithm="CRC64NVME")
    pieces = [content(PART, 1), content(3, 2)]
    parts = [send(quiet, bucket, upload, number, piece) for number, piece in enumerate(pieces, 1)]
    done = finish(quiet, bucket, upload, parts)
    assert done["ChecksumType"] == "FULL_OBJECT"
    s3.upload_fileobj(io.BytesIO(b"".join(pieces)), bucket, "whole")
    assert len(base64.b64decode(done["ChecksumCRC64NVME"])) == 8
    upload = begin(s3, bucket, ChecksumAlgorithm="SHA1")
    assert refusal(send, s3=s3, bucket=bucket, upload=upload, number=1, data=b"x", ChecksumAlgorithm="SHA256") == (
        "InvalidRequest", 400)
    for more in ({"ChecksumAlgorithm": "SHA1", "ChecksumType": "FULL_OBJECT"},
                 {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"}):
        assert refusal(s3.create_multipart_upload, Bucket=bucket, Key="k", **more) == ("InvalidRequest", 400)


# ── copies of parts ──────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("algorithm", [None, "CRC32"])
def test_parts_are_copied_from_objects(s3, bucket, algorithm):
    data = content(70 * MIB, 4)
    source = {"Bucket": bucket, "Key": "source"}
    s3.upload_fileobj(io.BytesIO(data), bucket, "source")
    tag_of_source = s3.head_object(**source)["ETag"]
    upload = begin(s3, bucket, **({"ChecksumAlgorithm": algorithm} if algorithm else {}))
    call = {"Bucket": bucket, "Key": "k", "UploadId": upload, "CopySource": source}
    ranges = [(0, 64 * MIB - 1), (1, PART), (64 * MIB, 70 * MIB - 1)]
    parts = []
    for number, (first, last) in enumerate(ranges, 1):
        copied = s3.upload_part_copy(**call, PartNumber=number, CopySourceRange=f"bytes={first}-{last}",
                                     CopySourceIfMatch=tag_of_source)["CopyPartResult"]
        parts.append({"PartNumber": number, "ETag": copied["ETag"]})
        assert ("ChecksumCRC32" in copied) == bool(algorithm)
    for more, expected in [({"CopySourceRange": f"bytes=0-{70 * MIB}"}, "InvalidRange"),
                           ({"CopySourceRange": "bytes=5-"}, "InvalidArgument"),
                           ({"CopySourceIfMatch": '"other"'}, "PreconditionFailed"),
                           ({"CopySource": {"Bucket": bucket, "Key": "none"}}, "NoSuchKey")]:
        assert refusal(s3.upload_part_copy, **{**call, **more}, PartNumber=9)[0] == expected
    s3.delete_object(**source)
    finish(s3, bucket, upload, parts)
    assert read(s3, bucket) == b"".join(data[first:last + 1] for first, last in ranges)


# ── tools and restarts ───────────────────────────────────────────────────────────────────────────────────────────────

def test_the_aws_cli_sends_what_is_large_in_parts(door, s3, bucket, tmp_path):
    data = content(65 * MIB + 11, 6)
    (tmp_path / "big").write_bytes(data)
    door.aws("s3", "cp", tmp_path / "big", f"s3://{bucket}/big")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-9"')
    door.aws("s3", "cp", f"s3://{bucket}/big", f"s3://{bucket}/copy")
    door.aws("s3", "cp", f"s3://{bucket}/copy", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == data
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_an_upload_goes_on_after_a_restart(door, s3, bucket):
    upload = begin(s3, bucket)
    first = send(s3, bucket, upload, 1, content(PART, 1))
    assert door.gateway.stop() == 0
    door.gateway.start()
    assert [part["ETag"] for part in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]] == [first["ETag"]]
    rsb("--server", door.gateway.url, "sweep", expect=0)
    second = send(s3, bucket, upload, 2, b"end")
    door.gateway.kill()
    door.gateway.start()
    finish(s3, bucket, upload, [first, second])
    assert read(s3, bucket) == content(PART, 1) + b"end"
