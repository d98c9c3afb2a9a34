"""Uploads that come in several goes: what has arrived so far is kept until the rest does."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from starlette.concurrency import run_in_threadpool

from benchmark.errors import Conflict, InvalidInput, TooLarge
from store.blobs import FREE_FLOOR_BYTES, BlobWriter
from store.errors import QueueFull, StorageFull

MOST_EACH = 4
"""Unfinished uploads of one sender."""
STALE_S = 24 * 3600.0
"""Time without a byte after which an unfinished upload is forgotten."""
_COPY_BYTES = 1024 * 1024
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


@dataclass(frozen=True)
class Range:
    """Which bytes of a file a request brings.

    Args:
        first: position of the first.
        last: position of the last.
        size: of the whole file.
    """

    first: int
    last: int
    size: int

    @classmethod
    def read(cls, text: str, limit: int) -> Range:
        """Read a Content-Range.

        Raises:
            InvalidInput: it is none.
            TooLarge: the whole file exceeds the limit.
        """
        found = _RANGE.fullmatch(text.strip())
        first, last, size = map(int, found.groups()) if found else (1, 0, 0)
        if not first <= last < size:
            raise InvalidInput.because(
                "Content-Range", found=ascii(text[:80]), expected="bytes FIRST-LAST/SIZE, such as bytes 0-99/200",
                remedy="correct it, or send the whole file without it",
            )  # fmt: skip
        if size > limit:
            raise TooLarge.because(
                "Content-Range", found=f"{size} bytes", expected=f"at most {limit} bytes", remedy="send a smaller file"
            )
        return cls(first, last, size)


class Parts:
    """Unfinished uploads, each under a name that only its sender and its file's hash lead to.

    Args:
        folder: where they lie.
        free_floor_bytes: free space that writing never goes below.
    """

    def __init__(self, folder: Path, free_floor_bytes: int = FREE_FLOOR_BYTES) -> None:
        self._folder = folder
        self._free_floor_bytes = free_floor_bytes
        self._busy: set[Path] = set()
        self._lock = Lock()

    def received(self, sender: str, sha256: str) -> int:
        """Return how many bytes have arrived of a sender's unfinished upload; 0 where there is none."""
        path = self._path(sender, sha256)
        return path.stat().st_size if path.is_file() else 0

    async def append(self, sender: str, sha256: str, there: Range, body: AsyncIterator[bytes]) -> int:
        """Append what a request brings, and return how many bytes have arrived.

        What had arrived before the request broke off stays.

        Raises:
            Conflict: it does not begin where the last one ended, or another request is at it.
            QueueFull: the sender has too many unfinished uploads.
            StorageFull: the disk has too little space left.
            InvalidInput: the body is longer than was said.
        """
        path = self._path(sender, sha256)
        with self._held(path):
            await run_in_threadpool(self._require_place, path, there)
            with path.open("ab") as file:
                left = there.last + 1 - there.first
                async for chunk in body:
                    if len(chunk) > left:
                        raise _longer(there)
                    await run_in_threadpool(file.write, chunk)
                    left -= len(chunk)
            return path.stat().st_size

    def finish(self, sender: str, sha256: str, writer: BlobWriter) -> int:
        """Hand a complete upload on to the blob store, forget it, and return its size."""
        path = self._path(sender, sha256)
        with self._held(path):
            with path.open("rb") as file:
                while chunk := file.read(_COPY_BYTES):
                    writer.write(chunk)
            size = path.stat().st_size
            path.unlink()
            return size

    def _require_place(self, path: Path, there: Range) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._forget_stale()
        arrived = path.stat().st_size if path.is_file() else 0
        if there.first != arrived:
            raise Conflict.because(
                "Content-Range", found=f"bytes from {there.first} on", expected=f"bytes from {arrived} on",
                remedy="ask for the part that has arrived, and send what follows it",
            )  # fmt: skip
        if not arrived and sum(1 for _ in path.parent.iterdir()) >= MOST_EACH:
            raise QueueFull(f"{MOST_EACH} of your uploads are unfinished. Finish one of them first.")
        if shutil.disk_usage(self._folder).free - (there.last + 1 - there.first) < self._free_floor_bytes:
            raise StorageFull("The service has too little free disk space; nothing was stored. Try again later.")

    def _forget_stale(self) -> None:
        for path in self._folder.glob("*/*"):
            if path not in self._busy and time.time() - path.stat().st_mtime > STALE_S:
                path.unlink(missing_ok=True)

    @contextmanager
    def _held(self, path: Path) -> Iterator[None]:
        with self._lock:
            if path in self._busy:
                raise Conflict.because(
                    "sha256", found="another request that sends this file", expected="one at a time",
                    remedy="wait until it has ended",
                )  # fmt: skip
            self._busy.add(path)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(path)

    def _path(self, sender: str, sha256: str) -> Path:
        return self._folder / _name(sender) / _name(sha256)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _longer(there: Range) -> InvalidInput:
    return InvalidInput.because(
        "body", found="more bytes than Content-Range says", expected=f"{there.last + 1 - there.first} bytes",
        remedy="send exactly these bytes",
    )  # fmt: skip
