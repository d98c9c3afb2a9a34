"""The three places where blobs may lie, each with eyes on what is really there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from store.blobs import Blobs, LocalBlobs
from store.http_blobs import HttpRemote
from store.remote_blobs import RemoteBlobs
from tests.running import Running, quiet_settings, running
from tests.s3_server import S3Server
from tests.store.opening import PREFIX, TOKEN, bucket_of, remote_blobs


@dataclass(frozen=True)
class Place:
    """A store of blobs, and where its files are.

    Args:
        kind: "local", "http" or "s3".
        address: what another process must know to open it, see `opened_elsewhere`.
        blobs: the store, as the program sees it.
        root: the directory in which the store's machine keeps it.
        local: the directory in which this machine keeps what is in the making; the same for a local store.
        floor: sets the free space that this machine's disk must keep.
    """

    kind: str
    address: str
    blobs: Blobs
    root: Path
    local: Path
    floor: Callable[[int], None]

    def stored(self) -> list[str]:
        """Return the paths of all blobs, below the place where blobs are."""
        home = self.root / "sha256"
        return sorted(str(path.relative_to(home)) for path in home.rglob("*") if path.is_file())

    def everything(self) -> list[str]:
        """Return the names of all files, whatever they are."""
        return [*self.stored(), *map(str, self.others())]

    def others(self) -> list[Path]:
        """Return the files that are neither blobs nor local copies of them: what is in the making, or left behind."""
        elsewhere = [path for path in self.root.rglob("*") if path.is_file() and "sha256" not in path.parts]
        return sorted({*elsewhere, *self.in_the_making()})

    def in_the_making(self) -> list[Path]:
        """Return the files of writers on this machine."""
        return [path for path in (self.local / "incoming").rglob("*") if path.is_file()]


@contextmanager
def local_place(path: Path) -> Iterator[Place]:
    blobs = LocalBlobs(path / "blobs", free_floor_bytes=0)
    yield Place("local", "", blobs, blobs.root, blobs.root, lambda floor: setattr(blobs, "free_floor_bytes", floor))


@contextmanager
def http_place(path: Path, service: Running) -> Iterator[Place]:
    blobs = remote_blobs(HttpRemote(service.url, SecretStr(TOKEN)), path / "cache")
    try:
        yield Place("http", service.url, blobs, service.blobs, path / "cache", lambda floor: _set_floor(blobs, floor))
    finally:
        blobs.close()


@contextmanager
def s3_place(path: Path, server: S3Server) -> Iterator[Place]:
    bucket = server.bucket()
    blobs = remote_blobs(bucket_of(server.url, bucket), path / "cache")
    address = f"{server.url} {bucket}"
    try:
        yield Place(
            "s3", address, blobs, server.root / bucket / PREFIX, path / "cache", lambda floor: _set_floor(blobs, floor)
        )
    finally:
        blobs.close()


@contextmanager
def service_for_workers(prepared: Path, path: Path) -> Iterator[Running]:
    """A service that keeps its files in a directory and offers them to workers."""
    shutil.copytree(prepared, path / "var")
    settings = quiet_settings(path / "var").model_copy(update={"worker_token": SecretStr(TOKEN)})
    with running(settings) as service:
        yield service


def _set_floor(blobs: RemoteBlobs, floor: int) -> None:
    blobs.cache.files.free_floor_bytes = floor
