"""Plots of a run over the zoo: the attack against the board's numbers, and every model's accuracies side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.drawing import LIGHT, png_of, styled, svg_of
from gauntlet.cli.console import percent
from gauntlet.cli.testbed_rows import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SVG, PNG = "plot.svg", "plot.png"

_BOARD, _ATTACK, _BEST, *_ = LIGHT.series
_STANDARD = "#666666"
_AIR = 4.0
_LINE, _LINE_OF_MANY, _MANY = 0.32, 0.2, 20
"""Inches for a model in the list, and from how many models on it is less."""


def write_plots(rows: Sequence[Row], folder: Path, title: str) -> None:
    """Draw what was found as SVG and PNG, the same bytes for the same rows; models that failed are named, not drawn."""
    if all(row.robust_accuracy is None for row in rows):
        return
    with styled():
        figure = _figure(rows, title)
        (folder / SVG).write_text(svg_of(figure, title, _description(rows)), encoding="utf-8")
        (folder / PNG).write_bytes(png_of(figure))


def _figure(rows: Sequence[Row], title: str) -> Figure:
    from matplotlib.figure import Figure

    drawn = sorted((row for row in rows if row.robust_accuracy is not None), key=_rank)
    failed = [row.model for row in rows if row.robust_accuracy is None]
    height = max(4.6, 1.7 + (_LINE if len(drawn) < _MANY else _LINE_OF_MANY) * len(drawn))
    figure = Figure(figsize=(11.5, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    _scatter(left, drawn)
    _list(right, drawn)
    if failed:
        figure.supxlabel(f"No result, see the table: {', '.join(failed)}", x=0.01, ha="left", fontsize=8)
    return figure


def _rank(row: Row) -> tuple[float, str]:
    board = row.board.robust_accuracy if row.board is not None else None
    return -(board if board is not None else row.robust_accuracy or 0.0), row.model


def _scatter(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw the attack's robust accuracy over the board's, each model under its number in the list."""
    placed = [
        (number, 100 * row.board.robust_accuracy, row)
        for number, row in enumerate(rows, start=1)
        if row.board is not None and row.board.robust_accuracy is not None
    ]
    if not placed:
        axes.set_axis_off()
        axes.text(0, 0.5, "No board has numbers to compare with.", transform=axes.transAxes, color=_STANDARD)
        return
    low, high = _limits([x for _, x, _ in placed] + [100 * value for row in rows for value in _ends(row)])
    axes.plot([low, high], [low, high], color=_STANDARD, linewidth=1, linestyle="--", zorder=1)
    for _, x, row in placed:
        bottom, top = (100 * value for value in _ends(row))
        y = 100 * (row.robust_accuracy or 0)
        axes.plot([x, x], [bottom, top], color=_ATTACK, linewidth=1, alpha=0.5, zorder=2)
        axes.plot([x], [y], marker="o", color=_ATTACK, markersize=5, zorder=3)
    spots = [(x, 100 * (row.robust_accuracy or 0)) for _, x, row in placed]
    sides = _sides(spots, low, (high - low) / _SCATTER_POINTS)
    for (number, _, _), spot, side in zip(placed, spots, sides, strict=True):
        if side is not None:
            axes.annotate(
                str(number), spot, side, textcoords="offset points", ha="center", va="center", fontsize=8, zorder=4
            )
    axes.set(
        xlim=(low, high), ylim=(low, high), aspect="equal",
        xlabel="robust accuracy on the board, %", ylabel="robust accuracy under this attack, %",
    )  # fmt: skip
    axes.set_title("Dashed: as strong as the board; above it, weaker", loc="left", fontsize=9)
    axes.set_anchor("NW")
    axes.grid(color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)


