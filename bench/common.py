"""What the bench scripts share: the release build of `rsb`, and the servers and gateways of the tests."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
GIVEN = "RSB_BIN" in os.environ
os.environ.setdefault("RSB_BIN", str(TARGET / "release" / "rsb"))
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "e2e")]

from support import servers, tools  # noqa: E402

servers.keep_loopback_direct()


def build():
    """The release build, unless RSB_BIN names a binary."""
    if GIVEN:
        return
    subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "rsb-cli"], cwd=ROOT, check=True)


def install(*names):
    tools.CACHE.mkdir(exist_ok=True)
    tools.Installation(list(names)).wait()
