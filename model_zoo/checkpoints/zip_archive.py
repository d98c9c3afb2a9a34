"""A zip archive of a stranger's: whole, its list of members true, every member once, as it is, and expected."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from benchmark.errors import InvalidCheckpoint
from model_zoo.checkpoints.header import shown

MAX_MEMBERS = 20_000
MAX_DIRECTORY_BYTES = 4 * 1024 * 1024
"""Size of the list of members, all of which is read before the first of them can be looked at."""

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s24x3H12x")
"""A member in the list, of which its signature and the sizes of name, extra field and comment are of interest."""
_LOCATOR = struct.Struct("<4sLQL")
_LONG = _END_64.size + _LOCATOR.size
_FLAGS = 0x808
"""Sizes after the content, and names in UTF-8."""
_LOCAL_HEADER_BYTES = 30
_COMPLETE = "one archive, complete, with its list of members at its end"


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip archive whose list of members is of a sane size.

    Raises:
        InvalidCheckpoint: there, or while a member is read, it turns out to be no sound archive.
    """
    _check_end(path)
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    # Whatever of its fields lies, Python's reader stumbles over it in one of these ways.
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OverflowError, struct.error) as error:
        _refuse("file", found=shown(str(error)), expected="a zip archive as torch writes it")


def _check_end(path: Path) -> None:
    """Refuse an archive that does not end with its list of members, or whose list is too long to be looked at."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - _END.size - _LONG, 0))
        end = file.read()
    if len(end) < _END.size or not end[-_END.size :].startswith(b"PK\x05\x06"):
        _refuse("file", found="no list of members at its end", expected="a whole zip archive")
    place = size - _END.size
    _, *parts, comment = _END.unpack(end[-_END.size :])
    if len(end) == _LONG + _END.size and end[_END_64.size :].startswith(b"PK\x06\x07"):
        # torch always writes the long form of the end as well, which is then the one that counts.
        place -= _LONG
        signature, length_of_this, _, _, *long = _END_64.unpack(end[: _END_64.size])
        if signature != b"PK\x06\x06" or length_of_this != _END_64.size - 12:
            _refuse("archive", found="a broken end", expected=_COMPLETE)
        full = (*[0xFFFF] * 4, *[0xFFFFFFFF] * 2)
        if any(short not in {value, most} for short, value, most in zip(parts, long, full, strict=True)):
            _refuse("archive", found="two ends that differ", expected=_COMPLETE)
        parts = long
    disk, first, here, members, length, start = parts
    if disk or first or comment or here != members:
        _refuse("archive", found="a part of an archive, or a comment", expected=_COMPLETE)
    if members > MAX_MEMBERS or length > MAX_DIRECTORY_BYTES:
        _refuse("archive", found=f"{members} members, listed in {length} bytes", expected=f"at most {MAX_MEMBERS}")
    if start + length != place:
        _refuse("archive", found=f"a list of members up to {start + length}", expected=f"one that ends at {place}")
    with path.open("rb") as file:
        file.seek(start)
        _check_list(file.read(length), members)


def _check_list(content: bytes, members: int) -> None:
    """Refuse a list of members that is longer or shorter than its entries, which Python's reader lets pass."""
    place = 0
    for _ in range(members):
        entry = content[place : place + _ENTRY.size]
        if len(entry) < _ENTRY.size or not entry.startswith(b"PK\x01\x02"):
            _refuse("archive", found="a broken list of members", expected=_COMPLETE)
        place += _ENTRY.size + sum(_ENTRY.unpack(entry)[1:])
    if place != len(content):
        _refuse("archive", found="a list of members of another size", expected=_COMPLETE)


def members_of(
    file: zipfile.ZipFile, size: int, belongs: Callable[[str], bool], expected: str
) -> dict[str, zipfile.ZipInfo]:
    """Return the members by their names below the one top folder.

    Args:
        file: the open archive.
        size: bytes of the whole file.
        belongs: tells of a name whether such a member may be there.
        expected: what may be there, in words.
    Raises:
        InvalidCheckpoint: it holds other members, or compressed, repeated or overlapping ones.
    """
    infos = file.infolist()
    if len(infos) > MAX_MEMBERS:  # its end need not have told the truth
        _refuse("archive", found=f"{len(infos)} members", expected=f"at most {MAX_MEMBERS}")
    members: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in infos:
        root, _, name = info.filename.partition("/")
        member = shown(info.filename)
        roots.add(root)
        if not belongs(name):
            _refuse("archive", found=f"the member {member}", expected=expected)
        if name in members:
            _refuse("archive", found=f"the member {member} twice", expected="every member once")
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size or info.flag_bits & ~_FLAGS:
            _refuse("archive", found=f"{member} compressed or encrypted", expected="members as they are")
        members[name] = info
    if len(roots) != 1:
        _refuse("archive", found=f"{len(roots)} top folders", expected="one")
    position = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < position:
            _refuse("archive", found="members that overlap", expected="members one after the other")
        position = info.header_offset + _LOCAL_HEADER_BYTES + info.file_size
    if position > size:
        _refuse("archive", found="members beyond its end", expected="members one after the other")
    return members


def _refuse(field: str, *, found: str, expected: str) -> NoReturn:
    remedy = "write the file again, as gauntlet.export or torch.save does, and upload it whole"
    raise InvalidCheckpoint.because(field, found=found, expected=expected, remedy=remedy)
