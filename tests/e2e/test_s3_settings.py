"""What S3 lets one say of buckets and objects beside their bytes, by boto3: tags, object lock, lifecycle rules, storage
classes, and the truth about what is not there."""

import datetime
import hashlib
import json
import os

import pytest

from harness import content, rsb, run_job, wait_until, wipe_catalog
from test_s3 import KEYS, MIB, Door, refusal, versions

pytestmark = pytest.mark.servers
DAY = 24 * 3600
SMALL, LARGE = 500, 3 * MIB + 7


def start(root, gateway=None):
    from conftest import LocalRepository
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    door = Door(LocalRepository(root, gateway=gateway))
    with open(door.repository.config, "a") as config:
        for key in KEYS:
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in key.items())
            config.write(f"\n[[gateway.keys]]\n{lines}\n")
    return door


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    classes = {"REDUCED_REDUNDANCY": {"data_shards": 2, "parity_shards": 1}, "HOT": {"data_shards": 1, "parity_shards": 2}}
    door = start(tmp_path_factory.mktemp("settings"), {"storage_classes": classes})
    with door.gateway:
        yield door
        assert door.gateway.stop() == 0


@pytest.fixture
def s3(door):
    return door.client()


@pytest.fixture
def name(request):
    return "b-" + hashlib.sha256(request.node.name.encode()).hexdigest()[:20]


@pytest.fixture
def bucket(s3, name):
    s3.create_bucket(Bucket=name)
    return name


def pairs(tag_set):
    return {tag["Key"]: tag["Value"] for tag in tag_set}


def tagging(**tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


def in_days(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).replace(microsecond=0)


# ── tags ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_tags_of_objects(s3, bucket, size):
    versions(s3, bucket, "Enabled")
    data = content(size)
    first = s3.put_object(Bucket=bucket, Key="k", Body=data, Tagging="colour=red&empty=&a+b=%C3%A9")["VersionId"]
    assert pairs(s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]) == {"colour": "red", "empty": "", "a b": "é"}
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 3
    second = s3.put_object(Bucket=bucket, Key="k", Body=data)["VersionId"]
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    set_tags = s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=first, Tagging=tagging(colour="blue"))
    assert set_tags["VersionId"] == first
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=tagging(new="1"))
    assert pairs(s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=first)["TagSet"]) == {"colour": "blue"}
    got = s3.get_object_tagging(Bucket=bucket, Key="k")
    assert (pairs(got["TagSet"]), got["VersionId"]) == ({"new": "1"}, second)
    s3.delete_object_tagging(Bucket=bucket, Key="k", VersionId=first)
    assert s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=first)["TagSet"] == []
    for version in (first, second):
        assert s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read() == data
    assert refusal(s3.get_object_tagging, Bucket=bucket, Key="none") == ("NoSuchKey", 404)


def test_tags_go_along_with_copies_or_are_replaced(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=content(SMALL), Tagging="a=1")
    copy = {"Bucket": bucket, "CopySource": f"{bucket}/k"}
    s3.copy_object(Key="same", **copy)
    s3.copy_object(Key="other", Tagging="b=2", TaggingDirective="REPLACE", **copy)
    s3.copy_object(Key="none", TaggingDirective="REPLACE", **copy)
    tags = {key: pairs(s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]) for key in ("same", "other", "none")}
    assert tags == {"same": {"a": "1"}, "other": {"b": "2"}, "none": {}}
    assert refusal(s3.copy_object, Key="x", Tagging="b=2", **copy) == ("InvalidRequest", 400)


