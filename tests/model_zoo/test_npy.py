"""The reader of .npy headers: what numpy writes is understood, and whatever else is refused with the way out."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import InvalidExamples
from model_zoo.checkpoints.npy import MAX_NPY_HEADER_BYTES, NpyHeader, read_npy_header
from tests.house.layout import ROOT
from tests.model_zoo.files import npy, npy_header, written

FOUR = bytes(16)  # four float32 values
GOOD = npy(npy_header(), FOUR)
ORDERED = "{'shape': (2, 1, 1, 2), 'fortran_order': False, 'descr': '<f4'}"
DESCR = "'descr': '<f4'"


class Opens:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return open, (self.mark, "w")


def saved(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    """What numpy writes."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=version)
    return buffer.getvalue()


@pytest.mark.parametrize("version", [None, (1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 5), (2, 3, 4, 5), (1,) * 8])
def test_what_numpy_writes_is_understood(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, version: tuple[int, int] | None
) -> None:
    content = saved(np.ones(shape, dtype), version)
    found = read_npy_header(written(tmp_path, content))
    assert (found.dtype, found.shape) == ({"<f4": "F32", "<f8": "F64"}[dtype], shape)
    assert content[found.data_start :] == np.ones(shape, dtype).tobytes()


@pytest.mark.parametrize(
    "header",
    [
        npy_header(),
        ORDERED,
        ORDERED.replace("'", '"'),
        "{'descr':'<f4','fortran_order':False,'shape':(2,1,1,2)}",
        npy_header(shape="(2, 1, 1, 2,)"),
        npy_header() + " " * 500 + "\n",
    ],
)
def test_other_writers_order_quotes_and_spaces_are_allowed(tmp_path: Path, header: str) -> None:
    found = read_npy_header(written(tmp_path, npy(header, FOUR)))
    assert found == NpyHeader("F32", (2, 1, 1, 2), 10 + len(header))


