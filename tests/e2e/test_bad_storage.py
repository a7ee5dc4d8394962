"""Bad places: disks that are full, read-only or gone, keys that are wrong, markers of others, a clock that steps back."""

import json
import shutil
import subprocess

import pytest

from harness import (DONE, FAILED, MIB, NOT_FOUND, REFUSED, SHORT, USAGE, Backend, assert_unchanged, content, object_path,
                     rsb, run_job, shard_files, tree, wait_until, wipe_catalog, write_config)
from support.servers import Minio, free_port
from world import folder_gone

DAY = 86400


class Mounts:
    """Small file systems of a test's own. They take root; without it the test says that it was skipped."""

    def __init__(self):
        self.places = []

    def _mount(self, *arguments):
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")

    def small(self, place, size):
        place.mkdir(parents=True)
        self._mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
        self.places.append(place)

    def read_only(self, place):
        self._mount("-o", "remount,ro", place)

    def close(self):
        for place in self.places:
            subprocess.run(["umount", "-l", place], capture_output=True)


@pytest.fixture
def mounts():
    made = Mounts()
    yield made
    made.close()


def said(result):
    return result.text + result.err


def make_bucket(gateway):
    assert gateway.request("PUT", "/v1/b/bkt").status in (200, 201)


def assert_refused_and_undone(repository, gateway, before):
    """A long upload does not fit: refused, invisible, and nothing of it stays."""
    reply = gateway.request("PUT", object_path("bkt", "long"), content(20 * MIB))
    assert reply.status in (500, 503, 507), reply.text
    assert reply.json()["detail"], "a sentence"
    assert gateway.request("GET", object_path("bkt", "long")).status == 404
    assert_unchanged(before, *repository.folders)


def test_full_disks_refuse_the_write_and_keep_nothing_of_it(local, tmp_path, mounts):
    for name in ("a-0", "a-1", "b-0"):
        mounts.small(tmp_path / name, "2m")
    repository = local()
    with repository.gateway() as gateway:
        make_bucket(gateway)
        assert gateway.request("PUT", object_path("bkt", "short"), b"fits").status in (200, 201)
        assert_refused_and_undone(repository, gateway, tree(*repository.folders))
        assert gateway.request("PUT", object_path("bkt", "after"), content(MIB)).status in (200, 201), "what fits still fits"
        assert gateway.request("GET", object_path("bkt", "short")).body == b"fits"


def test_one_full_disk_leaves_the_write_short_and_says_so(local, tmp_path, mounts):
    mounts.small(tmp_path / "a-0", "1m")
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    done = repository.rsb("--json", "put", "-", "bkt/k", stdin=content(8 * MIB), expect=SHORT)
    assert done.lines()[-1]["short"] >= 1
    got = repository.rsb("get", "bkt/k", "-", expect=(DONE, SHORT))
    assert got.out == content(8 * MIB)
    repository.rsb("check", expect=SHORT)


def test_read_only_folders(local, tmp_path, mounts):
    for name in ("a-0", "a-1", "b-0"):
        mounts.small(tmp_path / name, "64m")
    repository = local()
    with repository.gateway() as gateway:
        make_bucket(gateway)
        assert gateway.request("PUT", object_path("bkt", "k"), content(MIB)).status in (200, 201)
        for name in ("a-0", "a-1", "b-0"):
            mounts.read_only(tmp_path / name)
        assert_refused_and_undone(repository, gateway, tree(*repository.folders))
        assert gateway.request("GET", object_path("bkt", "k")).body == content(MIB), "reads go on"


@pytest.mark.servers
def test_a_wrong_key_is_refused_with_its_own_exit_code(tmp_path):
    minio = Minio(tmp_path / "minio").start()
    try:
        options = {"endpoint": minio.url, "region": "us-east-1", "allow_http": True, "access_key_id": minio.access_key,
                   "secret_access_key": "not-the-secret"}
        backends = [Backend(f"s-{i}", f"s3://bucket-{i}", f"p{i}", options) for i in range(3)]
        config = write_config(tmp_path / "rsb.toml", backends, 2, 1)
        for verb in (["config", "init"], ["config", "check"]):
            done = rsb(*verb, config=config, expect=(REFUSED, FAILED))
            assert "s-0" in said(done), done
            assert "not-the-secret" not in said(done), "a secret is in the output"
        assert minio.s3.request("GET", "").count(b"<Bucket>") == 0, "nothing was made"
    finally:
        minio.stop()


