"""Stores on other machines, over networks that break and with copies that rot."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from benchmark.errors import InvalidInput, NotFound
from store.errors import StorageUnavailable
from store.http_blobs import HttpRemote
from store.remote_blobs import RemoteBlobs
from store.s3_blobs import Bucket, S3Remote
from tests.cutting import Cutting, cutting
from tests.running import Running
from tests.s3_server import SECRET, S3Server
from tests.store.opening import PREFIX, TOKEN, remote_blobs
from tests.store.places import Place
from tests.worker.work import wait_for

CONTENT = hashlib.shake_256(b"content").digest(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass(frozen=True)
class Far:
    """A store behind a network that can be made to fail.

    Args:
        place: the store.
        network: the network.
    """

    place: Place
    network: Cutting

    @property
    def blobs(self) -> RemoteBlobs:
        assert isinstance(self.place.blobs, RemoteBlobs)
        return self.place.blobs

    def copies(self) -> list[Path]:
        """Return the local copies."""
        return [path for path in (self.place.local / "sha256").rglob("*") if path.is_file()]


@pytest.fixture(params=["http", "s3"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    """Each of the stores that lie elsewhere."""
    make = far_http if request.param == "http" else far_s3
    with make(request, tmp_path) as store:
        yield store


@contextmanager
def far_http(request: pytest.FixtureRequest, path: Path) -> Iterator[Far]:
    service: Running = request.getfixturevalue("blob_service")
    with cutting(service.url) as network:
        blobs = remote_blobs(HttpRemote(network.url, SecretStr(TOKEN)), path / "cache")
        yield Far(Place("http", network.url, blobs, service.blobs, path / "cache", lambda _: None), network)
        blobs.close()


@contextmanager
def far_s3(request: pytest.FixtureRequest, path: Path) -> Iterator[Far]:
    request.getfixturevalue("s3_credentials")
    server: S3Server = request.getfixturevalue("s3_server")
    bucket = server.bucket()
    with cutting(server.url) as network:
        remote = S3Remote(Bucket(bucket, PREFIX, network.url), multipart_from=5 * 1024 * 1024)
        blobs = remote_blobs(remote, path / "cache")
        root = server.root / bucket / PREFIX
        yield Far(Place("s3", network.url, blobs, root, path / "cache", lambda _: None), network)
        blobs.close()


def stored(far: Far, content: bytes = CONTENT) -> str:
    """Put a blob into the store, and nothing into the cache."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = far.place.root / "sha256" / sha256[:2] / sha256[2:4] / sha256
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return sha256


def test_a_download_that_breaks_off_is_begun_again(far: Far) -> None:
    stored(far)
    far.network.answers = [1_000_000, 2_000_000]
    assert far.blobs.read(SHA256) == CONTENT
    assert far.network.connections >= 3
    assert [path.name for path in far.copies()] == [SHA256]
    assert far.place.in_the_making() == []


def test_a_download_that_always_breaks_off_leaves_nothing(far: Far) -> None:
    stored(far)
    far.network.answers = [1_000_000] * 100
    with pytest.raises(StorageUnavailable):
        far.blobs.path(SHA256)
    assert far.copies() == far.place.in_the_making() == []
    assert far.network.connections < 20
    far.network.answers.clear()
    assert far.blobs.read(SHA256) == CONTENT


def test_an_upload_that_breaks_off_is_begun_again(far: Far) -> None:
    far.network.requests = [1_000_000, 2_000_000]
    assert far.blobs.put(CONTENT) == SHA256
    assert far.network.connections >= 3
    assert [Path(path).name for path in far.place.stored()] == [SHA256]
    assert far.blobs.read(SHA256) == CONTENT


@pytest.mark.parametrize("size", [3_000_000, 11_000_000], ids=["whole", "in-parts"])
def test_an_upload_that_always_breaks_off_leaves_nothing_to_be_seen(far: Far, size: int) -> None:
    content = os.urandom(size)
    sha256 = hashlib.sha256(content).hexdigest()
    far.network.requests = [1_000_000] * 1_000
    with pytest.raises(StorageUnavailable):
        far.blobs.put(content)
    far.network.requests.clear()
    assert not far.blobs.exists(sha256)
    # A store may take a moment to notice that the rest does not come, and has a file of its own until then.
    wait_for(lambda: far.place.stored() == [])
    assert far.copies() == far.place.in_the_making() == []
    assert far.blobs.put(content) == sha256
    assert far.blobs.exists(sha256)


def test_a_store_that_nobody_runs_is_unavailable_after_a_few_attempts(far: Far) -> None:
    far.blobs.put(b"before")
    far.network.close()
    for ask in (far.blobs.exists, far.blobs.size, far.blobs.path):
        with pytest.raises(StorageUnavailable) as caught:
            ask(SHA256)
        assert far.place.address not in caught.value.message
    with pytest.raises(StorageUnavailable):
        far.blobs.put(CONTENT)
    assert far.place.in_the_making() == []
    assert far.blobs.read(hashlib.sha256(b"before").hexdigest()) == b"before", "a local copy needs no store"
    assert far.blobs.discard_stale(0) == 0, "tidying up can wait"
    far.blobs.require_access()


