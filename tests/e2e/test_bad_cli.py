"""Bad command lines: each ends with the documented exit code and a sentence on stderr; nothing is written."""

import json

import pytest

from harness import (DONE, FAILED, NOT_FOUND, USAGE, assert_unchanged, free_port, rsb, tree)

KEY_1025 = "box/" + "k" * 1025
# Arguments (FILE stands for a file that is there), exit codes that may come, words of the sentence.
CASES = {
    "no verb": ([], {USAGE}, []),
    "an unknown verb": (["putt", "FILE", "box/k"], {USAGE}, ["putt"]),
    "an unknown flag": (["ls", "--al"], {USAGE}, ["--al"]),
    "put without a target": (["put", "FILE"], {USAGE}, []),
    "put of no file": (["put", "none.txt", "box/k"], {FAILED, NOT_FOUND, USAGE}, ["none.txt"]),
    "put of a folder": (["put", ".", "box/k"], {FAILED, USAGE}, ["-r"]),
    "put to no bucket": (["put", "FILE", "none/k"], {NOT_FOUND}, ["none"]),
    "put to a bucket without a key that climbs": (["put", "FILE", "box/.."], {FAILED, USAGE}, [".."]),
    "put to a key that climbs": (["put", "FILE", "box/x/../y"], {FAILED, USAGE}, [".."]),
    "put to a key of 1,025 bytes": (["put", "FILE", KEY_1025], {FAILED, USAGE}, ["1024"]),
    "put to a key that is not UTF-8": (["put", "FILE", b"box/\xff\xfe"], {FAILED, USAGE}, []),
    "put with no data shards": (["put", "FILE", "box/k", "--data-shards", "0"], {FAILED, USAGE}, []),
    "put with shards that are words": (["put", "FILE", "box/k", "--data-shards", "ten"], {USAGE}, ["ten"]),
    "put with more shards than backends": (["put", "FILE", "box/k", "--data-shards", "9"], {FAILED, USAGE}, ["11"]),
    "put with more than 256 shards": (["put", "FILE", "box/k", "--data-shards", "256"], {FAILED, USAGE}, ["256"]),
    "get of nothing": (["get", "box/none", "OUT"], {NOT_FOUND}, ["none"]),
    "get from no bucket": (["get", "none/k", "OUT"], {NOT_FOUND}, ["none"]),
    "get into a folder that is not there": (["get", "box/good", "nowhere/out"], {FAILED, USAGE, NOT_FOUND}, ["nowhere"]),
    "cat of nothing": (["cat", "box/none"], {NOT_FOUND}, ["none"]),
    "stat of nothing": (["stat", "box/none"], {NOT_FOUND}, ["none"]),
    "stat of no bucket": (["stat", "none/k"], {NOT_FOUND}, ["none"]),
    "ls of no bucket": (["ls", "none"], {NOT_FOUND}, ["none"]),
    "rm of nothing": (["rm", "box/none"], {NOT_FOUND}, ["none"]),
    "rm of a bucket's name": (["rm", "box"], {USAGE, FAILED}, []),
    "cp of nothing": (["cp", "box/none", "box/k"], {NOT_FOUND}, ["none"]),
    "cp to no bucket": (["cp", "box/good", "none/k"], {NOT_FOUND}, ["none"]),
    "mv of nothing": (["mv", "box/none", "box/k"], {NOT_FOUND}, ["none"]),
    "mb of what is there": (["mb", "box"], {FAILED}, ["box"]),
    "mb of an impossible name": (["mb", ".."], {FAILED, USAGE}, []),
    "mb of a name with a slash": (["mb", "a/b"], {FAILED, USAGE}, []),
    "rb of nothing": (["rb", "none"], {NOT_FOUND}, ["none"]),
    "rb of a full bucket": (["rb", "box"], {FAILED}, ["box"]),
    "check of unknown depth": (["check", "--depth", "deep"], {USAGE}, ["deep"]),
    "check of no bucket": (["check", "none"], {NOT_FOUND}, ["none"]),
    "drill of no domain": (["drill", "--domain", "provider=none"], {FAILED, USAGE, NOT_FOUND}, ["none"]),
    "completions for no shell": (["completions", "fishy"], {USAGE}, ["fishy"]),
    "a plan of nothing": (["plan", "heal"], {USAGE}, ["heal"]),
    "a catalog verb that is none": (["catalog", "burn"], {USAGE}, ["burn"]),
}


def prepare(arguments, root):
    (root / "file").write_text("some bytes")
    places = {"FILE": root / "file", "OUT": root / "out"}
    return [places.get(a, a) if isinstance(a, str) else a for a in arguments]


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    from conftest import LocalRepository
    made = LocalRepository(tmp_path_factory.mktemp("cli"))
    made.rsb("mb", "box", expect=DONE)
    made.rsb("put", "-", "box/good", stdin=b"good", expect=DONE)
    made.before = tree(*made.folders)
    return made


@pytest.mark.parametrize("case", CASES)
def test_refused(repository, tmp_path, case):
    arguments, codes, words = CASES[case]
    done = repository.rsb(*prepare(arguments, tmp_path), cwd=tmp_path, expect=codes)
    assert done.err.strip(), f"no sentence: {done}"
    for word in words:
        assert word in done.err, f"{word!r} is not named: {done}"
    assert "panicked" not in done.err and done.out == b"", done
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"], "no half file is left behind"
    assert_unchanged(repository.before, *repository.folders)


@pytest.mark.parametrize("case", ["get of nothing", "ls of no bucket", "put to no bucket", "check of no bucket", "rb of a full bucket"])
def test_refused_in_json(repository, tmp_path, case):
    arguments, codes, _ = CASES[case]
    done = repository.rsb("--json", *prepare(arguments, tmp_path), cwd=tmp_path, expect=codes)
    assert done.out == b"", f"only results belong on stdout: {done}"
    assert isinstance(json.loads(done.err.strip().splitlines()[-1]), dict), done


@pytest.mark.parametrize("case", [c for c, (_, codes, _) in CASES.items() if codes != {USAGE} and c != "put of no file"])
def test_refused_through_a_gateway_too(repository, tmp_path, served, case):
    arguments, codes, words = CASES[case]
    done = rsb(*prepare(arguments, tmp_path), server=served.url, cwd=tmp_path, expect=codes)
    for word in words:
        assert word in done.err, f"{word!r} is not named: {done}"
    assert "panicked" not in done.err and done.out == b"", done
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


@pytest.fixture(scope="module")
def served(repository):
    with repository.gateway() as gateway:
        yield gateway


def test_a_server_that_is_not_there(tmp_path):
    done = rsb("ls", server=f"http://127.0.0.1:{free_port()}", expect=FAILED)
    assert "127.0.0.1" in done.err and "panicked" not in done.err


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1", "http://"])
def test_a_server_address_that_is_none(address):
    done = rsb("ls", server=address, expect=USAGE)
    assert address in done.err or "--server" in done.err
