"""Uploads that come in several goes: what has arrived so far is kept until the rest does."""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from starlette.concurrency import run_in_threadpool

from benchmark.errors import Conflict, InvalidInput, TooLarge
from store.blobs import FREE_FLOOR_BYTES, BlobWriter, full_disk_told
from store.errors import QueueFull, StorageFull

MOST_EACH = 4
"""Unfinished uploads of one sender."""
STALE_S = 24 * 3600.0
"""Time without a byte after which an unfinished upload is forgotten."""
IDLE_S = 30.0
"""Time without a byte after which a request is over: its connection may be gone without anybody having said so, and
until then the file's sender cannot go on with another."""
FORGET_EVERY_S = 3600.0
_COPY_BYTES = 1024 * 1024
_NUMBER = r"(0|[1-9]\d{0,17})"
_RANGE = re.compile(rf"bytes (?:{_NUMBER}-{_NUMBER}|\*)/{_NUMBER}", re.ASCII)


@dataclass(frozen=True)
class Range:
    """Which bytes of a file a request brings; none, where all have arrived and are only to be taken in.

    Args:
        first: position of the first.
        end: position after the last.
        size: of the whole file.
    """

    first: int
    end: int
    size: int

    @classmethod
    def read(cls, text: str) -> Range:
        """Read a Content-Range.

        Raises:
            InvalidInput: it is none.
        """
        found = _RANGE.fullmatch(text.strip())
        if found:
            size = int(found[3])
            first, end = (size, size) if found[1] is None else (int(found[1]), int(found[2]) + 1)
            if first < end <= size or (found[1] is None and size > 0):
                return cls(first, end, size)
        raise InvalidInput.because(
            "Content-Range", found=ascii(text[:80]), expected="bytes FIRST-LAST/SIZE, such as bytes 0-99/200",
            remedy="correct it, or send the whole file without it",
        )  # fmt: skip

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.first

    def require_within(self, limit: int) -> None:
        """Refuse a file of more bytes than it may have.

        Raises:
            TooLarge: it has more.
        """
        if self.size > limit:
            raise TooLarge.because(
                "Content-Range", found=f"{self.size} bytes", expected=f"at most {limit} bytes",
                remedy="send a smaller file",
            )  # fmt: skip


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

    @contextmanager
    def held(self, sender: str, sha256: str) -> Iterator[None]:
        """Keep other requests off an unfinished upload.

        Raises:
            Conflict: another request is at it.
        """
        path = self._path(sender, sha256)
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

    async def append(self, sender: str, sha256: str, there: Range, body: AsyncIterator[bytes]) -> int:
        """Append what a request brings to an upload that it holds, and return how many bytes have arrived.

        What had arrived before the request broke off stays.

        Raises:
            Conflict: it does not begin where the last one ended.
            QueueFull: the sender has too many unfinished uploads.
            StorageFull: the disk has too little space left.
            InvalidInput: the body is longer than was said, or nothing more comes of it.
        """
        path = self._path(sender, sha256)
        with full_disk_told():
            await run_in_threadpool(self._begin, path, there)
        try:
            with full_disk_told(), path.open("ab") as file:
                left = there.length
                async for chunk in _lively(body):
                    if len(chunk) > left:
                        raise _longer(there)
                    await run_in_threadpool(file.write, chunk)
                    left -= len(chunk)
            return path.stat().st_size
        finally:
            if not path.stat().st_size:
                path.unlink()  # it would count as one of few

    def finish(self, sender: str, sha256: str, writer: BlobWriter, check: Callable[[Path], None]) -> int:
        """Take a complete upload, which the request holds, into the blob store, forget it, and return its size.

        It stays where the service is at fault, so that none of it need be sent again.

        Raises:
            InvalidInput: the content has another hash, or is refused by the check.
            StorageFull: the disk has too little space left.
            StorageUnavailable: the blob store cannot be reached.
        """
        path = self._path(sender, sha256)
        try:
            with path.open("rb") as file:
                while chunk := file.read(_COPY_BYTES):
                    writer.write(chunk)
            size = path.stat().st_size
            writer.commit(sha256, check)
        except InvalidInput:
            path.unlink()
            raise
        path.unlink()
        return size

    def forget_stale(self) -> None:
        """Forget the uploads that nothing more has come of for a day."""
        for path in self._folder.glob("*/*"):
            with self._lock, suppress(FileNotFoundError):
                if path not in self._busy and time.time() - path.stat().st_mtime > STALE_S:
                    path.unlink()
        for folder in self._folder.glob("*"):
            with self._lock, suppress(OSError):  # mostly for not being empty
                folder.rmdir()

    async def keep_forgetting(self) -> None:
        """Forget such uploads now and then, until cancelled."""
        while True:
            await run_in_threadpool(self.forget_stale)
            await asyncio.sleep(FORGET_EVERY_S)

    def _begin(self, path: Path, there: Range) -> None:
        with self._lock:  # two that begin at once are counted one after the other
            arrived = path.stat().st_size if path.is_file() else 0
            if there.first != arrived:
                raise Conflict.because(
                    "Content-Range", found=f"bytes from {there.first} on", expected=f"bytes from {arrived} on",
                    remedy="ask for the part that has arrived, and send what follows it",
                )  # fmt: skip
            path.parent.mkdir(parents=True, exist_ok=True)
            if not arrived and sum(1 for _ in path.parent.iterdir()) >= MOST_EACH:
                raise QueueFull(f"{MOST_EACH} of your uploads are unfinished. Finish one of them first.")
            if shutil.disk_usage(self._folder).free - there.length < self._free_floor_bytes:
                raise StorageFull("The service has too little free disk space; nothing was stored. Try again later.")
            path.touch()

    def _path(self, sender: str, sha256: str) -> Path:
        return self._folder / _name(sender) / _name(sha256)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _longer(there: Range) -> InvalidInput:
    return InvalidInput.because(
        "body", found="more bytes than Content-Range says", expected=f"{there.length} bytes",
        remedy="send exactly these bytes",
    )  # fmt: skip


async def _lively(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body's pieces for as long as they come."""
    while True:
        try:
            yield await asyncio.wait_for(anext(body), IDLE_S)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise InvalidInput.because(
                "body", found=f"no byte for {IDLE_S:g} seconds", expected="bytes without such pauses",
                remedy="ask for the part that has arrived, and send what follows it",
            ) from None  # fmt: skip
