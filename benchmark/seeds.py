"""How far the numbers of an evaluation move with its seed. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import stdev
from typing import Annotated

from pydantic import Field

from benchmark.errors import InvalidInput
from benchmark.report import Accuracy, EvaluationReport, Name, Part, Sha256
from benchmark.statistics import check_comparable


class Spread(Part):
    """Mean, spread and range of one number over seeds."""

    mean: float
    standard_deviation: float
    """Of a sample, with one less than the number of seeds as divisor."""
    minimum: float
    maximum: float


class SeedResult(Part):
    """What one seed gave."""

    seed: int
    robust_accuracy: Accuracy
    after: tuple[Accuracy, ...]
    """Robust accuracy after each attack of the ensemble, in order."""
    seconds: float
    results_sha256: Sha256


class SeedStudy(Part):
    """The same evaluation under several seeds.

    The standard deviation is that of a sample (n - 1 as divisor): the seeds stand for all that might have been drawn,
    and of four of them the population's formula would tell a spread 13 % too small.
    """

    norm: Name
    epsilon: Name
    dataset: Name | None
    protocol: Name
    n_points: Annotated[int, Field(gt=0)]
    standard_accuracy: Accuracy
    checkpoint_sha256: Sha256 | None
    attacks: tuple[Name, ...]
    robust_accuracy: Spread
    after: tuple[Spread, ...]
    """Robust accuracy after each attack of the ensemble, in order."""
    seconds: Spread
    seeds: tuple[SeedResult, ...]


def study_seeds(reports: Sequence[EvaluationReport]) -> SeedStudy:
    """Sum up the reports of one evaluation under at least two different seeds.

    Raises:
        InvalidInput: there are fewer, a seed comes twice, or they differ in more than the seed.
    """
    seeds = [report.provenance.seed for report in reports]
    if len(set(seeds)) < max(len(seeds), 2):
        raise InvalidInput.because(
            "seeds", found=", ".join(map(str, seeds)) or "none", expected="at least two, all different",
            remedy="evaluate under more seeds",
        )  # fmt: skip
    for one, other in pairwise(reports):
        check_comparable(one, other)
        for field, first, second in (
            ("protocol", one.protocol, other.protocol),
            ("checkpoint", one.provenance.checkpoint_sha256, other.provenance.checkpoint_sha256),
        ):
            if first != second:
                raise InvalidInput.because(
                    field, found=f"{first} and {second}", expected="the same under every seed",
                    remedy="change nothing but the seed",
                )  # fmt: skip
    first_report = reports[0]
    stages = list(
        zip(*([attack.robust_accuracy_after for attack in report.attacks] for report in reports), strict=True)
    )
    return SeedStudy(
        norm=first_report.norm,
        epsilon=first_report.epsilon,
        dataset=first_report.dataset,
        protocol=first_report.protocol,
        n_points=first_report.n_points,
        standard_accuracy=first_report.standard_accuracy,
        checkpoint_sha256=first_report.provenance.checkpoint_sha256,
        attacks=tuple(attack.name for attack in first_report.attacks),
        robust_accuracy=_spread([report.robust_accuracy for report in reports]),
        after=tuple(_spread(stage) for stage in stages),
        seconds=_spread([report.provenance.seconds for report in reports]),
        seeds=tuple(
            SeedResult(
                seed=report.provenance.seed,
                robust_accuracy=report.robust_accuracy,
                after=tuple(attack.robust_accuracy_after for attack in report.attacks),
                seconds=report.provenance.seconds,
                results_sha256=report.results_sha256(),
            )
            for report in reports
        ),
    )


def _spread(values: Sequence[float]) -> Spread:
    """Sum values up exactly, so that equal ones have no spread at all."""
    exact = [Fraction(value) for value in values]
    return Spread(
        mean=float(sum(exact) / len(exact)),
        standard_deviation=float(stdev(exact)),
        minimum=min(values),
        maximum=max(values),
    )
