"""The S3 door with the commands that people use, with every backend there and with as many stopped as may be lost: the aws
cli, s3cmd, rclone, s5cmd and restic. Each is left to its defaults where an endpoint other than Amazon's allows it."""

import http.client
import os
import subprocess

import pytest

from clients import KEPT, KEY, LARGE, REGION, SECRET, files, some_files
from harness import HOST, MIB, content, digest, environment, free_port, wait_until
from support.servers import DIRECT, http_ok
from support.tools import AWS, RCLONE, RESTIC, S3CMD, S5CMD

pytestmark = pytest.mark.servers

@pytest.fixture
def bucket(site, request):
    """A bucket's name of the test's own; the commands make it."""
    return f"{request.node.originalname.removeprefix('test_').replace('_', '-')}-{site.state}"


@pytest.fixture
def source(tmp_path):
    return some_files(tmp_path / "source")


@pytest.fixture
def large(tmp_path):
    file = tmp_path / "large"
    file.write_bytes(content(LARGE))
    return file


def test_aws_cli(site, bucket, source, large, tmp_path):
    config = tmp_path / "config"
    config.write_text("[default]\ns3 =\n  addressing_style = path\n")

    def aws(*arguments, **options):
        return site.run(AWS, "--endpoint-url", site.url, *arguments, env={"AWS_CONFIG_FILE": str(config)}, **options)

    aws("s3", "sync", f"s3://{KEPT}", tmp_path / KEPT)
    site.assert_kept_in(tmp_path / KEPT)

    aws("s3", "mb", f"s3://{bucket}")
    assert bucket in aws("s3", "ls").decode()
    aws("s3", "cp", large, f"s3://{bucket}/large")
    aws("s3", "cp", f"s3://{bucket}/large", tmp_path / "back")
    assert files(tmp_path)["back"] == digest(content(LARGE))
    aws("s3", "cp", f"s3://{bucket}/large", f"s3://{bucket}/copy of large")
    aws("s3", "mv", f"s3://{bucket}/copy of large", f"s3://{bucket}/moved")
    assert digest(aws("s3", "cp", f"s3://{bucket}/moved", "-")) == digest(content(LARGE))

    aws("s3", "sync", source, f"s3://{bucket}/tree")
    assert aws("s3", "sync", source, f"s3://{bucket}/tree") == b"", "a second time there is nothing to do"
    (source / "deep" / "new").write_bytes(b"new")
    (source / "file 0").unlink()
    aws("s3", "sync", "--delete", source, f"s3://{bucket}/tree")
    aws("s3", "sync", f"s3://{bucket}/tree", tmp_path / "tree")
    assert files(tmp_path / "tree") == files(source)
    listed = aws("s3", "ls", "--recursive", f"s3://{bucket}/tree/").decode().splitlines()
    assert sorted(line[31:] for line in listed) == sorted(f"tree/{name}" for name in files(source))
    assert aws("s3", "cp", "-", f"s3://{bucket}/stdin", input=b"from a pipe") is not None
    assert aws("s3", "cp", f"s3://{bucket}/stdin", "-") == b"from a pipe"

    url = aws("s3", "presign", f"s3://{bucket}/moved").decode().strip()
    assert digest(site.run("curl", "--silent", "--fail", url)) == digest(content(LARGE))
    assert site.run("curl", "--silent", "--fail", "--range", "5-9", url) == content(LARGE)[5:10]
    aws("s3", "rm", "--recursive", f"s3://{bucket}/tree")
    aws("s3", "rb", f"s3://{bucket}", expect=1)
    aws("s3", "rb", "--force", f"s3://{bucket}")
    aws("s3", "ls", f"s3://{bucket}", expect=255)


def test_an_empty_body_that_waits_to_be_asked_for(site):
    """The aws cli waits so, and takes the next reply on the connection for this one's where it is not told to go on."""
    connection = http.client.HTTPConnection(site.address, timeout=30)
    connection.request("PUT", "/empty/body", b"", {"Expect": "100-continue", "Content-Length": "0"})
    reply = connection.getresponse()
    assert (reply.status, reply.headers["connection"]) == (403, "close")
    connection.close()


