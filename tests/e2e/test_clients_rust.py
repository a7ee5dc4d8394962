"""The S3 door with Amazon's SDK for Rust: the suite of s3s. It makes and removes its own buckets."""

import json

import pytest

from support.tools import S3S_E2E

pytestmark = pytest.mark.servers

# AssumeRole is of another service of Amazon's, which is not served.
CASES = ("^Basic/", "^Advanced/(Multipart|Tagging|ListPagination|PresignedUrl)/")


def test_s3s_e2e(site, tmp_path):
    report = tmp_path / "report.json"
    filters = [argument for case in CASES for argument in ("--filter", case)]
    site.run(S3S_E2E, "--json", report, *filters, env={"AWS_ENDPOINT_URL": site.url, "NO_PROXY": "*"})
    suites = {suite["name"]: suite["fixtures"] for suite in json.loads(report.read_text())["suites"]}
    cases = [case for fixtures in suites.values() for fixture in fixtures for case in fixture["cases"]]
    assert len(cases) == 17 and all(case["passed"] and not case["ignored"] for case in cases)