def test_a_server_that_is_not_there_is_named(tmp_path):
    options = {"endpoint": f"http://127.0.0.1:{free_port()}", "region": "us-east-1", "allow_http": True,
               "access_key_id": "x", "secret_access_key": "hush-hush"}
    backends = [Backend(f"s-{i}", f"s3://bucket-{i}", f"p{i}", options) for i in range(3)]
    config = write_config(tmp_path / "rsb.toml", backends, 2, 1)
    done = rsb("config", "check", config=config, expect=FAILED, timeout=60)
    assert all(name in said(done) for name in ("s-0", "s-1", "s-2")), done
    assert "hush-hush" not in said(done)


def test_another_repositorys_marker_is_refused_with_both_ids(local, tmp_path):
    repository = local()
    other = tmp_path / "other"
    other.mkdir()
    from conftest import LocalRepository
    stranger = LocalRepository(other)
    own_id, stranger_id = (json.loads((r.folders[0] / "rsb.json").read_text())["repository_id"] for r in (repository, stranger))
    shutil.copy(stranger.folders[1] / "rsb.json", repository.folders[1] / "rsb.json")
    before = tree(*repository.folders)
    done = repository.rsb("config", "check", expect=(FAILED, USAGE))
    assert own_id in said(done) and stranger_id in said(done) and "a-1" in said(done), done
    done = repository.rsb("config", "init", expect=(FAILED, USAGE))
    assert "a-1" in said(done)
    assert_unchanged(before, *repository.folders, within=0)


def test_two_backends_that_changed_places_are_refused(local):
    repository = local()
    one, two = (folder / "rsb.json" for folder in repository.folders[:2])
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b), two.write_bytes(a)
    done = repository.rsb("config", "check", expect=(FAILED, USAGE))
    assert "a-0" in said(done) and "a-1" in said(done), done


@pytest.mark.parametrize("damage,word", [(lambda m: b"", "a-0"), (lambda m: b"{}", "a-0"),
                                         (lambda m: m.replace(b'"format_version": 1', b'"format_version": 99'), "99")])
def test_a_marker_that_cannot_be_read(local, damage, word):
    repository = local()
    marker = repository.folders[0] / "rsb.json"
    marker.write_bytes(damage(marker.read_bytes()))
    done = repository.rsb("config", "check", expect=(FAILED, USAGE))
    assert word in said(done) and "panicked" not in said(done), done


def test_a_lost_disk_does_not_stop_the_gateway(local):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", "-", "bkt/k", stdin=content(MIB), expect=DONE)
    shutil.rmtree(repository.folders[0])
    with repository.gateway() as gateway:
        assert gateway.request("GET", object_path("bkt", "k")).body == content(MIB)
        reply = gateway.request("PUT", object_path("bkt", "k2"), content(MIB, 2))
        assert reply.status in (200, 201) and reply.json()["short"] >= 1, reply.text
        assert not repository.folders[0].exists(), "a folder that is gone is not made anew in silence"


def test_a_disk_that_comes_back_is_used_without_a_restart(local):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    back = folder_gone(repository.folders[0])
    with repository.gateway() as gateway:
        assert gateway.request("PUT", object_path("bkt", "k"), content(MIB)).json()["short"] >= 1
        back()
        wait_until(lambda: gateway.request("GET", "/v1/status").json()["backends"][0]["reachable"])
        assert gateway.request("PUT", object_path("bkt", "k2"), content(MIB)).json()["short"] == 0
        run_job(gateway, "repair", {})
        assert run_job(gateway, "check", {"depth": "full"})["damaged"] == []
        assert shard_files(repository.folders[0]), "it holds shards again"


def test_a_sweep_deletes_nothing_while_a_backend_does_not_show_its_marker(local, clock_shift):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", "-", "bkt/k", stdin=content(MIB), expect=DONE)
    garbage = repository.folders[1] / "s" / "00" / "01890a5d-ac96-774b-bcce-b302099a8000.0"
    garbage.parent.mkdir(exist_ok=True)
    garbage.write_bytes(b"garbage")
    with repository.gateway(env=clock_shift(30 * DAY)) as gateway:
        assert gateway.request("GET", object_path("bkt", "k")).body == content(MIB)
        marker = repository.folders[0] / "rsb.json"
        kept = marker.read_bytes()
        marker.unlink()
        assert run_job(gateway, "sweep", {})["unreachable"] == [repository.folders[0].name]
        assert garbage.exists() and not gateway.request("GET", "/v1/status").json()["backends"][0]["reachable"]
        marker.write_bytes(kept)
        assert run_job(gateway, "sweep", {})["shards_removed"] == 1
        assert not garbage.exists()


