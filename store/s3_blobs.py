"""Blobs in a bucket of any store that speaks S3, through boto3."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmark.errors import InvalidInput, TooLarge
from store.errors import StorageFull
from store.remote_blobs import Missing, Passing, Refused

MULTIPART_FROM_BYTES = 64 * 1024 * 1024
"""Size from which a file is sent in parts; below it the store itself checks the hash of the whole."""
_CHUNK_BYTES = 1024 * 1024
_PARTS_AT_ONCE = 4
_TIMEOUT_S = 60
_CONNECT_TIMEOUT_S = 5
_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_FULL = frozenset({"QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})
_BROKEN_OFF = frozenset({"BadDigest", "IncompleteBody", "InvalidDigest", "NoSuchUpload", "XAmzContentSHA256Mismatch"})
_BUSY = frozenset({"RequestTimeout", "RequestTimeTooSkewed", "SlowDown", "Throttling", "ThrottlingException"})


@dataclass(frozen=True)
class Bucket:
    """Where the blobs are.

    Args:
        name: the bucket.
        prefix: what every key begins with, without slashes at the ends; may be empty.
        endpoint: address of the store; Amazon's own where it is None.
        region: the bucket's region; None leaves it to boto3's usual configuration.
    """

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None


class S3Remote:
    """A bucket. Credentials come from where boto3 looks for them: environment, shared files, the machine's role.

    Args:
        bucket: where the blobs are.
        multipart_from: size from which a file is sent in parts.
    Raises:
        InvalidInput: boto3 is not installed.
    """

    def __init__(self, bucket: Bucket, multipart_from: int = MULTIPART_FROM_BYTES) -> None:
        try:
            import boto3
            from boto3.s3.transfer import TransferConfig
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ModuleNotFoundError:
            raise InvalidInput.because(
                "blobs_url",
                found="an address that begins with s3://, and no boto3",
                expected="boto3, by which such an address is reached",
                remedy="install it: pip install 'gauntlet-benchmark[s3]'",
            ) from None
        self._bucket = bucket
        self._multipart_from = multipart_from
        self._transfer = TransferConfig(
            multipart_threshold=multipart_from, multipart_chunksize=multipart_from, max_concurrency=_PARTS_AT_ONCE
        )
        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
            # A part that fails is sent again by itself, for a file of many parts would hardly ever arrive at once.
            retries={"mode": "standard", "total_max_attempts": 2},
            # Stores of one's own seldom have a host name for every bucket.
            s3={"addressing_style": "path" if bucket.endpoint else "auto"},
            # The hash that we ask for is checked; what boto3 would add of its own not every store knows.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            self.client = boto3.session.Session().client(
                "s3", endpoint_url=bucket.endpoint, region_name=bucket.region, config=config
            )
        except (BotoCoreError, ValueError) as error:
            raise InvalidInput.because(
                "blobs_url",
                found=f"a store that boto3 cannot use: {error}",
                expected="s3://bucket/prefix?endpoint=https://host&region=name",
                remedy="correct the address or boto3's own configuration",
            ) from None

    def require_access(self) -> None:
        """Raise Refused where there is no such bucket, or none that we may list."""
        try:
            with _translated():
                self.client.head_bucket(Bucket=self._bucket.name)
        except Missing:
            raise Refused(f"there is no bucket {self._bucket.name}") from None

    def size(self, sha256: str) -> int | None:
        """Return the length of a blob; None where there is none."""
        try:
            with _translated():
                head = self.client.head_object(Bucket=self._bucket.name, Key=self._key(sha256))
        except Missing:
            self.require_access()  # else every file of a bucket that is gone would count as lost
            return None
        return int(head["ContentLength"])

    def fetch(self, sha256: str, write: Callable[[bytes], None]) -> None:
        """Pass a blob's content to ``write`` piece by piece; Missing where there is none."""
        with _translated():
            body = self.client.get_object(Bucket=self._bucket.name, Key=self._key(sha256))["Body"]
            try:
                for chunk in body.iter_chunks(_CHUNK_BYTES):
                    write(chunk)
            finally:
                body.close()

    def send(self, sha256: str, path: Path) -> None:
        """Store a file as a blob; where that breaks off, nothing is visible."""
        size = path.stat().st_size
        target = {"Bucket": self._bucket.name, "Key": self._key(sha256)}
        with _translated(), path.open("rb") as file:
            if size < self._multipart_from:
                digest = base64.b64encode(bytes.fromhex(sha256)).decode()
                self.client.put_object(**target, Body=file, ContentLength=size, ChecksumSHA256=digest)
            else:
                arguments = {"ChecksumAlgorithm": "SHA256"}
                self.client.upload_fileobj(file, **target, ExtraArgs=arguments, Config=self._transfer)

    def remove(self, sha256: str) -> None:
        """Remove a blob; one that is not there is no error."""
        with suppress(Missing), _translated():
            self.client.delete_object(Bucket=self._bucket.name, Key=self._key(sha256))

    def discard_stale(self, older_than_s: float) -> int:
        """Abort uploads in parts that nobody has completed; return how many."""
        before = datetime.now(UTC) - timedelta(seconds=older_than_s)
        removed = 0
        with _translated():
            pages = self.client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self._bucket.name, Prefix=self._key("")):
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < before:
                        target = {"Bucket": self._bucket.name, "Key": upload["Key"], "UploadId": upload["UploadId"]}
                        self.client.abort_multipart_upload(**target)
                        removed += 1
        return removed

    def close(self) -> None:
        """Close all connections."""
        self.client.close()

    def _key(self, sha256: str) -> str:
        """Return a blob's key; the same as its path in a directory of blobs, so that one can be copied to the other."""
        place = f"sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}" if sha256 else "sha256/"
        return f"{self._bucket.prefix}/{place}" if self._bucket.prefix else place


@contextmanager
def _translated() -> Iterator[None]:
    """Translate boto3's errors into those of a remote store."""
    from botocore import exceptions

    try:
        yield
    except exceptions.ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise meaning(code, status, str(error.operation_name)) from None
    except (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError) as error:
        raise Passing(f"{type(error).__name__}: {error}") from None
    except exceptions.BotoCoreError as error:
        raise Refused(f"{type(error).__name__}: {error}") from None


def meaning(code: str, status: int, operation: str) -> Exception:
    """Return what the store's error is to us."""
    said = f"{operation} was answered with {code or 'no code'} (HTTP status {status})"
    if code in _MISSING:
        return Missing()
    if code in _FULL or status == 507:
        return StorageFull("The service has too little storage left; nothing was stored. Try again later.")
    if code == "EntityTooLarge":
        return TooLarge.because("file", found=code, expected="a file that the store takes", remedy="send a smaller one")
    if status >= 500 or status == 429 or code in _BUSY or code in _BROKEN_OFF:
        return Passing(said)
    return Refused(said)
