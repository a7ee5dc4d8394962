"""Signature version 4 made by hand, so that tests can make it wrong in one place at a time, and a connection that is
spoken on by hand. The standard library only."""

import base64
import datetime
import hashlib
import hmac
import json
import re
import socket
import urllib.parse

EMPTY = hashlib.sha256(b"").hexdigest()
SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_TRAILER = SIGNED_CHUNKS + "-TRAILER"
UNSIGNED_CHUNKS_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def now(shift=0):
    """The time, so many seconds from now."""
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift)


def quote(text, safe="-._~"):
    return urllib.parse.quote(text, safe=safe)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Signer:
    """Signs for one key pair. Every keyword that a method takes stands for something that can be got wrong; `at` is how many
    seconds its clock is ahead."""

    def __init__(self, host, key, secret, region="us-east-1"):
        self.host, self.key, self.secret, self.region = host, key, secret, region

    def secret_key(self, day, region, service="s3"):
        key = ("AWS4" + self.secret).encode()
        for part in (day, region, service, "aws4_request"):
            key = _hmac(key, part)
        return key

    def _signature(self, method, path, query, headers, names, digest, stamp, day, region, service):
        query = "&".join(sorted(part if "=" in part else part + "=" for part in query.split("&") if part))
        lines = [f"{name}:{' '.join(headers[name].split())}" for name in names]
        canonical = "\n".join([method, path, query, *lines, "", ";".join(names), digest])
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{day}/{region}/{service}/aws4_request", sha256(canonical.encode())])
        return hmac.new(self.secret_key(day, region, service), text.encode(), hashlib.sha256).hexdigest()

    def headers(self, method, target, body=b"", extra=None, *, digest=None, at=0, day=None, region=None, service="s3",
                unsigned=(), key=None, signature=None):
        """The headers of a request, signature and all; `extra` are signed too, but for those in `unsigned`."""
        at = now(at)
        stamp, region = at.strftime("%Y%m%dT%H%M%SZ"), region or self.region
        day = day or stamp[:8]
        digest = digest or sha256(body)
        headers = {"host": self.host, "x-amz-date": stamp, "x-amz-content-sha256": digest,
                   **{name.lower(): value for name, value in (extra or {}).items()}}
        names = sorted(name for name in headers if name not in unsigned)
        path, _, query = target.partition("?")
        found = self._signature(method, path, query, headers, names, digest, stamp, day, region, service)
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={key or self.key}/{day}/{region}/{service}/aws4_request, "
                                    f"SignedHeaders={';'.join(names)}, Signature={signature or found}")
        self.seed, self.stamp, self.scope = found, stamp, f"{day}/{region}/{service}/aws4_request"
        return headers

    def request(self, method, target, body=b"", extra=None, *, length=None, send=None, **wrong):
        """A signed request as bytes. `length` is the Content-Length told (None: the right one, False: none); `send` the body
        that is sent instead of the signed one."""
        headers = self.headers(method, target, body, extra, **wrong)
        sent = body if send is None else send
        return raw(method, target, headers, sent, length)

    def presign(self, method, target, *, expires=60, at=0, region=None, headers=None, change=None, drop=()):
        """A presigned target: path and query. `change` replaces parameters after signing, `drop` leaves them out."""
        at = now(at)
        stamp, region = at.strftime("%Y%m%dT%H%M%SZ"), region or self.region
        path, _, query = target.partition("?")
        headers = {"host": self.host, **(headers or {})}
        names = sorted(headers)
        mine = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{self.key}/{stamp[:8]}/{region}/s3/aws4_request",
                "X-Amz-Date": stamp, "X-Amz-Expires": str(expires), "X-Amz-SignedHeaders": ";".join(names)}
        all_parts = [part for part in query.split("&") if part] + [f"{k}={quote(v)}" for k, v in mine.items()]
        found = self._signature(method, path, "&".join(all_parts), headers, names, "UNSIGNED-PAYLOAD", stamp, stamp[:8], region, "s3")
        mine = {**mine, "X-Amz-Signature": found, **(change or {})}
        parts = [part for part in query.split("&") if part] + [f"{k}={quote(v)}" for k, v in mine.items() if k not in drop]
        return path + "?" + "&".join(parts)

    def chunks(self, target, parts, *, extra=None, digest=SIGNED_CHUNKS, length=None, trailer=None, spoil=None, cut=0):
        """A PUT in aws-chunked form as bytes. `parts` are the chunks; `trailer` a (name, value); `spoil` the number of a chunk
        that is changed after it was signed; `cut` bytes are missing at the end."""
        total = sum(map(len, parts)) if length is None else length
        extra = {"x-amz-decoded-content-length": str(total), "content-encoding": "aws-chunked", **(extra or {})}
        if trailer:
            extra["x-amz-trailer"] = trailer[0]
        headers = self.headers("PUT", target, b"", extra, digest=digest)
        key, last, out = self.secret_key(self.scope[:8], self.scope.split("/")[1]), self.seed, b""
        for number, part in enumerate([*parts, b""]):
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.stamp, self.scope, last, EMPTY, sha256(part)])
            sent = part if spoil != number else bytes([part[0] ^ 1]) + part[1:]
            if digest.startswith("STREAMING-UNSIGNED"):
                out += f"{len(part):x}\r\n".encode() + (sent + b"\r\n" if part else b"")
            else:
                last = _hmac(key, text).hex()
                ends = b"" if trailer and not part else b"\r\n"
                out += f"{len(part):x};chunk-signature={last}\r\n".encode() + sent + ends
        if trailer:
            line = f"{trailer[0]}:{trailer[1]}"
            out += line.encode() + b"\r\n"
            if digest == SIGNED_CHUNKS_TRAILER:
                text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", self.stamp, self.scope, last, sha256((line + "\n").encode())])
                out += b"x-amz-trailer-signature:" + _hmac(key, text).hex().encode() + b"\r\n"
            out += b"\r\n"
        return raw("PUT", target, headers, out[:len(out) - cut] if cut else out, len(out))

    def form(self, bucket, fields, file, *, conditions=None, expires=60, filename="cat.txt", signature=None, drop=(), more=()):
        """An upload by a form: (target, headers, body). Every field gets a condition of its own unless `conditions` says them."""
        at = now()
        stamp = at.strftime("%Y%m%dT%H%M%SZ")
        mine = {"x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-date": stamp,
                "x-amz-credential": f"{self.key}/{stamp[:8]}/{self.region}/s3/aws4_request"}
        if conditions is None:
            conditions = [["eq", f"${name}", value] for name, value in fields.items()]
        policy = {"expiration": now(expires).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                  "conditions": [{"bucket": bucket}, *conditions, *({name: value} for name, value in mine.items())]}
        policy = base64.b64encode(json.dumps(policy).encode()).decode()
        found = hmac.new(self.secret_key(stamp[:8], self.region), policy.encode(), hashlib.sha256).hexdigest()
        fields = {**fields, **mine, "policy": policy, "x-amz-signature": signature or found}
        parts = [(f'name="{name}"', value.encode()) for name, value in fields.items() if name not in drop]
        if file is not None:
            parts.append((f'name="file"; filename="{filename}"', file))
        parts += more
        body = b"".join(b"--XX\r\nContent-Disposition: form-data; " + how.encode() + b"\r\n\r\n" + data + b"\r\n"
                        for how, data in parts) + b"--XX--\r\n"
        return f"/{bucket}", {"host": self.host, "content-type": "multipart/form-data; boundary=XX"}, body


