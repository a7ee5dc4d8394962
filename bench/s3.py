#!/usr/bin/env python3
"""The S3 door beside MinIO in one run: MinIO with 13 folders and EC:3 against `rsb serve` with 13 folders and 10+3, on the
same disk, alternating, several rounds. Each line gives the medians of both and the ratio of MinIO's time to ours, by the
clock and by the CPU seconds of the server's process (above 1: ours takes less). The rounds are pairs: the ratio is the median of theirs.

    bench/s3.py [CASE ...] [--rounds N] [--folder DIR] [--keys N] [--mib N]

Cases: put get degraded small list (all when none is named).
  put       one object of 1 GiB (--mib) by PutObject; ours with etag = "md5" and with etag = "fast"
  get       the same object read back, every byte compared
  degraded  the same with 3 of the 13 folders gone
  small     4 KiB objects, 16 at once: PUT (both make every one durable before they answer), then GET
  list      every key of a bucket of 100,000 (--keys), and its folders by delimiter; then what a page costs in a bucket of
            a hundredth of the keys
At the end the peak memory of each server (VmHWM). --folder keeps the servers' data, so that a second run need not fill the
bucket of `list` again. Bodies are not signed. The load comes from bench/load, which is built first."""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path

import common
from harness import Backend, Gateway, rsb, wait_until, write_config
from support.s3 import S3
from support.servers import Minio, free_port

FOLDERS, PARITY = 13, 3
KEY = ("rsb-test", "rsb-test-secret")
LOAD = common.ROOT / "bench" / "load" / "target" / "release" / "load"


class ThirteenFolders(Minio):
    """MinIO as the peer: one erasure set of 13 folders, 3 of parity."""

    name = "minio"

    def command(self):
        return [str(common.tools.MINIO), "server", *self.folders, "--address", self.address,
                "--console-address", f"127.0.0.1:{self.console}", "--quiet"]

    @property
    def folders(self):
        return [str(self.folder / f"disk-{i}") for i in range(FOLDERS)]

    def environment(self):
        return {**super().environment(), "MINIO_STORAGE_CLASS_STANDARD": f"EC:{PARITY}"}

    @property
    def pid(self):
        return self.process.pid


