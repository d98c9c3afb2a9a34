"""Safetensors files made by hand, so that they can be wrong in any way."""

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


def written(folder: Path, content: bytes) -> Path:
    path = folder / "checkpoint.safetensors"
    path.write_bytes(content)
    return path
