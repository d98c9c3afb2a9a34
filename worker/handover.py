"""The files that pass between parent and child. What the child wrote is hostile: opened without trust, in bounds."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from pathlib import Path
from typing import BinaryIO

from benchmark.errors import NotFound
from store.blobs import Blobs
from worker.endings import Broken

logger = logging.getLogger(__name__)

MAX_FILE_BYTES = 2 * 1024**3
MAX_ATTEMPT_BYTES = 16 * 1024**3
MAX_SCRATCH_BYTES = 16 * 1024**3
MAX_SCRATCH_ENTRIES = 1_000
_CHUNK_BYTES = 1024 * 1024
_BLOCK_BYTES = 512
"""Unit of a file's ``st_blocks``."""


class Handover:
    """One attempt's scratch directory.

    Args:
        blobs: where files come from and go to.
        scratch: the directory.
        limit: bytes that are read back in all.
    """

    def __init__(self, blobs: Blobs, scratch: Path, limit: int = MAX_ATTEMPT_BYTES) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._left = limit

    def give(self, sha256: str, name: str) -> None:
        """Copy a blob into the directory; a copy, so that the child cannot change the blob.

        Raises:
            Broken: the blob is gone or damaged.
        """
        digest = hashlib.sha256()
        try:
            source = self._blobs.path(sha256).open("rb")
        except (NotFound, FileNotFoundError):
            raise Broken("a stored file that the evaluation needs is gone") from None
        with source, (self._scratch / name).open("xb") as copy:
            while chunk := source.read(_CHUNK_BYTES):
                digest.update(chunk)
                copy.write(chunk)
        if digest.hexdigest() != sha256:
            raise Broken("a stored file that the evaluation needs is damaged: its content does not have its hash")

    def offer(self, sha256: str | None, name: str) -> bool:
        """Copy a blob that the child can do without; tell whether it is there."""
        if sha256 is None:
            return False
        try:
            self.give(sha256, name)
        except Broken as error:
            logger.warning("the evaluation begins again instead of going on: %s", error)
            (self._scratch / name).unlink(missing_ok=True)
            return False
        return True

    def read(self, name: str, limit: int) -> bytes:
        """Return a file that the child wrote.

        Raises:
            Broken: it is no plain file within the limits.
        """
        with self._open(name, limit) as file:
            return file.read(limit)

    def keep(self, name: str) -> str:
        """Move a file that the child wrote into the blob store and return its hash.

        Raises:
            Broken: it is no plain file within the limits.
            StorageFull: the disk has too little space left.
        """
        with self._open(name, MAX_FILE_BYTES) as file:
            writer = self._blobs.writer(MAX_FILE_BYTES)
            try:
                while chunk := file.read(_CHUNK_BYTES):
                    writer.write(chunk)
                sha256 = writer.commit()
            finally:
                writer.abort()
        (self._scratch / name).unlink(missing_ok=True)
        return sha256

    def check_room(self) -> None:
        """Check that the directory has not grown beyond what an evaluation needs.

        Raises:
            Broken: it has.
        """
        used = entries = 0
        for directory, _, names in os.walk(self._scratch):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # it was taken away or renamed meanwhile
                    used += Path(directory, name).lstat().st_blocks * _BLOCK_BYTES
            entries += 1 + len(names)
            if entries > MAX_SCRATCH_ENTRIES or used > MAX_SCRATCH_BYTES:
                raise Broken("the evaluation process filled its scratch directory")

    def _open(self, name: str, limit: int) -> BinaryIO:
        try:
            descriptor = os.open(self._scratch / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Broken(f"the evaluation process left no readable {name}: {error.strerror}") from None
        status = os.fstat(descriptor)
        allowed = min(limit, self._left)
        if not stat.S_ISREG(status.st_mode) or status.st_size > allowed:
            os.close(descriptor)
            raise Broken(f"the evaluation process left a {name} that is no plain file of at most {allowed} bytes")
        self._left -= status.st_size
        return os.fdopen(descriptor, "rb")
