"""The main job from the outside: the built `rsb`, the embedded default, curl-like requests. Standard library only.

Prints `ok NAME` or `FAILED NAME: why` for each step; exits 1 when one failed."""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
RSB = TARGET / "debug" / "rsb"
SIZES = [0, 1, 808, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 5 << 20, 80_000_000]
# The gateway is on this machine: a proxy that the environment names must not see its requests.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
failures = []


def check(name, condition, detail=""):
    print(f"ok {name}" if condition else f"FAILED {name}: {detail}", flush=True)
    if not condition:
        failures.append(name)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Gateway:
    def __init__(self, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([RSB, "serve", "--listen", f"127.0.0.1:{self.port}"], cwd=folder,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.ask("GET", "/health/live")[0] == 200:
                return
            time.sleep(0.05)
        raise SystemExit("the gateway did not start")

    def ask(self, method, path, body=None, headers=None):
        request = urllib.request.Request(self.url + path, data=body, method=method, headers=headers or {})
        try:
            with DIRECT.open(request, timeout=120) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return 0, str(error).encode()

    def submit(self, name, content, file_first=False):
        boundary = hashlib.sha256(content[:100]).hexdigest()
        field = f'--{boundary}\r\nContent-Disposition: form-data; name="filename"\r\n\r\n{name}\r\n'.encode()
        file = (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n').encode() + content + b"\r\n"
        body = (file + field if file_first else field + file) + f"--{boundary}--\r\n".encode()
        return self.ask("POST", "/submit_data", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=60)


def rsb(folder, *arguments):
    return subprocess.run([RSB, *arguments], cwd=folder, capture_output=True, timeout=120)


def doors(gateway, contents):
    for size, content in contents.items():
        status, reply = gateway.submit(f"p{size}", content, file_first=size % 2 == 0)
        answer = json.loads(reply) if status == 200 else {}
        check(f"prototype upload of {size} bytes", status == 200 and answer["size"] == size and len(answer["hashes"]) == 13, reply[:200])
        if status == 200:
            run = -(-size // 10)
            expected = hashlib.sha256(content[:run].ljust(run, b"\0")).hexdigest()
            check(f"digest of {size} bytes", answer["hashes"][0] == expected)
        status, reply = gateway.ask("PUT", f"/v1/b/photos/o/v/{size}", content)
        check(f"/v1 upload of {size} bytes", status in (200, 201), reply[:200])
    check("a name that exists", gateway.submit("p808", b"other")[0] == 409)
    names = json.loads(gateway.ask("GET", "/list_data")[1])["files"]
    check("list_data", names == sorted(f"p{size}" for size in contents), names)


def read_all(gateway, contents, when):
    for size, content in contents.items():
        status, reply = gateway.ask("GET", f"/retrieve_data/p{size}")
        check(f"prototype bytes of {size} {when}", status == 200 and reply == content, status)
        status, reply = gateway.ask("GET", f"/v1/b/photos/o/v/{size}")
        check(f"/v1 bytes of {size} {when}", status == 200 and reply == content, status)
    status, reply = gateway.ask("GET", "/retrieve_data/p5242880", headers={"Range": "bytes=65000-1400000"})
    check(f"range {when}", status == 206 and reply == contents[5 << 20][65000:1400001], status)


def damage(data):
    """Three of thirteen folders: one lost, one with flipped bits, two shards of another swapped."""
    shutil.rmtree(data / "disk-02" / "s")
    shutil.rmtree(data / "disk-02" / "m")
    for shard in (data / "disk-05").glob("s/*/*"):
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 4
        shard.write_bytes(content)
    shards = sorted((data / "disk-09").glob("s/*/*"))
    first, second = shards[0].read_bytes(), shards[1].read_bytes()
    shards[0].write_bytes(second)
    shards[1].write_bytes(first)


def reference_decoder(data, contents, folder):
    """docs/reference_decoder.py makes an object whole from shard files alone."""
    sizes = {shard.stat().st_size for shard in (data / "disk-01").glob("s/*/*")}
    smallest = min(sizes)
    ids = {s.name.rsplit(".", 1)[0] for s in (data / "disk-01").glob("s/*/*") if s.stat().st_size == smallest}
    shards = [str(s) for s in data.glob("disk-*/s/*/*") if s.name.rsplit(".", 1)[0] == sorted(ids)[0]][:10]
    out = folder / "decoded"
    done = subprocess.run([sys.executable, ROOT / "docs" / "reference_decoder.py", out, *shards], capture_output=True)
    good = done.returncode == 0 and out.read_bytes() in contents.values()
    check("the reference decoder", good, done.stderr[-300:])


def bad_input(gateway):
    for name, method, path, body, wanted in [
        ("no such file", "GET", "/retrieve_data/none", None, 404),
        ("no name", "GET", "/check_data/", None, 400),
        ("wrong method", "POST", "/list_data", b"", 405),
        ("no such object", "GET", "/v1/b/photos/o/none", None, 404),
        ("no such bucket", "PUT", "/v1/b/nobucket/o/x", b"x", 404),
        ("a NUL in a key", "PUT", "/v1/b/photos/o/a%00b", b"x", 400),
        ("invalid UTF-8", "PUT", "/v1/b/photos/o/%ff", b"x", 400),
        ("..", "PUT", "/v1/b/photos/o/a/%2e%2e/b", b"x", 400),
        ("1,025 bytes", "PUT", "/v1/b/photos/o/" + "x" * 1025, b"x", 400),
        ("k = 0", "PUT", "/v1/b/photos/o/x?data_shards=0", b"x", 400),
        ("more shards than backends", "PUT", "/v1/b/photos/o/x?data_shards=12&parity_shards=4", b"x", 400),
        ("a bad bucket name", "PUT", "/v1/b/A_B", None, 400),
        ("a range outside", "GET", "/v1/b/photos/o/v/808", None, 416),
    ]:
        headers = {"Range": "bytes=9000-"} if wanted == 416 else {}
        status, reply = gateway.ask(method, path, body, headers)
        check(f"bad input: {name}", status == wanted, f"{status} {reply[:150]}")


def crashes(folder, seed):
    """kill -9 under load: what was acknowledged is there after the restart and after a rebuild."""
    randomness = random.Random(seed)
    known = {}
    for _ in range(6):
        gateway = Gateway(folder)
        end = time.monotonic() + randomness.uniform(0.1, 0.8)
        unsure = set()
        while time.monotonic() < end:
            key, content = f"c{randomness.randrange(20)}", randomness.randbytes(randomness.choice([10, 5000, 300_000]))
            status, _ = gateway.ask("PUT", f"/v1/b/photos/o/crash/{key}", content)
            if status in (200, 201):
                known[key] = content
            else:
                unsure.add(key)
        gateway.stop(signal.SIGKILL)
        gateway = Gateway(folder)
        lost = [k for k, c in known.items() if k not in unsure and gateway.ask("GET", f"/v1/b/photos/o/crash/{k}")[1] != c]
        check("after kill -9", not lost, f"seed {seed}: {lost}")
        gateway.stop()
    rebuilt = rsb(folder, "--json", "catalog", "rebuild")
    check("rebuild", rebuilt.returncode == 0, rebuilt.stderr)
    for key, content in known.items():
        got = rsb(folder, "cat", f"photos/crash/{key}")
        if got.stdout != content:
            check("after the rebuild", False, key)


def main():
    folder = Path(tempfile.mkdtemp(prefix="rsb-main-job-"))
    data = folder / "rsb-data"
    contents = {size: random.Random(size).randbytes(size) for size in SIZES}
    try:
        gateway = Gateway(folder)
        check("make a bucket", gateway.ask("PUT", "/v1/b/photos")[0] in (200, 201))
        doors(gateway, contents)
        read_all(gateway, contents, "healthy")
        bad_input(gateway)
        reference_decoder(data, contents, folder)
        damage(data)
        read_all(gateway, contents, "with three folders damaged")
        answer = json.loads(gateway.ask("GET", "/check_data/p5242880")[1])
        check("check_data sees the damage", answer["health"] is False, answer)
        answer = json.loads(gateway.ask("GET", "/repair_data/p5242880")[1])
        check("repair_data", answer["status"] == "GOOD", answer)
        answer = json.loads(gateway.ask("GET", "/check_data/p5242880")[1])
        check("check_data after the repair", answer["health"] is True, answer)
        check("delete", gateway.ask("DELETE", "/v1/b/photos/o/v/1")[0] in (200, 204))
        check("graceful stop", gateway.stop() == 0)
        check("rsb check says short", rsb(folder, "check", "--depth", "full").returncode == 4)
        repaired = rsb(folder, "repair", "--depth", "full")
        check("rsb repair", repaired.returncode == 0, repaired.stdout + repaired.stderr)
        check("rsb check says whole", rsb(folder, "check", "--depth", "full").returncode == 0)
        for file in data.glob("rsb.db*"):
            file.unlink()
        check("rsb catalog verify on a lost catalog", rsb(folder, "catalog", "verify").returncode == 0)
        check("rsb cat", rsb(folder, "cat", "rsbackup/p808").stdout == contents[808])
        check("nothing returns", rsb(folder, "stat", "photos/v/1").returncode == 3)
        check("usage error", rsb(folder, "put", "-", "nokey").returncode == 2)
        crashes(folder, int(time.time()))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(1 if failures else 0)


main()
