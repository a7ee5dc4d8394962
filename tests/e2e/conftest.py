"""Fixtures of the end-to-end tests."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import RSB, Gateway, folders, rsb, write_config  # noqa: E402
from support.tools import ROOT  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "servers: needs MinIO, Azurite or toxiproxy")


def pytest_report_header():
    return f"rsb: {subprocess.run([RSB, '--version'], capture_output=True, text=True).stdout.strip() or 'not built'}"


class LocalRepository:
    """A repository on folders of one temporary folder, made and ready to serve."""

    def __init__(self, root, data=4, parity=2, providers=None, name="rsb.toml", gateway=None, **repository):
        self.root = root
        providers = providers or {"a": 2, "b": 2, "c": 2}
        self.backends = folders(root, providers)
        self.config = write_config(root / name, self.backends, data, parity, gateway, **repository)
        self.made = rsb("config", "init", config=self.config, expect=0)

    @property
    def folders(self):
        return [self.root / b.name for b in self.backends]

    def gateway(self, **keywords):
        return Gateway(self.config, self.root / "serve.log", **keywords)

    def rsb(self, *arguments, **keywords):
        return rsb(*arguments, config=self.config, **keywords)


@pytest.fixture
def local(tmp_path):
    """Makes repositories on folders: 4+2 over three providers unless told otherwise."""
    return lambda **keywords: LocalRepository(tmp_path, **keywords)


@pytest.fixture(scope="session")
def clock_shift(tmp_path_factory):
    """Environments in which the wall clock of a child is some seconds off."""
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    made = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, ROOT / "tests" / "support" / "clock.c"],
                          capture_output=True, text=True)
    if made.returncode != 0:
        pytest.fail(f"the shifted clock cannot be compiled (it takes a C compiler, as Rust's linker does): {made.stderr}")
    return lambda seconds: {"LD_PRELOAD": str(library), "TEST_CLOCK_OFFSET_S": str(seconds)}


@pytest.fixture(scope="session")
def whole_site(tmp_path_factory):
    """The gateway on backends of every kind that the clients of S3 share; at the end all that they wrote must be whole."""
    from clients import Site, without_settings_of_this_machine
    without_settings_of_this_machine()
    site = Site(tmp_path_factory.mktemp("site"))
    try:
        yield site
        site.prove_whole()
        assert site.gateway.stop() == 0
    finally:
        site.close()


@pytest.fixture(scope="session", params=["healthy", "degraded"])
def site(request, whole_site):
    """The same with every backend there, and then with as many stopped as may be lost."""
    whole_site.be(request.param)
    whole_site.state = request.param
    yield whole_site
    whole_site.be("healthy")
