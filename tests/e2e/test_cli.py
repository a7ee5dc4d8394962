"""Good command lines, each verb straight on the backends and through a gateway: the same output, JSON and exit codes."""

import json
import os
import pty
import shutil
import signal
import stat
import subprocess
import threading
import urllib.parse

import pytest

from harness import (DONE, FAILED, MIB, NOT_FOUND, REFUSED, RSB, SHORT, UNREADABLE, USAGE, assert_unchanged, content,
                     environment, free_port, rsb, shard_files, tree, write_config)

FACTS = {"bucket", "key", "size", "etag", "version", "modified", "data_shards", "parity_shards", "codec", "content_type",
         "metadata", "short"}


class Door:
    """A repository of its own and one way to it."""

    def __init__(self, kind, root):
        from conftest import LocalRepository
        self.repository, self.kind = LocalRepository(root), kind
        self.gateway = self.repository.gateway().start() if kind == "server" else None
        self("mb", "box", expect=DONE)

    def __call__(self, *arguments, **keywords):
        if self.gateway:
            return rsb(*arguments, server=self.gateway.url, **keywords)
        return self.repository.rsb(*arguments, **keywords)

    def put(self, key, data):
        self("put", "-", f"box/{key}", stdin=data, expect=DONE)

    def close(self):
        if self.gateway:
            self.gateway.__exit__()


@pytest.fixture(scope="module", params=["direct", "server"])
def door(request, tmp_path_factory):
    made = Door(request.param, tmp_path_factory.mktemp(request.param))
    yield made
    made.close()


@pytest.fixture(params=["direct", "server"])
def fresh(request, tmp_path):
    (tmp_path / "repository").mkdir()
    made = Door(request.param, tmp_path / "repository")
    yield made
    made.close()


# ── objects ──────────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("size", [0, 1, 5 * MIB + 3])
def test_a_file_comes_back_as_it_was(door, tmp_path, size):
    data = content(size, "roundtrip")
    (tmp_path / "in").write_bytes(data)
    stored = door("--json", "put", tmp_path / "in", f"box/round/{size}", expect=DONE).json()
    assert set(stored) == FACTS and stored["size"] == size and stored["short"] == 0
    got = door("--json", "get", f"box/round/{size}", tmp_path / "out", expect=DONE).json()
    assert got == {"bucket": "box", "key": f"round/{size}", "file": str(tmp_path / "out"), "size": size}
    assert (tmp_path / "out").read_bytes() == data
    assert door("cat", f"box/round/{size}", expect=DONE).out == data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]
    mode = stat.S_IMODE((tmp_path / "out").stat().st_mode)
    assert mode == stat.S_IMODE((tmp_path / "in").stat().st_mode), "the user's own umask"


def test_standard_input_and_output_stream(door):
    data = content(3 * MIB, "stream")
    done = door("put", "-", "box/streamed", stdin=data, expect=DONE)
    assert b"box/streamed" in done.out and b"stored" in done.out
    assert door("get", "box/streamed", "-", expect=DONE).out == data
    assert door("-q", "put", "-", "box/streamed", stdin=b"", expect=DONE).out == b""


def test_a_key_of_any_characters(door, tmp_path):
    for key in ["ü ö/#?%41&=+", "a//b", "quote\"'<>", "line\nbreak", "…", "/begins"]:
        door.put(key, key.encode())
        assert door("cat", f"box/{key}", expect=DONE).out == key.encode(), key
        assert door("--json", "stat", f"box/{key}", expect=DONE).json()["key"] == key
        door("rm", f"box/{key}", expect=DONE)


def test_get_names_the_file_itself(door, tmp_path):
    door.put("deep/named", b"x")
    door("get", "box/deep/named", cwd=tmp_path, expect=DONE)
    (tmp_path / "folder").mkdir()
    door("get", "box/deep/named", tmp_path / "folder", expect=DONE)
    assert (tmp_path / "named").read_bytes() == (tmp_path / "folder" / "named").read_bytes() == b"x"
    door("get", "box/deep/named", "/dev/null", expect=DONE)


