"""Files of formats that are refused, and files of two formats at once."""

from __future__ import annotations

import io
import pickle
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from tests.model_zoo.corpus.archives import members, zipped
from tests.model_zoo.corpus.case import Case, Workplace, raw
from tests.model_zoo.corpus.code import Payload, saved
from tests.model_zoo.corpus.headers import ENTRY, honest

Write = Callable[[Workplace], object]


def _of_mark(content: Callable[[Path], bytes]) -> Write:
    return lambda place: place.path.write_bytes(content(place.mark))


def _scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.rand(1, 2)), buffer)
    return buffer.getvalue()


def _legacy(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Payload(mark), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def _state() -> bytes:
    buffer = io.BytesIO()
    torch.save(nn.Linear(2, 2).state_dict(), buffer)
    return buffer.getvalue()


def _tar(mark: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        link = tarfile.TarInfo("weights")
        link.type, link.linkname = tarfile.SYMTYPE, str(mark.parent)
        file.addfile(link)
        file.addfile(tarfile.TarInfo("weights/../../evil"))
    return buffer.getvalue()


def _with_zip(before: Callable[[Path], bytes]) -> Write:
    """Put something before an honest archive, which many readers find from its end."""
    return lambda place: place.path.write_bytes(before(place.mark) + zipped(members(place.honest)))


def _zip_and(after: bytes) -> Write:
    return lambda place: place.path.write_bytes(place.honest.read_bytes() + after)


def _cut(share: float) -> Write:
    def write(place: Workplace) -> None:
        content = place.honest.read_bytes()
        place.path.write_bytes(content[: int(len(content) * share)])

    return write


def _case(name: str, tries: str, write: Write, *, registered: bool = False, fires: bool = False) -> Case:
    architecture = {"architecture": ENTRY.architecture} if registered else {}
    return Case(name, tries, write, raw="load" if fires else None, **architecture)  # type: ignore[arg-type]


ONNX = b"\x08\x09\x12\x07pytorch\x1a\x052.13.:\x10"
SOURCE = b"import os\n\nos.system('touch fired')\n"
PICKLES = ("a pickle", "a saved object", "a legacy save", "a pickle before an archive")
"""Those that fire where they are unpickled."""

CASES = (
    _case("a saved object", "it is unpickled", _of_mark(saved)),
    _case("a legacy save", "it is unpickled", _of_mark(_legacy)),
    _case("a pickle", "it is unpickled", _of_mark(lambda mark: pickle.dumps(Payload(mark)))),
    _case("a pickle of protocol 0", "it is unpickled", _of_mark(lambda mark: pickle.dumps(Payload(mark), 0))),
    _case("a pickle for a registered architecture", "it is unpickled", _of_mark(saved), registered=True),
    _case("a state dict", "it is unpickled", raw(_state())),
    _case("TorchScript", "its code is run", raw(_scripted())),
    _case("ONNX", "its operations are looked up", raw(ONNX)),
    _case("source", "it is run", raw(SOURCE)),
    _case("a script", "it is run", raw(b"#!/bin/sh\ntouch fired\n")),
    _case("a program", "it is run", raw(b"\x7fELF\x02\x01\x01" + bytes(200))),
    _case("a URL", "it is fetched", raw(b"http://127.0.0.1:1/model.pt2")),
    _case("HTML", "it is shown", raw(b"<!doctype html><script>fetch('/')</script>")),
    _case("a picture", "it is shown", raw(b"\x89PNG\r\n\x1a\n" + bytes(50))),
    _case("nothing", "confusion", raw(b"")),
    _case("nothing, for a registered architecture", "confusion", raw(b""), registered=True),
    _case("one byte", "confusion", raw(b"P")),
    _case("zero bytes", "confusion", raw(bytes(10_000))),
    _case("a gzip file", "memory", raw(b"\x1f\x8b\x08" + bytes(100))),
    _case("a tar file", "links and paths", _of_mark(_tar)),
    _case("an empty archive", "confusion", raw(b"PK\x05\x06" + bytes(18))),
    _case("the beginning of an archive", "confusion", raw(b"PK\x03\x04")),
    *(_case(f"{share:.0%} of an archive", "confusion", _cut(share)) for share in (0.01, 0.5, 0.9, 0.999)),
    _case("a pickle before an archive", "two formats", _with_zip(lambda mark: pickle.dumps(Payload(mark)))),
    _case("source before an archive", "two formats", _with_zip(lambda _: SOURCE)),
    _case("safetensors before an archive", "two formats", _with_zip(lambda _: honest())),
    _case("safetensors before an archive, registered", "two formats", _with_zip(lambda _: honest()), registered=True),
    _case("an archive before safetensors", "two formats", _zip_and(honest())),
    _case(
        "an archive before a pickle", "two formats", lambda p: p.path.write_bytes(p.honest.read_bytes() + saved(p.mark))
    ),
    _case("two archives", "two networks", lambda p: p.path.write_bytes(p.honest.read_bytes() * 2)),
    _case(
        "an archive for a registered architecture",
        "confusion",
        lambda p: p.path.write_bytes(p.honest.read_bytes()),
        registered=True,
    ),
)
