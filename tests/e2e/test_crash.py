"""SIGKILL at random instants under a concurrent load. After each kill every acknowledged object is there, every
acknowledged delete stays deleted, and a write that was cut off is there wholly or not at all. A catalog rebuilt from the
backends says the same. The seed is printed; E2E_SEED repeats its choices, E2E_KILLS sets how many kills."""

import http.client
import os
import random
import secrets
import threading
import time

from harness import DONE, KIB, MIB, content, digest, object_path, rsb, run_job, shard_files, wipe_catalog

KILLS = int(os.environ.get("E2E_KILLS", "50"))
BUCKET = "load"
THREADS = 6
KEYS_EACH = 6
SIZES = (0, 1, 3000, 60 * KIB, 128 * KIB, 128 * KIB + 1, 700 * KIB, 2 * MIB)
REBUILD_EVERY = 5
INLINE_LIMIT = 128 * KIB
# Longer than the time in which nothing is garbage.
TWO_DAYS = 2 * 86400
ABSENT = None


class Worker(threading.Thread):
    """Writes, overwrites and deletes keys of its own, and remembers what each may hold now."""

    def __init__(self, gateway, states, seed):
        super().__init__(daemon=True)
        self.gateway, self.states, self.random, self.stopped = gateway, states, random.Random(seed), threading.Event()
        self.acknowledged = 0
        self.unexpected = []

    def run(self):
        while not self.stopped.is_set():
            key = self.random.choice(list(self.states))
            if self.random.random() < 0.25:
                wanted, method, body = ABSENT, "DELETE", None
            else:
                body = content(self.random.choice(SIZES), self.random.random())
                wanted, method = digest(body), "PUT"
            before = self.states[key]
            # Until the reply both outcomes are allowed.
            self.states[key] = before | {wanted}
            try:
                reply = self.gateway.request(method, object_path(BUCKET, key), body, timeout=60)
            except (OSError, http.client.HTTPException):
                return  # The gateway is dead, or this request was cut off with it.
            if reply.status in (200, 201, 204) or (method == "DELETE" and reply.status == 404 and ABSENT in before):
                self.states[key] = {wanted}
                self.acknowledged += 1
            else:
                self.unexpected.append(f"{method} {key}: {reply.status} {reply.text[:300]}")


def read_back(gateway, states):
    """Every key holds what it may hold; what it holds now is what it must hold from here on."""
    for key, allowed in states.items():
        reply = gateway.request("GET", object_path(BUCKET, key))
        assert reply.status in (200, 404), f"{key}: {reply.status} {reply.text[:300]}"
        found = digest(reply.body) if reply.status == 200 else ABSENT
        assert found in allowed, f"{key} holds {found}, of {len(reply.body)} bytes; allowed were {allowed}"
        states[key] = {found}


def listing(gateway):
    reply = gateway.request("GET", f"/v1/b/{BUCKET}/o?limit=10000")
    assert reply.status == 200, reply.text
    return reply.json()["objects"]


def rebuild(repository, gateway):
    before = listing(gateway)
    gateway.kill()
    wipe_catalog(repository.root)
    report = repository.rsb("--json", "catalog", "rebuild", expect=DONE).lines()[-1]
    assert report["certain"] is True
    gateway.start()
    assert listing(gateway) == before


def load_and_kill(gateway, keys, chance):
    """Runs the load until a random instant, kills, and returns how much was acknowledged."""
    workers = [Worker(gateway, states, chance.random()) for states in keys]
    for worker in workers:
        worker.start()
    time.sleep(chance.uniform(0.02, 1.2))
    gateway.kill()
    for worker in workers:
        worker.stopped.set()
        worker.join(70)
        assert not worker.unexpected, worker.unexpected
    return sum(worker.acknowledged for worker in workers)


def test_kill_at_random_instants(local, clock_shift):
    seed = os.environ.get("E2E_SEED") or secrets.token_hex(4)
    print(f"\nseed: E2E_SEED={seed}")
    chance = random.Random(seed)
    repository = local()
    gateway = repository.gateway()
    keys = [{f"t{t}/k{i}": {ABSENT} for i in range(KEYS_EACH)} for t in range(THREADS)]
    acknowledged = 0
    with gateway:
        assert gateway.request("PUT", f"/v1/b/{BUCKET}").status in (200, 201)
        for kill in range(KILLS):
            acknowledged += load_and_kill(gateway, keys, chance)
            if chance.random() < 0.3:
                # A kill while it starts, where it resolves what the last one left open.
                gateway.spawn()
                time.sleep(chance.uniform(0, 0.5))
                gateway.kill()
            gateway.start()
            for states in keys:
                read_back(gateway, states)
            if kill % REBUILD_EVERY == REBUILD_EVERY - 1:
                rebuild(repository, gateway)
                for states in keys:
                    read_back(gateway, states)
        print(f"{KILLS} kills, {acknowledged} acknowledged writes and deletes")
        assert acknowledged > KILLS, "the load did not come to anything"
        prove_whole_and_clean(repository, gateway, keys, clock_shift)


def prove_whole_and_clean(repository, gateway, keys, clock_shift):
    """After a repair nothing is short; after the grace time nothing is left over."""
    run_job(gateway, "repair", {})
    report = run_job(gateway, "check", {"depth": "full"})
    assert report["damaged"] == [] and report["objects"] == report["whole"]
    objects = listing(gateway)
    assert gateway.stop() == 0
    rsb("sweep", config=repository.config, env=clock_shift(TWO_DAYS), expect=DONE)
    long_objects = sum(1 for o in objects if o["size"] > INLINE_LIMIT)
    left = [file for folder in repository.folders for file in shard_files(folder)]
    assert len(left) == long_objects * len(repository.folders), "one shard a folder for each long object, and no garbage"
    gateway.start()
    for states in keys:
        read_back(gateway, states)
