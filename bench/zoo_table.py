"""The table of how close the zoo's networks are to their peers, which `bench.zoo` fills and `bench.zoo_page` shows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from model_zoo.registry import PublishedCard, published

TABLE = Path(__file__).resolve().parents[1] / "docs/benchmarks/zoo.json"
TOLERANCE = 1e-4
"""Greatest difference of logits, relative to the greatest logit."""


@dataclass(frozen=True)
class Parity:
    """What became of one model.

    Args:
        model: data set, threat model and id.
        network: class and arguments.
        keys: entries of the state dict, on both sides.
        difference: greatest of all logits.
        scale: greatest logit of the peer's.
        spread: greatest difference between the peer's logits of the images.
        against: whose network it was compared with.
    """

    model: str
    network: str
    keys: int
    difference: float
    scale: float
    spread: float
    against: str

    @property
    def relative(self) -> float:
        return self.difference / self.scale

    @property
    def agrees(self) -> bool:
        return self.relative <= TOLERANCE


@dataclass(frozen=True)
class Table:
    """The results of all, and what they were computed with."""

    versions: dict[str, str]
    results: tuple[Parity, ...]


def read_table(path: Path = TABLE) -> Table:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Table(content["versions"], tuple(Parity(**result) for result in content["results"]))


def write_table(table: Table, path: Path = TABLE) -> None:
    path.write_text(json.dumps(asdict(table), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def place(card: PublishedCard) -> str:
    return f"{card.dataset}/{card.threat_model}/{card.id}"


def described(card: PublishedCard) -> str:
    """Return a network and its arguments on one line."""
    return f"{card.network}({', '.join(f'{name}={value}' for name, value in card.arguments.items())})"


def merged(old: Iterable[Parity], new: Iterable[Parity]) -> tuple[Parity, ...]:
    """Return the results of all that have a card, the newer where there are two, in the order of the cards."""
    known = {result.model: result for result in (*old, *new)}
    return tuple(known[place(card)] for card in published() if place(card) in known)
