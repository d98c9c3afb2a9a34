"""Zip archives that are not what they seem."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.model_zoo.corpus.case import (
    CONSTANTS,
    PROGRAM,
    WEIGHTS,
    Case,
    Json,
    Workplace,
    member,
    replaced,
)
from tests.model_zoo.exported import changed

END = b"PK\x05\x06"
LISTED = b"PK\x01\x02"
LOCAL = b"PK\x03\x04"


def members(path: Path) -> list[tuple[str, bytes]]:
    """Return every member of an archive, with the top folder."""
    with zipfile.ZipFile(path) as file:
        return [(info.filename, file.read(info)) for info in file.infolist()]


def zipped(contents: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive of members of any names, repeated ones too."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as file:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in contents:
            file.writestr(name, content)
    return buffer.getvalue()


def rewritten(edit: Callable[[list[tuple[str, bytes]]], object], method: int = 0) -> Callable[[Workplace], object]:
    """Write the honest network with its list of members edited."""

    def write(place: Workplace) -> None:
        contents = members(place.honest)
        edit(contents)
        place.path.write_bytes(zipped(contents, method))

    return write


def added(name: str, content: bytes = b"x") -> Callable[[Workplace], object]:
    """Write the honest network with a member of exactly that name."""
    return rewritten(lambda contents: contents.append((name, content)))


def patched(edit: Callable[[bytearray], object]) -> Callable[[Workplace], object]:
    """Write the honest network, with plain headers, with its bytes edited."""

    def write(place: Workplace) -> None:
        content = bytearray(zipped(members(place.honest)))
        edit(content)
        place.path.write_bytes(content)

    return write


@dataclass(frozen=True)
class Field:
    """A number in a header of the format.

    Args:
        header: the signature.
        offset: from there.
        size: in bytes.
    """

    header: bytes
    offset: int
    size: int

    def set(self, content: bytearray, value: int) -> None:
        place = content.rindex(self.header) + self.offset
        content[place : place + self.size] = value.to_bytes(self.size, "little")


def field(header: bytes, offset: int, size: int, value: int) -> Callable[[Workplace], object]:
    """Write the honest network with a number in its last header of that kind replaced."""
    return patched(lambda content: Field(header, offset, size).set(content, value))


def _nothing_but_lists(place: Workplace) -> None:
    """Write a list of two hundred thousand members, each at the same place."""
    listed = struct.pack("<4s6H3L5H2L", LISTED, 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    entries = listed * 200_000
    end = struct.pack("<4s4H2LH", END, 0, 0, 0xFFFF, 0xFFFF, len(entries), 31, 0)
    first = struct.pack("<4s5H3L2H", LOCAL, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0) + b"a"
    place.path.write_bytes(first + entries + end)


def _many(place: Workplace) -> None:
    place.path.write_bytes(zipped([(f"m/data/weights/weight_{number}", b"") for number in range(21_000)]))


def _quoted(content: bytearray) -> None:
    """Have the last member begin where the first one does, so that they share their bytes."""
    Field(LISTED, 42, 4).set(content, 0)


def _commented(content: bytearray) -> None:
    Field(END, 20, 2).set(content, 5)
    content.extend(b"hello")


def _long_end(place: Workplace) -> None:
    """Have a second, long end that lists no members."""
    content = zipped(members(place.honest))
    at = content.rindex(END)
    long = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 0, 0, 0, at)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    place.path.write_bytes(content[:at] + long + locator + content[at:])


def _bomb(place: Workplace) -> None:
    contents = [
        (name, bytes(10**8) if name.endswith("weight_0") else content) for name, content in members(place.honest)
    ]
    place.path.write_bytes(zipped(contents, zipfile.ZIP_DEFLATED))


def _linked(place: Workplace) -> None:
    """Have a member that is a symbolic link, where a tensor is looked for."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members(place.honest):
            info = zipfile.ZipInfo(name)
            link = name.endswith("weights/weight_0")
            info.external_attr = (0o120777 if link else 0o100600) << 16
            file.writestr(info, b"/etc/passwd" if link else content)
    place.path.write_bytes(buffer.getvalue())


def _text(name: str, text: str) -> Case:
    content = text.encode("utf-8", "surrogatepass")
    return Case(f"JSON: {name}", "the parser", replaced(PROGRAM, content))


def _tensor(name: str, **changes: Any) -> Case:
    def edit(config: Json) -> None:
        config["config"]["conv.weight"]["tensor_meta"].update(changes)

    return Case(f"tensor: {name}", "memory that is not its own", member(WEIGHTS, edit))


def _sizes(*values: int) -> list[Json]:
    return [{"as_int": value} for value in values]


def _entry(name: str, **changes: Any) -> Case:
    def edit(config: Json) -> None:
        config["config"]["conv.weight"].update(changes)

    return Case(f"tensor: {name}", "bytes that are not its own", member(WEIGHTS, edit))


