"""Classes and points in words: what they are called, which the attacks spoilt most, and what each attack broke."""

from __future__ import annotations

from collections.abc import Sequence

from benchmark.data_formats.classes import class_names
from benchmark.report import ClassAccuracy, EvaluationReport
from web.charts import Bar, Part
from web.formats import percent

MOST_LISTED = 500
"""Points of one attack that a page lists; whoever wants more gets them as JSON."""
_MOST_NAMED = 3


class Listed(Part):
    """The points that something broke, by their places in the data set."""

    label: str
    points: tuple[int, ...]
    left_out: int


def class_name(dataset: str, label: int) -> str:
    """Return the number of a class with its name, where it has one."""
    try:
        name = class_names(dataset)[label]
    except (KeyError, IndexError):
        return str(label)
    return name if name == str(label) else f"{label} {name}"


def named(bars: Sequence[Bar], report: EvaluationReport, dataset: str) -> tuple[Bar, ...]:
    """Return the bars of classes under the names of the classes."""
    return tuple(
        bar.model_copy(update={"label": class_name(dataset, part.label)})
        for bar, part in zip(bars, report.classwise, strict=True)
    )


def extremes(report: EvaluationReport, dataset: str) -> str:
    """Say in a sentence which class is left the least, and which the most."""
    worst = min(part.robust_accuracy for part in report.classwise)
    best = max(part.robust_accuracy for part in report.classwise)
    if worst == best:
        return f"Every class is left the same: {percent(worst, unit=True, digits=1)}."
    return (
        f"Worst {_which(report.classwise, worst, dataset)}, with {percent(worst, unit=True, digits=1)}; "
        f"best {_which(report.classwise, best, dataset)}, with {percent(best, unit=True, digits=1)}."
    )


def _which(classes: Sequence[ClassAccuracy], accuracy: float, dataset: str) -> str:
    found = [class_name(dataset, part.label) for part in classes if part.robust_accuracy == accuracy]
    if len(found) == 1:
        return f"is class {found[0]}"
    if len(found) > _MOST_NAMED:
        return f"are {len(found)} classes"
    return f"are classes {', '.join(found[:-1])} and {found[-1]}"


def broken_points(report: EvaluationReport) -> tuple[Listed, ...]:
    """Return the points that each attack broke, in the order of the attacks, and first those that need none."""
    points: dict[str, list[int]] = {}
    for index, by in zip(report.points.index, report.points.broken_by, strict=True):
        if by is not None:
            points.setdefault(by, []).append(index)
    labels = {"clean": "no attack"} | {attack.name: attack.name for attack in report.attacks}
    return tuple(
        Listed(label=label, points=tuple(found[:MOST_LISTED]), left_out=max(0, len(found) - MOST_LISTED))
        for name, label in labels.items()
        if (found := points.get(name, []))
    )
