"""`rsb import prototype`: folders made with the prototype's own library, damaged in every way, straight on the backends and
through a gateway. The folder is the same afterwards."""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import (DONE, FAILED, KIB, MIB, NOT_FOUND, RSB, SHORT, UNREADABLE, USAGE, content, digest, environment,
                     file_digest, flip_bit, tree)
from support.tools import PROTOTYPE
from test_cli import fresh  # noqa: F401: a fixture


class Old:
    """A folder of the prototype's."""

    def __init__(self, root):
        if not PROTOTYPE.exists():
            pytest.skip("the maker of the prototype's folders is not installed (it takes Go)")
        self.root = root
        self.contents = {}
        root.mkdir()

    def add(self, name, data, k=10, m=3):
        (self.root / name).write_bytes(data)
        subprocess.run([PROTOTYPE, str(k), str(m), self.root / name], check=True)
        self.contents[name] = data

    def parity(self, name, number):
        return self.root / f"{name}.parity.{number}"

    def md(self, name):
        return self.root / f"{name}.md"

    def damage(self, name, k, m, shards, rng):
        """Damages these shards, each in one of the ways."""
        run = -(-len(self.contents[name]) // k)
        for shard in shards:
            if shard < k:
                first, end = run * shard, min(run * (shard + 1), len(self.contents[name]))
                flip_bit(self.root / name, rng.randrange(first, end))
                continue
            parity = self.parity(name, shard - k + 1)
            match rng.randrange(3):
                case 0:
                    flip_bit(parity, rng.randrange(run))
                case 1:
                    os.truncate(parity, rng.randrange(run))
                case 2:
                    parity.unlink()


@pytest.fixture
def old(tmp_path):
    return Old(tmp_path / "old")


def states(result):
    return {line["key"]: line["state"] for line in result.lines()[:-1]}


def assert_imported(door, old, names=None, bucket="box"):
    for name in old.contents if names is None else names:
        assert door("cat", f"{bucket}/{name}", expect=DONE).out == old.contents[name], name


def test_a_whole_folder_comes_in_and_a_second_run_passes_it_over(fresh, old):
    sizes = {"a": 808, "one byte": 1, "some": 11, "ü ñ 日本.txt": 100 * KIB + 3, "big": 9 * MIB + 1, "weird#?%41&=+\"'": 5000}
    for name, size in sizes.items():
        old.add(name, content(size, name))
    old.add("empty", b"")
    old.add("two and one", content(808, "t"), 2, 1)
    old.add("wide", content(70_000, "w"), 200, 56)
    before = tree(old.root)
    done = fresh("--json", "import", "prototype", old.root, "box", expect=DONE)
    assert states(done) == {name: "imported" for name in old.contents}
    assert all(line["damage"] == [] and line["short"] == 0 for line in done.lines()[:-1])
    summary = done.lines()[-1]
    assert (summary["imported"], summary["already"], summary["left_out"]) == (9, 0, [])
    assert summary["bytes"] == sum(map(len, old.contents.values()))
    assert_imported(fresh, old)
    facts = fresh("--json", "stat", "box/a", expect=DONE).json()
    assert facts["metadata"]["prototype-md-sha256"] == file_digest(old.md("a"))
    assert facts["metadata"]["prototype-modified"].endswith("Z")
    assert (facts["data_shards"], facts["parity_shards"]) == (4, 2), "the repository's own scheme"
    again = fresh("--json", "import", "prototype", old.root, "box", expect=DONE)
    assert states(again) == {name: "already" for name in old.contents}
    assert fresh("--json", "stat", "box/a", expect=DONE).json() == facts
    assert tree(old.root) == before
    text = fresh("import", "prototype", old.root, "box/archive/2020", expect=DONE)
    assert "box/archive/2020/a" in text.text and "9 objects imported" in text.err
    assert_imported(fresh, old, bucket="box/archive/2020")


@pytest.mark.parametrize("k,m", [(10, 3), (2, 1), (1, 3), (3, 5)])
def test_what_may_be_lost_is_healed_and_more_is_said(fresh, old, k, m):
    """Of each file another number of shards is damaged, 0 … m+1, one of them data for sure."""
    rng = random.Random(f"{k}+{m}")
    for lost in range(m + 2):
        for turn in range(3):
            name = f"lost {lost} {turn}"
            size = rng.choice([k * 3, 10_007, 300 * KIB + turn])
            old.add(name, content(size, name), k, m)
            others = rng.sample(range(k + m), k + m)
            data = rng.randrange(k)
            shards = [data, *(shard for shard in others if shard != data)][:lost]
            old.damage(name, k, m, shards, rng)
    before = tree(old.root)
    done = fresh("--json", "import", "prototype", old.root, "box", expect=UNREADABLE)
    kinds = {"healed": [], "imported": [], "beyond-repair": []}
    for line in done.lines()[:-1]:
        lost = int(line["key"].split()[1])
        wanted = "imported" if lost == 0 else "healed" if lost <= m else "beyond-repair"
        assert line["state"] == wanted and len(line["damage"]) == lost, line
        kinds[wanted].append(line["key"])
    summary = done.lines()[-1]
    assert (summary["imported"], summary["healed"], summary["beyond_repair"]) == (3, 3 * m, 3)
    assert_imported(fresh, old, kinds["healed"] + kinds["imported"])
    for name in kinds["beyond-repair"]:
        fresh("stat", f"box/{name}", expect=NOT_FOUND)
        assert name in done.err
    assert tree(old.root) == before
    # What was beyond repair is tried again, and comes in when somebody finds its parts.
    for name in kinds["beyond-repair"]:
        (old.root / name).write_bytes(old.contents[name])
    again = fresh("--json", "import", "prototype", old.root, "box", expect=DONE)
    assert sum(state == "already" for state in states(again).values()) == 3 + 3 * m
    assert_imported(fresh, old)


def test_truncated_and_missing_data_and_wrong_digests(fresh, old):
    for name in ("short", "shorter", "longer", "gone", "digest", "liar", "only parity"):
        old.add(name, content(50_000, name), *((1, 3) if name == "only parity" else (10, 3)))
    os.truncate(old.root / "short", 36_000)
    os.truncate(old.root / "shorter", 29_000)
    with open(old.root / "longer", "ab") as file:
        file.write(b"\0" * 7)
    (old.root / "gone").unlink()
    (old.root / "only parity").unlink()
    for name in ("digest", "liar"):
        md = json.loads(old.md(name).read_text())
        md["Hashes"][4] = digest(b"something else")
        old.md(name).write_text(json.dumps(md))
    flip_bit(old.root / "liar", 20_001)
    before = tree(old.root)
    done = fresh("--json", "import", "prototype", old.root, "box", expect=UNREADABLE)
    assert states(done) == {"short": "healed", "shorter": "beyond-repair", "longer": "imported", "gone": "beyond-repair",
                            "digest": "healed", "liar": "beyond-repair", "only parity": "healed"}
    by_name = {line["key"]: line for line in done.lines()[:-1]}
    assert by_name["gone"]["damage"] == [{"part": "data", "why": "it is missing"}]
    assert by_name["digest"]["damage"][0]["part"] == "data run 5 of 10"
    assert_imported(fresh, old, ["short", "longer", "digest", "only parity"])
    assert tree(old.root) == before


def test_a_missing_or_torn_md_and_what_is_not_the_prototypes(fresh, old):
    old.add("good", content(1000))
    old.add("notes.md", b"# a person's own, stored\n" * 10)
    old.add("lost md", content(1000, "l"))
    old.md("lost md").unlink()
    old.add("torn md", content(1000, "t"))
    os.truncate(old.md("torn md"), 100)
    (old.root / "README.md").write_text("not the prototype's")
    (old.root / "folder").mkdir()
    (old.root / "link").symlink_to(old.root / "good")
    before = tree(old.root)
    done = fresh("--json", "import", "prototype", old.root, "box", expect=UNREADABLE)
    assert states(done) == {"good": "imported", "notes.md": "imported", "lost md": "beyond-repair", "torn md": "beyond-repair"}
    assert sorted(done.lines()[-1]["left_out"]) == ["README.md", "folder", "link"]
    assert "no .md" in done.err and "is damaged" in done.err and "rsb put" in done.err
    assert_imported(fresh, old, ["good", "notes.md"])
    assert tree(old.root) == before
    told = fresh("-q", "import", "prototype", old.root, "box", expect=UNREADABLE)
    assert "README.md" in told.err and told.out == b""


def test_names_that_are_no_keys_do_not_stop_the_others(fresh, old):
    old.add("good", content(1000))
    bad = old.root / os.fsdecode(b"not-\xff-utf8")
    bad.write_bytes(b"x" * 100)
    subprocess.run([PROTOTYPE, "2", "1", bad], check=True)
    done = fresh("import", "prototype", old.root, "box", expect=UNREADABLE)
    assert "UTF-8" in done.err
    assert_imported(fresh, old)


def test_what_changed_is_imported_again_and_what_is_anothers_is_left(fresh, old):
    old.add("changed", content(1000, 1))
    old.add("taken", content(1000, 2))
    fresh.put("taken", b"somebody else's")
    done = fresh("--json", "import", "prototype", old.root, "box", expect=FAILED)
    assert states(done) == {"changed": "imported", "taken": "failed"} and "box/taken" in done.err
    assert fresh("cat", "box/taken", expect=DONE).out == b"somebody else's"
    for file in old.root.glob("changed*"):
        file.unlink()
    old.add("changed", content(2000, 3))
    fresh("rm", "box/taken", expect=DONE)
    done = fresh("--json", "import", "prototype", old.root, "box", expect=DONE)
    assert states(done) == {"changed": "imported", "taken": "imported"}
    assert_imported(fresh, old)


def test_a_dry_run_reads_everything_and_writes_nothing(fresh, old):
    rng = random.Random(1)
    for lost in range(5):
        old.add(f"lost {lost}", content(20_000, lost))
        old.damage(f"lost {lost}", 10, 3, range(lost), rng)
    stored = tree(*fresh.repository.folders)
    dry = fresh("--json", "import", "prototype", old.root, "box", "--dry-run", expect=UNREADABLE)
    assert dry.lines()[-1]["dry_run"] and list(states(dry).values()).count("healed") == 3
    assert fresh("ls", "box", expect=DONE).out == b"" and tree(*fresh.repository.folders) == stored
    wet = fresh("--json", "import", "prototype", old.root, "box", expect=UNREADABLE)
    assert states(wet) == states(dry)
    assert "can be" in fresh("import", "prototype", old.root, "box/x", "--dry-run", expect=UNREADABLE).text


def test_wrong_uses(fresh, old, tmp_path):
    old.add("good", content(1000))
    assert "none" in fresh("import", "prototype", old.root, "none", expect=NOT_FOUND).err
    fresh("import", "prototype", tmp_path / "missing", "box", expect=FAILED)
    fresh("import", "prototype", old.root / "good", "box", expect=FAILED)
    fresh("import", "prototype", old.root, "ab/../c", expect=USAGE)
    (tmp_path / "nothing").mkdir()
    assert "nothing" in fresh("import", "prototype", tmp_path / "nothing", "box", expect=NOT_FOUND).err


def test_a_backend_that_is_away_shows_in_the_exit_code(fresh, old):
    old.add("good", content(MIB))
    gone = fresh.repository.folders[0]
    gone.rename(gone.with_name("aside"))
    done = fresh("--json", "import", "prototype", old.root, "box", expect=SHORT)
    assert done.lines()[0]["short"] > 0
    assert_imported(fresh, old)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_interrupted_it_goes_on_where_it_was(fresh, old, how):
    for number in range(24):
        old.add(f"{number:02}", content(2 * MIB, number))
    rng = random.Random(3)
    for number in range(0, 24, 3):
        old.damage(f"{number:02}", 10, 3, rng.sample(range(13), 3), rng)
    before = tree(old.root)
    way = ["--server", fresh.gateway.url] if fresh.gateway else ["--config", str(fresh.repository.config)]
    argv = [RSB, *way, "--json", "import", "prototype", old.root, "box"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment()) as running:
        first = [json.loads(running.stdout.readline())["key"] for _ in range(3)]
        running.send_signal(how)
        running.wait()
    done = fresh("--json", "import", "prototype", old.root, "box", expect=DONE)
    found = states(done)
    assert set(found) == set(old.contents) and all(found[name] == "already" for name in first), found
    assert any(state != "already" for state in found.values()), "it was over before it was interrupted"
    assert_imported(fresh, old)
    assert tree(old.root) == before


def peak_memory(pid):
    """The most memory that a process has had since it runs its program, as far as it still runs."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found[1]) * KIB if found else 0


def test_a_large_file_is_healed_in_little_memory(old, local):
    repository = local(gateway={"memory_limit": "64 MiB"})
    repository.rsb("mb", "box", expect=DONE)
    size = 400 * MIB + 12345
    block = content(MIB, "large")
    with open(old.root / "large", "wb") as file:
        for number in range(400):
            file.write(number.to_bytes(4) + block[4:])
        file.write(block[:12345])
    subprocess.run([PROTOTYPE, "10", "3", old.root / "large"], check=True)
    wanted = file_digest(old.root / "large")
    for offset in (5, 200 * MIB, size - 1):
        with open(old.root / "large", "r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ 1]))
    argv = [RSB, "--config", repository.config, "--json", "import", "prototype", old.root, "box"]
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environment())
    most = 0
    while running.poll() is None:
        # Not what the system says when it has ended: that counts the memory of this process, which it was forked from.
        most = max(most, peak_memory(running.pid))
        time.sleep(0.02)
    out = running.stdout.read()
    assert running.returncode == DONE and json.loads(out.splitlines()[0])["state"] == "healed"
    assert 0 < most < 250 * MIB, f"{most} bytes of memory for a file of {size} bytes"
    repository.rsb("get", "box/large", old.root.parent / "back", expect=DONE)
    assert file_digest(old.root.parent / "back") == wanted