def test_a_damaged_copy_is_fetched_again(far: Far) -> None:
    sha256 = far.blobs.put(CONTENT)
    path = far.blobs.path(sha256)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert far.blobs.path(sha256).read_bytes() == CONTENT
    path.unlink()
    assert far.blobs.read(sha256) == CONTENT


@pytest.mark.parametrize("foreign", [b"", b"other", CONTENT[:-1], CONTENT[:-1] + b"x", CONTENT + b"x"])
def test_what_lies_under_a_foreign_hash_is_never_handed_out(far: Far, foreign: bytes) -> None:
    stored(far)
    next(path for path in far.place.root.rglob(SHA256)).write_bytes(foreign)
    with pytest.raises(NotFound) as caught:
        far.blobs.path(SHA256)
    assert caught.value.detail is not None
    assert "does not have its hash" in caught.value.detail.found
    assert far.copies() == far.place.in_the_making() == []


def test_what_is_there_is_not_sent_again(far: Far) -> None:
    stored(far)
    (path,) = far.place.root.rglob(SHA256)
    os.utime(path, (1, 1))
    assert far.blobs.put(CONTENT) == SHA256
    assert path.stat().st_mtime == 1
    path.write_bytes(CONTENT[:5])  # no store of ours leaves that behind, but a copying program might
    assert far.blobs.put(CONTENT) == SHA256
    assert path.read_bytes() == CONTENT


def test_readers_at_once_fetch_once(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(far)
    fetched: list[str] = []
    fetch = far.blobs.remote.fetch

    def counted(sha256: str, write: Callable[[bytes], None]) -> None:
        fetched.append(sha256)
        fetch(sha256, write)

    monkeypatch.setattr(far.blobs.remote, "fetch", counted)
    read: list[bytes] = []
    threads = [threading.Thread(target=lambda: read.append(far.blobs.read(SHA256))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [CONTENT] * 5
    assert fetched == [SHA256]


def test_the_cache_is_bounded(far: Far) -> None:
    blobs = remote_blobs(far.blobs.remote, far.place.local, limit=1_000_000)
    blobs.cache.in_use_s = 0
    for i in range(10):
        content = bytes([i]) * 300_000
        assert blobs.put(content) == hashlib.sha256(content).hexdigest()
        assert sum(path.stat().st_size for path in far.copies()) <= 1_000_000
    shutil.rmtree(far.place.local / "sha256")
    for i in range(10):
        content = bytes([i]) * 300_000
        assert blobs.path(hashlib.sha256(content).hexdigest()).exists()
        assert sum(path.stat().st_size for path in far.copies()) <= 1_000_000


def test_no_secret_is_logged_or_told(far: Far, caplog: pytest.LogCaptureFixture) -> None:
    """Everything is logged, by every library, while a transfer succeeds, breaks off, and finds nobody."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("botocore").setLevel(logging.INFO)  # what it logs below is a transcript, for development
        far.blobs.put(CONTENT)
        far.blobs.exists("0" * 64)
        far.network.close()
        with pytest.raises(StorageUnavailable) as caught:
            far.blobs.put(b"other")
    logged = f"{caplog.text} {[vars(record) for record in caplog.records]}"
    assert "the store of the blobs failed for now" in logged
    for secret in (TOKEN, SECRET):
        assert secret not in logged
        assert secret not in repr(caught.value.as_json()) + repr(caught.value)


def test_waiting_is_bounded(far: Far) -> None:
    blobs = RemoteBlobs(far.blobs.remote, far.blobs.cache, waits_s=(0.2, 0.3))
    far.network.close()
    before = time.monotonic()
    with pytest.raises(StorageUnavailable):
        blobs.size(SHA256)
    assert 0.5 <= time.monotonic() - before < 30


@pytest.mark.parametrize("bucket", ["no-such-bucket", None])
@pytest.mark.usefixtures("s3_credentials")
def test_a_bucket_that_refuses_is_told_at_the_start(
    s3_server: S3Server, tmp_path: Path, bucket: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bucket is None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret-of-the-tests")
    blobs = remote_blobs(S3Remote(Bucket(bucket or s3_server.bucket(), "", s3_server.url)), tmp_path / "cache")
    with pytest.raises(InvalidInput, match="no-such-bucket" if bucket else "403") as caught:
        blobs.require_access()
    assert "a-wrong-secret-of-the-tests" not in caught.value.message
    blobs.close()


def test_a_service_that_refuses_is_told_at_the_start_and_later(
    blob_service: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = TOKEN.swapcase()
    blobs = remote_blobs(HttpRemote(blob_service.url, SecretStr(wrong)), tmp_path / "cache")
    with pytest.raises(InvalidInput, match="another worker_token") as caught:
        blobs.require_access()
    with pytest.raises(StorageUnavailable) as later:
        blobs.put(b"x")
    assert "another worker_token" in caplog.text
    for text in (caplog.text, repr(caught.value.as_json()), repr(later.value.as_json())):
        assert wrong not in text
        assert TOKEN not in text
    assert blob_service.files() == []
    blobs.close()