# What is wrong: (the file, the field of the error, a word of its message, a word of the remedy).
BROKEN: dict[str, tuple[bytes, str, str, str]] = {
    "empty": (b"", "file", "0 bytes", "numpy.save"),
    "another kind of file": (b"PK\x03\x04" + bytes(60), "file", "a .npy file", "numpy.save"),
    "cut in the magic": (GOOD[:4], "file", "4 bytes", "numpy.save"),
    "cut in the version": (GOOD[:7], "version", "1", "numpy.save"),
    "cut in the length": (GOOD[:9], "file", "9 bytes", "truncated"),
    "cut in the long length": (npy(npy_header(), FOUR, (2, 0))[:11], "file", "11 bytes", "truncated"),
    "cut in the header": (GOOD[:40], "file", "40 bytes", "truncated"),
    "cut in the values": (GOOD[:-1], "file", "15 bytes", "truncated"),
    "trailing bytes": (GOOD + b"\0", "file", "1 bytes after", "one array"),
    "two arrays": (GOOD + GOOD, "file", "after the array", "one array"),
    "unknown version": (npy(npy_header(), FOUR, (4, 0)), "version", "4.0", "numpy.save"),
    "version 0": (npy(npy_header(), FOUR, (0, 1)), "version", "0.1", "numpy.save"),
    "header above the limit": (npy(" " * (MAX_NPY_HEADER_BYTES + 1)), "header length", "4097", "numpy.save"),
    "absurd header length": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header length", "4294967295", "numpy.save"),
    "empty header": (npy(""), "header", "b''", "numpy.save"),
    "binary header": (npy(b"\x00\xff" * 30), "header", "\\xff", "numpy.save"),
    "no dictionary": (npy("('<f4', False, (2, 1, 1, 2))"), "header", "'descr'", "numpy.save"),
    "two dictionaries": (npy(npy_header() * 2, FOUR), "header", "'descr'", "numpy.save"),
    "a key missing": (npy(f"{{{DESCR}, 'fortran_order': False}}", FOUR), "header", "shape", "numpy.save"),
    "a key twice": (npy(f"{{{DESCR}, {DESCR}, 'shape': (4,)}}", FOUR), "header", "shape", "numpy.save"),
    "a key too many": (npy(npy_header().replace("}", "'a': True}"), FOUR), "header", "shape", "numpy.save"),
    "another key": (npy(npy_header().replace("shape", "size"), FOUR), "header", "'size'", "numpy.save"),
    "a call": (npy(npy_header(shape="open('x', 'w')"), FOUR), "header", "shape", "numpy.save"),
    "arithmetic": (npy(npy_header(shape="(2 * 2,)"), FOUR), "header", "shape", "numpy.save"),
    "nested too deeply": (npy(npy_header(shape="(" * 2_000 + ")" * 2_000), FOUR), "header", "descr", "numpy.save"),
    "an escape": (npy(npy_header(descr=r"'\x3cf4'"), FOUR), "header", "descr", "numpy.save"),
    "an open quote": (npy(npy_header(descr="'<f4"), FOUR), "header", "descr", "numpy.save"),
    "text after it": (npy(npy_header() + "import os\n", FOUR), "header", "descr", "numpy.save"),
    "digits of another script": (npy(npy_header(shape="(٢, 1, 1, 2)"), FOUR), "header", "descr", "numpy.save"),
    "records": (saved(np.zeros(2, [("a", "<f4"), ("b", "<f4")])), "header", "<f4", "numpy.save"),
    "objects": (saved(np.array([1, None], object)), "dtype", "|O", "pickles are never read"),
    "8-bit pixels": (saved(np.zeros((2, 1, 8, 8), np.uint8)), "dtype", "|u1", "255"),
    "integers": (saved(np.zeros((2, 1, 8, 8), np.int64)), "dtype", "<i8", "255"),
    "truth values": (saved(np.zeros((2, 1, 8, 8), np.bool_)), "dtype", "|b1", "float32"),
    "half precision": (saved(np.zeros((2, 1, 8, 8), np.float16)), "dtype", "<f2", "0.00024"),
    "big-endian": (saved(np.zeros((2, 1, 8, 8), ">f4")), "dtype", ">f4", 'astype("float32")'),
    "complex": (saved(np.zeros((2, 1, 8, 8), np.complex64)), "dtype", "<c8", 'astype("float32")'),
    "text": (saved(np.zeros(4, "<U4")), "dtype", "<U4", 'astype("float32")'),
    "the machine's order": (npy(npy_header(descr="'f4'"), FOUR), "dtype", "'f4'", 'astype("float32")'),
    "a type that is no text": (npy(npy_header(descr="True"), FOUR), "dtype", "True", 'astype("float32")'),
    "Fortran's order": (saved(np.asfortranarray(np.ones((2, 3), "<f4"))), "fortran_order", "True", "ascontiguousarray"),
    "an order that is neither": (npy(npy_header(fortran_order="(0,)"), FOUR), "fortran_order", "(0,)", "ascontig"),
    "a shape that is a number": (npy(npy_header(shape="(4)"), FOUR), "shape", "(4)", "numpy.save"),
    "a shape that is text": (npy(npy_header(shape="'(4,)'"), FOUR), "shape", "'(4,)'", "numpy.save"),
    "a size without end": (npy(npy_header(shape="(" + "9" * 3_000 + ",)"), FOUR), "shape", "999", "numpy.save"),
    "an absurd size": (npy(npy_header(shape="(0, 9223372036854775807)")), "shape", "9223372036854775807", "numpy.save"),
    "too many dimensions": (npy(npy_header(shape="(" + "1, " * 9 + ")"), FOUR[:4]), "shape", "at most 8", "numpy.save"),
    "a leading zero": (npy(npy_header(shape="(04,)"), FOUR), "shape", "(04,)", "numpy.save"),
    # 2**62 elements of 4 bytes: in 64 bits the size wraps around to 0.
    "elements that overflow": (npy(npy_header(shape="(1073741824, 1073741824, 4)")), "file", "0 bytes", "truncated"),
}


