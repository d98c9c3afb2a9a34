"""The form reader: any cut gives the same result, and whatever is refused leaves nothing behind."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from store.blobs import BlobWriter, LocalBlobs
from store.errors import StorageFull
from tests.web.forms import BOUNDARY, body, field, file
from web.multipart import WHOLE_FORM, FormReader

FILE_LIMIT = 200
LIMITS = {"name": 20, "notes": 50}
CONTENT = b"line\r\n--" + BOUNDARY.encode()[:-1] + b"\r\n\r\n" + bytes(range(60))
"""A file that holds almost the boundary."""


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs", free_floor_bytes=0)


def reader(blobs: LocalBlobs) -> FormReader:
    return FormReader(BOUNDARY.encode(), LIMITS, "checkpoint", lambda: blobs.writer(FILE_LIMIT))


def read(blobs: LocalBlobs, content: bytes, cut: int | None = None) -> FormReader:
    form = reader(blobs)
    for piece in [content] if cut is None else [content[:cut], content[cut:]]:
        form.feed(piece)
    form.close()
    return form


def files(blobs: LocalBlobs) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


def refused(blobs: LocalBlobs, content: bytes, name: str) -> FormReader:
    form = read(blobs, content)
    assert list(form.errors) == [name]
    form.discard()
    assert files(blobs) == []
    return form


SOUND = body([field("name", "Doe"), file(CONTENT), field("notes", "a\r\nb")])


def test_reads_the_same_wherever_the_body_is_cut(blobs: LocalBlobs) -> None:
    for cut in range(len(SOUND) + 1):
        form = read(blobs, SOUND, cut)
        assert form.errors == {}, cut
        assert form.values == {"name": "Doe", "notes": "a\nb"}, cut
        assert form.filename == "model.safetensors", cut
        assert form.file is not None, cut
        assert form.file.commit() == hashlib.sha256(CONTENT).hexdigest(), cut
    assert [path.read_bytes() for path in files(blobs)] == [CONTENT]


def test_reads_byte_by_byte(blobs: LocalBlobs) -> None:
    form = reader(blobs)
    for i in range(len(SOUND)):
        form.feed(SOUND[i : i + 1])
    form.close()
    assert form.values == {"name": "Doe", "notes": "a\nb"}
    assert form.file is not None
    assert form.file.commit() == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_takes_the_parts_in_any_order(blobs: LocalBlobs, order: tuple[int, ...]) -> None:
    parts = [field("name", "Doe"), file(CONTENT), field("notes", "n")]
    form = read(blobs, body([parts[i] for i in order]))
    assert form.errors == {}
    assert form.values == {"name": "Doe", "notes": "n"}
    assert form.file is not None
    form.discard()
    assert files(blobs) == []


def test_refuses_a_body_that_ends_before_its_last_boundary(blobs: LocalBlobs) -> None:
    for cut in range(len(SOUND) - len("--\r\n")):
        form = refused(blobs, SOUND[:cut], WHOLE_FORM)
        assert form.file is None, cut


def test_ignores_what_follows_the_last_boundary(blobs: LocalBlobs) -> None:
    form = read(blobs, SOUND + b"more")
    form.feed(b"and more")
    form.close()
    assert form.errors == {}
    form.discard()


@pytest.mark.parametrize("text", ["no form at all", f"--{BOUNDARY}\r\nNo colon here\r\n\r\nx", f"--{BOUNDARY}X\r\n"])
def test_refuses_what_is_no_form(blobs: LocalBlobs, text: str) -> None:
    refused(blobs, text.encode(), WHOLE_FORM)


def test_keeps_the_other_words_where_one_field_is_too_long(blobs: LocalBlobs) -> None:
    form = refused(blobs, body([field("name", "x" * 21), file(CONTENT), field("notes", "kept")]), "name")
    assert form.values == {"name": "x" * 20, "notes": "kept"}
    assert read(blobs, body([field("name", "x" * 20)])).errors == {}


def test_refuses_a_file_that_is_too_large_and_reads_on(blobs: LocalBlobs) -> None:
    form = refused(blobs, body([file(bytes(FILE_LIMIT + 1)), field("notes", "kept")]), "checkpoint")
    assert form.errors["checkpoint"].code == "too_large"
    assert form.values == {"notes": "kept"}
    assert form.file is None
    exact = read(blobs, body([file(bytes(FILE_LIMIT))]))
    assert exact.errors == {}
    exact.discard()


def test_refuses_two_files(blobs: LocalBlobs) -> None:
    form = refused(blobs, body([file(b"one"), file(b"two")]), "checkpoint")
    assert form.file is None
    assert form.errors["checkpoint"].detail is not None
    assert form.errors["checkpoint"].detail.found == "more than one value"


def test_refuses_a_field_sent_twice(blobs: LocalBlobs) -> None:
    form = refused(blobs, body([field("name", "first"), field("name", "second")]), "name")
    assert form.values == {"name": "first"}


@pytest.mark.parametrize("part", [field("epsilon", "1"), file(b"x", name="other"), b"X-Nothing: 1\r\n\r\nx"])
def test_refuses_parts_that_the_form_does_not_have(blobs: LocalBlobs, part: bytes) -> None:
    refused(blobs, body([part]), WHOLE_FORM)


def test_takes_a_file_part_without_a_name_for_no_file(blobs: LocalBlobs) -> None:
    form = read(blobs, body([file(b"", filename="")]))
    assert form.errors == {}
    assert form.file is None
    assert files(blobs) == []


def test_refuses_text_that_is_no_utf8(blobs: LocalBlobs) -> None:
    refused(blobs, body([field("name", b"\xff\xfe")]), "name")


def test_says_so_where_the_disk_is_full(blobs: LocalBlobs) -> None:
    def full() -> BlobWriter:
        raise StorageFull("The service has too little free disk space.")

    form = FormReader(BOUNDARY.encode(), LIMITS, "checkpoint", full)
    form.feed(SOUND)
    form.close()
    assert form.errors["checkpoint"].code == "storage_full"
    assert form.values == {"name": "Doe", "notes": "a\nb"}
    assert files(blobs) == []


@pytest.mark.parametrize("header", [b"X-Long: " + b"x" * 100_000, b"".join(b"X-%d: 1\r\n" % i for i in range(1000))])
def test_bounds_the_headers_of_a_part(blobs: LocalBlobs, header: bytes) -> None:
    refused(blobs, f"--{BOUNDARY}\r\n".encode() + header, WHOLE_FORM)
