"""The file of a backup: a plain tar of rows and blobs, with a manifest at its end that bears every member's hash.

It is written as a stream, and read with distrust: nothing of it is used before all of it has been found sound, and
nothing is ever extracted under a name that the file gives.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

from benchmark.errors import InvalidInput
from benchmark.report import canonical_json
from store.views import View

FORMAT: Literal[1] = 1
CHUNK_BYTES = 1024 * 1024
ROWS_BYTES = 4 * CHUNK_BYTES
"""Size at which a table's rows go on in the next member, so that neither side holds many at once."""
LONGEST_MEMBER_BYTES = 256 * CHUNK_BYTES
"""Size that no member but a blob exceeds."""
_MANIFEST, _SEAL = "manifest.json", "manifest.sha256"
_ROWS = re.compile(r"tables/([a-z_]{1,60})/(\d{6})\.jsonl")
_BLOB = re.compile(r"blobs/([0-9a-f]{64})")

BytesDone = Callable[[int], None]
"""Told the bytes done so far."""


class InvalidBackup(InvalidInput):
    """A file is no backup, or is damaged or incomplete."""

    code = "invalid_backup"


class Member(View):
    """A file within the backup."""

    name: str
    bytes: int
    sha256: str


class Manifest(View):
    """What the backup holds."""

    format: Literal[1]
    program: str
    """Version of the program that made it."""
    revision: str
    """Revision of the schema that the rows have."""
    made_at: str
    rows: dict[str, int]
    """Number of rows of each table."""
    lost: tuple[str, ...]
    """Blobs that rows refer to and that were gone or damaged already."""
    members: tuple[Member, ...]


