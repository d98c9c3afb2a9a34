"""What is particular to a bucket."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from benchmark.errors import InvalidInput, TooLarge
from store.blobs import LocalBlobs
from store.errors import StorageFull
from store.remote_blobs import Missing, Passing, Refused
from store.s3_blobs import Bucket, S3Remote, meaning
from tests.s3_server import S3Server
from tests.store.opening import remote_blobs

PART = 5 * 1024 * 1024

pytestmark = pytest.mark.usefixtures("s3_credentials")


@pytest.fixture
def bucket(s3_server: S3Server) -> Bucket:
    return Bucket(s3_server.bucket(), "", s3_server.url)


@pytest.fixture
def remote(bucket: Bucket) -> Iterator[S3Remote]:
    remote = S3Remote(bucket, multipart_from=PART)
    yield remote
    remote.close()


def test_the_store_is_told_the_hash(remote: S3Remote, bucket: Bucket, tmp_path: Path) -> None:
    """Stores that check it refuse what was damaged on its way; the one of the tests only keeps it."""
    sha256 = remote_blobs(remote, tmp_path / "cache").put(b"content")
    client = boto3.client("s3", endpoint_url=bucket.endpoint, region_name="us-east-1")
    key = f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"
    head = client.head_object(Bucket=bucket.name, Key=key, ChecksumMode="ENABLED")
    client.close()
    assert base64.b64decode(head["ChecksumSHA256"]).hex() == sha256


def test_every_part_of_a_large_file_bears_its_hash(remote: S3Remote, tmp_path: Path) -> None:
    content = os.urandom(2 * PART + 1)
    told: list[bytes] = []
    remote.client.meta.events.register(
        "before-send.s3.UploadPart", lambda request, **_: told.append(request.headers["x-amz-checksum-sha256"])
    )
    remote_blobs(remote, tmp_path / "cache").put(content)
    parts = [content[i : i + PART] for i in range(0, len(content), PART)]
    assert {base64.b64decode(hash_).hex() for hash_ in told} == {hashlib.sha256(part).hexdigest() for part in parts}


def test_a_directory_of_blobs_can_be_copied_into_a_bucket(
    remote: S3Remote, bucket: Bucket, s3_server: S3Server, tmp_path: Path
) -> None:
    local = LocalBlobs(tmp_path / "blobs", free_floor_bytes=0)
    kept = [local.put(b"one"), local.put(b"two")]
    shutil.copytree(local.root / "sha256", s3_server.root / bucket.name / "sha256")
    blobs = remote_blobs(remote, tmp_path / "cache")
    assert [blobs.read(sha256) for sha256 in kept] == [b"one", b"two"]


def test_uploads_in_parts_that_nobody_completes_are_discarded(remote: S3Remote, bucket: Bucket, tmp_path: Path) -> None:
    client = boto3.client("s3", endpoint_url=bucket.endpoint, region_name="us-east-1")
    for key in ("sha256/ab/cd/left-behind", "of/another/program"):
        target = {"Bucket": bucket.name, "Key": key}
        upload = client.create_multipart_upload(**target)
        client.upload_part(**target, UploadId=upload["UploadId"], PartNumber=1, Body=b"x" * 1_000)
    blobs = remote_blobs(remote, tmp_path / "cache")
    assert blobs.discard_stale(3_600) == 0
    assert blobs.discard_stale(-60) == 1
    left = client.list_multipart_uploads(Bucket=bucket.name)["Uploads"]
    client.close()
    assert [upload["Key"] for upload in left] == ["of/another/program"]


def test_a_missing_boto3_is_named_with_its_remedy(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InvalidInput) as caught:
        S3Remote(bucket)
    assert caught.value.detail is not None
    assert "gauntlet-benchmark[s3]" in caught.value.detail.remedy


def test_a_bucket_without_credentials_refuses(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    remote = S3Remote(bucket)
    with pytest.raises(Refused, match="NoCredentialsError"):
        remote.require_access()
    remote.close()


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, Missing),
        ("404", 404, Missing),
        ("NoSuchBucket", 404, Refused),
        ("403", 403, Refused),
        ("SignatureDoesNotMatch", 403, Refused),
        ("PermanentRedirect", 301, Refused),
        ("XMinioStorageFull", 507, StorageFull),
        ("QuotaExceeded", 403, StorageFull),
        ("EntityTooLarge", 400, TooLarge),
        ("BadDigest", 400, Passing),
        ("XAmzContentSHA256Mismatch", 400, Passing),
        ("SlowDown", 503, Passing),
        ("InternalError", 500, Passing),
        ("", 502, Passing),
        ("RequestTimeout", 400, Passing),
        ("NoSuchUpload", 404, Passing),
    ],
)
def test_each_error_of_a_store_is_final_or_passes(code: str, status: int, kind: type[Exception]) -> None:
    """Most of these the store of the tests cannot be brought to say."""
    assert type(meaning(code, status, "PutObject")) is kind
