#!/usr/bin/env python3
"""Peak memory of `rsb serve` while an object goes up and comes down, for several sizes; one process for each size.

    bench/memory.py [MIB ...]      sizes in MiB; 1024 and 4096 when none are given

Needs about 1.3 times the greatest size of disk space in the temporary folder."""

import http.client
import random
import sys
import tempfile
import time
from pathlib import Path

import common  # noqa: F401
from harness import Gateway, object_path

PIECE = 1 << 20


def body(mib):
    """`mib` MiB in which no two are equal."""
    piece = bytearray(random.Random(mib).randbytes(PIECE))
    for number in range(mib):
        piece[:8] = number.to_bytes(8, "little")
        yield bytes(piece)


def peak_mib(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def one(mib):
    with tempfile.TemporaryDirectory(prefix="rsb-bench-") as root:
        with Gateway(None, Path(root) / "log").start(cwd=root) as gateway:
            pid = gateway.process.pid
            assert gateway.request("PUT", "/v1/b/bench").status == 201
            idle = peak_mib(pid)
            start = time.monotonic()
            reply = gateway.request("PUT", object_path("bench", "big"), body(mib), {"Content-Length": str(mib * PIECE)},
                                    timeout=3600)
            assert reply.status == 201, reply.text
            up, after_up, up_cpu = time.monotonic() - start, peak_mib(pid), cpu_seconds(pid)
            start = time.monotonic()
            connection = http.client.HTTPConnection(gateway.address, timeout=3600)
            connection.request("GET", object_path("bench", "big"))
            source, expected = connection.getresponse(), body(mib)
            while piece := source.read(PIECE):
                assert piece == next(expected), "the bytes that come back are not the ones that went in"
            assert next(expected, None) is None
            down = time.monotonic() - start
            print(f"{mib:>6} {idle:>9.0f} {after_up:>9.0f} {peak_mib(pid):>9.0f} {mib / up:>9.0f} {mib / down:>9.0f} "
                  f"{mib / up_cpu:>11.0f} {mib / max(cpu_seconds(pid) - up_cpu, 0.01):>13.0f}", flush=True)
            return peak_mib(pid)


def main():
    sizes = [int(a) for a in sys.argv[1:]] or [1024, 4096]
    common.build()
    print("   MiB  idle MiB    peak up  peak all  up MiB/s down MiB/s up MiB/cpu s down MiB/cpu s")
    peaks = [one(mib) for mib in sizes]
    if len(peaks) > 1:
        print(f"peak of {sizes[-1]} MiB to that of {sizes[0]} MiB: {peaks[-1] / peaks[0]:.3f}")


main()
