"""Real faults under a mixed load: full disks, read-only file systems, permissions lost, files damaged by another process,
connections slowed, cut, swallowed (toxiproxy on S3, Azure and the GCS protocol), servers that are stopped, credentials that
expire and are renewed. Nothing acknowledged is lost, nothing wrong is ever read, and afterwards the ledger is empty again
without anybody's help."""

import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness import DONE, MIB, Backend, Gateway, folders, rsb, run_job, shard_files, wait_until, write_config
from load import BUCKET, Load, ledger_is_empty, new_keys, read_back
from support.servers import AZURITE_ACCOUNT, AZURITE_KEY, HOST, Azurite, Minio, Toxiproxy
from test_bad_storage import mounts  # noqa: F401

HEAL = {"every": "500ms"}
SIZES = (0, 3000, 200_000, MIB)
# A backend that was away or slow is tried again after a while, at the latest after five minutes.
HEALED_WITHIN = 200


def load_on(gateway, keys, seed=1):
    return Load(gateway, keys, random.Random(seed), sizes=SIZES)


def begin(gateway):
    assert gateway.request("PUT", f"/v1/b/{BUCKET}").status in (200, 201)
    keys = new_keys(3, 5)
    with load_on(gateway, keys, 0):
        time.sleep(1)
    return keys


def assert_all_is_well(gateway, keys):
    """Healed of itself, and then every byte is there and right."""
    wait_until(lambda: ledger_is_empty(gateway), within=HEALED_WITHIN)
    report = run_job(gateway, "check", {"depth": "full"})
    # What was half written when something failed may be known to nobody yet.
    if report["damaged"]:
        wait_until(lambda: ledger_is_empty(gateway), within=HEALED_WITHIN)
        report = run_job(gateway, "check", {"depth": "full"})
    assert report["damaged"] == [] and report["objects"] == report["whole"]
    read_back(gateway, keys)


def trouble(gateway, keys, harm, undo, seconds=3):
    """The load goes on while something is wrong, and a little longer."""
    with load_on(gateway, keys, 2) as load:
        time.sleep(0.3)
        harm()
        time.sleep(seconds)
        undo()
        time.sleep(0.7)
    read_back(gateway, keys)
    assert load.sum("acknowledged") > 0 and load.sum("read") > 0
    return load


def health(gateway, name):
    return next(b["health"] for b in gateway.request("GET", "/v1/backends").json()["backends"] if b["name"] == name)


# ── file systems ─────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_disk_fills_up_and_is_emptied(local, tmp_path, mounts):  # noqa: F811
    mounts.small(tmp_path / "b-0", "64m")
    repository = local(heal=HEAL)
    filler = tmp_path / "b-0" / "filler"

    def fill():
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(MIB))
            except OSError:
                pass

    with repository.gateway() as gateway:
        keys = begin(gateway)
        load = trouble(gateway, keys, fill, filler.unlink)
        assert load.sum("refused") == 0, "one full disk refuses nothing"
        assert health(gateway, "b-0")["errors"].get("full", 0) > 0
        assert_all_is_well(gateway, keys)


def test_a_file_system_is_remounted_read_only(local, tmp_path, mounts):  # noqa: F811
    mounts.small(tmp_path / "b-0", "256m")
    repository = local(heal=HEAL)

    def writable():
        subprocess.run(["mount", "-o", "remount,rw", tmp_path / "b-0"], check=True)

    with repository.gateway() as gateway:
        keys = begin(gateway)
        load = trouble(gateway, keys, lambda: remount_read_only(tmp_path / "b-0"), writable)
        assert load.sum("refused") == 0
        assert_all_is_well(gateway, keys)


def remount_read_only(place):
    # Refused while a file is open for writing, which passes.
    wait_until(lambda: subprocess.run(["mount", "-o", "remount,ro", place], capture_output=True).returncode == 0, 20)


def test_permission_is_lost_and_given_back(local, tmp_path):
    """The superuser is asked for nothing, so the gateway runs as somebody else where this does not."""
    repository = local(heal=HEAL)
    folder, somebody = tmp_path / "b-0", 65534
    gateway = repository.gateway()
    if os.geteuid() == 0:
        for place in (tmp_path, *tmp_path.parents):
            if place == place.parent or os.stat(place).st_mode & 0o001:
                break
            os.chmod(place, os.stat(place).st_mode | 0o011)
        subprocess.run(["chown", "-R", str(somebody), tmp_path], check=True)
        binary = tmp_path / "as-somebody"
        shutil.copy(gateway.binary, tmp_path / "rsb-copy")
        binary.write_text(f'#!/bin/sh\nexec setpriv --reuid={somebody} --clear-groups "{tmp_path}/rsb-copy" "$@"\n')
        binary.chmod(0o755)
        gateway.binary = binary
    with gateway:
        keys = begin(gateway)
        load = trouble(gateway, keys, lambda: os.chmod(folder, 0), lambda: os.chmod(folder, 0o755))
        assert load.sum("refused") == 0
        assert health(gateway, "b-0")["errors"].get("denied", 0) > 0
        assert_all_is_well(gateway, keys)


