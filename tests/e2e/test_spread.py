"""The main job on real servers: up by every door, damage of every kind, down again, checked, repaired, rebuilt. The tests
of this file share one repository and run in order; each leaves it whole."""

import pytest

from harness import (DONE, KIB, MIB, NOT_FOUND, SHORT, content, digest, file_digest, flip_bit, object_path, quote, run_job,
                     shard_files, submit, wipe_catalog, write_content)
from world import MINIO_A, MINIO_B, World, folder_gone

pytestmark = pytest.mark.servers

SIZES = {"0": 0, "1": 1, "808": 808, "128k-1": 128 * KIB - 1, "128k": 128 * KIB, "128k+1": 128 * KIB + 1, "5m": 5 * MIB,
         "200m": 200 * MIB}
DOORS = ("prototype", "v1", "cli")
BUCKET = "rsbackup"  # the bucket that the prototype's endpoints see


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"))
    try:
        world.gateway.start()
        world.files = {size: write_content(world.root / f"in-{size}", SIZES[size]) for size in SIZES}
        world.digests = {size: file_digest(file) for size, file in world.files.items()}
        world.stored = {}  # key → digest of every object that should be there
        yield world
    finally:
        world.close()


def put(world, door, file, key):
    if door == "prototype":
        reply = submit(world.gateway, file, key)
        assert reply.status == 200, reply.text
        assert reply.json()["size"] == file.stat().st_size
    elif door == "v1":
        with open(file, "rb") as body:
            reply = world.gateway.request("PUT", object_path(BUCKET, key), body,
                                          {"Content-Length": str(file.stat().st_size)}, timeout=600)
        assert reply.status in (200, 201), reply.text
    else:
        world.rsb("put", file, f"{BUCKET}/{key}", expect=DONE)


def get_digest(world, door, key):
    if door == "prototype":
        status, found = world.gateway.get_digest(f"/retrieve_data/{quote(key)}")
        assert status == 200
        return found
    if door == "v1":
        status, found = world.gateway.get_digest(object_path(BUCKET, key))
        assert status == 200
        return found
    target = world.root / "out"
    target.unlink(missing_ok=True)
    world.rsb("get", f"{BUCKET}/{key}", target, expect=(DONE, SHORT))
    return file_digest(target)


def assert_all_readable(world):
    """Every object comes back, each by another door than the one before."""
    for turn, (key, wanted) in enumerate(sorted(world.stored.items())):
        door = DOORS[turn % len(DOORS)]
        assert get_digest(world, door, key) == wanted, f"{key} by {door}"


def check(world, depth="full"):
    return run_job(world.gateway, "check", {"depth": depth})


def assert_whole(world, depth="full"):
    report = check(world, depth)
    assert report["damaged"] == [] and report["unreachable"] == []
    assert report["whole"] == report["objects"] == len(world.stored)


def margins(report):
    """Of the objects: a bucket's own record has no key, and lies on every backend."""
    return {damaged["key"]: damaged["margin"] for damaged in report["damaged"] if damaged["key"]}


def listing(world):
    reply = world.gateway.request("GET", f"/v1/b/{BUCKET}/o?limit=1000")
    assert reply.status == 200, reply.text
    return reply.json()["objects"]


def test_init_made_buckets_containers_and_markers(world):
    for bucket in MINIO_A:
        assert "prefix/rsb.json" in world.minio_a.s3.list(bucket)
    assert "rsb.json" in world.minio_b.s3.list("s3-3")
    assert "repository/rsb.json" in world.minio_b.s3.list("gcs-1")
    assert all((folder / "rsb.json").exists() for folder in world.folders)


def test_config_check_proves_every_backend(world):
    done = world.direct("config", "check", expect=DONE)
    assert "10+3" in done.text and "13 backends, each reached and with its marker" in done.text


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("size", SIZES)
def test_every_size_goes_up_by_every_door_and_comes_back_by_each(world, size, door):
    if not world.stored:
        world.rsb("mb", BUCKET)
    key = f"{door}-{size}"
    put(world, door, world.files[size], key)
    world.stored[key] = world.digests[size]
    for other in DOORS:
        assert get_digest(world, other, key) == world.digests[size], f"put by {door}, got by {other}"


def test_listings_agree(world):
    names = sorted(world.stored)
    assert [o["key"] for o in listing(world)] == names
    assert world.gateway.request("GET", "/list_data").json() == {"files": names}
    assert [line["key"] for line in world.rsb("--json", "ls", BUCKET, expect=DONE).lines()] == names


@pytest.mark.parametrize("start,end", [(0, 0), (65535, 65536), (10 * 65536 - 1, 10 * 65536 + 1), (64 * MIB - 3, 64 * MIB + 3),
                                       (200 * MIB - 5, 200 * MIB - 1)])
def test_ranges_over_block_stripe_and_segment_borders(world, start, end):
    reply = world.gateway.request("GET", object_path(BUCKET, "v1-200m"), headers={"Range": f"bytes={start}-{end}"})
    assert reply.status == 206
    with open(world.files["200m"], "rb") as source:
        source.seek(start)
        assert reply.body == source.read(end - start + 1)


def test_whole_at_every_depth(world):
    for depth in ("inventory", "sample", "full"):
        assert_whole(world, depth)
    assert world.rsb("check", "--depth", "full").code == DONE


