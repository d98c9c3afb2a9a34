"""Files by their content: what is large and never changes lies here, under its SHA-256."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from benchmark.errors import ErrorDetail, InvalidSubmission, NotFound, TooLarge
from store.errors import StorageFull

FREE_FLOOR_BYTES = 256 * 1024 * 1024
SPACE_CHECK_BYTES = 16 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobWriter(Protocol):
    """A blob in the making; nothing is visible before `commit`."""

    @property
    def sha256(self) -> str:
        """The hash of what has been written so far."""

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            TooLarge: the limit is exceeded.
            StorageFull: the disk has too little space left.
        """

    def commit(self, expected_sha256: str | None = None, check: Callable[[Path], None] | None = None) -> str:
        """Make the blob visible and return its SHA-256.

        Args:
            expected_sha256: the hash that the content must have.
            check: looks at the complete file before anybody else can; what it raises discards the file.
        Raises:
            InvalidSubmission: the content does not have the expected hash.
            StorageUnavailable: the store cannot be reached; nothing is visible.
        """

    def abort(self) -> None:
        """Discard what was written; harmless after `commit`."""


class Blobs(Protocol):
    """A store of blobs.

    Every method may raise StorageUnavailable where the store lies on another machine.
    """

    def writer(self, limit: int) -> BlobWriter:
        """Start a blob of at most ``limit`` bytes."""

    def path(self, sha256: str) -> Path:
        """Return a local file with the blob's content; NotFound where there is none.

        The file is there for a minute at least, so open it soon; once open it can be read to its end.
        """

    def size(self, sha256: str) -> int:
        """Return the length of the blob's content in bytes; NotFound where there is none."""

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is here."""

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256."""
        writer = self.writer(len(data))
        try:
            writer.write(data)
            return writer.commit()
        finally:
            writer.abort()

    def read(self, sha256: str) -> bytes:
        """Return the blob's content; NotFound where there is none."""
        return self.path(sha256).read_bytes()

    def remove(self, sha256: str) -> None:
        """Remove a blob that nothing refers to; one that is not there is no error."""

    def discard_stale(self, older_than_s: float) -> int:
        """Remove what broken uploads left behind for longer than that; return how many."""

    def close(self) -> None:
        """Close all connections; the store is not used afterwards."""


