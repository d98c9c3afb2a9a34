"""The header of a safetensors file, read as hostile input and without torch.

A file is eight bytes with the header's length, the header as JSON, then the tensors' bytes one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from benchmark.errors import InvalidCheckpoint

MAX_HEADER_BYTES = 1024 * 1024
"""Room for about ten thousand tensors; the largest networks of the literature have a few thousand."""

MAX_DIMENSIONS = 8
MAX_DIMENSION = 2**31 - 1

ITEM_BYTES: Mapping[str, int] = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E5M2": 1,
    "F8_E4M3": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}
"""Size of one element of each element type."""

_LENGTH_BYTES = 8
_SHOWN_CHARACTERS = 80
_WRITE_AGAIN = "write the file again with safetensors.torch.save_file and upload that"


@dataclass(frozen=True)
class TensorEntry:
    """Where a tensor lies in the file.

    Args:
        dtype: element type in safetensors' words, such as "F32".
        shape: size along each dimension.
        begin: first byte, counted from the end of the header.
        end: one past the last byte.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Header:
    """A header whose every statement about the file was found to be true.

    Args:
        tensors: the tensors under their names.
        data_start: where the tensors' bytes begin in the file.
    """

    tensors: Mapping[str, TensorEntry]
    data_start: int


def read_header(path: Path) -> Header:
    """Read and validate the header of a safetensors file.

    Raises:
        InvalidCheckpoint: the file is not a well-formed safetensors file.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        length = _header_length(file.read(_LENGTH_BYTES), size)
        text = file.read(length)
    content = _parse(text)
    _check_metadata(content.pop("__metadata__", {}))
    tensors = {name: _tensor(name, entry) for name, entry in content.items()}
    if not tensors:
        _refuse("header", found="no tensors", expected="at least one", remedy="save the state dict of the network")
    data_start = _LENGTH_BYTES + length
    _check_layout(tensors, size - data_start)
    return Header(MappingProxyType(tensors), data_start)


def is_no_length(beginning: bytes) -> bool:
    """Tell by its first eight bytes whether a file is of another kind; the last byte of a sound length may be any."""
    return int.from_bytes(beginning, "little") > MAX_HEADER_BYTES


def shown(value: object) -> str:
    """Render a value from the file for a message: printable ASCII, cut short."""
    try:
        text = ascii(value)
    except RecursionError:
        return "a value nested too deeply"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _refuse(field: str, *, found: str, expected: str, remedy: str = _WRITE_AGAIN) -> NoReturn:
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)


def _header_length(prefix: bytes, size: int) -> int:
    if len(prefix) < _LENGTH_BYTES:
        _refuse(
            "file",
            found=f"{size} bytes",
            expected="a safetensors file, which begins with 8 bytes for the header's length",
            remedy="upload the whole safetensors file",
        )
    length = int.from_bytes(prefix, "little")
    if length > MAX_HEADER_BYTES:
        _refuse(
            "header length",
            found=f"{length} bytes",
            expected=f"at most {MAX_HEADER_BYTES}",
            remedy="save the state dict with safetensors.torch.save_file; pickles, zip archives and others are refused",
        )
    if _LENGTH_BYTES + length > size:
        _refuse(
            "file",
            found=f"{size} bytes",
            expected=f"at least {_LENGTH_BYTES + length}, by the length of its header",
            remedy="the file is truncated: upload it again",
        )
    return length


def _parse(text: bytes) -> dict[str, object]:
    try:
        content = json.loads(
            text.decode("utf-8"), object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )
    except RecursionError:
        _refuse("header", found="JSON nested too deeply", expected="one object of tensors")
    except ValueError:  # not UTF-8, not JSON, or an integer of thousands of digits
        _refuse("header", found=shown(text[:40]), expected="JSON in UTF-8")
    if not isinstance(content, dict):
        _refuse("header", found=f"JSON of type {type(content).__name__}", expected="a JSON object")
    return content


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    for key, value in pairs:
        if key in content:
            _refuse("header", found=f"the key {shown(key)} twice", expected="every key once")
        content[key] = value
    return content


def _refuse_constant(constant: str) -> NoReturn:
    _refuse("header", found=constant, expected="JSON, which has no such number")


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse("__metadata__", found=shown(metadata), expected="an object whose values are all strings")


def _tensor(name: str, entry: object) -> TensorEntry:
    field = f"tensor {shown(name)}"
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(field, found=shown(entry), expected="an object of dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        _refuse(field, found=f"dtype {shown(dtype)}", expected=f"one of {', '.join(ITEM_BYTES)}")
    if not _is_list_of_counts(shape) or len(shape) > MAX_DIMENSIONS or max(shape, default=0) > MAX_DIMENSION:
        expected = f"at most {MAX_DIMENSIONS} sizes, each from 0 to {MAX_DIMENSION}"
        _refuse(field, found=f"shape {shown(shape)}", expected=expected)
    if not _is_list_of_counts(offsets) or len(offsets) != 2:
        _refuse(field, found=f"data_offsets {shown(offsets)}", expected="two positions, begin and end")
    begin, end = offsets
    wanted = math.prod(shape) * ITEM_BYTES[dtype]
    if end - begin != wanted:
        found = f"{shown(end - begin)} bytes for shape {shown(shape)} of {dtype}"
        _refuse(field, found=found, expected=f"{wanted} bytes")
    return TensorEntry(dtype, tuple(shape), begin, end)


def _is_list_of_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)


def _check_layout(tensors: Mapping[str, TensorEntry], data_bytes: int) -> None:
    """Refuse unless the tensors fill the rest of the file exactly, without overlap, gap or remainder."""
    position = 0
    for name, entry in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if entry.begin != position:
            trouble = "overlaps the tensor before it" if entry.begin < position else "leaves a gap before it"
            _refuse(
                f"tensor {shown(name)}",
                found=f"data_offsets from {shown(entry.begin)}, which {trouble}",
                expected=f"data_offsets from {position}",
            )
        position = entry.end
    if position > data_bytes:
        _refuse(
            "file",
            found=f"{data_bytes} bytes of tensors",
            expected=f"{position}, by the header",
            remedy="the file is truncated: upload it again",
        )
    if position < data_bytes:
        _refuse("file", found=f"{data_bytes - position} bytes after the last tensor", expected="none")
