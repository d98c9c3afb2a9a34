from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.header import MAX_HEADER_BYTES, TensorEntry, read_header
from model_zoo.registry import bundled_checkpoint, cards
from tests.house.layout import ROOT
from tests.model_zoo.files import entry, framed, packed, written

FOUR = bytes(16)  # four float32 values
GOOD = packed({"a": entry(0, 8), "b": entry(8, 16)}, FOUR)
TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'

# What is wrong: (the file, the field of the error, a word of its message).
BROKEN = {
    "empty file": (b"", "file", "0 bytes"),
    "shorter than its length field": (GOOD[:5], "file", "5 bytes"),
    "truncated in the header": (GOOD[:40], "file", "at least"),
    "truncated in the data": (GOOD[:-1], "file", "15 bytes"),
    "absurd header length": (b"\xff" * 8 + GOOD, "header length", "at most"),
    "header longer than the limit": (framed(b" " * (MAX_HEADER_BYTES + 1)), "header length", "at most"),
    "pickle": (pickle.dumps({"weight": [0.0] * 9}, protocol=4), "header length", "at most"),
    "zip archive": (b"PK\x03\x04" + bytes(60), "header length", "at most"),
    "empty header": (framed(b""), "header", "JSON"),
    "broken JSON": (framed(b'{"a": '), "header", "JSON"),
    "not UTF-8": (framed(b'{"\xff": {}}'), "header", "UTF-8"),
    "UTF-16": (framed('{"a": 1}'.encode("utf-16")), "header", "UTF-8"),
    "two documents": (framed(b"{}{}"), "header", "JSON"),
    "array": (framed(b"[]"), "header", "type list"),
    "number": (framed(b"1"), "header", "type int"),
    "NaN": (framed(b'{"a": NaN}'), "header", "NaN"),
    "integer of thousands of digits": (framed(b'{"a": ' + b"9" * 9999 + b"}"), "header", "JSON"),
    "nested too deeply": (framed(b"[" * 500_000), "header", "deeply"),
    "no tensors": (framed(b"{}"), "header", "no tensors"),
    "only metadata": (packed({"__metadata__": {"format": "pt"}}, b""), "header", "no tensors"),
    "tensor twice": (framed(TWICE, FOUR), "header", "'a' twice"),
    "field twice": (framed(b'{"a":{"dtype":"F32","dtype":"F16"}}'), "header", "'dtype' twice"),
    "metadata that is no object": (packed({"__metadata__": "pt"}, b""), "__metadata__", "object"),
    "metadata that is no text": (packed({"__metadata__": {"epoch": 3}}, b""), "__metadata__", "strings"),
    "tensor that is no object": (packed({"a": 3}, b""), "tensor 'a'", "object"),
    "tensor without shape": (packed({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, FOUR), "tensor 'a'", "shape"),
    "tensor with a further field": (packed({"a": {**entry(0, 16), "code": ""}}, FOUR), "tensor 'a'", "object"),
    "unknown dtype": (packed({"a": entry(0, 8, dtype="F31")}, FOUR), "tensor 'a'", "F31"),
    "dtype that is no text": (packed({"a": entry(0, 8, dtype=["F32"])}, FOUR), "tensor 'a'", "F32"),
    "negative size": (packed({"a": entry(0, 16, [-2, -2])}, FOUR), "tensor 'a'", "shape [-2, -2]"),
    "size that is no integer": (packed({"a": entry(0, 16, [4.0])}, FOUR), "tensor 'a'", "shape [4.0]"),
    "size that is a truth value": (packed({"a": entry(0, 4, [True])}, FOUR), "tensor 'a'", "shape [True]"),
    "shape that is no list": (packed({"a": entry(0, 16, 4)}, FOUR), "tensor 'a'", "shape 4"),
    "too many dimensions": (packed({"a": entry(0, 4, [1] * 9)}, FOUR[:4]), "tensor 'a'", "at most 8"),
    "absurd size": (packed({"a": entry(0, 0, [0, 2**62])}, b""), "tensor 'a'", "at most"),
    # 2**62 elements of 4 bytes: in 64 bits the size wraps around to 0.
    "element count that overflows": (packed({"a": entry(0, 0, [2**30, 2**30, 4])}, b""), "tensor 'a'", "0 bytes"),
    "bytes that are not the shape's": (packed({"a": entry(0, 16, [3])}, FOUR), "tensor 'a'", "12 bytes"),
    "offsets in reverse": (packed({"a": entry(8, 0)}, FOUR), "tensor 'a'", "-8 bytes"),
    "negative offset": (packed({"a": entry(-8, 0)}, FOUR), "tensor 'a'", "data_offsets [-8, 0]"),
    "three offsets": (packed({"a": {**entry(0, 8), "data_offsets": [0, 8, 16]}}, FOUR), "tensor 'a'", "two positions"),
    "overlap": (packed({"a": entry(0, 8), "b": entry(4, 12)}, FOUR[:12]), "tensor 'b'", "overlaps"),
    "one place for two tensors": (packed({"a": entry(0, 16, [4]), "b": entry(0, 16, [4])}, FOUR), "tensor", "overlaps"),
    "gap": (packed({"a": entry(0, 4, [1]), "b": entry(8, 16)}, FOUR), "tensor 'b'", "gap"),
    "late start": (packed({"a": entry(8, 16)}, FOUR), "tensor 'a'", "gap"),
    "beyond the file": (packed({"a": entry(0, 24, [6])}, FOUR), "file", "16 bytes"),
    "trailing bytes": (GOOD + b"\0", "file", "1 bytes after"),
    "control characters in a name": (packed({"\x1b[2J\u202e": 3}, b""), "tensor '\\x1b[2J\\u202e'", "object"),
    "half a character in a name": (framed(b'{"\\ud800": 3}'), "tensor '\\ud800'", "object"),
}


@pytest.mark.parametrize("trouble", BROKEN)
def test_a_broken_file_is_refused_with_the_reason(tmp_path: Path, trouble: str) -> None:
    content, field, word = BROKEN[trouble]
    with pytest.raises(InvalidCheckpoint) as caught:
        read_header(written(tmp_path, content))
    error = caught.value
    assert error.detail is not None
    assert error.detail.field.startswith(field)
    assert word in error.message
    assert error.detail.remedy
    json.dumps(error.as_json()).encode("ascii")
    assert len(error.message) < 400


@pytest.mark.parametrize("depth", range(400, 1100, 20))
def test_nesting_near_the_interpreters_limit_is_refused(tmp_path: Path, depth: int) -> None:
    nested = b'{"a": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(InvalidCheckpoint):
        read_header(written(tmp_path, framed(nested)))


def test_a_good_header_says_where_everything_is(tmp_path: Path) -> None:
    header = read_header(written(tmp_path, GOOD))
    assert header.tensors == {"a": TensorEntry("F32", (2,), 0, 8), "b": TensorEntry("F32", (2,), 8, 16)}
    assert GOOD[header.data_start :] == FOUR


def test_padding_metadata_scalars_and_empty_tensors_are_allowed(tmp_path: Path) -> None:
    tensors = {"__metadata__": {"format": "pt"}, "scalar": entry(0, 8, [], "I64"), "empty": entry(0, 0, [0, 5])}
    header = read_header(written(tmp_path, framed(json.dumps(tensors).encode() + b"   ", bytes(8))))
    assert {name: found.shape for name, found in header.tensors.items()} == {"scalar": (), "empty": (0, 5)}


@given(data=st.data())
@settings(max_examples=300)
def test_a_mutated_file_is_refused_or_still_consistent(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Changed, cut or doubled bytes: one kind of error, or a header that describes the file exactly."""
    original = bundled_checkpoint(cards()[0]).read_bytes()
    header_end = 8 + int.from_bytes(original[:8], "little")
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, header_end))
        change = data.draw(st.sampled_from(("replace", "remove", "insert", "truncate")))
        if change == "replace":
            content[place : place + 1] = data.draw(st.binary(min_size=1, max_size=2))
        elif change == "remove":
            del content[place : place + data.draw(st.integers(1, 20))]
        elif change == "insert":
            content[place:place] = data.draw(st.sampled_from((b"0", b"-", b'"', b"}", b"[", b"9999", b"\0", b"e9")))
        else:
            del content[data.draw(st.integers(0, len(content))) :]
    path = written(tmp_path_factory.mktemp("mutated"), bytes(content))
    try:
        header = read_header(path)
    except InvalidCheckpoint:
        return
    assert header.data_start + sum(found.end - found.begin for found in header.tensors.values()) == len(content)


def test_reading_a_header_does_not_load_torch() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        "from pathlib import Path; from model_zoo.checkpoints.header import read_header; "
        "from model_zoo.registry import bundled_checkpoint, cards; "
        "read_header(bundled_checkpoint(cards()[0])); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
