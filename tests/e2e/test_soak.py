"""A minute of bench/soak.py: a mixed load with random faults, after which nothing has grown and the ledger is empty."""

import os
import secrets
import sys

import pytest

from harness import RSB
from support.tools import ROOT

sys.path.insert(0, str(ROOT / "bench"))
# Not the release build that a bench would use.
os.environ.setdefault("RSB_BIN", str(RSB))

from soak import soak  # noqa: E402


@pytest.mark.servers
def test_a_minute_of_everything(tmp_path):
    seed = os.environ.get("E2E_SEED") or secrets.token_hex(4)
    print(f"\nseed: E2E_SEED={seed}")
    soak(tmp_path, 60, seed)
