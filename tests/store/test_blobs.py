"""Blobs, wherever they lie: complete and under their own hash, or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmark.errors import InvalidSubmission, NotFound, TooLarge
from store.errors import StorageFull
from tests.store.places import Place

BIG = 11 * 1024 * 1024
"""Three parts where files are sent in parts."""

NO_HASHES = [
    "",
    "..",
    "../../etc/passwd",
    "a" * 63,
    "A" * 64,
    "g" * 64,
    "a" * 64 + "\n",
    "a" * 62 + "\r\n",
    "a" * 60 + "/../",
    "a" * 64 + "?x=1",
    "%2e%2e%2f" + "a" * 55,
]


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def below(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


def test_written_in_pieces_and_found_by_hash(place: Place) -> None:
    expected = sha256_of(b"hello world")
    writer = place.blobs.writer(11)
    writer.write(b"hello ")
    writer.write(b"world")
    assert writer.sha256 == expected
    assert not place.blobs.exists(expected)
    assert place.stored() == []
    assert writer.commit(expected) == expected
    assert place.blobs.exists(expected)
    assert place.blobs.read(expected) == place.blobs.path(expected).read_bytes() == b"hello world"
    assert place.blobs.size(expected) == 11
    assert place.stored() == [below(expected)]
    assert place.others() == []


def test_the_same_content_twice_is_one_blob(place: Place) -> None:
    assert place.blobs.put(b"same") == place.blobs.put(b"same")
    assert len(place.stored()) == 1


@pytest.mark.parametrize("size", [0, 1, BIG])
def test_any_size_comes_back_whole_where_nothing_is_cached(place: Place, size: int) -> None:
    content = os.urandom(size)
    sha256 = place.blobs.put(content)
    forget(place)
    assert place.blobs.size(sha256) == size
    assert place.blobs.read(sha256) == content
    assert place.others() == []


def test_a_wrong_hash_leaves_nothing(place: Place) -> None:
    writer = place.blobs.writer(100)
    writer.write(b"other")
    with pytest.raises(InvalidSubmission) as caught:
        writer.commit(sha256_of(b"hello"))
    assert caught.value.detail is not None
    assert caught.value.detail.found == sha256_of(b"other")
    assert place.everything() == []


def test_what_the_check_refuses_leaves_nothing(place: Place) -> None:
    seen: list[bytes] = []

    def refuse(path: Path) -> None:
        seen.append(path.read_bytes())
        assert place.stored() == []
        raise TooLarge("No.")

    writer = place.blobs.writer(100)
    writer.write(b"content")
    with pytest.raises(TooLarge, match="No"):
        writer.commit(check=refuse)
    assert seen == [b"content"]
    assert not place.blobs.exists(sha256_of(b"content"))
    assert place.everything() == []


def test_too_much_leaves_nothing(place: Place) -> None:
    writer = place.blobs.writer(10)
    writer.write(b"0123456789")
    with pytest.raises(TooLarge):
        writer.write(b"x")
    assert place.everything() == []


def test_an_aborted_upload_leaves_nothing(place: Place) -> None:
    writer = place.blobs.writer(10)
    writer.write(b"half")
    assert len(place.in_the_making()) == 1
    writer.abort()
    writer.abort()
    assert place.everything() == []


def test_abort_after_commit_keeps_the_blob(place: Place) -> None:
    writer = place.blobs.writer(10)
    writer.write(b"whole")
    sha256 = writer.commit()
    writer.abort()
    assert place.blobs.read(sha256) == b"whole"
    assert place.stored() == [below(sha256)]


def test_only_stale_uploads_are_discarded(place: Place) -> None:
    stale = place.blobs.writer(10)
    stale.write(b"stale")
    (path,) = place.in_the_making()
    fresh = place.blobs.writer(10)
    fresh.write(b"fresh")
    os.utime(path, (1, 1))
    kept = place.blobs.put(b"kept")
    os.utime(place.blobs.path(kept), (1, 1))
    assert place.blobs.discard_stale(3_600) == 1
    assert not path.exists()
    assert place.blobs.exists(kept)
    assert place.blobs.read(fresh.commit()) == b"fresh"
    stale.abort()


def test_what_is_no_hash_names_no_file(place: Place) -> None:
    for name in NO_HASHES:
        assert not place.blobs.exists(name)
        for ask in (place.blobs.path, place.blobs.read, place.blobs.size):
            with pytest.raises(NotFound):
                ask(name)


def test_an_unknown_hash_is_not_found(place: Place) -> None:
    assert not place.blobs.exists("0" * 64)
    for ask in (place.blobs.path, place.blobs.read, place.blobs.size):
        with pytest.raises(NotFound) as caught:
            ask("0" * 64)
        assert caught.value.detail is not None
        assert caught.value.detail.field == "sha256"


def test_the_disk_is_never_filled(place: Place) -> None:
    free = shutil.disk_usage(place.local).free
    place.floor(free * 2)
    with pytest.raises(StorageFull):
        place.blobs.writer(1)
    with pytest.raises(StorageFull):
        place.blobs.put(b"content")
    place.floor(0)
    writer = place.blobs.writer(10**9)
    place.floor(free * 2)
    with pytest.raises(StorageFull):
        writer.write(bytes(16 * 1024 * 1024))
    assert place.everything() == []


def test_many_threads_store_and_read_one_blob(place: Place) -> None:
    content = os.urandom(200_000)
    together = threading.Barrier(6)
    read: list[bytes] = []

    def work() -> None:
        together.wait()
        read.append(place.blobs.read(place.blobs.put(content)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [content] * 6
    assert place.stored() == [below(sha256_of(content))]
    assert place.others() == []


def test_two_processes_store_one_blob_at_once(place: Place) -> None:
    """Each has its own connections; the directory of what is in the making they share."""
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.store.opening import opened_elsewhere
blobs = opened_elsewhere(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
writer = blobs.writer(1_000_000)
writer.write(b"same" * 100_000)
print("ready", flush=True)
sys.stdin.readline()
print(writer.commit())
blobs.close()
"""
    command = [sys.executable, "-c", program, place.kind, place.address, str(place.local)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    assert len(place.in_the_making()) == 2
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    expected = sha256_of(b"same" * 100_000)
    assert [process.communicate(timeout=60)[0] for process in processes] == [f"{expected}\n"] * 2
    assert place.stored() == [below(expected)]
    assert place.others() == []
    assert place.blobs.read(expected) == b"same" * 100_000


def forget(place: Place) -> None:
    """Remove the local copies of a store that lies elsewhere."""
    if place.local != place.root:
        shutil.rmtree(place.local / "sha256")
