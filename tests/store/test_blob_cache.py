"""Local copies of blobs: bounded, verified, and never taken from under a reader."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest

from store.blob_cache import BlobCache
from store.errors import StorageFull

SIZE = 1_000


def cached(cache: BlobCache, content: bytes, age_s: float = 0) -> str:
    """Put a copy into the cache as if it had been used that long ago."""
    writer = cache.writer(len(content), expected=len(content))
    writer.write(content)
    sha256 = writer.commit()
    used = time.time() - age_s
    os.utime(cache.files.path(sha256), (used, used))
    cache.added(len(content))
    return sha256


def content(number: int) -> bytes:
    return bytes([number]) * SIZE


def held(cache: BlobCache) -> set[str]:
    return {path.name for path in (cache.files.root / "sha256").rglob("*") if path.is_file()}


def size_of(cache: BlobCache) -> int:
    return sum(path.stat().st_size for path in (cache.files.root / "sha256").rglob("*") if path.is_file())


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 4 * SIZE, free_floor_bytes=0)
    copies = [cached(cache, content(i), age_s=1_000 - i) for i in range(3)]
    assert held(cache) == set(copies)
    assert cache.find(copies[0]) is not None  # now it is the most recently used
    newest = cached(cache, content(9), age_s=500)
    assert held(cache) == {copies[0], copies[2], newest}


def test_the_limit_holds_over_many_copies_and_processes(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 10 * SIZE, free_floor_bytes=0)
    for i in range(100):
        if i % 20 == 0:
            cache = BlobCache(tmp_path, 10 * SIZE, free_floor_bytes=0)  # as a new process opens it
        cached(cache, content(i), age_s=1_000 - i)
        assert min(i + 1, 9) * SIZE <= size_of(cache) <= 10 * SIZE


def test_a_copy_handed_out_stays_although_the_limit_is_exceeded(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 2 * SIZE, free_floor_bytes=0)
    copies = [cached(cache, content(i)) for i in range(6)]
    assert held(cache) == set(copies)
    for sha256 in copies:
        os.utime(cache.files.path(sha256), (1, 1))
    last = cached(cache, content(7))
    assert held(cache) == {last}, "what is no longer in use goes as soon as there is something new"


def test_an_open_copy_is_read_to_its_end_though_it_was_removed(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, SIZE, free_floor_bytes=0)
    path = cache.find(cached(cache, content(1)))
    assert path is not None
    with path.open("rb") as file:
        half = file.read(SIZE // 2)
        os.utime(path, (1, 1))
        cached(cache, content(2))
        assert not path.exists()
        assert half + file.read() == content(1)


@pytest.mark.parametrize(
    "damage", [b"", b"x", b"\x01" * (SIZE - 1), b"\x01" * (SIZE - 1) + b"\x02", b"\x01" * (SIZE + 1)]
)
def test_a_damaged_copy_is_not_handed_out(tmp_path: Path, damage: bytes) -> None:
    cache = BlobCache(tmp_path, 10 * SIZE, free_floor_bytes=0)
    sha256 = cached(cache, content(1))
    assert cache.find(sha256) is not None
    cache.files.path(sha256).write_bytes(damage)
    assert cache.find(sha256) is None
    assert cached(cache, content(1)) == sha256
    assert cache.find(sha256) is not None


def test_a_copy_that_anybody_removed_is_missing_and_no_error(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 10 * SIZE, free_floor_bytes=0)
    sha256 = cached(cache, content(1))
    shutil.rmtree(tmp_path / "sha256")
    assert cache.find(sha256) is None


def test_copies_give_way_where_the_disk_is_full(tmp_path: Path) -> None:
    cache = BlobCache(tmp_path, 100 * SIZE, free_floor_bytes=0)
    old = cached(cache, content(1), age_s=1_000)
    recent = cached(cache, content(2))
    assert held(cache) == {old, recent}
    cache.files.free_floor_bytes = shutil.disk_usage(tmp_path).free * 2
    with pytest.raises(StorageFull):
        cache.writer(SIZE)
    assert held(cache) == {recent}


@pytest.mark.slow
def test_readers_always_get_what_they_asked_for_while_others_evict(tmp_path: Path) -> None:
    """Two caches stand for two processes: they share nothing but the directory."""
    caches = [BlobCache(tmp_path, 5 * SIZE, free_floor_bytes=0, in_use_s=0.5) for _ in range(2)]
    found: list[bool] = []
    end = time.monotonic() + 4

    def work(cache: BlobCache, seed: int) -> None:
        choose = random.Random(seed)  # noqa: S311
        while time.monotonic() < end:
            data = content(choose.randrange(30))
            sha256 = hashlib.sha256(data).hexdigest()
            asked = time.monotonic()
            path = cache.find(sha256)
            if path is None:
                with cache.fetching(sha256):
                    path = cache.files.path(cached(cache, data))
            try:
                found.append(path.read_bytes() == data)
            except FileNotFoundError:
                found.append(time.monotonic() - asked > cache.in_use_s)  # only a machine that stood still so long

    threads = [threading.Thread(target=work, args=(caches[i % 2], i)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found)
    assert len(found) > 100
