"""Safetensors and .npy files made by hand, so that they can be wrong in any way."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

Entry = Mapping[str, object]


def entry(begin: int, end: int, shape: object = (2,), dtype: object = "F32") -> Entry:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def packed(tensors: Mapping[str, object], data: bytes) -> bytes:
    return framed(json.dumps(tensors).encode(), data)


def npy(header: str | bytes, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode() if isinstance(header, str) else header
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + text + data


def npy_header(descr: str = "'<f4'", fortran_order: str = "False", shape: str = "(2, 1, 1, 2)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran_order}, 'shape': {shape}, }}\n"


def written(folder: Path, content: bytes) -> Path:
    path = folder / "checkpoint.safetensors"
    path.write_bytes(content)
    return path
