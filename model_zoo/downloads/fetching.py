"""From a card to its checkpoint as a safetensors file: from the cache, a mirror, or where it was published."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cache import VARIABLE
from benchmark.errors import InvalidCheckpoint, InvalidInput, NotFound
from model_zoo.checkpoints.published import load_published_file
from model_zoo.downloads.locking import Pin, add_pin, held, read_pins
from model_zoo.downloads.places import MIRROR, OFFLINE, Places
from model_zoo.downloads.sources import Hosts, Source, fetch_from, sources_of
from model_zoo.downloads.telling import told
from model_zoo.downloads.transfer import DownloadFailed, Patience, Progress, fetch
from model_zoo.registry import PublishedCard

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Fetched:
    """A checkpoint that is in the cache.

    Args:
        path: the safetensors file, named by its hash.
        pin: its hashes.
        origin: "cache", "mirror" or "source".
    """

    path: Path
    pin: Pin
    origin: str


@dataclass(frozen=True)
class Fetcher:
    """Gets published checkpoints.

    Args:
        places: the cache, and what may be asked.
        hosts: where files are asked for.
        patience: limits of each transfer.
    """

    places: Places = field(default_factory=Places.from_environment)
    hosts: Hosts = field(default_factory=Hosts)
    patience: Patience = field(default_factory=Patience)

    def checkpoint(self, card: PublishedCard, progress: Progress | None = None) -> Fetched:
        """Return a card's checkpoint, fetched where it is not in the cache.

        The first time, it is pinned once it has been loaded into its network; ever after, its hashes must be those.
        Callers that ask at once wait for the one that fetches.

        Args:
            card: whose.
            progress: told how far each transfer is.
        Raises:
            NotFound: it is not in the cache and there is to be no download, or nobody knows where it lies.
            DownloadFailed: it cannot be had, or the cache cannot be written.
            InvalidCheckpoint: it is another file than was pinned, is malformed, or does not fit its network.
        """
        try:
            found = self.cached(card)
            if found is not None:
                return found
            if self.places.offline:
                raise self._offline(card)
            with held(self._root / "locks" / f"{_file_name(card)}.lock"):
                found = self.cached(card)  # another caller may have been faster
                if found is None:
                    found = self._from_mirror(card, progress) or self._from_source(card, progress)
                return found
        except OSError as error:
            raise DownloadFailed.because(
                "cache", found=f"{error.filename or self._root}: {error.strerror or error}",
                expected="a folder that can be written", remedy=f"make room there, or name another one with {VARIABLE}",
            ) from error  # fmt: skip

    def cached(self, card: PublishedCard) -> Fetched | None:
        """Return a card's checkpoint if it is in the cache and what was pinned; else None."""
        pin = self._pin(card)
        path = self._stored(pin.safetensors) if pin is not None else None
        if pin is None or path is None or not path.is_file():
            return None
        if sha256_of(path) != pin.safetensors:
            path.unlink(missing_ok=True)  # damaged: to be fetched again
            return None
        return Fetched(path, pin, "cache")

    @property
    def _root(self) -> Path:
        return self.places.cache / "zoo"

    @property
    def _pins(self) -> Path:
        return self._root / "zoo.lock.json"

    def _stored(self, sha256: str) -> Path:
        return self._root / "checkpoints" / f"{sha256}.safetensors"

    def _pin(self, card: PublishedCard) -> Pin | None:
        return read_pins(self._pins).get(_name(card))

    def _from_mirror(self, card: PublishedCard, progress: Progress | None) -> Fetched | None:
        pin = self._pin(card)
        if pin is None or self.places.mirror is None:
            return None
        target = self._root / "partial" / f"{_file_name(card)}-mirrored"
        bounded = replace(self.patience, max_bytes=pin.bytes)
        try:
            fetch(f"{self.places.mirror}/{pin.safetensors}", target, patience=bounded, progress=progress)
        except InvalidInput:  # whatever it does, the source is still there
            return None
        if sha256_of(target) != pin.safetensors:
            target.unlink()
            return None
        return Fetched(self._store(target, pin.safetensors), pin, "mirror")

    def _from_source(self, card: PublishedCard, progress: Progress | None) -> Fetched:
        pin = self._pin(card)
        sources = sources_of(card, self.hosts)
        files = [self._fetched(card, number, source, pin, progress) for number, source in enumerate(sources)]
        hashes = tuple(sha256_of(file) for file in files)
        directory = self._root / "converting" / _file_name(card)
        shutil.rmtree(directory, ignore_errors=True)  # of a process that was killed
        directory.mkdir(parents=True)
        try:
            if pin is not None and hashes != pin.sources:
                raise _changed(card, found=hashes, expected=pin.sources)
            whole = convert_published(files, directory, card.entries)
            load_published_file(card, whole)
            pin = self._pinned(card, pin, hashes, whole)
            stored = self._store(whole, pin.safetensors)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            for file in files:
                file.unlink(missing_ok=True)
        return Fetched(stored, pin, "source")

    def _fetched(
        self, card: PublishedCard, number: int, source: Source, pin: Pin | None, progress: Progress | None
    ) -> Path:
        target = self._root / "partial" / f"{_file_name(card)}-{number}"
        # It is there, and whole, where another member of the ensemble failed or the process was killed after it.
        if target.is_file() and (pin is None or (sha256_of(target),) == pin.sources[number : number + 1]):
            return target
        fetch_from(source, target, patience=self.patience, progress=progress)
        return target

    def _pinned(self, card: PublishedCard, pin: Pin | None, hashes: tuple[str, ...], whole: Path) -> Pin:
        sha256 = sha256_of(whole)
        if pin is not None:
            if sha256 != pin.safetensors:
                raise _changed(card, found=(sha256,), expected=(pin.safetensors,))
            return pin
        new = Pin(
            sources=hashes,
            safetensors=sha256,
            bytes=whole.stat().st_size,
            verified=datetime.now(UTC).date().isoformat(),
        )
        add_pin(self._pins, _name(card), new)
        return new

    def _store(self, path: Path, sha256: str) -> Path:
        stored = self._stored(sha256)
        stored.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, stored)  # within one file system: all at once
        return stored

    def _offline(self, card: PublishedCard) -> NotFound:
        return NotFound.because(
            "checkpoint",
            found=f"none of {_name(card)} in {self._root}, and {OFFLINE} is set",
            expected="the checkpoint in the cache",
            remedy=f"unset {OFFLINE}, or load it once where there is a network and copy that folder; "
            f"or name a folder with {card.id}.safetensors as model_dir",
        )


