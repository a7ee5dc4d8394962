"""A small S3 client for what the tests do behind RSBackup's back: make, open, list, empty and damage buckets.
Signature version 4 as its specification has it, path-style addresses, the standard library only."""

import datetime
import hashlib
import hmac
import http.client
import json
import urllib.parse
import xml.etree.ElementTree as ET


class S3Error(Exception):
    """The server refused; `status` is its HTTP status."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class S3:
    def __init__(self, address, access_key, secret_key, region="us-east-1"):
        self.address, self.access_key, self.secret_key, self.region = address, access_key, secret_key, region

    def _sign(self, method, path, query, body, now, service="s3"):
        stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        digest = hashlib.sha256(body).hexdigest()
        headers = {"host": self.address, "x-amz-content-sha256": digest, "x-amz-date": stamp}
        names = ";".join(sorted(headers))
        canonical = "\n".join([method, path, query, *(f"{k}:{headers[k]}" for k in sorted(headers)), "", names, digest])
        scope = f"{day}/{self.region}/{service}/aws4_request"
        to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = ("AWS4" + self.secret_key).encode()
        for part in (day, self.region, service, "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
                                    f"SignedHeaders={names}, Signature={signature}")
        return headers

    def request(self, method, bucket, key="", query=None, body=b""):
        """One signed request; returns the reply's body."""
        path = "/" + bucket + ("/" + urllib.parse.quote(key, safe="/~-._") if key else "")
        text = "&".join(f"{urllib.parse.quote(k, safe='~-._')}={urllib.parse.quote(v, safe='~-._')}"
                        for k, v in sorted((query or {}).items()))
        headers = self._sign(method, path, text, body, datetime.datetime.now(datetime.timezone.utc))
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request(method, path + ("?" + text if text else ""), body, headers)
            reply = connection.getresponse()
            data = reply.read()
        finally:
            connection.close()
        if reply.status >= 300:
            raise S3Error(reply.status, data.decode(errors="replace"))
        return data

    def assume_role(self, seconds=900):
        """Temporary credentials: access key, secret key, session token."""
        body = f"Action=AssumeRole&Version=2011-06-15&DurationSeconds={seconds}".encode()
        headers = self._sign("POST", "/", "", body, datetime.datetime.now(datetime.timezone.utc), "sts")
        connection = http.client.HTTPConnection(self.address, timeout=30)
        try:
            connection.request("POST", "/", body, {**headers, "Content-Type": "application/x-www-form-urlencoded"})
            reply = connection.getresponse()
            text = reply.read().decode(errors="replace")
        finally:
            connection.close()
        if reply.status >= 300:
            raise S3Error(reply.status, text)
        return tuple(text.split(f"<{name}>")[1].split("<")[0]
                     for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))

    def make_bucket(self, bucket):
        self.request("PUT", bucket)

    def open_bucket(self, bucket):
        """Lets everybody do everything in a bucket, which is what makes it speak to a GCS client without a token."""
        resources = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        policy = {"Version": "2012-10-17",
                  "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:*"],
                                 "Resource": resources}]}
        self.request("PUT", bucket, query={"policy": ""}, body=json.dumps(policy).encode())

    def list(self, bucket, prefix=""):
        """Every key under a prefix."""
        keys, token = [], None
        while True:
            query = {"list-type": "2", "prefix": prefix}
            if token:
                query["continuation-token"] = token
            tree = ET.fromstring(self.request("GET", bucket, query=query))
            space = tree.tag.partition("}")[0] + "}"
            keys += [item.findtext(f"{space}Key") for item in tree.iter(f"{space}Contents")]
            token = tree.findtext(f"{space}NextContinuationToken")
            if not token:
                return keys

    def get(self, bucket, key):
        return self.request("GET", bucket, key)

    def put(self, bucket, key, body):
        self.request("PUT", bucket, key, body=body)

    def delete(self, bucket, key):
        self.request("DELETE", bucket, key)

    def empty(self, bucket, keep=()):
        """Deletes every object but those named in `keep`; returns how many."""
        keys = [key for key in self.list(bucket) if key not in keep]
        for key in keys:
            self.delete(bucket, key)
        return len(keys)
