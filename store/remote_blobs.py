"""Blobs on another machine: fetched into a local cache, and sent once they are complete."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from benchmark.errors import InvalidInput, InvalidSubmission, NotFound, TooLarge
from store.blob_cache import BlobCache
from store.blobs import Blobs, LocalBlobWriter, is_sha256, not_found
from store.errors import StorageUnavailable

logger = logging.getLogger(__name__)

WAITS_S = (0.5, 1.0, 2.0)
"""Rests between the attempts at something that fails in passing."""

Result = TypeVar("Result")


class Passing(Exception):
    """It did not work now and may work soon: the network, a timeout, a store that is busy."""


class Damaged(Passing):
    """What arrived is not what was asked for; on the way that passes, in the store it stays."""


class Missing(Exception):
    """The store has no such blob."""


class Refused(Exception):
    """The store answers, and asking again changes nothing: a wrong token, no permission, no such bucket."""


class Remote(Protocol):
    """How a store on another machine is reached.

    Every method may raise Passing and Refused, whose texts say what happened without any secret.
    """

    def require_access(self) -> None:
        """Raise Refused where the store lets nobody in who asks as we do."""

    def size(self, sha256: str) -> int | None:
        """Return the length of a blob; None where there is none."""

    def fetch(self, sha256: str, write: Callable[[bytes], None]) -> None:
        """Pass a blob's content to ``write`` piece by piece; Missing where there is none."""

    def send(self, sha256: str, path: Path) -> None:
        """Store a file as a blob; where that breaks off, nothing is visible.

        Raises:
            StorageFull: the store has too little space left.
            TooLarge: the store takes no blob of this size.
        """

    def remove(self, sha256: str) -> None:
        """Remove a blob; one that is not there is no error."""

    def discard_stale(self, older_than_s: float) -> int:
        """Remove what broken uploads left in the store for longer than that; return how many."""

    def close(self) -> None:
        """Close all connections."""


class RemoteBlobs(Blobs):
    """Blobs in a store on another machine.

    Args:
        remote: how the store is reached.
        cache: where local copies lie.
        waits_s: rests between the attempts at something that fails in passing.
    """

    def __init__(self, remote: Remote, cache: BlobCache, waits_s: tuple[float, ...] = WAITS_S) -> None:
        self.remote = remote
        self.cache = cache
        self.waits_s = waits_s

    def require_access(self) -> None:
        """Find out whether the store lets us in; one that does not answer may do so later, and is only logged.

        Raises:
            InvalidInput: it refuses us.
        """
        try:
            self.remote.require_access()
        except Passing as error:
            logger.warning("the store of the blobs does not answer yet: %s", error)
        except Refused as error:
            raise InvalidInput.because(
                "blobs_url",
                found=f"a store that cannot be used: {error}",
                expected="a store that serves this program",
                remedy="correct GAUNTLET_BLOBS_URL or what the store demands, and start again",
            ) from None

    def writer(self, limit: int) -> RemoteBlobWriter:
        """Start a blob of at most ``limit`` bytes.

        Raises:
            StorageFull: this machine's disk has too little space left.
        """
        return RemoteBlobWriter(self.cache.writer(limit), self._send, self.cache.added)

    def path(self, sha256: str) -> Path:
        """Return a verified local copy, fetched where it is missing.

        Raises:
            NotFound: there is no such blob, or only something else under its name.
            StorageFull: this machine's disk has too little space left.
        """
        path = self.cache.find(sha256)
        if path is None:
            with self.cache.fetching(sha256):
                path = self.cache.find(sha256) or self._patiently(lambda: self._fetch(sha256))
        return path

    def size(self, sha256: str) -> int:
        """Return the length of the blob's content in bytes; NotFound where there is none."""
        size = self._patiently(lambda: self.remote.size(sha256)) if is_sha256(sha256) else None
        if size is None:
            raise not_found(sha256)
        return size

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is in the store."""
        return is_sha256(sha256) and self._patiently(lambda: self.remote.size(sha256)) is not None

    def remove(self, sha256: str) -> None:
        """Remove a blob that nothing refers to, and the copy on this machine; those on others go with time."""
        if is_sha256(sha256):
            self._patiently(lambda: self.remote.remove(sha256))
            self.cache.files.remove(sha256)

    def discard_stale(self, older_than_s: float) -> int:
        """Remove what broken uploads left behind for longer than that, here and in the store; return how many."""
        removed = self.cache.files.discard_stale(older_than_s)
        try:
            return removed + self.remote.discard_stale(older_than_s)
        except (Passing, Refused) as error:
            # The sweep has more to do than this, and comes again.
            logger.warning("the store of the blobs was not tidied up: %s", error)
            return removed

    def close(self) -> None:
        """Close all connections."""
        self.remote.close()

    def _fetch(self, sha256: str) -> Path:
        size = self.remote.size(sha256)
        if size is None:
            raise not_found(sha256)
        writer = self.cache.writer(size, expected=size)
        try:
            self.remote.fetch(sha256, writer.write)
            writer.commit(sha256)
        except (InvalidSubmission, TooLarge) as error:
            raise Damaged(f"blob {sha256} arrived with another content") from error
        except Missing:
            raise not_found(sha256) from None  # it has just been removed
        finally:
            writer.abort()
        self.cache.added(size)
        return self.cache.files.path(sha256)

    def _send(self, sha256: str, path: Path) -> None:
        size = path.stat().st_size

        def send() -> None:
            if self.remote.size(sha256) != size:
                self.remote.send(sha256, path)

        self._patiently(send)

    def _patiently(self, action: Callable[[], Result]) -> Result:
        """Try until it works or the last rest is over."""
        for wait_s in (*self.waits_s, None):
            try:
                return action()
            except Passing as error:
                logger.warning("the store of the blobs failed%s: %s", "" if wait_s is None else " for now", error)
                if isinstance(error, Damaged) and wait_s is None:
                    raise NotFound.because(
                        "sha256",
                        found="a blob whose content does not have its hash",
                        expected="the content that was stored",
                        remedy="remove the blob from the store and send the file again",
                    ) from None
            except Refused as error:
                logger.error("the store of the blobs refuses: %s", error)
                break
            if wait_s is not None:
                time.sleep(wait_s)
        raise StorageUnavailable("The service cannot reach the place where its files are stored. Try again later.")


class RemoteBlobWriter:
    """A blob in the making: written to this machine's disk, and sent when it is complete and checked."""

    def __init__(self, local: LocalBlobWriter, send: Callable[[str, Path], None], added: Callable[[int], None]) -> None:
        self._local = local
        self._send = send
        self._added = added
        self._size = 0

    @property
    def sha256(self) -> str:
        """The hash of what has been written so far."""
        return self._local.sha256

    def write(self, data: bytes) -> None:
        """Append bytes; on an error nothing is left."""
        self._local.write(data)
        self._size += len(data)

    def commit(self, expected_sha256: str | None = None, check: Callable[[Path], None] | None = None) -> str:
        """Send the blob; the file that was written stays as its first local copy."""

        def check_and_send(path: Path) -> None:
            if check is not None:
                check(path)
            self._send(self._local.sha256, path)

        sha256 = self._local.commit(expected_sha256, check_and_send)
        self._added(self._size)
        return sha256

    def abort(self) -> None:
        """Discard what was written; harmless after `commit`."""
        self._local.abort()
