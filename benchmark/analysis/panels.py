"""The drawing of each analysis, in the axes that it is given; `benchmark.analysis.plots` makes those.

Every model has a colour, a mark and a stroke of its own, so that none needs its colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from benchmark.analysis.results import Analysis, Study
from benchmark.drawing import LIGHT, MARKERS, STROKES, Palette, Stroke, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MOST_CLASSES = 24
"""Data sets with more classes are drawn as curves over the ordered classes."""
MOST_NUMBERED = 9
"""Greater matrices are drawn without their numbers."""
_BESIDE, _WIDE = 0.16, 0.56
"""How far beside each other the marks of two models stand, and which part of the room between two names all share."""
_AIR = 3.0
_NORMS = {"Linf": "\u2113∞", "L2": "\u2113₂", "L1": "\u2113₁"}


@dataclass(frozen=True)
class Model:
    """A model of a drawing.

    Args:
        place: says which colour and mark are its own, from 0.
        column: its place among those that are drawn, from 0.
        of: how many there are.
        letter: what stands for it where there is little room; empty where it is alone.
        label: what it is called in the drawing.
        study: what was found of it.
        palette: the colours of the drawing.
    """

    place: int
    column: int
    of: int
    letter: str
    label: str
    study: Study
    palette: Palette = LIGHT

    @property
    def colour(self) -> str:
        """Its colour."""
        return self.palette.series[self.place % len(self.palette.series)]

    @property
    def marker(self) -> str:
        """Its mark."""
        return MARKERS[self.place % len(MARKERS)]

    @property
    def stroke(self) -> Stroke:
        """Its kind of line."""
        return STROKES[self.place % len(STROKES)]

    @property
    def shift(self) -> float:
        """How far beside the middle of a name its marks stand."""
        return 0.0 if self.of == 1 else min(_WIDE, _BESIDE * (self.of - 1)) * (self.column / (self.of - 1) - 0.5)

    @property
    def key(self) -> Line2D:
        """What explains it in a legend."""
        from matplotlib.lines import Line2D

        return Line2D([], [], color=self.colour, marker=self.marker, linestyle=self.stroke, markersize=5)


Draw = Callable[["Axes", Sequence[Model]], None]


def calibration(axes: Axes, models: Sequence[Model]) -> None:
    """Draw accuracy over confidence: a reliability diagram."""
    palette = models[0].palette
    axes.plot([0, 100], [0, 100], color=palette.soft, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    for model in models:
        bins = [part for part in (model.study.calibration.bins if model.study.calibration else ()) if part.points]
        _line(axes, model, [100 * part.confidence for part in bins], [100 * part.accuracy for part in bins])
    axes.set(xlim=(-_AIR, 100 + _AIR), ylim=(-_AIR, 100 + _AIR), xlabel="confidence, %", ylabel="accuracy, %")
    _note(axes, "dotted: as right as sure")
    _grid(axes)


def ood(axes: Axes, models: Sequence[Model]) -> None:
    """Draw how sure one model is of each set, or how well each of several tells the sets from its own."""
    if len(models) == 1:
        _confidences(axes, models[0])
        return
    names = _in_order(each.name for model in models for each in (model.study.ood.sets if model.study.ood else ()))
    for model in models:
        found = {each.name: each.auroc for each in (model.study.ood.sets if model.study.ood else ())}
        _marks(axes, model, names, found)
    axes.axhline(0.5, color=models[0].palette.soft, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    _names(axes, names)
    axes.set(ylabel="AUROC", ylim=(min(0.45, axes.get_ylim()[0]), 1.02))
    _note(axes, "dotted: chance")
    _grid(axes, "y")


def _confidences(axes: Axes, model: Model) -> None:
    one, palette = model.study.ood, model.palette
    if one is None:
        return
    sets = [
        ("own data", one.histogram),
        *((f"{each.name}, AUROC {each.auroc:.3f}", each.histogram) for each in one.sets),
    ]
    for place, (name, counts) in enumerate(sets):
        total, bins = sum(counts) or 1, len(counts) or 1
        edges = [100 * edge / bins for edge in range(bins + 1)]
        axes.stairs(
            [100 * count / total for count in counts] or [0], edges, label=printable(name, 48),
            color=palette.series[place % len(palette.series)], linewidth=1.6,
            linestyle=STROKES[place % len(STROKES)], fill=False,
        )  # fmt: skip
    axes.set(xlim=(-1, 101), xlabel="confidence, %", ylabel="points of the set, %")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    _grid(axes)


def fairness(axes: Axes, models: Sequence[Model]) -> None:
    """Draw standard and robust accuracy of every class; of very many classes the ordered accuracies."""
    parts = [(model, model.study.fairness.classes if model.study.fairness else ()) for model in models]
    labels = sorted({part.label for _, classes in parts for part in classes})
    if len(labels) > MOST_CLASSES:
        for model, classes in parts:
            robust = sorted(100 * part.robust_accuracy for part in classes)
            standard = sorted(100 * part.standard_accuracy for part in classes)
            axes.step(range(1, len(robust) + 1), robust, color=model.colour, linewidth=1.8, where="mid")
            axes.step(
                range(1, len(standard) + 1), standard, color=model.colour, linewidth=1.2, alpha=0.8,
                linestyle=(0, (4, 2)), where="mid",
            )  # fmt: skip
            for values, hollow in ((robust, False), (standard, True)):
                axes.plot(
                    range(1, len(values) + 1), values, linestyle="none", marker=model.marker, color=model.colour,
                    markerfacecolor=model.palette.paper if hollow else model.colour, markersize=5,
                    markevery=(model.place, max(1, len(values) // 8)),
                )  # fmt: skip
        axes.set(xlabel="classes, each line from its worst to its best", xlim=(0, len(labels) + 1))
        _note(axes, "solid: robust; dashed: standard")
    else:
        names = [str(label) for label in labels]
        for model, classes in parts:
            _pairs(
                axes, model, names,
                {str(part.label): (part.standard_accuracy, part.robust_accuracy) for part in classes},
            )  # fmt: skip
        axes.set_xticks(range(len(names)), names)
        axes.set(xlabel="class, by its label", xlim=(-0.6, len(names) - 0.4))
        _note(axes, "filled: robust; hollow: standard")
    axes.set(ylabel="accuracy, %", ylim=(-_AIR, 100 + _AIR))
    _grid(axes, "y")


def privacy(axes: Axes, models: Sequence[Model]) -> None:
    """Draw how often membership is guessed right, by confidence and by the label alone."""
    names = ("benign,\nby confidence", "benign,\nby label", "adversarial,\nby confidence", "adversarial,\nby label")
    for model in models:
        if one := model.study.privacy:
            guessed = (
                one.benign.by_confidence, one.benign.by_label, one.adversarial.by_confidence, one.adversarial.by_label
            )  # fmt: skip
            found = {name: 100 * value for name, value in zip(names, guessed, strict=True)}
            _marks(axes, model, names, found, base=50)
    axes.axhline(50, color=models[0].palette.soft, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set(ylabel="guessed right, %", xlim=(-0.6, len(names) - 0.4))
    axes.set_ylim(min(48, axes.get_ylim()[0]), max(62, axes.get_ylim()[1]))
    _note(axes, "dotted: chance")
    _grid(axes, "y")


def lipschitz(axes: Axes, models: Sequence[Model]) -> None:
    """Draw the local Lipschitz constant of every model."""
    _bars(axes, models, [model.study.smoothness.lipschitz if model.study.smoothness else 0 for model in models])
    axes.set_xlabel("local Lipschitz constant")


def angular_lipschitz(axes: Axes, models: Sequence[Model]) -> None:
    """Draw the same of the direction of the output alone."""
    _bars(axes, models, [model.study.smoothness.angular_lipschitz if model.study.smoothness else 0 for model in models])
    axes.set_xlabel("angular Lipschitz constant")


def shift(axes: Axes, models: Sequence[Model]) -> None:
    """Draw standard and robust accuracy on a model's own and on other data."""
    found = [
        (model, {part.name: (part.standard_accuracy, part.robust_accuracy) for part in (one.own, *one.sets)})
        for model in models
        if (one := model.study.shift)
    ]
    names = _in_order(name for _, sets in found for name in sets)
    for model, sets in found:
        _pairs(axes, model, names, sets)
    _names(axes, names)
    axes.set(ylabel="accuracy, %", ylim=(-_AIR, 100 + _AIR))
    _note(axes, "filled: robust; hollow: standard")
    _grid(axes, "y")