@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b""), lambda f: f.write_bytes(f.read_bytes()[:50]),
                                    lambda f: f.write_bytes(f.read_bytes()[:-1]), lambda f: f.write_bytes(f.read_bytes() + b"x"),
                                    lambda f: f.write_bytes(bytes(f.stat().st_size)), lambda f: f.unlink()],
                         ids=["empty", "half a header", "a byte short", "a byte long", "zeros", "gone"])
def test_a_damaged_shard_is_a_finding_and_is_repaired(local, damage):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", "-", "bkt/k", stdin=content(MIB), expect=DONE)
    for folder in repository.folders[:2]:
        damage(shard_files(folder)[0])
    got = repository.rsb("get", "bkt/k", "-", expect=(DONE, SHORT))
    assert got.out == content(MIB)
    report = repository.rsb("--json", "check", "--depth", "full", expect=SHORT).lines()[-1]
    assert report["least_margin"] == 0
    repository.rsb("repair", expect=DONE)
    repository.rsb("check", "--depth", "full", expect=DONE)


def test_too_much_damage_is_unreadable_and_never_wrong(local):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", "-", "bkt/k", stdin=content(MIB), expect=DONE)
    for folder in repository.folders[:3]:
        shard_files(folder)[0].unlink()
    done = repository.rsb("get", "bkt/k", repository.root / "out", expect=5)
    assert "bkt/k" in done.err and not (repository.root / "out").exists()
    report = repository.rsb("--json", "check", expect=5).lines()[-1]
    assert report["least_margin"] == -1 and report["unreadable"] == 1
    done = repository.rsb("repair", expect=5)
    assert "bkt/k" in said(done)


def test_foreign_files_are_left_alone(local, clock_shift):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", "-", "bkt/k", stdin=content(MIB), expect=DONE)
    notes = [repository.folders[0] / "s" / "00" / "notes.txt", repository.folders[0] / "m" / "notes.txt", repository.folders[0] / "hello"]
    for note in notes:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text("mine")
    rsb("sweep", config=repository.config, env=clock_shift(30 * DAY), expect=DONE)
    repository.rsb("catalog", "rebuild", expect=DONE)
    assert all(note.read_text() == "mine" for note in notes)
    repository.rsb("check", "--depth", "full", expect=DONE)


def test_a_damaged_catalog_says_how_to_make_it_anew(local):
    repository = local()
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", "-", "bkt/k", stdin=b"hello", expect=DONE)
    wipe_catalog(repository.root)
    (repository.root / "rsb.db").write_bytes(b"this is no database" * 1000)
    done = repository.rsb("ls", "bkt", expect=(FAILED, USAGE))
    assert "rsb.db" in said(done) and "catalog rebuild" in said(done), done
    wipe_catalog(repository.root)
    repository.rsb("catalog", "rebuild", expect=DONE)
    assert repository.rsb("cat", "bkt/k", expect=DONE).out == b"hello"


def test_a_clock_before_the_last_id(local, clock_shift):
    """Written on a machine that is a day ahead, overwritten and deleted when the clock is right again: order holds."""
    repository = local()
    with repository.gateway(env=clock_shift(DAY)) as gateway:
        make_bucket(gateway)
        for key in ("overwritten", "deleted", "kept"):
            assert gateway.request("PUT", object_path("bkt", key), b"from tomorrow").status in (200, 201)
    with repository.gateway() as gateway:
        reply = gateway.request("PUT", object_path("bkt", "overwritten"), b"from today")
        assert reply.status in (200, 201), reply.text
        assert gateway.request("DELETE", object_path("bkt", "deleted")).status in (200, 204)
    wipe_catalog(repository.root)
    repository.rsb("catalog", "rebuild", expect=DONE)
    assert repository.rsb("cat", "bkt/overwritten", expect=DONE).out == b"from today"
    assert repository.rsb("cat", "bkt/kept", expect=DONE).out == b"from tomorrow"
    repository.rsb("stat", "bkt/deleted", expect=NOT_FOUND)


def test_two_gateways_on_one_catalog(local):
    repository = local()
    with repository.gateway() as first:
        second = repository.gateway()
        second.log = repository.root / "second.log"
        second.spawn()
        assert second.process.wait(60) != 0
        assert str(first.process.pid) in second.words() and "panicked" not in second.words()
        make_bucket(first)
        done = repository.rsb("put", "-", "bkt/k", stdin=b"x", expect=FAILED)
        assert "--server" in done.err, done
        assert run_job(first, "check", {})["objects"] == 0
