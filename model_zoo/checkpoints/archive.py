"""The zip archive of an exported network: members that are on a list, and tensors within their bytes."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NoReturn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.header import MAX_DIMENSION, MAX_DIMENSIONS, shown
from model_zoo.checkpoints.strict_json import Value, parse
from model_zoo.checkpoints.zip_archive import members_of

MAX_PROGRAM_BYTES = 64 * 1024 * 1024
"""Size of the graph as JSON; a network of a hundred layers has a few megabytes, most of it traces of its source."""
MAX_VALUES = 2_000_000
"""Values in a JSON document, each of which takes dozens of bytes of memory; DenseNet-201 has a hundred thousand."""
MAX_USES = 2
"""How often the bytes of the file may be used; a network may have a tensor under two names, but not under thousands."""
PROGRAM = "models/model.json"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
DTYPES: Mapping[int, tuple[str, int]] = MappingProxyType(
    {
        1: ("uint8", 1),
        2: ("int8", 1),
        3: ("int16", 2),
        4: ("int32", 4),
        5: ("int64", 8),
        6: ("float16", 2),
        7: ("float32", 4),
        8: ("float64", 8),
        12: ("bool", 1),
        13: ("bfloat16", 2),
    }
)
"""Name and size of each element type by the number that the format gives it."""

_ITEM_BYTES = dict(DTYPES.values())
_TENSOR = re.compile(r"data/(?:weights/weight|constants/tensor)_[0-9]{1,9}")
_OTHERS = frozenset(
    (
        PROGRAM,
        *CONFIGS,
        # Never opened.
        "data/sample_inputs/model.pt",
        "archive_format",
        "archive_version",
        "byteorder",
        "version",
        ".data/version",
        ".data/serialization_id",
        ".format_version",
        ".storage_alignment",
    )
)
_ORDER = b"little"
_STRIDED = 7
_EXPORT_AGAIN = "export the model in eval mode with gauntlet.export(model, example) and upload that file"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in the archive.

    Args:
        member: name of the member that holds its bytes.
        dtype: element type.
        shape: size along each dimension.
        strides: elements from one index to the next, along each dimension.
        offset: elements before the first.
    """

    member: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        """Its size in memory."""
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


def refuse(field: str, *, found: str, expected: str, remedy: str = _EXPORT_AGAIN) -> NoReturn:
    """Refuse the file; by default the remedy is to export it again."""
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)


class Archive:
    """An archive with nothing in it but what may be.

    Args:
        file: the open archive.
        size: bytes of the whole file.
    Raises:
        InvalidCheckpoint: it holds other members, or compressed, repeated or overlapping ones.
    """

    def __init__(self, file: zipfile.ZipFile, size: int) -> None:
        self._file = file
        self._size = size
        self._members = members_of(file, size, _belongs, "a graph, its tensors and nothing else")
        order = self._members.get("byteorder")
        if order is not None and (order.file_size != len(_ORDER) or file.read(order) != _ORDER):
            refuse(
                "byteorder", found="another order of bytes", expected="little", remedy="export it on another machine"
            )

    def document(self, name: str) -> Value:
        """Return a member that is JSON."""
        info = self._members.get(name)
        if info is None:
            refuse("archive", found=f"no {name}", expected="a graph and its tensors")
        if info.file_size > MAX_PROGRAM_BYTES:
            refuse(name, found=f"{info.file_size} bytes", expected=f"at most {MAX_PROGRAM_BYTES}")
        text = self._file.read(info)
        # Commas within texts count too, which only makes the limit stricter.
        if (values := sum(text.count(mark) for mark in b"[{,")) > MAX_VALUES:
            refuse(name, found=f"about {values} values", expected=f"at most {MAX_VALUES}")
        return parse(text, name)

    def tensors(self) -> dict[str, StoredTensor]:
        """Return where each tensor lies, by its name in the network; each lies within its bytes."""
        configs = (self.document(name) for name in CONFIGS)
        tensors: dict[str, StoredTensor] = {}
        for name, entry in (item for config in configs for item in config["config"].items()):
            if name in tensors:
                refuse(f"tensor {shown(name)}", found="two places", expected="one")
            tensors[name] = self._tensor(name, entry)
        total = sum(tensor.bytes for tensor in tensors.values())
        if total > MAX_USES * self._size:
            refuse("tensors", found=f"{total} bytes in a file of {self._size}", expected="every byte used once")
        return tensors

    def _tensor(self, name: str, entry: Value) -> StoredTensor:
        field = f"tensor {shown(name)}"
        if entry["use_pickle"].boolean():
            refuse(field, found="a pickled tensor", expected="raw bytes")
        info = self._place(entry["path_name"].text(), field)
        meta = entry["tensor_meta"]
        dtype, item = dtype_of(meta["dtype"], field)
        shape, strides = _sizes(meta["sizes"]), _sizes(meta["strides"])
        offset = meta["storage_offset"]["as_int"].count(MAX_DIMENSION)
        if meta["layout"].count(100) != _STRIDED or len(shape) != len(strides):
            refuse(field, found="another layout", expected="a dense tensor")
        elements = math.prod(shape)
        # torch multiplies the sizes of a tensor without elements too.
        if not elements and math.prod(max(size, 1) for size in shape) > MAX_DIMENSION:
            refuse(field, found=f"shape {list(shape)}", expected="a tensor within its bytes")
        last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
        # A tensor that counts an element twice could be of any size.
        if elements and max(elements, last + 1) * item > info.file_size:
            refuse(
                field,
                found=f"shape {list(shape)} with strides {list(strides)} in {info.file_size} bytes",
                expected="a dense tensor within its bytes",
            )
        return StoredTensor(info.filename, dtype, shape, strides, offset)

    def _place(self, name: str, field: str) -> zipfile.ZipInfo:
        for folder in ("data/weights", "data/constants"):
            place = f"{folder}/{name}"
            if place in self._members and _TENSOR.fullmatch(place):
                return self._members[place]
        refuse(field, found=f"a place {shown(name)} that is no tensor", expected="a member of the archive")


def _belongs(name: str) -> bool:
    return name in _OTHERS or _TENSOR.fullmatch(name) is not None


def dtype_of(value: Value, field: str) -> tuple[str, int]:
    """Return name and size of an element type."""
    number = value.count(100)
    if number not in DTYPES:
        refuse(field, found=f"element type {number}", expected=f"one of {', '.join(n for n, _ in DTYPES.values())}")
    return DTYPES[number]


def _sizes(value: Value) -> tuple[int, ...]:
    return tuple(size["as_int"].count(MAX_DIMENSION) for size in value.items_of_list(MAX_DIMENSIONS))
