#!/usr/bin/env python3
"""How long uploads take while one backend swallows everything (toxiproxy's `timeout` toxic), against the healthy time in the
same run. 4+2 on six MinIO buckets, one of them behind the proxy.

    bench/black_hole.py [UPLOADS]"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import common
from harness import MIB, Backend, Gateway, content, object_path, rsb, write_config
from support.servers import Minio, Toxiproxy

SIZES = {"1 MiB": MIB, "16 MiB": 16 * MIB}


def upload(gateway, size, key):
    start = time.monotonic()
    reply = gateway.request("PUT", object_path("bench", key), content(size, key), timeout=300)
    assert reply.status == 201, reply.text
    return time.monotonic() - start


def main():
    uploads = int(sys.argv[1]) if sys.argv[1:] else 8
    common.build()
    common.install("minio", "toxiproxy")
    with tempfile.TemporaryDirectory(prefix="rsb-bench-") as root:
        root = Path(root)
        minio, proxy = Minio(root / "minio").start(), Toxiproxy(root / "toxiproxy").start()
        behind = proxy.proxy("minio", minio.address)
        options = {"region": "us-east-1", "allow_http": True, "access_key_id": minio.access_key,
                   "secret_access_key": minio.secret_key}
        backends = [Backend(f"s-{i}", f"s3://bucket-{i}", f"p{i}",
                            {**options, "endpoint": f"http://{behind}" if i == 5 else minio.url}) for i in range(6)]
        config = write_config(root / "rsb.toml", backends, 4, 2)
        rsb("config", "init", config=config, expect=0)
        with Gateway(config, root / "log").start() as gateway:
            assert gateway.request("PUT", "/v1/b/bench").status == 201
            for name, size in SIZES.items():
                upload(gateway, size, "warm")
                healthy = statistics.median(upload(gateway, size, f"h{i}") for i in range(uploads))
                proxy.add_toxic("minio", "timeout", {"timeout": 0})
                ill = [upload(gateway, size, f"i{i}") for i in range(uploads)]
                proxy.remove_toxic("minio", "timeout")
                later = statistics.median(ill[1:])
                print(f"{name}: healthy {healthy:.3f} s (median of {uploads}); swallowed: first {ill[0]:.3f} s, then "
                      f"{later:.3f} s (median), ratio {later / healthy:.2f}, worst {max(ill[1:]) / healthy:.2f}", flush=True)
                while gateway.request("GET", "/v1/status").json()["backends"][5]["reachable"] is not True:
                    time.sleep(0.2)
        proxy.stop(), minio.stop()


main()