def test_limits_of_tags(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    eleven = tagging(**{f"k{i}": "v" for i in range(11)})
    for wrong, code in [(twice, "InvalidTag"), (eleven, "BadRequest"), (tagging(**{"k" * 129: "v"}), "InvalidTag"),
                        (tagging(k="v" * 257), "InvalidTag"), (tagging(**{"aws:k": "v"}), "InvalidTag")]:
        assert refusal(s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=wrong) == (code, 400)
    assert refusal(s3.put_object, Bucket=bucket, Key="x", Body=b"", Tagging="a=1&a=2") == ("InvalidTag", 400)
    assert refusal(s3.head_object, Bucket=bucket, Key="x")[1] == 404


def test_tags_of_buckets(door, s3, bucket):
    assert refusal(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)
    s3.put_bucket_tagging(Bucket=bucket, Tagging=tagging(team="blue", cost="1"))
    assert pairs(s3.get_bucket_tagging(Bucket=bucket)["TagSet"]) == {"team": "blue", "cost": "1"}
    writer = door.client("writer")
    assert refusal(writer.put_bucket_tagging, Bucket=bucket, Tagging=tagging(a="b")) == ("AccessDenied", 403)
    s3.delete_bucket_tagging(Bucket=bucket)
    assert refusal(s3.get_bucket_tagging, Bucket=bucket) == ("NoSuchTagSet", 404)


# ── object lock ──────────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.fixture
def locking(s3, name):
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_is_locked_stays_at_every_door(door, s3, locking, size):
    data, until = content(size), in_days(2)
    lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
    version = s3.put_object(Bucket=locking, Key="k", Body=data, **lock)["VersionId"]
    head = s3.head_object(Bucket=locking, Key="k")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("COMPLIANCE", until)
    this = {"Bucket": locking, "Key": "k", "VersionId": version}
    assert s3.get_object_retention(**this)["Retention"] == {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    for bypass in (False, True):
        assert refusal(s3.delete_object, BypassGovernanceRetention=bypass, **this) == ("AccessDenied", 403)
    many = s3.delete_objects(Bucket=locking, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
    assert [error["Code"] for error in many["Errors"]] == ["AccessDenied"]
    native = door.gateway.request("DELETE", f"/v1/b/{locking}/o/k?version={version}")
    assert (native.status, native.json()["type"]) == (403, "urn:rsbackup:error:locked")
    # A delete marker takes nothing away.
    s3.delete_object(Bucket=locking, Key="k")
    assert refusal(s3.delete_bucket, Bucket=locking) == ("BucketNotEmpty", 409)
    assert s3.get_object(**this)["Body"].read() == data


def test_governance_is_bypassed_by_who_may(door, s3, locking):
    this = {"Bucket": locking, "Key": "k"}
    version = s3.put_object(Body=b"x", **this)["VersionId"]
    retention = lambda mode, days: {"Mode": mode, "RetainUntilDate": in_days(days)}
    writer = door.client("writer")
    writer.put_object_retention(Retention=retention("GOVERNANCE", 2), **this)
    writer.put_object_retention(Retention=retention("GOVERNANCE", 3), **this)
    assert refusal(s3.put_object_retention, Retention=retention("GOVERNANCE", 1), **this) == ("AccessDenied", 403)
    assert refusal(s3.put_object_retention, Retention=retention("COMPLIANCE", 4), **this) == ("AccessDenied", 403)
    shorter = {"Retention": retention("GOVERNANCE", 1), "BypassGovernanceRetention": True}
    assert refusal(writer.put_object_retention, **shorter, **this) == ("AccessDenied", 403)
    s3.put_object_retention(**shorter, **this)
    past = retention("GOVERNANCE", -1)
    assert refusal(s3.put_object_retention, Retention=past, BypassGovernanceRetention=True, **this)[0] == "InvalidArgument"
    assert refusal(s3.delete_object, VersionId=version, **this) == ("AccessDenied", 403)
    s3.delete_object(VersionId=version, BypassGovernanceRetention=True, **this)
    assert refusal(s3.head_object, **this)[1] == 404


def test_legal_holds(door, s3, locking):
    this = {"Bucket": locking, "Key": "k"}
    version = s3.put_object(Body=b"x", ObjectLockLegalHoldStatus="ON", **this)["VersionId"]
    assert s3.head_object(**this)["ObjectLockLegalHoldStatus"] == "ON"
    assert s3.get_object_legal_hold(**this)["LegalHold"] == {"Status": "ON"}
    assert refusal(s3.delete_object, VersionId=version, **this) == ("AccessDenied", 403)
    off = {"LegalHold": {"Status": "OFF"}}
    assert refusal(door.client("writer").put_object_legal_hold, **off, **this) == ("AccessDenied", 403)
    s3.put_object_legal_hold(**off, **this)
    assert s3.get_object_legal_hold(**this)["LegalHold"] == {"Status": "OFF"}
    s3.delete_object(VersionId=version, **this)


def test_the_object_lock_of_a_bucket(s3, locking, bucket="without-object-lock"):
    plain = {"ObjectLockEnabled": "Enabled"}
    rule = lambda **period: {**plain, "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", **period}}}
    put = lambda configuration, name=locking: s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=configuration)
    assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == plain
    assert s3.get_bucket_versioning(Bucket=locking)["Status"] == "Enabled"
    put(rule(Days=3))
    assert s3.get_object_lock_configuration(Bucket=locking)["ObjectLockConfiguration"] == rule(Days=3)
    s3.put_object(Bucket=locking, Key="k", Body=b"x")
    retention = s3.get_object_retention(Bucket=locking, Key="k")["Retention"]
    assert retention["Mode"] == "GOVERNANCE"
    assert abs(retention["RetainUntilDate"] - in_days(3)) < datetime.timedelta(minutes=1)
    put(rule(Years=1))
    put(plain)
    assert refusal(put, configuration=rule(Days=0)) == ("InvalidRetentionPeriod", 400)
    assert refusal(put, configuration=rule(Days=1, Years=1)) == ("MalformedXML", 400)
    suspend = {"Bucket": locking, "VersioningConfiguration": {"Status": "Suspended"}}
    assert refusal(s3.put_bucket_versioning, **suspend) == ("InvalidBucketState", 409)
    # A bucket without.
    s3.create_bucket(Bucket=bucket)
    assert refusal(s3.get_object_lock_configuration, Bucket=bucket) == ("ObjectLockConfigurationNotFoundError", 404)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert refusal(s3.get_object_retention, Bucket=bucket, Key="k") == ("InvalidRequest", 400)
    held = {"Bucket": bucket, "Key": "k", "Body": b"x", "ObjectLockLegalHoldStatus": "ON"}
    assert refusal(s3.put_object, **held) == ("InvalidRequest", 400)
    assert refusal(put, configuration=plain, name=bucket) == ("InvalidBucketState", 409)
    versions(s3, bucket, "Enabled")
    put(plain, bucket)
    s3.put_object(**held)


