#!/usr/bin/env python3
"""A mixed load for 20 minutes with random faults: servers killed and stopped, connections made sick, files damaged. No reply
may be wrong; memory, open files and tasks must not grow; and when the faults end the ledger must work itself off.

    bench/soak.py [--minutes 20] [--seed S]

./test runs the same for a minute."""

import argparse
import random
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

import common
from harness import Backend, Gateway, folders, rsb, run_job, shard_files, wait_until, write_config
from load import BUCKET, Load, ledger_is_empty, new_keys, read_back
from support.servers import Minio, Toxiproxy

SIZES = (0, 3000, 200_000, 1 << 20)
TOXICS = (("latency", {"latency": 800}), ("timeout", {"timeout": 0}), ("reset_peer", {"timeout": 0}), ("bandwidth", {"rate": 5}))
# What may be so much more at the end than after the beginning: caches fill, connections are kept.
GROWTH = {"memory_mib": (1.3, 40), "files": (1.3, 30), "threads": (1.0, 8)}


class Site:
    """4+2 on three folders and three buckets behind toxiproxy; one is ill at a time."""

    def __init__(self, root):
        self.root = root
        self.minio, self.proxy = Minio(root / "minio").start(), Toxiproxy(root / "toxiproxy").start()
        s3 = {"region": "us-east-1", "allow_http": True, "access_key_id": Minio.access_key,
              "secret_access_key": Minio.secret_key}
        names = ("s3-0", "s3-1")
        backends = folders(root, {"a": 2, "b": 2}) + [
            Backend(name, f"s3://{name}", "s3", {**s3, "endpoint": f"http://{self.proxy.proxy(name, self.minio.address)}"},
                    extra={"limits": {"timeout": "3s", "retries": 1}}) for name in names]
        config = write_config(root / "rsb.toml", backends, 4, 2, heal={"every": "500ms"}, ack_margin=0)
        rsb("config", "init", config=config, expect=0)
        self.gateway = Gateway(config, root / "serve.log", env={"RUST_LOG": "warn"})

    def close(self):
        self.gateway.__exit__()
        self.proxy.stop(), self.minio.stop()

    def figures(self):
        pid = self.gateway.process.pid
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        return {"memory_mib": int(status["VmRSS"].split()[0]) / 1024, "threads": int(status["Threads"]),
                "files": len(list(Path(f"/proc/{pid}/fd").iterdir()))}


def fault(site, chance, seconds):
    """One fault, over when it returns."""
    what = chance.choice(("toxic", "toxic", "stopped", "killed", "damage"))
    name = chance.choice(("s3-0", "s3-1"))
    if what == "toxic":
        kind, attributes = chance.choice(TOXICS)
        site.proxy.add_toxic(name, kind, attributes, "downstream")
        time.sleep(seconds)
        site.proxy.remove_toxic(name, kind)
    elif what == "stopped":
        site.minio.process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        site.minio.process.send_signal(signal.SIGCONT)
    elif what == "killed":
        site.minio.kill()
        time.sleep(seconds)
        site.minio.start()
    else:
        # Of what is whole: together with what is short of others it would be more than may be lost.
        files = shard_files(site.root / "a-0")
        wait_until(lambda: ledger_is_empty(site.gateway), within=330)
        for file in chance.sample(files, min(5, len(files))):
            try:
                data = bytearray(file.read_bytes())
                data[chance.randrange(len(data))] ^= 1
                file.write_bytes(data)
            except (FileNotFoundError, ValueError):
                pass
        time.sleep(seconds)
    return what


def grown(early, late):
    """What has grown by more than may be."""
    return [f"{name} grew from {early[name]:.0f} to {late[name]:.0f}" for name, (factor, more) in GROWTH.items()
            if late[name] > early[name] * factor + more]


def soak(root, seconds, seed, say=print):
    chance, site = random.Random(seed), Site(Path(root))
    try:
        gateway, keys = site.gateway.start(), new_keys(4, 8)
        assert gateway.request("PUT", f"/v1/b/{BUCKET}").status == 201
        begun, counts, early = time.monotonic(), {}, None
        with Load(gateway, keys, chance, sizes=SIZES, pause=0.02) as load:
            while time.monotonic() - begun < seconds:
                what = fault(site, chance, chance.uniform(1, min(10, seconds / 10)))
                counts[what] = counts.get(what, 0) + 1
                time.sleep(chance.uniform(0.5, min(5, seconds / 20)))
                assert gateway.runs, gateway.words()
                now = site.figures()
                if early is None and time.monotonic() - begun > seconds / 3:
                    early = now
                say(f"{time.monotonic() - begun:6.0f} s {what:8} {now['memory_mib']:6.0f} MiB {now['files']:4} files "
                    f"{now['threads']:3} threads; {load.sum('acknowledged')} acknowledged, {load.sum('read')} read, "
                    f"{load.sum('refused')} refused, {load.sum('cut')} cut")
        drained = time.monotonic()
        wait_until(lambda: ledger_is_empty(gateway), within=330)
        say(f"the ledger was empty {time.monotonic() - drained:.0f} s after the load; faults: {counts}")
        run_job(gateway, "check", {"depth": "full"})
        wait_until(lambda: ledger_is_empty(gateway), within=330)
        report = run_job(gateway, "check", {"depth": "full"})
        assert report["damaged"] == [], report["damaged"][:3]
        read_back(gateway, keys)
        # Threads that the check has kept busy end when they have had nothing to do for a while.
        until = time.monotonic() + 30
        while grown(early, late := site.figures()) and time.monotonic() < until:
            time.sleep(0.5)
        assert not grown(early, late), "; ".join(grown(early, late))
        assert load.sum("acknowledged") > seconds, "the load did not come to anything"
        return early, late
    finally:
        site.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    options = parser.parse_args()
    common.build()
    common.install("minio", "toxiproxy")
    print(f"seed: {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="rsb-soak-") as root:
        early, late = soak(root, options.minutes * 60, options.seed, lambda text: print(text, flush=True))
    print(f"after a third of it: {early}\nat the end: {late}")


if __name__ == "__main__":
    sys.exit(main())
