"""Bad requests over raw sockets: each gets the right status and a sentence, nothing is written, and the gateway lives."""

import json

import pytest

from harness import Gateway, assert_unchanged, content, settled

GOOD = "/v1/b/bkt/o/k"
FORM = "X-BOUNDARY"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    from conftest import LocalRepository
    repository = LocalRepository(tmp_path_factory.mktemp("bad"))
    with Gateway(repository.config, repository.root / "serve.log") as gateway:
        assert gateway.request("PUT", "/v1/b/bkt").status in (200, 201)
        assert gateway.request("PUT", GOOD, b"good").status in (200, 201)
        assert gateway.request("PUT", "/v1/b/rsbackup").status in (200, 201)
        assert gateway.request("PUT", "/v1/b/rsbackup/o/taken", b"taken").status in (200, 201)
        gateway.repository = repository
        gateway.before = settled(*repository.folders)
        yield gateway


def message(method, target, body=b"", *headers, length=None):
    """A request as bytes; the length may lie."""
    target = target if isinstance(target, bytes) else target.encode()
    head = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close"]
    if body or length is not None or method in ("PUT", "POST"):
        head.append(b"Content-Length: " + str(len(body) if length is None else length).encode())
    head += [h if isinstance(h, bytes) else h.encode() for h in headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def form(*parts, end=True):
    """A form of (disposition, bytes) parts."""
    out = b"".join(b"--" + FORM.encode() + b"\r\nContent-Disposition: form-data; " + d + b"\r\n\r\n" + data + b"\r\n"
                   for d, data in parts)
    return out + (b"--" + FORM.encode() + b"--\r\n" if end else b"")


def submit(*parts, end=True, kind=f"multipart/form-data; boundary={FORM}", length=None):
    return message("POST", "/submit_data", form(*parts, end=end), f"Content-Type: {kind}", length=length)


FILE = (b'name="file"; filename="f"', b"some bytes")


def named(name):
    return (b'name="filename"', name)


def chunked(method, target, body):
    return (f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n").encode() + body


def post(target, body):
    return message("POST", target, body, "Content-Type: application/json")


# What is sent, the statuses that may come (0: the connection may be closed without one), words of the sentence.
V1 = {
    "NUL in a key": (message("PUT", "/v1/b/bkt/o/a%00b", b"x"), {400}, []),
    "a key that climbs": (message("PUT", "/v1/b/bkt/o/a/../../c", b"x"), {400, 404}, []),
    "a key that climbs, encoded": (message("PUT", "/v1/b/bkt/o/a%2f%2e%2e%2fc", b"x"), {400}, []),
    "a key of one dot": (message("PUT", "/v1/b/bkt/o/%2e", b"x"), {400}, []),
    "a key of 1,025 bytes": (message("PUT", "/v1/b/bkt/o/" + "k" * 1025, b"x"), {400}, ["1024"]),
    "a key of 1,025 bytes in letters of two": (message("PUT", "/v1/b/bkt/o/k" + "%C3%BC" * 512, b"x"), {400}, ["1024"]),
    "a key that is not UTF-8": (message("PUT", "/v1/b/bkt/o/%ff%fe", b"x"), {400}, []),
    "a raw byte in the target": (message("PUT", b"/v1/b/bkt/o/\xff", b"x"), {400}, []),
    "a bad percent code": (message("PUT", "/v1/b/bkt/o/a%zz", b"x"), {400, 200, 201}, []),
    "an empty key": (message("PUT", "/v1/b/bkt/o/", b"x"), {400, 404, 405}, []),
    "a bucket that is not there": (message("PUT", "/v1/b/none/o/k", b"x"), {404}, ["none"]),
    "a bucket's name with NUL": (message("PUT", "/v1/b/a%00b"), {400}, []),
    "a bucket's name with a slash": (message("PUT", "/v1/b/a%2fb"), {400}, []),
    "a bucket's name of dots": (message("PUT", "/v1/b/%2e%2e"), {400, 404}, []),
    "a bucket's name of 300 bytes": (message("PUT", "/v1/b/" + "bkt" * 300), {400}, []),
    "bucket settings that are not JSON": (post("/v1/b/new", b"{").replace(b"POST", b"PUT"), {400}, []),
    "bucket settings with an unknown key": (post("/v1/b/new", b'{"verions":"keep-all"}').replace(b"POST", b"PUT"), {400}, ["verions"]),
    "no data shards": (message("PUT", GOOD + "?data_shards=0", b"x"), {400}, ["data_shards"]),
    "negative data shards": (message("PUT", GOOD + "?data_shards=-1", b"x"), {400}, ["data_shards"]),
    "data shards that are no number": (message("PUT", GOOD + "?data_shards=ten", b"x"), {400}, ["data_shards"]),
    "more than 256 shards": (message("PUT", GOOD + "?data_shards=250&parity_shards=10", b"x"), {400}, ["256"]),
    "more shards than backends": (message("PUT", GOOD + "?data_shards=6&parity_shards=2", b"x"), {400}, ["8"]),
    "a misspelt parameter": (message("PUT", GOOD + "?data_shard=2", b"x"), {400}, ["data_shard"]),
    "a body that ends early": (message("PUT", GOOD, b"short", length=1000), {400, 408, 0}, []),
    "a long body that ends early": (message("PUT", GOOD, content(900_000), length=2_000_000), {400, 408, 0}, []),
    "a negative length": (message("PUT", GOOD, b"x", length=-1), {400}, []),
    "a length that is no number": (message("PUT", GOOD, b"x", length="x"), {400}, []),
    "two lengths": (message("PUT", GOOD, b"xy", "Content-Length: 1"), {400}, []),
    "a chunk of bad size": (chunked("PUT", GOOD, b"zz\r\nx\r\n0\r\n\r\n"), {400, 0}, []),
    "chunks that end early": (chunked("PUT", GOOD, b"5\r\nhello\r\n"), {400, 408, 0}, []),
    "a chunk that ends early": (chunked("PUT", GOOD, b"ffff\r\nhello"), {400, 408, 0}, []),
    "a wrong MD5": (message("PUT", GOOD, b"x", "Content-MD5: 1B2M2Y8AsgTpgAmY7PhCfg=="), {400}, []),
    "an MD5 that is none": (message("PUT", GOOD, b"x", "Content-MD5: hello"), {400}, []),
    "create-only of what is there": (message("PUT", GOOD, b"x", "If-None-Match: *"), {412}, []),
    "if-match of another": (message("PUT", GOOD, b"x", 'If-Match: "other"'), {412}, []),
    "if-match of what is not there": (message("PUT", GOOD + "2", b"x", 'If-Match: "other"'), {412}, []),
    "a copy from nowhere": (message("PUT", GOOD + "3", b"", "x-rsb-copy-source: bkt/none"), {404}, ["none"]),
    "a copy from half a name": (message("PUT", GOOD + "3", b"", "x-rsb-copy-source: b"), {400}, []),
    "a get of nothing": (message("GET", "/v1/b/bkt/o/none"), {404}, ["none"]),
    "a range past the end": (message("GET", GOOD, b"", "Range: bytes=100-"), {416}, []),
    "a version that is none": (message("GET", GOOD + "?version=x"), {400}, ["version"]),
    "a version that is not there": (message("GET", GOOD + "?version=01890a5d-ac96-774b-bcce-b302099a8057"), {404}, []),
    "a delete of a bucket that is not there": (message("DELETE", "/v1/b/none"), {404}, ["none"]),
    "a delete of a full bucket": (message("DELETE", "/v1/b/bkt"), {409}, []),
    "a bucket twice": (message("PUT", "/v1/b/bkt", b""), {200, 409}, []),
    "a listing of nothing": (message("GET", "/v1/b/bkt/o?limit=0"), {400}, ["limit"]),
    "a listing of too much": (message("GET", "/v1/b/bkt/o?limit=10001"), {400}, ["limit"]),
    "a listing of words": (message("GET", "/v1/b/bkt/o?limit=x"), {400}, ["limit"]),
    "a check that is not JSON": (post("/v1/check", b"{"), {400}, []),
    "a check of unknown depth": (post("/v1/check", b'{"depth":"deep"}'), {400}, ["deep"]),
    "a check of a bucket that is not there": (post("/v1/check", b'{"bucket":"none"}'), {404, 202}, []),
    "a job that is not there": (message("GET", "/v1/jobs/none"), {400, 404}, []),
    "a plan of an unknown verb": (message("GET", "/v1/plan?verb=heal"), {400}, ["heal"]),
    "a path that is not there": (message("GET", "/v1/nothing"), {404}, []),
    "a method that is not there": (message("PATCH", GOOD, b"x"), {405}, []),
    "a method that nobody knows": (message("BREW", GOOD), {400, 405, 501}, []),
    "no HTTP at all": (b"hello\r\n\r\n", {400, 0}, []),
    "TLS on a plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), {400, 0}, []),
    "a header without end": (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 2_000_000, {400, 431, 0}, []),
    "a target without end": (b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", {400, 414, 431, 0}, []),
    "an unknown version": (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", {400, 505, 0}, []),
}
PROTOTYPE = {
    "no file": (submit(named(b"n")), {400}, []),
    "no name": (submit(FILE), {400}, []),
    "an empty name": (submit(named(b""), FILE), {400}, []),
    "an empty name after the file": (submit(FILE, named(b"")), {400}, []),
    "a slash in a name": (submit(named(b"a/b"), FILE), {400}, []),
    "a slash in a name after the file": (submit(FILE, named(b"a/b")), {400}, []),
    "a name that climbs": (submit(named(b".."), FILE), {400}, []),
    "NUL in a name": (submit(named(b"a\0b"), FILE), {400}, []),
    "a name that is not UTF-8": (submit(named(b"\xff\xfe"), FILE), {400}, []),
    "a name of 1,025 bytes": (submit(named(b"n" * 1025), FILE), {400}, []),
    "a name of a megabyte": (submit(named(b"n" * 1_000_000), FILE), {400, 413}, []),
    "a name that exists": (submit(named(b"taken"), FILE), {409}, ["taken"]),
    "a name that exists, after the file": (submit(FILE, named(b"taken")), {409}, ["taken"]),
    "no data shards in a form": (submit(named(b"n"), (b'name="data_shards"', b"0"), FILE), {400}, ["data_shards"]),
    "shards that are words": (submit(named(b"n"), (b'name="data_shards"', b"x"), FILE), {400}, ["data_shards"]),
    "more shards than backends in a form": (submit(named(b"n"), (b'name="data_shards"', b"9"), FILE), {400}, []),
    "a form without a boundary": (submit(named(b"n"), FILE, kind="multipart/form-data"), {400, 415}, []),
    "a form of another boundary": (submit(named(b"n"), FILE, kind="multipart/form-data; boundary=other"), {400}, []),
    "no form": (submit(named(b"n"), FILE, kind="text/plain"), {400, 415}, []),
    "a form that ends early": (submit(named(b"n"), FILE, end=False), {400}, []),
    "a form that is cut off": (submit(named(b"n"), FILE, length=100_000), {400, 408, 0}, []),
    "a form whose name comes too late": (submit(FILE, named(b"n"), end=False, length=100_000), {400, 408, 0}, []),
    "an empty form": (submit(), {400}, []),
    "a check of no name": (message("GET", "/check_data/"), {400}, []),
    "a check of nothing": (message("GET", "/check_data/none"), {404}, []),
    "a retrieval of no name": (message("GET", "/retrieve_data/"), {400}, []),
    "a retrieval of nothing": (message("GET", "/retrieve_data/none"), {404}, []),
    "a retrieval with a slash": (message("GET", "/retrieve_data/a%2fb"), {400, 404}, []),
    "a repair of no name": (message("GET", "/repair_data/"), {400}, []),
    "a repair of nothing": (message("GET", "/repair_data/none"), {404}, []),
    "a list by POST": (message("POST", "/list_data"), {405}, []),
    "a submit by GET": (message("GET", "/submit_data"), {405}, []),
    "a check by POST": (message("POST", "/check_data/taken"), {405}, []),
    "a retrieval by DELETE": (message("DELETE", "/retrieve_data/taken"), {405}, []),
    "a repair by POST": (message("POST", "/repair_data/taken"), {405}, []),
    "a range past the end": (message("GET", "/retrieve_data/taken", b"", "Range: bytes=100-200"), {416}, []),
}
PHRASES = {400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict"}


def parse(reply):
    """(status, headers, body) of a raw reply; status 0 where there is none."""
    head, _, body = reply.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1."):
        return 0, {}, b""
    lines = head.decode(errors="replace").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    return int(lines[0].split()[1]), headers, body


def send(gateway, sent, statuses, words):
    # A request that ends early is ended by closing; to the others a close would mean that nobody waits for the reply.
    status, headers, body = parse(gateway.raw(sent, half_close=0 in statuses))
    assert status in statuses, f"status {status}, wanted {statuses}: {body[:500]!r}"
    text = body.decode(errors="replace")
    for word in words:
        assert word in text, f"{word!r} is not in {text!r}"
    assert "panicked" not in text
    return status, headers, text


def assert_as_before(gateway):
    assert_unchanged(gateway.before, *gateway.repository.folders)
    assert gateway.request("GET", GOOD).body == b"good", "the gateway lives, and the good object is as it was"
    assert gateway.request("GET", "/v1/b/rsbackup/o/taken").body == b"taken"


@pytest.mark.parametrize("case", V1)
def test_native_api(served, case):
    sent, statuses, words = V1[case]
    status, headers, text = send(served, sent, statuses, words)
    if status >= 400 and text and headers.get("content-type", "").startswith("application/problem+json"):
        problem = json.loads(text)
        assert problem["type"] and problem["title"] and problem["detail"] and problem["status"] == status
    elif sent.partition(b" ")[2].startswith(b"/v1/") and status in (404, 405, 409, 412, 416):
        pytest.fail(f"not a problem document: {headers} {text!r}")
    if status >= 400:
        assert_as_before(served)


@pytest.mark.parametrize("case", PROTOTYPE)
def test_prototype(served, case):
    sent, statuses, words = PROTOTYPE[case]
    status, headers, text = send(served, sent, statuses, words)
    if status in PHRASES:
        assert text.startswith(PHRASES[status]), text
    if status == 405:
        assert headers["allow"]
    assert served.request("GET", "/list_data").json() == {"files": ["taken"]}
    assert_as_before(served)


def test_a_refused_upload_is_answered_before_it_is_sent(served):
    """`Expect: 100-continue` gets the refusal, not a 100 and then the refusal."""
    head = message("PUT", "/v1/b/none/o/k", b"", "Expect: 100-continue", length=10_000_000)
    reply = served.raw(head, timeout=10, half_close=False)
    assert parse(reply)[0] == 404, reply[:300]
    assert_as_before(served)


def test_a_hundred_bad_requests_on_one_machine_do_not_wear_it_out(served):
    for _ in range(100):
        send(served, message("PUT", "/v1/b/bkt/o/a%00b", b"x"), {400}, [])
    assert_as_before(served)