def _sides(spots: Sequence[tuple[float, float]], low: float, unit: float) -> list[tuple[int, int] | None]:
    """Return where to write the number of each mark so that it covers no mark and no other number; None for nowhere.

    Args:
        spots: the marks, in the axes' units.
        low: where the axes begin.
        unit: the axes' units in a point of the drawing.
    """
    taken, chosen = [(x / unit, y / unit) for x, y in spots], list[tuple[int, int] | None]()
    for x, y in spots:
        places = {side: (x / unit + side[0], y / unit + side[1]) for side in _SIDES}
        free = [
            side
            for side, (across, up) in places.items()
            if across * unit > low + _NUMBER_WIDE * unit
            and all(abs(across - other) > _NUMBER_WIDE or abs(up - above) > _NUMBER_HIGH for other, above in taken)
        ]
        chosen.append(free[0] if free else None)
        taken += [places[free[0]]] if free else []
    return chosen


_SIDES = ((-11, 4), (11, -4), (-11, -4), (11, 4), (-13, 10), (13, -10))
_NUMBER_WIDE, _NUMBER_HIGH = 9.5, 6.5
_SCATTER_POINTS = 290
"""About how many points of the drawing the axes are wide."""


def _list(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw a line for each model, from the standard accuracy down to what the attack left, with the board's marks."""
    for place, row in enumerate(rows):
        robust, standard, board = 100 * (row.robust_accuracy or 0), 100 * (row.standard_accuracy or 0), row.board
        axes.plot([robust, standard], [place, place], color="#c8c8c8", linewidth=2, zorder=1)
        bottom, top = (100 * value for value in _ends(row))
        axes.plot([bottom, top], [place, place], color=_ATTACK, linewidth=5, alpha=0.25, zorder=1)
        axes.plot([standard], [place], marker="o", color="white", markeredgecolor=_STANDARD, markersize=6, zorder=2)
        if board is not None and board.robust_accuracy is not None:
            axes.plot([100 * board.robust_accuracy], [place], marker="|", color=_BOARD, markersize=13, mew=2, zorder=4)
        if board is not None and board.best_known_robust_accuracy is not None:
            x = 100 * board.best_known_robust_accuracy
            axes.plot([x], [place + 0.28], marker="^", color=_BEST, markersize=5, zorder=4)
        axes.plot([robust], [place], marker="o", color=_ATTACK, markersize=6, zorder=3)
    axes.set_yticks(range(len(rows)), [f"{row.model}  {number}" for number, row in enumerate(rows, start=1)])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("accuracy, %")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.6)
    axes.set_axisbelow(True)
    _legend(axes)


def _legend(axes: Axes) -> None:
    from matplotlib.lines import Line2D

    marks = (
        ("standard", {"marker": "o", "color": "white", "markeredgecolor": _STANDARD}),
        ("under this attack, with 95 % interval", {"marker": "o", "color": _ATTACK}),
        ("board", {"marker": "|", "color": _BOARD, "markersize": 11, "markeredgewidth": 2}),
        ("best known", {"marker": "^", "color": _BEST}),
    )
    axes.legend(
        handles=[Line2D([], [], linestyle="none", label=label, **style) for label, style in marks],
        loc="lower left", bbox_to_anchor=(0, 1), ncols=len(marks), frameon=False, fontsize=8,
        handletextpad=0.2, columnspacing=1.2, borderaxespad=0.2,
    )  # fmt: skip


def _ends(row: Row) -> tuple[float, float]:
    return row.robust_low or 0.0, row.robust_high or 0.0


def _limits(values: Sequence[float]) -> tuple[float, float]:
    return max(-_AIR, 10 * math.floor((min(values) - 1) / 10)), min(100 + _AIR, 10 * math.ceil((max(values) + 1) / 10))


def _description(rows: Sequence[Row]) -> str:
    parts = []
    for row in rows:
        if row.robust_accuracy is None:
            parts.append(f"{row.model}: no result.")
            continue
        board = row.board.robust_accuracy if row.board is not None else None
        against = f", on the board {percent(board, digits=1)}" if board is not None else ""
        parts.append(f"{row.model}: robust accuracy {percent(row.robust_accuracy, digits=1)}{against}.")
    return " ".join(parts)
