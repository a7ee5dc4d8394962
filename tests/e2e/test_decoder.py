"""The format is readable without us: docs/reference_decoder.py brings objects back from shard files alone."""

import subprocess
import sys

import pytest

from harness import DONE, content, shard_files
from support.tools import ROOT

# Small sizes: pure Python hashes slowly.
DECODER = ROOT / "docs" / "reference_decoder.py"


def decode(out, files):
    return subprocess.run([sys.executable, DECODER, out, *files], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("codec", ["novelpoly", "cauchy"])
@pytest.mark.parametrize("size", [1_025, 50_007])
def test_any_k_shard_files_give_the_object_back(local, tmp_path, codec, size):
    repository = local(data=3, parity=2, providers={"a": 2, "bkt": 2, "c": 1}, codec=codec, block_size="4 KiB",
                       inline_limit="1 KiB")
    (tmp_path / "in").write_bytes(content(size, codec))
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", tmp_path / "in", "bkt/k", expect=DONE)
    files = [file for folder in repository.folders for file in shard_files(folder)]
    assert len(files) == 5
    by_index = {int(file.suffix[1:]): file for file in files}
    for lost in [(0, 1), (0, 4), (2, 3)]:
        out = tmp_path / "out"
        done = decode(out, [file for index, file in by_index.items() if index not in lost])
        assert done.returncode == 0, done.stderr
        assert out.read_bytes() == content(size, codec), f"without shards {lost}"


def test_too_few_shard_files_are_refused(local, tmp_path):
    repository = local(data=3, parity=2, providers={"a": 2, "bkt": 2, "c": 1})
    (tmp_path / "in").write_bytes(content(200_000))
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", tmp_path / "in", "bkt/k", expect=DONE)
    files = [file for folder in repository.folders for file in shard_files(folder)]
    done = decode(tmp_path / "out", files[:2])
    assert done.returncode != 0 and "it takes 3" in done.stderr
    assert not (tmp_path / "out").exists()


def test_segments_are_put_in_order(local, tmp_path):
    repository = local(data=2, parity=1, providers={"a": 1, "bkt": 1, "c": 1}, segment_size="64 KiB", block_size="16 KiB")
    (tmp_path / "in").write_bytes(content(150_000))
    repository.rsb("mb", "bkt", expect=DONE)
    repository.rsb("put", tmp_path / "in", "bkt/k", expect=DONE)
    files = [file for folder in repository.folders[1:] for file in shard_files(folder)]
    assert len(files) == 2 * 3, "three segments"
    done = decode(tmp_path / "out", files)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out").read_bytes() == content(150_000)