def test_s3cmd(site, bucket, source, large, tmp_path):
    config = tmp_path / "s3cfg"
    config.write_text(f"[default]\naccess_key = {KEY}\nsecret_key = {SECRET}\nhost_base = {site.address}\n"
                      f"host_bucket = {site.address}\nbucket_location = {REGION}\nuse_https = False\n")

    def s3cmd(*arguments, **options):
        return site.run(S3CMD, "--config", config, "--no-progress", *arguments, **options)

    (tmp_path / KEPT).mkdir()
    s3cmd("sync", f"s3://{KEPT}/", f"{tmp_path / KEPT}/")
    site.assert_kept_in(tmp_path / KEPT)

    s3cmd("mb", f"s3://{bucket}")
    s3cmd("put", large, f"s3://{bucket}/large")
    s3cmd("get", f"s3://{bucket}/large", tmp_path / "back")
    assert files(tmp_path)["back"] == digest(content(LARGE))
    assert f"File size: {LARGE}" in s3cmd("info", f"s3://{bucket}/large").decode()
    s3cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    s3cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    s3cmd("modify", "--add-header", "Cache-Control: no-store", f"s3://{bucket}/moved")
    assert site.boto3().head_object(Bucket=bucket, Key="moved")["CacheControl"] == "no-store"
    s3cmd("get", "--force", f"s3://{bucket}/moved", tmp_path / "back")
    assert files(tmp_path)["back"] == digest(content(LARGE))

    s3cmd("sync", f"{source}/", f"s3://{bucket}/tree/")
    assert b"upload:" not in s3cmd("sync", f"{source}/", f"s3://{bucket}/tree/"), "a second time there is nothing to do"
    (tmp_path / "tree").mkdir()
    s3cmd("sync", f"s3://{bucket}/tree/", f"{tmp_path / 'tree'}/")
    assert files(tmp_path / "tree") == files(source)
    listed = s3cmd("ls", "--recursive", f"s3://{bucket}/tree/").decode()
    assert all(f"s3://{bucket}/tree/{name}" in listed for name in files(source))
    assert str(sum(f.stat().st_size for f in source.rglob("*") if f.is_file())) in s3cmd("du", f"s3://{bucket}/tree/").decode()
    s3cmd("del", f"s3://{bucket}/large")
    s3cmd("rb", f"s3://{bucket}", expect=13)
    s3cmd("rb", "--recursive", "--force", f"s3://{bucket}")
    assert bucket not in s3cmd("ls").decode()


def test_rclone(site, bucket, source, large, tmp_path):
    config = tmp_path / "rclone.conf"
    config.write_text(f"[rsb]\ntype = s3\nprovider = Other\naccess_key_id = {KEY}\nsecret_access_key = {SECRET}\n"
                      f"endpoint = {site.url}\nregion = {REGION}\n")

    def rclone(*arguments, **options):
        return site.run(RCLONE, "--config", config, *arguments, **options)

    rclone("copy", f"rsb:{KEPT}", tmp_path / KEPT)
    site.assert_kept_in(tmp_path / KEPT)

    rclone("mkdir", f"rsb:{bucket}")
    rclone("copyto", large, f"rsb:{bucket}/large")
    assert digest(rclone("cat", f"rsb:{bucket}/large")) == digest(content(LARGE))
    assert rclone("cat", "--offset", 70 * MIB, "--count", 9, f"rsb:{bucket}/large") == content(LARGE)[70 * MIB:][:9]
    rclone("moveto", f"rsb:{bucket}/large", f"rsb:{bucket}/sub/moved")
    rclone("copyto", f"rsb:{bucket}/sub/moved", f"rsb:{bucket}/sub/copy")
    rclone("check", "--download", "--one-way", f"rsb:{bucket}/sub", f"rsb:{bucket}/sub")

    rclone("sync", source, f"rsb:{bucket}/tree")
    rclone("check", source, f"rsb:{bucket}/tree")
    rclone("check", "--download", source, f"rsb:{bucket}/tree")
    (source / "file 0").unlink()
    (source / "deep" / "new").write_bytes(b"new")
    rclone("sync", source, f"rsb:{bucket}/tree")
    rclone("sync", f"rsb:{bucket}/tree", tmp_path / "tree")
    assert files(tmp_path / "tree") == files(source)
    assert sorted(rclone("lsf", "-R", "--files-only", f"rsb:{bucket}/tree").decode().splitlines()) == sorted(files(source))
    assert rclone("rcat", f"rsb:{bucket}/piped", input=content(MIB)) == b""
    assert rclone("cat", f"rsb:{bucket}/piped") == content(MIB)
    rclone("touch", f"rsb:{bucket}/piped")
    assert rclone("hashsum", "md5", f"rsb:{bucket}/piped")
    rclone_serves(site, config, bucket)
    rclone("delete", f"rsb:{bucket}/tree")
    rclone("purge", f"rsb:{bucket}")
    assert bucket not in rclone("lsd", "rsb:").decode()


