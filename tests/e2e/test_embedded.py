"""The README's first command from the outside: no config, thirteen folders, damage to three of them, a lost catalog."""

import http.client
import json
import random
import shutil
import signal
import subprocess
import sys

import pytest

from harness import (DONE, KIB, MIB, NOT_FOUND, RSB, SHORT, Gateway, content, digest, environment, flip_bit, object_path, rsb,
                     run_job, shard_files, submit, wipe_catalog, write_content)
from support.tools import ROOT

SIZES = [0, 1, 808, 128 * KIB - 1, 128 * KIB, 128 * KIB + 1, 5 * MIB, 80_000_000]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    root = tmp_path_factory.mktemp("embedded")
    gateway = Gateway(None, root / "serve.log")
    gateway.root, gateway.data = root, root / "rsb-data"
    gateway.start(cwd=root)
    assert gateway.request("PUT", "/v1/b/photos").status == 201
    gateway.stored = {}
    yield gateway
    gateway.__exit__()


def test_it_says_in_a_few_lines_where_to_look_and_what_to_try(served):
    lines = served.log.read_text().splitlines()
    said = "\n".join(lines)
    assert served.url in lines[0] and "rsb-data" in said and "one disk" in said and "curl" in said


def test_the_curl_line_that_it_prints_works(served, tmp_path):
    line = next(line for line in served.log.read_text().splitlines() if "curl" in line)
    command = line[line.index("curl"):].split("   ")[0].replace("-F file=@README.md", f"-F file=@{ROOT / 'README.md'}")
    done = subprocess.run(["bash", "-c", command], capture_output=True, env=environment(), timeout=60)
    assert done.returncode == 0 and len(json.loads(done.stdout)["hashes"]) == 13, done
    assert served.request("GET", "/retrieve_data/hello.txt").body == (ROOT / "README.md").read_bytes()


def test_the_commands_of_the_readme_work_word_for_word(tmp_path):
    blocks = (ROOT / "README.md").read_text().split("```")[1::2]
    commands = [line for block in blocks[1:3] for line in block.strip().splitlines()]
    assert len(commands) > 8
    (tmp_path / "target" / "release").mkdir(parents=True)
    (tmp_path / "target" / "release" / "rsb").symlink_to(RSB.resolve())
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    path = f"{tmp_path / 'target' / 'release'}:{environment()['PATH']}"
    with Gateway(None, tmp_path / "serve.log").start(cwd=tmp_path) as gateway:
        for command in commands:
            done = subprocess.run(["bash", "-ec", command.replace("127.0.0.1:44987", gateway.address)], cwd=tmp_path,
                                  capture_output=True, text=True, timeout=120, env={**environment(), "PATH": path})
            assert done.returncode in (0, 4 if " check " in command else 0), f"{command}: {done}"
            if "cmp" in command:
                assert "the same" in done.stdout
        assert gateway.request("GET", "/check_data/rsb").json()["health"] is True, "it was repaired"


@pytest.mark.parametrize("size", SIZES)
def test_what_goes_in_comes_out(served, tmp_path, size):
    file = write_content(tmp_path / "in", size)
    reply = submit(served, file, f"p{size}")
    assert reply.status == 200 and reply.json()["size"] == size, reply.text
    run = -(-size // 10)
    assert reply.json()["hashes"][0] == digest(content(size)[:run].ljust(run, b"\0")), "the first of ten runs"
    if size <= 64 * MIB:  # A longer body that is refused is cut off.
        assert submit(served, file, f"p{size}").status == 409, "a name that is taken"
    assert served.request("PUT", object_path("photos", f"v/{size}"), content(size)).status == 201
    served.stored[size] = digest(content(size))
    assert_reads(served, [size])


def assert_reads(served, sizes):
    for size in sizes:
        assert served.get_digest(f"/retrieve_data/p{size}") == (200, served.stored[size])
        assert served.get_digest(object_path("photos", f"v/{size}")) == (200, served.stored[size])


def test_the_reference_decoder_reads_it_without_us(served, tmp_path):
    shards = sorted(served.data.glob("disk-*/s/*/*"), key=lambda s: (s.stat().st_size, s.name))
    first = shards[0].name.rsplit(".", 1)[0]
    mine = [s for s in shards if s.name.startswith(first)]
    chosen = random.Random(first).sample(mine, 10)
    done = subprocess.run([sys.executable, ROOT / "docs" / "reference_decoder.py", tmp_path / "out", *chosen],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert digest((tmp_path / "out").read_bytes()) in served.stored.values()


def test_three_of_thirteen_folders_may_be_damaged(served):
    shutil.rmtree(served.data / "disk-02" / "s")
    shutil.rmtree(served.data / "disk-02" / "m")
    for shard in shard_files(served.data / "disk-05"):
        flip_bit(shard, shard.stat().st_size // 2)
    one, two = shard_files(served.data / "disk-09")[:2]
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes), two.write_bytes(one_bytes)
    assert_reads(served, SIZES)
    reply = served.request("GET", "/retrieve_data/p5242880", headers={"Range": "bytes=65000-1400000"})
    assert reply.status == 206 and reply.body == content(5 * MIB)[65000:1400001]


def test_the_prototype_checks_and_repairs_one_file(served):
    assert served.request("GET", "/check_data/p5242880").json()["health"] is False
    assert served.request("GET", "/repair_data/p5242880").json()["status"] == "GOOD"
    assert served.request("GET", "/check_data/p5242880").json()["health"] is True


def test_the_rest_is_repaired_by_the_command_line(served):
    assert served.request("DELETE", object_path("photos", "v/1")).status in (200, 204)
    del served.stored[1]
    assert served.stop() == 0
    assert rsb("check", "--depth", "full", cwd=served.root).code == SHORT
    rsb("repair", "--depth", "full", cwd=served.root, expect=DONE)
    rsb("check", "--depth", "full", cwd=served.root, expect=DONE)
    rsb("drill", cwd=served.root, expect=DONE)


def test_a_lost_catalog_is_made_anew_at_the_next_start(served):
    wipe_catalog(served.data)
    rsb("catalog", "verify", cwd=served.root, expect=DONE)
    rsb("stat", "photos/v/1", cwd=served.root, expect=NOT_FOUND)
    assert rsb("cat", "rsbackup/p808", cwd=served.root, expect=DONE).out == content(808)
    served.start(cwd=served.root)
    assert_reads(served, served.stored)


def test_a_write_in_flight_is_finished_before_it_stops(served):
    body = content(4 * MIB)
    connection = http.client.HTTPConnection(served.address, timeout=60)
    connection.putrequest("PUT", object_path("photos", "late"))
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    connection.send(body[:MIB])
    # Its bytes are arriving when a reply to a later request is there.
    assert served.request("GET", "/health/live").status == 200
    served.process.send_signal(signal.SIGTERM)
    connection.send(body[MIB:])
    reply = connection.getresponse()
    assert reply.status == 201, reply.read()
    assert served.process.wait(60) == 0
    served.start(cwd=served.root)
    assert served.request("GET", object_path("photos", "late")).body == body
    assert run_job(served, "check", {"depth": "full"})["damaged"] == []


def test_its_help_names_what_it_can_do():
    said = subprocess.run([RSB, "--help"], capture_output=True, text=True, check=True).stdout
    for verb in ("serve", "put", "get", "check", "repair", "drill", "catalog", "config", "Exit codes"):
        assert verb in said
