"""Moving house on real servers: folders, MinIO buckets and Azurite containers are drained, replaced, added and evened out,
directly and through the gateway, killed on the way, and dead ones from parity. At the end nothing needs what was taken away."""

import time

import pytest

from harness import DONE, KIB, MIB, NOT_FOUND, SHORT, USAGE, Backend, Gateway, content, digest, folders, rsb, wipe_catalog, write_config
from support.servers import AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Minio

pytestmark = pytest.mark.servers


class House:
    """4+2 on three folders, three buckets and two containers, each a domain of its own."""

    def __init__(self, root):
        self.root = root
        self.minio = Minio(root / "minio").start()
        self.azurite = Azurite(root / "azurite").start()
        s3 = {"region": "us-east-1", "allow_http": True, "endpoint": self.minio.url,
              "access_key_id": Minio.access_key, "secret_access_key": Minio.secret_key}
        azure = {"endpoint": self.azurite.endpoint, "account_name": AZURITE_ACCOUNT, "account_key": AZURITE_KEY,
                 "allow_http": True}
        self.all = [
            *folders(root, {"d0": 1, "d1": 1, "d2": 1}),
            *(Backend(f"s3-{i}", f"s3://s3-{i}/prefix", f"s{i}", s3) for i in range(3)),
            *(Backend(f"az-{i}", f"az://az-{i}", f"z{i}", azure) for i in range(2)),
        ]
        self.write(self.all)
        rsb("config", "init", config=self.config, expect=DONE)
        self.stored = {}

    def write(self, backends):
        self.now = list(backends)
        self.config = write_config(self.root / "rsb.toml", backends, 4, 2)

    def without(self, name):
        self.write([b for b in self.now if b.name != name])

    def rsb(self, *arguments, **keywords):
        return rsb(*arguments, config=self.config, **keywords)

    def fill(self):
        self.rsb("mb", "bucket", expect=DONE)
        sizes = {"small": 1000, "large": 9 * MIB, "gone": 50 * KIB}
        # Six of eight backends are chosen for each: of so many, every backend has some.
        sizes |= {f"medium-{number}": 300 * KIB for number in range(8)}
        for name, size in sizes.items():
            body = content(size, name)
            file = self.root / "in"
            file.write_bytes(body)
            self.rsb("put", file, f"bucket/{name}", expect=DONE)
            self.stored[name] = digest(body)
        self.rsb("rm", "bucket/gone", expect=DONE)
        del self.stored["gone"]

    def prove(self):
        """With the catalog and without it, all that was stored is there and whole, and nothing else is."""
        for lose in (False, True):
            if lose:
                wipe_catalog(self.config)
            listed = {line["key"] for line in self.rsb("ls", "bucket", "--json", expect=DONE).lines()}
            assert listed == set(self.stored)
            for name, expected in self.stored.items():
                target = self.root / "out"
                target.unlink(missing_ok=True)
                self.rsb("get", f"bucket/{name}", target, expect=DONE)
                assert digest(target.read_bytes()) == expected
            self.rsb("check", "--depth", "full", expect=DONE)

    def close(self):
        self.minio.stop()
        self.azurite.stop()


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    try:
        house.fill()
        yield house
    finally:
        house.close()


