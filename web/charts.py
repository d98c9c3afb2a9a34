"""The numbers behind the charts; templates only draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from benchmark.report import EvaluationReport
from store.views import BoardPoint, ExtraData
from web.formats import percent, words
from web.rendering import model_address


class Part(BaseModel):
    """A frozen piece of a chart."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bar(Part):
    """A bar from 0 to 1: what is kept, and what was lost of it in this step."""

    label: str
    kept: float
    lost: float
    note: str


class CorruptionRow(Part):
    """One type of corruption."""

    label: str
    accuracies: tuple[float, ...]
    """By severity, the slightest first."""
    mean: float


class Tick(Part):
    """A line of the grid with its label."""

    at: float
    label: str


class Mark(Part):
    """An entry in the scatter plot."""

    x: float
    y: float
    shape: ExtraData
    hollow: bool
    address: str
    label: str
    stop: bool
    """Whether one gets to it with the keyboard; all of them would be too many, and the table beside has them."""


class Scatter(Part):
    """Standard against robust accuracy, in the units of the drawing."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    entries: int
    """How many have both numbers; where they are very many, some marks are left out."""
    marks: tuple[Mark, ...]
    front: str
    """Path along the entries that no other beats in both accuracies."""
    shapes: tuple[ExtraData, ...]
    """Kinds of extra data that occur, for the legend."""
    any_hollow: bool


_WIDTH, _HEIGHT = 720, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 694, 40, 384
_FEWEST_MARKS = 3
_MOST_MARKS = 2_000  # that are all drawn; of more, one in a cell as large as a mark, so never more than about 3,500
_MOST_STOPS = 20  # of the keyboard
_MARK = 8
_FEWEST_CELLS = 3
_AIR = 0.1  # of a cell, so that no mark lies on the frame


def waterfall(report: EvaluationReport) -> tuple[Bar, ...]:
    """Return one bar per attack: what is still classified correctly after it, and what it broke."""
    wrong = round(report.n_points * (1 - report.standard_accuracy))
    bars = [
        Bar(
            label="no attack",
            kept=report.standard_accuracy,
            lost=1 - report.standard_accuracy,
            note=f"{wrong} of {report.n_points} misclassified",
        )
    ]
    bars.extend(
        Bar(
            label=attack.name,
            kept=attack.robust_accuracy_after,
            lost=attack.broken / report.n_points,
            note=f"{attack.broken} of {attack.attacked} broken",
        )
        for attack in report.attacks
    )
    return tuple(bars)


def per_corruption(report: EvaluationReport) -> tuple[CorruptionRow, ...]:
    """Return one row per type of corruption; none where the images were attacked instead."""
    if report.corruptions is None:
        return ()
    rows = []
    for corruption, cells in report.corruptions.by_type().items():
        accuracies = tuple(cell.correct / report.n_points for cell in cells)
        label = words(corruption)
        rows.append(CorruptionRow(label=label, accuracies=accuracies, mean=sum(accuracies) / len(accuracies)))
    return tuple(rows)


def per_class(report: EvaluationReport) -> tuple[Bar, ...]:
    """Return one bar per class: robust accuracy, and what the attacks took from standard accuracy."""
    return tuple(
        Bar(
            label=str(part.label),
            kept=part.robust_accuracy,
            lost=part.standard_accuracy - part.robust_accuracy,
            note=f"{part.points} points",
        )
        for part in report.classwise
    )


def scatter(dataset: str, threat_model: str, points: Sequence[BoardPoint]) -> Scatter | None:
    """Return the plot of the entries; None where they are too few to plot.

    Args:
        dataset: with ``threat_model`` the board's name.
        threat_model: see ``dataset``.
        points: the entries, the best ranked first: it is the one that is drawn where marks would hide each other.
    """
    if len(points) < _FEWEST_MARKS:
        return None
    x_axis = _Axis([point.standard_accuracy for point in points], _LEFT, _RIGHT)
    y_axis = _Axis([point.best_known_robust_accuracy for point in points], _BOTTOM, _TOP)
    front = _front([(point.standard_accuracy, point.best_known_robust_accuracy) for point in points])
    drawn = _thinned(points, x_axis, y_axis)
    stops = _stops(drawn, front)
    marks = tuple(
        Mark(
            x=x_axis.place(point.standard_accuracy),
            y=y_axis.place(point.best_known_robust_accuracy),
            shape=point.extra_data,
            hollow=point.flagged,
            address=model_address(dataset, threat_model, point.model_id),
            label=f"{point.model_id}: standard {percent(point.standard_accuracy)}, "
            f"robust {percent(point.best_known_robust_accuracy)}",
            stop=point.model_id in stops,
        )
        for point in drawn
    )
    # Places that differ only behind the first decimal are one place of the path.
    path = dict.fromkeys(f"{x_axis.place(standard):g} {y_axis.place(robust):g}" for standard, robust in front)
    return Scatter(
        width=_WIDTH,
        height=_HEIGHT,
        left=_LEFT,
        right=_RIGHT,
        top=_TOP,
        bottom=_BOTTOM,
        x_ticks=x_axis.ticks(),
        y_ticks=y_axis.ticks(),
        entries=len(points),
        marks=marks,
        front="M" + "L".join(path) if len(path) > 1 else "",
        shapes=tuple(kind for kind in ExtraData if any(mark.shape is kind for mark in marks)),
        any_hollow=any(mark.hollow for mark in marks),
    )


def _thinned(points: Sequence[BoardPoint], x_axis: _Axis, y_axis: _Axis) -> Sequence[BoardPoint]:
    """Return all points, or of very many the first in every cell of a grid."""
    if len(points) <= _MOST_MARKS:
        return points
    cells: dict[tuple[float, float], BoardPoint] = {}
    for point in points:
        x, y = x_axis.place(point.standard_accuracy), y_axis.place(point.best_known_robust_accuracy)
        cells.setdefault((x // _MARK, y // _MARK), point)
    return list(cells.values())


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other beats in both numbers, from left to right."""
    front: list[tuple[float, float]] = []
    for standard, robust in sorted(set(points), reverse=True):
        if not front or robust > front[-1][1]:
            front.append((standard, robust))
    return front[::-1]


def _stops(points: Sequence[BoardPoint], front: Sequence[tuple[float, float]]) -> set[str]:
    """Return the entries at which the keyboard stops: the best ranked of those that no other beats."""
    best = set(front)
    on_it = [point.model_id for point in points if (point.standard_accuracy, point.best_known_robust_accuracy) in best]
    return set(on_it[:_MOST_STOPS])


class _Axis:
    """Maps accuracies to positions; begins and ends on a line of the grid, with some air."""

    def __init__(self, values: Sequence[float], start: int, end: int) -> None:
        self.start, self.end = start, end
        spread = max(values) - min(values)
        # Lines of the grid per unit: tens of percents, or finer where everything lies close together.
        self.lines = next((lines for lines in (10, 20, 50) if spread * lines >= _FEWEST_CELLS), 100)
        self.first = max(0, math.floor(min(values) * self.lines - _AIR))
        self.last = min(self.lines, math.ceil(max(values) * self.lines + _AIR))

    def place(self, value: float) -> float:
        share = (value * self.lines - self.first) / (self.last - self.first)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> tuple[Tick, ...]:
        return tuple(
            Tick(at=self.place(line / self.lines), label=percent(line / self.lines, digits=0))
            for line in range(self.first, self.last + 1)
        )
