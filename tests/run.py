"""Runs every test of the project: see ./test, which calls this."""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent))

from support import servers, tools  # noqa: E402
from support.tools import ROOT, say  # noqa: E402

CARGO_RESULT = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;")
# With one test thread the line comes after the test's name.
CARGO_SKIPPED = re.compile(r"^(test \S+ \.\.\. )?skipped: ")


@dataclass
class Count:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __iadd__(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


class Failure(Exception):
    """A step that could not be done at all; counted as one failure."""


def step(title):
    say(f"── {title}")


@contextmanager
def child(argv, **options):
    """A child process with a process group of its own, which is ended when this run is interrupted."""
    process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield process
    except BaseException:
        for sent in (signal.SIGINT, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, sent)
                process.wait(10)
        raise


def cargo(*arguments):
    """Runs cargo with its own output; the build is the same one that `cargo test` uses."""
    with child(["cargo", *arguments]) as process:
        status = process.wait()
    if status != 0:
        raise Failure(f"`cargo {' '.join(arguments)}` ended with {status}")


def start_conformance_servers(folder):
    """The servers of the Rust conformance tests, and the environment variables that tell the tests of them.
    A server that was started is stopped at exit, also when a later one does not start."""
    s3, gcs, azurite, toxiproxy = started = [
        servers.Minio(folder / "s3"), servers.Minio(folder / "gcs"), servers.Azurite(folder / "azurite"),
        servers.Toxiproxy(folder / "toxiproxy")]
    for server in started:
        server.start()
    gcs.s3.make_bucket("gcs-test")
    gcs.s3.open_bucket("gcs-test")
    gcs.s3.make_bucket("gcs-closed")
    say(f"MinIO on {s3.address}, MinIO as Google Cloud Storage on {gcs.address}, Azurite on {azurite.address}, "
        f"toxiproxy on {toxiproxy.address}")
    variables = {
        "RSB_TEST_S3_ENDPOINT": s3.url,
        "RSB_TEST_S3_ACCESS_KEY": s3.access_key,
        "RSB_TEST_S3_SECRET_KEY": s3.secret_key,
        "RSB_TEST_AZURITE_ENDPOINT": azurite.url,
        "RSB_TEST_GCS_ENDPOINT": gcs.url,
        "RSB_TEST_TOXIPROXY": toxiproxy.url,
    }
    return started, variables


def run_cargo_tests(variables, expression, *scope):
    """`cargo test` for what `scope` says; its lines pass through and its results are summed."""
    argv = ["cargo", "test", *scope, "--no-fail-fast"]
    if expression and re.fullmatch(r"\w+", expression):
        argv.append(expression)
    count = Count()
    with child(argv, env={**os.environ, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
               errors="replace") as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if found := CARGO_RESULT.match(line):
                count += Count(*map(int, found.groups()))
            elif CARGO_SKIPPED.match(line):
                # Such a test counts itself as passed.
                count += Count(passed=-1, skipped=1)
        status = process.wait()
    if status != 0 and count.failed == 0:
        # It did not even come to a result: a build that fails, a test binary that dies.
        count.failed += 1
    return count


# DataFusion, parquet, Lance and slatedb on the library: a package of its own, which nobody else waits for.
ENGINES = ROOT / "rsb-core" / "engines" / "Cargo.toml"


def run_engines(protoc, expression):
    try:
        protoc.wait()
    except tools.ToolError as error:
        say(f"skipped: the engines on the library, because {error}")
        return Count(skipped=1)
    return run_cargo_tests({"PROTOC": str(tools.PROTOC)}, expression, "--manifest-path", str(ENGINES), "--locked")


# The same seeds each time, then fresh ones for as long as `--fresh` says.
FIXED_HISTORIES = 1000
SIMULATED = re.compile(r"^(\d+) histories from seed \d+ on, (\d+) failed$")


def run_simulation(fresh_seconds):
    """The deterministic simulation, with the example that `cargo test` has built; a history counts as a test."""
    program = ROOT / "target" / "debug" / "examples" / "simulate"
    fresh = random.SystemRandom().randrange(1 << 32, 1 << 62)
    runs = [["--histories", str(FIXED_HISTORIES), "--seed", "1", "--keep-going"]]
    if fresh_seconds:
        runs.append(["--seconds", str(fresh_seconds), "--seed", str(fresh)])
    count = Count()
    for arguments in runs:
        say(f"simulate {' '.join(arguments)}")
        found = None
        with child([str(program), *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout:
                print(line, end="", flush=True)
                found = SIMULATED.match(line) or found
            status = process.wait()
        if found:
            ran, failed = map(int, found.groups())
            count += Count(passed=ran - failed, failed=failed)
        if status != 0 and not (found and int(found[2])):
            count.failed += 1
    return count


# What shows how to use and extend the project as a library; each checks what it shows. `cargo test` has built them.
EXAMPLES = ("embed", "custom_backend", "custom_codec")


def run_examples():
    """Each example counts as a test."""
    count = Count()
    for name in EXAMPLES:
        say(f"example {name}")
        with child([str(ROOT / "target" / "debug" / "examples" / name)]) as process:
            good = process.wait() == 0
        count += Count(passed=int(good), failed=int(not good))
    return count


def run_pytest(expression, extra, quick):
    """The end-to-end tests, with the built binary; when `quick` only those that need no server."""
    with tempfile.TemporaryDirectory(prefix="rsb-pytest-") as scratch:
        report = Path(scratch) / "report.xml"
        argv = [str(tools.PYTHON), "-m", "pytest", "tests/e2e", "-q", "-ra", "--tb=short", "--durations=5",
                "-p", "no:cacheprovider", f"--junitxml={report}", f"--basetemp={scratch}/files", *extra]
        if expression:
            argv += ["-k", expression]
        if quick:
            argv += ["-m", "not servers"]
        with child(argv, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}) as process:
            status = process.wait()
        return count_pytest(report, status, expression)


def count_pytest(report, status, expression):
    nothing_matched = 5
    if status == nothing_matched and expression:
        return Count()
    if not report.exists():
        return Count(failed=1)
    suite = next(ET.parse(report).getroot().iter("testsuite"))
    total, failures, errors, skipped = (int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped"))
    failed = failures + errors
    return Count(total - failed - skipped, failed if failed or status == 0 else 1, skipped)


def run(options):
    pytest = tools.Installation(["pytest", "prototype"])
    servers_and_clients = ["minio", "toxiproxy", "azurite", "clients", "restic", "s3s-e2e"]
    installation = tools.Installation([] if options.quick else servers_and_clients)
    protoc = tools.Installation([] if options.quick or options.e2e else ["protoc"])
    step("build")
    # One graph for all: a `cargo build` beside it would compile most dependencies a second time, with other features. The
    # end-to-end tests' `rsb` is made with it, because rsb-cli has an integration test.
    cargo("test", "--workspace", "--no-run")
    count = Count()
    try:
        installation.wait()
    except tools.ToolError as error:
        # Said aloud and counted; what needs no server still runs.
        say(f"skipped: all tests on real servers, because {error}")
        options.quick, count.skipped = True, 1
    if not options.e2e:
        count += run_rust_part(options)
        if not options.quick:
            step("engines")
            count += run_engines(protoc, options.expression)
        if not options.expression or options.expression in "simulation":
            step("simulation")
            count += run_simulation(options.fresh)
        if not options.expression or options.expression in "examples":
            step("examples")
            count += run_examples()
    step("end-to-end tests")
    pytest.wait()
    count += run_pytest(options.expression, options.extra, options.quick)
    if options.quick:
        say("left out: the tests on real servers and the real engines on the library, because of --quick")
    return count


def run_rust_part(options):
    count, started, variables = Count(), [], {}
    scratch = Path(tempfile.mkdtemp(prefix="rsb-servers-"))
    try:
        if not options.quick:
            step("servers for the conformance tests")
            started, variables = start_conformance_servers(scratch)
        step("cargo test")
        count += run_cargo_tests(variables, options.expression, "--workspace")
    finally:
        for server in started:
            server.stop()
        shutil.rmtree(scratch, ignore_errors=True)
    return count


def parse_arguments():
    parser = argparse.ArgumentParser(prog="./test", description="Installs, builds, starts servers, runs every test, counts.")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="only what needs no server, and no engine that takes minutes to compile")
    which.add_argument("--e2e", action="store_true", help="only the end-to-end tests")
    parser.add_argument("-k", dest="expression", metavar="EXPR", help="only tests that match")
    parser.add_argument("--fresh", type=int, default=180, metavar="SECONDS",
                        help="the simulation goes on with fresh seeds for so long; 0: not (docs/reliability.md)")
    parser.add_argument("extra", nargs="*", help="further arguments for pytest, after --")
    return parser.parse_args()


def main():
    options = parse_arguments()
    # Servers are stopped at exit, so a polite end of the run must be an exit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    servers.keep_loopback_direct()
    start = time.monotonic()
    try:
        count = run(options)
    except (Failure, tools.ToolError, servers.ServerError) as error:
        say(f"failed: {error}")
        count = Count(failed=1)
    say(f"── the run took {time.monotonic() - start:.0f} s")
    say(str(count))
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
