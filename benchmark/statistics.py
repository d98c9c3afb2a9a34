"""What two reports on the same points say together: whether one model is more robust, or may only seem so.

Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from benchmark.errors import InvalidInput
from benchmark.report import Accuracy, Count, EvaluationReport, Interval, Name, Part, Sha256

_SMALLEST = math.ulp(0.0)


@dataclass(frozen=True)
class McNemar:
    """How often two classifiers agree on the same points, and how surprising their disagreement would be by chance.

    Args:
        both: points on which both are right.
        only_a: points on which only the first is.
        only_b: points on which only the second is.
        neither: points on which none is.
    """

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def difference(self) -> float:
        """Accuracy of the second less that of the first."""
        return (self.only_b - self.only_a) / (self.both + self.only_a + self.only_b + self.neither)

    @property
    def p_value(self) -> float:
        """The exact two-sided p-value as a float; the smallest positive one where the exact value is below it."""
        return max(float(exact_p_value(self.only_a, self.only_b)), _SMALLEST)


def exact_p_value(only_a: int, only_b: int) -> Fraction:
    """Return the two-sided p-value of an equal split: P(a split as uneven or more), for tosses of a fair coin.

    Args:
        only_a: tosses of one kind.
        only_b: tosses of the other.
    Source:
        McNemar 1947; the exact binomial version, which needs no correction for continuity and no minimal counts.
    """
    tosses, fewer = only_a + only_b, min(only_a, only_b)
    ways = term = 1
    for i in range(fewer):
        term = term * (tosses - i) // (i + 1)
        ways += term
    # The two tails meet in the middle where the split is even.
    return min(Fraction(2 * ways, 2**tosses), Fraction(1))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct p-values for how many tests were made: the chance of even one false finding is then that of one test.

    Args:
        p_values: of the tests, in any order.
    Returns:
        The corrected ones in the same order; those that are at most a level are found at that level.
    Source:
        Holm 1979, A simple sequentially rejective multiple test procedure; it asks nothing of how the tests depend.
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for place, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        # Whatever comes later was less surprising, and must not seem more so for being among fewer.
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[number]))
        corrected[number] = largest
    return tuple(corrected)


def mcnemar(a: EvaluationReport, b: EvaluationReport) -> McNemar:
    """Test whether two models, or two evaluations of one, are equally robust on the same points.

    Args:
        a: a report.
        b: another, of the same points under the same threat model; its protocol may be another.
    Raises:
        InvalidInput: data set, norm, epsilon or points differ.
    """
    check_comparable(a, b)
    return paired(a.points.robust, b.points.robust)


def paired(a: Sequence[bool], b: Sequence[bool]) -> McNemar:
    """Count how two verdicts on the same points agree."""
    pairs = list(zip(a, b, strict=True))
    return McNemar(
        both=pairs.count((True, True)),
        only_a=pairs.count((True, False)),
        only_b=pairs.count((False, True)),
        neither=pairs.count((False, False)),
    )


def check_comparable(a: EvaluationReport, b: EvaluationReport) -> None:
    """Refuse two reports that do not speak of the same points under the same threat model.

    Raises:
        InvalidInput: they do not.
    """
    for field in ("dataset", "norm", "epsilon"):
        first, second = getattr(a, field), getattr(b, field)
        if first != second:
            raise InvalidInput.because(
                field, found=f"{first} and {second}", expected="the same in both reports",
                remedy="evaluate both models on one data set under one threat model",
            )  # fmt: skip
    if (a.points.index, a.points.label) != (b.points.index, b.points.label):
        shared = len(set(a.points.index) & set(b.points.index))
        raise InvalidInput.because(
            "points",
            found=f"{a.n_points} and {b.n_points} points, {shared} positions in common"
            + (" with other labels" if a.points.index == b.points.index else ""),
            expected="the same points in both reports",
            remedy="evaluate both models on the same points",
        )


class Stage(Part):
    """Two reports side by side after the same attack."""

    after: Name
    """An attack's name; "clean" before the first."""
    accuracy_a: Accuracy
    accuracy_b: Accuracy
    difference: Annotated[float, Field(ge=-1, le=1)]
    """The second less the first."""
    both: Count
    only_a: Count
    only_b: Count
    neither: Count
    p_value: Annotated[float, Field(gt=0, le=1)]
    """Exact two-sided p-value of McNemar's test; not corrected for the number of stages."""


class Side(Part):
    """What one of two compared reports says."""

    protocol: Name
    seed: int
    checkpoint_sha256: Sha256 | None
    standard_accuracy: Accuracy
    standard_interval: Interval
    robust_accuracy: Accuracy
    robust_interval: Interval
    results_sha256: Sha256


class Comparison(Part):
    """Two reports on the same points."""

    dataset: Name | None
    norm: Name
    epsilon: Name
    n_points: Annotated[int, Field(gt=0)]
    a: Side
    b: Side
    stages: tuple[Stage, ...]
    """On clean images, and after each attack that both protocols run, in the order of the first. Each report has then
    seen the attacks that its own protocol runs before that one."""
    robust: Stage
    """After all attacks, whatever the protocols, or under all corruptions: the comparison to quote."""


def compare_reports(a: EvaluationReport, b: EvaluationReport) -> Comparison:
    """Compare two reports before the attacks, after each attack that both ran, and at the end.

    Raises:
        InvalidInput: data set, norm, epsilon or points differ.
    """
    check_comparable(a, b)
    others = {attack.name for attack in b.attacks}
    shared = ["clean", *(attack.name for attack in a.attacks if attack.name in others)]
    stages = tuple(_stage(name, standing_after(a, name), standing_after(b, name)) for name in shared)
    return Comparison(
        dataset=a.dataset,
        norm=a.norm,
        epsilon=a.epsilon,
        n_points=a.n_points,
        a=_side(a),
        b=_side(b),
        stages=stages,
        robust=_stage("all attacks" if a.corruptions is None else "all corruptions", a.points.robust, b.points.robust),
    )


def _side(report: EvaluationReport) -> Side:
    return Side(
        protocol=report.protocol,
        seed=report.provenance.seed,
        checkpoint_sha256=report.provenance.checkpoint_sha256,
        standard_accuracy=report.standard_accuracy,
        standard_interval=report.standard_interval,
        robust_accuracy=report.robust_accuracy,
        robust_interval=report.robust_interval,
        results_sha256=report.results_sha256(),
    )


def standing_after(report: EvaluationReport, attack: str) -> tuple[bool, ...]:
    """Tell which points are still classified correctly once that attack is done; "clean" is before the first."""
    order = ["clean", *(outcome.name for outcome in report.attacks)]
    fallen = {*order[: order.index(attack) + 1]}
    return tuple(by not in fallen for by in report.points.broken_by)


def _stage(after: str, a: Sequence[bool], b: Sequence[bool]) -> Stage:
    test = paired(a, b)
    return Stage(
        after=after,
        accuracy_a=sum(a) / len(a),
        accuracy_b=sum(b) / len(b),
        difference=test.difference,
        both=test.both,
        only_a=test.only_a,
        only_b=test.only_b,
        neither=test.neither,
        p_value=test.p_value,
    )
