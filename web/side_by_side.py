"""The numbers behind the pages that show models side by side; templates only draw them."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.side_by_side import Pair, SideBySide
from store.ties import LEVEL
from web.charts import Part, Tick
from web.formats import count, percent

LETTERS = "ABCDE"
"""What the models are called in tables and charts."""
MOST_POINTS = 60
"""Points of a pair that are named; all of them are in the JSON."""

_WIDTH, _HEIGHT = 720, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 640, 24, 284
_LABEL_PX = 20
"""Least distance between two letters at the right end of their lines."""


class Line(Part):
    """A model's way from clean images through the attacks, in the units of the drawing."""

    letter: str
    path: str
    places: tuple[tuple[float, float], ...]
    label_y: float
    """Where its letter stands: beside the line's end, or as near to that as others leave room."""


class Profile(Part):
    """What all models keep after each attack."""

    width: int
    height: int
    left: int
    right: int
    bottom: int
    label_x: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


class Difference(Part):
    """Two models point by point, in words and numbers."""

    a: str
    """Its letter."""
    b: str
    pair: Pair
    verdict: str
    a_points: tuple[int, ...]
    """Positions of points that only the first keeps, as many as are named."""
    b_points: tuple[int, ...]


def profile(comparison: SideBySide) -> Profile | None:
    """Return the chart of what is kept after each attack; None where no attack was run on all of them."""
    stages = comparison.stages
    if len(stages) <= 1:
        return None
    step = (_RIGHT - _LEFT) / (len(stages) - 1)
    across = [round(_LEFT + step * number, 1) for number in range(len(stages))]
    columns = [[stage.accuracies[model] for stage in stages] for model in range(len(comparison.names))]
    ends = _apart([_place(column[-1]) for column in columns])
    lines = []
    for letter, column, label_y in zip(LETTERS, columns, ends, strict=False):
        places = tuple((x, _place(accuracy)) for x, accuracy in zip(across, column, strict=True))
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in places)
        lines.append(Line(letter=letter, path=path, places=places, label_y=label_y))
    return Profile(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        bottom=_BOTTOM,
        label_x=_RIGHT + 26,
        x_ticks=tuple(Tick(at=x, label=stage.after) for x, stage in zip(across, stages, strict=True)),
        y_ticks=tuple(Tick(at=_place(share), label=percent(share, digits=0)) for share in (0, 0.25, 0.5, 0.75, 1)),
        lines=tuple(lines),
    )


def differences(comparison: SideBySide) -> tuple[Difference, ...]:
    """Return what tells each pair apart, and whether anything does."""
    letters = dict(zip(comparison.names, LETTERS, strict=False))
    return tuple(
        Difference(
            a=letters[pair.a],
            b=letters[pair.b],
            pair=pair,
            verdict=_verdict(pair, letters[pair.a], letters[pair.b]),
            a_points=pair.only_a_points[:MOST_POINTS],
            b_points=pair.only_b_points[:MOST_POINTS],
        )
        for pair in comparison.pairs
    )


def _verdict(pair: Pair, a: str, b: str) -> str:
    if pair.only_a == pair.only_b == 0:
        return f"{a} and {b} keep the same points."
    p_value = pair.corrected_p_value
    if p_value > LEVEL:
        return f"Not told apart: a difference like this is common by chance (p = {p_value:.2g})."
    better, more = (a, pair.only_a - pair.only_b) if pair.only_a > pair.only_b else (b, pair.only_b - pair.only_a)
    points = "point" if more == 1 else "points"
    return f"{better} keeps {count(more)} {points} more; by chance that would be rare (p = {p_value:.2g})."


def _place(accuracy: float) -> float:
    return round(_BOTTOM - accuracy * (_BOTTOM - _TOP), 1)


def _apart(places: Sequence[float]) -> list[float]:
    """Return places of labels near these, in the same order down, none on another, and none below the axis."""
    order = sorted(range(len(places)), key=lambda number: places[number])
    moved: dict[int, float] = {}
    above = -_LABEL_PX * 1.0
    for number in order:
        above = max(places[number], above + _LABEL_PX)
        moved[number] = above
    below = float(_BOTTOM)
    for number in reversed(order):
        moved[number] = min(moved[number], below)
        below = moved[number] - _LABEL_PX
    return [round(moved[number], 1) for number in range(len(places))]