def test_put_takes_the_files_name_below_a_slash(door, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"meow")
    assert door("--json", "put", tmp_path / "cat.jpg", "box/pictures/", expect=DONE).json()["key"] == "pictures/cat.jpg"
    assert door("--json", "put", tmp_path / "cat.jpg", "box", expect=DONE).json()["key"] == "cat.jpg"


def test_stat_and_ls_tell_the_same(door):
    door.put("listed/one", b"1")
    door.put("listed/two", content(MIB))
    listed = door("--json", "ls", "box/listed/", expect=DONE).lines()
    assert [facts["key"] for facts in listed] == ["listed/one", "listed/two"]
    for facts in listed:
        assert set(facts) == FACTS and facts["data_shards"] == 4 and facts["codec"] == "novelpoly"
        assert door("--json", "stat", f"box/{facts['key']}", expect=DONE).json() == facts
    text = door("stat", "box/listed/two", expect=DONE).text
    assert "4+2 novelpoly" in text and "1.0 MiB" in text
    assert "listed/two" in door("ls", "box", expect=DONE).text
    assert door("--json", "ls", "box/nothing/like/it", expect=DONE).lines() == []


def test_long_lists_have_all_pages(door, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(60):
        (folder / f"{number:04}").write_bytes(b"%d" % number)
    door("-q", "put", "-r", folder, "box/pages", expect=DONE)
    assert len(door("--json", "ls", "box/pages/", expect=DONE).lines()) == 60
    door("-q", "rm", "-r", "box/pages", expect=DONE)
    assert door("ls", "box/pages/", expect=DONE).out == b""


def test_copies_and_new_names(door):
    data = content(MIB, "copied")
    door.put("from", data)
    copied = door("--json", "cp", "box/from", "box/to", expect=DONE).json()
    assert set(copied) == FACTS and copied["key"] == "to"
    door("mv", "box/to", "box/there/", expect=DONE)
    assert door("cat", "box/there/to", expect=DONE).out == data
    door("stat", "box/to", expect=NOT_FOUND)
    door("cp", "box/from", "box/from", expect=USAGE)
    assert door("cat", "box/from", expect=DONE).out == data


def test_rm_tells_what_it_did(door):
    door.put("short-lived", b"x")
    done = door("--json", "rm", "box/short-lived", expect=DONE).json()
    assert done == {"bucket": "box", "key": "short-lived", "deleted": True, "delete_marker": None, "short": 0}
    door("rm", "box/short-lived", expect=NOT_FOUND)


def test_a_scheme_for_one_object(door):
    done = door("--json", "put", "-", "box/scheme", "--data-shards", "2", "--parity-shards", "2", stdin=content(MIB), expect=DONE)
    assert (done.json()["data_shards"], done.json()["parity_shards"]) == (2, 2)


def test_buckets(door):
    made = door("--json", "mb", "kept-all", "--keep-all", expect=DONE).json()
    assert set(made) == {"name", "created", "versions"} and made["versions"] == "keep-all"
    assert made in door("--json", "ls", expect=DONE).lines()
    assert "kept-all" in door("ls", expect=DONE).text
    assert door("--json", "rb", "kept-all", expect=DONE).json() == {"bucket": "kept-all", "deleted": True}
    assert made not in door("--json", "ls", expect=DONE).lines()


def test_a_reader_that_goes_away_is_no_failure(door):
    door.put("long", content(8 * MIB))
    way = ["--server", door.gateway.url] if door.gateway else ["--config", str(door.repository.config)]
    with subprocess.Popen([RSB, *way, "cat", "box/long"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        running.stdout.read(10)
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == DONE


# ── folders ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def some_files(root):
    files = {"a.txt": b"a", "sub/b.bin": content(MIB, "b"), "sub/deeper/ü": b"", "sub/c": b"ccc"}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return files


def test_a_folder_goes_in_and_comes_out(fresh, tmp_path):
    files = some_files(tmp_path / "in")
    stored = fresh("--json", "put", "-r", tmp_path / "in", "box/backup", expect=DONE).lines()
    assert {facts["key"] for facts in stored} == {f"backup/{name}" for name in files}
    got = fresh("--json", "get", "-r", "box/backup", tmp_path / "out", expect=DONE).lines()
    assert len(got) == len(files)
    assert {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == files
    fresh.put("backups-are-others", b"x")
    fresh("rm", "-r", "box/backup", expect=DONE)
    assert [facts["key"] for facts in fresh("--json", "ls", "box", expect=DONE).lines()] == ["backups-are-others"]
    fresh("rm", "-r", "box/backup", expect=NOT_FOUND)
    fresh("get", "-r", "box/backup", tmp_path / "none", expect=NOT_FOUND)
    assert not (tmp_path / "none").exists()
    fresh("rm", "-r", "box", expect=DONE)
    fresh("rb", "box", expect=DONE)


def test_links_are_left_out_and_said(fresh, tmp_path):
    some_files(tmp_path / "in")
    (tmp_path / "in" / "link").symlink_to("/etc/hostname")
    done = fresh("put", "-r", tmp_path / "in", "box", expect=DONE)
    assert "1 symbolic link" in done.err and "link" in done.err
    fresh("stat", "box/link", expect=NOT_FOUND)


def test_names_that_cannot_be_keys_are_refused_before_anything_is_stored(fresh, tmp_path):
    some_files(tmp_path / "in")
    (tmp_path / "in" / os.fsdecode(b"not-\xff-utf8")).write_bytes(b"x")
    done = fresh("put", "-r", tmp_path / "in", "box", expect=FAILED)
    assert "not-" in done.err and "UTF-8" in done.err
    assert fresh("ls", "box", expect=DONE).out == b""


@pytest.mark.parametrize("keys,words", [(["/etc/x"], ["/etc/x"]), (["a", "a/b"], ["a/b"]), (["x//y"], ["x//y"])])
def test_keys_that_climb_or_collide_are_refused(fresh, tmp_path, keys, words):
    for key in ["good", *keys]:
        fresh.put(key, b"x")
    done = fresh("get", "-r", "box", tmp_path / "out", expect=FAILED)
    assert all(word in done.err for word in words), done
    assert not (tmp_path / "out").exists()


def test_a_link_in_the_target_is_not_followed(fresh, tmp_path):
    fresh.put("way/x", b"x")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "way").symlink_to(tmp_path / "elsewhere")
    done = fresh("get", "-r", "box", tmp_path / "out", expect=FAILED)
    assert "symbolic link" in done.err and list((tmp_path / "elsewhere").iterdir()) == []


def test_wrong_uses_of_r(door, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert "-r" in door("put", tmp_path, "box/x", expect=USAGE).err
    assert "-r" in door("put", "-r", tmp_path / "file", "box", expect=USAGE).err
    assert "-r" in door("put", "-r", "-", "box", expect=USAGE).err
    assert "-r" in door("get", "-r", "box", "-", expect=USAGE).err
    door("put", "-r", tmp_path, "none", expect=NOT_FOUND)
    door("put", "-r", tmp_path / "missing", "box", expect=FAILED)


# ── upkeep ───────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_upkeep_of_a_whole_repository(door):
    door.put("whole", content(MIB))
    report = door("--json", "check", "--depth", "full", expect=DONE).json()
    assert report["whole"] == report["objects"] > 0 and report["damaged"] == []
    assert "fully redundant" in door("check", "box/whole", "--depth", "sample", expect=DONE).text
    assert door("--json", "plan", "repair", expect=DONE).json() == door("--json", "repair", "--dry-run", expect=DONE).json()
    assert door("--json", "repair", expect=DONE).json()["shards_rebuilt"] == 0
    assert len(door("--json", "drill", expect=DONE).lines()) == 3
    assert [d["domain"] for d in door("--json", "drill", "--domain", "provider=a", expect=DONE).lines()] == ["provider=a"]
    backends = door("--json", "backend", "ls", expect=DONE).lines()
    assert [b["name"] for b in backends] == ["a-0", "a-1", "b-0", "b-1", "c-0", "c-1"] and all(b["reachable"] for b in backends)
    assert "provider=a" in door("backend", "ls", expect=DONE).text
    assert door("--json", "ledger", expect=DONE).lines() == []
    assert door("--json", "catalog", "verify", expect=DONE).json()["differences"] == []
    assert door("--json", "sweep", "--dry-run", expect=DONE).json()["unreachable"] == []
    assert door("sweep", expect=DONE).text
    rebuilt = door("--json", "catalog", "rebuild", expect=DONE).json()
    assert rebuilt["certain"] and rebuilt["buckets"] == 1
    assert door("cat", "box/whole", expect=DONE).out == content(MIB)


def test_damage_is_found_planned_and_repaired(fresh, tmp_path):
    fresh.put("hurt", content(MIB))
    for name in ("a-0", "b-1"):
        shard_files(fresh.repository.root / name)[0].unlink()
    assert fresh("--json", "check", expect=SHORT).json()["degraded"] == 1
    assert {line["reason"] for line in fresh("--json", "ledger", expect=SHORT).lines()} == {"missing"}
    assert "box/hurt" in fresh("ledger", expect=SHORT).text
    plan = fresh("--json", "plan", "repair", "box", "--depth", "full", expect=SHORT).json()
    assert len(plan["items"]) == 1 and plan["write_requests"] == 2
    assert "to rebuild" in fresh("plan", "repair", expect=SHORT).text
    assert fresh("--json", "repair", "box/hu", expect=DONE).json()["shards_rebuilt"] == 2
    fresh("check", "--depth", "full", expect=DONE)
    for name in ("a-0", "b-0", "c-0"):
        shard_files(fresh.repository.root / name)[0].unlink()
    fresh("check", expect=UNREADABLE)
    fresh("plan", "repair", expect=UNREADABLE)
    done = fresh("get", "box/hurt", tmp_path / "out", expect=UNREADABLE)
    assert "hurt" in done.err and not (tmp_path / "out").exists()


def test_an_object_that_is_lost_half_way_leaves_no_file(tmp_path):
    (tmp_path / "repository").mkdir()
    from conftest import LocalRepository
    repository = LocalRepository(tmp_path / "repository", segment_size="1 MiB")
    repository.rsb("mb", "box", expect=DONE)
    data = content(16 * MIB)
    repository.rsb("put", "-", "box/long", stdin=data, expect=DONE)
    # Segments are written in order, so the newest shards belong to the last ones.
    for folder in repository.folders[:3]:
        shards = sorted(shard_files(folder), key=lambda p: p.stat().st_mtime_ns)
        shards[-1].unlink()
    (tmp_path / "out").write_bytes(b"the old file")
    with repository.gateway() as gateway:
        for way in ({"server": gateway.url}, {"config": repository.config}):
            rsb("get", "box/long", tmp_path / "out", expect=UNREADABLE, **way)
            assert (tmp_path / "out").read_bytes() == b"the old file"
            assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "repository"]


# ── the gateway's own ────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_key_in_the_address_or_the_environment(local):
    repository = local()
    key = '[gateway]\nauth = "required"\n\n[[gateway.keys]]\nid = "reader"\nsecret = "se/cr:et"\n'
    repository.config.write_text(repository.config.read_text().replace("[gateway]", key))

    def ways(url, secret):
        yield {"server": url.replace("http://", f"http://reader:{urllib.parse.quote(secret, safe='')}@")}
        yield {"server": url, "env": {"RSB_KEY_ID": "reader", "RSB_KEY_SECRET": secret}}

    with repository.gateway() as gateway:
        for way in ways(gateway.url, "se/cr:et"):
            rsb("ls", expect=DONE, **way)
            done = rsb("mb", "box", expect=REFUSED, **way)
            assert "admin" in done.err and "se/cr" not in done.err and "se%2F" not in done.err
        for way in ways(gateway.url, "wrong-secret"):
            assert "wrong-secret" not in rsb("ls", expect=REFUSED, **way).err
        rsb("ls", server=gateway.url, expect=REFUSED)


def test_a_long_body_that_is_refused_tells_why(local, tmp_path):
    repository = local()
    with open(tmp_path / "long", "wb") as file:
        file.truncate(200 * MIB)  # Longer than what a gateway takes and throws away.
    with repository.gateway() as gateway:
        done = rsb("put", tmp_path / "long", "none/k", server=gateway.url, expect=NOT_FOUND)
        assert "none" in done.err
        done = rsb("put", tmp_path / "long", "box/k", "--data-shards", "99", server=gateway.url, expect=USAGE)
        assert "99" in done.err


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_read_that_is_stopped_leaves_no_file(local, tmp_path, how):
    repository = local()
    repository.rsb("mb", "box", expect=DONE)
    (tmp_path / "in").write_bytes(content(64 * MIB))
    repository.rsb("put", tmp_path / "in", "box/k", expect=DONE)
    (tmp_path / "out").mkdir()
    argv = [RSB, "--config", repository.config, "get", "box/k", tmp_path / "out" / "k"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment()) as running:
        while running.poll() is None and not list((tmp_path / "out").iterdir()):
            pass
        running.send_signal(how)
    # It may have been quicker than the signal.
    assert running.returncode in (DONE, 128 + how)
    assert [p.name for p in (tmp_path / "out").iterdir()] in ([], ["k"])


def test_what_is_no_gateway_is_said(tmp_path):
    with subprocess.Popen(["python3", "-m", "http.server", "--bind", "127.0.0.1", port := str(free_port())], cwd=tmp_path,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
        try:
            for _ in range(100):
                done = rsb("ls", server=f"http://127.0.0.1:{port}", expect=FAILED)
                if "cannot be reached" not in done.err:
                    break
            assert "RSBackup" in done.err and port in done.err, done
        finally:
            other.terminate()


def test_a_key_pair_is_made_once_and_told_once(local):
    repository = local()
    file = repository.root / "rsb.db.key"
    with repository.gateway() as gateway:
        key, secret = file.read_text().split()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert gateway.log.read_text().count(secret) == 1
        env = {"RSB_KEY_ID": key, "RSB_KEY_SECRET": secret}
        rsb("mb", "box", server=gateway.url, env=env, expect=DONE)
        rsb("ls", server=gateway.url, env={**env, "RSB_KEY_SECRET": "x"}, expect=REFUSED)
        rsb("ls", server=gateway.url, expect=DONE)
    with repository.gateway() as gateway:
        assert gateway.log.read_text().count(secret) == 1, "the second start does not tell it again"
        rsb("catalog", "verify", server=gateway.url, env=env, expect=DONE)


def test_reading_beside_a_gateway(local, tmp_path):
    repository = local()
    with repository.gateway() as gateway:
        rsb("mb", "box", server=gateway.url, expect=DONE)
        rsb("put", "-", "box/k", server=gateway.url, stdin=content(MIB), expect=DONE)
        assert repository.rsb("cat", "box/k", expect=DONE).out == content(MIB)
        assert repository.rsb("get", "box/k", "-", expect=DONE).out == content(MIB)
        for verb in (["stat", "box/k"], ["ls"], ["ls", "box"], ["ledger"], ["backend", "ls"]):
            repository.rsb(*verb, expect=DONE)
        for verb in (["put", "-", "box/x"], ["rm", "box/k"], ["mb", "other"], ["repair"], ["sweep"]):
            done = repository.rsb(*verb, expect=FAILED)
            assert str(gateway.process.pid) in done.err and "--server http://" in done.err, done


# ── the terminal ─────────────────────────────────────────────────────────────────────────────────────────────────────

def on_terminal(*arguments):
    """Runs rsb with a terminal as stderr; returns what was drawn there."""
    ours, theirs = pty.openpty()
    drawn = bytearray()

    def read():
        try:
            while more := os.read(ours, 65536):
                drawn.extend(more)
        except OSError:
            pass  # The terminal's other end is closed.

    running = subprocess.Popen([RSB, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
                               env={**environment(), "TERM": "xterm"})
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    assert running.wait(120) == DONE
    reader.join(10)
    os.close(ours)
    return bytes(drawn)


def test_progress_is_drawn_on_a_terminal_only(local, tmp_path):
    repository = local()
    repository.rsb("mb", "box", expect=DONE)
    (tmp_path / "large").write_bytes(content(24 * MIB))
    put = ("--config", repository.config, "put", tmp_path / "large", "box/large")
    assert b"box/large" in on_terminal(*put)
    with repository.gateway() as gateway:
        for way in (("--server", gateway.url), ("--config", repository.config)):
            assert b"box/large" in on_terminal(*way, "get", "box/large", tmp_path / "out")
        assert b"checking" in on_terminal("--server", gateway.url, "check", "--depth", "full")
    for verb, word in ((["check"], b"checking"), (["repair"], b"repairing"), (["drill"], b"drilling"),
                       (["catalog", "rebuild"], b"rebuilding")):
        assert word in on_terminal("--config", repository.config, *verb), verb
    for flag in ("--no-progress", "--json", "-q"):
        assert on_terminal(flag, *put) == b"", flag
    for verb in (["put", tmp_path / "large", "box/large"], ["get", "box/large", tmp_path / "out"], ["check", "--depth", "full"],
                 ["repair", "--depth", "full"], ["drill"], ["catalog", "rebuild"]):
        done = repository.rsb(*verb, expect=DONE)
        assert done.err == "", f"no progress on a pipe: {done}"


# ── configs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_a_first_config_of_addresses(tmp_path):
    places = [f"{name}={tmp_path / name}" for name in ("one", "two", "three")]
    flags = [word for place in places for word in ("--backend", place)]
    made = rsb("--json", "config", "init", *flags, "--name", "photos", "--codec", "cauchy", cwd=tmp_path, expect=DONE).json()
    assert made["config_written"] == "rsb.toml" and made["markers_written"] == ["one", "two", "three"]
    shown = rsb("--json", "config", "show", cwd=tmp_path, expect=DONE).json()
    assert (shown["repository"]["name"], shown["repository"]["codec"]) == ("photos", "cauchy")
    assert (shown["repository"]["data_shards"], shown["repository"]["parity_shards"]) == (2, 1)
    rsb("config", "check", cwd=tmp_path, expect=DONE)
    rsb("mb", "box", cwd=tmp_path, expect=DONE)
    before = tree(tmp_path)
    done = rsb("config", "init", *flags, cwd=tmp_path, expect=USAGE)
    assert "rsb.toml" in done.err and "not overwritten" in done.err
    assert_unchanged(before, tmp_path, within=0)
    again = rsb("--json", "config", "init", cwd=tmp_path, expect=DONE).json()
    assert again == {"config_written": None, "containers_made": [], "markers_written": []}


def test_what_heals_and_scrubs_and_may_cost_is_as_the_config_says(local):
    heal = {"every": "20s", "elsewhere_after": "2h", "requests_per_day": 500, "price_per_day": 1.5}
    repository = local(heal=heal)
    scrub = '[scrub]\nsample_every = "3d"\nfull_every = "0s"\nbytes_per_day = "2GiB"\n\n[gateway]'
    repository.config.write_text(repository.config.read_text().replace("[gateway]", scrub, 1))
    shown = repository.rsb("--json", "config", "show", expect=DONE).json()
    assert {key: shown["heal"][key] for key in heal} == heal
    assert shown["scrub"] == {"inventory_every": "1day", "sample_every": "3days", "full_every": "0s", "bytes_per_day": "2 GiB",
                              "requests_per_day": 100_000}


def test_a_first_config_without_addresses_and_in_another_place(tmp_path):
    rsb("config", "init", config=tmp_path / "own.toml", expect=DONE)
    assert "13" in rsb("config", "check", config=tmp_path / "own.toml", expect=DONE).text
    done = rsb("config", "init", "--data-shards", "2", "--parity-shards", "1", "--backend", "ftp://x", config=tmp_path / "bad.toml", expect=USAGE)
    assert "ftp" in done.err and not (tmp_path / "bad.toml").exists()


def test_nothing_is_made_where_another_repository_lives(tmp_path):
    for name in ("mine", "theirs"):
        (tmp_path / name).mkdir()
    flags = [word for i in range(3) for word in ("--backend", f"b{i}={tmp_path}/theirs/{i}")]
    rsb("config", "init", *flags, cwd=tmp_path / "theirs", expect=DONE)
    (tmp_path / "mine" / "file-in-the-way").write_text("x")
    own = [word for i in range(2) for word in ("--backend", f"own{i}={tmp_path}/mine/{i}")]
    rsb("config", "init", *own, "--data-shards", "1", "--parity-shards", "1", cwd=tmp_path / "mine", expect=DONE)
    config = tmp_path / "mine" / "rsb.toml"
    config.write_text(config.read_text() + f'\n[[backend]]\nname = "b0"\nurl = "file://{tmp_path}/theirs/0"\n'
                      f'\n[[backend]]\nname = "new"\nurl = "file://{tmp_path}/mine/new"\n'
                      f'\n[[backend]]\nname = "blocked"\nurl = "file://{tmp_path}/mine/file-in-the-way"\n')
    before = tree(tmp_path)
    done = rsb("config", "init", config=config, expect=USAGE)
    assert '"b0"' in done.err and '"blocked"' in done.err, "every problem at once"
    assert_unchanged(before, tmp_path, within=0)
    assert not (tmp_path / "mine" / "new").exists()


def test_check_names_every_backend_with_its_reason(local, tmp_path):
    repository = local()
    shutil.rmtree(repository.folders[0])
    (repository.folders[1] / "rsb.json").unlink()
    (repository.folders[2] / "rsb.json").write_text("{}")
    before = tree(*repository.folders)
    done = repository.rsb("config", "check", expect=USAGE)
    assert all(name in done.err for name in ("a-0", "a-1", "b-0")) and "c-0" not in done.err, done
    assert "does not exist" in done.err and "no marker" in done.err
    assert_unchanged(before, *repository.folders, within=0)
    assert not repository.folders[0].exists()


def test_checking_the_built_in_config_makes_nothing(tmp_path):
    done = rsb("--json", "config", "check", cwd=tmp_path, env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}, expect=DONE)
    assert done.json()["good"] and not done.json()["set_up"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", [["ls"], ["stat", "box/k"], ["check"], ["sweep"]])
def test_looking_where_nothing_is_makes_nothing(tmp_path, verb):
    done = rsb(*verb, cwd=tmp_path, env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}, expect=USAGE)
    assert "config init" in done.err and list(tmp_path.iterdir()) == []


def test_refused_credentials_alone_end_with_six(tmp_path):
    folders = {"p": tmp_path / "p", "q": tmp_path / "q", "r": tmp_path / "r"}
    from harness import Backend
    config = write_config(tmp_path / "rsb.toml", [Backend(n, f"file://{p}", n) for n, p in folders.items()], 2, 1)
    rsb("config", "init", config=config, expect=DONE)
    if os.geteuid() == 0:
        pytest.skip("the superuser is refused nothing")
    folders["p"].chmod(0)
    try:
        assert "p" in rsb("config", "check", config=config, expect=REFUSED).err
    finally:
        folders["p"].chmod(0o755)


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────

def test_bench_codec(tmp_path):
    rows = rsb("--json", "bench", "codec", cwd=tmp_path, expect=DONE).lines()
    assert {row["codec"] for row in rows} == {"novelpoly", "cauchy"}
    assert all(row["encode_gb_s"] > 0 and row["decode_m_lost_gb_s"] > 0 and row["encode_to_memcpy"] > 0 for row in rows)
    assert "memcpy" in rsb("bench", "codec", cwd=tmp_path, expect=DONE).text
    assert list(tmp_path.iterdir()) == []


def test_bench_backends_leaves_nothing(local):
    repository = local()
    before = tree(*repository.folders)
    rows = repository.rsb("--json", "bench", "backends", expect=DONE).lines()
    assert [row["backend"] for row in rows] == [b.name for b in repository.backends]
    assert all(row["put_64k_ms"] > 0 and row["get_8m_mb_s"] > 0 for row in rows)
    assert_unchanged(before, *repository.folders, within=0)


def test_completions_and_help():
    for shell in ("bash", "zsh", "fish"):
        assert "rsb" in rsb("completions", shell, expect=DONE).text
    helped = rsb("--help", expect=DONE).text
    for word in ("put", "plan", "bench", "--server", "--no-progress", "Exit codes"):
        assert word in helped
    assert json.loads(rsb("--json", "config", "show", expect=DONE).out)["repository"]