def test_another_process_truncates_and_flips_files(local, tmp_path):
    repository = local(heal=HEAL)
    chance = random.Random(5)
    stop = threading.Event()

    def vandal():
        while not stop.is_set():
            try:
                files = shard_files(tmp_path / "a-0") + sorted((tmp_path / "a-1" / "m").rglob("*/*"))
                file = chance.choice(files) if files else None
                if file is not None and "#" not in file.name:
                    size = file.stat().st_size
                    if chance.random() < 0.5:
                        os.truncate(file, chance.randrange(size))
                    else:
                        with open(file, "r+b") as opened:
                            opened.seek(chance.randrange(size))
                            opened.write(chance.randbytes(1))
            except (FileNotFoundError, ValueError):
                pass
            time.sleep(0.02)

    with repository.gateway() as gateway:
        keys = begin(gateway)
        thread = threading.Thread(target=vandal, daemon=True)

        def undo():
            stop.set()
            thread.join()

        load = trouble(gateway, keys, thread.start, undo)
        assert load.sum("refused") == 0, "no more is damaged than may be lost"
        # What nobody has read since is found by a full check; the ledger does the rest.
        run_job(gateway, "check", {"depth": "full"})
        assert_all_is_well(gateway, keys)


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────

class Web:
    """4+2 on two folders and, behind toxiproxy, one backend each by S3, Azure and the GCS protocol, and one S3 beside it."""

    def __init__(self, root):
        self.minio, self.gcs = Minio(root / "minio").start(), Minio(root / "gcs").start()
        self.azurite, self.proxy = Azurite(root / "azurite").start(), Toxiproxy(root / "toxiproxy").start()
        self.gcs.s3.make_bucket("gcs")
        self.gcs.s3.open_bucket("gcs")
        behind = {name: self.proxy.proxy(name, server.address)
                  for name, server in (("s3", self.minio), ("az", self.azurite), ("gs", self.gcs))}
        account = {"gcs_base_url": f"http://{behind['gs']}", "disable_oauth": True, "client_email": "", "private_key": "",
                   "private_key_id": ""}
        (root / "gcs.json").write_text(json.dumps(account))
        s3 = {"region": "us-east-1", "allow_http": True, "access_key_id": Minio.access_key,
              "secret_access_key": Minio.secret_key}
        azure = {"endpoint": f"http://{behind['az']}/{AZURITE_ACCOUNT}", "account_name": AZURITE_ACCOUNT,
                 "account_key": AZURITE_KEY, "allow_http": True}
        limits = {"limits": {"timeout": "3s", "retries": 1}}
        backends = [
            *folders(root, {"disk": 2}),
            Backend("s3", "s3://toxic", "s3", {**s3, "endpoint": f"http://{behind['s3']}"}, extra=limits),
            Backend("s3-well", "s3://well", "s3", {**s3, "endpoint": self.minio.url}),
            Backend("az", "az://toxic", "az", azure, extra=limits),
            Backend("gs", "gs://gcs/r", "gs", credentials={"file": str(root / "gcs.json")}, extra=limits),
        ]
        self.config = write_config(root / "rsb.toml", backends, 4, 2, heal=HEAL)
        rsb("config", "init", config=self.config, expect=DONE)
        self.gateway = Gateway(self.config, root / "serve.log")

    def close(self):
        self.gateway.__exit__()
        for server in (self.proxy, self.minio, self.gcs, self.azurite):
            server.stop()


@pytest.fixture(scope="module")
def web(tmp_path_factory):
    made = Web(tmp_path_factory.mktemp("web"))
    made.gateway.start()
    made.keys = begin(made.gateway)
    yield made
    made.close()


TOXICS = {
    "latency": ("latency", {"latency": 1500, "jitter": 300}, "downstream"),
    "reset": ("reset_peer", {"timeout": 0}, "downstream"),
    "half-open": ("timeout", {"timeout": 0}, "downstream"),
    "bandwidth": ("bandwidth", {"rate": 0}, "downstream"),
    "slices": ("slicer", {"average_size": 500, "size_variation": 100, "delay": 20000}, "downstream"),
}


@pytest.mark.servers
@pytest.mark.parametrize("toxic", TOXICS)
@pytest.mark.parametrize("backend", ["s3", "az", "gs"])
def test_a_sick_connection(web, backend, toxic):
    kind, attributes, stream = TOXICS[toxic]
    load = trouble(web.gateway, web.keys, lambda: web.proxy.add_toxic(backend, kind, attributes, stream),
                   lambda: web.proxy.remove_toxic(backend, kind))
    assert load.sum("refused") == 0, "one sick connection refuses nothing"


@pytest.mark.servers
def test_after_all_sick_connections_everything_is_whole(web):
    assert_all_is_well(web.gateway, web.keys)
    for name in ("s3", "az", "gs"):
        assert sum(health(web.gateway, name)["errors"].values()) > 0, f"{name} was ill, and that was noticed"
    assert "breaker-opened" in first_events(web.gateway, "breaker-opened")


