"""Two to five models on the same points: where they differ, and how surprising that would be by chance.

Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

from pydantic import Field

from benchmark.errors import InvalidInput
from benchmark.report import Accuracy, Count, EvaluationReport, Name, Part, Points
from benchmark.statistics import check_comparable, holm, paired, standing_after

FEWEST, MOST = 2, 5
"""How many models can be compared at once."""


@dataclass(frozen=True)
class Standing:
    """What is known of a model on the points of its evaluation.

    Args:
        report: of its own evaluation.
        worst_case: of the same points, the verdicts over all evaluations of it so far.
    """

    report: EvaluationReport
    worst_case: Points


class AfterAttack(Part):
    """What all of them keep once the same attack is done."""

    after: Name
    """An attack's name; "clean" before the first."""
    accuracies: tuple[Accuracy, ...]


class InClass(Part):
    """Accuracies on the points of one class."""

    label: Count
    points: Count
    standard: tuple[Accuracy, ...]
    robust: tuple[Accuracy, ...]
    """In the worst case over all evaluations."""


class UnderCorruption(Part):
    """Accuracies under one type of corruption, over all its severities."""

    corruption: Name
    accuracies: tuple[Accuracy, ...]


class Pair(Part):
    """Two of the models, point by point, in the worst case over all evaluations of each.

    On a board of corruptions a point counts where it is right under every corruption.
    """

    a: Name
    b: Name
    both: Count
    only_a: Count
    only_b: Count
    neither: Count
    p_value: Annotated[float, Field(gt=0, le=1)]
    """Exact two-sided p-value of McNemar's test."""
    corrected_p_value: Annotated[float, Field(gt=0, le=1)]
    """The same with Holm's correction over all pairs."""
    only_a_points: tuple[Count, ...]
    """Positions in the data set of the points that the first keeps and the second loses."""
    only_b_points: tuple[Count, ...]


class SideBySide(Part):
    """Two to five models on the same points; every column is in the order of their names."""

    n_points: Annotated[int, Field(gt=0)]
    names: tuple[Name, ...]
    stages: tuple[AfterAttack, ...]
    """On clean images, and after each attack that all of them were given, in the order of the first. Each model has
    then seen the attacks that its own protocol runs before that one."""
    classes: tuple[InClass, ...]
    corruptions: tuple[UnderCorruption, ...]
    """Empty where there is an attacker."""
    pairs: tuple[Pair, ...]
    all_keep: Count
    """Points that every one of them keeps."""
    none_keeps: Count


def check_number(number: int, what: str) -> None:
    """Refuse to compare fewer or more than can be.

    Args:
        number: how many are to be compared.
        what: what they are called.
    Raises:
        InvalidInput: they are too few or too many.
    """
    if not FEWEST <= number <= MOST:
        raise InvalidInput.because(
            "model", found=f"{number} {what}", expected=f"from {FEWEST} to {MOST} {what} of one board",
            remedy="leave some out or add some",
        )  # fmt: skip


def side_by_side(models: Mapping[str, Standing]) -> SideBySide:
    """Compare models on the points that they were all evaluated on.

    Args:
        models: by their names, from two to five, in the order in which they are shown.
    Raises:
        InvalidInput: they are too few or too many, or their data sets, budgets or points differ.
    """
    check_number(len(models), "models")
    names = tuple(models)
    reports = [standing.report for standing in models.values()]
    for report in reports[1:]:
        check_comparable(reports[0], report)
    kept = [standing.worst_case.robust for standing in models.values()]
    together = list(zip(*kept, strict=True))
    pairs = list(combinations(range(len(names)), 2))
    tests = [paired(kept[a], kept[b]) for a, b in pairs]
    corrected = holm([test.p_value for test in tests])
    return SideBySide(
        n_points=reports[0].n_points,
        names=names,
        stages=_stages(reports),
        classes=_classes(reports, kept),
        corruptions=_corruptions(reports),
        pairs=tuple(
            Pair(
                a=names[a],
                b=names[b],
                both=test.both,
                only_a=test.only_a,
                only_b=test.only_b,
                neither=test.neither,
                p_value=test.p_value,
                corrected_p_value=p_value,
                only_a_points=_only(reports[0].points.index, kept[a], kept[b]),
                only_b_points=_only(reports[0].points.index, kept[b], kept[a]),
            )
            for (a, b), test, p_value in zip(pairs, tests, corrected, strict=True)
        ),
        all_keep=sum(map(all, together)),
        none_keeps=sum(not any(point) for point in together),
    )


def _stages(reports: Sequence[EvaluationReport]) -> tuple[AfterAttack, ...]:
    others = [{attack.name for attack in report.attacks} for report in reports[1:]]
    shared = [attack.name for attack in reports[0].attacks if all(attack.name in names for names in others)]
    return tuple(
        AfterAttack(after=name, accuracies=tuple(_share(standing_after(report, name)) for report in reports))
        for name in ("clean", *shared)
    )


def _classes(reports: Sequence[EvaluationReport], kept: Sequence[Sequence[bool]]) -> tuple[InClass, ...]:
    labels = reports[0].points.label
    correct = [standing_after(report, "clean") for report in reports]
    rows = []
    for label in sorted(set(labels)):
        at = [place for place, other in enumerate(labels) if other == label]
        rows.append(
            InClass(
                label=label,
                points=len(at),
                standard=tuple(_share([column[place] for place in at]) for column in correct),
                robust=tuple(_share([column[place] for place in at]) for column in kept),
            )
        )
    return tuple(rows)


def _corruptions(reports: Sequence[EvaluationReport]) -> tuple[UnderCorruption, ...]:
    tables = [report.corruptions.by_type() for report in reports if report.corruptions is not None]
    if len(tables) < len(reports):
        return ()
    return tuple(
        UnderCorruption(
            corruption=name,
            accuracies=tuple(
                sum(cell.correct for cell in table[name]) / (len(table[name]) * reports[0].n_points) for table in tables
            ),
        )
        for name in tables[0]
        if all(name in table for table in tables)
    )


def _only(index: Sequence[int], kept: Sequence[bool], other: Sequence[bool]) -> tuple[int, ...]:
    rows = zip(index, kept, other, strict=True)
    return tuple(position for position, first, second in rows if first and not second)


def _share(kept: Sequence[bool]) -> float:
    return sum(kept) / len(kept)