@pytest.mark.parametrize("trouble", BROKEN)
def test_a_broken_file_is_refused_with_the_reason_and_the_way_out(tmp_path: Path, trouble: str) -> None:
    content, field, word, remedy = BROKEN[trouble]
    with pytest.raises(InvalidExamples) as caught:
        read_npy_header(written(tmp_path, content))
    error = caught.value
    assert error.detail is not None
    assert error.detail.field == field
    assert word in error.message
    assert remedy in error.detail.remedy
    assert error.as_json()["error"]["code"] == "invalid_examples"
    json.dumps(error.as_json()).encode("ascii")
    assert len(error.message) < 400


def test_pickled_objects_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    array = np.empty(1, object)
    array[0] = Opens(str(mark))
    path = tmp_path / "objects.npy"
    np.save(path, array, allow_pickle=True)
    assert os.fsencode(mark) in path.read_bytes()
    with pytest.raises(InvalidExamples, match=r"'\|O'"):
        read_npy_header(path)
    assert not mark.exists()

    program = "import sys, numpy; numpy.load(sys.argv[1], allow_pickle=True)"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, timeout=60)
    assert mark.exists(), "numpy's own reader runs it"


FILLINGS: dict[str, Callable[[int], str]] = {
    "spaces": lambda n: " " * n,
    "commas": lambda n: "{" + "," * n,
    "quotes": lambda n: "{" + "'" * n,
    "a key": lambda n: "{'" + "a" * n,
    "a text": lambda n: "{'descr': '" + "a" * n,
    "a shape": lambda n: "{'shape': (" + "1, " * (n // 3),
    "digits": lambda n: "{'shape': (" + "1" * n,
    "spaces at its end": lambda n: npy_header().rstrip("}\n") + " " * (n - 100) + "x",
    "spaces after it": lambda n: npy_header() + " " * (n - 100) + "x",
}


@pytest.mark.parametrize("filling", FILLINGS)
def test_a_header_of_any_form_takes_no_time_and_no_memory(tmp_path: Path, filling: str) -> None:
    text = FILLINGS[filling](MAX_NPY_HEADER_BYTES)[:MAX_NPY_HEADER_BYTES]
    path = written(tmp_path, npy(text, FOUR))
    with pytest.raises(InvalidExamples):  # compiles the expressions, once
        read_npy_header(path)
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(InvalidExamples):
        read_npy_header(path)
    assert time.process_time() - began < 0.5
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_a_large_file_is_not_read_for_its_header(tmp_path: Path) -> None:
    path = tmp_path / "large.npy"
    header = npy(npy_header(shape="(268435456, 1, 1, 1)"))
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + 2**30)
    tracemalloc.start()
    assert read_npy_header(path).shape == (2**28, 1, 1, 1)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "x.npy"


@given(data=st.data())
@settings(max_examples=300)
def test_a_mutated_file_is_refused_or_still_consistent(mutated: Path, data: st.DataObject) -> None:
    """Changed, cut or doubled bytes: one kind of error, or a header that numpy reads alike."""
    content = bytearray(saved(np.ones((2, 1, 3, 5), data.draw(st.sampled_from(("<f4", "<f8"))))))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, 90))
        change = data.draw(st.sampled_from(("replace", "replace", "remove", "insert", "truncate")))
        if change == "replace":
            content[place : place + 1] = data.draw(
                st.binary(min_size=1, max_size=2) | st.sampled_from((b"4", b"8", b"0", b" ", b",", b"\n"))
            )
        elif change == "remove":
            del content[place : place + data.draw(st.integers(1, 20))]
        elif change == "insert":
            content[place:place] = data.draw(st.sampled_from((b"0", b"-", b"'", b"}", b"(", b"9999", b"\0", b" ")))
        else:
            del content[data.draw(st.integers(0, len(content))) :]
    mutated.write_bytes(content)
    try:
        header = read_npy_header(mutated)
    except InvalidExamples as error:
        json.dumps(error.as_json()).encode("ascii")
        return
    array = np.load(mutated, allow_pickle=False)
    assert (array.shape, array.dtype.str) == (header.shape, {"F32": "<f4", "F64": "<f8"}[header.dtype])
    assert content[header.data_start :] == array.tobytes()


def test_reading_a_header_loads_neither_torch_nor_numpy(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from pathlib import Path; from model_zoo.checkpoints.examples import check_examples; "
        f"check_examples(Path({str(path)!r})); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
