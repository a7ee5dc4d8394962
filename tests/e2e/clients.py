"""The S3 door of a gateway on backends of every kind, for the clients that people use. 4+2 on eight backends at four
providers: two folders of one disk, two of another, two MinIO buckets, two Azurite containers. So two may go, as
they do when the one MinIO is killed, and six are left, which a write can still fill."""

import os
import subprocess
import sys
from pathlib import Path

from harness import (HOST, KIB, MIB, Backend, Gateway, content, digest, environment, file_digest, folders, free_port, rsb,
                     run_job, write_config)
from support.servers import AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Minio
from support.tools import S3_PYTHON

# The clients' libraries live in an environment of their own, made with the same Python.
for packages in S3_PYTHON.parents[1].glob("lib/python3*/site-packages"):
    sys.path.append(str(packages))

KEY, SECRET, REGION = "client", "secret-of-the-client", "us-east-1"
# The size of a file that every client sends in parts.
LARGE = 100 * MIB + 7
# What every client finds in the bucket `kept`, written before anything was lost.
KEPT = "kept"
SIZES = {"empty": 0, "one byte": 1, "in/line": 808, "in/limit": 128 * KIB, "in/limit+1": 128 * KIB + 1,
         "deep/ü & + %20.bin": 5 * MIB + 3, "two segments": 66 * MIB}


class Site:
    """The gateway, and what a client needs to speak to it."""

    def __init__(self, root):
        self.root, self.address = root, f"{HOST}:{free_port()}"
        self.url = f"http://{self.address}"
        self.minio = Minio(root / "minio").start()
        self.azurite = Azurite(root / "azurite").start()
        keys = [{"id": KEY, "secret": SECRET, "rights": ["read", "write", "delete", "admin"]}]
        self.config = write_config(root / "rsb.toml", self._backends(), data=4, parity=2)
        with open(self.config, "a") as config:
            config.write("\n".join(["", "[[gateway.keys]]", *(f"{k} = {v!r}" for k, v in keys[0].items()), ""]))
        rsb("config", "init", config=self.config, expect=0)
        self.gateway = Gateway(self.config, root / "serve.log", arguments=["--s3-listen", self.address]).start()
        self.kept = {key: content(size, key) for key, size in SIZES.items()}
        s3 = self.boto3()
        s3.create_bucket(Bucket=KEPT)
        for key, data in self.kept.items():
            s3.put_object(Bucket=KEPT, Key=key, Body=data)

    def _backends(self):
        s3 = {"region": REGION, "allow_http": True, "endpoint": self.minio.url, "access_key_id": Minio.access_key,
              "secret_access_key": Minio.secret_key}
        azure = {"endpoint": self.azurite.endpoint, "account_name": AZURITE_ACCOUNT, "account_key": AZURITE_KEY,
                 "allow_http": True}
        return [*folders(self.root, {"disk-a": 2, "disk-b": 2}),
                *(Backend(f"s3-{i}", f"s3://s3-{i}", "minio", s3) for i in range(2)),
                *(Backend(f"az-{i}", f"az://az-{i}", "azurite", azure) for i in range(2))]

    def be(self, state):
        """Brings the backends into a state: `healthy`, or `degraded` with as many stopped as may be lost."""
        if state == "degraded":
            self.minio.kill()
        elif not self.minio.runs:
            self.minio.start()

    def prove_whole(self):
        """With every backend back a repair makes every object whole, down to its last byte."""
        self.be("healthy")
        rsb("repair", server=self.gateway.url, timeout=600, expect=0)
        report = run_job(self.gateway, "check", {"depth": "full"}, within=600)
        assert report["damaged"] == [] and report["unreachable"] == [] and report["whole"] == report["objects"] > 0

    def close(self):
        self.gateway.__exit__()
        for server in (self.minio, self.azurite):
            server.stop()

    # ── for the clients ──

    def boto3(self, **config):
        import boto3
        from botocore.config import Config
        return boto3.client("s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id=KEY,
                            aws_secret_access_key=SECRET, config=Config(s3={"addressing_style": "path"}, **config))

    def bucket(self, name):
        """A bucket of a client's own, which must not be there yet."""
        self.boto3().create_bucket(Bucket=name)
        return name

    def run(self, *argv, env=None, expect=0, **options):
        """Runs a client; anything but the expected exit code is a failed test. Returns what it printed."""
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        known = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION,
                 "HOME": str(home), "XDG_CACHE_HOME": str(home), **(env or {})}
        done = subprocess.run([str(a) for a in argv], capture_output=True, timeout=300, env=environment(known),
                              stdin=None if "input" in options else subprocess.DEVNULL, **options)
        said = f"{done.stdout[-3000:].decode(errors='replace')}\n{done.stderr[-3000:].decode(errors='replace')}"
        assert done.returncode == expect, f"`{' '.join(map(str, argv))}` ended with {done.returncode}\n{said}"
        return done.stdout

    def assert_kept(self, got):
        """`got(key)` gives the bytes of each object that was there before."""
        for key, data in self.kept.items():
            assert digest(got(key)) == digest(data), key

    def assert_kept_in(self, folder):
        """The folder holds the objects that were there before, and nothing else."""
        assert files(folder) == {key: digest(data) for key, data in self.kept.items()}


def some_files(folder, sizes=(0, 10, 300 * KIB, 9 * MIB + 1)):
    """Makes a tree of files with odd names; the largest is one that clients send in parts."""
    for turn, size in enumerate(sizes):
        file = Path(folder) / ("", "deep/", "deep/ü +&/", "z ")[turn % 4] / f"file {turn}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(size, turn))
    return Path(folder)


def files(folder):
    """Every file under a folder by its path there, with its digest."""
    return {str(p.relative_to(folder)): file_digest(p) for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def without_settings_of_this_machine():
    """Takes AWS settings and proxies out of this process, for the clients that run in it."""
    for name in list(os.environ):
        if name.startswith("AWS_") or name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
