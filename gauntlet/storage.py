"""Where the blobs are, as the settings say."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from api.validation import shown
from benchmark.errors import InvalidInput
from gauntlet.settings import Settings
from store.blob_cache import BlobCache
from store.blobs import Blobs, LocalBlobs
from store.http_blobs import HttpRemote
from store.remote_blobs import Remote, RemoteBlobs
from store.s3_blobs import Bucket, S3Remote

FORMS = "file:///directory, s3://bucket/prefix?endpoint=https://host&region=name, or https://host of the service"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_REGION = re.compile(r"[a-z0-9-]{1,32}")


def open_blobs(settings: Settings) -> Blobs:
    """Open the store of blobs that the settings name, and find out whether it lets us in.

    Raises:
        InvalidInput: the address cannot be used, or the store refuses us.
    """
    if settings.blobs_url is None:
        return LocalBlobs(settings.var_dir / "blobs")
    parts = _split(settings.blobs_url)
    if parts.scheme == "file":
        return LocalBlobs(_directory(parts))
    remote = _remote(parts, settings)
    blobs = RemoteBlobs(remote, BlobCache(settings.var_dir / "blob-cache", settings.blob_cache_bytes))
    blobs.require_access()
    return blobs


def require_own_storage(settings: Settings) -> None:
    """Refuse settings under which the service would ask itself for its files.

    Raises:
        InvalidInput: the files are said to be with a service.
    """
    if settings.blobs_url is not None and _split(settings.blobs_url).scheme in {"http", "https"}:
        raise _refused(
            "the address of a service", "a directory or a bucket: a service's address is for its workers alone"
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _refused("an address that cannot be read", FORMS) from None
    if parts.username is not None or parts.password is not None:
        raise _refused(
            "an address with a name or a password in it",
            "an address alone; a bucket's credentials come from boto3's own configuration, a service's token from "
            "GAUNTLET_WORKER_TOKEN",
        )
    if parts.fragment or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise _refused("an address with blanks or a fragment", FORMS)
    return parts


def _remote(parts: SplitResult, settings: Settings) -> Remote:
    match parts.scheme:
        case "s3":
            return S3Remote(_bucket(parts))
        case "http" | "https":
            return _service(parts, settings)
        case _:
            raise _refused(f"an address that begins with {shown(parts.scheme)}", FORMS)


def _directory(parts: SplitResult) -> Path:
    path = Path(unquote(parts.path))
    if parts.netloc or parts.query or not path.is_absolute() or path == Path("/"):
        raise _refused(
            f"the path {shown(parts.path)}", "file:/// and the absolute path of a directory, and nothing else"
        )
    return path


def _bucket(parts: SplitResult) -> Bucket:
    options = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in options]
    prefix = parts.path.strip("/")
    if not _BUCKET.fullmatch(parts.netloc):
        raise _refused(f"the bucket {shown(parts.netloc)}", "the name of a bucket after s3://")
    if prefix and (not _PREFIX.fullmatch(prefix) or {".", ".."} & set(prefix.split("/"))):
        raise _refused(f"the prefix {shown(prefix)}", "letters, digits and . _ - between slashes")
    if not set(names) <= {"endpoint", "region"} or len(names) > len(set(names)):
        raise _refused(f"the options {shown(names)}", "endpoint and region, each at most once")
    given = dict(options)
    endpoint, region = given.get("endpoint"), given.get("region")
    if endpoint is not None:
        where = _split(endpoint)
        if where.scheme not in {"http", "https"} or not where.hostname or where.path.strip("/") or where.query:
            raise _refused("an endpoint of another form", "http:// or https://, a host, and maybe a port")
    if region is not None and not _REGION.fullmatch(region):
        raise _refused(f"the region {shown(region)}", "a region such as eu-central-1")
    return Bucket(parts.netloc, prefix, endpoint, region)


def _service(parts: SplitResult, settings: Settings) -> HttpRemote:
    if not parts.hostname or parts.query:
        found = "an address with options" if parts.query else "an address without a host"
        raise _refused(found, "https://, the service's host, and maybe a port and a path")
    if settings.worker_token is None:
        raise InvalidInput.because(
            "worker_token",
            found="nothing",
            expected="the token that the service has, for its files are reached with it",
            remedy="set GAUNTLET_WORKER_TOKEN to the service's value",
        )
    return HttpRemote(parts.geturl(), settings.worker_token)


def _refused(found: str, expected: str) -> InvalidInput:
    return InvalidInput.because("blobs_url", found=found, expected=expected, remedy="correct GAUNTLET_BLOBS_URL")
