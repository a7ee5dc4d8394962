"""Thirteen backends of every kind at once: six folders, three MinIO buckets, two Azurite containers, two buckets through
the GCS client; 10+3, with no provider holding more than three shards."""

import os

from harness import Backend, Gateway, folders, rsb, write_config
from support.servers import AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Minio

# What dies with the second MinIO process: exactly as many shards as may be lost.
MINIO_A = ("s3-1", "s3-2")
MINIO_B = ("s3-3", "gcs-1", "gcs-2")
AZURE = ("az-1", "az-2")


class World:
    def __init__(self, root):
        self.root = root
        self.minio_a = Minio(root / "minio-a").start()
        self.minio_b = Minio(root / "minio-b").start()
        self.azurite = Azurite(root / "azurite").start()
        # A GCS client cannot make buckets here, so these two are there before; the others are rsb's to make.
        for bucket in ("gcs-1", "gcs-2"):
            self.minio_b.s3.make_bucket(bucket)
            self.minio_b.s3.open_bucket(bucket)
        self.folders = [root / f"disk-{disk}-{i}" for disk in "ab" for i in range(3)]
        self.env = {"E2E_MINIO_ACCESS_KEY_ID": Minio.access_key, "E2E_MINIO_SECRET_ACCESS_KEY": Minio.secret_key}
        self.config = write_config(root / "rsb.toml", self.backends())
        self.made = rsb("config", "init", config=self.config, env=self.env, expect=0)
        self.gateway = Gateway(self.config, root / "serve.log", env=self.env)

    def backends(self):
        account = self.minio_b.gcs_service_account(self.root / "gcs.json")
        s3 = {"region": "us-east-1", "allow_http": True}
        keys = {"access_key_id": Minio.access_key, "secret_access_key": Minio.secret_key}
        azure = {"endpoint": self.azurite.endpoint, "account_name": AZURITE_ACCOUNT, "account_key": AZURITE_KEY,
                 "allow_http": True}
        from_environment = {"env": "E2E_MINIO"}
        return [
            *folders(self.root, {"disk-a": 3, "disk-b": 3}),
            *(Backend(name, f"s3://{name}/prefix", "minio-a", {**s3, "endpoint": self.minio_a.url}, from_environment)
              for name in MINIO_A),
            Backend("s3-3", "s3://s3-3", "minio-b", {**s3, **keys, "endpoint": self.minio_b.url}),
            *(Backend(name, f"gs://{name}/repository", "minio-b", credentials={"file": account})
              for name in ("gcs-1", "gcs-2")),
            *(Backend(name, f"az://{name}", "azurite", azure) for name in AZURE),
        ]

    def rsb(self, *arguments, **keywords):
        """Through the gateway."""
        return rsb(*arguments, server=self.gateway.url, **keywords)

    def direct(self, *arguments, **keywords):
        """Straight on the backends; the gateway must be stopped for what writes."""
        return rsb(*arguments, config=self.config, env=self.env, **keywords)

    def close(self):
        self.gateway.__exit__()
        for server in (self.minio_a, self.minio_b, self.azurite):
            server.stop()


def folder_gone(folder):
    """Puts a file in a folder's place, so that everything on it fails; returns what brings the folder back."""
    aside = folder.with_name(folder.name + ".aside")
    os.rename(folder, aside)
    folder.write_text("not a folder")

    def back():
        folder.unlink()
        os.rename(aside, folder)

    return back
