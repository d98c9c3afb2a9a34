"""The header of a .npy file, read as hostile input, without torch, without numpy and without evaluating its text.

A file is a magic string, two bytes for the format's version, the header's length, the header as the text of a Python
dictionary, then the values. Numpy's own reader parses that text as Python; here it has to be of one fixed form.

Source:
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays", and the module `numpy.lib.format`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NoReturn

from benchmark.errors import InvalidExamples
from model_zoo.checkpoints.header import ITEM_BYTES, MAX_DIMENSION, MAX_DIMENSIONS, shown

MAGIC = b"\x93NUMPY"
MAX_NPY_HEADER_BYTES = 4 * 1024
"""Numpy writes 118 bytes for an array of four dimensions; only records with many fields need more."""

DType = Literal["F32", "F64"]
"""Element types that examples may have, in safetensors' words."""

WRITE_AGAIN = 'write the file again with numpy.save(file, x_adv.astype("float32")) and upload the whole of it'
SCALE = "scale the images to [0, 1], dividing 8-bit pixels by 255, and save them as float32"
KEEP_PRECISION = (
    "save the values as float32 from the beginning: "
    "rounding to float16 already moves a pixel by up to 0.00024, and no budget forgives that"
)

_DTYPES: Mapping[str, DType] = MappingProxyType({"<f4": "F32", "<f8": "F64"})
_REMEDIES = MappingProxyType(
    {
        "O": "pickles are never read: save an array of numbers, numpy.asarray(x_adv, dtype='float32')",
        "b": SCALE,
        "i": SCALE,
        "u": SCALE,
    }
)
"""What to do about an array of another type, by the letter of its kind."""

_LENGTH_BYTES = MappingProxyType({b"\x01\x00": 2, b"\x02\x00": 4, b"\x03\x00": 4})
"""Size of the header's length in each version of the format."""
_VERSION_BYTES = 2
_PREFIX_BYTES = len(MAGIC) + _VERSION_BYTES + max(_LENGTH_BYTES.values())

# No part can take over what another left, so that matching takes time in proportion to the text whatever it is.
_VALUE = r"""'[^'"\\]*+'|"[^'"\\]*+"|True|False|\([0-9, ]*+\)"""
_ITEM = rf"""['"]([a-z_]++)['"] *+: *+({_VALUE}) *+"""
_HEADER = re.compile(rf"\{{ *+{_ITEM}, *+{_ITEM}, *+{_ITEM}(?:, *+)?\}}[ \n]*+")
_SIZE = "(?:0|[1-9][0-9]{0,18})"
_SHAPE = re.compile(rf"\(\)|\((?:{_SIZE}, *+)+(?:{_SIZE})?\)")
_KEYS = frozenset(("descr", "fortran_order", "shape"))


@dataclass(frozen=True)
class NpyHeader:
    """A header whose every statement about the file was found to be true.

    Args:
        dtype: element type in safetensors' words.
        shape: size along each dimension; the last one varies fastest.
        data_start: where the values begin in the file.
    """

    dtype: DType
    shape: tuple[int, ...]
    data_start: int


def begins_npy(beginning: bytes) -> bool:
    """Tell by its first bytes whether a file is a .npy file, sound or not."""
    return beginning.startswith(MAGIC)


def read_npy_header(path: Path) -> NpyHeader:
    """Read and validate the header of a .npy file of little-endian float32 or float64 values in C order.

    Raises:
        InvalidExamples: the file is no such file, or not exactly as long as its header says.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        beginning = file.read(_PREFIX_BYTES + MAX_NPY_HEADER_BYTES)
    start, data_start = _place_of_header(beginning, size)
    fields = _fields(beginning[start:data_start])
    header = NpyHeader(_dtype(fields["descr"]), _shape(fields), data_start)
    _check_size(header, size - data_start)
    return header


def _place_of_header(beginning: bytes, size: int) -> tuple[int, int]:
    """Return where the header begins and ends."""
    if not begins_npy(beginning):
        _refuse("file", found=f"{size} bytes, the first of them {shown(beginning[:8])}", expected="a .npy file")
    place = len(MAGIC) + _VERSION_BYTES
    version = beginning[len(MAGIC) : place]
    if version not in _LENGTH_BYTES:
        _refuse("version", found=".".join(str(number) for number in version), expected="1.0, 2.0 or 3.0")
    start = place + _LENGTH_BYTES[version]
    if start > size:
        _refuse_truncated(size, f"at least {start}")
    length = int.from_bytes(beginning[place:start], "little")
    if length > MAX_NPY_HEADER_BYTES:
        _refuse("header length", found=f"{length} bytes", expected=f"at most {MAX_NPY_HEADER_BYTES}")
    if start + length > size:
        _refuse_truncated(size, f"at least {start + length}")
    return start, start + length


def _fields(text: bytes) -> dict[str, str]:
    """Return the three fields of the header, each as it is written."""
    found = _HEADER.fullmatch(text.decode("latin-1"))
    parts = found.groups() if found else ()
    fields = dict(zip(parts[::2], parts[1::2], strict=True))
    if fields.keys() != _KEYS:
        expected = "{'descr': '<f4', 'fortran_order': False, 'shape': (n, channels, height, width), }"
        _refuse("header", found=shown(text.rstrip()), expected=expected)
    return fields


def _dtype(written: str) -> DType:
    name = written.strip("'\"")
    if name not in _DTYPES:
        half = name[1:] == "f2"
        remedy = KEEP_PRECISION if half else _REMEDIES.get(name[1:2], WRITE_AGAIN)
        _refuse("dtype", found=shown(name), expected="'<f4' or '<f8': little-endian float32 or float64", remedy=remedy)
    return _DTYPES[name]


def _shape(fields: Mapping[str, str]) -> tuple[int, ...]:
    if fields["fortran_order"] != "False":
        _refuse(
            "fortran_order",
            found=shown(fields["fortran_order"]),
            expected="False: the last dimension varies fastest",
            remedy="save numpy.ascontiguousarray(x_adv)",
        )
    text = fields["shape"]
    shape = tuple(int(size) for size in re.findall("[0-9]+", text)) if _SHAPE.fullmatch(text) else None
    if shape is None or len(shape) > MAX_DIMENSIONS or max(shape, default=0) > MAX_DIMENSION:
        expected = f"at most {MAX_DIMENSIONS} sizes, each from 0 to {MAX_DIMENSION}"
        _refuse("shape", found=shown(text), expected=expected)
    return shape


def _check_size(header: NpyHeader, data_bytes: int) -> None:
    wanted = math.prod(header.shape) * ITEM_BYTES[header.dtype]
    if data_bytes < wanted:
        _refuse_truncated(data_bytes, f"{wanted} of values, by the header")
    if data_bytes > wanted:
        found = f"{data_bytes - wanted} bytes after the array"
        _refuse("file", found=found, expected="none", remedy="save one array alone in the file")


def _refuse(field: str, *, found: str, expected: str, remedy: str = WRITE_AGAIN) -> NoReturn:
    raise InvalidExamples.because(field, found=found, expected=expected, remedy=remedy)


def _refuse_truncated(found: int, expected: str) -> NoReturn:
    _refuse("file", found=f"{found} bytes", expected=expected, remedy="the file is truncated: upload it again")
