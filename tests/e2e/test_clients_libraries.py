"""The S3 door with the libraries that people use, with every backend there and with as many stopped as may be lost: boto3,
minio-py, s3fs, pyarrow, polars and DuckDB."""

import base64
import hashlib
import io
import urllib.request
from datetime import timedelta

import pytest

from clients import KEPT, KEY, REGION, SECRET
from harness import KIB, MIB, content, digest
from support.servers import DIRECT

pytestmark = pytest.mark.servers


@pytest.fixture
def bucket(site, request):
    """A bucket of the test's own."""
    name = request.node.originalname.removeprefix("test_").replace("_", "-")
    return site.bucket(f"{name}-{site.state}")


# ── boto3 ────────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_boto3_files(site, bucket, tmp_path):
    """Its transfer manager: uploads and downloads in parts, at once."""
    s3 = site.boto3()
    site.assert_kept(lambda key: s3.get_object(Bucket=KEPT, Key=key)["Body"].read())
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(content(40 * MIB + 1))
    s3.upload_file(str(file), bucket, "file", ExtraArgs={"Metadata": {"who": "boto3"}, "ContentType": "text/x"})
    s3.download_file(bucket, "file", str(back))
    assert digest(back.read_bytes()) == digest(file.read_bytes())
    head = s3.head_object(Bucket=bucket, Key="file")
    assert (head["ContentLength"], head["Metadata"], head["ContentType"]) == (40 * MIB + 1, {"who": "boto3"}, "text/x")
    s3.copy({"Bucket": bucket, "Key": "file"}, bucket, "copy")
    with io.BytesIO() as found:
        s3.download_fileobj(bucket, "copy", found)
        assert digest(found.getvalue()) == digest(file.read_bytes())
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert [o["Key"] for page in pages for o in page["Contents"]] == ["copy", "file"]


def test_boto3_resumes(site, bucket):
    """An upload whose client went away is found and completed by another."""
    data, size = content(18 * MIB), 6 * MIB
    first = site.boto3()
    upload = first.create_multipart_upload(Bucket=bucket, Key="k", Metadata={"a": "b"})["UploadId"]
    first.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=2, Body=data[size:2 * size])
    first.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=content(size, "another"))
    second = site.boto3()
    [found] = second.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert (found["Key"], found["UploadId"]) == ("k", upload)
    there = {p["PartNumber"]: p["ETag"] for p in second.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]}
    assert sorted(there) == [1, 2]
    for number in (1, 2, 3):
        part = data[(number - 1) * size:number * size]
        if there.get(number) != f'"{hashlib.md5(part).hexdigest()}"':
            done = second.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=part)
            there[number] = done["ETag"]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in sorted(there.items())]
    done = second.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    digests = b"".join(hashlib.md5(data[at:at + size]).digest() for at in range(0, len(data), size))
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    got = second.get_object(Bucket=bucket, Key="k")
    assert (digest(got["Body"].read()), got["Metadata"]) == (digest(data), {"a": "b"})
    assert "Uploads" not in second.list_multipart_uploads(Bucket=bucket)


def test_boto3_conditions(site, bucket):
    from botocore.exceptions import ClientError
    s3 = site.boto3()

    def refused(call, **keywords):
        with pytest.raises(ClientError) as caught:
            call(Bucket=bucket, Key="k", **keywords)
        return caught.value.response["ResponseMetadata"]["HTTPStatusCode"]

    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Body=b"2", IfNoneMatch="*") == 412
    assert refused(s3.put_object, Body=b"2", IfMatch='"0"') == 412
    assert refused(s3.get_object, IfNoneMatch=tag) == 304
    then = s3.get_object(Bucket=bucket, Key="k", IfMatch=tag)["LastModified"]
    assert refused(s3.get_object, IfModifiedSince=then) == 304
    assert refused(s3.get_object, IfUnmodifiedSince=then - timedelta(hours=1)) == 412
    assert refused(s3.delete_object, IfMatch='"0"') == 412
    second = s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=tag)["ETag"]
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=second)
    assert refused(s3.get_object) == 404


