"""The servers that tests and bench scripts talk to: each starts on a free loopback port and is stopped by its process id."""

import atexit
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from . import tools
from .s3 import S3

HOST = "127.0.0.1"
# Azurite's published development account; it opens nothing but the emulator.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
START_SECONDS = 60
# Our servers are on this machine: a proxy that the environment names must not see their requests.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerError(Exception):
    """A server did not start; the text says which and what it wrote last."""


def keep_loopback_direct():
    """Tells every child process, whatever proxy the environment names, to leave this machine's addresses alone."""
    known = os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    direct = ",".join(dict.fromkeys([*filter(None, known.split(",")), HOST, "localhost"]))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = direct


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def answers(port):
    """Something accepts connections on the port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def http_ok(url):
    try:
        with DIRECT.open(url, timeout=2) as reply:
            return reply.status < 500
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


class Server:
    """A child process with a port, a log and a way to tell that it is ready."""

    name = "server"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process = None
        atexit.register(self.stop)

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def is_ready(self):
        return answers(self.port)

    @property
    def address(self):
        return f"{HOST}:{self.port}"

    @property
    def url(self):
        return f"http://{self.address}"

    @property
    def log(self):
        return self.folder / f"{self.name}.log"

    def start(self):
        """Starts on the same port and data as before, and returns when it answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), env={**os.environ, **self.environment()}, cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            start_new_session=True)
        until = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                tail = "\n  ".join(self.log.read_text(errors="replace").splitlines()[-10:])
                raise ServerError(f"{self.name} did not answer on {self.address}; its last words:\n  {tail}")
            time.sleep(0.1)
        return self

    def kill(self):
        """SIGKILL, as a machine that loses power."""
        self._end(signal.SIGKILL)

    def stop(self):
        """SIGTERM, then SIGKILL where it does not help."""
        self._end(signal.SIGTERM)

    def _end(self, sent):
        process, self.process = self.process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(sent)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()

    @property
    def runs(self):
        return self.process is not None and self.process.poll() is None


class Minio(Server):
    name = "minio"
    access_key = "rsb-test"
    secret_key = "rsb-test-secret"

    def command(self):
        return [str(tools.MINIO), "server", str(self.folder / "data"), "--address", self.address,
                "--console-address", f"{HOST}:{self.console}", "--quiet"]

    def environment(self):
        return {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_CI_CD": "1",
                "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}

    def start(self):
        self.console = free_port()
        return super().start()

    def is_ready(self):
        return http_ok(f"{self.url}/minio/health/ready") and self._serves()

    def _serves(self):
        # The health page answers a moment before requests are served.
        try:
            self.s3.request("GET", "")
            return True
        except Exception:
            return False

    @property
    def s3(self):
        return S3(self.address, self.access_key, self.secret_key)

    def gcs_service_account(self, file):
        """Writes the service account that makes object_store's GCS client speak to this server, without a token."""
        account = {"gcs_base_url": self.url, "disable_oauth": True, "client_email": "", "private_key": "",
                   "private_key_id": ""}
        Path(file).write_text(json.dumps(account))
        return str(file)


class Azurite(Server):
    name = "azurite"

    def command(self):
        return [str(tools.AZURITE), "--blobHost", HOST, "--blobPort", str(self.port), "--skipApiVersionCheck",
                "--inMemoryPersistence", "--silent", "--disableTelemetry"]

    @property
    def endpoint(self):
        return f"{self.url}/{AZURITE_ACCOUNT}"


class Toxiproxy(Server):
    """A proxy whose connections can be slowed, cut or swallowed."""

    name = "toxiproxy"

    def command(self):
        return [str(tools.TOXIPROXY), "-host", HOST, "-port", str(self.port)]

    def _call(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        with DIRECT.open(request, timeout=10) as reply:
            return reply.read()

    def proxy(self, name, upstream):
        """Puts the proxy in front of `host:port`; returns its own address."""
        listen = f"{HOST}:{free_port()}"
        self._call("POST", "/proxies", {"name": name, "listen": listen, "upstream": upstream})
        return listen

    def add_toxic(self, proxy, kind, attributes, stream="upstream"):
        """As `timeout` with {"timeout": 0}: nothing passes and nothing is closed."""
        self._call("POST", f"/proxies/{proxy}/toxics",
                   {"name": kind, "type": kind, "stream": stream, "attributes": attributes})

    def remove_toxic(self, proxy, kind):
        self._call("DELETE", f"/proxies/{proxy}/toxics/{kind}")
