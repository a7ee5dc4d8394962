"""What the end-to-end tests are written in: the `rsb` command, a gateway that can be killed and started again, configs,
files with known bytes, and trees of folders to compare."""

import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.servers import HOST, free_port  # noqa: E402
from support.tools import ROOT  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
RSB = Path(os.environ.get("RSB_BIN") or TARGET / "debug" / "rsb")
READY_SECONDS = 60
KIB, MIB = 1 << 10, 1 << 20
# Exit codes as documented.
DONE, FAILED, USAGE, NOT_FOUND, SHORT, UNREADABLE, REFUSED = range(7)


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────

@dataclass
class Result:
    argv: list
    code: int
    out: bytes
    err: str

    @property
    def text(self):
        return self.out.decode()

    def json(self):
        """The one object that --json printed."""
        return json.loads(self.out)

    def lines(self):
        """The objects that --json printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    def __str__(self):
        return f"`{' '.join(map(str, self.argv))}` ended with {self.code}\n--- stdout\n{self.out[-3000:]!r}\n--- stderr\n{self.err[-3000:]}"


def environment(extra=None):
    """Ours without what would change rsb's behaviour from outside."""
    kept = {k: v for k, v in os.environ.items()
            if not k.startswith(("RSB_", "AWS_", "AZURE_", "GOOGLE_")) and not k.lower().endswith("_proxy")}
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", **(extra or {})}


def rsb(*arguments, config=None, server=None, stdin=None, env=None, cwd=None, timeout=300, expect=None):
    """Runs `rsb`; with `expect` (an exit code or several) anything else is a failed test."""
    argv = [str(RSB)]
    if config is not None:
        argv += ["--config", str(config)]
    if server is not None:
        argv += ["--server", server]
    argv += [os.fsencode(a) if isinstance(a, str) else a for a in map(_argument, arguments)]
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(argv, capture_output=True, timeout=timeout, env=environment(env), cwd=cwd, **source)
    result = Result(argv, done.returncode, done.stdout, done.stderr.decode(errors="replace"))
    if expect is not None:
        wanted = expect if isinstance(expect, (tuple, set, list)) else (expect,)
        assert result.code in wanted, f"exit code {result.code}, wanted {expect}: {result}"
    return result


def _argument(value):
    return value if isinstance(value, bytes) else str(value)


# ── files with known bytes ───────────────────────────────────────────────────────────────────────────────────────────

def content(size, seed=0):
    """Bytes that depend only on size and seed."""
    return random.Random(f"{seed}/{size}").randbytes(size)


def write_content(file, size, seed=0):
    Path(file).write_bytes(content(size, seed))
    return Path(file)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def file_digest(file):
    with open(file, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def tree(*folders):
    """Every file under the folders with its digest: two equal trees mean that nothing was written."""
    found = {}
    for folder in folders:
        for path in sorted(Path(folder).rglob("*")):
            # A file may vanish between listing and reading, as a write is undone.
            try:
                if path.is_file():
                    found[str(path)] = file_digest(path)
            except FileNotFoundError:
                pass
    return found


def settled(*folders, within=10):
    """The tree once nothing changes in it any more: what a write has replaced is removed after its reply."""
    until = time.monotonic() + within
    now = None
    while (before := now) != (now := tree(*folders)) and time.monotonic() < until:
        time.sleep(0.3)
    return now


def assert_unchanged(before, *folders, within=10):
    """The folders are as they were; what was undone gets a moment to be gone."""
    until = time.monotonic() + within
    while (now := tree(*folders)) != before and time.monotonic() < until:
        time.sleep(0.2)
    added, gone = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    changed = sorted(k for k in set(now) & set(before) if now[k] != before[k])
    assert now == before, f"files were written: added {added}, removed {gone}, changed {changed}"


def wait_until(holds, within=60):
    """Polls until `holds()` is true."""
    until = time.monotonic() + within
    while not holds():
        assert time.monotonic() < until, f"it did not come true within {within} s"
        time.sleep(0.2)


def shard_files(folder):
    """Without those that a killed writer did not finish: no listing shows them, and the store removes them by their age."""
    # `os.walk` passes over folders that are removed meanwhile; `rglob` fails there.
    return sorted(Path(at) / name for at, _, names in os.walk(Path(folder) / "s") for name in names if "#" not in name)


def flip_bit(file, offset):
    """Flips one bit; a negative offset counts from the end."""
    data = bytearray(Path(file).read_bytes())
    data[offset] ^= 0x10
    Path(file).write_bytes(data)


# ── configs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

@dataclass
class Backend:
    name: str
    url: str
    provider: str
    options: dict = field(default_factory=dict)
    credentials: dict = field(default_factory=dict)
    extra: dict = field(default_factory=dict)


def toml_value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml_value(v)}" for k, v in value.items()) + " }"
    # For strings, numbers, booleans and lists of them JSON's spelling is TOML's too.
    return json.dumps(value)


def folders(root, counts):
    """Backends on folders: `counts` maps a provider label to how many there are of it."""
    return [Backend(f"{provider}-{i}", f"file://{Path(root)}/{provider}-{i}", provider)
            for provider, count in counts.items() for i in range(count)]