def _amplified(place: Workplace) -> None:
    """Have ten thousand tensors of one member of a megabyte."""
    size = 2**18
    meta = {
        "dtype": 7,
        "sizes": _sizes(size),
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": _sizes(1),
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }
    entries = {
        f"t{number}": {"path_name": "tensor_0", "is_param": False, "use_pickle": False, "tensor_meta": meta}
        for number in range(10_000)
    }

    def signature(content: bytes) -> bytes:
        document = json.loads(content)
        specs = document["graph_module"]["signature"]["input_specs"]
        specs[:0] = [
            {"tensor_constant": {"arg": {"name": f"c_{name}"}, "tensor_constant_name": name}} for name in entries
        ]
        return json.dumps(document).encode()

    config = json.dumps({"config": entries}).encode()
    constant = {"data/constants/tensor_0": bytes(4 * size)}
    changed(place.honest, place.path, {CONSTANTS: lambda _: config, PROGRAM: signature}, constant)


def _same_key(place: Workplace) -> None:
    """Have one tensor under ten thousand names."""

    def signature(content: bytes) -> bytes:
        document = json.loads(content)
        specs = document["graph_module"]["signature"]["input_specs"]
        again = {"parameter": {"arg": {"name": ""}, "parameter_name": "last.weight"}}
        copies = [json.loads(json.dumps(again)) for _ in range(10_000)]
        for number, copy in enumerate(copies):
            copy["parameter"]["arg"]["name"] = f"again_{number}"
        specs[:0] = copies
        return json.dumps(document).encode()

    changed(place.honest, place.path, {PROGRAM: signature})


def _in_both(place: Workplace) -> None:
    """Have a name stand in both lists of tensors, at different places."""
    with zipfile.ZipFile(place.honest) as file:
        name = next(name for name in file.namelist() if name.endswith(WEIGHTS))
        weights = json.loads(file.read(name))
    twice = json.dumps({"config": {"conv.weight": weights["config"]["conv.weight"]}}).encode()
    changed(place.honest, place.path, {CONSTANTS: lambda _: twice})


_NAMES = (
    "model/../../evil",
    "/etc/evil",
    "model//etc/evil",
    "C:\\evil",
    "model/data/weights/../../../evil",
    "model/data/weights/weight_0/",
    "model/data/weights/weight_0\\..\\evil",
    "model/data/weights/weight_-1",
    "model/data/weights/weight_٣",
    "other/data/weights/weight_77",
    "model/data/weights/weight_1e3",
    "model/models/other.json",
    "model/models/model.json/",
    "model/extra/notes.txt",
    "model/code/__torch__.py",
    "model/data.pkl",
    "model/constants.pkl",
    "model/data/aotinductor/model/model.so",
    "model/data/aotinductor/model/kernel.cubin",
    "evil",
    "/",
)

