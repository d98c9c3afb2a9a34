"""Files inside tar archives, by their exact names. Nothing is ever unpacked to the disk."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from benchmark.data_formats.rows import DOWNLOAD_AGAIN
from benchmark.errors import InvalidData

_BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError)


def read_members(path: Path, names: Sequence[str], limit: int) -> dict[str, bytes]:
    """Return the content of some files of an archive, compressed or not.

    Args:
        path: of the archive.
        names: of the files.
        limit: bytes that none of them may exceed.
    Raises:
        InvalidData: the archive is damaged, or lacks one of them.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = _name(member)
                if name not in names or name in found:
                    continue
                _check(path, member, limit)
                content = archive.extractfile(member)
                found[name] = b"" if content is None else content.read()
                if len(found) == len(names):
                    break
    except _BROKEN as error:
        _refuse(path, str(error), "a tar archive")
    for name in names:
        if name not in found:
            _refuse(path, f"no {name}", "an archive that holds it")
    return found


def places_of_members(path: Path, names: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """Return where some files of an archive that is not compressed begin, and their sizes.

    Raises:
        InvalidData: as for `read_members`.
    """
    found: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = _name(member)
                if name in names and name not in found:
                    _check(path, member, path.stat().st_size)
                    found[name] = member.offset_data, member.size
    except _BROKEN as error:
        _refuse(path, str(error), "a tar archive without compression")
    for name in names:
        if name not in found:
            _refuse(path, f"no {name}", "an archive that holds it")
    return found


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./")


def _check(path: Path, member: tarfile.TarInfo, limit: int) -> None:
    """Refuse what is no plain file: links, devices, files with holes."""
    if not member.isreg() or member.issparse():
        _refuse(path, f"{member.name}, which is no plain file", "a plain file of that name")
    if member.size > limit:
        _refuse(path, f"{member.name} of {member.size:,} bytes", f"at most {limit:,} bytes")


def _refuse(path: Path, found: str, expected: str) -> NoReturn:
    raise InvalidData.because(str(path), found=found, expected=expected, remedy=DOWNLOAD_AGAIN)