def write_config(file, backends, data=10, parity=3, gateway=None, heal=None, **repository):
    """Writes a config and returns its path. Further keywords are keys of [repository]. Nothing is healed of itself, unless
    `heal` says how."""
    values = {"name": "e2e", "data_shards": data, "parity_shards": parity, "spread": "provider",
              "catalog": "sqlite://rsb.db", **repository}
    lines = ["[repository]", *(f"{k} = {toml_value(v)}" for k, v in values.items() if v is not None)]
    lines += ["", "[gateway]", *(f"{k} = {toml_value(v)}" for k, v in (gateway or {}).items())]
    lines += ["", "[heal]", *(f"{k} = {toml_value(v)}" for k, v in (heal or {"every": "0s"}).items())]
    for backend in backends:
        lines += ["", "[[backend]]", f"name = {toml_value(backend.name)}", f"url = {toml_value(backend.url)}",
                  f"domain = {{ provider = {toml_value(backend.provider)} }}"]
        for key in ("options", "credentials"):
            if getattr(backend, key):
                lines.append(f"{key} = {toml_value(getattr(backend, key))}")
        lines += [f"{k} = {toml_value(v)}" for k, v in backend.extra.items()]
    Path(file).write_text("\n".join(lines) + "\n")
    return Path(file)


# ── the gateway ──────────────────────────────────────────────────────────────────────────────────────────────────────

@dataclass
class Reply:
    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode(errors="replace")


class Gateway:
    """`rsb serve` on a port of its own, which it keeps over restarts."""

    def __init__(self, config, log, env=None, arguments=(), binary=None):
        self.config, self.log, self.env, self.arguments = config, Path(log), env, arguments
        self.binary = binary or RSB
        self.port = free_port()
        self.process = None

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    def spawn(self, cwd=None):
        argv = [str(self.binary)]
        if self.config is not None:
            argv += ["--config", str(self.config)]
        argv += ["serve", "--listen", self.address, *self.arguments]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            env=environment(self.env), cwd=cwd, start_new_session=True)
        return self

    def start(self, cwd=None):
        self.spawn(cwd)
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                if self.request("GET", "/health/ready", timeout=5).status == 200:
                    return self
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < until, f"the gateway is not ready: {self.words()}"
            time.sleep(0.05)

    def words(self, count=25):
        """The last lines of its log."""
        return "\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: what a crash leaves is what there is."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process is None or self.process.poll() is not None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the gateway did not stop within 60 s of SIGTERM: {self.words()}") from None

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            finally:
                if self.process.poll() is None:
                    self.kill()

    def request(self, method, path, body=None, headers=None, timeout=120):
        """One request on a connection of its own; `body` may be bytes or an open file."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def get_digest(self, path, headers=None, timeout=600):
        """Status and digest of a reply that may be large."""
        connection = http.client.HTTPConnection(self.address, timeout=timeout)
        try:
            connection.request("GET", path, headers=headers or {})
            reply = connection.getresponse()
            return reply.status, hashlib.file_digest(reply, "sha256").hexdigest()
        finally:
            connection.close()

    def raw(self, data, timeout=30, half_close=True):
        """Sends bytes as they are and returns everything that comes back until the gateway closes."""
        with socket.create_connection((HOST, self.port), timeout=timeout) as connection:
            try:
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # It may refuse and close before everything is sent.
            reply = b""
            try:
                while more := connection.recv(65536):
                    reply += more
            except (ConnectionResetError, TimeoutError):
                pass
            return reply


# ── the doors ────────────────────────────────────────────────────────────────────────────────────────────────────────

def quote(name):
    return urllib.parse.quote(name, safe="")


def object_path(bucket, key):
    return f"/v1/b/{quote(bucket)}/o/{urllib.parse.quote(key, safe='/')}"


class MultipartFile:
    """A form with one file as the last part, streamed: `http.client` reads it in blocks."""

    def __init__(self, file, fields, boundary="rsb-e2e-boundary"):
        head = b"".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
                        for k, v in fields.items())
        head += (f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="upload"\r\n'
                 "Content-Type: application/octet-stream\r\n\r\n").encode()
        self.parts = [head, open(file, "rb"), f"\r\n--{boundary}--\r\n".encode()]
        self.length = len(head) + os.path.getsize(file) + len(self.parts[2])
        self.headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(self.length)}

    def __iter__(self):
        yield self.parts[0]
        with self.parts[1] as file:
            while block := file.read(1 << 20):
                yield block
        yield self.parts[2]


def submit(gateway, file, name, timeout=600, **fields):
    """The prototype's upload."""
    form = MultipartFile(file, {"filename": name, **fields})
    return gateway.request("POST", "/submit_data", iter(form), form.headers, timeout)


def run_job(gateway, verb, body=None, within=300):
    """Starts a job by the native API and returns its result when it is done."""
    started = gateway.request("POST", f"/v1/{verb}", json.dumps(body or {}), {"Content-Type": "application/json"})
    assert started.status == 202, f"{started.status}: {started.text}"
    path = started.headers["location"]
    until = time.monotonic() + within
    while time.monotonic() < until:
        job = gateway.request("GET", path).json()
        if job["state"] not in ("queued", "running"):
            assert job["state"] == "done", job
            return job["result"]
        time.sleep(0.1)
    raise AssertionError(f"the job {path} did not end within {within} s")


def wipe_catalog(folder):
    """Deletes the SQLite files beside the config, as a lost disk would."""
    for file in Path(folder).glob("rsb.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
