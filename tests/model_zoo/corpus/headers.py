"""Safetensors files that are not what their header says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from model_zoo.checkpoints.header import MAX_HEADER_BYTES
from model_zoo.registry import bundled_checkpoint, card
from tests.model_zoo.corpus.case import Case, Json, raw
from tests.model_zoo.files import entry, framed, packed

ENTRY = card("Digits_Standard", "digits", "Linf")


def honest() -> bytes:
    """Return the file of a network that comes with the service."""
    return bundled_checkpoint(ENTRY).read_bytes()


def _edited(edit: Callable[[Json], object], data: Callable[[bytes], bytes] = bytes) -> Callable[[Any], object]:
    """Write the honest file with its header edited."""

    def write(place: Any) -> None:
        content = honest()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        edit(header)
        place.path.write_bytes(framed(json.dumps(header).encode(), data(content[end:])))

    return write


def _first(header: Json) -> Json:
    found: Json = next(value for name, value in header.items() if name != "__metadata__")
    return found


def _typed(dtype: object) -> Callable[[Any], object]:
    return _edited(lambda header: _first(header).update(dtype=dtype))


def _bytes(edit: Callable[[bytes], bytes]) -> Callable[[Any], object]:
    return lambda place: place.path.write_bytes(edit(honest()))


def _filled(value: float) -> Callable[[bytes], bytes]:
    return lambda data: np.full(len(data) // 4, value, dtype="<f4").tobytes()


def _case(name: str, tries: str, write: Callable[[Any], object]) -> Case:
    return Case(f"safetensors: {name}", tries, write, architecture=ENTRY.architecture)


_TWICE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}'

CASES = (
    _case("a key twice", "the readers may differ", raw(framed(_TWICE, bytes(16)))),
    _case("a field twice", "the readers may differ", raw(framed(b'{"a":{"dtype":"F32","dtype":"F16"}}'))),
    _case("10¹² elements", "memory", raw(packed({"a": entry(0, 4 * 10**12, [10**6, 10**6])}, b""))),
    _case("elements that overflow", "memory", raw(packed({"a": entry(0, 0, [2**30, 2**30, 4])}, b""))),
    _case("a dimension of 2⁶³", "memory", raw(packed({"a": entry(0, 0, [2**63, 0])}, b""))),
    _case("a thousand dimensions", "time", raw(packed({"a": entry(0, 4, [1] * 1000)}, bytes(4)))),
    _case("a negative size", "memory", raw(packed({"a": entry(0, 16, [-2, -2])}, bytes(16)))),
    _case("a size as true", "confusion", raw(packed({"a": entry(0, 4, [True])}, bytes(4)))),
    _case("an overlap", "confusion", raw(packed({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)))),
    _case("one place for two", "confusion", raw(packed({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)))),
    _case("a gap", "something hidden", raw(packed({"a": entry(0, 4, [1]), "b": entry(8, 16)}, bytes(16)))),
    _case("offsets in reverse", "memory", raw(packed({"a": entry(8, 0)}, bytes(8)))),
    _case("offsets beyond 64 bits", "memory", raw(packed({"a": entry(2**70, 2**70 + 8)}, bytes(8)))),
    _case("a header of 2⁶⁴ − 1 bytes", "memory", raw(b"\xff" * 8 + bytes(100))),
    _case("a header longer than the file", "memory", raw((1000).to_bytes(8, "little") + b"{}")),
    _case("a header longer than may be", "memory", raw(framed(b" " * (MAX_HEADER_BYTES + 1)))),
    _case("a header of nothing", "confusion", raw(framed(b""))),
    _case("a header that ends early", "confusion", _bytes(lambda b: (100).to_bytes(8, "little") + b[8:])),
    _case("a header in reverse byte order", "memory", _bytes(lambda b: b[:8][::-1] + b[8:])),
    _case("a header nested deeply", "the stack", raw(framed(b'{"a":' * 100_000))),
    _case("lists nested deeply", "the stack", raw(framed(b"[" * 500_000))),
    _case("a number of 9,999 digits", "time", raw(framed(b'{"a":' + b"9" * 9999 + b"}"))),
    _case("NaN in the header", "confusion", raw(framed(b'{"a": NaN}'))),
    _case("ten thousand keys", "time", raw(packed({f"t{n}": entry(0, 0, [0]) for n in range(10_000)}, b""))),
    _case("metadata that is code", "code", raw(packed({"__metadata__": ["__import__('os')"]}, b""))),
    _case("only metadata", "confusion", raw(packed({"__metadata__": {"format": "pt"}}, b""))),
    _case(
        "a name with a path",
        "to be written elsewhere",
        _edited(lambda h: h.update({"../../evil": h.pop(next(iter(h)))})),
    ),
    _case("a further key", "something hidden", _edited(lambda h: h.update(evil=entry(0, 0, [0])))),
    _case("a key less", "something hidden", _edited(lambda h: h.pop(list(h)[-1]))),
    _case("another shape", "confusion", _edited(lambda h: _first(h).update(shape=[*reversed(_first(h)["shape"]), 1]))),
    *(
        _case(f"element type {dtype}", "confusion", _typed(dtype))
        for dtype in ("I32", "U32", "F64", "F16", "F8_E4M3", "C64", "f32", "", None, 7)
    ),
    *(
        _case(f"values {value}", "logits that win by being none", _edited(lambda _: None, _filled(value)))
        for value in (float("nan"), float("inf"), float("-inf"))
    ),
    _case("bytes after the last tensor", "something hidden", _bytes(lambda b: b + b"PK\x03\x04")),
    _case("a byte too few", "confusion", _bytes(lambda b: b[:-1])),
    _case("half a file", "confusion", _bytes(lambda b: b[: len(b) // 2])),
    _case("only the length", "confusion", _bytes(lambda b: b[:8])),
    Case("safetensors: said to be a whole network", "confusion", _bytes(bytes)),
)