def rclone_serves(site, config, bucket):
    """`rclone serve http` in front of the door: another server reads through it."""
    address = f"{HOST}:{free_port()}"
    argv = [RCLONE, "--config", config, "serve", "http", f"rsb:{bucket}", "--addr", address]
    server = subprocess.Popen([str(a) for a in argv], env=environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_until(lambda: http_ok(f"http://{address}/"))
        with DIRECT.open(f"http://{address}/sub/moved", timeout=60) as reply:
            assert digest(reply.read()) == digest(content(LARGE))
    finally:
        server.terminate()
        server.wait(20)


def test_s5cmd(site, bucket, source, large, tmp_path):
    def s5cmd(*arguments, **options):
        return site.run(S5CMD, "--endpoint-url", site.url, *arguments, **options)

    s5cmd("cp", f"s3://{KEPT}/*", f"{tmp_path / KEPT}/")
    site.assert_kept_in(tmp_path / KEPT)

    s5cmd("mb", f"s3://{bucket}")
    s5cmd("cp", large, f"s3://{bucket}/large")
    assert digest(s5cmd("cat", f"s3://{bucket}/large")) == digest(content(LARGE))
    s5cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copy")
    s5cmd("mv", f"s3://{bucket}/copy", f"s3://{bucket}/moved")
    s5cmd("cp", f"s3://{bucket}/moved", tmp_path / "back")
    assert files(tmp_path)["back"] == digest(content(LARGE))
    s5cmd("sync", f"{source}/", f"s3://{bucket}/tree/")
    assert s5cmd("sync", f"{source}/", f"s3://{bucket}/tree/") == b"", "a second time there is nothing to do"
    s5cmd("sync", f"s3://{bucket}/tree/*", f"{tmp_path / 'tree'}/")
    assert files(tmp_path / "tree") == files(source)
    listed = s5cmd("ls", f"s3://{bucket}/tree/*").decode()
    assert all(name in listed for name in files(source))
    s5cmd("pipe", f"s3://{bucket}/piped", input=content(MIB))
    assert s5cmd("cat", f"s3://{bucket}/piped") == content(MIB)
    s5cmd("rm", f"s3://{bucket}/*")
    s5cmd("rb", f"s3://{bucket}")
    assert bucket not in s5cmd("ls").decode()


def test_restic(site, bucket, source, tmp_path):
    if not RESTIC.exists():
        assert not os.environ.get("CI"), "restic was not installed"
        pytest.skip("restic is not installed: it is unpacked from Debian's package, by apt-get")
    repository = f"s3:{site.url}/{bucket}/backups"

    def restic(*arguments, **options):
        return site.run(RESTIC, "-r", repository, *arguments, env={"RESTIC_PASSWORD": "restic"}, **options)

    restic("init")
    (source / "large").write_bytes(content(40 * MIB))
    restic("backup", source)
    before = files(source)
    restic("check", "--read-data")
    (source / "large").unlink()
    (source / "another").write_bytes(content(20 * MIB, "another"))
    restic("backup", source)
    restic("restore", "latest", "--target", tmp_path / "latest")
    assert files(tmp_path / "latest" / source.relative_to("/")) == files(source)
    snapshots = restic("snapshots", "--compact").decode()
    first = snapshots.splitlines()[2].split()[0]
    restic("restore", first, "--target", tmp_path / "first")
    assert files(tmp_path / "first" / source.relative_to("/")) == before
    restic("forget", "--keep-last", 1, "--prune")
    restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "pruned")
    assert files(tmp_path / "pruned" / source.relative_to("/")) == files(source)