def test_a_folder_is_drained_and_a_bucket_replaced(house):
    name = house.all[0].name
    plan = house.rsb("backend", "drain", name, "--dry-run", "--json", expect=DONE).json()
    assert plan["shards"] > 0 and plan["copies"] > 0 and plan["stuck"] == 0
    report = house.rsb("backend", "drain", name, "--json", expect=DONE).json()
    assert report["proof"]["holds_nothing_live"] and report["proof"]["listed"]
    assert report["shards"] == plan["shards"] and report["failed"] == []
    left = [p for p in (house.root / name).rglob("*") if p.is_file()]
    assert [p.name for p in left] == ["rsb.json"]
    assert "holds nothing live" in house.rsb("backend", "drain", name, expect=DONE).text
    house.without(name)
    house.prove()
    # A new folder takes the place of a bucket.
    new = folders(house.root, {"new": 1})[0]
    house.write([*house.now, new])
    house.rsb("backend", "replace", "s3-0", new.name, expect=1)  # it is not set up yet
    added = house.rsb("backend", "add", new.name, "--json", expect=DONE).json()
    assert added == {"backend": new.name, "container_made": True, "marker_written": True}
    house.rsb("backend", "add", "nobody", expect=NOT_FOUND)
    report = house.rsb("backend", "replace", "s3-0", new.name, "--json", expect=DONE).json()
    assert report["proof"]["holds_nothing_live"]
    house.without("s3-0")
    house.prove()
    house.rsb("backend", "drain", "s3-1", expect=DONE)
    house.without("s3-1")
    refused = house.rsb("backend", "drain", "s3-2", expect=USAGE)
    assert "needs 6 active backends" in refused.err


def test_a_dead_container_is_drained_from_parity_through_the_gateway(house):
    house.azurite.stop()
    with Gateway(house.config, house.root / "serve.log") as gateway:
        for name in ("az-0", "az-1"):
            done = rsb("backend", "drain", name, "--json", server=gateway.url, expect=DONE).json()
            assert done["proof"]["holds_nothing_live"] and not done["proof"]["listed"]
            assert done["rebuilt"] == done["shards"] + done["copies"] > 0
        moves = rsb("moves", "--json", server=gateway.url, expect=DONE).lines()
        assert [m["state"] for m in moves] == ["done", "done"]
    house.without("az-0")
    house.without("az-1")
    house.prove()


def test_a_gateway_killed_in_a_drain_goes_on_by_itself(house):
    name = house.all[1].name
    gateway = Gateway(house.config, house.root / "serve.log")
    gateway.start()
    job = gateway.request("POST", "/v1/drain", f'{{"backend":"{name}","bytes_per_second":1500000}}').json()
    assert job["state"] == "running"
    deadline = time.monotonic() + 30
    while gateway.request("GET", f"/v1/jobs/{job['id']}").json()["progress"]["done"] == 0:
        assert time.monotonic() < deadline
    gateway.kill()
    gateway.start()
    deadline = time.monotonic() + 60
    while True:
        moves = gateway.request("GET", "/v1/moves").json()["moves"]
        if moves and moves[0]["state"] == "done":
            break
        assert time.monotonic() < deadline, moves
        time.sleep(0.1)
    assert moves[0]["report"]["proof"]["holds_nothing_live"]
    assert gateway.stop() == 0
    house.without(name)
    house.prove()


def test_bytes_are_evened_out_and_objects_coded_anew(house):
    new = Backend("az-2", "az://az-2", "z2", house.all[-1].options)
    house.write([*house.now, new])
    house.rsb("backend", "add", "az-2", expect=DONE)
    report = house.rsb("backend", "rebalance", "--json", expect=DONE).json()
    assert report["shards"] + report["copies"] > 0 and report["failures"] == 0
    house.prove()
    house.rsb("rescheme", "bucket", "--data-shards", "3", "--parity-shards", "3", expect=DONE)
    assert {line["parity_shards"] for line in house.rsb("ls", "bucket", "--json").lines()} == {3}
    house.prove()
    house.rsb("rescheme", "--data-shards", "30", "--parity-shards", "3", expect=USAGE)
    with Gateway(house.config, house.root / "serve.log") as gateway:
        done = rsb("rescheme", "bucket/large", "--data-shards", "4", "--parity-shards", "2", "--json", server=gateway.url, expect=DONE)
        assert done.json()["versions"] == 1
        assert rsb("backend", "rebalance", "--dry-run", "--json", server=gateway.url, expect=DONE).json()["stuck"] == 0
    house.prove()
