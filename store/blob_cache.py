"""Local copies of blobs that lie on another machine: verified whenever one is handed out, and bounded in size."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.blobs import FREE_FLOOR_BYTES, LocalBlobs, LocalBlobWriter

logger = logging.getLogger(__name__)

IN_USE_S = 60.0
"""Time for which a copy stays after it was handed out; who opens it within that time can read it to the end."""
_SLACK = 16
"""Measuring reads every entry, so the cache is measured whenever a sixteenth of its limit may have been added."""


class BlobCache:
    """Copies in a directory that any number of threads and processes of this machine share.

    The least recently used goes first. The limit is exceeded only by copies that were handed out a moment ago.

    Args:
        root: the directory; created where it is missing.
        limit_bytes: bytes that the copies take at most.
        free_floor_bytes: free space of the disk that copies never take, and give back where somebody else took it.
        in_use_s: time for which a copy stays after it was handed out.
    """

    def __init__(
        self,
        root: Path,
        limit_bytes: int,
        free_floor_bytes: int = FREE_FLOOR_BYTES,
        in_use_s: float = IN_USE_S,
    ) -> None:
        self.files = LocalBlobs(root, free_floor_bytes)
        self._limit = limit_bytes
        self.in_use_s = in_use_s
        self._locks = root / "locks"
        self._locks.mkdir(exist_ok=True)
        self._unmeasured = limit_bytes  # what earlier processes left behind has not been measured

    def find(self, sha256: str) -> Path | None:
        """Return the blob's copy; None where there is none, or one that is damaged.

        Raises:
            NotFound: the text is no SHA-256.
        """
        path = self.files.place(sha256)
        try:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256:
                logger.warning("the local copy of blob %s is damaged and will be fetched again", sha256)
                return None
            with self._locked("eviction", fcntl.LOCK_SH):
                os.utime(path)
        except FileNotFoundError:
            return None
        return path

    @contextmanager
    def fetching(self, sha256: str) -> Iterator[None]:
        """Keep all others on this machine from fetching the same blob meanwhile."""
        # Some blobs share a lock: one file for each of them would never be cleared away.
        with self._locked(f"fetching-{sha256[:3]}", fcntl.LOCK_EX):
            yield

    def writer(self, limit: int, expected: int = 0) -> LocalBlobWriter:
        """Start a copy of at most ``limit`` bytes, and make room for the ``expected`` ones.

        Raises:
            StorageFull: the disk has too little space left, even without older copies.
        """
        self._make_room(expected)
        return self.files.writer(limit)

    def added(self, size: int) -> None:
        """Take note of a new copy, and let older ones go for it."""
        self._unmeasured += size
        self._make_room(0)

    def _make_room(self, extra: int) -> None:
        free = shutil.disk_usage(self.files.root).free - extra - self.files.free_floor_bytes
        if self._unmeasured + extra <= self._limit // _SLACK and free >= 0:
            return
        with self._locked("eviction", fcntl.LOCK_EX):
            copies = sorted(self._copies())
            total = sum(size for _, size, _ in copies) + extra
            for used, size, path in copies:
                enough = total <= self._limit - self._limit // _SLACK and free >= 0
                if enough or time.time() - used < self.in_use_s:
                    break
                path.unlink(missing_ok=True)
                total, free = total - size, free + size
            # What is in use now may have to go next time, so the cache is measured again soon.
            self._unmeasured = max(0, total - extra - (self._limit - self._limit // _SLACK))

    def _copies(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each copy was last used, its size and its place."""
        for path in (self.files.root / "sha256").glob("*/*/*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            yield status.st_mtime, status.st_size, path

    @contextmanager
    def _locked(self, name: str, kind: int) -> Iterator[None]:
        with (self._locks / name).open("a") as lock:
            fcntl.flock(lock, kind)  # released when the file is closed, or its process ends
            yield
