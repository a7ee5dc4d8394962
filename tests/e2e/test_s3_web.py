"""What browsers do with the S3 door: pages of other sites (CORS), uploads by forms, reads without a key."""

import functools
import hashlib
import http.server
import json
import re
import shutil
import subprocess
import threading

import pytest

from harness import HOST, KIB, MIB, Gateway, assert_unchanged, content, free_port, settled
from support.sigv4 import Connection, Signer, raw

KEY = {"id": "all", "secret": "secret-of-all", "rights": ["read", "write", "delete", "admin"]}
PAGE = "http://page.example"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


class Served:
    def __init__(self, repository):
        self.repository, self.address = repository, f"{HOST}:{free_port()}"
        self.gateway = Gateway(repository.config, repository.root / "serve.log", arguments=["--s3-listen", self.address])
        self.all = Signer(self.address, KEY["id"], KEY["secret"])

    def send(self, data, method="GET"):
        with Connection(self.address) as connection:
            return connection.send(data).reply(method)

    def ask(self, method, target, body=b"", extra=None, **keywords):
        return self.send(self.all.request(method, target, body, extra, **keywords), method)

    def open(self, method, target, headers=None):
        """Without a signature."""
        return self.send(raw(method, target, {"host": self.address, **(headers or {})}), method)

    def policy(self, bucket, *statements):
        made = [{"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resource} for action, resource in statements]
        return self.ask("PUT", f"/{bucket}?policy=", json.dumps({"Version": "2012-10-17", "Statement": made}).encode())

    def form(self, *arguments, headers=None, **keywords):
        target, own, body = self.all.form(*arguments, **keywords)
        return self.send(raw("POST", target, {**own, **(headers or {})}, body), "POST")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from conftest import LocalRepository
    repository = LocalRepository(tmp_path_factory.mktemp("web"))
    with open(repository.config, "a") as config:
        config.write("\n[[gateway.keys]]\n" + "\n".join(f"{name} = {json.dumps(value)}" for name, value in KEY.items()) + "\n")
    served = Served(repository)
    with served.gateway:
        yield served
        assert served.gateway.stop() == 0


@pytest.fixture
def bucket(served, request):
    name = "b-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]
    assert served.ask("PUT", f"/{name}").status == 200
    for key in ("pub/a", "pub/b", "secret"):
        assert served.ask("PUT", f"/{name}/{key}", key.encode()).status == 200
    return name


# ── bucket policies ──────────────────────────────────────────────────────────────────────────────────────────────────

def test_everybody_reads_what_a_policy_opens_and_nothing_else(served, bucket):
    arn = f"arn:aws:s3:::{bucket}"
    assert served.ask("GET", f"/{bucket}?policy=").code == "NoSuchBucketPolicy"
    assert served.ask("GET", f"/{bucket}?policyStatus=").code == "NoSuchBucketPolicy"
    assert served.open("GET", f"/{bucket}/pub/a").code == "AccessDenied"
    assert served.policy(bucket, ("s3:GetObject", f"{arn}/pub/*")).status == 204
    kept = json.loads(served.ask("GET", f"/{bucket}?policy=").body)
    assert kept["Statement"][0]["Resource"] == f"{arn}/pub/*"
    assert b"<IsPublic>true</IsPublic>" in served.ask("GET", f"/{bucket}?policyStatus=").body

    got = served.open("GET", f"/{bucket}/pub/a", {"range": "bytes=1-"})
    assert (got.status, got.body) == (206, b"ub/a")
    assert served.open("HEAD", f"/{bucket}/pub/a").status == 200
    for method, target in [("GET", f"/{bucket}/secret"), ("GET", f"/{bucket}/pub"), ("GET", f"/{bucket}?list-type=2"), ("GET", "/"),
                           ("PUT", f"/{bucket}/pub/a"), ("DELETE", f"/{bucket}/pub/a"), ("GET", f"/{bucket}?policy="),
                           ("GET", f"/{bucket}/pub/a?versionId=null"), ("GET", f"/{bucket}/pub/a?%76ersionId=null"), ("PUT", f"/{bucket}/pub/a?tagging="), ("POST", f"/{bucket}?delete="),
                           # Who may not list does not learn what is not there.
                           ("GET", f"/{bucket}/pub/none"), ("GET", "/no-such-bucket/pub/a")]:
        refused = served.open(method, target)
        assert (refused.status, refused.code) == (403, "AccessDenied"), (method, target, refused)
    assert served.open("HEAD", f"/{bucket}/secret").status == 403
    assert served.open("GET", f"/{bucket}/pub/a?response-content-type=text/html").code == "InvalidRequest"
    assert served.open("GET", f"/{bucket}/pub/a?%72esponse-content-type=text/html").code == "InvalidRequest"
    # A wrong signature is not as good as none.
    assert served.ask("GET", f"/{bucket}/pub/a", signature="0" * 64).code == "SignatureDoesNotMatch"

    assert served.policy(bucket, (["s3:GetObject", "s3:GetObjectVersion"], f"{arn}/*"), ("s3:ListBucket", arn)).status == 204
    listed = served.open("GET", f"/{bucket}?list-type=2&prefix=pub/")
    assert re.findall(rb"<Key>([^<]*)", listed.body) == [b"pub/a", b"pub/b"]
    assert served.open("GET", f"/{bucket}/none").code == "NoSuchKey"
    assert served.open("GET", f"/{bucket}/secret?versionId=null").body == b"secret"
    assert served.ask("DELETE", f"/{bucket}?policy=").status == 204
    assert served.open("GET", f"/{bucket}/pub/a").code == "AccessDenied"


# ── CORS ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

RULES = f"""<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<CORSRule><ID>app</ID><AllowedOrigin>{PAGE}</AllowedOrigin><AllowedOrigin>https://*.page.example</AllowedOrigin><AllowedMethod>GET</AllowedMethod>
<AllowedMethod>PUT</AllowedMethod><AllowedHeader>x-amz-*</AllowedHeader><AllowedHeader>Content-Type</AllowedHeader>
<AllowedHeader>authorization</AllowedHeader><ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-amz-version-id</ExposeHeader><MaxAgeSeconds>600</MaxAgeSeconds></CORSRule>
<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>HEAD</AllowedMethod></CORSRule></CORSConfiguration>""".encode()


@pytest.fixture
def cors(served, bucket):
    assert served.ask("PUT", f"/{bucket}?cors=", RULES).status == 200
    return bucket


def preflight(served, target, origin, method, headers=None):
    asked = {"origin": origin, "access-control-request-method": method}
    if headers:
        asked["access-control-request-headers"] = headers
    return served.open("OPTIONS", target, asked)


def test_cors_rules_are_kept(served, cors):
    text = served.ask("GET", f"/{cors}?cors=").body.decode()
    for part in ("<ID>app</ID>", "<AllowedOrigin>https://*.page.example</AllowedOrigin>", "<MaxAgeSeconds>600</MaxAgeSeconds>",
                 "<AllowedHeader>x-amz-*</AllowedHeader>", "<ExposeHeader>ETag</ExposeHeader>"):
        assert part in text, text
    assert served.ask("DELETE", f"/{cors}?cors=").status == 204
    assert served.ask("GET", f"/{cors}?cors=").code == "NoSuchCORSConfiguration"
    assert preflight(served, f"/{cors}/k", PAGE, "GET").code == "AccessForbidden"


def test_a_browser_that_asks_first(served, cors):
    said = preflight(served, f"/{cors}/k", PAGE, "PUT", "content-type, x-amz-date,X-Amz-Content-Sha256")
    assert said.status == 200, said
    assert said.headers["access-control-allow-origin"] == PAGE
    assert said.headers["access-control-allow-methods"] == "GET, PUT"
    assert said.headers["access-control-allow-headers"] == "content-type, x-amz-date, x-amz-content-sha256"
    assert said.headers["access-control-max-age"] == "600" and "Origin" in said.headers["vary"]
    assert preflight(served, f"/{cors}/k", "https://a.page.example", "GET").status == 200
    assert preflight(served, f"/{cors}/k", "http://anywhere", "HEAD").headers["access-control-allow-origin"] == "*"
    for origin, method, headers in [("http://evil.example", "PUT", None), (PAGE, "DELETE", None), (PAGE, "PUT", "x-odd"),
                                    ("https://page.example.evil", "GET", None), ("http://anywhere", "GET", None)]:
        refused = preflight(served, f"/{cors}/k", origin, method, headers)
        assert (refused.status, refused.code) == (403, "AccessForbidden"), (origin, method, headers)
        assert "access-control-allow-origin" not in refused.headers


def test_every_reply_to_a_page_says_what_it_may(served, cors):
    for method, target, body, status in [("PUT", f"/{cors}/new", b"x", 200), ("GET", f"/{cors}/new", b"", 200), ("GET", f"/{cors}/none", b"", 404)]:
        reply = served.ask(method, target, body, {"origin": PAGE})
        assert reply.status == status
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.headers["access-control-expose-headers"] == "ETag, x-amz-version-id"
        assert "Origin" in reply.headers["vary"]
    denied = served.open("GET", f"/{cors}/new", {"origin": PAGE})
    assert denied.status == 403 and denied.headers["access-control-allow-origin"] == PAGE
    other = served.ask("GET", f"/{cors}/new", b"", {"origin": "http://evil.example"})
    assert other.status == 200 and "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in served.ask("DELETE", f"/{cors}/new", b"", {"origin": PAGE}).headers


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("size", [0, 5, 300 * KIB, 3 * MIB + 1])
def test_a_form_uploads_a_file(served, bucket, size):
    data = content(size)
    fields = {"key": "up/${filename}", "Content-Type": "text/x", "x-amz-meta-who": "a page", "x-amz-storage-class": "STANDARD_IA"}
    conditions = [["starts-with", "$key", "up/"], ["starts-with", "$Content-Type", "text/"], {"x-amz-meta-who": "a page"},
                  {"x-amz-storage-class": "STANDARD_IA"}, ["content-length-range", size, size]]
    reply = served.form(bucket, fields, data, conditions=conditions, filename="C:\\pictures\\ü cat.txt")
    assert reply.status == 204, reply
    got = served.ask("GET", f"/{bucket}/up/%C3%BC%20cat.txt")
    assert (got.body, got.headers["content-type"], got.headers["x-amz-meta-who"]) == (data, "text/x", "a page")
    assert reply.headers["etag"] == got.headers["etag"] and got.headers["x-amz-storage-class"] == "STANDARD_IA"


def test_a_form_may_have_tags(served, bucket):
    tags = "<Tagging><TagSet><Tag><Key>who+what</Key><Value>a=b c</Value></Tag></TagSet></Tagging>"
    assert served.form(bucket, {"key": "k", "tagging": tags}, b"x").status == 204
    kept = served.ask("GET", f"/{bucket}/k?tagging=").body
    assert b"<Key>who+what</Key><Value>a=b c</Value>" in kept, kept
    assert served.form(bucket, {"key": "k", "tagging": "who=b"}, b"y").code == "MalformedXML"
    assert served.form(bucket, {"key": "k", "tagging": tags.replace("who", "w" * 200)}, b"y").code == "InvalidTag"
    assert served.ask("GET", f"/{bucket}/k").body == b"x"


def test_a_form_says_what_it_wants_to_hear(served, bucket):
    done = served.form(bucket, {"key": "a&b", "success_action_status": "201"}, b"x")
    assert done.status == 201 and b"<Key>a&amp;b</Key>" in done.body and f"<Bucket>{bucket}</Bucket>".encode() in done.body
    assert served.form(bucket, {"key": "k", "success_action_status": "200"}, b"x").status == 200
    assert served.form(bucket, {"key": "k", "success_action_status": "302"}, b"x").status == 204
    away = served.form(bucket, {"key": "k/ö", "success_action_redirect": f"{PAGE}/done?a=b#c"}, b"x")
    assert away.status == 303
    assert re.fullmatch(re.escape(f"{PAGE}/done?a=b&bucket={bucket}&key=k%2F%C3%B6&etag=%22") + "[0-9a-f]{32}%22#c", away.headers["location"])
    assert served.form(bucket, {"key": "k", "success_action_redirect": "nowhere"}, b"x").status == 204


def test_a_form_keeps_no_more_than_it_must_and_undoes_what_is_refused(served, bucket):
    before = settled(*served.repository.folders)
    data = content(2 * MIB)
    for keywords, code in [({"conditions": [["eq", "$key", "k"], ["content-length-range", 0, MIB]]}, "EntityTooLarge"),
                           ({"conditions": [["eq", "$key", "k"], ["content-length-range", 3 * MIB, 4 * MIB]]}, "EntityTooSmall")]:
        assert served.form(bucket, {"key": "k"}, data, **keywords).code == code
    assert served.form(bucket, {"key": "k", "Content-MD5": "XUFAKrxLKna5cZ2REBfFkg=="}, data).code == "BadDigest"
    target, headers, body = served.all.form(bucket, {"key": "k"}, data)
    with Connection(served.address) as connection:
        connection.send(raw("POST", target, headers, body[:MIB], len(body)))
    assert_unchanged(before, *served.repository.folders)
    # Fields behind the file mean nothing, as in S3.
    assert served.form(bucket, {"key": "k"}, b"x", more=[('name="x-amz-meta-late"', b"y")]).status == 204
    assert "x-amz-meta-late" not in served.ask("GET", f"/{bucket}/k").headers


def test_a_forms_connection_goes_on(served, bucket):
    target, headers, body = served.all.form(bucket, {"key": "k"}, b"x")
    wrong = served.all.form(bucket, {"key": "k"}, b"x", signature="0" * 64)
    with Connection(served.address) as connection:
        for request, status in [(raw("POST", target, headers, body), 204), (raw("POST", wrong[0], wrong[1], wrong[2]), 403),
                                (raw("POST", target, headers, body), 204), (served.all.request("GET", f"/{bucket}/k"), 200)]:
            assert connection.send(request).reply().status == status


# ── a browser ────────────────────────────────────────────────────────────────────────────────────────────────────────

SCRIPT = """<!DOCTYPE html><body>waiting<script>
const said = {};
const attempt = async (name, work) => { try { said[name] = await work(); } catch (error) { said[name] = error.name; } };
(async () => {
  await attempt("put", async () => (await fetch(URLS.put, {method: "PUT", body: "from a page", headers: {"content-type": "text/x"}})).headers.get("etag"));
  await attempt("get", async () => (await fetch(URLS.get)).text());
  await attempt("hidden", async () => (await fetch(URLS.get)).headers.get("x-amz-request-id"));
  await attempt("delete", async () => (await fetch(URLS.delete, {method: "DELETE"})).status);
  await attempt("elsewhere", async () => (await fetch(URLS.elsewhere)).text());
  await attempt("form", async () => {
    const form = new FormData();
    for (const [name, value] of Object.entries(FIELDS)) form.append(name, value);
    form.append("file", new Blob(["from a form"]), "f");
    return (await fetch(URLS.form, {method: "POST", body: form})).status;
  });
  document.body.textContent = "SAID" + JSON.stringify(said) + "SAID";
})();
</script></body>"""


@pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
def test_a_browser_puts_gets_and_posts_from_another_site(served, bucket, tmp_path):
    """Chromium asks, is told, and holds pages to it."""
    page = tmp_path / "index.html"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer((HOST, 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        origin = f"http://{HOST}:{site.server_port}"
        rule = (f"<CORSRule><AllowedOrigin>{origin}</AllowedOrigin>" + "".join(f"<AllowedMethod>{m}</AllowedMethod>" for m in ("GET", "PUT", "POST"))
                + "<AllowedHeader>content-type</AllowedHeader><ExposeHeader>ETag</ExposeHeader></CORSRule>")
        assert served.ask("PUT", f"/{bucket}?cors=", f"<CORSConfiguration>{rule}</CORSConfiguration>".encode()).status == 200
        assert served.ask("PUT", f"/{bucket}-other").status == 200
        assert served.ask("PUT", f"/{bucket}-other/k", b"no CORS here").status == 200
        target, _, body = served.all.form(bucket, {"key": "form"}, None)
        fields = dict(re.findall(r'name="([^"]*)"\r\n\r\n([^\r]*)\r\n', body.decode()))
        base = f"http://{served.address}"
        urls = {"put": base + served.all.presign("PUT", f"/{bucket}/page"), "get": base + served.all.presign("GET", f"/{bucket}/page"),
                "delete": base + served.all.presign("DELETE", f"/{bucket}/page"), "form": base + target,
                "elsewhere": base + served.all.presign("GET", f"/{bucket}-other/k")}
        page.write_text(SCRIPT.replace("<script>", f"<script>const URLS = {json.dumps(urls)}, FIELDS = {json.dumps(fields)};"))
        shown = subprocess.run([CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server", f"--user-data-dir={tmp_path}/profile",
                                "--virtual-time-budget=20000", "--dump-dom", f"{origin}/index.html"],
                               capture_output=True, text=True, timeout=120)
        site.shutdown()
    assert "SAID" in shown.stdout, shown
    said = json.loads(shown.stdout.split("SAID")[1])
    etag = served.ask("GET", f"/{bucket}/page").headers["etag"]
    # What the rules do not allow, the browser does not show: the method, a header, a bucket without rules.
    assert said == {"put": etag, "get": "from a page", "hidden": None, "delete": "TypeError", "elsewhere": "TypeError", "form": 204}
    assert served.ask("GET", f"/{bucket}/form").body == b"from a form"
