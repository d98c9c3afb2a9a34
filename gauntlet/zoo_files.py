"""The zoo's checkpoints that a service passes on: those that come along, and what its operator has fetched."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path

from api.schemas import ZooFile
from benchmark.errors import InvalidInput
from model_zoo.downloads.locking import read_pins
from model_zoo.downloads.places import Places
from model_zoo.licences import is_permissive
from model_zoo.registry import Card, PublishedCard, bundled_checkpoint, cards, published

logger = logging.getLogger(__name__)


class PermissiveFiles:
    """Checkpoints whose licence lets anybody pass them on. Submitted files are never among them.

    Args:
        places: where what was fetched lies.
    """

    def __init__(self, places: Places) -> None:
        self._zoo = places.cache / "zoo"

    def listed(self) -> tuple[ZooFile, ...]:
        return tuple(file for file, _ in self._found().values())

    def path(self, sha256: str) -> Path | None:
        found = self._found().get(sha256)
        return found[1] if found is not None else None

    def _found(self) -> dict[str, tuple[ZooFile, Path]]:
        """Return the files by hash; what is fetched while the service runs is found the next time."""
        return self._bundled | self._fetched()

    @cached_property
    def _bundled(self) -> dict[str, tuple[ZooFile, Path]]:
        return {
            card.sha256: (_file(card, card.sha256, path), path)
            for card in cards()
            if is_permissive(card) and (path := bundled_checkpoint(card)).is_file()
        }

    def _fetched(self) -> dict[str, tuple[ZooFile, Path]]:
        try:
            pins = read_pins(self._zoo / "zoo.lock.json")
        except (InvalidInput, OSError):  # the operator's to mend, and no fault of whoever asks
            logger.exception("the fetched checkpoints cannot be passed on")
            return {}
        found: dict[str, tuple[ZooFile, Path]] = {}
        for card in published():
            pin = pins.get(f"{card.dataset}/{card.threat_model}/{card.id}")
            if pin is None or not is_permissive(card):
                continue
            path = self._zoo / "checkpoints" / f"{pin.safetensors}.safetensors"
            if path.is_file():
                found.setdefault(pin.safetensors, (_file(card, pin.safetensors, path), path))
        return found


def _file(card: Card | PublishedCard, sha256: str, path: Path) -> ZooFile:
    threat_models = (card.threat_model,) if isinstance(card, PublishedCard) else card.threat_models
    return ZooFile(
        model_id=card.id,
        dataset=card.dataset,
        threat_models=threat_models,
        sha256=sha256,
        bytes=path.stat().st_size,
        licence=card.licence or "",
    )