def test_locks_and_tags_outlive_the_catalog(tmp_path):
    door = start(tmp_path)
    with door.gateway:
        s3 = door.client()
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": in_days(2)}
        version = s3.put_object(Bucket="locked", Key="k", Body=content(SMALL), Tagging="a=1", **lock)["VersionId"]
        s3.put_bucket_tagging(Bucket="locked", Tagging=tagging(team="blue"))
        assert door.gateway.stop() == 0
    wipe_catalog(tmp_path)
    door.gateway.process = None
    with door.gateway:
        s3 = door.client()
        assert pairs(s3.get_object_tagging(Bucket="locked", Key="k")["TagSet"]) == {"a": "1"}
        assert pairs(s3.get_bucket_tagging(Bucket="locked")["TagSet"]) == {"team": "blue"}
        assert refusal(s3.delete_object, Bucket="locked", Key="k", VersionId=version) == ("AccessDenied", 403)
        assert s3.get_object(Bucket="locked", Key="k")["Body"].read() == content(SMALL)


def test_an_upload_in_parts_is_locked_tagged_and_of_its_class(door, s3, locking):
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    s3.put_object_lock_configuration(Bucket=locking, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule})
    until = in_days(5)
    own = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": "ON"}
    data = content(5 * MIB + 3)
    for key, lock in (("own", own), ("default", {})):
        this = {"Bucket": locking, "Key": key}
        upload = s3.create_multipart_upload(Tagging="a=1", StorageClass="HOT", **lock, **this)["UploadId"]
        parts = []
        for number, body in enumerate((data[:5 * MIB], data[5 * MIB:]), 1):
            part = s3.upload_part(UploadId=upload, PartNumber=number, Body=body, **this)
            parts.append({"PartNumber": number, "ETag": part["ETag"]})
        version = s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": parts}, **this)["VersionId"]
        got = s3.get_object(**this)
        assert (got["Body"].read(), got["TagCount"], got["StorageClass"]) == (data, 1, "HOT")
        found = rsb("--server", door.gateway.url, "--json", "stat", f"{locking}/{key}", expect=0).json()
        assert (found["data_shards"], found["parity_shards"]) == (1, 2)
        assert refusal(s3.delete_object, VersionId=version, **this) == ("AccessDenied", 403)
        assert got["ObjectLockMode"] == ("COMPLIANCE" if lock else "GOVERNANCE")
        assert abs(got["ObjectLockRetainUntilDate"] - in_days(5 if lock else 3)) < datetime.timedelta(minutes=1)
        assert got.get("ObjectLockLegalHoldStatus") == ("ON" if lock else None)


