"""What was verified once and must never change unnoticed: hashes, in a file of the package and one of the user's."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.errors import InvalidInput

PACKAGED = Path(__file__).parents[1] / "zoo.lock.json"
"""Pins that come along with the package; they go before the user's."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Pin(BaseModel):
    """A checkpoint as it was when it was first loaded into its network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[Sha256, ...]
    """Hashes of the files as they were published."""
    safetensors: Sha256
    """Hash of what they were converted to."""
    bytes: Annotated[int, Field(gt=0)]
    """Size of that."""
    verified: str
    """Day on which that was, such as 2026-11-27."""


_PINS: TypeAdapter[dict[str, Pin]] = TypeAdapter(dict[str, Pin])


def read_pins(user: Path) -> Mapping[str, Pin]:
    """Return all pins by board and id, such as "cifar10/Linf/Carmon2019Unlabeled".

    Args:
        user: the user's file, which need not be there.
    Raises:
        InvalidInput: it is damaged.
    """
    return {**_read(user), **_read(PACKAGED)}


def add_pin(user: Path, name: str, pin: Pin) -> None:
    """Pin a checkpoint in the user's file, which other processes may be writing to as well."""
    with held(user.with_suffix(".lock")):
        pins = dict(_read(user))
        if pins.setdefault(name, pin) != pin:
            raise InvalidInput.because(
                name, found=f"a pin of {pins[name].safetensors}", expected="none yet", remedy="load it again"
            )
        unfinished = user.with_name(f"{user.name}.unfinished")
        unfinished.write_bytes(_PINS.dump_json(dict(sorted(pins.items())), indent=1) + b"\n")
        unfinished.replace(user)


def _read(path: Path) -> dict[str, Pin]:
    if not path.exists():
        return {}
    try:
        return _PINS.validate_json(path.read_bytes())
    except (ValidationError, json.JSONDecodeError) as error:
        raise InvalidInput.because(
            str(path), found="a lock file that cannot be read", expected="hashes by board and id",
            remedy="take it from a copy; or delete it, and each checkpoint is pinned again as it is then",
        ) from error  # fmt: skip


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for whoever holds it; it is freed with the process, however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