def first_events(gateway, last):
    """The kinds of the latest events, up to one of this kind."""
    connection, kinds = http.client.HTTPConnection(gateway.address, timeout=10), []
    try:
        connection.request("GET", "/v1/events")
        reply = connection.getresponse()
        assert reply.getheader("content-type") == "text/event-stream"
        while last not in kinds:
            line = reply.readline().decode()
            if line.startswith("event:"):
                kinds.append(line[6:].strip())
    finally:
        connection.close()
    return kinds


@pytest.mark.servers
def test_a_server_is_stopped_and_goes_on(web):
    load = trouble(web.gateway, web.keys, lambda: web.gcs.process.send_signal(signal.SIGSTOP),
                   lambda: web.gcs.process.send_signal(signal.SIGCONT), seconds=6)
    assert load.sum("refused") == 0
    slow = sorted((took for client in load.clients for _, _, took in client.times), reverse=True)
    # Each of the clients may have met it once, within the limit of reads and writes.
    assert slow[len(load.clients) * 3] < 3, slow[:20]
    assert_all_is_well(web.gateway, web.keys)


# ── credentials ──────────────────────────────────────────────────────────────────────────────────────────────────────

class Issuer:
    """Gives out keys that end after some seconds, and stands before MinIO to refuse those that have ended."""

    def __init__(self, minio, seconds):
        issuer = self
        self.minio, self.seconds, self.given, self.refused, self.open = minio, seconds, {}, 0, True
        # A key is good for longer than it takes a busy machine to fetch the next.
        self.grace = 10

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, body, headers=()):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                if not any(name.lower() == "content-length" for name, _ in headers):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle_one(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/keys":
                    return self.answer(200, json.dumps(issuer.new_keys()).encode()) if issuer.open else self.answer(503, b"")
                if not issuer.is_good(self.headers.get("Authorization") or ""):
                    issuer.refused += 1
                    text = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
                    return self.answer(403, text.encode(), [("Content-Type", "application/xml")])
                return self.pass_on(body)

            def pass_on(self, body):
                connection = http.client.HTTPConnection(issuer.minio.address, timeout=30)
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    connection.putheader(name, value)
                connection.endheaders(body)
                reply = connection.getresponse()
                kept = [(n, v) for n, v in reply.getheaders() if n.lower() not in ("transfer-encoding", "connection")]
                data = reply.read()
                connection.close()
                self.answer(reply.status, data, kept)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://{HOST}:{self.server.server_address[1]}"

    def new_keys(self):
        key, secret, token = self.minio.s3.assume_role()
        self.given[key] = time.monotonic()
        # rsb renews five minutes before the end that it is told.
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 300 + self.seconds))
        return {"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret, "SessionToken": token, "Expiration": ends}

    def is_good(self, authorization):
        key = authorization.partition("Credential=")[2].partition("/")[0]
        return time.monotonic() - self.given.get(key, -1e9) < self.seconds + self.grace


@pytest.mark.servers
def test_credentials_expire_and_are_renewed_under_load(tmp_path):
    minio = Minio(tmp_path / "minio").start()
    issuer = Issuer(minio, seconds=2)
    (tmp_path / "aws").write_text(f"[profile passing]\nregion = us-east-1\ncredential_process = curl -sf {issuer.url}/keys\n")
    s3 = {"region": "us-east-1", "allow_http": True, "endpoint": issuer.url}
    backends = [*folders(tmp_path, {"a": 2, "b": 2}),
                *(Backend(f"s3-{i}", f"s3://bucket-{i}", "s3", s3, {"profile": "passing"}) for i in range(2))]
    config = write_config(tmp_path / "rsb.toml", backends, 4, 2, heal=HEAL, ack_margin=0)
    env = {"AWS_CONFIG_FILE": str(tmp_path / "aws")}
    try:
        rsb("config", "init", config=config, env=env, expect=DONE)
        with Gateway(config, tmp_path / "serve.log", env=env).start() as gateway:
            keys = begin(gateway)
            before = len(issuer.given)
            with load_on(gateway, keys) as load:
                time.sleep(8)
            assert load.sum("refused") == 0 and len(issuer.given) >= before + 3, "they were renewed on the way"
            assert issuer.refused == 0 and set(health(gateway, "s3-0")["errors"]) <= {"slow"}, "and nobody was refused"
            # For a while there are none: the backends are ill, and well again afterwards.

            def close():
                issuer.open, issuer.grace = False, 0

            def reopen():
                # From now on for longer: who asks seldom would find keys of two seconds ended each time.
                issuer.seconds, issuer.grace, issuer.open = 60, 10, True

            load = trouble(gateway, keys, close, reopen, seconds=6)
            assert issuer.refused > 0 and load.sum("refused") == 0
            assert health(gateway, "s3-0")["errors"]
            assert_all_is_well(gateway, keys)
    finally:
        issuer.server.shutdown()
        minio.stop()