# ── lifecycle ────────────────────────────────────────────────────────────────────────────────────────────────────────

def rule(**of):
    return {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": ""}, **of}


def test_lifecycle_rules_come_back_as_they_were_set(s3, bucket):
    put = lambda *rules: s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})
    assert refusal(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == ("NoSuchLifecycleConfiguration", 404)
    tag = {"Key": "k", "Value": "v"}
    midnight = in_days(10).replace(hour=0, minute=0, second=0)
    rules = [rule(Expiration={"Days": 3}),
             {"ID": "old", "Status": "Disabled", "Prefix": "logs/", "Expiration": {"Date": midnight}},
             rule(ID="tag", Filter={"Tag": tag}, Expiration={"Days": 1}),
             rule(ID="and", Filter={"And": {"Prefix": "a", "Tags": [tag], "ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 9}},
                  NoncurrentVersionExpiration={"NoncurrentDays": 2, "NewerNoncurrentVersions": 3}),
             rule(ID="size", Filter={"ObjectSizeGreaterThan": 5}, Expiration={"ExpiredObjectDeleteMarker": True}),
             rule(ID="uploads", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7})]
    put(*rules)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    transition = [{"Days": 1, "StorageClass": "GLACIER"}]
    for wrong, code, status in [
            (rule(Transitions=transition), "NotImplemented", 501),
            (rule(NoncurrentVersionTransitions=[{"NoncurrentDays": 1, "StorageClass": "GLACIER"}]), "NotImplemented", 501),
            (rule(), "InvalidRequest", 400),
            (rule(Expiration={"Days": 0}), "InvalidArgument", 400),
            (rule(Expiration={"Days": 1, "ExpiredObjectDeleteMarker": True}), "MalformedXML", 400),
            (rule(Expiration={"Date": midnight + datetime.timedelta(hours=1)}), "InvalidArgument", 400),
            (rule(Filter={"Prefix": "a", "Tag": tag}, Expiration={"Days": 1}), "MalformedXML", 400),
            (rule(NoncurrentVersionExpiration={"NewerNoncurrentVersions": 3}), "MalformedXML", 400),
            (rule(Filter={"Tag": tag}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 7}), "InvalidRequest", 400)]:
        assert refusal(lambda: put(wrong)) == (code, status), wrong
    assert refusal(lambda: put(rule(Expiration={"Days": 1}), rule(Expiration={"Days": 2})))[0] == "InvalidArgument"
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    s3.delete_bucket_lifecycle(Bucket=bucket)
    assert refusal(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == ("NoSuchLifecycleConfiguration", 404)


def test_lifecycle_rules_are_followed(tmp_path, clock_shift):
    door = start(tmp_path, {"lifecycle_every": "200ms"})
    kept = {"Bucket": "kept", "Key": "k"}
    with door.gateway:
        s3 = door.client()
        for name in ("plain", "kept"):
            s3.create_bucket(Bucket=name)
            for key in ("logs/a", "other"):
                s3.put_object(Bucket=name, Key=key, Body=content(SMALL))
        versions(s3, "kept", "Enabled")
        for body in (b"1", b"2"):
            s3.put_object(Body=body, **kept)
        rules = [rule(Filter={"Prefix": "logs/"}, Expiration={"Days": 1}),
                 rule(ID="n", Filter={"Prefix": "k"}, NoncurrentVersionExpiration={"NoncurrentDays": 1}),
                 rule(ID="u", Filter={"Prefix": "up"}, AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})]
        for key in ("up/1", "down/1"):
            s3.create_multipart_upload(Bucket="plain", Key=key)
        for name in ("plain", "kept"):
            s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        # A run after the rules were set ends nothing yet: it is not their time.
        assert run_job(door.gateway, "sweep", {"dry_run": True})["lifecycle"]["expired"] == 0
        assert door.gateway.stop() == 0
    door.gateway.process = None
    # Three days later. The client's clock must be near the gateway's, so the native API looks.
    door.gateway.env = {**clock_shift(3 * DAY), "RSB_LOG": "info"}
    with door.gateway:
        names = lambda bucket, query="": [o["key"] for o in door.gateway.request("GET", f"/v1/b/{bucket}/o{query}").json()["objects"]]
        wait_until(lambda: names("plain") == ["other"] and names("kept", "?versions=true") == ["k", "logs/a", "logs/a", "other"])
        wait_until(lambda: "plain/up/1" in door.gateway.log.read_text(errors="replace"))
        assert "plain/down/1" not in door.gateway.log.read_text(errors="replace")
        assert "ended by a lifecycle rule" in door.gateway.log.read_text(errors="replace")
        assert door.gateway.stop() == 0


# ── storage classes ──────────────────────────────────────────────────────────────────────────────────────────────────

@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_storage_class_chooses_the_scheme(door, s3, bucket, size):
    def scheme(key):
        found = rsb("--server", door.gateway.url, "--json", "stat", f"{bucket}/{key}", expect=0).json()
        return found["data_shards"], found["parity_shards"]
    data = content(size)
    for name, expected in [("STANDARD", (4, 2)), ("REDUCED_REDUNDANCY", (2, 1)), ("HOT", (1, 2)), ("STANDARD_IA", (4, 2))]:
        s3.put_object(Bucket=bucket, Key=name, Body=data, StorageClass=name)
        assert scheme(name) == expected
    copy = lambda key, **of: s3.copy_object(Bucket=bucket, Key=key, CopySource=f"{bucket}/HOT", **of)
    copy("colder", StorageClass="REDUCED_REDUNDANCY")
    copy("plain")
    copy("same", StorageClass="HOT")
    assert [scheme(key) for key in ("colder", "plain", "same")] == [(2, 1), (4, 2), (1, 2)]
    for key in ("HOT", "colder", "plain", "same"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == data
    assert s3.head_object(Bucket=bucket, Key="colder")["StorageClass"] == "REDUCED_REDUNDANCY"
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="plain")
    assert refusal(s3.put_object, Bucket=bucket, Key="x", Body=b"", StorageClass="GLACIER") == ("InvalidStorageClass", 400)


# ── what is not there ────────────────────────────────────────────────────────────────────────────────────────────────

def test_the_one_access_control_list(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    of_bucket = s3.get_bucket_acl(Bucket=bucket)
    assert [(grant["Grantee"]["ID"], grant["Permission"]) for grant in of_bucket["Grants"]] == [(of_bucket["Owner"]["ID"], "FULL_CONTROL")]
    assert s3.get_object_acl(Bucket=bucket, Key="k")["Grants"] == of_bucket["Grants"]
    given = {part: of_bucket[part] for part in ("Grants", "Owner")}
    for accepted in ({"ACL": "private"}, {"AccessControlPolicy": given}):
        s3.put_bucket_acl(Bucket=bucket, **accepted)
        s3.put_object_acl(Bucket=bucket, Key="k", **accepted)
    everybody = {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}
    for refused in ({"ACL": "public-read"}, {"AccessControlPolicy": {**given, "Grants": [everybody]}}, {"GrantRead": "id=x"}):
        assert refusal(s3.put_bucket_acl, Bucket=bucket, **refused) == ("NotImplemented", 501)
        assert refusal(s3.put_object_acl, Bucket=bucket, Key="k", **refused) == ("NotImplemented", 501)


def test_what_is_not_configured_says_so(s3, bucket):
    for call, code in [(s3.get_bucket_encryption, "ServerSideEncryptionConfigurationNotFoundError"),
                       (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
                       (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
                       (s3.get_public_access_block, "NoSuchPublicAccessBlockConfiguration")]:
        assert refusal(call, Bucket=bucket) == (code, 404)
        assert refusal(call, Bucket="not-there") == ("NoSuchBucket", 404)
    empty = {s3.get_bucket_notification_configuration: set(), s3.get_bucket_logging: set(),
             s3.get_bucket_accelerate_configuration: set(), s3.get_bucket_request_payment: {"Payer"},
             s3.list_bucket_analytics_configurations: {"IsTruncated"}, s3.list_bucket_metrics_configurations: {"IsTruncated"},
             s3.list_bucket_inventory_configurations: {"IsTruncated"},
             s3.list_bucket_intelligent_tiering_configurations: {"IsTruncated"}}
    for call, fields in empty.items():
        assert set(call(Bucket=bucket)) - {"ResponseMetadata"} == fields, call
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    encryption = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    assert refusal(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=encryption) == ("NotImplemented", 501)
    website = {"IndexDocument": {"Suffix": "index.html"}}
    assert refusal(s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration=website) == ("NotImplemented", 501)
