"""Cards as files of somebody's own, beside their checkpoints."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import InvalidInput
from model_zoo.recipe import unusable
from model_zoo.registry import Card

_LARGEST = 64 * 1024


def write_card(card: Card, path: Path) -> None:
    """Write a card as TOML, leaving out what is not known.

    Raises:
        OSError: the file cannot be written.
    """
    content = card.model_dump(mode="json", exclude_none=True)
    parts = {name: content.pop(name) for name in ("recipe", "measured") if name in content}
    lines = [f"{name} = {_value(value)}" for name, value in content.items()]
    for part, values in parts.items():
        lines += ["", f"[{part}]", *(f"{name} = {_value(value)}" for name, value in values.items())]
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read_card(path: Path) -> Card:
    """Read a card.

    Raises:
        InvalidInput: the file is not a card.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise _no_card(path, f"more than {_LARGEST} bytes")
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise unusable(error) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _no_card(path, f"no TOML: {error}") from error


def _no_card(path: Path, found: str) -> InvalidInput:
    return InvalidInput.because(
        "card", found=f"{str(path)!r}, {found}", expected="a card as `gauntlet zoo train` writes it",
        remedy="name a card, or the id of a model of the zoo",
    )  # fmt: skip


def _value(value: object) -> str:
    """Write a value as TOML, whose strings, numbers, booleans and lists are JSON's, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
