#!/usr/bin/env python3
"""Requests to the backends that one write and one read cost, as the metrics wrapper counts them, on the embedded default."""

import re
import tempfile
from collections import Counter
from pathlib import Path

import common
from harness import KIB, MIB, Gateway, content, object_path

LINE = re.compile(r'^rsb_backend_requests_total\{(.*)\} (\d+)')


def counts(gateway):
    out = Counter()
    for line in gateway.request("GET", "/metrics").text.splitlines():
        if found := LINE.match(line):
            op = re.search(r'op="([^"]*)"', found[1])[1]
            out[op] += int(found[2])
    return out


def cost(gateway, act):
    before = counts(gateway)
    act()
    return {op: n for op, n in (counts(gateway) - before).items() if n}


def main():
    common.build()
    with tempfile.TemporaryDirectory(prefix="rsb-bench-") as root:
        with Gateway(None, Path(root) / "log").start(cwd=root) as gateway:
            assert gateway.request("PUT", "/v1/b/bench").status == 201
            print("10+3, so k = 10 and n = 13")
            for size in (808, 128 * KIB, 128 * KIB + 1, 64 * MIB, 200 * MIB):
                data, path = content(size), object_path("bench", str(size))
                put = cost(gateway, lambda: gateway.request("PUT", path, data))
                get = cost(gateway, lambda: gateway.request("GET", path))
                print(f"{size:>10} bytes: write {put}, read {get}")


main()