CASES = (
    *(Case(f"member {name!r}", "to be written or read elsewhere", added(name)) for name in _NAMES),
    Case("a member twice", "the readers may differ", rewritten(lambda contents: contents.append(contents[0]))),
    Case(
        "the program twice",
        "the readers may differ",
        rewritten(lambda c: c.append(next(m for m in c if "models/" in m[0]))),
    ),
    Case("deflated bomb", "memory", _bomb),
    *(
        Case(f"method {method}", "memory", rewritten(lambda _: None, method))
        for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    ),
    Case("members without end", "memory, before one is looked at", _nothing_but_lists),
    Case("21,000 members", "time", _many),
    Case("shared bytes", "one place under two names", patched(_quoted)),
    Case("a list without members", "the readers may differ", _long_end),
    Case("a link", "a file of the service's", _linked),
    Case("encrypted", "confusion", field(LISTED, 8, 2, 1)),
    Case("strong encryption", "confusion", field(LISTED, 8, 2, 0x41)),
    Case("patched data", "confusion", field(LISTED, 8, 2, 0x20)),
    Case("another method in the list", "the readers may differ", field(LISTED, 10, 2, 8)),
    Case("an unknown method in the list", "the readers may differ", field(LISTED, 10, 2, 0x63)),
    Case("another name in the list", "the readers may differ", patched(lambda c: Field(LISTED, 46, 1).set(c, 0x5A))),
    Case("a version from the future", "confusion", field(LISTED, 6, 2, 255)),
    Case("another size in the list", "memory", field(LISTED, 24, 4, 2**31)),
    Case("another stored size in the list", "memory", field(LISTED, 20, 4, 2**31)),
    Case("a place beyond the end", "confusion", field(LISTED, 42, 4, 2**31)),
    Case("a place of 2³² − 1", "the long form without it", field(LISTED, 42, 4, 2**32 - 1)),
    Case("a long name", "confusion", field(LISTED, 28, 2, 0xFFFF)),
    Case("a long extra field", "confusion", field(LISTED, 30, 2, 0xFFFF)),
    Case("a list that is longer than the file", "memory", field(END, 12, 4, 2**31)),
    Case("a list that begins elsewhere", "the readers may differ", field(END, 16, 4, 0)),
    Case("65,535 members by the end", "confusion", field(END, 8, 4, 0xFFFFFFFF)),
    Case("the second disk", "confusion", field(END, 4, 2, 1)),
    Case("a comment", "another archive in it", patched(_commented)),
    Case("bytes after the end", "another archive there", patched(lambda c: c.extend(b"PK\x03\x04 and more"))),
    Case("bytes before the beginning", "another format there", patched(lambda c: c.insert(0, 0x50))),
    Case("no program", "confusion", rewritten(lambda c: c.remove(next(m for m in c if m[0].endswith(PROGRAM))))),
    Case("no weights", "confusion", rewritten(lambda c: c.remove(next(m for m in c if m[0].endswith("weight_0"))))),
    Case("no members", "confusion", rewritten(lambda c: c.clear())),
    _text("nothing", ""),
    _text("an array", "[]"),
    _text("null", "null"),
    _text("nested 100,000 times", "[" * 100_000),
    _text("nested objects", '{"a":' * 100_000),
    _text("a key twice", '{"graph_module": {}, "graph_module": {}}'),
    _text("NaN", '{"schema_version": {"major": NaN}}'),
    _text("Infinity", '{"schema_version": {"major": -Infinity}}'),
    _text("a huge exponent", '{"schema_version": {"major": 1e999}}'),
    _text("a number of 5,000 digits", '{"schema_version": {"major": ' + "9" * 5000 + "}}"),
    _text("half a character", '{"a": "\ud800"}'),
    _text("a text without end", '{"a": "'),
    _text("three million lists", '{"a": [' + "[]," * 3_000_000 + "0]}"),
    _text("another version", '{"schema_version": {"major": 7}}'),
    Case("JSON in UTF-16", "the parser", replaced(PROGRAM, '{"a": 1}'.encode("utf-16"))),
    Case("JSON with zero bytes", "the parser", replaced(PROGRAM, b"{}\0\0")),
    _tensor("10¹² elements", sizes=_sizes(10**6, 10**6, 1, 1)),
    _tensor("a size that overflows", sizes=_sizes(2**31, 2**31, 4, 1)),
    _tensor("elements that overflow 64 bits", sizes=_sizes(2**30, 2**30, 2**4, 1)),
    _tensor("a negative size", sizes=_sizes(-4, -1, 3, 3)),
    _tensor("no size at all, of nothing", sizes=_sizes(0, 2**31 - 1, 2**31 - 1, 2**31 - 1)),
    _tensor("nine dimensions", sizes=_sizes(*[1] * 9), strides=_sizes(*[1] * 9)),
    _tensor("fewer strides than sizes", strides=_sizes(1)),
    _tensor("stride 0", sizes=_sizes(1000, 1000, 1000, 1000), strides=_sizes(0, 0, 0, 0)),
    _tensor("a negative stride", strides=_sizes(-1, 9, 3, 1)),
    _tensor("a stride that overflows", strides=_sizes(2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1)),
    _tensor("an offset beyond the end", storage_offset={"as_int": 36}),
    _tensor("a negative offset", storage_offset={"as_int": -1}),
    _tensor("an offset as an expression", storage_offset={"as_expr": {"expr_str": "1"}}),
    _tensor("a size as an expression", sizes=[{"as_expr": {"expr_str": "__import__('os')"}}] * 4),
    _tensor("a size as true", sizes=_sizes(True, True, True, True)),
    _tensor("a size with a fraction", sizes=[{"as_int": 4.0}] * 4),
    _tensor("an unknown element type", dtype=99),
    _tensor("complex numbers", dtype=9),
    _tensor("quantised numbers", dtype=14),
    _tensor("wider numbers", dtype=8),
    _tensor("element type as a text", dtype="float32"),
    _tensor("a sparse layout", layout=1),
    _tensor("another layout", layout=5),
    _entry("from the sample inputs", path_name="../../sample_inputs/model.pt"),
    _entry("from its own list", path_name="model_weights_config.json"),
    _entry("from an absolute path", path_name="/etc/passwd"),
    _entry("from nowhere", path_name="weight_999"),
    _entry("from an empty name", path_name=""),
    _entry("without a description", tensor_meta=None),
    _entry("that may be pickled", use_pickle=1),
    Case("ten thousand tensors of one place", "memory", _amplified),
    Case("ten thousand names of one tensor", "memory", _same_key),
    Case("a name in both lists", "the readers may differ", _in_both),
    Case(
        "another byte order",
        "other numbers",
        lambda place: changed(place.honest, place.path, {"byteorder": lambda _: b"big"}),
    ),
)
