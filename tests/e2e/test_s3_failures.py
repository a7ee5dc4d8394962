"""What S3's clients are told when too many backends are away: a code that makes them wait, or one that says the data
cannot be read, and never a short body that looks whole."""

import json
import socket

import pytest

from harness import HOST, MIB, Gateway, content, free_port, shard_files, wait_until
from support.sigv4 import Connection, Signer
from world import folder_gone

KEY = {"id": "all", "secret": "secret-of-all", "rights": ["read", "write", "delete", "admin"]}


class Served:
    def __init__(self, repository):
        self.repository, self.address = repository, f"{HOST}:{free_port()}"
        self.gateway = Gateway(repository.config, repository.root / "serve.log", arguments=["--s3-listen", self.address])
        self.all = Signer(self.address, KEY["id"], KEY["secret"])

    def ask(self, *arguments, **keywords):
        with Connection(self.address, timeout=60) as connection:
            return connection.send(self.all.request(*arguments, **keywords)).reply(arguments[0])


@pytest.fixture
def served(local):
    """4+2 over six folders, with segments of 1 MiB."""
    repository = local(segment_size="1 MiB")
    with open(repository.config, "a") as config:
        config.write("\n[[gateway.keys]]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in KEY.items()) + "\n")
    served = Served(repository)
    with served.gateway:
        assert served.ask("PUT", "/bkt").status == 200
        yield served
        assert served.gateway.stop() == 0


def test_too_few_backends_to_write_or_to_read(served):
    data = content(2 * MIB)
    assert served.ask("PUT", "/bkt/k", data).status == 200
    gone = [folder_gone(folder) for folder in served.repository.folders[:3]]
    try:
        refused = served.ask("PUT", "/bkt/new", data)
        assert (refused.status, refused.code) == (503, "SlowDown"), refused
        assert refused.headers["x-rsb-error"] in ("unavailable", "read-only") and "retry-after" in refused.headers
        assert b"<Message>" in refused.body
        lost = served.ask("GET", "/bkt/k")
        assert (lost.status, lost.code) == (500, "InternalError"), lost
        assert lost.headers["x-rsb-error"] == "unreadable" and b"cannot be read" in lost.body
        names = lost.headers["x-rsb-missing"].split(", ")
        assert set(names) <= {backend.name for backend in served.repository.backends[:3]} and names, names
        wait_until(lambda: "failure domains" in served.gateway.log.read_text(errors="replace"), 10)
        assert '"provider": "a"' in served.gateway.log.read_text(errors="replace").replace("\\", "")
    finally:
        for put_back in gone:
            put_back()
    wait_until(lambda: served.ask("GET", "/bkt/k").body == data)
    assert served.ask("GET", "/bkt/new").code == "NoSuchKey"


def test_a_read_that_breaks_off_ends_the_connection(served):
    """Whoever reads sees less than was announced, and so an error."""
    data = content(48 * MIB)
    assert served.ask("PUT", "/bkt/large", data).status == 200
    with Connection(served.address, timeout=60) as connection:
        # A small window, so that the gateway cannot have sent all of it before the shards are gone.
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        connection.send(served.all.request("GET", "/bkt/large"))
        while b"\r\n\r\n" not in connection.rest:
            assert connection.more()
        head, rest = connection.rest.split(b"\r\n\r\n", 1)
        assert head.startswith(b"HTTP/1.1 200") and f"content-length: {len(data)}".encode() in head.lower()
        for folder in served.repository.folders[:3]:
            for file in shard_files(folder):
                file.unlink()
        connection.rest = rest
        assert connection.is_closed()
        got = connection.rest
    assert len(got) < len(data) and got == data[:len(got)]
    assert served.ask("GET", "/bkt/large").status == 500