def transfer(axes: Axes, models: Sequence[Model]) -> None:
    """Draw what every target keeps under the examples of every source, of one model's study."""
    (model,) = models
    one = model.study.transfer
    if one is None:
        return
    count, names = len(one.names), [printable(name, 22) for name in one.names]
    small, turn = (8, 40) if count <= MOST_NUMBERED else (6, 90)
    axes.imshow([[100 * value for value in row] for row in one.robust], cmap="cividis", vmin=0, vmax=100, aspect="auto")
    for source, row in enumerate(one.robust if count <= MOST_NUMBERED else ()):
        for target, value in enumerate(row):
            axes.text(
                target,
                source,
                f"{100 * value:.0f}",
                ha="center",
                va="center",
                color="white" if value < 0.6 else "black",
            )
    axes.set_xticks(range(count), names, rotation=turn, ha="right", rotation_mode="anchor", fontsize=small)
    axes.set_yticks(range(count), names, fontsize=small)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="target", ylabel="source")
    _note(axes, f"robust accuracy of the target, %; {printable(one.method, 30)}")


def curve(axes: Axes, models: Sequence[Model]) -> None:
    """Draw robust accuracy over the budget."""
    for model in models:
        at = model.study.curve.at if model.study.curve else ()
        _line(axes, model, [part.epsilon for part in at], [100 * part.robust_accuracy for part in at])
    _budgets(axes, models)
    axes.set(xlabel=f"budget in {_norms(models)}", ylabel="robust accuracy, %", ylim=(-_AIR, 100 + _AIR))
    axes.set_xlim(left=0)
    _grid(axes)


