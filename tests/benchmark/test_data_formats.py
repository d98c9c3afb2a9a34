"""Readers of file formats, against files that are damaged or made to do harm."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from benchmark.data_formats.cifar_binary import CifarBinaryReader
from benchmark.data_formats.cifar_python import read_batch
from benchmark.data_formats.idx import read_idx
from benchmark.data_formats.mat import MatReader
from benchmark.data_formats.npy import CorruptedReader, NpyReader, open_npy
from benchmark.data_formats.tar import places_of_members, read_members
from benchmark.errors import InvalidData
from tests.benchmark.data_files import cifar_records, drawn, labels_of, npy, python2_batch, write_npy, write_tar

IDX = struct.pack(">HBB3I", 0, 8, 3, 2, 4, 4) + bytes(32)
BAD_IDX: dict[str, bytes] = {
    "empty": b"",
    "cut off": IDX[:-1],
    "cut off in the header": IDX[:9],
    "too long": IDX + b"\0",
    "of floats": struct.pack(">HBB3I", 0, 13, 3, 2, 4, 4) + bytes(128),
    "of two dimensions": struct.pack(">HBB2I", 0, 8, 2, 4, 8) + bytes(32),
    "huge": struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1),
    "gzip cut off": gzip.compress(IDX)[:-9],
    "gzip with a wrong sum": gzip.compress(IDX)[:-8] + bytes(8),
    "not gzip": b"\x1f\x8b" + bytes(40),
    "a page": b"<!DOCTYPE html>",
}


@pytest.mark.parametrize("kind", BAD_IDX)
def test_a_bad_idx_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(BAD_IDX[kind])
    with pytest.raises(InvalidData, match="IDX"):
        read_idx(path, 3)


def test_a_gzip_bomb_is_read_no_further_than_its_header_says(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(IDX + bytes(300_000_000), 1))
    with pytest.raises(InvalidData, match="more than the 32 values"):
        read_idx(path, 3)


def test_an_idx_file_is_read_packed_and_unpacked(tmp_path: Path) -> None:
    for number, content in enumerate((IDX, gzip.compress(IDX))):
        (tmp_path / str(number)).write_bytes(content)
        assert read_idx(tmp_path / str(number), 3).shape == (2, 4, 4)


def archive_with(path: Path, member: tarfile.TarInfo, content: bytes = b"") -> None:
    member.size = len(content)
    with tarfile.open(path, "w") as archive:
        archive.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, "/etc/passwd"),
        (tarfile.LNKTYPE, "../../etc/passwd"),
        (tarfile.FIFOTYPE, ""),
        (tarfile.DIRTYPE, ""),
    ],
)
def test_what_is_no_plain_file_in_an_archive_is_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    member = tarfile.TarInfo("wanted.bin")
    member.type, member.linkname = kind, target
    archive_with(tmp_path / "a.tar", member)
    with pytest.raises(InvalidData, match="no plain file"):
        read_members(tmp_path / "a.tar", ["wanted.bin"], 100)
    with pytest.raises(InvalidData, match="no plain file"):
        places_of_members(tmp_path / "a.tar", ["wanted.bin"])


def test_members_are_found_by_their_exact_names_and_nothing_is_unpacked(tmp_path: Path) -> None:
    members = {
        "../wanted.bin": b"1",
        "/wanted.bin": b"2",
        "x/wanted.bin": b"3",
        "./wanted.bin": b"4",
        "wanted.bin": b"5",
    }
    write_tar(tmp_path / "a.tar", members)
    assert read_members(tmp_path / "a.tar", ["wanted.bin"], 100) == {"wanted.bin": b"4"}
    offset, size = places_of_members(tmp_path / "a.tar", ["wanted.bin"])["wanted.bin"]
    assert (tmp_path / "a.tar").read_bytes()[offset : offset + size] == b"4"
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    with pytest.raises(InvalidData, match=r"no other\.bin"):
        read_members(tmp_path / "a.tar", ["other.bin"], 100)


BAD_ARCHIVES = {
    "empty": b"",
    "text": b"no archive",
    "gzip of text": gzip.compress(b"no archive"),
    "without members": bytes(10_240),
}


@pytest.mark.parametrize("kind", BAD_ARCHIVES)
def test_a_bad_archive_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.tar").write_bytes(BAD_ARCHIVES[kind])
    with pytest.raises(InvalidData, match="archive"):
        read_members(tmp_path / "a.tar", ["wanted.bin"], 100)


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", {"wanted.bin": drawn(20).tobytes()}, "w:gz")
    content = (tmp_path / "a.tar.gz").read_bytes()
    (tmp_path / "a.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidData, match="archive"):
        read_members(tmp_path / "a.tar.gz", ["wanted.bin"], 10**6)


def test_a_member_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", {"wanted.bin": bytes(1000)}, "w:gz")
    with pytest.raises(InvalidData, match="1,000 bytes"):
        read_members(tmp_path / "a.tar.gz", ["wanted.bin"], 999)


@pytest.mark.parametrize("size", [0, 3072, 2 * 3073 - 1])
def test_records_that_are_cut_off_are_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "test.bin").write_bytes(cifar_records(drawn(2), labels_of(2))[:size])
    with pytest.raises(InvalidData, match="whole records of 3,073 bytes"):
        CifarBinaryReader({"test": ("test.bin",)}, 1)(tmp_path, "test")


def test_a_pickle_is_taken_apart_whoever_wrote_it(tmp_path: Path) -> None:
    images, labels = drawn(12), labels_of(12)
    planes = images.transpose(0, 3, 1, 2).reshape(12, -1)
    contents = [python2_batch(images, labels)] + [
        pickle.dumps({b"labels": [int(label) for label in labels], b"data": planes}, protocol) for protocol in (2, 3, 4)
    ]
    for content in contents:
        (tmp_path / "batch").write_bytes(content)
        found, classes = read_batch(tmp_path / "batch", "labels")
        assert np.array_equal(found, images)
        assert classes.tolist() == labels.tolist()


class Hostile:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, ("harm",)  # type: ignore[return-value]  # it takes more, and is never called


def test_a_hostile_pickle_is_never_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    planes = drawn(2).reshape(2, -1)
    (tmp_path / "batch").write_bytes(pickle.dumps({"labels": [1, 2], "data": planes, "more": Hostile()}, 2))
    read_batch(tmp_path / "batch", "labels")
    (tmp_path / "batch").write_bytes(pickle.dumps(Hostile(), 2))
    with pytest.raises(InvalidData, match="python version"):
        read_batch(tmp_path / "batch", "labels")
    assert not (tmp_path / "harm").exists()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), cut=st.integers(0, 20_000), flipped=st.integers(0, 20_000))
def test_whatever_stands_in_a_batch_it_is_read_or_refused(
    tmp_path: Path, content: bytes, cut: int, flipped: int
) -> None:
    batch = bytearray(python2_batch(drawn(3), labels_of(3)))
    batch[flipped % len(batch)] ^= 0x55
    for changed in (content, b"\x80\x02" + content, bytes(batch), bytes(batch[: cut % len(batch)])):
        (tmp_path / "batch").write_bytes(changed)
        try:
            images, labels = read_batch(tmp_path / "batch", "labels")
        except InvalidData:
            continue
        assert len(images) == len(labels)


def array_of_objects() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Hostile()], dtype=object), allow_pickle=True)
    return file.getvalue()


SOUND = npy(drawn(2))
BAD_NPY: dict[str, bytes] = {
    "empty": b"",
    "a page": b"<!DOCTYPE html>",
    "cut off": SOUND[:-1],
    "too long": SOUND + b"\0",
    "cut off in the header": SOUND[:40],
    "objects": array_of_objects(),
    "negative": SOUND.replace(b"(2, 32", b"(-2,32"),
    "huge": SOUND.replace(b"(2, 32, 32, 3), }", b"(9**99, 3, 3), } "),
    "overflowing": SOUND.replace(b"32, 32", b"99999 "),
    "a long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b" " * 20_000,
    "another version": b"\x93NUMPY\x09\x00" + SOUND[8:],
    "no values": npy(np.zeros((0, 32, 32, 3), dtype=np.uint8)),
}


@pytest.mark.parametrize("kind", BAD_NPY)
def test_a_bad_array_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.npy").write_bytes(BAD_NPY[kind])
    with pytest.raises(InvalidData):
        open_npy(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (drawn(2).astype(np.float32), labels_of(2)),
        (drawn(2)[..., 0], labels_of(2)),
        (drawn(2), labels_of(3)),
        (drawn(2), labels_of(2).astype(np.float64)),
        (drawn(2), labels_of(4).reshape(2, 2)),
    ],
)
def test_arrays_that_are_no_images_with_labels_are_refused(
    tmp_path: Path, images: np.ndarray, labels: np.ndarray
) -> None:
    write_npy(tmp_path / "x.npy", images)
    write_npy(tmp_path / "y.npy", labels)
    with pytest.raises(InvalidData):
        NpyReader("x.npy", "y.npy")(tmp_path, "test")


def test_severities_of_several_lengths_are_refused(tmp_path: Path) -> None:
    write_npy(tmp_path / "fog.npy", drawn(11))
    write_npy(tmp_path / "labels.npy", labels_of(11))
    with pytest.raises(InvalidData, match="5 severities"):
        CorruptedReader("")(tmp_path, "fog/1")


def test_bad_matlab_files_are_refused(tmp_path: Path) -> None:
    good = {"X": drawn(4).transpose(1, 2, 3, 0), "y": labels_of(4)[:, None]}
    reader = MatReader({"test": "test.mat"})
    for bad in (
        {},
        {"X": good["X"]},
        {"X": good["y"], "y": good["y"]},
        {"X": good["X"], "y": np.ones((4, 4), np.uint8)},
    ):
        savemat(tmp_path / "test.mat", bad)
        with pytest.raises(InvalidData, match="Matlab"):
            reader(tmp_path, "test")
    savemat(tmp_path / "test.mat", {"X": good["X"].astype(float), "y": good["y"]})
    with pytest.raises(InvalidData, match="type float64"):
        reader(tmp_path, "test")
    savemat(tmp_path / "test.mat", {"X": good["X"], "y": good["y"][:3]})
    with pytest.raises(InvalidData, match="4 images and 3 labels"):
        reader(tmp_path, "test")
    savemat(tmp_path / "test.mat", good, do_compression=True)
    content = (tmp_path / "test.mat").read_bytes()
    for other in (b"", content[:-40], content[:130], b"<!DOCTYPE html>", b"\x89HDF\r\n\x1a\n" + bytes(600)):
        (tmp_path / "test.mat").write_bytes(other)
        with pytest.raises(InvalidData, match="Matlab"):
            reader(tmp_path, "test")