def test_boto3_versions(site, bucket):
    s3 = site.boto3()
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    sizes = [10, 300 * KIB, 3 * MIB]
    made = [s3.put_object(Bucket=bucket, Key="k", Body=content(size))["VersionId"] for size in sizes]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    listed = s3.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in listed["Versions"]] == made[::-1]
    assert [(m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [(marker, True)]
    for size, version in zip(sizes, made):
        assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == content(size)
    s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content(sizes[-1])
    for version in made:
        s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    s3.delete_bucket(Bucket=bucket)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_boto3_checksums(site, algorithm):
    """The checksum that a client sends is given back with the object, and boto3 itself holds the bytes to it."""
    s3, bucket = site.boto3(), site.bucket(f"boto3-{algorithm.lower()}-{site.state}")
    data = content(3 * MIB + 1)
    put = s3.put_object(Bucket=bucket, Key="k", Body=io.BytesIO(data), ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    name = f"Checksum{algorithm}"
    assert got[name] == put[name]
    assert got["Body"].read() == data
    if algorithm != "CRC32":
        assert base64.b64decode(put[name]) == hashlib.new(algorithm.lower(), data).digest()


# ── minio-py ─────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_minio_py(site, bucket, tmp_path):
    from minio import Minio
    from minio.commonconfig import ComposeSource, CopySource
    from minio.deleteobjects import DeleteObject
    from minio.error import S3Error
    client = Minio(site.address, access_key=KEY, secret_key=SECRET, region=REGION, secure=False)

    def read(name, key, **range_):
        reply = client.get_object(name, key, **range_)
        try:
            return reply.read()
        finally:
            reply.close()
            reply.release_conn()

    site.assert_kept(lambda key: read(KEPT, key))
    assert client.bucket_exists(bucket) and not client.bucket_exists("not-there")
    data = content(17 * MIB)
    done = client.put_object(bucket, "multipart", io.BytesIO(data), -1, part_size=5 * MIB, metadata={"who": "minio"})
    stat = client.stat_object(bucket, "multipart")
    assert (stat.size, stat.etag, stat.metadata["x-amz-meta-who"]) == (len(data), done.etag, "minio")
    assert digest(read(bucket, "multipart")) == digest(data)
    assert read(bucket, "multipart", offset=6 * MIB - 1, length=100) == data[6 * MIB - 1:][:100]
    small = client.put_object(bucket, "a/small", io.BytesIO(b"small"), 5)
    client.copy_object(bucket, "a/copy", CopySource(bucket, "a/small", match_etag=small.etag))
    assert read(bucket, "a/copy") == b"small"
    with pytest.raises(S3Error) as caught:
        client.copy_object(bucket, "a/none", CopySource(bucket, "a/small", not_match_etag=small.etag))
    assert caught.value.code == "PreconditionFailed"
    client.compose_object(bucket, "composed", [ComposeSource(bucket, "multipart"), ComposeSource(bucket, "a/small")])
    assert digest(read(bucket, "composed")) == digest(data + b"small")
    assert sorted(o.object_name for o in client.list_objects(bucket)) == ["a/", "composed", "multipart"]
    assert [o.object_name for o in client.list_objects(bucket, "a/")] == ["a/copy", "a/small"]
    put = client.presigned_put_object(bucket, "presigned ü", expires=timedelta(minutes=5))
    assert DIRECT.open(urllib.request.Request(put, b"by URL", method="PUT")).status == 200
    with DIRECT.open(client.presigned_get_object(bucket, "presigned ü")) as reply:
        assert reply.read() == b"by URL"
    client.fget_object(bucket, "composed", str(tmp_path / "file"))
    assert digest((tmp_path / "file").read_bytes()) == digest(data + b"small")
    everything = [DeleteObject(o.object_name) for o in client.list_objects(bucket, recursive=True)]
    assert list(client.remove_objects(bucket, everything)) == []
    client.remove_bucket(bucket)


# ── s3fs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_s3fs(site, bucket, tmp_path):
    import s3fs
    fs = s3fs.S3FileSystem(key=KEY, secret=SECRET, client_kwargs={"endpoint_url": site.url, "region_name": REGION},
                           skip_instance_cache=True, use_listings_cache=False)
    site.assert_kept(lambda key: fs.cat_file(f"{KEPT}/{key}"))
    data = content(30 * MIB)
    with fs.open(f"{bucket}/dir/large", "wb", block_size=6 * MIB) as file:
        for at in range(0, len(data), MIB):
            file.write(data[at:at + MIB])
    with fs.open(f"{bucket}/dir/large", "rb", block_size=MIB) as file:
        for at in (0, 6 * MIB - 2, 29 * MIB):
            file.seek(at)
            assert file.read(70_000) == data[at:at + 70_000]
    assert fs.cat_ranges([f"{bucket}/dir/large"] * 2, [5, -7], [15, None]) == [data[5:15], data[-7:]]
    with fs.open(f"{bucket}/dir/text", "w") as file:
        file.write("a\nb\n")
    with fs.open(f"{bucket}/dir/text", "a") as file:
        file.write("c\n")
    assert fs.cat_file(f"{bucket}/dir/text") == b"a\nb\nc\n"
    assert (fs.size(f"{bucket}/dir/large"), fs.isdir(f"{bucket}/dir"), fs.exists(f"{bucket}/none")) == (len(data), True, False)
    assert sorted(fs.ls(f"{bucket}/dir", detail=False)) == [f"{bucket}/dir/large", f"{bucket}/dir/text"]
    fs.cp(f"{bucket}/dir/large", f"{bucket}/copy")
    fs.mv(f"{bucket}/copy", f"{bucket}/moved")
    fs.get(f"{bucket}/moved", str(tmp_path / "moved"))
    assert digest((tmp_path / "moved").read_bytes()) == digest(data)
    assert sorted(fs.find(bucket)) == [f"{bucket}/dir/large", f"{bucket}/dir/text", f"{bucket}/moved"]
    fs.rm(bucket, recursive=True)
    assert not fs.exists(bucket)


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS = 400_000


@pytest.fixture(scope="session")
def table():
    import pyarrow as pa
    return pa.table({"id": range(ROWS), "part": [i % 3 for i in range(ROWS)], "text": [f"row {i} {i * i % 9973}" for i in range(ROWS)]})


def test_pyarrow(site, bucket, table):
    import pyarrow.dataset as ds
    import pyarrow.fs as fs
    import pyarrow.parquet as pq
    s3 = fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=site.address, scheme="http", region=REGION)

    def read(key):
        with s3.open_input_file(f"{KEPT}/{key}") as file:
            return file.read()

    site.assert_kept(read)
    pq.write_table(table, f"{bucket}/one.parquet", filesystem=s3)
    assert pq.read_table(f"{bucket}/one.parquet", filesystem=s3).equals(table)
    ds.write_dataset(table, f"{bucket}/set", filesystem=s3, format="parquet", partitioning=["part"], partitioning_flavor="hive",
                     max_rows_per_file=50_000, max_rows_per_group=50_000)
    found = ds.dataset(f"{bucket}/set", filesystem=s3, format="parquet", partitioning="hive")
    assert found.to_table(columns=table.column_names).sort_by("id").equals(table.cast(found.schema.empty_table().select(table.column_names).schema))
    assert found.count_rows(filter=ds.field("part") == 1) == ROWS // 3
    with s3.open_output_stream(f"{bucket}/stream") as out:
        out.write(content(12 * MIB))
    with s3.open_input_file(f"{bucket}/stream") as file:
        assert digest(file.read()) == digest(content(12 * MIB))
        assert file.read_at(10, 5 * MIB) == content(12 * MIB)[5 * MIB:][:10]
    s3.copy_file(f"{bucket}/stream", f"{bucket}/copy")
    s3.move(f"{bucket}/copy", f"{bucket}/moved")
    s3.create_dir(f"{bucket}/empty/folder")
    infos = s3.get_file_info(fs.FileSelector(bucket))
    assert sorted(i.base_name for i in infos) == ["empty", "moved", "one.parquet", "set", "stream"]
    s3.delete_dir_contents(bucket)
    assert s3.get_file_info(fs.FileSelector(bucket)) == []


def test_polars(site, bucket, table):
    import polars as pl
    options = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "aws_region": REGION,
               "aws_endpoint_url": site.url, "aws_allow_http": "true"}
    frame = pl.from_arrow(table)
    frame.write_parquet(f"s3://{bucket}/one.parquet", storage_options=options)
    lazy = pl.scan_parquet(f"s3://{bucket}/one.parquet", storage_options=options)
    assert lazy.collect().equals(frame)
    assert lazy.filter(pl.col("id") == 77_777).select("text").collect().item() == "row 77777 8930"
    lazy.filter(pl.col("part") == 2).sink_parquet(f"s3://{bucket}/two.parquet", storage_options=options)
    both = pl.scan_parquet(f"s3://{bucket}/*.parquet", storage_options=options).select(pl.len()).collect().item()
    assert both == ROWS + ROWS // 3
    frame.head(1000).write_csv(f"s3://{bucket}/few.csv", storage_options=options)
    assert pl.scan_csv(f"s3://{bucket}/few.csv", storage_options=options).collect().equals(frame.head(1000))


def test_duckdb(site, bucket, table):
    import duckdb
    import duckdb_extension_httpfs
    from pathlib import Path
    [extension] = Path(duckdb_extension_httpfs.__file__).parent.glob(f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension")
    db = duckdb.connect()
    db.execute(f"LOAD '{extension}'")
    db.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION '{REGION}', ENDPOINT '{site.address}', "
               "URL_STYLE 'path', USE_SSL false)")
    site.assert_kept(lambda key: db.execute("SELECT content FROM read_blob(?)", [f"s3://{KEPT}/{key}"]).fetchone()[0])
    db.register("rows", table)
    db.execute(f"COPY rows TO 's3://{bucket}/one.parquet'")
    sums = "SELECT count(*), sum(id), sum(hash(text)) FROM "
    wanted = db.execute(sums + "rows").fetchone()
    assert db.execute(f"{sums} 's3://{bucket}/one.parquet'").fetchone() == wanted
    db.execute(f"COPY rows TO 's3://{bucket}/set' (FORMAT parquet, PARTITION_BY (part))")
    assert db.execute(f"{sums} 's3://{bucket}/set/*/*.parquet'").fetchone() == wanted
    assert db.execute(f"SELECT text FROM 's3://{bucket}/one.parquet' WHERE id = 77777").fetchone() == ("row 77777 8930",)
    db.execute(f"COPY (SELECT * FROM rows LIMIT 1000) TO 's3://{bucket}/few.csv'")
    assert db.execute(f"SELECT count(*) FROM 's3://{bucket}/few.csv'").fetchone() == (1000,)
