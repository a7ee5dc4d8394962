#!/usr/bin/env python3
"""PUT and GET with one dead and one slow backend of 13, against the same repository healthy, in one run: throughput and p99
after the first minute of the illness. Eleven folders, and two MinIO buckets behind toxiproxy: one swallows everything, one
answers after 300 ms.

    bench/ill.py [--seconds 20] [--clients 4] [--size 1048576] [--sick 60]

By the acknowledge rule 10+3 with the default ack_margin waits for 12 of 13 backends: with one dead, for every other one, the
slow one too. So the ratios are measured where a write may do without both: 10+3 with ack_margin = 1, and 8+3 as it is. The
third line says what the default costs."""

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import common
from harness import Backend, Gateway, content, folders, object_path, rsb, write_config
from support.servers import Minio, Toxiproxy

CASES = (("10+3, ack_margin 1", 10, {"ack_margin": 1}), ("8+3", 8, {}), ("10+3, default ack_margin", 10, {}))


def phase(gateway, what, options, seconds):
    """Requests a second, and the 99th percentile of their times."""
    times, lock, until = [], threading.Lock(), time.monotonic() + seconds
    body = content(options.size, 1)

    def client(number):
        chance, own = random.Random(number), []
        while time.monotonic() < until:
            path = object_path("bench", f"{number}-{chance.randrange(20)}")
            begun = time.monotonic()
            reply = gateway.request("PUT", path, body) if what == "PUT" else gateway.request("GET", path)
            own.append(time.monotonic() - begun)
            assert reply.status in (200, 201) and (what == "PUT" or reply.body == body), reply.text[:300]
        with lock:
            times.extend(own)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    times.sort()
    return len(times) / seconds, times[int(len(times) * 0.99)]


def measure(name, data, repository, options):
    with tempfile.TemporaryDirectory(prefix="rsb-bench-", ignore_cleanup_errors=True) as root:
        root = Path(root)
        minio, proxy = Minio(root / "minio").start(), Toxiproxy(root / "toxiproxy").start()
        s3 = {"region": "us-east-1", "allow_http": True, "access_key_id": minio.access_key,
              "secret_access_key": minio.secret_key}
        behind = {sick: proxy.proxy(sick, minio.address) for sick in ("dead", "slow")}
        backends = folders(root, {f"p{i}": 1 for i in range(11)}) + [
            Backend(sick, f"s3://{sick}", sick, {**s3, "endpoint": f"http://{address}"}) for sick, address in behind.items()]
        # What is short is brought there later: here only what a client sees is measured.
        config = write_config(root / "rsb.toml", backends, data, 3, heal={"every": "0s"}, **repository)
        rsb("config", "init", config=config, expect=0)
        with Gateway(config, root / "log", env={"RUST_LOG": "error"}).start() as gateway:
            assert gateway.request("PUT", "/v1/b/bench").status == 201
            for number in range(options.clients):
                for key in range(20):
                    gateway.request("PUT", object_path("bench", f"{number}-{key}"), content(options.size, 1))
            phase(gateway, "PUT", options, 5), phase(gateway, "GET", options, 5)
            healthy = {what: phase(gateway, what, options, options.seconds) for what in ("PUT", "GET")}
            proxy.add_toxic("dead", "timeout", {"timeout": 0})
            proxy.add_toxic("slow", "latency", {"latency": 300}, "downstream")
            first = {what: phase(gateway, what, options, options.sick / 2) for what in ("PUT", "GET")}
            ill = {what: phase(gateway, what, options, options.seconds) for what in ("PUT", "GET")}
        proxy.stop(), minio.stop()
    good = True
    for what in ("PUT", "GET"):
        (rate, p99), (ill_rate, ill_p99), (first_rate, first_p99) = healthy[what], ill[what], first[what]
        good &= ill_rate >= 0.8 * rate and ill_p99 <= 2 * p99
        print(f"{name}, {what}: healthy {rate:.1f}/s, p99 {p99 * 1000:.0f} ms; first minute {first_rate:.1f}/s, p99 "
              f"{first_p99 * 1000:.0f} ms; after it {ill_rate:.1f}/s (ratio {ill_rate / rate:.2f}), p99 "
              f"{ill_p99 * 1000:.0f} ms (ratio {ill_p99 / p99:.2f})", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20, help="of each measurement")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--size", type=int, default=1 << 20, help="bytes of an object")
    parser.add_argument("--sick", type=float, default=60, help="seconds of illness before it is measured")
    parser.add_argument("--case", type=int, choices=range(1, 4), help="only this one")
    options = parser.parse_args()
    common.build()
    common.install("minio", "toxiproxy")
    cases = CASES if options.case is None else CASES[options.case - 1:options.case]
    results = [measure(*case, options) for case in cases]
    # The last case is told, not asked for.
    return 0 if all(good for good, case in zip(results, cases) if case is not CASES[2]) else 1


sys.exit(main())