def raw(method, target, headers, body=b"", length=None):
    """A request as bytes."""
    headers = dict(headers)
    if length is None and (body or method in ("PUT", "POST")):
        length = len(body)
    if length not in (None, False):
        headers["content-length"] = str(length)
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    return head.encode("latin-1") + b"\r\n" + body


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """S3's code, where the reply is an error."""
        found = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return found and found[1].decode()

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:600]!r}"


class Connection:
    """One connection, spoken on by hand."""

    def __init__(self, address, timeout=30):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            pass  # It may refuse, and close before everything is sent.
        return self

    def more(self):
        try:
            got = self.socket.recv(65536)
        except ConnectionError:
            return False
        self.rest += got
        return bool(got)

    def reply(self, method="GET"):
        """The next reply; None when the connection ends before one."""
        while b"\r\n\r\n" not in self.rest:
            if not self.more():
                return None
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            name = name.lower()
            headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
        status = int(first.split()[1])
        if status == 100:
            return Reply(status, headers, b"")
        body = b""
        if method != "HEAD" and status not in (204, 304):
            if headers.get("transfer-encoding") == "chunked":
                body = self._chunked()
            else:
                length = int(headers.get("content-length", 0))
                while len(self.rest) < length and self.more():
                    pass
                body, self.rest = self.rest[:length], self.rest[length:]
        return Reply(status, headers, body)

    def _chunked(self):
        out = b""
        while True:
            while b"\r\n" not in self.rest and self.more():
                pass
            size, self.rest = self.rest.split(b"\r\n", 1)
            size = int(size, 16)
            while len(self.rest) < size + 2 and self.more():
                pass
            out, self.rest = out + self.rest[:size], self.rest[size + 2:]
            if not size:
                return out

    def is_closed(self):
        """Whether the other side ends the connection, nothing being sent any more."""
        try:
            while self.more():
                pass
        except TimeoutError:
            return False
        return True