class Ours:
    """`rsb serve` as a server of the tests."""

    def __init__(self, folder, etag):
        self.name, self.folder = f"rsb-{etag}", Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        backends = [Backend(f"disk-{i}", f"file://{path}", f"p{i}") for i, path in enumerate(self.folders)]
        gateway = {"s3_listen": self.address, "etag": etag}
        config = self.folder / "rsb.toml"
        write_config(config, backends, FOLDERS - PARITY, PARITY, gateway)
        config.write_text(config.read_text() + f'\n[[gateway.keys]]\nid = "{KEY[0]}"\nsecret = "{KEY[1]}"\n'
                          'rights = ["read", "write", "delete", "admin"]\nbuckets = ["*"]\n')
        if not (self.folder / "rsb.db").exists():
            rsb("config", "init", config=config, expect=0)
        self.gateway = Gateway(config, self.folder / "log")

    @property
    def folders(self):
        return [str(self.folder / f"disk-{i}") for i in range(FOLDERS)]

    def start(self):
        self.gateway.start()
        return self

    def stop(self):
        self.gateway.stop()

    def wait_until_whole(self):
        """A folder that came back is used again once the watch has seen it."""
        wait_until(lambda: all(b["reachable"] for b in self.gateway.request("GET", "/v1/status").json()["backends"]))

    @property
    def pid(self):
        return self.gateway.process.pid


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mib(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def load(server, verb, bucket, **options):
    """One run of the load generator, with the CPU seconds that it cost the server."""
    os.sync()
    argv = [str(LOAD), verb, "--address", server.address, "--bucket", bucket]
    for name, value in options.items():
        argv += [f"--{name.replace('_', '-')}", str(value)]
    before = cpu_seconds(server.pid)
    done = subprocess.run(argv, capture_output=True, text=True, env={"AWS_ACCESS_KEY_ID": KEY[0], "AWS_SECRET_ACCESS_KEY": KEY[1]})
    assert done.returncode == 0, f"{server.name}: {done.stderr}"
    return {**json.loads(done.stdout), "cpu": cpu_seconds(server.pid) - before}


def pairs(peer, ours, rounds, run):
    """`run(server, round)` on both, alternating who is first."""
    out = []
    for number in range(rounds):
        order = [peer, ours] if number % 2 == 0 else [ours, peer]
        found = {id(server): run(server, number) for server in order}
        out.append((found[id(peer)], found[id(ours)]))
    return out


def tell(what, found, unit, amount):
    """`amount` of `unit` were moved by each run."""
    def middle(side, field):
        return statistics.median(pair[side][field] for pair in found)

    def ratio(field):
        ratios = [pair[0][field] / max(pair[1][field], 1e-3) for pair in found]
        return f"{statistics.median(ratios):5.2f} × ({min(ratios):.2f} to {max(ratios):.2f})"

    print(f"{what}\n"
          f"    clock: MinIO {amount / middle(0, 'seconds'):9.0f} {unit}/s, ours {amount / middle(1, 'seconds'):9.0f} {unit}/s: {ratio('seconds')}\n"
          f"    CPU:   MinIO {middle(0, 'cpu'):9.2f} s,  ours {middle(1, 'cpu'):9.2f} s:  {ratio('cpu')}", flush=True)
    if found[0][0]["requests"] > 1:
        print(f"    a request: MinIO {middle(0, 'median_ms'):.2f} ms (p99 {middle(0, 'p99_ms'):.2f}), "
              f"ours {middle(1, 'median_ms'):.2f} ms (p99 {middle(1, 'p99_ms'):.2f})", flush=True)


def make_bucket(server, bucket):
    s3 = S3(server.address, *KEY)
    if f"<Name>{bucket}</Name>" not in s3.request("GET", "").decode():
        s3.make_bucket(bucket)
        return True
    return False


class Bench:
    def __init__(self, options, root):
        self.options, self.root = options, root
        self.minio = ThirteenFolders(root / "minio").start()
        self.ours = Ours(root / "rsb-md5", "md5").start()
        self.fast = Ours(root / "rsb-fast", "fast").start()

    @property
    def servers(self):
        return [self.minio, self.ours, self.fast]

    def put_big(self, server, number):
        return load(server, "put", "big", size=self.options.mib << 20, prefix=f"{number % 2}-")

    def get_big(self, server, _):
        return load(server, "get", "big", size=self.options.mib << 20, prefix="0-")

    def put(self):
        for server in self.servers:
            make_bucket(server, "big")
        for ours, mode in ((self.ours, "md5"), (self.fast, "fast")):
            tell(f'PUT {self.options.mib} MiB, etag = "{mode}"', pairs(self.minio, ours, self.options.rounds, self.put_big), "MiB",
                 self.options.mib)

    def big(self):
        for server in (self.minio, self.ours):
            if make_bucket(server, "big"):
                self.put_big(server, 0)

    def get(self):
        self.big()
        tell(f"GET {self.options.mib} MiB", pairs(self.minio, self.ours, self.options.rounds, self.get_big), "MiB", self.options.mib)

    def degraded(self):
        self.big()
        healthy, hurt = [], []
        for number in range(self.options.rounds):
            healthy.append(self.get_big(self.ours, number))
            for folder in self.ours.folders[:PARITY]:
                os.rename(folder, folder + "-away")
            try:
                hurt.append(self.get_big(self.ours, number))
            finally:
                for folder in self.ours.folders[:PARITY]:
                    os.rename(folder + "-away", folder)
            self.ours.wait_until_whole()
        ratios = [a["seconds"] / b["seconds"] for a, b in zip(healthy, hurt)]
        cpu = [statistics.median(run["cpu"] for run in runs) for runs in (healthy, hurt)]
        print(f"GET {self.options.mib} MiB with {PARITY} of {FOLDERS} folders gone: {statistics.median(ratios):.2f} of the healthy throughput "
              f"({min(ratios):.2f} to {max(ratios):.2f}), CPU {cpu[1]:.2f} s after {cpu[0]:.2f} s", flush=True)

    def small(self):
        for server in (self.minio, self.ours):
            make_bucket(server, "small")
        count, size = 2000, 4096

        def run(verb):
            return lambda server, number: load(server, verb, "small", size=size, count=count, at_once=16, prefix=f"{number}-")

        tell(f"PUT 4 KiB, 16 at once, {count} of them", pairs(self.minio, self.ours, self.options.rounds, run("put")), "PUT", count)
        tell("GET 4 KiB, 16 at once", pairs(self.minio, self.ours, self.options.rounds, run("get")), "GET", count)

    def list(self):
        few = max(self.options.keys // 100, 1000)
        for bucket, keys in (("many", self.options.keys), ("few", few)):
            for server in (self.minio, self.ours):
                if make_bucket(server, bucket):
                    load(server, "put", bucket, size=100, count=keys, at_once=16)
        rounds, keys = self.options.rounds, self.options.keys
        many = pairs(self.minio, self.ours, rounds, lambda server, _: load(server, "list", "many"))
        assert all(run["items"] == keys for pair in many for run in pair), many
        tell(f"LIST {keys} keys", many, "key", keys)
        folders = pairs(self.minio, self.ours, rounds, lambda server, _: load(server, "list", "many", delimiter="/"))
        assert all(run["items"] == -(-keys // 100) for pair in folders for run in pair), folders
        tell(f"LIST {keys} keys by delimiter, {keys // 100} folders", folders, "folder", keys // 100)
        one = pairs(self.minio, self.ours, rounds, lambda server, _: load(server, "list", "few"))
        tell(f"LIST {few} keys", one, "key", few)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    common.build()
    subprocess.run(["cargo", "build", "--release", "--quiet", "--manifest-path", LOAD.parents[2] / "Cargo.toml"], check=True)
    common.install("minio")
    root = options.folder or Path(tempfile.mkdtemp(prefix="rsb-bench-"))
    bench = Bench(options, root)
    try:
        for case in options.cases or ["put", "get", "degraded", "small", "list"]:
            getattr(bench, case)()
        print("peak memory: " + ", ".join(f"{server.name} {peak_mib(server.pid):.0f} MiB" for server in bench.servers))
    finally:
        for server in bench.servers:
            server.stop()
        if options.folder is None:
            shutil.rmtree(root)


main()
