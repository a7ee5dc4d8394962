"""kill -9 of the gateway and of the servers below it, at random instants under a mixed load, and servers that are stopped
for a while (SIGSTOP). No acknowledged object is lost, no reply ever has wrong bytes, and when all is back the ledger works
itself off. 20 rounds; E2E_ROUNDS=200 for the long run. The seed is printed; E2E_SEED repeats its choices."""

import os
import random
import secrets
import signal
import time

import pytest

from harness import DONE, Backend, Gateway, rsb, run_job, wait_until, wipe_catalog, write_config
from load import BUCKET, Load, ledger_is_empty, new_keys, read_back
from support.servers import Minio

ROUNDS = int(os.environ.get("E2E_ROUNDS", "20"))
HEAL = {"every": "500ms"}
pytestmark = pytest.mark.servers


class Fleet:
    """4+2 on three MinIO processes of two buckets each: one of them may die."""

    def __init__(self, root):
        self.servers = [Minio(root / f"minio-{name}").start() for name in "abc"]
        options = {"region": "us-east-1", "allow_http": True, "access_key_id": Minio.access_key,
                   "secret_access_key": Minio.secret_key}
        backends = [Backend(f"s3-{name}{i}", f"s3://bucket-{i}", name, {**options, "endpoint": server.url})
                    for name, server in zip("abc", self.servers) for i in range(2)]
        self.root = root
        self.config = write_config(root / "rsb.toml", backends, 4, 2, heal=HEAL, ack_margin=0)
        rsb("config", "init", config=self.config, expect=DONE)
        self.gateway = Gateway(self.config, root / "serve.log")

    def close(self):
        self.gateway.__exit__()
        for server in self.servers:
            server.stop()


@pytest.fixture
def fleet(tmp_path):
    made = Fleet(tmp_path)
    yield made
    made.close()


def do_harm(fleet, chance):
    """Kills or stops something, and brings it back."""
    what = chance.choice(("gateway", "server", "both", "stopped"))
    server = chance.choice(fleet.servers)
    time.sleep(chance.uniform(0.05, 1.0))
    if what in ("server", "both"):
        server.kill()
    if what in ("gateway", "both"):
        time.sleep(chance.uniform(0, 0.2))
        fleet.gateway.kill()
    if what == "stopped":
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 3))
        server.process.send_signal(signal.SIGCONT)
    else:
        time.sleep(chance.uniform(0, 1.0))
    if server.process is None:
        # Sometimes the gateway is back first.
        if what == "both" and chance.random() < 0.5:
            fleet.gateway.start()
        server.start()
    if not fleet.gateway.runs:
        fleet.gateway.start()
    return what


def test_gateway_and_servers_die_under_load(fleet):
    seed = os.environ.get("E2E_SEED") or secrets.token_hex(4)
    print(f"\nseed: E2E_SEED={seed}")
    chance = random.Random(seed)
    gateway, keys = fleet.gateway.start(), new_keys(4, 5)
    assert gateway.request("PUT", f"/v1/b/{BUCKET}").status in (200, 201)
    acknowledged = refused = read = 0
    for number in range(ROUNDS):
        with Load(gateway, keys, chance) as load:
            what = do_harm(fleet, chance)
            time.sleep(0.5)
        acknowledged, refused, read = (total + load.sum(name) for total, name in
                                       ((acknowledged, "acknowledged"), (refused, "refused"), (read, "read")))
        read_back(gateway, keys)
        if number % 10 == 9:
            gateway.kill()
            wipe_catalog(fleet.root)
            gateway.start()
            read_back(gateway, keys)
        assert gateway.runs, f"round {number}, {what}: {gateway.words()}"
    print(f"{ROUNDS} rounds: {acknowledged} acknowledged, {read} read, {refused} refused")
    assert acknowledged > ROUNDS, "the load did not come to anything"
    wait_until(lambda: ledger_is_empty(gateway), within=120)
    run_job(gateway, "repair", {})
    report = run_job(gateway, "check", {"depth": "full"})
    assert report["damaged"] == [] and report["objects"] == report["whole"]
    read_back(gateway, keys)
