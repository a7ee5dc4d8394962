"""Every file of config/ is parsed and started, on servers of this machine in place of the clouds it names."""

import os
import re
import shutil
import subprocess

import pytest

from harness import DONE, Gateway, object_path, rsb
from support.servers import AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Minio
from support.tools import ROOT

pytestmark = pytest.mark.servers

CONFIGS = sorted(p.name for p in (ROOT / "config").glob("*.toml"))
ENV = {"BACKUP_JOB_SECRET": "not-for-people", "AZ_ACCOUNT_KEY": AZURITE_KEY, "AZ2_ACCOUNT_KEY": AZURITE_KEY,
       **{f"STORE_{i}_{name}": value for i in (1, 2, 3)
          for name, value in (("ACCESS_KEY_ID", Minio.access_key), ("SECRET_ACCESS_KEY", Minio.secret_key))}}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    root = tmp_path_factory.mktemp("servers")
    started = [Minio(root / "s3").start(), Minio(root / "gcs").start(), Azurite(root / "azurite").start()]
    for bucket in ("example-rsb-1", "example-rsb-2"):
        started[1].s3.make_bucket(bucket)
        started[1].s3.open_bucket(bucket)
    yield started
    for server in started:
        server.stop()


def on_this_machine(text, minio, azurite):
    """The config with every address that leaves this machine, or is fixed, replaced by a server's."""
    s3 = f'endpoint = "{minio.url}", allow_http = true'
    text = re.sub(r'endpoint = "https?://(store-\d\.example\.org|127\.0\.0\.1):9000"(, region = "[^"]*")(, allow_http = true)?',
                  rf'{s3}\2', text)
    text = text.replace("minioadmin", "KEY").replace('access_key_id = "KEY"', f'access_key_id = "{minio.access_key}"')
    text = text.replace('secret_access_key = "KEY"', f'secret_access_key = "{minio.secret_key}"')
    text = re.sub(r'options = \{ region = "([^"]*)" \}', rf'options = {{ region = "us-east-1", {s3} }}', text)
    text = re.sub(r'endpoint = "http://127\.0\.0\.1:10000/', f'endpoint = "{azurite.url}/', text)
    text = re.sub(r'options = \{ account_name = "examplersb\d" \}',
                  f'options = {{ account_name = "{AZURITE_ACCOUNT}", endpoint = "{azurite.endpoint}", allow_http = true }}', text)
    # On one server a bucket's name must tell the hosts apart.
    parts = re.split(r"(?=\[\[backend\]\])", text)
    for i, part in enumerate(parts):
        if host := re.search(r'host = "(store-\d)"', part):
            parts[i] = re.sub(r's3://rsb-(\d)', rf's3://{host[1]}-rsb-\1', part)
    return "".join(parts)


def prepare(root, name, servers):
    minio, gcs, azurite = servers
    config = root / name
    config.write_text(on_this_machine((ROOT / "config" / name).read_text(), minio, azurite))
    gcs.gcs_service_account(root / "google.json")
    (root / "operator.secret").write_text("of-the-operator\n")
    (root / "credentials").write_text(
        f"[backup]\naws_access_key_id = {minio.access_key}\naws_secret_access_key = {minio.secret_key}\n")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", root / "gateway.key", "-out", root / "gateway.crt"], check=True, capture_output=True)
    return config, {**ENV, "AWS_SHARED_CREDENTIALS_FILE": str(root / "credentials"), "AWS_CONFIG_FILE": os.devnull}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_set_up_proven_and_started(tmp_path, servers, name):
    config, env = prepare(tmp_path, name, servers)
    rsb("config", "init", config=config, env=env, cwd=tmp_path, expect=DONE)
    rsb("config", "check", config=config, env=env, cwd=tmp_path, expect=DONE)
    shown = rsb("config", "show", config=config, env=env, cwd=tmp_path, expect=DONE)
    for secret in (AZURITE_KEY, Minio.secret_key, "not-for-people", "of-the-operator"):
        assert secret not in shown.text + shown.err
    gateway = Gateway(config, tmp_path / "serve.log", env=env)
    if "tls =" in config.read_text():
        serve_with_tls(gateway, tmp_path)
        return
    with gateway.start(cwd=tmp_path):
        assert gateway.request("PUT", "/v1/b/photos").status == 201
        assert gateway.request("PUT", object_path("photos", "k"), b"x" * 300_000).status == 201
        assert gateway.request("GET", object_path("photos", "k")).body == b"x" * 300_000


def serve_with_tls(gateway, root):
    assert shutil.which("curl"), "curl is what speaks TLS here"
    gateway.spawn(cwd=root)
    url = f"https://{gateway.address}"
    try:
        curl = ["curl", "-sk", "--noproxy", "*", "--retry", "60", "--retry-delay", "1", "--retry-all-errors", "--max-time", "30"]
        ready = subprocess.run([*curl, "-f", f"{url}/health/ready"], capture_output=True, timeout=120)
        assert ready.returncode == 0, gateway.words()
        status = [*curl, "-o", os.devnull, "-w", "%{http_code}"]

        def code(*arguments):
            return subprocess.run([*status, *arguments], capture_output=True, text=True, timeout=60).stdout

        assert code(f"{url}/v1/b") == "401", "closed without credentials"
        assert code("-u", "backup-job:wrong", f"{url}/v1/b") == "401"
        assert code("-u", "operator:of-the-operator", "-X", "PUT", f"{url}/v1/b/photos") == "201"
        assert code("-u", "backup-job:not-for-people", "--data-binary", "@" + str(root / "gateway.crt"), "-X", "PUT",
                    f"{url}/v1/b/photos/o/k") == "201"
        assert code("-u", "backup-job:not-for-people", "-X", "DELETE", f"{url}/v1/b/photos/o/k") == "403", "it may not delete"
    finally:
        gateway.__exit__()
