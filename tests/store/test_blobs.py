"""Blobs: complete and under their own hash, or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from benchmark.errors import InvalidSubmission, NotFound, TooLarge
from store.blobs import LocalBlobs
from store.errors import StorageFull


def remains(blobs: LocalBlobs) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


def test_written_in_pieces_and_found_by_hash(blobs: LocalBlobs) -> None:
    expected = hashlib.sha256(b"hello world").hexdigest()
    writer = blobs.writer(11)
    writer.write(b"hello ")
    writer.write(b"world")
    assert not blobs.exists(expected)
    assert writer.commit(expected) == expected
    assert blobs.read(expected) == b"hello world"
    assert blobs.size(expected) == 11
    assert remains(blobs) == [blobs.root / "sha256" / expected[:2] / expected[2:4] / expected] == [blobs.path(expected)]


def test_the_same_content_twice_is_one_blob(blobs: LocalBlobs) -> None:
    assert blobs.put(b"same") == blobs.put(b"same")
    assert len(remains(blobs)) == 1


def test_a_wrong_hash_leaves_nothing(blobs: LocalBlobs) -> None:
    writer = blobs.writer(100)
    writer.write(b"other")
    with pytest.raises(InvalidSubmission) as caught:
        writer.commit(hashlib.sha256(b"hello").hexdigest())
    assert caught.value.detail is not None
    assert caught.value.detail.found == hashlib.sha256(b"other").hexdigest()
    assert remains(blobs) == []


def test_too_much_leaves_nothing(blobs: LocalBlobs) -> None:
    writer = blobs.writer(10)
    writer.write(b"0123456789")
    with pytest.raises(TooLarge):
        writer.write(b"x")
    assert remains(blobs) == []


def test_an_aborted_upload_leaves_nothing(blobs: LocalBlobs) -> None:
    writer = blobs.writer(10)
    writer.write(b"half")
    assert len(remains(blobs)) == 1
    writer.abort()
    writer.abort()
    assert remains(blobs) == []


def test_abort_after_commit_keeps_the_blob(blobs: LocalBlobs) -> None:
    writer = blobs.writer(10)
    writer.write(b"whole")
    sha256 = writer.commit()
    writer.abort()
    assert blobs.read(sha256) == b"whole"


def test_only_stale_uploads_are_discarded(blobs: LocalBlobs) -> None:
    stale = blobs.writer(10)
    stale.write(b"stale")
    (path,) = remains(blobs)
    fresh = blobs.writer(10)
    fresh.write(b"fresh")
    os.utime(path, (1, 1))
    kept = blobs.put(b"kept")
    os.utime(blobs.path(kept), (1, 1))
    assert blobs.discard_stale(3_600) == 1
    assert not path.exists()
    assert blobs.exists(kept)
    assert blobs.read(fresh.commit()) == b"fresh"
    stale.abort()


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n", "g" * 64])
def test_what_is_no_hash_names_no_file(blobs: LocalBlobs, name: str) -> None:
    assert not blobs.exists(name)
    with pytest.raises(NotFound):
        blobs.path(name)


def test_an_unknown_hash_is_not_found(blobs: LocalBlobs) -> None:
    for ask in (blobs.read, blobs.path, blobs.size):
        with pytest.raises(NotFound):
            ask("0" * 64)


def test_the_disk_is_never_filled(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StorageFull):
        LocalBlobs(tmp_path / "full", free_floor_bytes=free * 2).writer(1)
    nearly = LocalBlobs(tmp_path / "nearly", free_floor_bytes=0)
    writer = nearly.writer(10**9)
    nearly.free_floor_bytes = free * 2
    with pytest.raises(StorageFull):
        writer.write(bytes(16 * 1024 * 1024))
    assert remains(nearly) == []