class LocalBlobs(Blobs):
    """Blobs in a local directory, ``sha256/ab/cd/<hash>``.

    Args:
        root: the directory; created where it is missing.
        free_floor_bytes: free space that writing never goes below.
    """

    def __init__(self, root: Path, free_floor_bytes: int = FREE_FLOOR_BYTES) -> None:
        self.root = root
        self.free_floor_bytes = free_floor_bytes
        self._incoming = root / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    def writer(self, limit: int) -> LocalBlobWriter:
        """Start a blob of at most ``limit`` bytes.

        Raises:
            StorageFull: the disk has too little space left.
        """
        self.require_space(0)
        with full_disk_told():
            return LocalBlobWriter(self, limit)

    def path(self, sha256: str) -> Path:
        """Return the blob's file.

        Raises:
            NotFound: there is no such blob.
        """
        path = self.place(sha256)
        if not path.is_file():
            raise not_found(sha256)
        return path

    def size(self, sha256: str) -> int:
        """Return the length of the blob's content in bytes; NotFound where there is none."""
        return self.path(sha256).stat().st_size

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is here."""
        return is_sha256(sha256) and self.place(sha256).is_file()

    def remove(self, sha256: str) -> None:
        """Remove a blob that nothing refers to; one that is not there is no error."""
        if is_sha256(sha256):
            self.place(sha256).unlink(missing_ok=True)

    def discard_stale(self, older_than_s: float) -> int:
        """Remove what broken uploads left behind for longer than that; return how many files."""
        removed = 0
        for path in self._incoming.iterdir():
            try:
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # its writer finished meanwhile
        return removed

    def close(self) -> None:
        """Do nothing: a directory has no connections."""

    def place(self, sha256: str) -> Path:
        """Return where the blob lies or would lie.

        Raises:
            NotFound: the text is no SHA-256, so nothing can lie there.
        """
        if not is_sha256(sha256):
            raise not_found(sha256)
        return self.root / "sha256" / sha256[:2] / sha256[2:4] / sha256

    def open_incoming(self) -> tuple[int, Path]:
        """Create a file for a blob in the making, on the same file system as the blobs."""
        descriptor, name = tempfile.mkstemp(dir=self._incoming)
        return descriptor, Path(name)

    def require_space(self, extra: int) -> None:
        """Raise StorageFull where writing ``extra`` bytes would go below the floor."""
        if shutil.disk_usage(self.root).free - extra < self.free_floor_bytes:
            raise _full()


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Say of a write that found no room that it is the disk: others may have filled it up meanwhile.

    Raises:
        StorageFull: there was none.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise _full() from error
        raise


def _full() -> StorageFull:
    return StorageFull("The service has too little free disk space; nothing was stored. Try again later.")


class LocalBlobWriter:
    """A blob in the making: hashed while it is written, renamed into place when complete."""

    def __init__(self, blobs: LocalBlobs, limit: int) -> None:
        self._blobs = blobs
        self._limit = limit
        self._size = 0
        self._unchecked = 0
        self._hash = hashlib.sha256()
        descriptor, self._path = blobs.open_incoming()
        self._file = os.fdopen(descriptor, "wb")

    @property
    def sha256(self) -> str:
        """The hash of what has been written so far."""
        return self._hash.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes; on an error nothing is left."""
        self._size += len(data)
        self._unchecked += len(data)
        try:
            if self._size > self._limit:
                raise TooLarge.because(
                    "file",
                    found=f"more than {self._limit} bytes",
                    expected=f"at most {self._limit} bytes",
                    remedy="send a smaller file",
                )
            if self._unchecked >= SPACE_CHECK_BYTES:
                self._blobs.require_space(len(data))
                self._unchecked = 0
            with full_disk_told():
                self._file.write(data)
        except BaseException:
            self.abort()
            raise
        self._hash.update(data)

    def commit(self, expected_sha256: str | None = None, check: Callable[[Path], None] | None = None) -> str:
        """Make the blob durable and visible; one that exists already is left as it is."""
        sha256 = self.sha256
        try:
            if expected_sha256 is not None and expected_sha256 != sha256:
                message = "The file's content does not have the SHA-256 that was declared for it."
                remedy = "send the file again; if it fails again, recompute the hash"
                raise InvalidSubmission(message, ErrorDetail("sha256", sha256, expected_sha256, remedy))
            with full_disk_told():
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            if check is not None:
                check(self._path)
            target = self._blobs.place(sha256)
            with full_disk_told():
                target.parent.mkdir(parents=True, exist_ok=True)
                self._path.replace(target)
                _sync_directory(target.parent)
        finally:
            self.abort()
        return sha256

    def abort(self) -> None:
        """Discard what was written; harmless after `commit`."""
        if not self._file.closed:
            with suppress(OSError):  # it tries to write what it still holds, and the disk may be full
                self._file.close()
        self._path.unlink(missing_ok=True)


def is_sha256(text: str) -> bool:
    """Tell whether a text has the form of a SHA-256, in lower-case hexadecimal."""
    return _SHA256.fullmatch(text) is not None


def not_found(sha256: str) -> NotFound:
    """Return the error about a hash under which nothing is stored."""
    if is_sha256(sha256):
        expected, remedy = "the SHA-256 of stored content", "upload the file first"
    else:
        expected, remedy = "64 lower-case hexadecimal digits", "use the hash"
    return NotFound.because("sha256", found=repr(sha256[:80]), expected=expected, remedy=remedy)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