def test_reads_survive_a_killed_minio(world):
    world.minio_b.kill()
    try:
        assert_all_readable(world)
        report = check(world, "inventory")
        assert set(report["unreachable"]) == set(MINIO_B)
        assert set(margins(report).values()) == {0}, "three of three spare shards are out of reach"
        assert report["unreadable"] == 0
        assert world.rsb("check").code == SHORT
    finally:
        world.minio_b.start()
    assert_all_readable(world)
    assert_whole(world)


def test_a_write_that_too_few_backends_can_hold_is_refused(world):
    world.minio_b.kill()
    try:
        reply = world.gateway.request("PUT", object_path(BUCKET, "refused"), content(MIB), timeout=120)
        assert reply.status == 503, reply.text
        assert reply.json()["type"]
        assert world.gateway.request("GET", object_path(BUCKET, "refused")).status == 404
    finally:
        world.minio_b.start()
    assert "refused" not in [o["key"] for o in listing(world)]
    assert_whole(world)


def test_a_write_during_an_outage_is_remembered_and_repaired(world):
    back = folder_gone(world.folders[0])
    try:
        for key, size in (("short-inline", 808), ("short-long", 3 * MIB)):
            done = world.rsb("put", write_content(world.root / key, size, key), f"{BUCKET}/{key}")
            assert done.code == SHORT, f"a short write says so: {done}"
            world.stored[key] = digest(content(size, key))
            assert get_digest(world, "v1", key) == world.stored[key]
        assert world.rsb("--json", "ledger", expect=(DONE, SHORT)).lines(), "what is short stands in the ledger"
    finally:
        back()
    world.rsb("repair", expect=DONE)
    assert_whole(world)
    assert world.rsb("--json", "ledger", expect=DONE).lines() == []


def test_damage_is_found_with_the_right_margins_and_repaired(world):
    flipped, swapped = world.folders[1], world.folders[4]
    mine = {}  # key → its shard in each of the two folders
    for key in ("one", "two"):
        before = {folder: set(shard_files(folder)) for folder in (flipped, swapped)}
        put(world, "v1", write_content(world.root / key, 5 * MIB, key), key)
        world.stored[key] = digest(content(5 * MIB, key))
        mine[key] = {folder: (set(shard_files(folder)) - files).pop() for folder, files in before.items()}
    # One bucket loses everything but its marker: every object is short of one.
    assert world.minio_a.s3.empty("s3-1", keep=["prefix/rsb.json"]) > 0
    # A flipped bit: "one" is short of two.
    flip_bit(mine["one"][flipped], -1000)
    # Two shards change places: "one" is short of three, "two" of two.
    one, two = mine["one"][swapped], mine["two"][swapped]
    one_bytes, two_bytes = one.read_bytes(), two.read_bytes()
    one.write_bytes(two_bytes), two.write_bytes(one_bytes)

    assert_all_readable(world)
    report = check(world)
    assert margins(report) == {key: {"one": 0, "two": 1}.get(key, 2) for key in world.stored}
    assert report["least_margin"] == 0 and report["unreadable"] == 0
    assert world.rsb("check", "--depth", "full").code == SHORT
    planned = world.rsb("--json", "repair", "--dry-run", expect=(DONE, SHORT)).json()
    assert planned["items"] and margins(check(world)) == margins(report), "a dry run changes nothing"

    world.rsb("repair", expect=DONE)
    assert one.read_bytes() == one_bytes and two.read_bytes() == two_bytes, "rebuilt to the byte"
    assert_whole(world)
    assert_all_readable(world)


def test_the_catalog_is_only_an_index(world):
    before = listing(world)
    assert world.gateway.stop() == 0
    wipe_catalog(world.root)
    report = world.direct("--json", "catalog", "rebuild", expect=DONE).lines()[-1]
    assert report["certain"] is True and report["unreachable"] == []
    world.gateway.start()
    assert listing(world) == before
    assert_all_readable(world)
    assert_whole(world)


def test_nothing_deleted_returns(world):
    gone = ["prototype-808", "v1-5m", "cli-128k+1"]
    assert world.gateway.request("DELETE", object_path(BUCKET, gone[0])).status in (200, 204)
    for key in gone[1:]:
        world.rsb("rm", f"{BUCKET}/{key}", expect=DONE)
    for key in gone:
        del world.stored[key]
    world.gateway.kill()
    wipe_catalog(world.root)
    world.direct("catalog", "rebuild", expect=DONE)
    world.gateway.start()
    assert [o["key"] for o in listing(world)] == sorted(world.stored)
    for key in gone:
        assert world.gateway.request("GET", f"/retrieve_data/{quote(key)}").status == 404
        world.rsb("stat", f"{BUCKET}/{key}", expect=NOT_FOUND)


def test_the_cli_works_straight_on_the_backends(world):
    assert world.gateway.stop() == 0
    key = "direct"
    world.direct("put", write_content(world.root / key, 3 * MIB, key), f"{BUCKET}/{key}", expect=DONE)
    world.stored[key] = digest(content(3 * MIB, key))
    got = world.direct("get", f"{BUCKET}/{key}", "-", expect=DONE)
    assert digest(got.out) == world.stored[key]
    world.direct("check", "--depth", "full", expect=DONE)
    world.gateway.start()
    assert get_digest(world, "prototype", key) == world.stored[key]


def test_an_emptied_provider_is_filled_again(world):
    """Azurite keeps everything in memory here: killed and started, its containers are gone with their markers."""
    world.azurite.kill()
    world.azurite.start()
    assert_all_readable(world)
    assert world.rsb("check").code == SHORT
    assert world.gateway.stop() == 0
    world.direct("config", "init", expect=DONE)
    world.gateway.start()
    world.rsb("repair", expect=DONE)
    assert_whole(world)
