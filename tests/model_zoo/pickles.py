"""Archives of torch.save made by hand, so that they can be wrong in any way."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

EMPTY: Mapping[str, bytes] = {}


def archived(
    folder: Path, pickled: bytes, storages: Mapping[str, bytes] = EMPTY, *, deflated: bool = False, root: str = "model"
) -> Path:
    """Write an archive with that data.pkl and those storages."""
    path = folder / "model.pt"
    kind = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr(f"{root}/data.pkl", pickled)
        archive.writestr(f"{root}/byteorder", b"little")
        archive.writestr(f"{root}/version", b"3\n")
        for key, content in storages.items():
            archive.writestr(f"{root}/data/{key}", content)
    return path


def name(module: str, attribute: str) -> bytes:
    """Return the instruction GLOBAL."""
    return f"c{module}\n{attribute}\n".encode()


def text(value: str) -> bytes:
    """Return the instruction BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """Return the instruction LONG1."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def numbers(*values: int) -> bytes:
    """Return the instructions that make a tuple."""
    return b"(" + b"".join(number(value) for value in values) + b"t"


def storage(elements: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    """Return the instructions that refer to a storage."""
    return b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu") + number(elements) + b"tQ"


def tensor(stored: bytes, shape: bytes, strides: bytes, offset: int = 0) -> bytes:
    """Return the instructions that make a tensor."""
    hooks = name("collections", "OrderedDict") + b")R"
    rebuild = name("torch._utils", "_rebuild_tensor_v2")
    return rebuild + b"(" + stored + number(offset) + shape + strides + b"\x89" + hooks + b"tR"


def dictionary(**entries: bytes) -> bytes:
    """Return a whole pickle of a dictionary."""
    items = b"".join(text(key) + value for key, value in entries.items())
    return b"\x80\x02}(" + items + b"u."


class Marking:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.mark}",)