class ArchiveWriter:
    """A backup in the making.

    Args:
        file: where it goes; only ever written on at its end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - closed in seal
        self._members: list[Member] = []
        self._rows: dict[str, int] = {}

    def add_rows(self, table: str, rows: Iterable[dict[str, object]]) -> None:
        """Add all rows of a table."""
        pending, number = bytearray(), 0
        self._rows[table] = 0
        for row in rows:
            pending += json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"
            self._rows[table] += 1
            if len(pending) >= ROWS_BYTES:
                self._add(f"tables/{table}/{number:06}.jsonl", io.BytesIO(pending), len(pending))
                pending, number = bytearray(), number + 1
        if pending:
            self._add(f"tables/{table}/{number:06}.jsonl", io.BytesIO(pending), len(pending))

    def add_blob(self, sha256: str, file: BinaryIO, size: int) -> bool:
        """Add a blob; tell whether its content has its hash."""
        return self._add(f"blobs/{sha256}", file, size) == sha256

    def seal(self, *, program: str, revision: str, made_at: str, lost: Iterable[str]) -> Manifest:
        """Add the manifest; nothing follows it."""
        manifest = Manifest(
            format=FORMAT,
            program=program,
            revision=revision,
            made_at=made_at,
            rows=self._rows,
            lost=tuple(lost),
            members=tuple(self._members),
        )
        text = canonical_json(manifest.model_dump(mode="json"))
        self._add(_MANIFEST, io.BytesIO(text), len(text))
        seal = hashlib.sha256(text).hexdigest().encode()
        self._add(_SEAL, io.BytesIO(seal), len(seal))
        self._tar.close()
        return manifest

    def _add(self, name: str, file: BinaryIO, size: int) -> str:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        hashed = _Hashed(file)
        self._tar.addfile(member, hashed)
        self._members.append(Member(name=name, bytes=size, sha256=hashed.sha256))
        return hashed.sha256


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hash = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """The hash of what has been read."""
        return self._hash.hexdigest()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        return data


class ArchiveReader:
    """A backup, found sound from its first byte to its last.

    Args:
        path: the file.
        progress: told how far the examination is.
    Raises:
        InvalidBackup: it is no backup, or damaged.
    """

    def __init__(self, path: Path, progress: BytesDone | None = None) -> None:
        self._file = path.open("rb")
        try:
            with _as_damage():
                self._tar = tarfile.open(fileobj=self._file, mode="r:")  # noqa: SIM115 - closed with this object
                self._infos = _plain_members(self._tar)
                self.manifest = self._read_manifest()
                self._members = {member.name: member for member in self.manifest.members}
                self._examine(progress)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def blobs(self) -> tuple[Member, ...]:
        """The blobs in it whose content has their hash."""
        return tuple(
            member
            for member in self.manifest.members
            if (found := _BLOB.fullmatch(member.name)) and found[1] == member.sha256
        )

    def rows(self, table: str) -> Iterator[dict[str, object]]:
        """Yield the rows of a table; hashed once more, for the file might have changed since."""
        with _as_damage():
            for name in sorted(name for name in self._members if name.startswith(f"tables/{table}/")):
                for line in b"".join(self.chunks(self._members[name])).splitlines():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise _damaged("a row that is none")
                    yield row

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Yield the content of a member piece by piece.

        Raises:
            InvalidBackup: at the end, where the content does not have its hash.
        """
        with _as_damage():
            file, digest = self._tar.extractfile(self._infos[member.name]), hashlib.sha256()
            if file is None:
                raise _damaged(f"{member.name}, which is no file")
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
                yield chunk
            if digest.hexdigest() != member.sha256:
                raise _damaged(f"{member.name} with another content than the manifest says")

    def _read_manifest(self) -> Manifest:
        missing = {_MANIFEST, _SEAL} - set(self._infos)
        if missing:
            raise _damaged(f"no {min(missing)}, so its end is missing")
        texts = []
        for name in (_MANIFEST, _SEAL):
            file = self._tar.extractfile(self._infos[name])
            texts.append(file.read() if file else b"")
        text, seal = texts
        if hashlib.sha256(text).hexdigest().encode() != seal:
            raise _damaged("a manifest that does not have its hash")
        content = json.loads(text)
        if not isinstance(content, dict):
            raise _damaged("a manifest that is none")
        if content.get("format") != FORMAT:
            raise InvalidBackup.because(
                "backup",
                found="a format that this version does not know",
                expected=f"format {FORMAT}",
                remedy="restore it with the version of the program that made it, or a newer one",
            )
        return Manifest.model_validate_json(text)

    def _examine(self, progress: BytesDone | None) -> None:
        listed = [member.name for member in self.manifest.members]
        if sorted(listed) != sorted(set(self._infos) - {_MANIFEST, _SEAL}):
            raise _damaged("other members than its manifest names")
        counted = dict.fromkeys(self.manifest.rows, 0)
        done = 0
        for member in self.manifest.members:
            rows = _ROWS.fullmatch(member.name)
            for chunk in self.chunks(member):
                done += len(chunk)
                if rows:
                    counted[rows[1]] += chunk.count(b"\n")
                if progress is not None:
                    progress(done)
        if counted != self.manifest.rows:
            raise _damaged("another number of rows than its manifest says")


def _plain_members(tar: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return the members by name, if they are what we write and nothing else: plain files, each name once."""
    members: dict[str, tarfile.TarInfo] = {}
    for info in tar:
        of_rows, of_blob = _ROWS.fullmatch(info.name), _BLOB.fullmatch(info.name)
        plain = info.type == tarfile.REGTYPE and info.sparse is None
        if not plain or info.name in members or not (of_rows or of_blob or info.name in {_MANIFEST, _SEAL}):
            raise _damaged(f"a member that no backup has: {ascii(info.name)[:100]}")
        if not of_blob and info.size > LONGEST_MEMBER_BYTES:
            raise _damaged(f"{info.name} with {info.size} bytes")
        members[info.name] = info
    return members


@contextmanager
def _as_damage() -> Iterator[None]:
    """Say of whatever goes wrong while a file is read that the file is damaged."""
    try:
        yield
    except (tarfile.TarError, EOFError, KeyError, ValueError, RecursionError) as error:
        raise _damaged(f"something that cannot be read ({type(error).__name__})") from None


def _damaged(found: str) -> InvalidBackup:
    return InvalidBackup.because(
        "backup",
        found=found,
        expected="a file that gauntlet backup has written, complete and unchanged",
        remedy="copy it again from where it was kept, or take another backup; nothing was restored",
    )
