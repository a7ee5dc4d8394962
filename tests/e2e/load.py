"""A mixed load that knows what each key may hold: whatever is killed, cut or slowed meanwhile, no reply may ever have other
bytes, and what was acknowledged stays."""

import http.client
import random
import threading
import time

from harness import KIB, MIB, content, digest, object_path

BUCKET = "load"
SIZES = (0, 1, 3000, 60 * KIB, 128 * KIB, 128 * KIB + 1, 700 * KIB, 2 * MIB)
ABSENT = None
# Said aloud by a gateway that cannot do it now.
REFUSALS = (500, 502, 503, 504, 507)


def expected(state):
    return digest(content(*state))


class Client(threading.Thread):
    """Writes, reads and deletes keys of its own, and remembers what each may hold now: (size, seed), or that it is absent."""

    def __init__(self, gateway, states, seed, refusals=REFUSALS, sizes=SIZES, pause=0.0):
        super().__init__(daemon=True)
        self.gateway, self.states, self.random, self.refusals = gateway, states, random.Random(seed), refusals
        self.sizes, self.pause, self.stopped = sizes, pause, threading.Event()
        self.acknowledged, self.read, self.refused, self.cut = 0, 0, 0, 0
        self.wrong = []
        self.times = []

    def run(self):
        while not self.stopped.is_set():
            key = self.random.choice(list(self.states))
            what = self.random.choices(("PUT", "GET", "RANGE", "DELETE"), (35, 35, 15, 15))[0]
            begun = time.monotonic()
            try:
                {"PUT": self.put, "GET": self.get, "RANGE": self.range, "DELETE": self.delete}[what](key)
            except (OSError, http.client.HTTPException):
                # The gateway is dead, or this request was cut off: what it had to say is not known.
                self.cut += 1
                time.sleep(0.05)
            self.times.append((what, begun, time.monotonic() - begun))
            self.stopped.wait(self.pause)

    def change(self, method, key, body, wanted):
        before = self.states[key]
        # Until the reply both outcomes are allowed.
        self.states[key] = before | {wanted}
        reply = self.gateway.request(method, object_path(BUCKET, key), body, timeout=60)
        if reply.status in (200, 201, 204) or (method == "DELETE" and reply.status == 404 and ABSENT in before):
            self.states[key] = {wanted}
            self.acknowledged += 1
        elif reply.status in self.refusals:
            self.refused += 1
        else:
            self.wrong.append(f"{method} {key}: {reply.status} {reply.text[:300]}")

    def put(self, key):
        state = (self.random.choice(self.sizes), self.random.random())
        self.change("PUT", key, content(*state), state)

    def delete(self, key):
        self.change("DELETE", key, None, ABSENT)

    def get(self, key):
        self.compare(key, self.gateway.request("GET", object_path(BUCKET, key), timeout=60), None)

    def range(self, key):
        begin = self.random.randrange(700 * KIB)
        end = begin + self.random.randrange(1, 200 * KIB)
        headers = {"Range": f"bytes={begin}-{end}"}
        self.compare(key, self.gateway.request("GET", object_path(BUCKET, key), None, headers, timeout=60), (begin, end))

    def compare(self, key, reply, part):
        allowed = self.states[key]
        if reply.status == 404:
            fits = ABSENT in allowed
        elif reply.status == 416:
            fits = part is not None and any(state and state[0] <= part[0] for state in allowed)
        elif reply.status in (200, 206):
            cut = slice(part[0], part[1] + 1) if part and reply.status == 206 else slice(None)
            fits = any(state and content(*state)[cut] == reply.body for state in allowed)
        elif reply.status in self.refusals:
            self.refused += 1
            return
        else:
            fits = False
        self.read += 1
        if not fits:
            self.wrong.append(f"{key}: {reply.status} with {len(reply.body)} bytes; allowed were {allowed}")


def new_keys(threads, each):
    return [{f"t{t}/k{i}": {ABSENT} for i in range(each)} for t in range(threads)]


class Load:
    """Clients at work while the block runs; at its end nothing wrong may have been seen."""

    def __init__(self, gateway, keys, chance, **options):
        self.clients = [Client(gateway, states, chance.random(), **options) for states in keys]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, kind, *_):
        for client in self.clients:
            client.stopped.set()
        for client in self.clients:
            client.join(120)
            assert not client.is_alive(), "a request hangs"
            assert kind or not client.wrong, client.wrong[:3]

    def sum(self, name):
        return sum(getattr(client, name) for client in self.clients)


def once_all_are_back(gateway, key):
    """The reply about a key. A server that was down when the gateway began is not used until the gateway has looked again, and a
    catalog that is being made anew says that it is."""
    until = time.monotonic() + 60

    def must_wait(reply):
        return (reply.status == 500 and "bring backends back" in reply.text
                or reply.status == 503 and "is being rebuilt; try again" in reply.text)

    while must_wait(reply := gateway.request("GET", object_path(BUCKET, key))):
        assert time.monotonic() < until, f"{key} cannot be read for a minute: {reply.text}"
        time.sleep(0.5)
    return reply


def read_back(gateway, keys):
    """Every key holds what it may hold; what it holds now is what it must hold from here on."""
    for states in keys:
        for key, allowed in states.items():
            reply = once_all_are_back(gateway, key)
            assert reply.status in (200, 404), f"{key}: {reply.status} {reply.text[:300]}"
            found = digest(reply.body) if reply.status == 200 else ABSENT
            fits = {state for state in allowed if (expected(state) if state else ABSENT) == found}
            assert fits, f"{key} holds {found}, of {len(reply.body)} bytes; allowed were {allowed}"
            states[key] = fits


def ledger_is_empty(gateway):
    return gateway.request("GET", "/v1/ledger").json()["entries"] == []