def distances(axes: Axes, models: Sequence[Model]) -> None:
    """Draw which share of the points has an example within each distance."""
    for model in models:
        if one := model.study.distances:
            found = sorted(distance for distance in one.distances if distance is not None)
            shares = [100 * (place + 1) / max(one.points, 1) for place in range(len(found))]
            axes.step([0.0, *found], [0.0, *shares], color=model.colour, linestyle=model.stroke, where="post", zorder=3)
            every = max(1, len(found) // 6)
            axes.plot(
                found[every // 2 :: every], shares[every // 2 :: every], linestyle="none", marker=model.marker,
                color=model.colour, markersize=5, zorder=3,
            )  # fmt: skip
    _budgets(axes, models)
    axes.set(
        xlabel=f"distance of the nearest example found, {_norms(models)}", ylabel="points, %", ylim=(-_AIR, 100 + _AIR)
    )
    axes.set_xlim(left=0)
    _grid(axes)


def alignment(axes: Axes, models: Sequence[Model]) -> None:
    """Draw the mean cosine of gradients with the range of eight points in ten."""
    for place, model in enumerate(models):
        if one := model.study.alignment:
            axes.plot([one.quantile_10, one.quantile_90], [place, place], color=model.colour, linewidth=4, alpha=0.4)
            axes.plot([one.median], [place], marker="|", color=model.colour, markersize=13, markeredgewidth=2)
            axes.plot([one.mean], [place], marker=model.marker, color=model.colour, markersize=7)
    _lines_of(axes, models)
    axes.axvline(0, color=models[0].palette.soft, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    axes.set(xlim=(min(-0.1, axes.get_xlim()[0]), 1.03), xlabel="cosine of gradients")
    _note(axes, "mark: mean; stroke: median; bar: eight points in ten")
    _grid(axes, "x")


def average_sharpness(axes: Axes, models: Sequence[Model]) -> None:
    """Draw the mean rise of the loss over the size of random moves of the weights."""
    for model in models:
        at = model.study.sharpness.average if model.study.sharpness else ()
        _line(axes, model, [part.rho for part in at], [part.rise for part in at])
    axes.set(xlabel="random moves, in parts of each weight", ylabel="rise of the loss")
    _note(axes, "mean")
    _grid(axes)


def worst_sharpness(axes: Axes, models: Sequence[Model]) -> None:
    """Draw the greatest rise of the loss that was found over the radius of the moves."""
    for model in models:
        at = model.study.sharpness.worst if model.study.sharpness else ()
        _line(axes, model, [part.rho for part in at], [part.rise for part in at])
    axes.set(xlabel="radius of the worst move, in parts of each weight", ylabel="rise of the loss")
    _note(axes, "worst")
    _grid(axes)


def _line(axes: Axes, model: Model, x: Sequence[float], y: Sequence[float]) -> None:
    axes.plot(x, y, color=model.colour, linestyle=model.stroke, linewidth=1.6, zorder=3)
    axes.plot(
        x, y, linestyle="none", marker=model.marker, color=model.colour, markersize=5, zorder=4,
        markevery=max(1, len(x) // 20),
    )  # fmt: skip


def _marks(axes: Axes, model: Model, names: Sequence[str], found: Mapping[str, float], base: float = 0.5) -> None:
    for place, name in enumerate(names):
        if name in found:
            x = place + model.shift
            axes.plot([x, x], [base, found[name]], color=model.colour, linewidth=1.6, alpha=0.6, zorder=2)
            axes.plot([x], [found[name]], marker=model.marker, color=model.colour, markersize=6, zorder=3)


def _pairs(axes: Axes, model: Model, names: Sequence[str], found: Mapping[str, tuple[float, float]]) -> None:
    """Draw standard and robust accuracies under their names, each pair with a line between."""
    for place, name in enumerate(names):
        if name in found:
            x, (standard, robust) = place + model.shift, found[name]
            axes.plot([x, x], [100 * robust, 100 * standard], color=model.colour, linewidth=1.4, alpha=0.5, zorder=2)
            axes.plot(
                [x], [100 * standard], marker=model.marker, color=model.colour, markersize=5.5, zorder=3,
                markerfacecolor=model.palette.paper,
            )  # fmt: skip
            axes.plot([x], [100 * robust], marker=model.marker, color=model.colour, markersize=5.5, zorder=4)


def _bars(axes: Axes, models: Sequence[Model], values: Sequence[float]) -> None:
    for place, (model, value) in enumerate(zip(models, values, strict=True)):
        axes.barh([place], [value], height=0.55, color=model.colour)
        axes.annotate(f"{value:.3g}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    _lines_of(axes, models)
    axes.set_xlim(0, 1.18 * (max(values) or 1))
    _grid(axes, "x")


def _lines_of(axes: Axes, models: Sequence[Model]) -> None:
    """Give every model a line of its own, the first above."""
    axes.set_yticks(range(len(models)), [model.letter for model in models])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(models) - 0.4, -0.6)


def _names(axes: Axes, names: Sequence[str]) -> None:
    axes.set_xticks(range(len(names)), [printable(name, 18) for name in names])
    if len(names) > 4 or any(len(name) > 12 for name in names):
        axes.tick_params(axis="x", rotation=30)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.6, len(names) - 0.4)


def _budgets(axes: Axes, models: Sequence[Model]) -> None:
    """Mark the budget of the board."""
    for text in _in_order(model.study.epsilon for model in models):
        try:
            at = float(Fraction(text))
        except (ValueError, ZeroDivisionError, OverflowError):
            continue
        axes.axvline(at, color=models[0].palette.soft, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
    _note(axes, f"dotted: the board’s budget, {printable(', '.join(_in_order(m.study.epsilon for m in models)), 30)}")


def _norms(models: Sequence[Model]) -> str:
    norms = _in_order(model.study.norm for model in models)
    return ", ".join(_NORMS.get(norm, printable(norm, 20)) for norm in norms)


def _note(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=8, color=axes.xaxis.label.get_color(), alpha=0.8)


def _grid(axes: Axes, which: Literal["both", "x", "y"] = "both") -> None:
    axes.grid(axis=which, linewidth=0.6)
    axes.set_axisbelow(True)


def _in_order(names: Iterable[str]) -> list[str]:
    """Return every name once, in the order of their first appearance."""
    return list(dict.fromkeys(names))


PANELS: Mapping[Analysis, tuple[Draw, ...]] = {
    Analysis.CALIBRATION: (calibration,),
    Analysis.OOD: (ood,),
    Analysis.FAIRNESS: (fairness,),
    Analysis.PRIVACY: (privacy,),
    Analysis.SMOOTHNESS: (lipschitz, angular_lipschitz),
    Analysis.SHIFT: (shift,),
    Analysis.TRANSFER: (transfer,),
    Analysis.CURVE: (curve,),
    Analysis.DISTANCES: (distances,),
    Analysis.ALIGNMENT: (alignment,),
    Analysis.SHARPNESS: (average_sharpness, worst_sharpness),
}
"""The drawings of each analysis, one below the other."""