def fetch_checkpoint(card: PublishedCard, *, silent: bool = False) -> Fetched:
    """Return a card's checkpoint as the environment lets it be got, and show how far a download is.

    Args:
        card: whose.
        silent: whether to show nothing.
    Raises:
        GauntletError: as `Fetcher.checkpoint` does.
    """
    with told(card.id, silent=silent) as progress:
        return Fetcher().checkpoint(card, progress)


def convert_published(files: list[Path], directory: Path, entries: Sequence[str] = ()) -> Path:
    """Write published files as one safetensors file.

    Args:
        files: what was published: a state dict, a safetensors file, or several for an ensemble, whose keys are then
            put under "models.0.", "models.1." and so on.
        directory: where to write.
        entries: of the last of several files, each a state dict; keys are put under their names within the file's.
    Raises:
        InvalidCheckpoint: a file is neither, or malformed.
    """
    from safetensors.torch import load_file

    from model_zoo.checkpoints.safetensors import write_checkpoint

    if len(files) == 1:
        return _as_safetensors(files[0], directory / "0.safetensors")
    parts: dict[str, tuple[Path, str | None]] = {f"models.{number}.": (file, None) for number, file in enumerate(files)}
    if entries:
        last, (file, _) = parts.popitem()
        parts |= {f"{last}{entry}.": (file, entry) for entry in entries}
    whole: dict[str, Tensor] = {}
    for beginning, (file, key) in parts.items():
        converted = load_file(_as_safetensors(file, directory / f"{beginning}safetensors", key))
        whole |= {f"{beginning}{name}": tensor for name, tensor in converted.items()}
    target = directory / "whole.safetensors"
    write_checkpoint(whole, target)
    return target


def _as_safetensors(file: Path, target: Path, key: str | None = None) -> Path:
    from model_zoo.checkpoints.formats import is_old_pickle, is_zip
    from model_zoo.checkpoints.header import read_header
    from model_zoo.conversion import convert_state_dict

    if not is_zip(file) and not is_old_pickle(file):
        read_header(file)
        shutil.copyfile(file, target)
        return target
    return convert_state_dict(file, target, key=key).path


def _name(card: PublishedCard) -> str:
    return f"{card.dataset}/{card.threat_model}/{card.id}"


def _file_name(card: PublishedCard) -> str:
    return _name(card).replace("/", "+")


def _changed(card: PublishedCard, *, found: tuple[str, ...], expected: tuple[str, ...]) -> InvalidCheckpoint:
    return InvalidCheckpoint.because(
        _name(card),
        found=f"sha256 {', '.join(found)}",
        expected=", ".join(expected),
        remedy="what is published there now is another file than was verified before. Ask its authors why; to take it "
        f"all the same, remove the entry from zoo.lock.json in the cache. A mirror may have the old one: {MIRROR}",
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
