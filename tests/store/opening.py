"""How tests open stores of blobs that lie elsewhere; light enough for processes that do nothing else."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from store.blob_cache import BlobCache
from store.blobs import Blobs, LocalBlobs
from store.http_blobs import HttpRemote
from store.remote_blobs import Remote, RemoteBlobs
from store.s3_blobs import Bucket, S3Remote

TOKEN = "a-token-of-the-tests-0123456789ABCDEF"
CACHE_BYTES = 1_000_000_000
QUICK = (0.01, 0.01, 0.01)
PREFIX = "some/prefix"


def remote_blobs(remote: Remote, cache: Path, limit: int = CACHE_BYTES) -> RemoteBlobs:
    """A remote store with an empty cache, and without long rests."""
    return RemoteBlobs(remote, BlobCache(cache, limit, free_floor_bytes=0), QUICK)


def opened_elsewhere(kind: str, address: str, local: Path) -> Blobs:
    """Open a place once more, as another process on the same machine does."""
    if kind == "local":
        return LocalBlobs(local, free_floor_bytes=0)
    if kind == "http":
        return remote_blobs(HttpRemote(address, SecretStr(TOKEN)), local)
    url, _, bucket = address.partition(" ")
    return remote_blobs(bucket_of(url, bucket), local)


def bucket_of(url: str, name: str) -> S3Remote:
    return S3Remote(Bucket(name, PREFIX, url), multipart_from=5 * 1024 * 1024)
